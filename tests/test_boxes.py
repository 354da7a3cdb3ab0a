"""Boxes are whole pixels of the image, centred, mirrored at the border, read sparingly."""

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from napari_equipose.geometry import InputError, extract_boxes

IMAGE = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50)


@pytest.mark.parametrize("box_size", [4, 5, 16, 17])
def test_the_position_lands_on_the_centre_pixel(box_size: int) -> None:
    boxes = extract_boxes(IMAGE, np.array([[20, 24], [11, 30]]), box_size)
    assert boxes.shape == (2, 1, box_size, box_size)
    assert boxes.dtype == np.float32
    np.testing.assert_array_equal(
        boxes[:, 0, box_size // 2, box_size // 2], [IMAGE[20, 24], IMAGE[11, 30]]
    )


def test_an_inner_box_is_a_piece_of_the_image() -> None:
    box = extract_boxes(IMAGE, np.array([[10.0, 20.0]]), 6)[0, 0]
    np.testing.assert_array_equal(box, IMAGE[7:13, 17:23])


def test_positions_are_rounded_half_up() -> None:
    positions = np.array([[10.5, 20.49], [9.5, 19.51], [10.4, 20.5]])
    centres = extract_boxes(IMAGE, positions, 3)[:, 0, 1, 1]
    np.testing.assert_array_equal(centres, [IMAGE[11, 20], IMAGE[10, 20], IMAGE[10, 21]])


def test_the_border_is_a_mirror_that_stands_on_the_last_pixel() -> None:
    box = extract_boxes(IMAGE, np.array([[0, 49]]), 5)[0, 0]
    np.testing.assert_array_equal(box, np.pad(IMAGE, 2, mode="reflect")[:5, 49:54])


def test_colours_become_channels() -> None:
    image = np.stack([IMAGE, IMAGE + 1, IMAGE + 2], -1)
    boxes = extract_boxes(image, np.array([[10, 10], [0, 0]]), 8)
    assert boxes.shape == (2, 3, 8, 8)
    np.testing.assert_array_equal(boxes[:, 1], boxes[:, 0] + 1)
    np.testing.assert_array_equal(boxes[:, 2], boxes[:, 0] + 2)


def test_no_positions_give_no_boxes() -> None:
    assert extract_boxes(IMAGE, np.empty((0, 2)), 8).shape == (0, 1, 8, 8)


def test_memory_mapped_and_lazy_images_give_the_same(tmp_path: Path) -> None:
    positions = np.array([[1, 2], [20, 25], [39, 49]])
    expected = extract_boxes(IMAGE, positions, 10)
    np.save(tmp_path / "image.npy", IMAGE)
    stored = zarr.array(IMAGE, chunks=(16, 16))
    for image in (
        np.load(tmp_path / "image.npy", mmap_mode="r"),
        da.from_array(IMAGE, chunks=16),
        stored,
    ):
        np.testing.assert_array_equal(extract_boxes(image, positions, 10), expected)


def test_only_what_the_boxes_cover_is_read() -> None:
    class Watched:
        shape, ndim, read = (4000, 4000), 2, 0

        def __getitem__(self, index: Any) -> NDArray[np.float32]:
            piece = np.broadcast_to(np.float32(1), self.shape)[index]
            self.read += piece.size
            return piece

    image = Watched()
    extract_boxes(image, np.array([[0, 0], [2000, 3000], [3999, 17]]), 32)  # type: ignore[arg-type]
    assert image.read <= 3 * 33**2


def test_a_box_larger_than_the_image_is_refused() -> None:
    assert extract_boxes(IMAGE, np.array([[20, 20]]), 40).shape == (1, 1, 40, 40)
    with pytest.raises(InputError, match=r"box of 41 pixels .* 40 x 50 pixels"):
        extract_boxes(IMAGE, np.array([[20, 20]]), 41)
