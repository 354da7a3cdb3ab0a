"""Which points lie inside an outline drawn by hand."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_CELLS = 512
"""Along each side of the grid in which points far from the outline are looked up."""
_AT_ONCE = 1 << 15  # points; few enough to stay in the cache of a core


def rows_inside(xy: NDArray[Any], polygon: NDArray[Any]) -> NDArray[np.bool_]:
    """Say which points lie inside a polygon, by the even-odd rule.

    The polygon is drawn into a grid once. Of points in cells that no edge comes near, the cell
    decides; only the others are held against the edges themselves. The answer is exact.

    Parameters
    ----------
    xy : array, shape (n, 2)
        Points; what is not finite lies outside.
    polygon : array, shape (m, 2)
        Corners in order; the last is joined to the first. Fewer than three enclose nothing.

    Returns
    -------
    array, shape (n,)
        True inside. On the outline itself either may come.
    """
    points, polygon = np.asarray(xy), np.asarray(polygon, np.float64)
    inside = np.zeros(len(points), bool)
    if len(polygon) < 3 or not np.isfinite(polygon).all():
        return inside
    low, size = polygon.min(0), np.ptp(polygon, axis=0)
    if not (size > 0).all():
        return inside
    scale = _CELLS / size
    unit = (polygon - low) * scale
    # About the grid lie a frame of cells, which its outermost edges come near, and a second one
    # that stands for all that lies elsewhere.
    edge = ndimage.binary_dilation(np.pad(_edge_cells(unit), 2), np.ones((3, 3), bool)).ravel()
    within = np.pad(_inside_cells(unit), 2).ravel()
    close = []
    for start in range(0, len(points), _AT_ONCE):
        part = points[start : start + _AT_ONCE]
        cell = _cells(part[:, 1], low[1], scale[1])
        cell *= _CELLS + 4
        cell += _cells(part[:, 0], low[0], scale[0])
        inside[start : start + _AT_ONCE] = within[cell]
        close.append(np.flatnonzero(edge[cell]) + start)
    rows = np.concatenate(close) if close else np.zeros(0, np.intp)
    x, y = points[rows].astype(np.float64).T
    inside[rows] = _inside_exactly(x, y, polygon)
    return inside


def _cells(values: NDArray[np.floating], low: float, scale: float) -> NDArray[np.intp]:
    """Number cells along one axis from 2; the first and the last stand for all outside, or NaN."""
    along = np.subtract(values, low, dtype=np.float64)
    along *= scale
    along += 2
    np.fmin(np.fmax(along, 0, out=along), _CELLS + 3, out=along)
    cells: NDArray[np.intp] = along.astype(np.intp)
    return cells


def _inside_cells(polygon: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Cells (row, column) of the grid whose centre is inside."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    first = np.ceil(np.minimum(start[:, 1], end[:, 1]) - 0.5).astype(np.intp)
    last = np.ceil(np.maximum(start[:, 1], end[:, 1]) - 0.5).astype(np.intp)
    count = last - first  # centres of rows that each edge crosses
    edge = np.repeat(np.arange(len(polygon)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count - first, count)
    start, end = start[edge], end[edge]
    part = (row + 0.5 - start[:, 1]) / (end[:, 1] - start[:, 1])
    crossing = start[:, 0] + part * (end[:, 0] - start[:, 0])
    column = np.clip(np.ceil(crossing - 0.5), 0, _CELLS).astype(np.intp)
    # Each edge turns inside into outside for all that lies to the right of it.
    turns = np.bincount(row * (_CELLS + 1) + column, minlength=_CELLS * (_CELLS + 1))
    turned = np.cumsum(turns.reshape(_CELLS, _CELLS + 1)[:, :-1], axis=1)
    inside: NDArray[np.bool_] = turned % 2 == 1
    return inside


def _edge_cells(polygon: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Cells (row, column) that an edge goes through, but for corners that it cuts."""
    step = np.roll(polygon, -1, axis=0) - polygon
    count = np.ceil(2 * np.abs(step).max(1)).astype(np.intp) + 1  # at least two marks a cell
    edge = np.repeat(np.arange(len(polygon)), count)
    part = (np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)) / count[edge]
    column, row = np.clip((polygon[edge] + part[:, None] * step[edge]).T, 0, _CELLS - 1).astype(int)
    cells = np.zeros((_CELLS, _CELLS), bool)
    cells[row, column] = True
    return cells


def _inside_exactly(
    x: NDArray[np.float64], y: NDArray[np.float64], polygon: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Count for each point the edges to the left of it."""
    order = np.argsort(y)
    x, y = x[order], y[order]
    odd = np.zeros(len(x), bool)
    start, end = polygon, np.roll(polygon, -1, axis=0)
    first = np.searchsorted(y, np.minimum(start[:, 1], end[:, 1]))
    last = np.searchsorted(y, np.maximum(start[:, 1], end[:, 1]))
    for (x0, y0), (x1, y1), i, j in zip(start, end, first, last, strict=True):
        if i < j:
            odd[i:j] ^= x[i:j] > x0 + (y[i:j] - y0) * ((x1 - x0) / (y1 - y0))
    inside = np.empty_like(odd)
    inside[order] = odd
    return inside
