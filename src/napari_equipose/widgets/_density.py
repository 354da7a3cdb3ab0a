"""Pictures of very many points: their density, and a dot for each that stands alone.

All here is made of arrays. Pictures are (y, x, 4) in uint8: red, green, blue, each multiplied by
the opacity, and the opacity. Row 0 is at the top, where y is largest.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

MOST_DOTS = 20_000
"""Of so many points in view or fewer each is drawn as a dot."""
_TILES = 256
_ALONE = 6  # points in a cell as wide as three dots, up to which they are seen one by one
_FAINTEST, _STRONGEST = 0.35, 1.0


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

    def take(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """Give some of the points."""
        return type(self)(self.x[which], self.y[which], self.rgb[:, which], self.luck[which])

    def within(self, bounds: Bounds) -> Self:
        """Give the points in a rectangle."""
        inside = (self.x > bounds.x0) & (self.x < bounds.x1)
        inside &= self.y > bounds.y0
        inside &= self.y < bounds.y1
        count = np.count_nonzero(inside)
        return self if count == len(inside) else self.take(np.flatnonzero(inside))


def in_tiles(xy: NDArray[np.floating]) -> NDArray[np.intp]:
    """Give the rows of points (n, 2) that are finite, tile by tile of a grid over all of them.

    Counting points in the pixels of a picture goes several times faster in this order.
    """
    rows = np.flatnonzero(np.isfinite(xy).all(1))
    if not len(rows):
        return rows
    low, high = xy[rows].min(0), xy[rows].max(0)
    size = np.where(high > low, high - low, 1.0)
    column, row = ((xy[rows] - low) * ((_TILES - 0.01) / size)).astype(np.uint16).T
    return rows[np.argsort(row * np.uint16(_TILES) + column, kind="stable")]


def density(cloud: Cloud, bounds: Bounds, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Draw how many points lie in each pixel, by opacity, and their mean colour.

    Parameters
    ----------
    cloud : Cloud
        Points within the bounds.
    bounds : Bounds
        What the picture covers.
    shape : (int, int)
        Rows and columns of the picture.
    """
    pixel = _pixels(cloud, bounds, shape)
    size = shape[0] * shape[1]
    count = _smooth(np.bincount(pixel, minlength=size), shape)
    there = np.maximum(count, 1e-6)
    strength = np.log1p(count)
    strength *= (_STRONGEST - _FAINTEST) / max(float(strength.max()), 1e-6)
    strength += _FAINTEST * np.minimum(count, 1)
    picture = np.empty((*shape, 4), np.uint8)
    picture[..., 3] = 255 * strength + 0.5
    strength /= there
    for channel, values in enumerate(cloud.rgb):
        total = _smooth(np.bincount(pixel, values, minlength=size), shape)
        picture[..., channel] = total * strength + 0.5
    return picture


def alone(cloud: Cloud, bounds: Bounds, shape: tuple[int, int], radius: float) -> Cloud:
    """Give the points that have few neighbours where the density is drawn, not too many of them.

    Parameters
    ----------
    cloud, bounds, shape
        As of `density`.
    radius : float
        Of the dots, in pixels.
    """
    side = max(6 * radius, 1)
    coarse = (int(shape[0] / side) + 1, int(shape[1] / side) + 1)
    cell = _pixels(cloud, bounds, coarse)
    few = np.bincount(cell, minlength=coarse[0] * coarse[1]) <= _ALONE
    return luckiest(cloud.take(np.flatnonzero(few[cell])), MOST_DOTS)


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
    cloud, bounds, shape
        As of `density`.
    radius : float
        In pixels.
    """
    reach = int(np.ceil(radius + 0.5))
    rows, columns = shape[0] + 2 * reach, shape[1] + 2 * reach
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
    row, column = np.divmod(_pixels(cloud, bounds, shape), shape[1])
    place = (row + reach) * columns + column + reach
    colour = np.full((len(place), 1, 4), 255, np.uint16)
    colour[:, 0, :3] = cloud.rgb.T
    colour = ((colour * level) >> 8).astype(np.uint8).view(np.uint32)
    picture[place[:, None] + dy * columns + dx] = colour[..., 0]
    frame = picture.view(np.uint8).reshape(rows, columns, 4)
    return np.ascontiguousarray(frame[reach : rows - reach, reach : columns - reach])


def _pixels(cloud: Cloud, bounds: Bounds, shape: tuple[int, int]) -> NDArray[np.intp]:
    """Number the pixel of each point, row by row."""
    row = _along(cloud.y, bounds.y1, bounds.y0, shape[0])
    row *= np.int32(shape[1])
    row += _along(cloud.x, bounds.x0, bounds.x1, shape[1])
    return row.astype(np.intp)


def _along(values: NDArray[np.float32], start: float, end: float, n: int) -> NDArray[np.int32]:
    scale = np.float32(n / (end - start))
    place = values * scale
    place -= np.float32(start) * scale
    np.clip(place, 0, n - 1, out=place)
    return place.astype(np.int32)


def _smooth(counts: NDArray[np.generic], shape: tuple[int, int]) -> NDArray[np.float32]:
    # Single counts in single pixels look like grain.
    values = counts.astype(np.float32).reshape(shape)
    return ndimage.uniform_filter(values, 3, mode="constant")  # type: ignore[no-any-return]
