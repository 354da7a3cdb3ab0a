"""spatial-VAE (Bepler et al., NeurIPS 2019): content apart from pose, in 2D and 3D."""

from math import log, pi
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..geometry import (
    InputError,
    Poses,
    Poses3D,
    apply_poses,
    centred_grid,
    constant,
    fourier_crop,
    random_rotations,
    rotation_from_6d,
    smooth_ball_mask,
    smooth_disc_mask,
    turn_about,
    wrap_angle,
)
from ._checks import check_boxes
from ._dense_networks import SpatialGenerator, box_encoder
from ._interface import Capabilities, LossTerms, Posterior
from ._likelihoods import BernoulliLikelihood, GaussianLikelihood
from ._normal_kl import LOG_STD_RANGE, free_angle_kl, unit_kl
from ._spatial_vae_config import SpatialVAEConfig

_LEAST_LOG_NOISE = log(0.01)
_TURN_NUMBERS = {"angle": 1, "direction": 2}


class Beliefs(NamedTuple):
    """What the encoder says of ``n`` images: normal distributions, independent of one another."""

    content: Tensor  # (n, content_dim), mean
    content_log_std: Tensor
    poses: Poses | Poses3D  # the means, pixels and radians
    rotation_log_std: Tensor  # (n, 1) radians, of volumes (n, 3) about the axes
    translation_log_std: Tensor  # (n, d), in units of the prior's standard deviation


