"""Images of any kind this package reads, each with its axes and its pixel size."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..geometry import InputError
from ._blocks import check_blocks
from ._files import existing_file, reading
from ._mrc import MRC_SUFFIXES, open_mrc
from ._tiff import open_tiff
from ._zarr import open_zarr


class ImageFile(NamedTuple):
    """What an image file holds."""

    data: NDArray[Any]
    """As on disk: its type, its axes. Mapped into memory, read-only, where the format allows;
    of a compressed file of more than 1 GiB of pixels a Dask array, which reads blocks when they
    are asked for."""
    axes: str
    """One letter an axis: ``"yx"``, ``"yxc"``, ``"zyx"``, ``"nyx"``, ``"nyxc"`` or ``"nzyx"``."""
    pixel_size: float | None
    """Angstrom along x; None where the file does not say."""
    path: Path
    spacing: tuple[float, ...] | None = None
    """Angstrom along each axis of (z,) y and x, where the file says it of all of them."""


def read_image(path: str | Path, *, axes: str | None = None) -> ImageFile:
    """Read an image, a volume or a stack.

    Parameters
    ----------
    path : str or Path
        .mrc .mrcs .map .rec .st, .tif .tiff, .npy, .zarr (also OME-Zarr, its full resolution),
        .png, .jpg .jpeg. Colour is red, green, blue on the last axis; alpha is dropped. Of
        a .zarr that holds several images, the path goes on to one of them: ``plate.zarr/A/1/0``.
    axes : str, optional
        What the axes are, where the file is known to say it wrongly: MRC files do not always
        tell a stack of images from a volume.

    Raises
    ------
    InputError
        If the file is missing, empty, truncated, not what its suffix says, of a kind that is
        not read, or does not have ``axes``.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _READERS and any(one.suffix.lower() == ".zarr" for one in path.parents):
        suffix = ".zarr"  # an image within
    if suffix not in _READERS:
        raise InputError(
            f"{path}: files ending in {suffix or 'nothing'} are not read as images; "
            f"wanted one of {' '.join(_READERS)}."
        )
    image = _READERS[suffix](path)
    if 0 in image.data.shape:
        raise InputError(f"{path} holds no pixels: its shape is {image.data.shape}.")
    if image.data.dtype.kind not in "biuf":
        raise InputError(f"{path} holds {image.data.dtype} values; images are real numbers.")
    if axes is None:
        return image
    if len(axes) != image.data.ndim:
        raise InputError(f"{path} has shape {image.data.shape}, which is not {axes!r}.")
    n_sides = sum(axis in "zyx" for axis in axes)
    sides = image.spacing[-n_sides:] if image.spacing else ()
    return image._replace(axes=axes, spacing=sides if len(sides) == n_sides else None)


def check_square(image: ImageFile) -> None:
    """Refuse an image whose pixels are not as long as they are wide, or high.

    Objects in it are squashed, so that their rotations are not rotations.

    Raises
    ------
    InputError
        If sides differ by more than 2 percent.
    """
    if image.spacing is not None and max(image.spacing) > _SQUARE * min(image.spacing):
        sides = " x ".join(f"{side:.4g}" for side in image.spacing)
        names = ", ".join(axis for axis in image.axes if axis in "zyx")
        raise InputError(
            f"{image.path} has pixels of {sides} Angstrom ({names}), so that rotated objects in it "
            "are squashed; resample it to equal sides, or correct its header if that is wrong."
        )


def _measured(data: NDArray[Any], axes: str, sizes: Mapping[str, float], path: Path) -> ImageFile:
    """Make an image of which the pixel size is known along some of the axes x, y and z."""
    sides = tuple(sizes[axis] for axis in axes if axis in sizes)
    n_sides = sum(axis in "zyx" for axis in axes)
    return ImageFile(data, axes, sizes.get("x"), path, sides if len(sides) == n_sides else None)


def _read_mrc(path: Path) -> ImageFile:
    data, axes, sizes = open_mrc(path)
    if data.ndim == 3 and len(data) == 1:  # one section is an image
        data, axes = data[0], "yx"
    return _measured(data, axes, sizes, path)


