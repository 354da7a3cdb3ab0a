"""Shapes of a picture: every connected part brighter than its surroundings, at every level.

An object need not be bright or dark in itself: somewhere between its own level and that of its
surroundings lies a level at which it stands alone. The tree of all connected parts at all levels
(the max-tree) holds each of them once, and whatever adds up over pixels, or over edges between
pixels, adds up along the tree.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import area_closing, disk, max_tree, opening

_LEVELS = 254
_BLURS = (1 / 36, 1 / 14)
"""Standard deviations of the blur before levels are cut, in boxes."""
_OPENINGS = (0.0, 0.05, 0.1)
"""Radii, in boxes, of the discs that objects which touch are parted by."""
_HOLE = 0.2
"""Largest area of a hole that is filled, in boxes; rings are read as they are and filled."""
_LENGTHS = (0.25, 1.3)
"""Of the long axis, in boxes."""
_LEAST_SOLIDITY = 0.6
_LEAST_AREA = 0.01


class Shapes(NamedTuple):
    """Parts of one picture, each read as the ellipse of its second moments; lengths in boxes."""

    position: NDArray[np.float64]
    """Shape (n, 2): centers (y, x) in pixels of the picture."""
    length: NDArray[np.float64]
    """Shape (n,): the long axis."""
    width: NDArray[np.float64]
    """Shape (n,): the short axis."""
    rotation: NDArray[np.float64]
    """Shape (n,): of the long axis, radians, counter-clockwise as displayed."""
    solidity: NDArray[np.float64]
    """Shape (n,): area over that of the ellipse, or its inverse; 1 if it is one."""
    rim: NDArray[np.float64]
    """Shape (n,): from 0 to 1, how strong the edge is all along the outline."""

    @property
    def area(self) -> NDArray[np.float64]:
        """Of the ellipse, in boxes."""
        area: NDArray[np.float64] = np.pi / 4 * self.length * self.width
        return area

    def select(self, rows: NDArray[Any]) -> "Shapes":
        """Return those of some rows."""
        return Shapes(*(column[rows] for column in self))


def join_shapes(parts: list[Shapes]) -> Shapes:
    """Put shapes of one picture one after the other."""
    return Shapes(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def usual_edge(picture: NDArray[np.float32], box: float) -> list[float]:
    """Measure, for each blur, the edge that 85 % of the pixels stay below: the unit of a rim.

    Where most of the picture is empty, it is a small part of what the strongest have.
    """
    edges = (np.quantile(_edge(picture, blur * box), (0.85, 0.999)) for blur in _BLURS)
    return [float(max(usual, 0.02 * strong)) for usual, strong in edges]


def find_shapes(picture: NDArray[np.float32], box: float, sign: int, units: list[float]) -> Shapes:
    """Find the parts of a picture that are brighter (or darker) than their surroundings.

    Parameters
    ----------
    picture : ndarray of float32, shape (y, x)
    box : float
        Size of an object with a little margin, in pixels.
    sign : {-1, 1}
        -1 for dark ones.
    units : list of float
        Of the edge, for each blur; see `usual_edge`.

    Notes
    -----
    Parts that touch the border are left out. Each object is there many times: from many levels,
    from two blurs, with its holes and without, with thin bridges to its neighbors cut.
    """
    found = []
    for blur, unit in zip(_BLURS, units, strict=True):
        edge = _edge(picture, blur * box)
        rim = np.sqrt(edge / (edge + unit + 1e-9))
        smooth = ndimage.gaussian_filter(sign * picture, blur * box)
        level = _levels(smooth)
        filled = area_closing(level, _HOLE * box**2)
        cut = [opening(level, disk(radius * box)) if radius else level for radius in _OPENINGS]
        for layer in (*cut, filled, opening(filled, disk(_OPENINGS[-1] * box))):
            found.append(_parts(layer, rim, box))
    return join_shapes(found)


def _edge(picture: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    edge: NDArray[np.float32] = ndimage.gaussian_gradient_magnitude(picture, max(sigma, 1.0))
    return edge


def _levels(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Cut a picture at levels, half of them evenly spaced, half at quantiles: faint parts count."""
    part = np.linspace(0, 1, _LEVELS // 2 + 2)[1:-1]
    low, high = picture.min(), picture.max()
    steps = np.unique(np.concatenate([low + part * (high - low), np.quantile(picture, part)]))
    return np.digitize(picture, steps).astype(np.uint8)


def _parts(level: NDArray[np.uint8], rim: NDArray[np.float32], box: float) -> Shapes:
    """Read all parts of one tree."""
    sums, steps = _tree_sums(level, rim)
    area, first, second = sums[:, 0], sums[:, 1:3], sums[:, 3:6]
    y, x = (first / area[:, None]).T
    yy, xx, yx = (second / area[:, None]).T
    yy, xx, yx = yy - y**2 + 1 / 12, xx - x**2 + 1 / 12, yx - y * x
    middle, apart = (yy + xx) / 2, np.hypot((yy - xx) / 2, yx)
    length = 4 * np.sqrt(middle + apart) / box
    width = 4 * np.sqrt(np.maximum(middle - apart, 1e-6)) / box
    solidity = area / (np.pi / 4 * length * width * box**2)
    keep = (length > _LENGTHS[0]) & (length < _LENGTHS[1]) & (solidity > _LEAST_SOLIDITY)
    keep &= (area > _LEAST_AREA * box**2) & (sums[:, 6] == 0)
    shapes = Shapes(
        np.stack([y, x], 1),
        length,
        width,
        0.5 * np.arctan2(-2 * yx, xx - yy),
        np.minimum(solidity, 1 / np.maximum(solidity, 1e-6)),
        steps[:, 1] / np.maximum(steps[:, 0], 1),
    )
    return shapes.select(np.flatnonzero(keep))


def _tree_sums(
    level: NDArray[np.uint8], rim: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum over the pixels of each part, and over the edges of its outline.

    Returns
    -------
    ndarray, shape (n, 7)
        Area, y, x, y^2, x^2, y x, and pixels on the border of the picture.
    ndarray, shape (n, 2)
        Edges between a pixel of the part and one outside, and the rim summed over them.
    """
    height, width = level.shape
    parent, _ = max_tree(level, connectivity=1)
    parent, flat = parent.ravel(), level.ravel().astype(np.int16)
    pixels = np.arange(flat.size)
    canonical = np.where(flat[parent] == flat, parent, pixels)
    nodes, node = np.unique(canonical, return_inverse=True)
    above = node[parent[nodes]]
    n = len(nodes)
    y, x = (part.astype(float) for part in np.divmod(pixels, width))
    outermost = (y == 0) | (y == height - 1) | (x == 0) | (x == width - 1)
    columns = [None, y, x, y * y, x * x, y * x, outermost]
    sums = [np.bincount(node, column, n) for column in columns]
    steps = np.zeros((n, 2))
    grid, weight = pixels.reshape(level.shape), rim.ravel()
    for one, other in ((grid[:-1], grid[1:]), (grid[:, :-1], grid[:, 1:])):
        a, b = one.ravel(), other.ravel()
        step = flat[a] - flat[b]
        a, b, step = a[step != 0], b[step != 0], step[step != 0]
        inner, outer = node[np.where(step > 0, a, b)], node[np.where(step > 0, b, a)]
        # The edge is part of the outline of every part that holds the inner pixel only.
        for column, value in enumerate((None, (weight[a] + weight[b]) / 2)):
            steps[:, column] += np.bincount(inner, value, n) - np.bincount(outer, value, n)
    whole = np.column_stack([*sums, steps])
    levels = flat[nodes]
    order = np.argsort(-levels, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(levels[order])) + 1):
        rows = rows[above[rows] != rows]  # all but the root
        np.add.at(whole, above[rows], whole[rows])
    return whole[:, :7], whole[:, 7:]
