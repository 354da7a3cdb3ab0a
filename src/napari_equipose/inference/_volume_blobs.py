"""Blobs of about one size in a volume of any size, read in pieces."""

from collections.abc import Generator, Iterator, Sequence
from functools import cache
from math import ceil, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree
from skimage.transform import downscale_local_mean

from ..geometry import InputError
from ._progress import Progress

_WORKING_BOX = 16
"""Volumes are binned until a box is about this many pixels: blobs are coarse."""
_SIGMAS = (0.09, 0.125, 0.175)
"""Of the blobs, in boxes: of balls of a third to two thirds of a box across."""
_WIDER = 1.6
"""By how much the second Gaussian of a difference is wider: near the Laplacian of one."""
_TRUNCATE = 4.0  # standard deviations
_TILE = 128
"""Side of the tiles, in binned pixels."""
_SLABS = 32
"""Planes that are looked at to learn which values are outliers."""
_OUTLIERS = (0.01, 99.99)  # percentiles
_SPARSE = 4
"""One in so many pixels along each axis tells the noise."""
_DISTANCE, _RADII = 0.3, 1.2
"""Least distance between blobs, in boxes and in radii of the better one."""
_NEAREST = 1 / 6
"""To the border of the volume, in boxes: much of what is nearer is made up by the mirror."""


class Blobs(NamedTuple):
    """Blobs of one polarity, best first."""

    positions: NDArray[np.float64]  # (n, 3) pixels (z, y, x)
    scores: NDArray[np.float64]  # (n,) in units of the noise


