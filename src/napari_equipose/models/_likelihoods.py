"""How likely the pixels are, given what the generator drew."""

from math import log, pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BernoulliLikelihood(nn.Module):
    """Pixels in [0, 1]; the generator draws log-odds."""

    def forward(self, drawn: Tensor, images: Tensor) -> Tensor:
        """Log likelihood of each pixel, in nats."""
        return -F.binary_cross_entropy_with_logits(drawn, images, reduction="none")

    def mean(self, drawn: Tensor) -> Tensor:
        """Return the expected intensity."""
        return drawn.sigmoid()


class GaussianLikelihood(nn.Module):
    """Real pixels of unit scale with Gaussian noise.

    Parameters
    ----------
    noise_std : float, optional
        Standard deviation of the noise; fitted with the model, from 1, when not given.
    """

    def __init__(self, noise_std: float | None) -> None:
        super().__init__()
        start = torch.tensor(log(noise_std or 1.0))
        self.log_std = nn.Parameter(start, requires_grad=noise_std is None)

    def forward(self, drawn: Tensor, images: Tensor) -> Tensor:
        """Log likelihood of each pixel, in nats."""
        # Below 1 % of the contrast the likelihood would only chase interpolation errors.
        log_std = self.log_std.clamp(min=log(0.01))
        scaled = (images - drawn) * (-log_std).exp()
        return -0.5 * scaled.square() - log_std - 0.5 * log(2 * pi)

    def mean(self, drawn: Tensor) -> Tensor:
        """Return the expected intensity."""
        return drawn
