"""Turning filters about their centre."""

from math import pi

import torch
from torch import Tensor

from ._grids import centred_grid
from ._poses import Poses
from ._resampling import apply_poses


def smooth_disc_mask(size: int, radius: float | None = None, edge: float = 1.0) -> Tensor:
    """Return a disc of ones that falls to zero over ``edge`` pixels, shape (size, size).

    Parameters
    ----------
    size : int
        Side of the square in pixels.
    radius : float, optional
        Where the mask is one half, in pixels from the centre pixel; by default the largest
        disc that has fallen to zero at the border.
    edge : float
        Width of the fall in pixels.
    """
    return _smooth_mask((size,) * 2, radius, edge)


def smooth_ball_mask(size: int, radius: float | None = None, edge: float = 1.0) -> Tensor:
    """Return a ball of ones that falls to zero over ``edge`` pixels, shape (size, size, size).

    Parameters are those of `smooth_disc_mask`.
    """
    return _smooth_mask((size,) * 3, radius, edge)


def _smooth_mask(shape: tuple[int, ...], radius: float | None, edge: float) -> Tensor:
    if radius is None:
        radius = (shape[0] - 1) // 2 + 0.5 - edge / 2
    distance: Tensor = centred_grid(shape).norm(dim=-1)
    return ((radius - distance) / edge + 0.5).clamp(0, 1)


def rotate_filters(filters: Tensor, n_rotations: int) -> Tensor:
    """Turn each filter by every multiple of ``2 pi / n_rotations``.

    Parameters
    ----------
    filters : Tensor, shape (out, in, k, k)
        ``k`` odd, so that there is a pixel to turn about.
    n_rotations : int
        At least one.

    Returns
    -------
    Tensor, shape (out, n_rotations, in, k, k)
        The first is the filter itself. Quarter turns are exact; others are bilinear, so give
        filters that are smooth and zero outside a disc, or the norm depends on the angle.
    """
    n_out, n_in, k, _ = filters.shape
    angles = torch.arange(n_rotations, device=filters.device).to(filters) * (2 * pi / n_rotations)
    planes = filters.reshape(1, n_out * n_in, k, k).expand(n_rotations, -1, -1, -1)
    turned = apply_poses(planes, Poses(angles, angles.new_zeros(n_rotations, 2)))
    return turned.reshape(n_rotations, n_out, n_in, k, k).transpose(0, 1)
