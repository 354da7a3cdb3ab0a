"""A large image tile by tile, binned and flattened."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.transform import downscale_local_mean

from ..geometry import InputError

_TILE = 512
"""Side of the tiles, in binned pixels, where that is not too much to read at once."""
_READ = 4096
"""Side of what is read at once, in pixels."""
_SAMPLED = 16
"""Tiles that are looked at to learn how bright the image is."""


class FlatTile(NamedTuple):
    """A piece of a binned image, with a halo that other tiles cover too."""

    flat: NDArray[np.float32]  # (y, x), local mean zero and local contrast one
    contrast: NDArray[np.float32]  # (y, x) that it was divided by
    start: NDArray[np.int64]  # (2,) binned pixel at its corner
    core: NDArray[np.int64]  # (2, 2) first and past the last pixel of its own, within it


class _Levels(NamedTuple):
    """How the intensities of one image are read; the same for all of its tiles."""

    axis: NDArray[np.float32]  # (channels,) weights that make grey of colours
    low: float
    high: float
    contrast: float = 0.0  # root mean square of the image without background


def flat_tiles(image: NDArray[Any], binning: int, box: float) -> Iterator[FlatTile]:
    """Yield an image in tiles that agree with each other.

    Parameters
    ----------
    image : array, shape (y, x) or (y, x, channels)
        May be memory-mapped or lazy: no more than a tile is read at once.
    binning : int
        Pixels that become one, along each axis.
    box : float
        Size of an object in binned pixels; changes over longer distances are taken out.

    Raises
    ------
    InputError
        If the image is constant or holds NaN.
    """
    halo = int(2 * box)
    levels = _measure(image, binning, box)
    for picture, start, core in _pieces(image, binning, halo):
        grey = _without_background(picture, levels, box)
        contrast = np.sqrt(ndimage.gaussian_filter(grey**2, 1.5 * box, mode="reflect"))
        # An empty stretch is left empty, not blown up to the contrast of the objects.
        np.maximum(contrast, 0.3 * levels.contrast, out=contrast)
        yield FlatTile(np.clip(grey / contrast, -4, 4), contrast, start, core)


def _measure(image: NDArray[Any], binning: int, box: float) -> _Levels:
    def sampled() -> Iterator[NDArray[np.float32]]:
        for picture, _, _ in _pieces(image, binning, int(2 * box), most=_SAMPLED):
            yield picture

    pixels = np.concatenate(
        [
            picture.reshape(-1, picture.shape[-1])[:: max(1, picture.size // 200_000)]
            for picture in sampled()
        ]
    )
    _, axes = np.linalg.eigh(np.atleast_2d(np.cov(pixels.T, dtype=np.float64)))
    axis = axes[:, -1].astype(np.float32)  # along which the colours vary most
    axis *= np.sign(axis.sum()) or 1  # brighter stays brighter
    grey = pixels @ axis
    low, high = np.percentile(grey, (0.1, 99.9))  # hot pixels are cut
    if not high > low:
        low, high = grey.min(), grey.max()
    if not high > low:
        raise InputError("the image is constant: there is nothing to find.")
    levels = _Levels(axis, float(low), float(high))
    squares = [(_without_background(picture, levels, box) ** 2).mean() for picture in sampled()]
    return levels._replace(contrast=float(np.sqrt(np.mean(squares))))


def _without_background(
    picture: NDArray[np.float32], levels: _Levels, box: float
) -> NDArray[np.float32]:
    grey: NDArray[np.float32] = np.clip(picture @ levels.axis, levels.low, levels.high)
    grey -= ndimage.gaussian_filter(grey, box, mode="reflect")
    return grey


def _pieces(
    image: NDArray[Any], binning: int, halo: int, most: int | None = None
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]]:
    """Yield binned pieces (y, x, channels), where they start, and the core in them.

    The halo ends at the border of the image; ``most`` takes so many pieces, evenly spread.
    """
    size = np.array(image.shape[:2]) // binning
    side = int(np.clip(_READ // binning - 2 * halo, 128, _TILE))
    corners = np.array([(y, x) for y in range(0, size[0], side) for x in range(0, size[1], side)])
    if most is not None and len(corners) > most:
        corners = corners[np.linspace(0, len(corners) - 1, most).astype(int)]
    for corner in corners:
        start = np.maximum(corner - halo, 0)
        stop = np.minimum(corner + side + halo, size)
        (top, left), (bottom, right) = start * binning, stop * binning
        pixels = np.asarray(image[top:bottom, left:right])
        picture = np.atleast_3d(pixels).astype(np.float32)
        if not np.isfinite(picture).all():
            raise InputError(
                "the image holds NaN or infinite pixels: crop them off, or fill them with its "
                "median."
            )
        if binning > 1:
            picture = downscale_local_mean(picture, (binning, binning, 1)).astype(np.float32)
        yield picture, start, np.stack([corner, np.minimum(corner + side, size)]) - start
