"""Images as other programs, and other people, write them."""

import gzip
import io
import logging
from itertools import permutations
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import tifffile
import zarr

from napari_equipose.geometry import InputError
from napari_equipose.io import (
    napari_get_reader,
    napari_write_image,
    read_image,
    read_stack,
    write_mrc,
)
from napari_equipose.training import read_large_image, read_volume

RNG = np.random.default_rng(0)
VOLUME = RNG.normal(size=(4, 6, 8)).astype(np.float32)
PLANE = RNG.integers(0, 999, (24, 32), dtype=np.uint16)
SIDES = {1: 2.0, 2: 3.0, 3: 5.0}  # Angstrom along x, y, z


def _mrc(path: Path, data: Any, order: tuple[int, int, int], mz: int | None = None) -> Path:
    """An MRC file whose columns, rows and sections are axes in another order."""
    maps = order[::-1]
    with mrcfile.new(path, data) as mrc:
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = order
        for name, axis in zip("xyz", (1, 2, 3), strict=True):
            n = data.shape[maps.index(axis) - 3] if data.ndim == 3 else data.shape[axis - 3]
            mrc.header[f"m{name}"] = n
            mrc.header.cella[name] = n * SIDES[axis]
        if mz is not None:
            mrc.set_image_stack()
    return path


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
def test_mrc_volume_is_the_same_in_whatever_order_its_axes_are_stored(
    tmp_path: Path, order: tuple[int, int, int]
) -> None:
    stored = VOLUME.transpose([3 - axis for axis in order[::-1]])
    path = str(_mrc(tmp_path / "a.mrc", stored, order))
    image = read_image(path)
    assert (image.axes, image.spacing, image.pixel_size) == ("zyx", (5, 3, 2), 2)
    assert isinstance(image.data, np.memmap)
    np.testing.assert_array_equal(image.data, VOLUME)
    reader = napari_get_reader(path)
    assert reader is not None
    ((data, meta, _),) = reader(path)
    assert (data.shape, meta["scale"]) == (VOLUME.shape, (5, 3, 2))
    with pytest.raises(InputError, match=r"5 x 3 x 2 Angstrom \(z, y, x\)"):
        read_volume(path)


def test_mrc_images_and_stacks_may_have_columns_along_y(tmp_path: Path) -> None:
    image = read_image(_mrc(tmp_path / "a.mrc", VOLUME[0].T.copy(), (2, 1, 3)))
    assert image.axes == "yx"
    np.testing.assert_array_equal(image.data, VOLUME[0])
    with pytest.raises(InputError, match=r"pixels of 3 x 2 Angstrom \(y, x\)"):
        read_large_image(image.path)
    stored = np.ascontiguousarray(VOLUME.swapaxes(1, 2))
    with mrcfile.new(tmp_path / "s.mrcs", stored) as mrc:
        mrc.set_image_stack()
        mrc.header.mapc, mrc.header.mapr = 2, 1
    np.testing.assert_array_equal(read_stack(tmp_path / "s.mrcs").images, VOLUME)
    (tmp_path / "s.star").write_text("data_\nloop_\n_rlnImageName\n3@s.mrcs\n")
    np.testing.assert_array_equal(read_stack(tmp_path / "s.star").images[0], VOLUME[2])


@pytest.mark.parametrize("order", [(1, 1, 3), (1, 2, 0), (4, 5, 6), (-1, 2, 3)])
def test_mrc_that_does_not_say_which_axis_is_which_is_refused(
    tmp_path: Path, order: tuple[int, int, int]
) -> None:
    write_mrc(tmp_path / "a.mrc", VOLUME)
    with mrcfile.open(tmp_path / "a.mrc", "r+") as mrc:
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = order
    with pytest.raises(InputError, match="which axis is which"):
        read_image(tmp_path / "a.mrc")


