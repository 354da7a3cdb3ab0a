"""Boxes to align, as they were chosen: a stack, or what lies around points; nothing of Qt."""

import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..inference import Progress

_IN_MEMORY = 2**28
"""Bytes of boxes that are kept in memory; more of them go to a file."""
_SELDOM = 20  # boxes: a report of each would keep the viewer busy with nothing else


class Particles(NamedTuple):
    """Boxes to align, not read yet: a snapshot, whatever becomes of form and layers."""

    name: str
    record: dict[str, Any]
    """What files say of them; plain JSON."""
    data: Any
    """A stack of boxes (n, [z,] y, x) or (n, y, x, 3), or a large image of [z,] y, x [, 3],"""
    positions: NDArray[np.float64] | None
    """with places ([z,] y, x) in its pixels that boxes are cut around."""
    shape: tuple[int, ...]
    """Of all boxes together, such as (n, z, y, x)."""
    dimensions: int
    left_out: int
    """Points too near to the edge for a box around them."""
    place: dict[str, Any]
    """Keyword arguments that put a layer where the source is."""
    path: str | None
    """The file of a stack."""
    unique_id: Any
    """Of the source layer, which may be deleted."""
    tilts: pd.DataFrame | None = None
    """Columns ``tilt_min`` and ``tilt_max`` of degrees, where each has a tilt range of its own."""

    @property
    def rgb(self) -> bool:
        """Whether the boxes are in colour."""
        return len(self.shape) == self.dimensions + 2

    @property
    def voxel(self) -> tuple[float, str]:
        """Length of a pixel and its unit."""
        return float(self.place["scale"][-1]), f"{self.place['units'][-1]:~P}"

    @property
    def stack_place(self) -> dict[str, Any]:
        """Keyword arguments of a layer of boxes; those that were cut begin at the origin."""
        if self.positions is None:
            return self.place
        return {
            "scale": (1.0, *self.place["scale"]),
            "units": ("pixel", *map(str, self.place["units"])),
            "axis_labels": ("n", *self.place["axis_labels"]),
        }

    @property
    def corners(self) -> NDArray[np.int64]:
        """First pixel of each box that is cut, shape (n, d)."""
        assert self.positions is not None
        return corners_of(self.positions, self.shape[1])


def corners_of(positions: NDArray[np.float64], box_size: int) -> NDArray[np.int64]:
    """First pixels of boxes whose centre pixels are nearest to positions."""
    return np.floor(positions + 0.5).astype(np.int64) - box_size // 2


def gather(particles: Particles, folder: Path) -> Generator[Progress, None, NDArray[Any]]:
    """Copy all boxes, into a nameless file of a folder where they are many.

    Yields
    ------
    Progress

    Returns
    -------
    array, shape ``particles.shape``

    Raises
    ------
    OSError
        If the folder can't be written.
    """
    dtype, n = np.dtype(particles.data.dtype), particles.shape[0]
    if np.prod(particles.shape, dtype=float) * dtype.itemsize <= _IN_MEMORY:
        boxes = np.empty(particles.shape, dtype)
        for row in range(n):
            boxes[row] = _box(particles, row)
            if row % _SELDOM == 0:
                yield Progress(row + 1, n, "reading the boxes")
        return boxes
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        for row in range(n):
            file.write(np.ascontiguousarray(_box(particles, row)).tobytes())
            if row % _SELDOM == 0:
                yield Progress(row + 1, n, "reading the boxes")
        file.flush()
        return np.memmap(file, dtype, "r", shape=particles.shape)


def _box(particles: Particles, row: int) -> NDArray[Any]:
    if particles.positions is None:
        box = np.asarray(particles.data[row])
        return box[..., :3] if particles.rgb else box
    corner = particles.corners[row].tolist()
    sides = particles.shape[1 : 1 + particles.dimensions]
    there = (slice(first, first + side) for first, side in zip(corner, sides, strict=True))
    box = np.asarray(particles.data[tuple(there)])
    return box[..., :3] if particles.rgb else box
