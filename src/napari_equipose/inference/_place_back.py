"""Averages put where their particles are in a tomogram."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..geometry import InputError, Poses3D, apply_poses, box_centre


def place_back(
    averages: Sequence[NDArray[Any]],
    positions: ArrayLike,
    rotations: ArrayLike,
    labels: ArrayLike | None,
    shape: Sequence[int],
) -> NDArray[np.float32]:
    """Put the average of its class at the place of each particle.

    Parameters
    ----------
    averages : sequence of arrays, each of shape (z, y, x)
        One for each class, of voxels as large as the tomogram's; the origin of the object at the
        centre voxel, about zero where there is no object.
    positions : array_like, shape (n, 3)
        Of the objects' origins in the tomogram, (z, y, x) in voxels, integers at voxel centres.
    rotations : array_like, shape (n, 3, 3)
        Matrices that act on columns (z, y, x).
    labels : array_like of int, shape (n,), or None
        Which average each is; None for the first.
    shape : sequence of int
        Of the tomogram, (z, y, x).

    Returns
    -------
    array of float32, shape ``shape``
        Zero where nothing was placed; what lies outside is cut off. Where objects overlap the value
        farther from zero stays, so that dark ones are placed as well as bright ones. Beside this
        volume no more than one box is in memory.

    Raises
    ------
    InputError
        If positions, rotations, labels and averages do not fit together, or all positions lie
        outside the tomogram.
    """
    place, turn = np.asarray(positions, np.float64), np.asarray(rotations, np.float32)
    n = len(place)
    label = np.zeros(n, np.int64) if labels is None else np.asarray(labels)
    _check(averages, place, turn, label, shape)
    volume = np.zeros(tuple(shape), np.float32)
    boxes = [torch.from_numpy(np.array(one, np.float32))[None, None] for one in averages]
    whole = np.floor(place + 0.5).astype(np.int64)
    rest = torch.from_numpy((place - whole).astype(np.float32))
    for row in range(n):
        box = boxes[label[row]]
        pose = Poses3D(torch.from_numpy(turn[row])[None], rest[row][None])
        drawn = apply_poses(box, pose)[0, 0].numpy()
        first = whole[row] - [box_centre(side) for side in drawn.shape]
        low = np.clip(first, 0, volume.shape)
        high = np.clip(first + drawn.shape, 0, volume.shape)
        there = tuple(map(slice, low, high))
        part = drawn[tuple(map(slice, low - first, high - first))]
        before = volume[there]
        volume[there] = np.where(np.abs(part) > np.abs(before), part, before)
    return volume


def outside(positions: ArrayLike, shape: Sequence[int]) -> NDArray[np.bool_]:
    """Tell which positions (n, 3) lie in no voxel of a volume of a shape (z, y, x)."""
    place = np.asarray(positions, np.float64)
    inside = (place >= -0.5) & (place < np.asarray(shape) - 0.5)
    return np.asarray(~inside.all(1))


def _words(place: NDArray[np.float64]) -> str:
    return f"({', '.join(f'{value:g}' for value in place)})"


def _check(
    averages: Sequence[NDArray[Any]],
    place: NDArray[np.float64],
    turn: NDArray[np.float32],
    label: NDArray[Any],
    shape: Sequence[int],
) -> None:
    n = len(place)
    if place.shape != (n, 3) or turn.shape != (n, 3, 3) or label.shape != (n,):
        raise InputError(
            "each object needs a position (z, y, x), a rotation (3, 3) and a class, got shapes "
            f"{place.shape}, {turn.shape} and {label.shape}."
        )
    if not np.isfinite(place).all():
        raise InputError("the positions of objects must be finite.")
    if len(shape) != 3 or any(np.ndim(one) != 3 for one in averages):
        raise InputError("averages and tomogram must be volumes (z, y, x).")
    if n and outside(place, shape).all():
        raise InputError(
            f"all {n} objects lie outside the tomogram of shape {tuple(shape)} (z, y, x), from "
            f"{_words(place.min(0))} to {_words(place.max(0))}: are their coordinates those of a "
            "tomogram of other voxels? Divide them by the binning."
        )
    if n and not 0 <= label.min() <= label.max() < len(averages):
        raise InputError(f"there are {len(averages)} averages, and a particle is of another class.")