def _read_npy(path: Path) -> ImageFile:
    path = existing_file(path)
    with reading(path, "a .npy file of numbers"):
        # Not numpy.load, which would open an archive of this name; a map holds no objects.
        data = np.lib.format.open_memmap(path, mode="r")
    return _unnamed(path, data)


def _read_picture(path: Path) -> ImageFile:
    """PNG and JPEG."""
    path = existing_file(path)
    kind = "PNG" if path.suffix.lower() == ".png" else "JPEG"
    with reading(path, f"a {kind} file"), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path, formats=[kind]) as picture:
            shape = (picture.height, picture.width)
            check_blocks(path, shape, shape, 4, [path.stat().st_size])
            if picture.mode in ("1", "LA", "La"):
                data = np.asarray(picture.convert("L"))
            elif picture.mode.startswith(("L", "I", "F")):
                data = np.asarray(picture)
            else:
                data = np.asarray(picture.convert("RGB"))
    return ImageFile(data, "yx" if data.ndim == 2 else "yxc", None, path)


def _read_tiff(path: Path) -> ImageFile:
    return _lettered(path, *open_tiff(path))


def _read_zarr(path: Path) -> ImageFile:
    data, letters, sizes = open_zarr(path)
    return _unnamed(path, data) if letters is None else _lettered(path, data, letters, sizes)


def _lettered(
    path: Path, data: NDArray[Any], letters: str, sizes: Mapping[str, float]
) -> ImageFile:
    """Bring an array whose axes are named into our order: y, x, z, c or s (samples), others."""
    if len(letters) != data.ndim:
        raise InputError(f"{path} names axes {letters} of an array of shape {data.shape}.")
    keep = [i for i, letter in enumerate(letters) if letter in "yx" or data.shape[i] != 1]
    data = data[tuple(slice(None) if i in keep else 0 for i in range(data.ndim))]
    letters = "".join(letters[i] for i in keep)
    if letters == "qqyx":  # four axes without names
        letters = "qzyx"
    if "s" in letters[:-1]:  # colours in planes: three grey images, as napari opens them
        letters = letters.replace("s", "n")
    for channel in "sc":
        if channel in letters:
            place = letters.index(channel)
            data = np.moveaxis(data, place, -1)
            letters = letters[:place] + letters[place + 1 :] + channel
    if letters.endswith("s"):
        data, letters = data[..., :3], letters[:-1] + "c"
    axes = "".join(letter if letter in "zyxc" else "n" for letter in letters)
    if axes not in ("yx", "yxc", "zyx", "nyx", "nyxc", "nzyx"):
        raise InputError(
            f"{path} has axes {letters} of shape {data.shape}; wanted one image, one volume, or "
            "a stack of them, grey or in colour."
        )
    return _measured(data, axes, sizes, path)


def _unnamed(path: Path, data: NDArray[Any]) -> ImageFile:
    """Name the axes of an array that comes without names."""
    if data.ndim > 2 and data.shape[-1] == 1:  # one channel, which says nothing
        data = data[..., 0]
    while data.ndim > 4 and len(data) == 1:
        data = data[0]
    if data.ndim == 4 and data.shape[1] == 1:
        data = data[:, 0]
    if data.ndim == 3 and len(data) == 1:
        data = data[0]
    colour = data.ndim >= 3 and data.shape[-1] in (3, 4) and data.dtype == np.uint8
    names = {3: "yxc", 4: "nyxc"} if colour else {2: "yx", 3: "zyx", 4: "nzyx"}
    if data.ndim not in names:
        raise InputError(f"{path} has {data.ndim} axes, {data.shape}; an image has two to four.")
    return ImageFile(data[..., :3] if colour else data, names[data.ndim], None, path)


_SQUARE = 1.02
_READERS: dict[str, Callable[[Path], ImageFile]] = {
    **dict.fromkeys(MRC_SUFFIXES, _read_mrc),
    ".tif": _read_tiff,
    ".tiff": _read_tiff,
    ".npy": _read_npy,
    ".zarr": _read_zarr,
    ".png": _read_picture,
    ".jpg": _read_picture,
    ".jpeg": _read_picture,
}
IMAGE_SUFFIXES = tuple(_READERS)
