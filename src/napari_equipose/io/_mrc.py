"""MRC files: images, volumes, and stacks of both."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import mrcfile
import numpy as np
from mrcfile.mrcinterpreter import MrcInterpreter
from mrcfile.utils import data_dtype_from_header, data_shape_from_header
from numpy.typing import NDArray

from ..geometry import InputError
from ._files import atomic_path, disguise_of, existing_file, reading

STACK_SUFFIXES = (".mrcs", ".st")
MRC_SUFFIXES = (".mrc", ".map", ".rec", *STACK_SUFFIXES)
_HEADER_BYTES = 1024
_EXTENDED = slice(92, 96)
_IMOD_STAMP = 1146047817
_X, _Y, _Z = 1, 2, 3
_IN_ORDER = (_Z, _Y, _X)
"""Axes of the sections, the rows and the columns of most files."""
_AXES_BY_NDIM = {2: ("yx",), 3: ("zyx", "nyx"), 4: ("nzyx",)}


class MrcFile(NamedTuple):
    """An MRC file, its pixels still on disk."""

    data: NDArray[Any]
    axes: str
    sizes: dict[str, float]
    """Angstrom of a pixel along ``x``, ``y`` and ``z``, as far as the header says."""


def open_mrc(path: str | Path) -> MrcFile:
    """Map the pixels of an MRC file into memory, read-only.

    Files without the marks of the 2014 standard are common and are read; one that is too
    short for the image its header promises is refused. Three axes are ``"nyx"`` by the suffix
    (.mrcs, .st) or by the standard (space group 0 and cells of one section), else ``"zyx"``.
    Whichever of x, y and z the columns, rows and sections of the file are (MAPC, MAPR, MAPS), the
    array is returned with x last, y before it, and z before y.

    Raises
    ------
    InputError
        If the file is missing, not an MRC file, truncated, of complex numbers, or does not say
        which axis is which.
    """
    path = existing_file(path)
    with reading(path, "an MRC file"):
        header, n_extended = _read_header(path)
        dtype = _pixel_dtype(header)
        shape = data_shape_from_header(header)
        offset = _HEADER_BYTES + n_extended
        says_stack = int(header.ispg) == 0 and int(header.mz) == 1
        order = (int(header.maps), int(header.mapr), int(header.mapc))
        sizes = _pixel_sizes(header)
    wanted = offset + int(np.prod(shape, dtype=object)) * dtype.itemsize
    found = path.stat().st_size
    if min(shape) <= 0 or offset < _HEADER_BYTES or found < wanted:
        if (what := disguise_of(path, "an MRC file")) is not None:
            raise InputError(f"{path} {what}.")
        raise InputError(
            f"{path} is truncated or not an MRC file: its header promises {shape} pixels, "
            f"{wanted} bytes in all, and the file has {found}."
        )
    if dtype.kind == "c":
        raise InputError(f"{path} holds complex numbers (a transform); images are real.")
    data: NDArray[Any] = np.memmap(path, dtype, mode="r", offset=offset, shape=shape)
    axes = {2: "yx", 3: "zyx", 4: "nzyx"}[data.ndim]
    if data.ndim == 3 and (says_stack or path.suffix.lower() in STACK_SUFFIXES):
        axes = "nyx"
    if order not in (_IN_ORDER, (0, 0, 0)):  # all 0: an old file that does not say
        data, axes = _in_order(path, data, axes, order)
    return MrcFile(data, axes, sizes)


def _in_order(
    path: Path, data: NDArray[Any], axes: str, order: tuple[int, int, int]
) -> tuple[NDArray[Any], str]:
    """Bring sections, rows and columns, which are the axes ``order``, into the order z, y, x."""
    said = "MAPC, MAPR, MAPS = " + ", ".join(map(str, reversed(order)))
    if sorted(order) != [_X, _Y, _Z]:
        raise InputError(
            f"{path} does not say which axis is which: its header has {said}, wanted 1, 2 and 3 "
            "in some order. Correct the header (as a rule it is 1, 2, 3)."
        )
    if axes in ("yx", "nyx") and order[0] == _Z:
        return data.swapaxes(-1, -2), axes
    if axes == "nyx":
        raise InputError(
            f"{path} is a stack of images by its name or its header, and a volume by its axes "
            f"({said}); name a volume .mrc or .map."
        )
    if axes == "yx":
        data, axes = data[None], "zyx"
    last = data.ndim - 3
    places = [last + order.index(axis) for axis in _IN_ORDER]
    return data.transpose(*range(last), *places), axes


def _pixel_sizes(header: Any) -> dict[str, float]:
    """Cell edge over its number of samples, of each axis x, y, z for which that is a length."""
    sizes = {}
    for axis in "xyz":
        samples = int(header[f"m{axis}"])
        size = float(header.cella[axis]) / samples if samples > 0 else 0.0
        if np.isfinite(size) and size > 0:
            sizes[axis] = size
    if int(header.mz) == 1 and int(header.nz) > 1:  # cells of one section: z is not known
        sizes.pop("z", None)
    return sizes


def _read_header(path: Path) -> tuple[Any, int]:
    """The header, in whatever byte order it is, and the size of the extended one after it.

    mrcfile would unpack a compressed file, and allocate an extended header of any size, unseen.
    """
    with path.open("rb") as file:
        head = bytearray(file.read(_HEADER_BYTES))
    n_extended = head[_EXTENDED]
    head[_EXTENDED] = bytes(len(n_extended))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # what we check ourselves
        header = MrcInterpreter(BytesIO(head), permissive=True, header_only=True).header
    return header, int(np.frombuffer(n_extended, header.mode.dtype)[0])


def _pixel_dtype(header: Any) -> np.dtype[Any]:
    """The type of a pixel, IMOD's unsigned bytes among them."""
    dtype: np.dtype[Any] = data_dtype_from_header(header)
    stamp, flags = np.frombuffer(header.extra2.tobytes()[40:48], header.mode.dtype)
    if dtype == np.int8 and stamp == _IMOD_STAMP and flags & 1 == 0:
        return np.dtype(np.uint8)
    return dtype


