"""Objects brought to rest, and their average."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..geometry import InputError, Poses, Poses3D, remove_poses

_BATCH = 2**20  # pixels turned at a time: bounds the memory, not the result


def bring_to_rest(
    images: NDArray[Any],
    rotation: ArrayLike,
    translation: ArrayLike,
    scale: ArrayLike | None = None,
) -> NDArray[np.float32]:
    """Undo the pose of every box, in one resampling.

    Parameters
    ----------
    images : array, shape (n, y, x) or (n, channels, y, x), or (n, z, y, x)
        Boxes; may be memory-mapped.
    rotation : array, shape (n,), or (n, 3, 3) for volumes
        Radians, counter-clockwise as displayed; matrices that act on columns (z, y, x).
    translation : array, shape (n, 2), or (n, 3) for volumes
        Pixels ((z,) y, x) from the centre pixel of the box.
    scale : array, shape (n,), optional
        By how much each object is enlarged; 1 when not given.

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
    size = None if scale is None else np.asarray(scale, np.float32)
    n, d = len(images), 3 if turn.ndim == 3 else 2
    poses_fit = turn.shape == (n, *[3] * (turn.ndim - 1)) and shift.shape == (n, d)
    if images.ndim not in {2: (3, 4), 3: (4,)}[d] or turn.ndim == 2 or not poses_fit:
        raise InputError(
            "boxes (n, y, x) or (n, channels, y, x), with a rotation and a translation (y, x) for "
            "each, or volumes (n, z, y, x) with a matrix and a translation (z, y, x), are wanted; "
            f"got shapes {images.shape}, {turn.shape} and {shift.shape}."
        )
    aligned = np.empty(images.shape, np.float32)
    batch = max(1, _BATCH // max(1, int(np.prod(images.shape[1:]))))
    for first in range(0, n, batch):
        part = slice(first, first + batch)
        boxes = torch.from_numpy(np.array(images[part], np.float32))
        if boxes.ndim == d + 1:
            boxes = boxes.unsqueeze(1)
        level = _border_mean(boxes, d)
        made = Poses3D if d == 3 else Poses
        poses = made(torch.from_numpy(turn[part]), torch.from_numpy(shift[part]))
        enlarged = None if size is None else torch.from_numpy(size[part])
        moved = remove_poses(boxes - level, poses, scale=enlarged) + level
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


def _border_mean(boxes: torch.Tensor, dimensions: int) -> torch.Tensor:
    """Mean over the outermost pixels of boxes (n, c, ...), of shape (n, c, 1, ...)."""
    border = torch.ones(boxes.shape[-dimensions:], dtype=torch.bool)
    border[(slice(1, -1),) * dimensions] = False
    return boxes[..., border].mean(-1)[(..., *[None] * dimensions)]
