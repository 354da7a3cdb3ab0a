"""Moving pictures by poses, differentiably, with one bilinear interpolation."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ._grids import box_centre, centred_grid
from ._poses import Poses


def apply_poses(images: Tensor, poses: Poses, shape: Sequence[int] | None = None) -> Tensor:
    """Turn canonical images, then shift them: ``out(R x + t) = in(x)``.

    Parameters
    ----------
    images : Tensor, shape (n, channels, y, x)
        Objects at rest, their origin at the centre pixel.
    poses : Poses
        One for each image.
    shape : (int, int), optional
        Size (y, x) of the result in pixels; that of the input when not given.

    Returns
    -------
    Tensor, shape (n, channels, *shape)
        Bilinearly interpolated; zero where the input does not reach.
    """
    return remove_poses(images, poses.inverse(), shape)


def remove_poses(images: Tensor, poses: Poses, shape: Sequence[int] | None = None) -> Tensor:
    """Bring images to their canonical frame: ``out(x) = in(R x + t)``.

    Parameters and result are those of `apply_poses`, whose opposite this is.
    """
    shape = tuple(images.shape[-2:] if shape is None else shape)
    points = centred_grid(shape).to(images).reshape(1, -1, 2)
    return _sample(images, poses.move(points)).reshape(*images.shape[:2], *shape)


def _sample(images: Tensor, points: Tensor) -> Tensor:
    """Read images at points (n, k, 2), in pixels from the centre pixel."""
    size = torch.tensor(images.shape[-2:]).to(points)
    centre = torch.tensor([box_centre(n) for n in images.shape[-2:]]).to(points)
    normalised = (2 * (points + centre) + 1) / size - 1  # align_corners=False
    grid = normalised.flip(-1).unsqueeze(1)  # grid_sample reads (x, y)
    return F.grid_sample(images, grid, align_corners=False).squeeze(2)
