"""Objects brought to rest, and their average."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..geometry import InputError, Poses, remove_poses

_BATCH = 1000  # boxes turned at a time: bounds the memory, not the result


def align(images: NDArray[Any], rotation: ArrayLike, translation: ArrayLike) -> NDArray[np.float32]:
    """Undo the pose of every box, in one resampling.

    Parameters
    ----------
    images : array, shape (n, y, x) or (n, channels, y, x)
        Boxes; may be memory-mapped.
    rotation : array, shape (n,)
        Radians, counter-clockwise as displayed.
    translation : array, shape (n, 2)
        Pixels (y, x) from the centre pixel of the box.

    Returns
    -------
    array of float32, shape of ``images``
        Each object in its canonical frame, its origin at the centre pixel. What lies outside
        the box is its mean over the border, so that turned corners do not stand out.

    Raises
    ------
    InputError
        If the arrays do not fit together.
    """
    turn, shift = np.asarray(rotation, np.float32), np.asarray(translation, np.float32)
    n = len(images)
    if images.ndim not in (3, 4) or turn.shape != (n,) or shift.shape != (n, 2):
        raise InputError(
            "boxes (n, y, x) or (n, channels, y, x), with a rotation and a translation (y, x) for "
            f"each, are wanted; got shapes {images.shape}, {turn.shape} and {shift.shape}."
        )
    aligned = np.empty(images.shape, np.float32)
    for first in range(0, n, _BATCH):
        part = slice(first, first + _BATCH)
        boxes = torch.from_numpy(np.array(images[part], np.float32))
        if boxes.ndim == 3:
            boxes = boxes.unsqueeze(1)
        level = _border_mean(boxes)
        poses = Poses(torch.from_numpy(turn[part]), torch.from_numpy(shift[part]))
        moved = remove_poses(boxes - level, poses) + level
        aligned[part] = moved.numpy().reshape(aligned[part].shape)
    return aligned


def average(aligned: NDArray[Any]) -> NDArray[np.float32]:
    """Average aligned boxes (n, ...) over n.

    Raises
    ------
    InputError
        If there are none.
    """
    if not len(aligned):
        raise InputError("there are no boxes to average.")
    return np.asarray(aligned.mean(0, dtype=np.float64), np.float32)


def _border_mean(boxes: torch.Tensor) -> torch.Tensor:
    """Mean over the outermost pixels of boxes (n, c, y, x), of shape (n, c, 1, 1)."""
    edges = (boxes[..., 0, :], boxes[..., -1, :], boxes[..., 1:-1, 0], boxes[..., 1:-1, -1])
    return torch.cat(edges, -1).mean(-1)[..., None, None]
