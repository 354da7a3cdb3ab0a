"""The networks of MCE-VAE."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._mce_vae_config import FIELDS, MCEVAEConfig

_ACTIVATIONS: dict[str, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}


class AugmentedEncoder(nn.Module):
    """From images (n, channels, y, x) to z_aug (n, config.n_features)."""

    def __init__(self, config: MCEVAEConfig) -> None:
        super().__init__()
        self.binning = config.binning
        a, b = config.width, 2 * config.width
        self.layers = nn.Sequential(
            nn.Conv2d(config.channels, a, 5, padding=2, bias=False),
            nn.BatchNorm2d(a),
            nn.ReLU(),
            nn.Conv2d(a, a, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(a),
            nn.ReLU(),
            nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(b),
            nn.ReLU(),
            nn.Conv2d(b, FIELDS, 5, padding=2),
        )
        # a third quicker on a processor
        nn.utils.convert_conv2d_weight_memory_format(self.layers, torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Return the augmented latent variable."""
        if self.binning > 1:
            images = F.avg_pool2d(images, self.binning)
        flat: Tensor = self.layers(images).flatten(1)
        return flat


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Normalise batches by their own statistics, and leave the running ones as they are."""
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def extractor(n_in: int, hidden: int, n_out: int, activation: str) -> nn.Sequential:
    """Make a perceptron with two hidden layers."""
    between = _ACTIVATIONS[activation]
    return nn.Sequential(
        nn.Linear(n_in, hidden), between(), nn.Linear(hidden, hidden), between(),
        nn.Linear(hidden, n_out),
    )  # fmt: skip


class GatedDense(nn.Module):
    """A linear layer, times the sigmoid of another."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.value, self.gate = nn.Linear(n_in, n_out), nn.Linear(n_in, n_out)

    def forward(self, values: Tensor) -> Tensor:
        """Return the gated values."""
        gated: Tensor = self.value(values) * self.gate(values).sigmoid()
        return gated


class InvarianceDecoder(nn.Module):
    """From contents (n, n_in) to parameters of the pixels at rest (n, channels, y, x)."""

    def __init__(self, config: MCEVAEConfig, n_in: int) -> None:
        super().__init__()
        side, hidden = config.box_size, config.hidden_decoder
        self.shape = (config.channels, side, side)
        n_pixels = config.channels * side**2
        if config.decoder == "gated":
            self.layers = nn.Sequential(
                GatedDense(n_in, hidden), GatedDense(hidden, hidden), nn.Linear(hidden, n_pixels)
            )
        elif config.decoder == "linear":
            between = _ACTIVATIONS[config.activation]
            self.layers = nn.Sequential(nn.Linear(n_in, hidden), between())
            for _ in range(2):
                self.layers.extend([nn.Linear(hidden, hidden), between()])
            self.layers.append(nn.Linear(hidden, n_pixels))
        else:
            quarter, a = -(-side // 4), config.width
            self.layers = nn.Sequential(
                nn.Linear(n_in, a * quarter**2),
                nn.Unflatten(1, (a, quarter, quarter)),
                nn.ConvTranspose2d(a, a, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(a),
                nn.ELU(),
                nn.ConvTranspose2d(a, a, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(a),
                nn.ELU(),
                nn.Conv2d(a, config.channels, 3, padding=1),
            )

    def forward(self, contents: Tensor) -> Tensor:
        """Return log-odds or intensities, as the likelihood has it."""
        drawn: Tensor = self.layers(contents).float()
        if drawn.ndim == 2:
            return drawn.reshape(-1, *self.shape)
        return drawn[..., : self.shape[1], : self.shape[2]]  # of sides in steps of four
