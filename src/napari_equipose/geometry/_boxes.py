"""Cutting boxes out of large images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._errors import InputError
from ._grids import box_centre


def extract_boxes(
    image: NDArray[Any], positions: NDArray[np.floating[Any]], box_size: int
) -> NDArray[np.float32]:
    """Cut square boxes around positions, without interpolation.

    Parameters
    ----------
    image : array, shape (y, x) or (y, x, channels)
        May be memory-mapped or lazy: only what the boxes cover is read.
    positions : array, shape (n, 2)
        Centres (y, x) in pixels; the nearest pixel lands on the centre pixel of its box.
    box_size : int
        Side of the boxes in pixels.

    Returns
    -------
    ndarray of float32, shape (n, channels, box_size, box_size)
        Reflected where a box sticks out of the image.

    Raises
    ------
    InputError
        If a box is larger than the image.
    """
    height, width = image.shape[:2]
    if box_size > min(height, width):
        raise InputError(
            f"a box of {box_size} pixels does not fit into an image of {height} x {width} pixels; "
            "give a smaller box size."
        )
    corners = np.floor(np.asarray(positions) + 0.5).astype(np.int64) - box_centre(box_size)
    channels = image.shape[2] if image.ndim == 3 else 1
    boxes = np.empty((len(corners), channels, box_size, box_size), np.float32)
    for box, (top, left) in zip(boxes, corners, strict=True):
        y = _reflected(top + np.arange(box_size), height)
        x = _reflected(left + np.arange(box_size), width)
        covered = np.asarray(image[y.min() : y.max() + 1, x.min() : x.max() + 1])
        cut = covered[np.ix_(y - y.min(), x - x.min())]
        box[:] = np.moveaxis(cut.reshape(box_size, box_size, channels), -1, 0)
    return boxes


def extract_cubes(
    volume: NDArray[Any], positions: NDArray[np.floating[Any]], box_size: int
) -> NDArray[np.float32]:
    """Cut cubic boxes around positions, without interpolation.

    Parameters
    ----------
    volume : array, shape (z, y, x)
        May be memory-mapped or lazy: only what the boxes cover is read, box by box.
    positions : array, shape (n, 3)
        Centres (z, y, x) in pixels; the nearest pixel lands on the centre pixel of its box.
    box_size : int
        Side of the boxes in pixels.

    Returns
    -------
    ndarray of float32, shape (n, 1, box_size, box_size, box_size)
        Reflected where a box sticks out of the volume.

    Raises
    ------
    InputError
        If a box is larger than the volume.
    """
    if box_size > min(volume.shape):
        sides = " x ".join(map(str, volume.shape))
        raise InputError(
            f"a box of {box_size} pixels does not fit into a volume of {sides} pixels; "
            "give a smaller box size."
        )
    corners = np.floor(np.asarray(positions).reshape(-1, 3) + 0.5).astype(np.int64)
    boxes = np.empty((len(corners), 1, box_size, box_size, box_size), np.float32)
    for box, corner in zip(boxes, corners - box_centre(box_size), strict=True):
        places = [
            _reflected(first + np.arange(box_size), side)
            for first, side in zip(corner, volume.shape, strict=True)
        ]
        covered = np.asarray(volume[tuple(slice(at.min(), at.max() + 1) for at in places)])
        box[0] = covered[np.ix_(*(at - at.min() for at in places))]
    return boxes


def _reflected(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Indices mirrored back into ``0 ... size - 1``, the border pixel not repeated."""
    period = max(2 * (size - 1), 1)
    folded: NDArray[np.int64] = np.abs(index) % period
    return np.asarray(np.minimum(folded, period - folded))