def find_blobs(
    volume: NDArray[Any], box_size: int
) -> Generator[Progress, None, tuple[Blobs, Blobs]]:
    """Find the dark and the bright blobs of a volume that may be objects of a size.

    Differences of Gaussians of three widths, each of unit norm, so that white noise answers
    to all alike. They are blind to slopes.

    Parameters
    ----------
    volume : array, shape (z, y, x)
        May be memory-mapped or lazy: no more than a tile is held at once.
    box_size : int
        Side of a cube that holds one object with a little margin, in pixels.

    Yields
    ------
    Progress
        After each tile.

    Returns
    -------
    dark, bright : Blobs
        None lies within 0.3 boxes of a better one of its polarity.

    Raises
    ------
    InputError
        If the box is larger than the volume or smaller than 8 pixels, or the volume is constant
        or holds NaN.

    References
    ----------
    T. Lindeberg, "Feature detection with automatic scale selection", IJCV 30, 1998.
    """
    check_volume(volume, box_size)
    binning = max(1, round(box_size / _WORKING_BOX))
    box = box_size / binning
    low, high = _levels(volume, binning, box)
    parts: dict[int, list[NDArray[np.float64]]] = {-1: [], 1: []}
    noise: list[NDArray[np.float32]] = []
    tiles = list(_tiles(np.array(volume.shape) // binning, box))
    for number, (start, stop, core) in enumerate(tiles):
        tile = _binned(volume, start, stop, binning)
        tile -= ndimage.uniform_filter(tile, 2 * int(box) + 1)
        np.clip(tile, low, high, out=tile)
        for sigma in _SIGMAS:
            response = _response(tile, sigma * box)
            if sigma == _SIGMAS[-1]:  # the noise of most response
                inner = response[tuple(slice(*pair) for pair in core.T)]
                noise.append(np.abs(inner[::_SPARSE, ::_SPARSE, ::_SPARSE]).ravel())
            for sign, part in parts.items():
                peaks, heights = _peaks(sign * response, core)
                places = (peaks + start) * binning + (binning - 1) / 2
                radius = np.full(len(places), sqrt(3) * sigma * box_size)
                part.append(np.column_stack([places, heights, radius]))
        yield Progress(number + 1, len(tiles), "looking for blobs")
    level = 1.4826 * float(np.median(np.concatenate(noise))) or 1.0
    dark, bright = (
        _thinned(np.concatenate(parts[sign]), volume.shape, box_size, level) for sign in (-1, 1)
    )
    return dark, bright


def check_volume(volume: NDArray[Any], box_size: int) -> None:
    """Refuse what is no volume that holds a box.

    Raises
    ------
    InputError
    """
    if volume.ndim != 3:
        raise InputError(f"a volume (z, y, x) is wanted, got shape {volume.shape}.")
    if not 8 <= box_size <= min(volume.shape):
        sides = " x ".join(map(str, volume.shape))
        raise InputError(
            f"the box size must be from 8 to {min(volume.shape)} pixels for a volume of {sides} "
            f"pixels, got {box_size}."
        )


def _levels(volume: NDArray[Any], binning: int, box: float) -> tuple[float, float]:
    """Values, from their surroundings, beyond which there are gold beads and broken pixels."""
    planes, height, width = np.array(volume.shape) // binning
    pixels = []
    for plane in np.unique(np.linspace(0, planes - 1, min(planes, _SLABS)).astype(int)):
        start, stop = np.array([plane, 0, 0]), np.array([plane + 1, height, width])
        (slab,) = _binned(volume, start, stop, binning)
        slab -= ndimage.uniform_filter(slab, 2 * int(box) + 1)
        pixels.append(slab.ravel()[:: max(1, slab.size // 500_000)])
    low, high = np.percentile(np.concatenate(pixels), _OUTLIERS)
    if not high > low:
        raise InputError("the volume is constant: there is nothing to find.")
    return float(low), float(high)


def _tiles(
    size: NDArray[np.int64], box: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Yield where tiles start and stop, in binned pixels, and the core (2, 3) within each.

    The halo holds all that reaches into the core, and ends at the border of the volume.
    """
    halo = int(box) + ceil(_TRUNCATE * _WIDER * _SIGMAS[-1] * box) + 3
    for corner in np.ndindex(*(-(-size // _TILE))):
        first = np.array(corner) * _TILE
        last = np.minimum(first + _TILE, size)
        start, stop = np.maximum(first - halo, 0), np.minimum(last + halo, size)
        yield start, stop, np.stack([first - start, last - start])


def _binned(
    volume: NDArray[Any], start: NDArray[np.int64], stop: NDArray[np.int64], binning: int
) -> NDArray[np.float32]:
    """Read a piece of a volume, plane by binned plane."""
    (first, top, left), (last, bottom, right) = start * binning, stop * binning
    tile = np.empty(tuple(stop - start), np.float32)
    for plane, z in enumerate(range(first, last, binning)):
        slab = np.asarray(volume[z : z + binning, top:bottom, left:right], np.float32)
        tile[plane] = slab[0] if binning == 1 else downscale_local_mean(slab, (binning,) * 3)[0]
    if not np.isfinite(tile).all():
        raise InputError("the volume holds NaN or infinite pixels; fill or crop them first.")
    return tile


def _response(tile: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    response: NDArray[np.float32] = ndimage.gaussian_filter(tile, sigma, truncate=_TRUNCATE)
    response -= ndimage.gaussian_filter(tile, _WIDER * sigma, truncate=_TRUNCATE)
    response /= _norm(sigma)
    return response


@cache
def _norm(sigma: float) -> float:
    """Root of the sum of squares of a difference of Gaussians."""
    reach = ceil(_TRUNCATE * _WIDER * sigma)
    impulse = np.zeros((2 * reach + 1,) * 3)
    impulse[(reach,) * 3] = 1
    narrow, wide = (
        ndimage.gaussian_filter(impulse, width, truncate=_TRUNCATE)
        for width in (sigma, _WIDER * sigma)
    )
    return float(np.linalg.norm(narrow - wide))


def _peaks(
    response: NDArray[np.float32], core: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Peaks within a core: where, between pixels by a parabola along each axis, and how high."""
    inner = tuple(slice(*pair) for pair in core.T)
    highest = ndimage.maximum_filter(response, 3)[inner]
    peaks = np.argwhere((response[inner] == highest) & (response[inner] > 0)) + core[0]
    heights = response[tuple(peaks.T)].astype(np.float64)
    places = peaks.astype(np.float64)
    for axis in range(3):
        step = np.eye(3, dtype=int)[axis]
        free = (peaks[:, axis] > 0) & (peaks[:, axis] < response.shape[axis] - 1)
        low, high = (response[tuple((peaks[free] + k * step).T)] for k in (-1, 1))
        bend = 2 * heights[free] - low - high
        places[free, axis] += 0.5 * (high - low) / np.where(bend > 0, bend, np.inf)
    return places, heights


def _thinned(
    found: NDArray[np.float64], shape: Sequence[int], box_size: int, level: float
) -> Blobs:
    """Blobs, best first, each farther from all better ones than those reach."""
    places, score, radius = found[:, :3], found[:, 3] / level, found[:, 4]
    least = _NEAREST * box_size
    inside = ((places >= least) & (places < np.array(shape) - least)).all(1)
    order = np.flatnonzero(inside)[np.argsort(-score[inside], kind="stable")]
    tree = KDTree(places[order])
    reach = np.maximum(_DISTANCE * box_size, _RADII * radius[order])
    free = np.ones(len(order), bool)
    for rank, index in enumerate(order):
        if free[rank]:
            near = tree.query_ball_point(places[index], reach[rank])
            free[[other for other in near if other > rank]] = False
    kept = order[free]
    return Blobs(places[kept], score[kept])