def write_mrc(
    path: str | Path,
    array: NDArray[Any],
    pixel_size: float | Sequence[float] | None = None,
    *,
    axes: str | None = None,
) -> None:
    """Write an image, a volume or a stack as MRC, whole or not at all.

    Parameters
    ----------
    path : str or Path
        Suffix .mrc, .mrcs, .map, .rec or .st.
    array : array, shape (y, x), (z, y, x), (n, y, x) or (n, z, y, x)
        Integers of 8 and 16 bits keep their values, all else becomes float32.
    pixel_size : float or sequence of float, optional
        Angstrom; one for all axes, or one each along (z,) y and x. None leaves the voxel size 0,
        which says that it is not known.
    axes : str, optional
        ``"yx"``, ``"zyx"``, ``"nyx"`` or ``"nzyx"``. By default three axes are a stack of
        images when the suffix is .mrcs or .st, and a volume otherwise.

    Raises
    ------
    InputError
        If the array has other axes, or the file can't be written.
    """
    path = Path(path)
    axes = _axes_to_write(path, array.shape, axes)
    if array.dtype not in (np.int8, np.uint8, np.int16, np.uint16):
        array = array.astype(np.float32)
    with atomic_path(path) as temporary, mrcfile.new(temporary, overwrite=True) as mrc:
        mrc.set_data(np.ascontiguousarray(array))  # four axes become a stack of volumes
        if axes == "nyx":
            mrc.set_image_stack()
        mrc.voxel_size = _voxel_size(pixel_size)


def _voxel_size(pixel_size: float | Sequence[float] | None) -> tuple[float, float, float]:
    """Angstrom along x, y and z; along z as along y where it is not told."""
    sides = np.atleast_1d(0.0 if pixel_size is None else pixel_size)
    if len(sides) == 1:
        return (float(sides[0]),) * 3
    x, y, *z = map(float, reversed(sides))
    return x, y, z[0] if z else y


@contextmanager
def new_mrc(
    path: str | Path,
    shape: tuple[int, ...],
    pixel_size: float | None = None,
    *,
    axes: str | None = None,
) -> Iterator[Callable[[NDArray[Any]], None]]:
    """Write an MRC file of float32 part by part, whole or not at all.

    Yields a function that writes the next image of a stack, or plane of a volume, so that the
    whole need not be in memory. The parameters are those of `write_mrc`. The parts are written one
    after the other, not through a memory map: where the disk is full that would end the process.

    Raises
    ------
    InputError
        If the shape has other axes, or the file can't be written.
    """
    path = Path(path)
    axes = _axes_to_write(path, shape, axes)
    with atomic_path(path) as temporary:
        with mrcfile.new_mmap(temporary, shape, mrc_mode=2, overwrite=True) as mrc:
            if axes == "nyx":
                mrc.set_image_stack()
            mrc.voxel_size = pixel_size or 0.0
        with temporary.open("r+b") as file:
            file.seek(_HEADER_BYTES)

            def write(part: NDArray[Any]) -> None:
                if part.shape != shape[1:]:
                    raise ValueError(f"parts of {shape[1:]} are wanted, got {part.shape}")
                file.write(np.ascontiguousarray(part, "<f4").tobytes())

            yield write
            if file.tell() != _HEADER_BYTES + 4 * prod(shape):
                raise ValueError(f"{path} is to hold {shape[0]} parts, and got another number")


def _axes_to_write(path: Path, shape: tuple[int, ...], axes: str | None) -> str:
    """Check the name and the axes of what is to be written."""
    if path.suffix.lower() not in MRC_SUFFIXES:
        raise InputError(f"{path}: an MRC file ends in one of {', '.join(MRC_SUFFIXES)}.")
    possible = _AXES_BY_NDIM.get(len(shape), ())
    if axes is None and possible:
        axes = "nyx" if len(shape) == 3 and path.suffix.lower() in STACK_SUFFIXES else possible[0]
    if axes not in possible:
        raise InputError(
            f"{path}: an array of shape {shape} with axes {axes!r} is no MRC image; "
            "wanted 'yx', 'zyx', 'nyx' or 'nzyx' (colour goes into TIFF)."
        )
    return axes
