"""What the dissimilarities of Harmony are made of: energies of images, where they count."""

import torch
from torch import Tensor

from ..geometry import centred_grid, constant, fourier_ball
from ._harmony_config import HarmonyConfig
from ._harmony_transforms import Transforms

_EDGE = 2.0  # pixels over which the mask falls


def energy(config: HarmonyConfig, volumes: Tensor, *measured: Transforms) -> Tensor:
    """Sum of squares (n,) of differences at rest, in the units of the images.

    Parameters
    ----------
    volumes : Tensor, shape (n, channels, ...)
    *measured : Transforms
        Of the images that were brought to rest: what these did not measure does not count,
        and what they show larger or brighter counts more.
    """
    side, d = volumes.shape[-1], config.dimensions
    log_scale = torch.stack([t.log_scale for t in measured]).mean(0)
    log_gain = torch.stack([t.log_gain for t in measured]).mean(0)
    # What lies this far from the object in its image, whatever the object's size.
    radius = config.radius * side / log_scale.exp()
    distance = constant(_distance, side, d, volumes.dtype, like=volumes)
    inside = (radius.reshape(-1, *[1] * d) - distance) / _EDGE
    volumes = volumes * inside.clamp(0, 1).unsqueeze(1)
    total = volumes.square().flatten(1).sum(1)
    if config.wedge is not None:
        total = _measured_energy(config, volumes, *(t.rotation for t in measured))
    weighted: Tensor = total * (d * log_scale + 2 * log_gain).exp()
    return weighted


def left_out(config: HarmonyConfig, images: Tensor, rest: Tensor, chosen: Transforms) -> Tensor:
    """Energy (n,) of images that is not in what was brought to rest."""
    offset = chosen.offset.reshape(-1, *[1] * (images.ndim - 1))
    return (images - offset).square().flatten(1).sum(1) - energy(config, rest, chosen)


def _measured_energy(config: HarmonyConfig, volumes: Tensor, *rotations: Tensor) -> Tensor:
    """Energy (n,) of the Fourier coefficients that all of some turned wedges hold.

    It is scaled to that of all coefficients, lest it pay to turn the wedges apart.
    """
    wedge, side = config.wedge, volumes.shape[-1]
    assert wedge is not None
    ball = constant(_weighted_ball, side, like=volumes)
    common = ball
    for rotation in rotations:
        common = common * wedge.at_rest(rotation.detach(), side)
    power = torch.fft.rfftn(volumes, dim=(-3, -2, -1)).abs().square().sum(1)
    part = common.flatten(1).sum(1) / ball.sum()
    measured: Tensor = (power * common).flatten(1).sum(1) / (part * side**3)
    return measured


def _distance(side: int, dimensions: int, dtype: torch.dtype) -> Tensor:
    """Of each pixel from the centre of the box."""
    distance: Tensor = centred_grid((side,) * dimensions).to(dtype).norm(dim=-1)
    return distance


def _weighted_ball(side: int) -> Tensor:
    """How many coefficients each frequency of a ball stands for: of pairs, rfftn gives one."""
    twice = torch.full((side // 2 + 1,), 2.0)
    twice[0] = 1.0
    return fourier_ball(side) * twice
