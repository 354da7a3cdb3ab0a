"""Pictures of very many points: their density, and a dot for each that stands alone.

All here is made of arrays. Pictures are (y, x, 4) in uint8: red, green, blue, each multiplied by
the opacity, and the opacity. Row 0 is at the top, where y is largest.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

MOST_DOTS = 20_000
"""Of so many points in view or fewer each is drawn as a dot."""
_TILES = 256
_CELL = 6.0  # side in radii of dots, of the cells in which neighbours are counted
_ALONE = 6  # points in a cell, up to which each is a dot; of more, ever fewer
_ENOUGH = 4.0  # points in a pixel of the density, so that it is smooth
_COARSEST = 6  # side of such a pixel, in pixels of the screen
_FAINTEST = 0.4


class Bounds(NamedTuple):
    """A rectangle of the plane of the data."""

    x0: float
    x1: float
    y0: float
    y1: float


class Cloud(NamedTuple):
    """Points, best in an order that has neighbours near one another in memory."""

    x: NDArray[np.float32]
    """(n,)"""
    y: NDArray[np.float32]
    """(n,)"""
    rgb: NDArray[np.uint8]
    """(3, n)"""
    luck: NDArray[np.float32]
    """(n,), random in [0, 1): where not all can be dots, those with the least of it are."""
    chosen: NDArray[np.bool_]
    """(n,), those that stand out."""

    def take(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """Give some of the points."""
        rgb = self.rgb[:, which]
        return type(self)(self.x[which], self.y[which], rgb, self.luck[which], self.chosen[which])

    def inside(self, bounds: Bounds) -> NDArray[np.bool_]:
        """Say which points lie in a rectangle."""
        inside = self.x >= bounds.x0
        inside &= self.x <= bounds.x1
        inside &= self.y >= bounds.y0
        inside &= self.y <= bounds.y1
        return inside


class Layer(NamedTuple):
    """Points that are drawn over those of another layer."""

    density: NDArray[np.uint8] | None
    """A picture below the dots; none where each point is a dot."""
    grain: int
    """Side of its pixels, in pixels of the screen."""
    dots: Cloud
    radius: float
    """Of the dots, in pixels of the screen."""
    chosen: bool
    """Whether they stand out."""


def in_tiles(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.intp]:
    """Order points tile by tile of a grid over all of them.

    Counting points in the pixels of a picture goes several times faster in this order.
    """
    tile = np.zeros(len(x), np.uint16)
    for along in (y, x) if len(x) else ():
        low, high = along.min(), along.max()
        tile *= np.uint16(_TILES)
        tile += ((along - low) * ((_TILES - 0.01) / (high - low or 1))).astype(np.uint16)
    return np.argsort(tile, kind="stable")


def layers(cloud: Cloud, bounds: Bounds, shape: tuple[int, int]) -> list[Layer]:
    """Find what is to be drawn of points in a rectangle, the lowest first.

    Parameters
    ----------
    cloud : Cloud
        All points.
    bounds : Bounds
        The rectangle.
    shape : (int, int)
        Its rows and columns in pixels of the screen.
    """
    inside = cloud.inside(bounds)
    total = int(np.count_nonzero(inside))
    if 2 * total < len(inside):
        cloud, inside = cloud.take(np.flatnonzero(inside)), np.ones(total, bool)
    chosen = cloud.chosen & inside
    some = int(np.count_nonzero(chosen))
    numbers = (total - some, some)
    tally = Tally(cloud, bounds, shape, some > 0) if max(numbers) > MOST_DOTS else None
    found = []
    for part, number in enumerate(numbers):
        radius = dot_radius(number)
        if tally is not None and number > MOST_DOTS:
            found.append(tally.layer(part, radius))
        elif number:
            rows = np.flatnonzero(chosen if part else inside & ~chosen)
            found.append(Layer(None, 1, cloud.take(rows), radius, part == 1))
    return found


class Tally:
    """Counts of points in pixels, and sums of their colours; of those that stand out apart.

    About the pixels lies a frame of others, for the points out of view.
    """

    def __init__(self, cloud: Cloud, bounds: Bounds, shape: tuple[int, int], apart: bool) -> None:
        rows, columns = shape[0] + 2, shape[1] + 2
        parts, size = 1 + apart, rows * columns
        pixel = _along(cloud.y, bounds.y1, bounds.y0, shape[0], 1)
        pixel *= np.int32(columns)
        pixel += _along(cloud.x, bounds.x0, bounds.x1, shape[1], 1)
        if apart:
            pixel += np.where(cloud.chosen, np.int32(size), np.int32(0))
        self._cloud, self._pixel = cloud, pixel.astype(np.intp)
        self._frame = (parts, rows, columns)
        self._sums: NDArray[np.float64] | None = None
        self.counts = self._count(None)

    def _count(self, weights: NDArray[np.uint8] | None) -> NDArray[np.floating]:
        counts = np.bincount(self._pixel, weights, int(np.prod(self._frame)))
        return counts.reshape(self._frame)[:, 1:-1, 1:-1].astype(np.float32)

    def layer(self, part: int, radius: float) -> Layer:
        """Draw one of the parts, as a density and dots of a radius."""
        if self._sums is None:
            self._sums = np.stack([self._count(values) for values in self._cloud.rgb])
        side = max(round(_CELL * radius), 1)
        cells = _pool(self.counts[part], side)
        neighbours = float((cells**2).sum() / cells.sum()) - 1  # of a point of the mean kind
        grain = np.sqrt(_ENOUGH * side**2 / max(neighbours, 1e-6))
        grain = int(np.clip(round(grain), 1, _COARSEST))
        sums = np.concatenate((self.counts[None, part], self._sums[:, part]))
        picture = _picture(_blur(_pool(sums, grain)))
        return Layer(picture, grain, self._alone(cells, side, part), radius, part == 1)

    def _alone(self, cells: NDArray[np.floating], side: int, part: int) -> Cloud:
        """Give the points with few neighbours, and of the others the fewer the more they have."""
        chance = np.zeros(self._frame, np.float32)
        inner = chance[part, 1:-1, 1:-1]
        area = _pool(np.ones_like(inner), side) / side**2  # cells at the far edges are cut
        each = (_ALONE * area / np.maximum(cells, 1e-6)) ** 3
        inner[:] = each.repeat(side, 0).repeat(side, 1)[: inner.shape[0], : inner.shape[1]]
        rows = np.flatnonzero(self._cloud.luck < chance.ravel()[self._pixel])
        return luckiest(self._cloud.take(rows), MOST_DOTS)


def luckiest(cloud: Cloud, most: int) -> Cloud:
    """Give at most so many points of a cloud, always the same ones."""
    if len(cloud.x) <= most:
        return cloud
    return cloud.take(np.argpartition(cloud.luck, most)[:most])


def dot_radius(count: int) -> float:
    """Radius of dots in pixels, smaller where there are more of them."""
    return float(np.clip(5.5 - 0.85 * np.log10(max(count, 1)), 1.9, 4.2))


def dots(cloud: Cloud, bounds: Bounds, shape: tuple[int, int], radius: float) -> NDArray[np.uint8]:
    """Draw a disc with a dark rim on each point; of those that overlap one hides the others.

    Parameters
    ----------
    cloud : Cloud
    bounds : Bounds
        What the picture covers.
    shape : (int, int)
        Its rows and columns.
    radius : float
        In pixels of the picture.
    """
    reach = int(np.ceil(radius + 0.5))
    edge = 2 * reach + 1  # so that discs of points out of view, laid next to it, do not reach in
    rows, columns = shape[0] + 2 * edge, shape[1] + 2 * edge
    picture = np.zeros(rows * columns, np.uint32)
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    distance = np.hypot(dy, dx)
    dy, dx, distance = (part[distance < radius + 0.5] for part in (dy, dx, distance))
    cover = np.clip(radius + 0.5 - distance, 0, 1)
    shade = np.clip(1 - 0.55 * (distance - radius + 1.5), 0.45, 1)
    level = np.empty((len(dy), 4), np.uint16)
    level[:, :3] = np.round(256 * cover * shade)[:, None]
    level[:, 3] = np.round(256 * cover)
    cloud = cloud.take(np.argsort(-cloud.luck))  # no class always hides the others
    row = _along(cloud.y, bounds.y1, bounds.y0, shape[0], reach + 1) + reach
    column = _along(cloud.x, bounds.x0, bounds.x1, shape[1], reach + 1) + reach
    place = row.astype(np.intp) * columns + column
    colour = np.full((len(place), 1, 4), 255, np.uint16)
    colour[:, 0, :3] = cloud.rgb.T
    colour = ((colour * level) >> 8).astype(np.uint8).view(np.uint32)
    picture[place[:, None] + dy * columns + dx] = colour[..., 0]
    frame = picture.view(np.uint8).reshape(rows, columns, 4)
    return np.ascontiguousarray(frame[edge : rows - edge, edge : columns - edge])


def _along(
    values: NDArray[np.float32], start: float, end: float, n: int, outside: int
) -> NDArray[np.int32]:
    """Number the pixels along an axis, of which so many lie outside at both ends."""
    scale = np.float32(n / (end - start))
    place = values * scale
    place += np.float32(outside) - np.float32(start) * scale
    np.clip(place, 0, n + 2 * outside - 1, out=place)
    return place.astype(np.int32)


def _pool(values: NDArray[np.floating], side: int) -> NDArray[np.floating]:
    """Add up squares of pixels (..., y, x)."""
    for axis in (-2, -1) if side > 1 else ():
        values = np.add.reduceat(values, np.arange(0, values.shape[axis], side), axis)
    return values


def _blur(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Spread (..., y, x) a little: single counts in single pixels look like grain."""
    for _ in range(2):
        spread = values * np.float32(0.5)
        quarter = spread * np.float32(0.5)
        spread[..., 1:, :] += quarter[..., :-1, :]
        spread[..., :-1, :] += quarter[..., 1:, :]
        spread[..., 0, :] += quarter[..., 0, :]
        spread[..., -1, :] += quarter[..., -1, :]
        values = spread.swapaxes(-1, -2)
    return values


def _picture(sums: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Draw counts and sums of colours (4, y, x): opacity by the logarithm of the count."""
    count = sums[0]
    strength = np.log1p(count)
    strength *= (1 - _FAINTEST) / max(float(strength.max()), 1e-6)
    strength += _FAINTEST * np.minimum(count, 1)
    picture = np.empty((*count.shape, 4), np.uint8)
    picture[..., 3] = 255 * strength + 0.5
    strength /= np.maximum(count, 1e-6)
    for channel, total in enumerate(sums[1:]):
        picture[..., channel] = total * strength + 0.5
    return picture
