"""Images of any kind this package reads, each with its axes and its pixel size."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

from ..geometry import InputError
from ._files import existing_file
from ._mrc import MRC_SUFFIXES, open_mrc

# Units that name a pixel's size in TIFF and OME files, in Angstrom.
_ANGSTROM = {
    "angstrom": 1.0,
    "å": 1.0,
    "nm": 10.0,
    "nanometer": 10.0,
    "um": 1e4,
    "µm": 1e4,
    "μm": 1e4,
    "\\u00b5m": 1e4,
    "micron": 1e4,
    "microns": 1e4,
    "micrometer": 1e4,
    "mm": 1e7,
    "millimeter": 1e7,
}


class ImageFile(NamedTuple):
    """What an image file holds."""

    data: NDArray[Any]
    """As on disk: its type, its axes; mapped into memory, read-only, where the format allows."""
    axes: str
    """One letter an axis: ``"yx"``, ``"yxc"``, ``"zyx"``, ``"nyx"``, ``"nyxc"`` or ``"nzyx"``."""
    pixel_size: float | None
    """Angstrom; None where the file does not say."""
    path: Path


def read_image(path: str | Path, *, axes: str | None = None) -> ImageFile:
    """Read an image, a volume or a stack.

    Parameters
    ----------
    path : str or Path
        .mrc .mrcs .map .rec .st, .tif .tiff, .npy, .zarr (also OME-Zarr, its full resolution),
        .png, .jpg .jpeg. Colour is red, green, blue on the last axis; alpha is dropped.
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
    return image._replace(axes=axes)


def _read_mrc(path: Path) -> ImageFile:
    data, axes, pixel_size = open_mrc(path)
    if data.ndim == 3 and len(data) == 1:  # one section is an image
        data, axes = data[0], "yx"
    return ImageFile(data, axes, pixel_size, path)


def _read_npy(path: Path) -> ImageFile:
    path = existing_file(path)
    try:
        data = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path} is not a .npy file of numbers: {error}.") from error
    return _unnamed(path, data)


def _read_picture(path: Path) -> ImageFile:
    """PNG and JPEG."""
    path = existing_file(path)
    kind = "PNG" if path.suffix.lower() == ".png" else "JPEG"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=[kind]) as picture:
                if picture.mode in ("1", "LA", "La"):
                    data = np.asarray(picture.convert("L"))
                elif picture.mode.startswith(("L", "I", "F")):
                    data = np.asarray(picture)
                else:
                    data = np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is damaged or not a {kind} file: {error}.") from error
    return ImageFile(data, "yx" if data.ndim == 2 else "yxc", None, path)


def _read_tiff(path: Path) -> ImageFile:
    path = existing_file(path)
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            names = series.axes
            pixel_size = _tiff_pixel_size(file)
            mappable = series.dataoffset is not None
            data: NDArray[Any] = (
                tifffile.memmap(path, series=0, mode="r") if mappable else series.asarray()
            )
    except (tifffile.TiffFileError, ValueError, OSError, IndexError, RuntimeError) as error:
        raise InputError(f"{path} is damaged or not a TIFF file: {error}.") from error
    return _lettered(path, data, names.lower(), pixel_size)


def _tiff_pixel_size(file: tifffile.TiffFile) -> float | None:
    """What ImageJ or OME wrote; a plain TIFF's resolution is that of a printer."""
    if file.is_ome and file.ome_metadata:
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"].get("Image", {})
        pixels = (pixels[0] if isinstance(pixels, list) else pixels).get("Pixels", {})
        return _in_angstrom(pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeXUnit", "µm"))
    resolution = file.pages.first.tags.get("XResolution")
    if not file.is_imagej or resolution is None or not resolution.value[0]:
        return None
    pixels_per_unit, unit = resolution.value, (file.imagej_metadata or {}).get("unit")
    return _in_angstrom(pixels_per_unit[1] / pixels_per_unit[0], unit)


def _in_angstrom(size: float | None, unit: str | None) -> float | None:
    """A length in Angstrom, if it is one."""
    factor = _ANGSTROM.get(str(unit).lower())
    return None if size is None or factor is None or size <= 0 else float(size) * factor


def _read_zarr(path: Path) -> ImageFile:
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    try:
        node = zarr.open(str(path), mode="r")
        if isinstance(node, zarr.Array):
            return _unnamed(path, np.asarray(node))
        data, names, pixel_size = _ome_level_0(node)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{path} is neither a Zarr array nor an OME-Zarr image: {error!r}."
        ) from error
    return _lettered(path, data, names, pixel_size)


def _ome_level_0(group: zarr.Group) -> tuple[NDArray[Any], str, float | None]:
    """The finest level of an OME-Zarr image, a letter for each of its axes, its pixel size."""
    attributes: dict[str, Any] = dict(group.attrs)
    image = attributes.get("ome", attributes)["multiscales"][0]
    level = image["datasets"][0]
    data = np.asarray(group[level["path"]])
    described = [axis if isinstance(axis, dict) else {"name": axis} for axis in image["axes"]]
    scales = [t["scale"] for t in level.get("coordinateTransformations", []) if "scale" in t]
    pixel_size = _in_angstrom(scales[0][-1], described[-1].get("unit")) if scales else None
    return data, "".join(str(axis["name"]).lower()[:1] for axis in described), pixel_size


def _lettered(path: Path, data: NDArray[Any], letters: str, pixel_size: float | None) -> ImageFile:
    """Bring an array whose axes are named into our order: y, x, z, c or s (samples), others."""
    keep = [i for i, letter in enumerate(letters) if letter in "yx" or data.shape[i] > 1]
    data, letters = data.reshape([data.shape[i] for i in keep]), "".join(letters[i] for i in keep)
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
    return ImageFile(data, axes, pixel_size, path)


def _unnamed(path: Path, data: NDArray[Any]) -> ImageFile:
    """Name the axes of an array that comes without names."""
    colour = data.ndim >= 3 and data.shape[-1] in (3, 4) and data.dtype == np.uint8
    names = {3: "yxc", 4: "nyxc"} if colour else {2: "yx", 3: "zyx", 4: "nzyx"}
    if data.ndim not in names:
        raise InputError(f"{path} has {data.ndim} axes, {data.shape}; an image has two to four.")
    return ImageFile(data[..., :3] if colour else data, names[data.ndim], None, path)


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
