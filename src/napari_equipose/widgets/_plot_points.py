"""The points of the plot, and what of them is drawn in a view. Nothing here knows of Qt."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._density import MOST_DOTS, Bounds, Cloud, alone, density, dot_radius, in_tiles

_COLOUR = (138, 180, 216)
_FADED = 0.22
"""Opacity of all others when some are selected."""


class Layer(NamedTuple):
    """One of the sets of points that are drawn over one another."""

    density: NDArray[np.uint8] | None
    """(y, x, 4) as in `_density`, below the dots; none where all points are dots."""
    dots: Cloud
    """Relative to the origin, as `PlotPoints.near` gives bounds."""
    radius: float
    """Of the dots, in pixels of the screen's own measure."""
    opacity: float


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
        self._order = in_tiles(xy)
        finite = xy[self._order]
        # Single precision suffices for pictures, but not far from the origin.
        self._origin = finite.mean(0) if len(finite) else np.zeros(2)
        self._x, self._y = np.ascontiguousarray((finite - self._origin).T, np.float32)
        self._luck = np.random.default_rng(0).random(len(finite), np.float32)
        self._clouds: list[tuple[Cloud, float]] | None = None

    def set_colours(self, rgb: NDArray[np.uint8]) -> None:
        """Colour each point, (n, 3)."""
        self._rgb = np.array(_fitting(rgb, (len(self.xy), 3)), np.uint8)
        self._clouds = None

    def set_shown(self, mask: NDArray[np.bool_] | None) -> None:
        """Hide all points that are not in the mask (n,)."""
        self._shown = None if mask is None else np.array(_fitting(mask, (len(self.xy),)), bool)
        self._clouds = None

    def set_selected(self, mask: NDArray[np.bool_]) -> None:
        """Have the points of the mask (n,) stand out; all are alike where there are none."""
        self._selected = np.array(_fitting(mask, (len(self.xy),)), bool)
        self._clouds = None

    @property
    def drawn(self) -> NDArray[np.bool_]:
        """Mask (n,) of the points that are neither hidden nor without a place."""
        mask = np.zeros(len(self.xy), bool)
        mask[self._order] = True
        return mask if self._shown is None else mask & self._shown

    def extent(self) -> Bounds | None:
        """Smallest rectangle about the points that are drawn."""
        points = self.xy[self.drawn]
        if not len(points):
            return None
        (x0, y0), (x1, y1) = points.min(0), points.max(0)
        return Bounds(float(x0), float(x1), float(y0), float(y1))

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
        found = []
        near = self.near(bounds)
        for cloud, opacity in self._groups():
            cloud, picture = cloud.within(near), None
            radius = dot_radius(len(cloud.x))
            if len(cloud.x) > MOST_DOTS:
                picture = density(cloud, near, shape)
                cloud = alone(cloud, near, shape, radius)
            found.append(Layer(picture, cloud, radius, opacity))
        return found

    def near(self, bounds: Bounds) -> Bounds:
        """Give a rectangle relative to the origin of clouds."""
        x, y = self._origin
        return Bounds(bounds.x0 - x, bounds.x1 - x, bounds.y0 - y, bounds.y1 - y)

    def _groups(self) -> list[tuple[Cloud, float]]:
        """Give all points and their opacity, those that stand out last; kept for the next view."""
        if self._clouds is None:
            rows = self._order
            rgb = np.ascontiguousarray(self._rgb[rows].T)
            everything = Cloud(self._x, self._y, rgb, self._luck)
            if self._shown is not None:
                everything, rows = everything.take(self._shown[rows]), rows[self._shown[rows]]
            chosen = self._selected[rows]
            if chosen.any():
                rest = (everything.take(~chosen), _FADED)
                self._clouds = [rest, (everything.take(chosen), 1.0)]
            else:
                self._clouds = [(everything, 1.0)]
        return self._clouds

    def _start_over(self) -> None:
        self._rgb = np.tile(np.array(_COLOUR, np.uint8), (len(self.xy), 1))
        self._shown = None
        self._selected = np.zeros(len(self.xy), bool)


def _fitting(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if np.shape(values) != shape:
        raise ValueError(f"one entry a point is wanted, {shape}, got {np.shape(values)}")
    return values
