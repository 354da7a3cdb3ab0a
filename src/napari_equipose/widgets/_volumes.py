"""Volumes of image layers, read in pieces: which voxels, and where in the world they lie."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import InputError
from ._layers import (
    check_slices,
    check_voxels,
    placement,
    slice_note,
    slice_of,
    spatial_shape,
    to_finest,
)

_MOST_PLANES = 64
_MOST_BYTES = 2**28
"""Of a piece that is kept."""


class VolumeReader:
    """A volume (z, y, x) within an array that may have more axes before; read window by window.

    Work on volumes goes through them plane by plane, while chunked arrays are unpacked chunk by
    chunk: so as many planes as a chunk has are read at once, and kept until others are wanted.

    Parameters
    ----------
    data : array
        numpy, Dask, Zarr.
    at : tuple of int
        Place of the volume on the axes before z.
    """

    def __init__(self, data: Any, at: tuple[int, ...] = ()) -> None:
        self._data, self._at = data, at
        self.shape: tuple[int, ...] = tuple(data.shape[len(at) :])
        self.ndim, self.dtype = len(self.shape), np.dtype(data.dtype)
        chunks = getattr(data, "chunks", None)
        depth = chunks[len(at)] if chunks else 1
        self._depth = min(int(np.max(depth)), _MOST_PLANES)  # Dask tells the size of each chunk
        self._there: tuple[slice, ...] | None = None
        self._kept: Any = None

    def __getitem__(self, index: tuple[slice, slice, slice]) -> NDArray[Any]:
        """Read a window, given by three slices without steps."""
        (first, last, _), y, x = index[0].indices(self.shape[0]), *index[1:]
        start = first // self._depth * self._depth
        stop = min(-(-last // self._depth) * self._depth, self.shape[0])
        sides = (len(range(side)[part]) for side, part in zip(self.shape[1:], (y, x), strict=True))
        size = np.prod((stop - start, *sides), dtype=float) * self.dtype.itemsize
        if self._depth == 1 or size > _MOST_BYTES:
            return np.asarray(self._data[(*self._at, slice(first, last), y, x)])
        there = (slice(start, stop), y, x)
        if there != self._there:
            self._kept = np.asarray(self._data[(*self._at, *there)])
            self._there = there
        kept: NDArray[Any] = self._kept[first - start : last - start]
        return kept


class Volume(NamedTuple):
    """One volume (z, y, x) of an image layer, and where it lies.

    What becomes of the layer afterwards does not matter to it; its voxels are read as they are
    wanted.
    """

    name: str
    data: VolumeReader
    """Of one level of a pyramid."""
    leading: tuple[int, ...]
    """Place of the volume on the axes of the layer before z."""
    factor: tuple[float, float, float]
    """Layer voxels in one voxel of the volume, (z, y, x); 1 but for levels of a pyramid."""
    placement: dict[str, Any]
    """Keyword arguments that put another layer where this one is."""
    axis_labels: tuple[str, ...]
    path: str | None = None
    """The file the layer was read from."""

    @property
    def note(self) -> str:
        """Which volume it is, where there are several; else empty."""
        return slice_note(self.axis_labels, self.leading, "volume")

    def to_layer(self, positions: NDArray[Any]) -> NDArray[np.float64]:
        """Turn (z, y, x) voxels, (n, 3), into the layer's data coordinates."""
        return to_finest(positions, self.factor, self.leading)


def volume_of(layer: Any, viewer: Any, level: int = 0) -> Volume:
    """Take the volume of an image layer that the viewer shows now.

    Raises
    ------
    InputError
        If the layer has no volume, its voxels are no cubes, or no volume of it is what the viewer
        shows.
    """
    whole = layer.data[0] if layer.multiscale else layer.data
    data = layer.data[level] if layer.multiscale else layer.data
    shape = spatial_shape(data, layer.rgb)
    if len(shape) < 3:
        raise InputError(
            f"{layer.name} is an image, and the model is of volumes: choose a tomogram (z, y, x), "
            "or a model of images."
        )
    if layer.rgb:
        raise InputError(f"{layer.name} is in colour; a grey volume (z, y, x) is wanted.")
    check_slices(layer, viewer, 3)
    ratio = np.array(whole.shape) / np.array(shape)
    check_voxels(layer, 3, ratio[-3:])
    leading = slice_of(layer, viewer, 3)
    at = np.minimum(np.array(leading) / ratio[:-3], np.array(shape[:-3]) - 1)
    z, y, x = (float(one) for one in ratio[-3:])
    return Volume(
        name=str(layer.name),
        data=VolumeReader(data, tuple(int(i) for i in at)),
        leading=leading,
        factor=(z, y, x),
        placement=placement(layer),
        axis_labels=tuple(map(str, layer.axis_labels)),
        path=str(layer.source.path) if layer.source.path else None,
    )
