from pathlib import Path
from typing import Any, Literal

import dask.array
import mrcfile
import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

from napari_equipose.geometry import InputError
from napari_equipose.io import _blocks, atomic_path, read_image, write_mrc

RNG = np.random.default_rng(0)
PLANE = RNG.normal(size=(6, 9)).astype(np.float32)
VOLUME = RNG.normal(size=(4, 6, 9)).astype(np.float32)
COLOUR = RNG.integers(0, 255, (6, 9, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "array", "axes"),
    [
        ("a.mrc", PLANE, "yx"),
        ("a.mrc", VOLUME, "zyx"),
        ("a.map", VOLUME, "zyx"),
        ("a.rec", VOLUME, "zyx"),
        ("a.mrcs", VOLUME, "nyx"),
        ("a.st", VOLUME, "nyx"),
        ("a.mrcs", np.stack([VOLUME, -VOLUME]), "nzyx"),
    ],
)
def test_mrc_comes_back_with_its_axes_and_pixel_size(
    tmp_path: Path, name: str, array: NDArray[Any], axes: str
) -> None:
    write_mrc(tmp_path / name, array, 1.37)
    image = read_image(tmp_path / name)
    assert (image.axes, image.path) == (axes, tmp_path / name)
    assert image.pixel_size == pytest.approx(1.37, rel=1e-5)
    np.testing.assert_array_equal(image.data, array)


def test_written_mrc_is_valid_for_the_standards_own_checker(tmp_path: Path) -> None:
    for name, array in [("a.mrc", VOLUME), ("b.mrcs", VOLUME), ("c.mrcs", VOLUME[None])]:
        write_mrc(tmp_path / name, array, 2.0)
        assert mrcfile.validate(tmp_path / name)
    with mrcfile.open(tmp_path / "b.mrcs") as stack, mrcfile.open(tmp_path / "c.mrcs") as volumes:
        assert (int(stack.header.ispg), int(volumes.header.ispg)) == (0, 401)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.float32])
def test_mrc_keeps_the_types_it_has(tmp_path: Path, dtype: type) -> None:
    array = np.arange(24).reshape(4, 6).astype(dtype)
    write_mrc(tmp_path / "a.mrc", array)
    assert read_image(tmp_path / "a.mrc").data.dtype == dtype


