"""The point about which an object looks most symmetric: a model's own origin need not be there."""

from math import pi

import torch
from torch import Tensor

from ..geometry import Poses, apply_poses, rotation_matrix_2d, smooth_disc_mask

_MOST_FOLD = 12
_FARTHEST = 1 / 5  # of the side of the box
_GRIDS = ((3, 0.5), (3, 0.15))  # steps to either side, and pixels of each


def symmetric_centre(objects: Tensor) -> Tensor:
    """Find the point about which turns by a part of a circle change objects the least.

    Parameters
    ----------
    objects : Tensor, shape (n, channels, y, x)
        Alike, at rest, as a model draws them; their mean is looked at.

    Returns
    -------
    Tensor, shape (2,)
        (y, x) in pixels from the centre pixel, at most a fifth of the side away. Of turns of order
        2 to 12 it is the best point of the best order; an object of no symmetry has one too.
    """
    mean = objects.mean(0, keepdim=True)
    # what is drawn outside the disc would leave the box
    mean = (mean - mean.mean((2, 3), keepdim=True)) * smooth_disc_mask(objects.shape[-1])
    if not mean.any():
        return torch.zeros(2)
    folds = range(2, _MOST_FOLD + 1)
    begin = {fold: _overlap_point(mean, 2 * pi / fold) for fold in folds}
    scores = {fold: float(_likeness(mean, begin[fold][None], fold)) for fold in folds}
    best = max(folds, key=lambda fold: scores[fold])
    centre = begin[best]
    for steps, step in _GRIDS:
        axis = torch.arange(-steps, steps + 1) * step
        around = centre + torch.cartesian_prod(axis, axis)
        centre = around[_likeness(mean, around, best).argmax()]
    return centre if float(centre.norm()) <= _FARTHEST * objects.shape[-1] else torch.zeros(2)


def _overlap_point(mean: Tensor, angle: float) -> Tensor:
    """Point about which a turn lays an object (1, c, y, x) best on itself, by whole shifts."""
    side = mean.shape[-1]
    turned = apply_poses(mean, Poses(torch.tensor([angle]), torch.zeros(1, 2)))
    size = (2 * side, 2 * side)  # so that nothing comes in from the other side
    product = torch.fft.rfft2(mean, s=size) * torch.fft.rfft2(turned, s=size).conj()
    overlap = torch.fft.irfft2(product, s=size).sum((0, 1))
    place = torch.tensor(divmod(int(overlap.argmax()), 2 * side))
    shift = torch.where(place < side, place, place - 2 * side).float()
    # x -> R x + shift leaves the point c in its place for which (1 - R) c is the shift
    still = torch.eye(2) - rotation_matrix_2d(torch.tensor(angle))
    point: Tensor = torch.linalg.solve(still, shift)
    return point


def _likeness(mean: Tensor, points: Tensor, fold: int) -> Tensor:
    """How like an object is to itself after all turns of an order about points (m, 2), (m,)."""
    m = len(points)
    copies = mean.expand(m, -1, -1, -1)
    there = apply_poses(copies, Poses(torch.zeros(m), -points))
    total = torch.zeros(m)
    for k in range(1, fold):
        angle = torch.full((m,), 2 * pi * k / fold)
        moved = -(rotation_matrix_2d(angle) @ points[..., None])[..., 0]
        turned = apply_poses(copies, Poses(angle, moved))
        power = there.square().sum((1, 2, 3)) * turned.square().sum((1, 2, 3))
        total += (there * turned).sum((1, 2, 3)) / power.sqrt().clamp(min=1e-12)
    return total / (fold - 1)
