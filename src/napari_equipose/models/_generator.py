"""Generators: intensity as a function of a coordinate, given the content."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from ._precision import bfloat16_if


class FourierFeatures(nn.Module):
    """Random Fourier features of coordinates (Rahimi and Recht, 2007).

    Parameters
    ----------
    n_features : int
        Number of cosines.
    length : float
        Typical length of the features in pixels: the standard deviation of the angular
        frequency is ``1 / length``.
    """

    frequency: Tensor
    phase: Tensor

    def __init__(self, n_features: int, length: float) -> None:
        super().__init__()
        self.register_buffer("frequency", torch.randn(2, n_features) / length)
        self.register_buffer("phase", torch.rand(n_features) * (2 * torch.pi))

    def forward(self, points: Tensor) -> Tensor:
        """Expand points (..., 2), in pixels, to (..., n_features)."""
        return (points @ self.frequency + self.phase).cos()


def _stack(sizes: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.LeakyReLU()]
    return nn.Sequential(*layers)


class CoordinateGenerator(nn.Module):
    """The generator of the TARGET-VAE paper (section 3.3.2).

    Coordinate and content pass through two parallel branches, whose sum passes through
    ``n_layers`` shared layers; every pixel of every image is evaluated on its own.
    """

    in_bfloat16 = False
    """Whether matrices are multiplied in bfloat16."""

    def __init__(
        self,
        content_dim: int,
        channels: int,
        width: int,
        n_layers: int,
        n_features: int,
        feature_length: float,
    ) -> None:
        super().__init__()
        self.features = FourierFeatures(n_features, feature_length)
        self.place = nn.Linear(n_features, width)
        self.content = nn.Linear(content_dim, width, bias=False)
        self.shared = nn.Sequential(nn.LeakyReLU(), _stack([width] * (n_layers + 1)))
        self.intensity = nn.Linear(width, channels)

    def start_dark(self) -> None:
        """Begin with log-odds of a dark background, which small steps take long to reach."""
        nn.init.constant_(self.intensity.bias, -3.0)

    def forward(self, content: Tensor, points: Tensor) -> Tensor:
        """Content (n, content_dim) and points (n or 1, k, 2) to values (n, channels, k)."""
        features = self.features(points)
        with bfloat16_if(self.in_bfloat16, points.device):
            hidden = self.place(features) + self.content(content).unsqueeze(1)
            values: Tensor = self.intensity(self.shared(hidden)).float()
        return values.mT


class BilinearGenerator(nn.Module):
    """The cheap one: learned functions of the coordinate, mixed by functions of the content.

    The same two parallel branches meet in a product instead of a sum, so that on a grid shared
    by all images the coordinate branch is evaluated once for the whole batch.
    """

    in_bfloat16 = False
    """Whether matrices are multiplied in bfloat16."""

    def __init__(
        self,
        content_dim: int,
        channels: int,
        width: int,
        n_layers: int,
        n_features: int,
        feature_length: float,
    ) -> None:
        super().__init__()
        self.features = FourierFeatures(n_features, feature_length)
        self.place = nn.Sequential(_stack([n_features, width]), nn.Linear(width, width))
        mix = nn.Linear(width, width * channels)
        nn.init.normal_(mix.weight, std=0.2 / width)
        self.content = nn.Sequential(_stack([content_dim] + [width] * n_layers), mix)
        self.channels = channels
        self.level = nn.Parameter(torch.zeros(channels, 1))

    def start_dark(self) -> None:
        """Begin with log-odds of a dark background, which small steps take long to reach."""
        nn.init.constant_(self.level, -3.0)

    def forward(self, content: Tensor, points: Tensor) -> Tensor:
        """Content (n, content_dim) and points (n or 1, k, 2) to values (n, channels, k)."""
        features = self.features(points)
        with bfloat16_if(self.in_bfloat16, points.device):
            basis: Tensor = self.place(features)  # (n or 1, k, width)
            mix: Tensor = self.content(content).reshape(len(content), self.channels, -1)
            # With one grid, one matrix product for the batch, not a batch of them.
            drawn = mix @ (basis[0].T if len(basis) == 1 else basis.mT)
        return drawn.float() + self.level


GENERATORS: dict[str, type[CoordinateGenerator] | type[BilinearGenerator]] = {
    "coordinate": CoordinateGenerator,
    "bilinear": BilinearGenerator,
}
