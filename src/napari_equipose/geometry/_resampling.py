"""Moving pictures and volumes by poses, differentiably, with one linear interpolation."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ._constants import constant, numbers_like
from ._grids import box_centre, centred_grid
from ._poses import Poses
from ._poses3d import Poses3D


def apply_poses(
    images: Tensor,
    poses: Poses | Poses3D,
    shape: Sequence[int] | None = None,
    scale: Tensor | None = None,
) -> Tensor:
    """Turn canonical images, then shift them: ``out(s R x + t) = in(x)``.

    Parameters
    ----------
    images : Tensor, shape (n, channels, y, x), or (n, channels, z, y, x)
        Objects at rest, their origin at the centre pixel.
    poses : Poses, or Poses3D for volumes
        One for each image.
    shape : sequence of int, optional
        Size ((z,) y, x) of the result in pixels; that of the input when not given.
    scale : Tensor, shape (n,), optional
        ``s``, by how much each object is enlarged about its origin; 1 when not given.

    Returns
    -------
    Tensor, shape (n, channels, *shape)
        Linearly interpolated; zero where the input does not reach.
    """
    back = poses.inverse()
    if scale is None:
        return resample(images, back.matrix, back.translation, shape)
    matrix, shift = back.matrix / scale[:, None, None], back.translation / scale[:, None]
    return resample(images, matrix, shift, shape)


def remove_poses(
    images: Tensor,
    poses: Poses | Poses3D,
    shape: Sequence[int] | None = None,
    scale: Tensor | None = None,
) -> Tensor:
    """Bring images to their canonical frame: ``out(x) = in(s R x + t)``.

    Parameters and result are those of `apply_poses`, whose opposite this is.
    """
    if scale is None:
        return resample(images, poses.matrix, poses.translation, shape)
    return resample(images, poses.matrix * scale[:, None, None], poses.translation, shape)


def resample(
    images: Tensor, matrix: Tensor, shift: Tensor, shape: Sequence[int] | None = None
) -> Tensor:
    """Read images elsewhere, in one interpolation: ``out(x) = in(M x + shift)``.

    Parameters
    ----------
    images : Tensor, shape (n, channels, y, x), or (n, channels, z, y, x)
    matrix : Tensor, shape (n, d, d)
        Acts on columns ((z,) y, x), counted from the centre pixels.
    shift : Tensor, shape (n, d)
        Pixels.
    shape : sequence of int, optional
        Size ((z,) y, x) of the result in pixels; that of the input when not given.

    Returns
    -------
    Tensor, shape (n, channels, *shape)
        Linearly interpolated; zero where the input does not reach.
    """
    shape = tuple(images.shape[2:] if shape is None else shape)
    size = numbers_like(images.shape[2:], matrix)
    centre = numbers_like([box_centre(n) for n in images.shape[2:]], matrix)
    # grid_sample wants (x, y, z) from -1 to 1 over the box; to say so in the motion itself saves
    # passes over all points
    shift = (2 * (shift + centre) + 1) / size - 1
    matrix = matrix * (2 / size)[:, None]
    points = constant(centred_grid, shape, like=images)
    points = points.reshape(1, -1, len(shape))
    grid = points @ matrix.flip(1).mT + shift.flip(1).unsqueeze(1)
    # one long row is what grid_sample is quickest with
    grid = grid.unflatten(1, (*[1] * (len(shape) - 1), -1))
    sampled = F.grid_sample(images, grid, align_corners=False)
    return sampled.reshape(*images.shape[:2], *shape)


def fourier_crop(images: Tensor, size: int) -> Tensor:
    """Show the same on fewer, larger pixels, by leaving out the high frequencies.

    Parameters
    ----------
    images : Tensor, shape (n, channels, y, x), or (n, channels, z, y, x)
        Of equal sides.
    size : int
        Side of the result in pixels, at most that of the input.

    Returns
    -------
    Tensor, shape (n, channels, size, size), or with a third size
        The centre pixel stays where it is, at ``size // 2``; intensities are kept.
    """
    axes = tuple(range(2, images.ndim))
    side = images.shape[-1]
    first = box_centre(side) - box_centre(size)
    spectrum = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(images, axes), dim=axes), axes)
    for axis in axes:
        spectrum = spectrum.narrow(axis, first, size)
    cropped = torch.fft.ifftn(torch.fft.ifftshift(spectrum, axes), dim=axes).real
    smaller: Tensor = torch.fft.fftshift(cropped, axes) * (size / side) ** len(axes)
    return smaller
