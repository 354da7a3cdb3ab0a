"""Blobs of one size in one picture: where they are, how far they stand out, how they are shaped."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import local_maxima
from skimage.segmentation import watershed

_RIM = 1.5
"""Outer radius of the rim that a disc is compared with, in radii of the disc."""
_SOFTNESS = 0.2
"""Standard deviation of the blur of disc and rim, in radii."""


class Blobs(NamedTuple):
    """Blobs of one picture; lengths in its pixels."""

    positions: NDArray[np.float64]  # (n, 2) pixels (y, x)
    prominence: NDArray[np.float64]  # (n,) height above the pass to a higher blob, or above zero
    length: NDArray[np.float64]  # (n,) long axis of the part above half of the prominence
    solidity: NDArray[np.float64]  # (n,) area of that part over that of its ellipse: 1 if convex


def disc_response(picture: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """Mean within a disc about each pixel, less the mean of a narrow rim around it.

    The rim is what finds the centres of rings that touch: the wide skirt of a Laplacian of
    Gaussian reaches into the neighbours, and answers to the gaps between them.

    Parameters
    ----------
    picture : ndarray of float32, shape (y, x)
    radius : float
        Of the disc, in pixels.
    """
    from scipy.signal import fftconvolve  # its import takes longer than most of ours together

    kernel = _disc_less_rim(radius)
    reach = kernel.shape[0] // 2
    padded = np.pad(picture, reach, mode="reflect")
    return np.asarray(fftconvolve(padded, kernel, mode="valid"), np.float32)


def _disc_less_rim(radius: float) -> NDArray[np.float32]:
    reach = int(np.ceil(radius * (_RIM + 3 * _SOFTNESS))) + 1
    line = np.arange(-reach, reach + 1)
    distance = np.hypot(line[:, None], line)
    disc = np.clip(radius - distance + 0.5, 0, 1)
    rim = np.clip(_RIM * radius - distance + 0.5, 0, 1) - disc
    kernel = ndimage.gaussian_filter(
        disc / disc.sum() - rim / rim.sum(), _SOFTNESS * radius, mode="constant"
    )
    return np.asarray(kernel - kernel.mean(), np.float32)


def find_blobs(response: NDArray[np.float32]) -> Blobs:
    """Find the peaks of a response, and measure each down to the pass to a higher one.

    Height alone lists noise on the flank of every strong object, and several peaks along a
    rod; the prominence of those is small.

    Parameters
    ----------
    response : ndarray of float32, shape (y, x)
        Zero is the ground: what lies below is not looked at.
    """
    above = response > 0
    plateaus, n = ndimage.label(local_maxima(response) & above, np.ones((3, 3)))
    if not n:
        nothing = np.empty(0)
        return Blobs(np.empty((0, 2)), nothing, nothing, nothing)
    names = np.arange(1, n + 1)
    peaks = np.round(ndimage.center_of_mass(above, plateaus, names))
    height = np.asarray(ndimage.maximum(response, plateaus, names), np.float64)
    basins = watershed(-response, plateaus, mask=above)
    prominence = _prominence(response, basins, height)
    length, solidity = _shape(response, basins, height - prominence / 2)
    return Blobs(peaks, prominence, length, solidity)


def _prominence(
    response: NDArray[np.float32], basins: NDArray[np.int32], height: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Flood from above: where two basins meet, the lower peak ends at their pass."""
    first, second, level = (
        np.concatenate(part) for part in zip(*_borders(response, basins), strict=True)
    )
    order = np.argsort(-level, kind="stable")
    pairs = np.stack([first, second], 1)[order].astype(np.int64) - 1
    highest = np.unique(pairs @ [len(height) + 1, 1], return_index=True)[1]
    root = list(range(len(height)))
    prominence = height.copy()
    for index in np.sort(highest):
        low, high = (_find(root, int(basin)) for basin in pairs[index])
        if low == high:
            continue
        if height[low] > height[high]:
            low, high = high, low
        prominence[low] = height[low] - level[order[index]]
        root[low] = high
    return prominence


def _borders(
    response: NDArray[np.float32], basins: NDArray[np.int32]
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]]:
    """Pairs of basins that touch, smaller number first, and the level of each touching pair."""
    right, down = (slice(None), slice(1, None)), (slice(1, None), slice(None))
    left, up = (slice(None), slice(-1)), (slice(-1), slice(None))
    for here, there in ((left, right), (up, down)):
        one, other = basins[here], basins[there]
        touch = (one != other) & (one > 0) & (other > 0)
        one, other = one[touch], other[touch]
        level = np.minimum(response[here][touch], response[there][touch])
        yield np.minimum(one, other), np.maximum(one, other), level


def _find(root: list[int], basin: int) -> int:
    while root[basin] != basin:
        root[basin] = root[root[basin]]
        basin = root[basin]
    return basin


def _shape(
    response: NDArray[np.float32], basins: NDArray[np.int32], level: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Long axis and solidity of the part of each basin above its level."""
    inside = response >= np.append(np.inf, level)[basins]
    label = basins[inside] - 1
    rows, columns = np.nonzero(inside)

    def total(values: NDArray[Any] | None = None) -> NDArray[np.float64]:
        return np.bincount(label, values, len(level)).astype(np.float64)

    area = np.maximum(total(), 1)
    y, x = rows - (total(rows) / area)[label], columns - (total(columns) / area)[label]
    # of a pixel itself, which is a square and no point
    yy, xx, xy = total(y * y) / area + 1 / 12, total(x * x) / area + 1 / 12, total(x * y) / area
    spread = np.sqrt((yy - xx) ** 2 / 4 + xy**2)
    long_axis = 4 * np.sqrt((yy + xx) / 2 + spread)
    short_axis = 4 * np.sqrt(np.maximum((yy + xx) / 2 - spread, 1 / 12))
    return long_axis, np.minimum(area / (np.pi / 4 * long_axis * short_axis), 1)
