"""A large image tile by tile, on the scale at which an object's box has always the same size."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.signal import resample
from skimage.transform import downscale_local_mean, resize

from ..geometry import InputError

_TILE = 1024
"""Side of the tiles in scaled pixels."""
_SAMPLED = 9
"""Tiles that are looked at to learn how bright an image is."""


class ScaledTile(NamedTuple):
    """A piece of an image with a halo that other tiles cover too."""

    components: NDArray[np.float32]
    """Shape (c, y, x): gray, without changes over more than a box; of colors, a second component:
    what they differ by else."""
    start: NDArray[np.float64]
    """Shape (2,): pixel of the image at its corner."""
    scale: NDArray[np.float64]
    """Shape (2,): its pixels for one of the image."""
    core: NDArray[np.float64]
    """Shape (2, 2): first and past the last pixel of the image that are its own."""

    def in_image(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """Positions (n, 2) of the tile as pixels of the image."""
        moved: NDArray[np.float64] = (position + 0.5) / self.scale - 0.5 + self.start
        return moved

    def owns(self, position: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Say which positions (n, 2), in pixels of the image, lie in no other tile's core."""
        inside = (position >= self.core[0] - 0.5) & (position < self.core[1] - 0.5)
        return np.asarray(inside.all(1))


class Intensities(NamedTuple):
    """How intensities are read; the same for all tiles of an image."""

    axes: NDArray[np.float32]
    """Shape (channels, c): weights that make components of colors."""
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    """Shape (c,)."""

    def components(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """Components (c, y, x) of a picture (y, x, channels)."""
        value = (picture @ self.axes - self.low) / (self.high - self.low)
        return np.ascontiguousarray(np.moveaxis(np.clip(value, 0, 1), -1, 0), np.float32)


def scaled_tiles(
    image: NDArray[Any],
    box_size: int,
    scaled_box: int,
    most: int | None = None,
    *,
    band_limited: bool = False,
) -> Iterator[ScaledTile]:
    """Yield an image in tiles.

    Parameters
    ----------
    image : array, shape (y, x) or (y, x, channels)
        May be memory-mapped or lazy: no more than a tile is read at once.
    box_size : int
        Of an object, in pixels of the image.
    scaled_box : int
        What it becomes.
    most : int, optional
        Only so many, evenly spread.
    band_limited : bool
        Keep all frequencies that the new pixels hold, and no others, rather than the edges.

    Raises
    ------
    InputError
        If the image is constant or holds NaN.
    """
    intensities = _intensities(image, box_size, scaled_box)
    for picture, start, scale, core in _pieces(image, box_size, scaled_box, most, band_limited):
        components = intensities.components(picture)
        for component in components:
            component -= ndimage.gaussian_filter(component, scaled_box, mode="reflect")
        yield ScaledTile(components, start, scale, core)


def _intensities(image: NDArray[Any], box_size: int, scaled_box: int) -> Intensities:
    parts = []
    for picture, *_ in _pieces(image, box_size, scaled_box, _SAMPLED):
        rows = picture.reshape(-1, picture.shape[-1])
        parts.append(rows[:: max(1, len(rows) // 100_000)])
    pixels = np.concatenate(parts)
    _, axes = np.linalg.eigh(np.atleast_2d(np.cov(pixels.T, dtype=np.float64)))
    axes = axes[:, ::-1][:, :2].astype(np.float32)  # along which the colors vary most
    axes *= np.where(axes.sum(0) < 0, -1, 1)  # brighter stays brighter
    value = pixels @ axes
    low, high = np.percentile(value, (0.1, 99.9), axis=0)  # hot pixels are cut
    flat = high <= low
    low, high = np.where(flat, value.min(0), low), np.where(flat, value.max(0), high)
    if not high[0] > low[0]:
        raise InputError("the image is constant: there is nothing to find.")
    keep = high > low
    return Intensities(axes[:, keep], low[keep].astype(np.float32), high[keep].astype(np.float32))


def _pieces(
    image: NDArray[Any],
    box_size: int,
    scaled_box: int,
    most: int | None,
    band_limited: bool = False,
) -> Iterator[
    tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
]:
    """Yield pictures (y, x, channels) with start, scale and core as those of `ScaledTile`."""
    binning = 1 if band_limited else max(1, box_size // scaled_box)
    side = binning * max(round(_TILE * box_size / (scaled_box * binning)), 1)
    halo = binning * -(-3 * box_size // (2 * binning))
    size = np.array(image.shape[:2])
    corners = [(y, x) for y in range(0, size[0], side) for x in range(0, size[1], side)]
    if most is not None and len(corners) > most:
        corners = [corners[i] for i in np.linspace(0, len(corners) - 1, most).astype(int)]
    for corner in corners:
        own = np.stack([corner, np.minimum(np.array(corner) + side, size)])
        start, stop = np.maximum(own[0] - halo, 0), np.minimum(own[1] + halo, size)
        pixels = np.asarray(image[start[0] : stop[0], start[1] : stop[1]])
        picture = np.atleast_3d(pixels).astype(np.float32)
        if not np.isfinite(picture).all():
            raise InputError(
                "the image holds NaN or infinite pixels: crop them off, or fill them with its "
                "median."
            )
        binned = np.array(picture.shape[:2])
        if binning > 1:
            whole = np.maximum(binned // binning * binning, binning)
            picture = downscale_local_mean(
                picture[: whole[0], : whole[1]], (binning, binning, 1)
            ).astype(np.float32)
            binned = whole
        shape = np.maximum(np.round(binned * scaled_box / box_size), 1).astype(int)
        if band_limited:
            for axis in (0, 1):
                picture = resample(picture, shape[axis], axis=axis)
        elif tuple(shape) != picture.shape[:2]:
            smaller = shape[0] < picture.shape[0]
            picture = resize(picture, shape, order=1, anti_aliasing=smaller).astype(np.float32)
        yield picture, start.astype(float), shape / binned, own.astype(float)
