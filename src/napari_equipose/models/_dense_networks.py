"""Fully connected networks, and the encoder and the generator of spatial-VAE."""

from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from ._generator import FourierFeatures
from ._harmony_networks import ConvFeatures
from ._spatial_vae_config import SpatialVAEConfig

_ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.LeakyReLU}
_DARK = -3.0
"""Log-odds of a background, which small steps take long to reach."""


def dense(sizes: list[int], activation: str) -> nn.Sequential:
    """Layers of the given sizes, with an activation after all but the last."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def start_dark(network: nn.Sequential) -> None:
    """Let a network of log-odds begin with a dark picture."""
    last = network[-1]
    assert isinstance(last, nn.Linear)
    nn.init.constant_(last.bias, _DARK)


def box_encoder(config: SpatialVAEConfig, n_numbers: int) -> nn.Sequential:
    """Boxes (n, channels, ...) to the numbers of their beliefs."""
    hidden = config.encoder_width
    if config.encoder == "convolutional":
        # of a configuration they ask for dimensions, channels and width alone
        features = ConvFeatures(cast(Any, config), config.side, hidden)
        return nn.Sequential(features, nn.Linear(hidden, n_numbers))
    n_pixels = config.channels * config.side**config.dimensions
    sizes = [n_pixels, *[hidden] * config.encoder_layers, n_numbers]
    return nn.Sequential(nn.Flatten(), *dense(sizes, config.activation))


class SpatialGenerator(nn.Module):
    """Intensity as a function of a coordinate, given the content (paper, section 2.1).

    Coordinate and content each enter the first layer by weights of their own; with ``bilinear``
    so do their products.
    """

    def __init__(self, config: SpatialVAEConfig) -> None:
        super().__init__()
        d, width = config.dimensions, config.generator_width
        self.squares = config.squares
        self.half_side = (config.box_size - 1) / 2
        self.features: FourierFeatures | None = None
        n_in = d + (d * (d + 1) // 2 if config.squares else 0)
        if config.n_features:
            self.features = FourierFeatures(config.n_features, config.feature_length)
            frequency = torch.randn(d, config.n_features) / config.feature_length
            self.features.register_buffer("frequency", frequency)
            n_in += config.n_features - d
        self.place = nn.Linear(n_in, width)
        self.content = nn.Linear(config.content_dim, width, bias=False)
        self.product: nn.Parameter | None = None
        if config.bilinear:
            bound = (n_in * config.content_dim) ** -0.5
            start = torch.empty(config.content_dim, n_in, width).uniform_(-bound, bound)
            self.product = nn.Parameter(start)
        sizes = [width] * config.generator_layers + [config.outputs]
        self.rest = nn.Sequential(
            _ACTIVATIONS[config.activation](), *dense(sizes, config.activation)
        )
        if config.likelihood == "bernoulli":
            start_dark(self.rest)

    def forward(self, content: Tensor, points: Tensor) -> Tensor:
        """Content (n, content_dim) and points (n or 1, k, d), in pixels, to (n, outputs, k)."""
        seen = self._expanded(points)
        hidden = self.place(seen) + self.content(content).unsqueeze(1)
        if self.product is not None:
            hidden = hidden + seen @ torch.einsum("nc,ciw->niw", content, self.product)
        values: Tensor = self.rest(hidden)
        return values.mT

    def _expanded(self, points: Tensor) -> Tensor:
        """What the first layer is given of the points; they lie from -1 to 1 in the box."""
        scaled = points / self.half_side
        parts = [scaled if self.features is None else self.features(points)]
        if self.squares:
            d = points.shape[-1]
            rows, columns = torch.triu_indices(d, d, device=points.device)
            parts.append(scaled[..., rows] * scaled[..., columns])
        return torch.cat(parts, -1)
