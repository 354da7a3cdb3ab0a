"""Fourier transforms of volumes, read between their grid points: how volumes are turned here."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..geometry import box_centre, centred_grid, fourier_ball, fourier_grid, smooth_ball_mask

_FINER = 2  # how much more finely than the grid of the volume; linear interpolation asks for it


class Coefficients(NamedTuple):
    """Which Fourier coefficients are looked at: half a ball, the other half being its mirror."""

    frequency: Tensor  # (k, 3), (z, y, x), cycles per box
    weight: Tensor  # (k,), 2 where the mirror image stands for another coefficient, else 1
    place: Tensor  # (k,) where they are in the flattened result of `torch.fft.rfftn`


def coefficients(box_size: int, radius: float | None = None) -> Coefficients:
    """List the coefficients within a radius in cycles per box; up to Nyquist by default."""
    inside = fourier_ball(box_size, radius)
    frequency = fourier_grid(box_size)[inside]
    weight = torch.where(frequency[:, 2] > 0, 2.0, 1.0)
    return Coefficients(frequency, weight, inside.flatten().nonzero()[:, 0])


def fine_spectrum(volumes: Tensor, between: bool = True) -> Tensor:
    """Transform volumes (n, z, y, x) of equal sides so that they can be read at any frequency.

    Without ``between``, only at whole numbers of cycles per box.

    Returns
    -------
    Tensor, shape (n, 2, 2 z, 2 y, 2 x)
        Real and imaginary part about the centre voxel; of what lies in the ball within the box,
        for what lies outside would leave the box when it is turned.
    """
    size = volumes.shape[-1]
    wide, first = _FINER * size, box_centre(_FINER * size) - box_centre(size)
    # linear interpolation of the transform dims the volume by this much, towards its border
    dimmed = torch.sinc(centred_grid((size,) * 3) / wide).square().prod(-1) if between else 1.0
    ball = (smooth_ball_mask(size, edge=2.0) / dimmed).to(volumes)
    padded = volumes.new_zeros(len(volumes), wide, wide, wide)
    inner = slice(first, first + size)
    padded[:, inner, inner, inner] = volumes * ball
    axes = (1, 2, 3)
    spectrum = torch.fft.fftn(torch.fft.ifftshift(padded, axes), dim=axes)
    return torch.view_as_real(torch.fft.fftshift(spectrum, axes)).movedim(-1, 1).contiguous()


def read_spectrum(spectrum: Tensor, frequency: Tensor) -> Tensor:
    """Read a fine spectrum (1, 2, z, y, x) at frequencies (..., 3) in cycles per box.

    Returns
    -------
    Tensor of complex, shape (...)
    """
    wide = spectrum.shape[-1]
    size = wide // _FINER
    points = frequency.flip(-1) * (2 * _FINER / (wide - 1)) + (2 * size / (wide - 1) - 1)
    flat = points.reshape(-1, 3)
    # grid_sample works on several things at once only where they are of several volumes
    shares = torch.get_num_threads() if len(flat) > 1000 else 1
    grid = F.pad(flat, (0, 0, 0, -len(flat) % shares)).reshape(shares, 1, 1, -1, 3)
    source = spectrum.expand(shares, -1, -1, -1, -1)
    found = F.grid_sample(source, grid, align_corners=True)  # (shares, 2, 1, 1, points)
    found = found[:, :, 0, 0].transpose(1, 2).reshape(-1, 2)[: len(flat)]
    return torch.view_as_complex(found.contiguous()).reshape(frequency.shape[:-1])


def shift_phase(frequency: Tensor, shift: Tensor, box_size: int) -> Tensor:
    """By what a coefficient (k, 3) is multiplied when what is at ``shift`` comes to the centre."""
    angle = 2 * torch.pi / box_size * (frequency @ shift)
    phase: Tensor = torch.polar(torch.ones_like(angle), angle)
    return phase


def to_volume(values: Tensor, where: Coefficients, box_size: int) -> Tensor:
    """Make a volume (z, y, x) of its coefficients (k,) about the centre voxel."""
    half = values.new_zeros(box_size * box_size * (box_size // 2 + 1))
    half[where.place] = values
    half = half.reshape(box_size, box_size, -1)
    volume: Tensor = torch.fft.fftshift(torch.fft.irfftn(half, (box_size,) * 3))
    return volume


def to_coefficients(volume: Tensor, where: Coefficients) -> Tensor:
    """Coefficients (k,) of a volume (z, y, x) about its centre voxel."""
    values: Tensor = torch.fft.rfftn(torch.fft.ifftshift(volume)).flatten()[where.place]
    return values
