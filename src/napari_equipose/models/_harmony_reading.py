"""What Harmony's encoder says of images, and how far that is from something else."""

from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from ._harmony_config import HarmonyConfig
from ._harmony_transforms import Transforms


class Reading(NamedTuple):
    """What the encoder says of ``n`` images."""

    proposals: Transforms  # (n * hypotheses, ...), those of an image one after the other
    content: Tensor  # (n, content_dim), mean
    log_std: Tensor  # (n, content_dim)


def content_kl(first: Reading, second: Reading) -> Tensor:
    """KL divergence (n,) of the first image's content distribution from the second's."""
    ratio = (2 * (first.log_std - second.log_std)).exp()
    apart = ((first.content - second.content) / second.log_std.exp()).square()
    return (0.5 * (ratio + apart - 1) + second.log_std - first.log_std).sum(1)


def distance(
    config: HarmonyConfig,
    reading: Reading,
    known: Transforms,
    content: Tensor,
    content_std: float,
) -> Tensor:
    """How far a reading is from transformations and contents that are known.

    Parameters
    ----------
    config : HarmonyConfig
    reading : Reading
        Of ``n`` images; of the proposals for each the nearest counts.
    known : Transforms
        One for each.
    content : Tensor, shape (n, content_dim)
    content_std : float
        The spread wanted of the contents.

    Returns
    -------
    Tensor
        Mean over the images.
    """
    n = len(content)
    proposed, each = reading.proposals, (n, config.hypotheses)
    turned = proposed.rotation.unflatten(0, each) - known.rotation.unsqueeze(1)
    moved = proposed.translation.unflatten(0, each) - known.translation.unsqueeze(1)
    grown = proposed.log_scale.unflatten(0, each) - known.log_scale.unsqueeze(1)
    # By how far that moves what lies halfway to the edge, as a shift does.
    moved = torch.cat((moved, config.side / 4 * grown.unsqueeze(2)), 2)
    apart, nearest = turned.square().sum((-2, -1)).min(1)
    moved = moved[torch.arange(n, device=nearest.device), nearest]
    unlike = (reading.content - content).square().sum(1)
    spread = (reading.log_std - log(content_std)).square().sum(1)
    whole: Tensor = (apart + moved.square().sum(1) / config.dimensions + unlike + spread).mean()
    return whole
