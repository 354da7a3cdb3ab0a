"""What stands apart from the middle of a template is cut off, as SciPy would cut it."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_equipose.inference._refine import OUTLINE, _central_part


def by_scipy(picture: np.ndarray) -> np.ndarray:
    size = len(picture)
    y, x = np.indices((size, size)) - size // 2
    middle = np.exp(-0.5 * (y**2 + x**2) / (size / 8) ** 2)
    parts, _ = ndimage.label(np.abs(picture) > OUTLINE * np.abs(picture).max())
    central = parts.flat[(np.abs(picture) * middle * (parts > 0)).argmax()]
    kept = ndimage.binary_dilation(parts == central, iterations=2).astype(float)
    return picture * ndimage.gaussian_filter(kept, 1)


def spiral(size: int) -> np.ndarray:
    """A line of one pixel, much longer than the side of its picture."""
    picture = np.zeros((size, size), np.float32)
    y = x = size // 2
    picture[y, x] = 1
    directions = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    for turn in range(size):
        dy, dx = directions[turn % 4]
        for _ in range(2 * (turn // 2 + 1)):
            y, x = y + dy, x + dx
            if not (0 <= y < size and 0 <= x < size):
                return picture
            picture[y, x] = 1
    return picture


@pytest.mark.parametrize("size", [9, 24, 31])
def test_the_part_about_the_middle_is_that_of_scipy(size: int) -> None:
    noise = np.random.default_rng(size).normal(size=(60, size, size))
    some = [ndimage.gaussian_filter(one, sigma) for one in noise for sigma in (0.5, 1, 2)]
    pictures = np.array([*some, spiral(size)], np.float32)
    found = _central_part(torch.from_numpy(pictures)[:, None])[:, 0].numpy()
    for picture, one in zip(pictures, found, strict=True):
        np.testing.assert_allclose(one, by_scipy(picture), atol=1e-5 * np.abs(picture).max())


def test_an_empty_picture_stays_empty() -> None:
    assert not _central_part(torch.zeros(2, 1, 16, 16)).any()
