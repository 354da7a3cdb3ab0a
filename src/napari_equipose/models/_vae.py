"""The plain VAE and beta-VAE: codes of images, with no pose, that others are held against."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ..geometry import InputError, Poses, Poses3D, apply_poses, smooth_ball_mask, smooth_disc_mask
from ._checks import check_boxes, check_choices, check_dense, check_positive
from ._dense_networks import dense, start_dark
from ._interface import Capabilities, LossTerms, Posterior
from ._likelihoods import BernoulliLikelihood, GaussianLikelihood
from ._normal_kl import LOG_STD_RANGE, unit_kl
from ._spatial_vae_config import Activation, Likelihood


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """All that is needed to rebuild the network and its loss, and nothing about its training."""

    box_size: int
    """Side of the boxes that the model is trained on, in pixels."""
    dimensions: Literal[2, 3] = 2
    """2 for images, 3 for volumes."""
    channels: int = 1
    """1, or 3 for RGB."""
    content_dim: int = 2
    beta: float = 1.0
    """Weight of the divergence of the content from its prior."""
    encoder_width: int = 500
    """Of the hidden layers."""
    encoder_layers: int = 2
    generator_width: int = 500
    generator_layers: int = 2
    activation: Activation = "tanh"
    likelihood: Likelihood = "gaussian"
    noise_std: float | None = None
    """Of the Gaussian likelihood; fitted by default."""
    mask_radius: float | None = None
    """Pixels farther from the centre of the box do not count; by default all count."""

    def __post_init__(self) -> None:
        if self.dimensions not in (2, 3):
            raise InputError(f"dimensions must be 2 or 3, got {self.dimensions!r}.")
        check_choices(self, ("activation", "likelihood"))
        check_dense(self)
        check_positive(self, ("beta", "noise_std", "mask_radius"))

    @property
    def wedge(self) -> None:
        """What the tilt series measures: all, for what this system knows."""

    @property
    def radius(self) -> float:
        """Of what counts, as a part of the side of the box."""
        return (self.mask_radius or (self.box_size - 1) // 2) / self.box_size

    @property
    def n_numbers(self) -> int:
        """How many numbers the network needs, with its mask."""
        n_pixels: int = self.channels * self.box_size**self.dimensions
        content, e, g = self.content_dim, self.encoder_width, self.generator_width
        encoder = (n_pixels + self.encoder_layers * (e + 1) + 2 * content) * e + 2 * content
        generator = (content + self.generator_layers * (g + 1) + n_pixels) * g + n_pixels
        return encoder + generator + n_pixels + 1


@dataclass(frozen=True, kw_only=True)
class BetaVAEConfig(VAEConfig):
    """Settings of beta-VAE: those of the VAE, with a heavier divergence."""

    content_dim: int = 4
    beta: float = 4.0
    """Weight of the divergence of the content from its prior; 4 as Higgins et al. have it."""


class VAE(nn.Module):
    """Code whole images by a few numbers, of which pose is as much a part as content.

    All layers are dense. Of volumes they are large: 33 million weights for boxes of 32 pixels.

    Parameters
    ----------
    config : VAEConfig or BetaVAEConfig
        Kept as ``config``.

    References
    ----------
    D. P. Kingma and M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014; as the baseline of
    T. Bepler et al., spatial-VAE, NeurIPS 2019, section 4.1. beta-VAE: I. Higgins et al., ICLR
    2017, equation 4; as the baseline of TARGET-VAE, NeurIPS 2022, Table 2.
    """

    pixel_mask: Tensor

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        d = config.dimensions
        n_pixels = config.channels * config.box_size**d
        encoder = [n_pixels, *[config.encoder_width] * config.encoder_layers]
        generator = [config.content_dim, *[config.generator_width] * config.generator_layers]
        self.encoder = dense([*encoder, 2 * config.content_dim], config.activation)
        self.generator = dense([*generator, n_pixels], config.activation)
        self.likelihood: BernoulliLikelihood | GaussianLikelihood
        if config.likelihood == "bernoulli":
            start_dark(self.generator)
            self.likelihood = BernoulliLikelihood()
        else:
            self.likelihood = GaussianLikelihood(config.noise_std)
        mask = smooth_disc_mask if d == 2 else smooth_ball_mask
        whole = mask(config.box_size, config.mask_radius or d * config.box_size)
        self.register_buffer("pixel_mask", whole, persistent=False)

    @property
    def capabilities(self) -> Capabilities:
        """What this system can do."""
        return Capabilities(
            dimensions=frozenset({self.config.dimensions}),
            infers=frozenset(),
            fully_convolutional=False,
            clusters=False,
        )

    def loss(self, images: Tensor) -> LossTerms:
        """Terms of the negative evidence lower bound, of which beta weighs the second.

        Parameters
        ----------
        images : Tensor, shape (n, channels, box_size, box_size), or with a third box_size

        Returns
        -------
        LossTerms
            In nats per image: ``reconstruction`` and ``kl_content``, which is beta times the
            divergence.
        """
        mean, log_std = self._read(images)
        drawn = self._draw(mean + log_std.exp() * torch.randn_like(mean))
        pixels = self.likelihood(drawn, images) * self.pixel_mask
        parts = {
            "reconstruction": -pixels.flatten(1).sum(1).mean(),
            "kl_content": self.config.beta * unit_kl(mean, log_std).mean(),
        }
        return LossTerms(torch.stack(list(parts.values())).sum(), parts)

    def _read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation (n, content_dim) of the content."""
        check_boxes(self.config, images)
        mean, log_std = self.encoder(images.flatten(1)).float().chunk(2, dim=1)
        return mean, log_std.clamp(*LOG_STD_RANGE)

    def _draw(self, content: Tensor) -> Tensor:
        """Parameters of the pixels of boxes."""
        config = self.config
        shape = (config.channels, *[config.box_size] * config.dimensions)
        drawn: Tensor = self.generator(content).float()
        return drawn.reshape(len(content), *shape)

    @torch.no_grad()
    def infer(self, images: Tensor) -> Posterior:
        """Content of images or volumes; their poses are all at rest."""
        mean, log_std = self._read(images)
        kind = Poses3D if self.config.dimensions == 3 else Poses
        return Posterior(kind.identity(len(images), mean), mean, log_std.exp())

    @torch.no_grad()
    def generate(
        self,
        content: Tensor,
        poses: Poses | Poses3D | None = None,
        box_size: int | None = None,
    ) -> Tensor:
        """Expected intensity of boxes.

        Parameters
        ----------
        content : Tensor, shape (n, content_dim)
        poses : Poses, or Poses3D for volumes, optional
            By which the pictures are moved, in one interpolation.
        box_size : int, optional
            Side of the boxes in pixels; that of the training boxes by default.

        Returns
        -------
        Tensor, shape (n, channels, box_size, box_size), or with a third box_size
        """
        config = self.config
        drawn = self.likelihood.mean(self._draw(content))
        if poses is None and box_size in (None, config.box_size):
            return drawn
        if poses is None:
            kind = Poses3D if config.dimensions == 3 else Poses
            poses = kind.identity(len(content), content)
        return apply_poses(drawn, poses, (box_size or config.box_size,) * config.dimensions)