def test_mrc_of_double_precision_becomes_single(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", PLANE.astype(np.float64))
    np.testing.assert_array_equal(read_image(tmp_path / "a.mrc").data, PLANE)


def test_mrc_without_pixel_size_says_so(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", PLANE)
    assert read_image(tmp_path / "a.mrc").pixel_size is None


def test_mrc_is_mapped_not_loaded(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", PLANE)
    assert isinstance(read_image(tmp_path / "a.mrc").data, np.memmap)


def test_mrc_stack_by_the_standard_is_a_stack_whatever_its_suffix(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", VOLUME, axes="nyx")
    assert read_image(tmp_path / "a.mrc").axes == "nyx"
    assert read_image(tmp_path / "a.mrc", axes="zyx").axes == "zyx"


def test_mrc_without_the_marks_of_the_standard_is_read(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrcs", VOLUME)
    content = bytearray((tmp_path / "a.mrcs").read_bytes())
    content[208:216] = bytes(8)  # the words MAP and machine stamp
    (tmp_path / "a.mrcs").write_bytes(content)
    np.testing.assert_array_equal(read_image(tmp_path / "a.mrcs").data, VOLUME)


def test_big_endian_mrc_is_read(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(PLANE.astype(">f4"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.mrc").data, PLANE)


def test_bytes_of_imod_are_unsigned_unless_it_says_otherwise(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", np.full((4, 4), -56, np.int8))
    content = bytearray((tmp_path / "a.mrc").read_bytes())
    content[152:160] = np.array([1146047817, 0], "<i4").tobytes()
    (tmp_path / "a.mrc").write_bytes(content)
    assert read_image(tmp_path / "a.mrc").data.max() == 200
    content[156:160] = np.array([1], "<i4").tobytes()
    (tmp_path / "a.mrc").write_bytes(content)
    assert read_image(tmp_path / "a.mrc").data.max() == -56


@pytest.mark.parametrize(
    ("array", "options", "axes"),
    [
        (PLANE, {}, "yx"),
        (COLOUR, {"photometric": "rgb"}, "yxc"),
        (VOLUME, {"photometric": "minisblack"}, "nyx"),
        (VOLUME, {"imagej": True, "metadata": {"axes": "ZYX"}}, "zyx"),
        (VOLUME, {"metadata": {"axes": "ZYX"}, "ome": True}, "zyx"),
        (PLANE, {"compression": "zlib"}, "yx"),
    ],
)
def test_tiff_comes_back_with_its_axes(
    tmp_path: Path, array: NDArray[Any], options: dict[str, Any], axes: str
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    image = read_image(tmp_path / "a.tif")
    assert image.axes == axes
    np.testing.assert_array_equal(image.data, array)


@pytest.mark.parametrize(
    ("options", "pixel_size"),
    [
        ({"imagej": True, "resolution": (2, 2), "metadata": {"unit": "nm"}}, 5.0),
        ({"imagej": True, "resolution": (10, 10), "metadata": {"unit": "um"}}, 1000.0),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "nm"}}, 2.0),
        ({"resolution": (72, 72), "resolutionunit": 2}, None),  # a printer's, not a microscope's
    ],
)
def test_tiff_pixel_size_is_in_angstrom(
    tmp_path: Path, options: dict[str, Any], pixel_size: float | None
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PLANE, **options)
    found = read_image(tmp_path / "a.tif").pixel_size
    assert found is None if pixel_size is None else found == pytest.approx(pixel_size)


@pytest.mark.parametrize(
    ("array", "options", "axes"),
    [
        (PLANE, {}, "yx"),
        (COLOUR, {"photometric": "rgb"}, "yxc"),
        (np.stack([COLOUR, COLOUR // 2]), {"photometric": "rgb"}, "nyxc"),
        (VOLUME, {"metadata": {"axes": "ZYX"}, "ome": True}, "zyx"),
    ],
)
@pytest.mark.parametrize("packing", [{"tile": (16, 16)}, {"rowsperstrip": 4}])
@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd"])
def test_large_packed_tiff_is_read_by_blocks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    array: NDArray[Any],
    options: dict[str, Any],
    axes: str,
    packing: dict[str, Any],
    compression: str,
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", array, compression=compression, **packing, **options)
    whole = read_image(tmp_path / "a.tif")
    monkeypatch.setattr(_blocks, "MOST_BYTES", 100)
    image = read_image(tmp_path / "a.tif")
    assert isinstance(whole.data, np.ndarray) and isinstance(image.data, dask.array.Array)
    assert image.axes == whole.axes == axes
    np.testing.assert_array_equal(image.data, array)
    np.testing.assert_array_equal(image.data[1:2, 2:5], array[1:2, 2:5])


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_large_zarr_is_read_by_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zarr_format: Literal[2, 3]
) -> None:
    monkeypatch.setattr(_blocks, "MOST_BYTES", 100)
    monkeypatch.setattr(_blocks, "_BLOCK_BYTES", 200)
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=VOLUME, chunks=(1, 4, 4), zarr_format=zarr_format)
    image = read_image(path)
    assert isinstance(image.data, dask.array.Array) and image.data.npartitions > 4
    np.testing.assert_array_equal(image.data, VOLUME)
    for chunk in path.glob("c/3/**/*" if zarr_format == 3 else "3.*"):
        chunk.unlink(missing_ok=True) if chunk.is_file() else None
    np.testing.assert_array_equal(image.data[:3], VOLUME[:3])
    assert (np.asarray(image.data[3]) == 0).all()  # only now looked at


def test_sharded_zarr_is_read(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=VOLUME, chunks=(1, 3, 3), shards=(2, 6, 9))
    np.testing.assert_array_equal(read_image(tmp_path / "a.zarr").data, VOLUME)


def test_alpha_is_dropped(tmp_path: Path) -> None:
    with_alpha = np.dstack([COLOUR, np.full((6, 9), 7, np.uint8)])
    Image.fromarray(with_alpha).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", with_alpha)
    tifffile.imwrite(tmp_path / "a.tif", with_alpha, photometric="rgb", extrasamples=["unassalpha"])
    for name in ("a.png", "a.npy", "a.tif"):
        image = read_image(tmp_path / name)
        assert image.axes == "yxc"
        np.testing.assert_array_equal(image.data, COLOUR)


def test_png_keeps_sixteen_bits(tmp_path: Path) -> None:
    deep = RNG.integers(0, 65535, (6, 9), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.data.dtype == np.uint16
    np.testing.assert_array_equal(image.data, deep)


def test_jpeg_is_read_in_colour(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8, 3), (200, 100, 50), np.uint8)).save(tmp_path / "a.jpg")
    image = read_image(tmp_path / "a.jpg")
    assert (image.axes, image.data.shape) == ("yxc", (8, 8, 3))
    np.testing.assert_allclose(image.data.mean((0, 1)), (200, 100, 50), atol=3)


def test_zarr_array_comes_back(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=VOLUME)
    image = read_image(tmp_path / "a.zarr")
    assert image.axes == "zyx"
    np.testing.assert_array_equal(image.data, VOLUME)


@pytest.mark.parametrize("nested", [False, True])  # OME-Zarr 0.4, and 0.5 with its "ome"
def test_ome_zarr_gives_its_finest_level_and_pixel_size(tmp_path: Path, nested: bool) -> None:
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=3 if nested else 2)
    group.create_array("0", data=VOLUME[None])
    group.create_array("1", data=VOLUME[None, :, ::2, ::2])
    scales = [[1.0, 4.0, 2.5, 2.5], [1.0, 4.0, 5.0, 5.0]]
    multiscales = [
        {
            "axes": [
                {"name": "c", "type": "channel"},
                *({"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"),
            ],
            "datasets": [
                {
                    "path": str(level),
                    "coordinateTransformations": [{"type": "scale", "scale": scale}],
                }
                for level, scale in enumerate(scales)
            ],
        }
    ]
    group.attrs.update(
        {"ome": {"multiscales": multiscales}} if nested else {"multiscales": multiscales}
    )
    image = read_image(tmp_path / "a.zarr")
    assert (image.axes, image.pixel_size) == ("zyx", 25.0)
    np.testing.assert_array_equal(image.data, VOLUME)


def _png_bytes(folder: Path) -> bytes:
    Image.fromarray(COLOUR).save(folder / "picture.png")
    return (folder / "picture.png").read_bytes()


@pytest.mark.parametrize("suffix", [".mrc", ".mrcs", ".tif", ".npy", ".jpg"])
def test_file_that_is_not_what_its_suffix_says_is_refused(tmp_path: Path, suffix: str) -> None:
    wrong = tmp_path / f"wrong{suffix}"
    wrong.write_bytes(_png_bytes(tmp_path) + bytes(4000))
    with pytest.raises(InputError, match=wrong.name):
        read_image(wrong)


@pytest.mark.parametrize("suffix", [".mrc", ".tif", ".npy", ".png", ".jpg"])
def test_missing_and_empty_files_and_folders_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with pytest.raises(InputError, match="does not exist"):
        read_image(path)
    path.touch()
    with pytest.raises(InputError, match="is empty"):
        read_image(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="is a folder"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".mrc", ".tif", ".npy", ".png", ".jpg"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    noise = RNG.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    if suffix == ".mrc":
        write_mrc(path, noise[..., 0].astype(np.float32))
    elif suffix == ".tif":
        tifffile.imwrite(path, noise, photometric="rgb")
    elif suffix == ".npy":
        np.save(path, noise)
    else:
        Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="a" + suffix):
        read_image(path)


def test_pickled_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"not a \.npy file of numbers"):
        read_image(tmp_path / "a.npy")


@pytest.mark.parametrize("shape", [(5,), (2, 2, 2, 2, 2), (0, 4)])
def test_arrays_that_are_no_images_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape))
    with pytest.raises(InputError, match=r"axes|no pixels"):
        read_image(tmp_path / "a.npy")


def test_complex_and_text_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 4), complex))
    with pytest.raises(InputError, match="real numbers"):
        read_image(tmp_path / "a.npy")


def test_zarr_that_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_image(tmp_path / "none.zarr")
    zarr.create_group(tmp_path / "a.zarr")
    with pytest.raises(InputError, match="OME-Zarr"):
        read_image(tmp_path / "a.zarr")


def test_unknown_suffix_is_refused_with_what_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'?\.czi.* are not read .*\.mrc"):
        read_image(tmp_path / "a.czi")


def test_wrong_axes_are_refused(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", PLANE)
    with pytest.raises(InputError, match="not 'zyx'"):
        read_image(tmp_path / "a.mrc", axes="zyx")


def test_colour_does_not_go_into_mrc(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="colour goes into TIFF"):
        write_mrc(tmp_path / "a.mrc", COLOUR, axes="yxc")
    with pytest.raises(InputError, match="an MRC file ends in"):
        write_mrc(tmp_path / "a.tif", PLANE)


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_write_makes_its_folder_and_follows_links(tmp_path: Path) -> None:
    real, link = tmp_path / "deep" / "real.txt", tmp_path / "link.txt"
    link.symlink_to(real)
    with atomic_path(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_write_to_a_folder_or_below_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"), atomic_path(tmp_path):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="can't be written"), atomic_path(tmp_path / "file" / "a"):
        pass
