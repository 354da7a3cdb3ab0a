"""The networks of Harmony: encoders and a decoder for boxes of any size."""

from math import ceil, log2

import torch
from torch import Tensor, nn

from ..geometry import box_centre, fourier_crop, resample
from ._harmony_config import HarmonyConfig

_LEAST_SIDE = 4  # of the feature maps: so much place there is still to tell


class ConvFeatures(nn.Module):
    """Boxes to features: convolutions that halve the box until it is small, then two layers."""

    def __init__(self, config: HarmonyConfig, side: int, n_features: int) -> None:
        super().__init__()
        conv = nn.Conv3d if config.dimensions == 3 else nn.Conv2d
        n_in = config.channels
        layers: list[nn.Module] = []
        for number in range(ceil(log2(side / _LEAST_SIDE))):
            n_out = config.width * 2 ** min(number, 3)
            layers += [conv(n_in, n_out, 3, stride=2, padding=1), nn.GroupNorm(4, n_out)]
            layers += [nn.LeakyReLU(0.1)]
            side, n_in = -(-side // 2), n_out
        self.layers = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(n_in * side**config.dimensions, n_features),
            nn.LeakyReLU(0.1),
            nn.Linear(n_features, n_features),
            nn.LeakyReLU(0.1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, channels, ...) to features (n, n_features)."""
        features: Tensor = self.layers(images)
        return features


class PlainEncoder(nn.Module):
    """The paper's: numbers of the contents and of all proposals from one look at each image."""

    def __init__(self, config: HarmonyConfig, n_content: int, n_pose: int) -> None:
        super().__init__()
        self.sizes = (n_content, config.hypotheses * n_pose)
        self.features = ConvFeatures(config, config.side, 16 * config.width)
        self.heads = nn.Linear(16 * config.width, sum(self.sizes))

    def forward(self, images: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers of the content (n, n_content), and of the poses (n * hypotheses, n_pose)."""
        content, poses = self.heads(self.features(images)).split(self.sizes, dim=1)
        return content, poses.reshape(len(images) * len(starts), -1)


class ViewEncoder(nn.Module):
    """A proposal from each of some views, by the same weights; the content from all of them."""

    def __init__(self, config: HarmonyConfig, n_content: int, at_rest: Tensor) -> None:
        super().__init__()
        self.side, n_features = config.coarse_side, 8 * config.width
        self.features = ConvFeatures(config, self.side, n_features)
        self.content = nn.Linear(n_features, n_content)
        self.pose = nn.Linear(n_features, len(at_rest))
        with torch.no_grad():  # begin with the views as they are
            self.pose.weight.mul_(0.3)
            self.pose.bias.copy_(at_rest)

    def forward(self, images: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers of the content (n, n_content), and of the poses (n * hypotheses, n_pose)."""
        n, views = len(images), len(starts)
        small = fourier_crop(images, self.side).repeat_interleave(views, 0)
        still = small.new_zeros(n * views, starts.shape[-1])
        seen = self.features(resample(small, starts.repeat(n, 1, 1), still))
        return self.content(seen.unflatten(0, (n, views)).amax(1)), self.pose(seen)


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