def test_old_mrc_without_an_order_of_axes_is_read(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", VOLUME, 2.0)
    with mrcfile.open(tmp_path / "a.mrc", "r+") as mrc:
        mrc.header.mapc = mrc.header.mapr = mrc.header.maps = 0
    np.testing.assert_array_equal(read_image(tmp_path / "a.mrc").data, VOLUME)


@pytest.mark.parametrize(
    ("units", "scale", "spacing"),
    [
        ("angstrom", (12, 4, 4), (12, 4, 4)),
        ("angstrom", (-2, 2, -2), (2, 2, 2)),
        ("picometer", (200, 200, 200), (2, 2, 2)),
        ("meter", (2e-10, 2e-10, 2e-10), (2, 2, 2)),
        ("nanometer", (0.5, 0.25, 0.2), (5, 2.5, 2)),
        ("pixel", (2, 2, 2), None),
    ],
)
def test_saved_volume_keeps_the_length_of_its_voxels(
    tmp_path: Path, units: str, scale: tuple[float, ...], spacing: tuple[float, ...] | None
) -> None:
    path = str(tmp_path / "a.mrc")
    napari_write_image(path, VOLUME, {"scale": scale, "units": (units,) * 3})
    found = read_image(path).spacing
    assert found == (None if spacing is None else pytest.approx(spacing))


def test_saved_stack_has_voxels_of_its_images(tmp_path: Path) -> None:
    meta = {"scale": (1, 4, 2), "units": ("pixel", "angstrom", "angstrom")}
    path = str(tmp_path / "a.mrcs")
    napari_write_image(path, VOLUME, meta | {"axis_labels": ("n", "y", "x")})
    assert read_image(path).spacing == (4, 2)


def _ome_zarr(path: Path, unit: str, level: list[float], whole: list[float] | None) -> Path:
    group = zarr.create_group(path, zarr_format=2)
    group.create_array("0", data=VOLUME)
    axes = [{"name": name, "type": "space", "unit": unit} for name in "zyx"]
    step = [{"type": "scale", "scale": level}]
    image: dict[str, Any] = {
        "version": "0.4",
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": step}],
    }
    if whole is not None:
        image["coordinateTransformations"] = [
            {"type": "scale", "scale": whole},
            {"type": "translation", "translation": [1, 1, 1]},
        ]
    group.attrs["multiscales"] = [image]
    return path


def test_scales_of_ome_zarr_multiply(tmp_path: Path) -> None:
    path = _ome_zarr(tmp_path / "a.zarr", "nanometer", [1, 1, 1], [0.6, 0.4, 0.2])
    assert read_image(path).spacing == pytest.approx((6, 4, 2))
    path = _ome_zarr(tmp_path / "b.zarr", "picometer", [2, 2, 2], [100, 100, 100])
    assert read_image(path).spacing == pytest.approx((2, 2, 2))
    assert read_image(_ome_zarr(tmp_path / "c.zarr", "meter", [1e-9] * 3, None)).pixel_size == 10


def test_sides_of_tiff_voxels_are_read(tmp_path: Path) -> None:
    data = VOLUME.astype(np.uint16)
    sizes = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.2, "PhysicalSizeZ": 0.5}
    tifffile.imwrite(tmp_path / "a.ome.tif", data, ome=True, metadata={"axes": "ZYX", **sizes})
    assert read_image(tmp_path / "a.ome.tif").spacing == pytest.approx((5000, 2000, 1000))
    about = {"axes": "ZYX", "unit": "um", "spacing": 0.5}
    tifffile.imwrite(tmp_path / "b.tif", data, imagej=True, resolution=(10, 5), metadata=about)
    assert read_image(tmp_path / "b.tif").spacing == pytest.approx((5000, 2000, 1000))
    with pytest.raises(InputError, match="resample"):
        read_volume(tmp_path / "b.tif")


def test_image_in_a_zarr_of_several_is_named(tmp_path: Path) -> None:
    plate = zarr.create_group(tmp_path / "p.zarr", zarr_format=2)
    plate.attrs["plate"] = {"wells": [{"path": "A/1"}, {"path": "A/2"}]}
    for well in ("A/1", "A/2"):
        plate.create_group(well).attrs["well"] = {"images": [{"path": "0"}]}
        _ome_zarr(tmp_path / "p.zarr" / well / "0", "nanometer", [1, 1, 1], None)
    with pytest.raises(InputError, match=r"2 wells; name one of them: .*p\.zarr/A/1"):
        read_image(tmp_path / "p.zarr")
    assert read_image(tmp_path / "p.zarr" / "A" / "1").data.shape == VOLUME.shape
    assert read_image(tmp_path / "p.zarr" / "A" / "2" / "0").pixel_size == 10
    series = zarr.create_group(tmp_path / "s.zarr", zarr_format=2)
    series.attrs["bioformats2raw.layout"] = 3
    _ome_zarr(tmp_path / "s.zarr" / "0", "nanometer", [1, 1, 1], None)
    assert read_image(tmp_path / "s.zarr").axes == "zyx"


