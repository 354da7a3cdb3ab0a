"""The networks of Harmony: an encoder and a decoder for boxes of any size."""

from math import ceil, log2

import torch
from torch import Tensor, nn

from ..geometry import box_centre
from ._harmony_config import HarmonyConfig

_LEAST_SIDE = 4  # of the feature maps: so much place there is still to tell


class ConvEncoder(nn.Module):
    """Boxes to numbers: convolutions that halve the box until it is small, then two layers."""

    def __init__(self, config: HarmonyConfig, n_outputs: int) -> None:
        super().__init__()
        conv = nn.Conv3d if config.dimensions == 3 else nn.Conv2d
        side, n_in = config.side, config.channels
        layers: list[nn.Module] = []
        for number in range(ceil(log2(config.side / _LEAST_SIDE))):
            n_out = config.width * 2 ** min(number, 3)
            layers += [conv(n_in, n_out, 3, stride=2, padding=1), nn.GroupNorm(4, n_out)]
            layers += [nn.LeakyReLU(0.1)]
            side, n_in = -(-side // 2), n_out
        self.features = nn.Sequential(*layers, nn.Flatten())
        hidden = 16 * config.width
        self.heads = nn.Sequential(
            nn.Linear(n_in * side**config.dimensions, hidden),
            nn.LeakyReLU(0.1),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.1),
            nn.Linear(hidden, n_outputs),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, channels, ...) to numbers (n, n_outputs)."""
        numbers: Tensor = self.heads(self.features(images))
        return numbers


class PictureDecoder(nn.Module):
    """Contents to boxes at rest: pictures, mixed as the content says.

    The pictures come out of transposed convolutions, once for the whole batch, so that they are
    smooth where nothing is known, and cost no more for many contents than for one.
    """

    def __init__(self, config: HarmonyConfig) -> None:
        super().__init__()
        self.config = config
        transposed = nn.ConvTranspose3d if config.dimensions == 3 else nn.ConvTranspose2d
        n_layers = ceil(log2(config.side / _LEAST_SIDE))
        side = -(-config.side // 2**n_layers)
        widths = [config.width * 2 ** min(n_layers - k, 2) for k in range(n_layers)]
        layers: list[nn.Module] = []
        for number, n_in in enumerate(widths):
            last = number == n_layers - 1
            n_out = config.n_pictures * config.channels if last else widths[number + 1]
            layers += [nn.LeakyReLU(0.1)] if number else []
            layers += [transposed(n_in, n_out, 4, stride=2, padding=1)]
        self.seed = nn.Parameter(torch.randn(1, widths[0], *(side,) * config.dimensions))
        self.pictures = nn.Sequential(*layers)
        hidden = 8 * config.width
        self.mix = nn.Sequential(
            nn.Linear(config.content_dim, hidden),
            nn.LeakyReLU(0.1),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.1),
            nn.Linear(hidden, config.n_pictures),
        )

    def forward(self, content: Tensor) -> Tensor:
        """Contents (n, content_dim) to boxes (n, channels, ...)."""
        config = self.config
        drawn: Tensor = self.pictures(self.seed)
        first = box_centre(drawn.shape[-1]) - box_centre(config.side)
        for axis in range(2, drawn.ndim):
            drawn = drawn.narrow(axis, first, config.side)
        flat = drawn.reshape(config.n_pictures, -1)
        boxes: Tensor = self.mix(content) @ flat
        return boxes.reshape(len(content), config.channels, *drawn.shape[2:])
