"""A stack seen at rest, each box turned when it is looked at."""

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..geometry import InputError
from ._at_rest import bring_to_rest

_KEPT = 8  # boxes: a viewer asks for the same one plane by plane


class AlignedStack:
    """Boxes of a stack at rest, as an array that holds none of them.

    Each box is read and resampled when it is indexed, so that the aligned copy of a large stack
    never is in memory. napari and dask can show it; `numpy.asarray` makes all of it.

    Parameters
    ----------
    stack : array, shape (n, y, x), (n, y, x, channels) or (n, z, y, x)
        Boxes; may be memory-mapped.
    rotation : array, shape (n,), or (n, 3, 3) for volumes
        As in `Encoding`.
    translation : array, shape (n, 2), or (n, 3) for volumes
        Pixels.
    scale : array, shape (n,), optional
        By how much each object is enlarged, which is undone; 1 when not given.

    Raises
    ------
    InputError
        If poses and boxes do not fit together.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        stack: Any,
        rotation: ArrayLike,
        translation: ArrayLike,
        scale: ArrayLike | None = None,
    ) -> None:
        self._stack = stack
        self._rotation = np.asarray(rotation, np.float32)
        self._translation = np.asarray(translation, np.float32)
        n = len(self._rotation)
        self._scale = np.ones(n, np.float32) if scale is None else np.asarray(scale, np.float32)
        self.shape: tuple[int, ...] = tuple(stack.shape)
        self.ndim = len(self.shape)
        self._colour = self._rotation.ndim == 1 and self.ndim == 4
        if self.shape[0] != n or len(self._scale) != n:
            raise InputError(f"each of {self.shape[0]} boxes needs one pose, got {n}.")
        self._at_rest(slice(0, 0))  # refuses poses of another kind here, not when they are drawn
        self._box = lru_cache(_KEPT)(lambda number: self._at_rest(slice(number, number + 1))[0])

    @property
    def size(self) -> int:
        """Number of pixels."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that all of it would take."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        """Number of boxes."""
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        """Bring the boxes that an index of the first axis names to rest, and index the rest."""
        first, *rest = self._whole_index(index)
        chosen = np.arange(len(self))[first]
        if chosen.ndim == 0:
            return self._box(int(chosen))[tuple(rest)]
        shape = np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *rest)].shape[1:]
        boxes = np.empty((chosen.size, *shape), self.dtype)
        for place, number in enumerate(chosen.ravel().tolist()):
            boxes[place] = self._box(number)[tuple(rest)]
        return boxes.reshape(*chosen.shape, *shape)

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> NDArray[Any]:
        """Bring all boxes to rest."""
        boxes: NDArray[Any] = self[:]
        return boxes if dtype is None else boxes.astype(dtype, copy=False)

    def _whole_index(self, index: Any) -> tuple[Any, ...]:
        """Write an index with its dots filled in; what it leaves out is all."""
        parts = index if isinstance(index, tuple) else (index,)
        dots = [i for i, part in enumerate(parts) if part is Ellipsis]
        if len(dots) > 1 or any(part is None for part in parts):
            raise IndexError("an aligned stack takes numbers, slices, arrays and one ellipsis.")
        if dots:
            missing = self.ndim - (len(parts) - 1)
            parts = (*parts[: dots[0]], *[slice(None)] * missing, *parts[dots[0] + 1 :])
        return parts or (slice(None),)

    def _at_rest(self, rows: slice) -> NDArray[np.float32]:
        boxes = np.asarray(self._stack[rows])
        if self._colour:
            boxes = np.moveaxis(boxes, -1, 1)
        poses = self._rotation[rows], self._translation[rows], self._scale[rows]
        aligned = bring_to_rest(boxes, *poses)
        return np.moveaxis(aligned, 1, -1) if self._colour else aligned
