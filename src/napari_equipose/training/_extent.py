"""How far from their middle objects reach, as their boxes say."""

import torch
from torch import Tensor

from ..geometry import box_centre, centred_grid

_POWER = 0.8


def extent(boxes: Tensor, canonical_size: int) -> float:
    """Radius within which the mean of boxes, at all rotations, has four fifths of its power.

    The mean of rods is a spot in the middle, that of shells is a ring.

    Parameters
    ----------
    boxes : Tensor, shape (n, channels, y, x)
        Normalised.
    canonical_size : int
        Pixels. What lies farther out is the background.

    Returns
    -------
    float
        In halves of the canonical size; at most 1.
    """
    mean = boxes.mean((0, 1))
    radius = centred_grid(tuple(mean.shape)).norm(dim=-1).round().long().flatten()
    profile = torch.bincount(radius, mean.flatten()) / torch.bincount(radius)
    half = canonical_size // 2
    level = profile[half : max(box_centre(mean.shape[0]), half + 1)].median()
    power = (profile[: half + 1] - level).square() * torch.arange(half + 1)
    total = power.cumsum(0)
    return int((total < _POWER * total[-1]).sum()) / half