def _box(folder: Path, name: str) -> Path:
    path, box = folder / name, PLANE[:24, :24]
    if path.suffix == ".tif":
        tifffile.imwrite(path, box)
    elif path.suffix == ".npy":
        np.save(path, box.reshape({"a": (1, 24, 24), "b": (24, 24, 1), "c": (24, 24)}[path.stem]))
    else:
        write_mrc(path, box.astype(np.float32)[None])
    return path


@pytest.mark.parametrize("name", ["a.mrcs", "a.st", "a.mrc", "a.tif", "a.npy", "b.npy", "c.npy"])
def test_one_box_is_a_stack_of_one_and_one_image(tmp_path: Path, name: str) -> None:
    path = _box(tmp_path, name)
    stack = read_stack(path, dimensions=2)
    assert (stack.images.shape, stack.axes) == ((1, 24, 24), "nyx")
    assert read_large_image(path).data.shape == (24, 24)
    if name != "c.npy":
        return
    with pytest.raises(InputError, match="give a box size"):
        read_stack(path)


def test_one_volume_is_a_stack_of_one(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", VOLUME)
    stack = read_stack(tmp_path / "a.mrc", dimensions=3)
    assert (stack.images.shape, stack.axes) == ((1, *VOLUME.shape), "nzyx")


def test_image_or_volume_in_a_stack_of_one_is_that(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", VOLUME[None])
    np.testing.assert_array_equal(read_volume(tmp_path / "v.npy").data, VOLUME)
    assert read_stack(tmp_path / "v.npy").axes == "nzyx"
    np.save(tmp_path / "c.npy", np.zeros((1, 24, 32, 3), np.uint8))
    assert read_large_image(tmp_path / "c.npy").axes == "yxc"
    zarr.save_array(tmp_path / "a.zarr", PLANE[None, None, None])
    np.testing.assert_array_equal(read_large_image(tmp_path / "a.zarr").data, PLANE)


def test_stack_with_one_channel_is_grey(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VOLUME[..., None])
    np.save(tmp_path / "b.npy", VOLUME[:, None])
    for name in ("a.npy", "b.npy"):
        stack = read_stack(tmp_path / name)
        assert (stack.images.shape, stack.axes) == (VOLUME.shape, "nyx")


def test_colours_in_planes_are_three_images_as_in_napari(tmp_path: Path) -> None:
    planes = RNG.integers(0, 255, (3, 20, 30), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    assert read_image(tmp_path / "a.tif").axes == "nyx"
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data, planes)
    with pytest.raises(InputError, match="wanted one image"):
        read_large_image(tmp_path / "a.tif")


def _content(kind: str) -> bytes:
    if kind == "lfs":
        return b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n"
    if kind == "html":
        return b"\n<!DOCTYPE html><html>404</html>" + b" " * 2000
    if kind == "text":
        return b"x y\n1 2\n" * 400
    if kind == "gzip":
        return gzip.compress(RNG.bytes(3000))
    tiff = io.BytesIO()
    tifffile.imwrite(tiff, PLANE)
    return tiff.getvalue()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("lfs", "git lfs pull"),
        ("html", "a web page"),
        ("text", "it holds text"),
        ("gzip", "packed with gzip; unpack it"),
        ("tiff", r"let its name end in \.tif"),
    ],
)
@pytest.mark.parametrize("suffix", [".mrc", ".png", ".npy"])
def test_what_a_file_is_instead_is_said(
    tmp_path: Path, kind: str, message: str, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(_content(kind))
    with pytest.raises(InputError, match=message):
        read_image(path)


def test_pointer_of_git_lfs_is_told_of_tables_too(tmp_path: Path) -> None:
    (tmp_path / "a.star").write_bytes(_content("lfs"))
    with pytest.raises(InputError, match="git lfs pull"):
        read_stack(tmp_path / "a.star")


def test_damaged_tiff_is_answered_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PLANE, compression="zlib", rowsperstrip=2)
    whole = (tmp_path / "a.tif").read_bytes()
    for length in (len(whole) // 2, len(whole) - 30, 150):
        (tmp_path / "a.tif").write_bytes(whole[:length])
        with caplog.at_level(logging.DEBUG), pytest.raises(InputError, match="TIFF"):
            read_image(tmp_path / "a.tif")
    assert not caplog.records and capfd.readouterr() == ("", "")
