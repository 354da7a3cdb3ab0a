"""The points of the plot, and what of them is drawn in a view. Nothing here knows of Qt."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._density import Bounds, Cloud, Layer, in_tiles, layers

_COLOUR = (138, 180, 216)


class PlotPoints:
    """Points with colours, of which some can be hidden, and some stand out."""

    def __init__(self) -> None:
        self.xy: NDArray[np.float64] = np.zeros((0, 2))
        self._shown: NDArray[np.bool_] | None = None
        self._start_over()
        self.set_points(self.xy)

    def set_points(self, xy: NDArray[Any]) -> None:
        """Place points (n, 2); where n stays the same, colours and all else stay too."""
        xy = np.array(xy, np.float64)
        if xy.ndim != 2 or xy.shape[1] != 2:
            raise ValueError(f"points must be (n, 2), got {xy.shape}")
        same, self.xy = len(xy) == len(self.xy), xy
        if not same:
            self._start_over()
        x, y = np.ascontiguousarray(xy.T)
        rows = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        x, y = x[rows], y[rows]
        # Single precision suffices for pictures, but not far from the origin.
        self._origin = (float(x.mean()), float(y.mean())) if len(rows) else (0.0, 0.0)
        order = in_tiles(x, y)
        self._order = rows[order]
        self._x = (x - self._origin[0]).astype(np.float32)[order]
        self._y = (y - self._origin[1]).astype(np.float32)[order]
        self._luck = np.random.default_rng(0).random(len(rows), np.float32)
        self._all: Cloud | None = None

    def set_colours(self, rgb: NDArray[np.uint8]) -> None:
        """Colour each point, (n, 3)."""
        self._rgb = np.array(_fitting(rgb, (len(self.xy), 3)), np.uint8)
        self._all = None

    def set_shown(self, mask: NDArray[np.bool_] | None) -> None:
        """Hide all points that are not in the mask (n,)."""
        self._shown = None if mask is None else np.array(_fitting(mask, (len(self.xy),)), bool)
        self._all = None

    def set_selected(self, mask: NDArray[np.bool_]) -> None:
        """Have the points of the mask (n,) stand out; all are alike where there are none."""
        self._selected = np.array(_fitting(mask, (len(self.xy),)), bool)
        self._all = None

    @property
    def some_selected(self) -> bool:
        """Whether some points stand out."""
        return bool(self._selected.any())

    @property
    def drawn(self) -> NDArray[np.bool_]:
        """Mask (n,) of the points that are neither hidden nor without a place."""
        mask = np.zeros(len(self.xy), bool)
        mask[self._order] = True
        return mask if self._shown is None else mask & self._shown

    def extent(self) -> Bounds | None:
        """Smallest rectangle about the points that are drawn."""
        cloud, (x, y) = self._cloud(), self._origin
        if not len(cloud.x):
            return None
        return Bounds(
            x + float(cloud.x.min()),
            x + float(cloud.x.max()),
            y + float(cloud.y.min()),
            y + float(cloud.y.max()),
        )

    def row_at(self, x: float, y: float, pixel: tuple[float, float], reach: float) -> int:
        """Give the row of the drawn point nearest to a place, or -1.

        Parameters
        ----------
        x, y : float
            The place.
        pixel : (float, float)
            Size of a pixel along x and y.
        reach : float
            How far a point may be, in pixels.
        """
        rows = np.flatnonzero(self.drawn)
        if not len(rows):
            return -1
        away = (self.xy[rows] - (x, y)) / pixel
        far: NDArray[np.float64] = np.einsum("ij,ij->i", away, away)
        best = int(far.argmin())
        return int(rows[best]) if far[best] <= reach**2 else -1

    def layers(self, bounds: Bounds, shape: tuple[int, int]) -> list[Layer]:
        """Find what is to be drawn in a rectangle, the lowest first.

        Parameters
        ----------
        bounds : Bounds
            The rectangle.
        shape : (int, int)
            Its rows and columns of pixels, of the screen's own measure.
        """
        return layers(self._cloud(), self.near(bounds), shape)

    def near(self, bounds: Bounds) -> Bounds:
        """Give a rectangle relative to the origin of clouds."""
        x, y = self._origin
        return Bounds(bounds.x0 - x, bounds.x1 - x, bounds.y0 - y, bounds.y1 - y)

    def _cloud(self) -> Cloud:
        """Give all points that are not hidden; kept for the next view."""
        if self._all is None:
            rows = self._order
            rgb = np.stack([self._rgb[:, channel].take(rows) for channel in range(3)])
            chosen = self._selected.take(rows)
            self._all = Cloud(self._x, self._y, rgb, self._luck, chosen)
            if self._shown is not None:
                self._all = self._all.take(self._shown.take(rows))
        return self._all

    def _start_over(self) -> None:
        self._rgb = np.tile(np.array(_COLOUR, np.uint8), (len(self.xy), 1))
        self._shown = None
        self._selected = np.zeros(len(self.xy), bool)


def _fitting(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if np.shape(values) != shape:
        raise ValueError(f"one entry a point is wanted, {shape}, got {np.shape(values)}")
    return values
