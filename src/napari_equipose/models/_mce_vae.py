"""MCE-VAE (Bajaj, Roy and Zhang, 2021): category, content and Lie-group pose, apart."""

from math import log
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..geometry import (
    InputError,
    Poses,
    Similarity,
    apply_poses,
    exponential_map,
    group_size,
    numbers_like,
    wrap_angle,
)
from ._interface import Capabilities, LossTerms, Posterior
from ._likelihoods import BernoulliLikelihood, GaussianLikelihood
from ._mce_vae_config import MCEVAEConfig
from ._mce_vae_networks import AugmentedEncoder, InvarianceDecoder, extractor, statistics_kept
from ._mixtures import equal_log_weights, gaussian_divergence, mixture_bound
from ._normal_kl import LOG_STD_RANGE, unit_kl

_FIRST_POSE_STD = 0.1  # a whole radian, which zero would be, hides every object at first


class Reading(NamedTuple):
    """Posterior of ``n`` images, in numbers; standard deviations are logarithms."""

    content: Tensor  # (n, content_dim), of z
    content_log_std: Tensor
    cluster: Tensor  # (n, categories), of z_c
    cluster_log_std: Tensor
    pose: Tensor  # (n, group_size), of tau in its units
    pose_log_std: Tensor


class MCEVAE(nn.Module):
    """Infer the category of each object, how it varies, and the motion that brought it there.

    Parameters
    ----------
    config : MCEVAEConfig
        Kept as ``config``.

    Notes
    -----
    Beside the paper: the rotation, shift and scale of an image are the exponential of tau (the
    published code has no exponential for scales); its standard deviation starts at a tenth, not
    at one; copies do not change the statistics of the batch normalisation; what lies beyond the
    picture at rest is learnt. The expectations of eq. 8 over the copies' latent variables and over
    those of the image are taken exactly where they are known.

    References
    ----------
    C. Bajaj, A. Roy and H. Zhang, "Invariance-based Multi-Clustering of Latent Space Embeddings
    for Equivariant Learning", 2021: equations 6 to 17.
    """

    units: Tensor  # (group_size,), of tau: radians, pixels, pixels, 1
    centres: Tensor  # (categories, categories), of z_c
    centre_std: Tensor

    def __init__(self, config: MCEVAEConfig) -> None:
        super().__init__()
        self.config = config
        k, d = config.categories, config.content_dim
        self.encoder = AugmentedEncoder(config)
        n, hidden, activation = config.n_features, config.hidden, config.activation
        self.cluster_extractor = extractor(n, hidden, 2 * k, activation)
        self.content_extractor = extractor(n, hidden, 2 * d, activation)
        size = group_size(config.group)
        self.pose_extractor = extractor(n, config.hidden_pose, 2 * size, "relu")
        last = self.pose_extractor[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias[:size], 0.0)
        nn.init.constant_(last.bias[size:], log(_FIRST_POSE_STD))
        self.decoder = InvarianceDecoder(config, d + k)
        self.likelihood: BernoulliLikelihood | GaussianLikelihood
        if config.likelihood == "bernoulli":
            self.likelihood = BernoulliLikelihood()
        else:
            self.likelihood = GaussianLikelihood(config.noise_std)
        dark = -4.0 if config.likelihood == "bernoulli" else 0.0
        self.level = nn.Parameter(torch.full((config.channels, 1, 1), dark))
        half = config.box_size / 2
        units = torch.tensor([1.0, half, half, 1.0])[:size]
        self.register_buffer("units", units, persistent=False)
        self.register_buffer("centres", config.distance * torch.eye(k))
        self.register_buffer("centre_std", torch.ones(()))

    @property
    def capabilities(self) -> Capabilities:
        """What this system can do."""
        return Capabilities(
            dimensions=frozenset({2}),
            infers=self.config.infers,
            fully_convolutional=False,
            clusters=True,
        )

    def loss(self, images: Tensor, targets: Tensor | None = None) -> LossTerms:
        """Terms of the negative bound (equations 6 to 8 and 14).

        Parameters
        ----------
        images : Tensor, shape (n, channels, box_size, box_size)
        targets : Tensor, shape (n, channels, box_size, box_size), optional
            The same objects, aligned: with the supervised invariance, and only there.

        Returns
        -------
        LossTerms
            In nats per image: ``reconstruction``, ``invariance``, ``kl_categories`` (of z_c),
            ``kl_content`` (of z) and ``kl_pose`` (of tau).

        Raises
        ------
        InputError
            If targets are missing, or given where they do not count.
        """
        config = self.config
        if (targets is None) == (config.invariance == "supervised"):
            raise InputError(
                "a supervised model learns from aligned targets, one for each image, and no other "
                "does: give targets and set invariance=supervised, or neither."
            )
        reading = self._read(images)
        pose = _sample(reading.pose, reading.pose_log_std)
        motion = exponential_map(config.group, pose * self.units)
        drawn = self.decoder(_sample(*_latents(reading)))
        pixels = self.likelihood(self._moved(drawn, motion), images)
        components = gaussian_divergence(reading.cluster, reading.cluster_log_std, config.distance)
        parts = {
            "reconstruction": -pixels.flatten(1).sum(1),
            "invariance": self._invariance(images, targets, reading, drawn),
            "kl_categories": mixture_bound(equal_log_weights(components), components),
            "kl_content": unit_kl(reading.content, reading.content_log_std),
            "kl_pose": unit_kl(reading.pose, reading.pose_log_std),
        }
        factors = {"reconstruction": 1.0, "invariance": config.alpha}
        means = {name: factors.get(name, config.beta) * part.mean() for name, part in parts.items()}
        return LossTerms(torch.stack(list(means.values())).sum(), means)

    def _read(self, images: Tensor, pose: bool = True) -> Reading:
        features, size = self.encoder(images), len(self.units)
        content, content_log_std = self.content_extractor(features).float().chunk(2, 1)
        cluster, cluster_log_std = self.cluster_extractor(features).float().chunk(2, 1)
        tau = features.new_zeros(len(images), 2 * size).float()
        if pose:
            tau = self.pose_extractor(features).float()
        return Reading(
            content,
            content_log_std.clamp(*LOG_STD_RANGE),
            cluster,
            cluster_log_std.clamp(*LOG_STD_RANGE),
            tau[:, :size],
            tau[:, size:].clamp(*LOG_STD_RANGE),
        )

    def _moved(self, drawn: Tensor, motion: Similarity) -> Tensor:
        """Parameters of the pixels of objects brought from rest into their images."""
        with torch.autocast(drawn.device.type, enabled=False):
            level = self.likelihood.mean(self.level)
            at_rest = self.likelihood.mean(drawn) - level
            moved = apply_poses(at_rest, motion.poses, scale=motion.scale) + level
        return moved.logit(1e-5) if self.config.likelihood == "bernoulli" else moved

    def _invariance(
        self, images: Tensor, targets: Tensor | None, reading: Reading, drawn: Tensor
    ) -> Tensor:
        """Divergence of what is at rest from the targets, or from that of copies (equation 8)."""
        apart = torch.zeros(len(images), device=images.device)
        if self.config.invariance == "none":
            return apart
        if targets is None:
            # The squares and the cross-entropy need no more of the copies than these means.
            mean_copy, square_copy, targets = self._read_copies(images)
            mean, square = _moments(reading)
            apart = square - 2 * (mean * mean_copy).sum(1) + square_copy
        return apart + self._unlike(drawn, targets).flatten(1).sum(1)

    @torch.no_grad()
    def _read_copies(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read copies of images, moved at random: means over the copies of each.

        Returns the mean (n, content_dim + categories) and the mean square (n,) of the latent
        variables, and the mean of the pictures drawn at rest (n, channels, y, x).
        """
        sums: list[Tensor] = []
        with statistics_kept(self):
            for _ in range(self.config.copies):  # all at once would leave the processor's cache
                reading = self._read(self._copies(images), pose=False)
                drawn = self.likelihood.mean(self.decoder(_sample(*_latents(reading))))
                found = (*_moments(reading), drawn)
                sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else [*found]
        mean, square, drawn = (value / self.config.copies for value in sums)
        return mean, square, drawn

    def _copies(self, images: Tensor) -> Tensor:
        """Move images at random: tau is uniform within the ranges (section 3.1)."""
        config, n = self.config, len(images)
        shift = config.box_size / 8
        if config.translation_range is not None:
            shift = config.translation_range
        ranges = (config.rotation_range, shift, shift, log(config.scale_range))
        uniform = 2 * torch.rand(n, len(self.units), device=images.device) - 1
        bounds = numbers_like(ranges[: len(self.units)], uniform)
        motion = exponential_map(config.group, uniform * bounds)
        with torch.autocast(images.device.type, enabled=False):
            level = self.likelihood.mean(self.level)
            return apply_poses(images - level, motion.poses, scale=motion.scale) + level

    def _unlike(self, drawn: Tensor, pictures: Tensor) -> Tensor:
        """Divergence of each pixel at rest from that of a picture, in nats."""
        if isinstance(self.likelihood, GaussianLikelihood):
            # The noise is learnt from the images alone: pictures that are drawn have none.
            inverse = (-self.likelihood.log_std.detach()).exp()
            return 0.5 * ((pictures - drawn) * inverse).square()
        likelihood: Tensor = self.likelihood(drawn, pictures)
        return -likelihood

    def set_categories(self, centres: Tensor, std: float) -> None:
        """Say where the categories lie; by default where the prior has them.

        The bound (eq. 14) draws every z_c towards all the means of the prior at once, so that what
        is learnt makes groups, but nothing draws each group to a mean.

        Parameters
        ----------
        centres : Tensor, shape (categories, categories)
            Means of z_c.
        std : float
            Of z_c about its mean, in each dimension.
        """
        self.centres.copy_(centres)
        self.centre_std.fill_(std)

    @torch.no_grad()
    def infer(self, images: Tensor) -> Posterior:
        """Most likely motion, content and category of boxes (n, channels, box_size, box_size)."""
        training = self.training
        self.eval()
        reading = self._read(images)
        self.train(training)
        motion = exponential_map(self.config.group, reading.pose * self.units)
        poses = motion.poses._replace(rotation=wrap_angle(motion.poses.rotation))
        apart = torch.cdist(reading.cluster, self.centres) / self.centre_std
        categories = (-0.5 * apart.square()).softmax(1)  # Bayes' rule, of Gaussians
        content, log_std = _latents(reading)
        scale = motion.scale
        return Posterior(poses, content, log_std.exp(), scale=scale, categories=categories)

    @torch.no_grad()
    def generate(
        self, content: Tensor, poses: Poses | None = None, box_size: int | None = None
    ) -> Tensor:
        """Expected intensity of objects.

        Parameters
        ----------
        content : Tensor, shape (n, content_dim + categories)
            z, then z_c, as `infer` has them.
        poses : Poses, optional
            At rest by default.
        box_size : int, optional
            Side of the boxes in pixels; by default that of training.

        Returns
        -------
        Tensor, shape (n, channels, box_size, box_size)
        """
        training = self.training
        self.eval()
        drawn: Tensor = self.likelihood.mean(self.decoder(content))
        self.train(training)
        if poses is None and box_size is None:
            return drawn
        still = Poses.identity(len(content), content)
        size, level = box_size or self.config.box_size, self.likelihood.mean(self.level)
        return apply_poses(drawn - level, poses or still, (size, size)) + level


def _sample(mean: Tensor, log_std: Tensor) -> Tensor:
    return mean + log_std.exp() * torch.randn_like(mean)


def _latents(reading: Reading) -> tuple[Tensor, Tensor]:
    """Mean and logarithm of the spread of z, then z_c, each (n, content_dim + categories)."""
    mean = torch.cat((reading.content, reading.cluster), 1)
    return mean, torch.cat((reading.content_log_std, reading.cluster_log_std), 1)


def _moments(reading: Reading) -> tuple[Tensor, Tensor]:
    """Mean of z and z_c, and the expectation of their square, (n,)."""
    mean, log_std = _latents(reading)
    return mean, (mean.square() + (2 * log_std).exp()).sum(1)
