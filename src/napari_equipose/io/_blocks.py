"""Pixels that are not as on disk: read whole where they are few, by blocks where they are many."""

from collections.abc import Callable, Iterable
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any
from weakref import finalize

import dask.array
import numpy as np
from numpy.typing import NDArray

from ..geometry import InputError
from ._files import reading

MOST_BYTES = 2**30
"""Compressed pixels up to this are read whole."""
_LARGEST_BLOCK = 2**30
_SMALL = 2**26
_BLOCK_BYTES = 2**24
_RATIO = 2000
"""Deflate makes no more than a thousandth of anything, and no micrograph is that empty."""


def check_blocks(
    path: Path, shape: tuple[int, ...], block: tuple[int, ...], itemsize: int, files: Iterable[int]
) -> bool:
    """Refuse what a header declares if the file can't hold it; tell whether to read it whole.

    Parameters
    ----------
    path : Path
        To name in refusals.
    shape, block : tuple of int
        Of all pixels, and of those that are unpacked at a time.
    itemsize : int
        Bytes of a pixel.
    files : iterable of int
        Bytes of each file that holds pixels; asked for only as long as they do not suffice.

    Returns
    -------
    bool
        True up to `MOST_BYTES`.

    Raises
    ------
    InputError
        If pixels are many, and so many times more than bytes that there is no picture in them, or
        if blocks are too large to unpack.
    """
    if prod(block) * itemsize > _LARGEST_BLOCK:
        raise InputError(
            f"{path} is packed in blocks of {block} pixels, too large to unpack one of them; "
            "write it again as TIFF or Zarr in smaller ones."
        )
    declared = prod(shape) * itemsize
    if declared > _SMALL and all(held * _RATIO < declared for held in accumulate(files)):
        raise InputError(
            f"{path} declares {declared} bytes of pixels, {shape}, and does not hold a "
            f"{_RATIO}th of that: it is damaged, empty, or was not copied to the end."
        )
    return declared <= MOST_BYTES


class _Blocks:
    """An array in a file, whose damaged blocks are refused by the file's name."""

    def __init__(self, path: Path, array: Any) -> None:
        self._path, self._array = path, array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, index: Any) -> NDArray[Any]:
        with reading(self._path, "a whole image"):
            return np.asarray(self._array[index])


def by_blocks(path: Path, array: Any, close: Callable[[], None] | None = None) -> Any:
    """A Dask array of a chunked one, in blocks of some of its chunks, read when asked for.

    ``close`` is called when nobody has the Dask array any more.
    """
    sizes = dask.array.core.normalize_chunks(
        "auto", array.shape, _BLOCK_BYTES, array.dtype, previous_chunks=array.chunks
    )
    blocks, empty = _Blocks(path, array), np.empty((0,) * array.ndim, array.dtype)
    if close is not None:
        finalize(blocks, close)
    return dask.array.from_array(blocks, sizes, name=False, meta=empty)