class SpatialVAE(nn.Module):
    """Draw objects as functions of the coordinate; infer their pose and what they are.

    Parameters
    ----------
    config : SpatialVAEConfig
        Kept as ``config``.

    Notes
    -----
    Ours beside the paper: the translation is that of the object in the image, not of the
    coordinates in the object's frame, which has the same prior, and which the encoder can say
    without knowing the rotation. The mean of a rotation in space is six numbers (Zhou et al.,
    CVPR 2019), about which rotation vectors are normal (Falorsi et al., AISTATS 2019), each of
    the three with the divergence of equation 3.

    References
    ----------
    T. Bepler et al., "Explicitly disentangling image content from translation and rotation with
    spatial-VAE", NeurIPS 2019, sections 2.1 to 2.3. In 3D as M. R. Uddin et al., "Harmony", CVPR
    2022, section 4.2.B, extend it: coordinates in space and a convolutional encoder.
    """

    points: Tensor  # (1, k, d), pixels
    pixel_mask: Tensor

    def __init__(self, config: SpatialVAEConfig) -> None:
        super().__init__()
        self.config = config
        d = config.dimensions
        turn = 6 if d == 3 else _TURN_NUMBERS[config.rotation_as]
        self.sizes = [config.content_dim] * 2 + [0] * 4
        if config.infer_rotation:
            self.sizes[2:4] = [turn, 3 if d == 3 else 1]
        if config.infer_translation:
            self.sizes[4:] = [d, d]
        self.encoder = box_encoder(config, sum(self.sizes))
        self.generator = SpatialGenerator(config)
        self.likelihood: BernoulliLikelihood | GaussianLikelihood
        if config.likelihood == "bernoulli":
            self.likelihood = BernoulliLikelihood()
        else:
            self.likelihood = GaussianLikelihood(1.0 if config.draw_noise else config.noise_std)
        self.level: nn.Parameter | None = None
        if config.softplus:
            self.level = nn.Parameter(torch.zeros(config.channels, 1))
        shrunk = config.side / config.box_size
        shape = (config.side,) * d
        mask = smooth_disc_mask if d == 2 else smooth_ball_mask
        radius = config.side * d if config.mask_radius is None else config.mask_radius * shrunk
        self.register_buffer("pixel_mask", mask(config.side, radius), persistent=False)
        points = centred_grid(shape).reshape(1, -1, d) / shrunk
        self.register_buffer("points", points, persistent=False)
        self.translation_std = config.translation_std or config.box_size / 20
        self._content_held = False

    @property
    def capabilities(self) -> Capabilities:
        """What this system can do."""
        return Capabilities(
            dimensions=frozenset({self.config.dimensions}),
            infers=self.config.infers,
            fully_convolutional=False,
            clusters=False,
        )

    def hold_content(self, held: bool) -> None:
        """Draw all objects with content zero in training, so that they agree on one frame."""
        self._content_held = held

    def loss(self, images: Tensor, ctf: Tensor | None = None) -> LossTerms:
        """Terms of the negative evidence lower bound (equations 4 and 5).

        Parameters
        ----------
        images : Tensor, shape (n, channels, box_size, box_size), or with a third box_size
        ctf : Tensor, shape (n, box_size, box_size // 2 + 1), optional
            Contrast transfer function of each image, on the frequencies of `torch.fft.rfft2`;
            applied to the mean that the generator draws. Needs the Gaussian likelihood.

        Returns
        -------
        LossTerms
            In nats per image: ``reconstruction``, ``kl_content``, weighted, and, where they are
            inferred, ``kl_rotation`` and ``kl_translation``.
        """
        images = self._reduced(images)
        beliefs = self._read_at_random(images) if self._augments else self._read(images)
        content, poses = self._sample_content(beliefs), self._sample_poses(beliefs)
        fits = self._fit_of_turns(content, poses, images, ctf)
        explained = fits.logsumexp(1) - log(fits.shape[1])
        parts = {"reconstruction": -explained} | self.divergences(beliefs)
        parts = {name: value.mean() for name, value in parts.items()}
        parts["kl_content"] = parts["kl_content"] * self.config.content_weight
        return LossTerms(torch.stack(list(parts.values())).sum(), parts)

    def divergences(self, beliefs: Beliefs) -> dict[str, Tensor]:
        """KL divergences from the prior, each of shape (n,)."""
        config = self.config
        divergences = {"kl_content": unit_kl(beliefs.content, beliefs.content_log_std)}
        if config.infer_rotation:
            kl = free_angle_kl(beliefs.rotation_log_std, config.rotation_std).sum(-1)
            if config.rotation_mean == "zero":
                assert isinstance(beliefs.poses, Poses)
                kl = kl + 0.5 * (beliefs.poses.rotation / config.rotation_std).square()
            divergences["kl_rotation"] = kl
        if config.infer_translation:
            mean = beliefs.poses.translation / self.translation_std
            divergences["kl_translation"] = unit_kl(mean, beliefs.translation_log_std)
        return divergences

    @property
    def _augments(self) -> bool:
        return self.training and self.config.augment_rotation and self.config.infer_rotation

    def _read(self, images: Tensor) -> Beliefs:
        """What the encoder says of boxes as the networks see them."""
        numbers = self.encoder(images).float()
        content, content_log_std, turn, turn_log_std, shift, shift_log_std = numbers.split(
            self.sizes, dim=1
        )
        config, n, d = self.config, len(images), self.config.dimensions
        translation = shift * self.translation_std
        if not config.infer_translation:
            translation = numbers.new_zeros(n, d)
        return Beliefs(
            content,
            content_log_std.clamp(*LOG_STD_RANGE),
            self._poses(turn, translation),
            turn_log_std.clamp(*LOG_STD_RANGE),
            shift_log_std.clamp(*LOG_STD_RANGE),
        )

    def _poses(self, turn: Tensor, translation: Tensor) -> Poses | Poses3D:
        """Poses of the encoder's numbers of the rotation, which may be none."""
        n = len(turn)
        if self.config.dimensions == 3:
            if not turn.shape[1]:
                return Poses3D.identity(n, turn)._replace(translation=translation)
            return Poses3D(rotation_from_6d(turn), translation)
        if not turn.shape[1]:
            angle = turn.new_zeros(n)
        elif turn.shape[1] == 1:
            angle = turn.squeeze(1)  # not wrapped: a normal prior is of the number
        else:
            angle = torch.atan2(turn[:, 1], turn[:, 0])
        return Poses(angle, translation)

    def _read_at_random(self, images: Tensor) -> Beliefs:
        """Turn boxes at random, and take the rotation off what the encoder says of them."""
        n, d = len(images), self.config.dimensions
        zero = images.new_zeros(n, d)
        turned: Any
        if d == 3:
            turned = Poses3D(random_rotations(n, images), zero)
        else:
            turned = Poses((2 * torch.rand(n, device=images.device).to(images) - 1) * pi, zero)
        beliefs = self._read(apply_poses(images, turned))
        return beliefs._replace(poses=turned.inverse().compose(beliefs.poses))

    def _sample_content(self, beliefs: Beliefs) -> Tensor:
        if self._content_held:
            return torch.zeros_like(beliefs.content)
        noise = torch.randn_like(beliefs.content)
        return beliefs.content + beliefs.content_log_std.exp() * noise

    def _sample_poses(self, beliefs: Beliefs) -> Poses | Poses3D:
        poses: Any = beliefs.poses
        if self.config.infer_translation:
            spread = beliefs.translation_log_std.exp() * self.translation_std
            shift = poses.translation + spread * torch.randn_like(spread)
            poses = poses._replace(translation=shift)
        if not self.config.infer_rotation:
            unturned: Poses | Poses3D = poses
            return unturned
        aside = beliefs.rotation_log_std.exp() * torch.randn_like(beliefs.rotation_log_std)
        if self.config.dimensions == 3:
            return Poses3D(poses.rotation @ turn_about(aside), poses.translation)
        return Poses(poses.rotation + aside.squeeze(1), poses.translation)

    def _fit_of_turns(
        self, content: Tensor, poses: Poses | Poses3D, images: Tensor, ctf: Tensor | None = None
    ) -> Tensor:
        """Log likelihood (n, hypotheses) of images, in nats, at evenly spaced turns of poses."""
        n_turns = self.config.rotation_hypotheses
        fits = []
        for k in range(n_turns):
            turned: Any = poses
            if k:
                turned = turned._replace(rotation=turned.rotation + 2 * pi * k / n_turns)
            drawn = self._draw(content, turned, images)
            pixels = self._log_likelihood(drawn, images, ctf) * self.pixel_mask
            fits.append(pixels.flatten(1).sum(1))
        return torch.stack(fits, 1)

    def _draw(self, content: Tensor, poses: Poses | Poses3D, images: Tensor) -> Tensor:
        """Parameters of the pixels of boxes (n, outputs, ...) like ``images``."""
        return self._draw_points(content, poses, self.points).reshape(
            len(content), -1, *images.shape[2:]
        )

    def _draw_points(self, content: Tensor, poses: Poses | Poses3D, points: Tensor) -> Tensor:
        drawn: Tensor = self.generator(content, poses.inverse().move(points)).float()
        if self.level is None:
            return drawn
        mean, *noise = drawn.split(self.config.channels, dim=1)
        return torch.cat([F.softplus(mean) + self.level, *noise], 1)

    def _log_likelihood(self, drawn: Tensor, images: Tensor, ctf: Tensor | None) -> Tensor:
        """Log likelihood of each pixel, in nats."""
        channels = self.config.channels
        mean, log_noise = drawn[:, :channels], drawn[:, channels:]
        if self.config.wedge is not None:
            mean = self.config.wedge.apply(mean)
        if ctf is not None:
            spectrum = torch.fft.rfft2(mean) * self._reduced_ctf(ctf)[:, None]
            mean = torch.fft.irfft2(spectrum, s=mean.shape[-2:])
        if not self.config.draw_noise:
            pixels: Tensor = self.likelihood(mean, images)
            return pixels
        log_noise = log_noise.clamp(min=_LEAST_LOG_NOISE)
        scaled = (images - mean) * (-log_noise).exp()
        return -0.5 * scaled.square() - log_noise - 0.5 * log(2 * pi)

    @torch.no_grad()
    def infer(self, images: Tensor) -> Posterior:
        """Most likely pose and content of images or volumes."""
        images = self._reduced(images)
        beliefs = self._read(images)
        poses = beliefs.poses
        if isinstance(poses, Poses):
            n_turns, rotation = self.config.rotation_hypotheses, poses.rotation
            if n_turns > 1:
                best = self._fit_of_turns(beliefs.content, poses, images).argmax(1)
                rotation = rotation + 2 * pi * best / n_turns
            poses = poses._replace(rotation=wrap_angle(rotation))
        return Posterior(poses, beliefs.content, beliefs.content_log_std.exp())

    @torch.no_grad()
    def generate(
        self,
        content: Tensor,
        poses: Poses | Poses3D | None = None,
        box_size: int | None = None,
    ) -> Tensor:
        """Expected intensity of objects.

        Parameters
        ----------
        content : Tensor, shape (n, content_dim)
        poses : Poses, or Poses3D for volumes, optional
            At rest when not given.
        box_size : int, optional
            Side of the boxes in pixels; that of the training boxes by default.

        Returns
        -------
        Tensor, shape (n, channels, box_size, box_size), or with a third box_size
        """
        d, n = self.config.dimensions, len(content)
        if poses is None:
            poses = (Poses3D if d == 3 else Poses).identity(n, content)
        shape = (box_size or self.config.box_size,) * d
        points = constant(centred_grid, shape, like=content)
        points = points.reshape(1, -1, d)
        drawn = self._draw_points(content, poses, points)[:, : self.config.channels]
        return self.likelihood.mean(drawn).reshape(n, -1, *shape)

    def _reduced(self, images: Tensor) -> Tensor:
        """What the networks see of boxes."""
        check_boxes(self.config, images)
        if self.config.binning == 1:
            return images
        small = fourier_crop(images, self.config.side)
        return small.clamp(0, 1) if self.config.likelihood == "bernoulli" else small

    def _reduced_ctf(self, ctf: Tensor) -> Tensor:
        """What the networks see of transfer functions: the low frequencies."""
        config, side = self.config, self.config.side
        if config.likelihood != "gaussian" or config.dimensions != 2:
            raise InputError(
                "a CTF wants images and the gaussian likelihood; set likelihood=gaussian."
            )
        rows = constant(torch.fft.fftfreq, side, 1 / side, like=ctf, dtype=torch.long)
        return ctf[:, rows, : side // 2 + 1]
