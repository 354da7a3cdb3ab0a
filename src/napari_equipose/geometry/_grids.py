"""Coordinates of pixels."""

from collections.abc import Sequence

import torch
from torch import Tensor


def box_centre(size: int) -> int:
    """Index of the centre pixel of an axis of ``size`` pixels."""
    return size // 2


def centred_grid(shape: Sequence[int]) -> Tensor:
    """Coordinates of all pixels of a box, measured from its centre pixel.

    Parameters
    ----------
    shape : sequence of int
        Size of the box in pixels, ((z,) y, x).

    Returns
    -------
    Tensor, shape (*shape, ndim)
        Coordinates ((z,) y, x) in pixels; zero at index ``n // 2`` of each axis.
    """
    axes = [torch.arange(n, dtype=torch.float32) - box_centre(n) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
