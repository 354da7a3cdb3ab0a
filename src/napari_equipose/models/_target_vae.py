"""TARGET-VAE (Nasiri and Bepler, NeurIPS 2022): pose and content of objects in images."""

from math import log, pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..geometry import (
    Poses,
    apply_poses,
    centred_grid,
    constant,
    rotation_matrix_2d,
    smooth_disc_mask,
    wrap_angle,
)
from ._generator import GENERATORS, BilinearGenerator, CoordinateGenerator
from ._interface import Capabilities, LossTerms, Posterior
from ._likelihoods import BernoulliLikelihood, GaussianLikelihood
from ._normal_kl import normal_kl
from ._pose_encoder import PlaceHeads, PoseEncoder, PoseMaps
from ._target_vae_config import TargetVAEConfig


class TargetVAE(nn.Module):
    """Infer where each object is, how it is turned and what it is; draw it again.

    Parameters
    ----------
    config : TargetVAEConfig
        Kept as ``config``.

    References
    ----------
    A. Nasiri and T. Bepler, "Unsupervised Object Representation Learning using Translation
    and Rotation Group Equivariant VAE", NeurIPS 2022: equations 3 to 6.
    """

    n_frames = 64
    """Contents at which the canonical frame is known to be turned, see `set_frames`."""

    places: Tensor  # (components, 2), pixels
    steps: Tensor  # (components,), radians
    log_prior: Tensor  # (components,)
    canonical_grid: Tensor
    canonical_mask: Tensor
    canonical_edge: Tensor  # where the mask falls, indices of its pixels
    frame_content: Tensor  # (n_frames, content_dim)
    frame_rotation: Tensor  # (n_frames,), radians
    pixel_mask: Tensor

    def __init__(self, config: TargetVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = PoseEncoder(config)
        self.generator: CoordinateGenerator | BilinearGenerator = GENERATORS[config.generator](
            config.content_dim,
            config.channels,
            config.generator_width,
            config.generator_layers,
            config.n_features,
            config.feature_length,
        )
        if config.likelihood == "bernoulli":
            self.generator.start_dark()
        self.likelihood: BernoulliLikelihood | GaussianLikelihood
        if config.likelihood == "bernoulli":
            self.likelihood = BernoulliLikelihood()
        else:
            self.likelihood = GaussianLikelihood(config.noise_std)
        side = 2 * config.places_range + 1
        places = centred_grid((side, side)).reshape(-1, 1, 2) * config.binning
        steps = torch.arange(config.n_rotations) * (2 * pi / config.n_rotations)
        n = len(places) * len(steps)
        translation_std = config.translation_std or config.box_size / 10
        log_prior = -0.5 * (places / translation_std).square().sum(-1)
        if config.rotation_std is not None:
            log_prior = log_prior - 0.5 * (wrap_angle(steps) / config.rotation_std).square()
        buffers = {
            "places": places.expand(-1, len(steps), -1).reshape(n, 2),
            "steps": steps.expand(len(places), -1).reshape(n),
            "log_prior": log_prior.expand(-1, len(steps)).reshape(n).log_softmax(0),
            "canonical_grid": centred_grid((config.canonical_size,) * 2).reshape(1, -1, 2),
            "canonical_mask": smooth_disc_mask(config.canonical_size, edge=2.0),
            "pixel_mask": smooth_disc_mask(config.box_size, config.mask_radius or config.box_size),
        }
        mask = buffers["canonical_mask"]
        buffers["canonical_edge"] = ((mask > 0) & (mask < 1)).flatten().nonzero().squeeze(1)
        if config.focus is not None:
            distance = centred_grid((config.box_size,) * 2).norm(dim=-1)
            buffers["pixel_mask"] = buffers["pixel_mask"] * torch.exp(
                -0.5 * (distance / config.focus).square()
            )
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)
        self.register_buffer("frame_content", torch.zeros(self.n_frames, config.content_dim))
        self.register_buffer("frame_rotation", torch.zeros(self.n_frames))
        self._content_held = False

    @property
    def capabilities(self) -> Capabilities:
        """What this system can do."""
        return Capabilities(
            dimensions=frozenset({2}),
            infers=frozenset({"rotation", "translation"}),
            fully_convolutional=True,
            clusters=False,
        )

    def hold_content(self, held: bool) -> None:
        """Draw all objects with content zero in training, so that they agree on one frame."""
        self._content_held = held

    def multiply_in_bfloat16(self, on: bool) -> None:
        """Multiply the matrices of the networks in bfloat16, all else in float32."""
        self.encoder.in_bfloat16 = self.generator.in_bfloat16 = on

    def loss(self, images: Tensor, ctf: Tensor | None = None) -> LossTerms:
        """Terms of the negative evidence lower bound (equation 6).

        Parameters
        ----------
        images : Tensor, shape (n, channels, box_size, box_size)
        ctf : Tensor, shape (n, box_size, box_size // 2 + 1), optional
            Contrast transfer function of each image, on the frequencies of `torch.fft.rfft2`;
            applied to what the generator draws. Needs the Gaussian likelihood.

        Returns
        -------
        LossTerms
            In nats per image: ``reconstruction``, ``kl_pose`` (of t and r), ``kl_rotation``
            (of theta), ``kl_offset`` (of the sub-pixel translation) and ``kl_content``, weighted.
        """
        maps: PoseMaps = self.encoder(images)
        weight, poses, content = self._sample(maps)
        drawn = self._draw(content, poses, self.config.box_size)
        drawn = drawn.reshape(*weight.shape, *drawn.shape[1:])  # (n, samples, channels, y, x)
        if ctf is not None:
            spectrum = torch.fft.rfft2(drawn) * ctf[:, None, None]
            drawn = torch.fft.irfft2(spectrum, s=drawn.shape[-2:])
        pixels = self.likelihood(drawn, images.unsqueeze(1).expand_as(drawn)) * self.pixel_mask
        log_likelihood = (weight * pixels.flatten(2).sum(2)).sum(1)
        parts = {"reconstruction": -log_likelihood.mean()}
        parts |= {name: kl.mean() for name, kl in self.divergences(maps).items()}
        parts["kl_content"] = parts["kl_content"] * self.config.content_weight
        return LossTerms(torch.stack(list(parts.values())).sum(), parts)

    def guided_loss(self, images: Tensor, content: Tensor, poses: Poses) -> Tensor:
        """How unlikely the encoder finds contents and poses that are known of some boxes.

        Parameters
        ----------
        images : Tensor, shape (n, channels, box_size, box_size)
        content : Tensor, shape (n, content_dim)
        poses : Poses
            As for `draw`.

        Returns
        -------
        Tensor
            Mean of ``-log q(poses, content | image)``, in nats, a density in radians and pixels.
            Where translations are those of the places alone, half of a place is their spread.
        """
        maps: PoseMaps = self.encoder(images)
        offset, log_std = maps.offset, maps.offset_log_std.unsqueeze(-1)
        if not self.config.subpixel:
            offset = torch.zeros_like(offset)
            log_std = torch.full_like(log_std, log(self.config.binning / 2))
        middle = self.places + (rotation_matrix_2d(self.steps) @ offset.unsqueeze(-1)).squeeze(-1)
        turned = wrap_angle(poses.rotation.unsqueeze(1) - self.steps - maps.turn)
        log_density = (
            maps.log_prob
            + _log_normal(turned, maps.turn_log_std)
            + _log_normal(poses.translation.unsqueeze(1) - middle, log_std).sum(-1)
            + _log_normal(content.unsqueeze(1) - maps.content, maps.content_log_std).sum(-1)
        )
        return -log_density.logsumexp(1).mean()

    def divergences(self, maps: PoseMaps) -> dict[str, Tensor]:
        """KL divergences from the prior, each of shape (n,) (equation 5)."""
        config, weight = self.config, maps.log_prob.exp()
        turn = normal_kl(maps.turn, maps.turn_log_std, pi / config.n_rotations)
        content = normal_kl(maps.content, maps.content_log_std, 1.0).sum(-1)
        divergences = {
            "kl_pose": maps.log_prob - self.log_prior,
            "kl_rotation": turn,
            "kl_content": content,
        }
        if config.subpixel:
            log_std = maps.offset_log_std.unsqueeze(-1)
            divergences["kl_offset"] = normal_kl(maps.offset, log_std, config.binning / 2).sum(-1)
        return {name: (weight * kl).sum(1) for name, kl in divergences.items()}

    def _sample(self, maps: PoseMaps) -> tuple[Tensor, Poses, Tensor]:
        """Draw poses and contents of each image, differentiably.

        Returns the weight of each sample, (n, samples), and the samples, flattened: one from the
        whole mixture or, with ``enumerate_rotations``, one from each rotation's part of it.
        """
        log_prob = self._grouped(maps.log_prob)  # (n, samples, components)
        log_weight = log_prob.logsumexp(2)
        chosen = F.gumbel_softmax(log_prob - log_weight.unsqueeze(2), self.config.temperature)
        mix = chosen.unsqueeze(2)  # (n, samples, 1, components)

        def mean(value: Tensor) -> Tensor:
            return (mix @ self._grouped(value)).squeeze(2).flatten(0, 1)

        def scalar_mean(value: Tensor) -> Tensor:
            return (chosen * self._grouped(value)).sum(2).flatten()

        # Angles wrap: the mean of directions, not of numbers.
        angle = self.steps + maps.turn
        rotation = torch.atan2(scalar_mean(angle.sin()), scalar_mean(angle.cos()))
        rotation = rotation + scalar_mean(maps.turn_log_std.exp()) * torch.randn_like(rotation)
        translation = mean(self.places.expand(len(angle), -1, -1))
        if self.config.subpixel:
            matrix = rotation_matrix_2d(self.steps)
            offset = mean((matrix @ maps.offset.unsqueeze(-1)).squeeze(-1))
            spread = scalar_mean(maps.offset_log_std.exp()).unsqueeze(-1)
            translation = translation + offset + spread * torch.randn_like(offset)
        content = mean(maps.content)
        content = content + mean(maps.content_log_std.exp()) * torch.randn_like(content)
        if self._content_held:
            content = torch.zeros_like(content)
        return log_weight.exp(), Poses(rotation, translation), content

    def _grouped(self, value: Tensor) -> Tensor:
        """Split components (n, components, ...) into those of each sample."""
        if not self.config.enumerate_rotations:
            return value.unsqueeze(1)
        n_rotations = self.config.n_rotations
        grouped: Tensor = value.unflatten(1, (-1, n_rotations))
        return grouped.transpose(1, 2)

    def bin_images(self, images: Tensor) -> Tensor:
        """Shrink images (n, channels, y, x) of any size as the encoder does."""
        binned: Tensor = self.encoder.bin(images)
        return binned

    @torch.no_grad()
    def score_places(self, binned: Tensor) -> Tensor:
        """How much each place of a picture looks like the middle of an object.

        Parameters
        ----------
        binned : Tensor, shape (n, channels, y, x)
            Pictures of any size, shrunk by `bin_images`.

        Returns
        -------
        Tensor, shape (n, y - k + 1, x - k + 1)
            Log-sum-exp over rotations of the raw attention at the places where the filters, of
            side ``k = config.kernel_size``, fit. Unlike the softmax over a whole picture it does
            not make objects compete.
        """
        logit = self.encoder.read_heads(self.encoder.lifted(binned))[0].squeeze(-1)
        return logit.logsumexp(-1)

    @torch.no_grad()
    def read_places(self, patches: Tensor) -> PlaceHeads:
        """Pose and content at the middle of binned patches (n, channels, k, k)."""
        config = self.config
        logit, turn, _, offset, _, content, _ = (
            head[:, 0, 0] for head in self.encoder.read_heads(self.encoder.lifted(patches))
        )
        steps = torch.arange(config.n_rotations, device=turn.device).to(turn)
        steps = steps * (2 * pi / config.n_rotations)
        rotation = steps + turn.squeeze(-1) * (pi / config.n_rotations)
        translation = torch.zeros_like(offset)
        if config.subpixel:
            moved = (offset / 2).tanh() * config.binning
            translation = (rotation_matrix_2d(steps) @ moved.unsqueeze(-1)).squeeze(-1)
        n, r = rotation.shape
        poses = Poses(rotation.reshape(-1), translation.reshape(-1, 2))
        turned, middle = poses.compose(self.frame(content.flatten(0, 1)))
        return PlaceHeads(logit.squeeze(-1), turned.reshape(n, r), middle.reshape(n, r, 2), content)

    def draw(self, content: Tensor, poses: Poses) -> Tensor:
        """Expected intensity (n, channels, box_size, box_size) at poses of the generator's frame.

        Unlike `generate` it can be differentiated, and knows nothing of `frame`.
        """
        return self.likelihood.mean(self._draw(content, poses, self.config.box_size))

    def _draw(
        self, content: Tensor, poses: Poses, box_size: int, at_rest: Tensor | None = None
    ) -> Tensor:
        """Parameters of the pixels of boxes (n, channels, box_size, box_size).

        ``at_rest`` is what `_draw_at_rest` makes of the content, where it is at hand.
        """
        if isinstance(self.generator, CoordinateGenerator):
            points = constant(centred_grid, (box_size, box_size), like=content).reshape(1, -1, 2)
            drawn: Tensor = self.generator(content, poses.inverse().move(points))
            return drawn.reshape(len(content), -1, box_size, box_size)
        level = self.generator.level.unsqueeze(-1)
        at_rest = self._draw_at_rest(content) if at_rest is None else at_rest
        seen = (at_rest - level) * self.canonical_mask
        return apply_poses(seen, poses, (box_size, box_size)) + level

    def _draw_at_rest(self, content: Tensor) -> Tensor:
        """Parameters of the pixels of the canonical frame."""
        drawn: Tensor = self.generator(content, self.canonical_grid)
        size = self.config.canonical_size
        return drawn.reshape(len(content), -1, size, size)

    def set_frames(self, content: Tensor | None, rotation: Tensor | None = None) -> None:
        """Say by how much what the generator draws is turned from the common frame.

        Parameters
        ----------
        content : Tensor, shape (n, content_dim), or None
            At most ``n_frames`` typical contents; None for no turn anywhere.
        rotation : Tensor, shape (n,), optional
            Radians, of each; other contents take the mean of the nearest two, weighted by nearness.
        """
        if content is None or rotation is None:
            self.frame_rotation.zero_()
            return
        rows = torch.arange(self.n_frames, device=content.device) % len(content)
        self.frame_content.copy_(content[rows])
        self.frame_rotation.copy_(rotation[rows])

    def frame(self, content: Tensor) -> Poses:
        """Pose of the reported canonical frame within that of the generator.

        The frame that training settles on is arbitrary for each content. We report every pose
        from the centroid of what differs from the border of the canonical frame, and turned as
        `set_frames` says.
        """
        return self._frame(content, self._draw_at_rest(content))

    def _frame(self, content: Tensor, at_rest: Tensor) -> Poses:
        """The same of contents that are drawn already."""
        distance, nearest = torch.cdist(content, self.frame_content).topk(2, largest=False)
        weight, turn = 1 / (distance.square() + 1e-6), self.frame_rotation[nearest]
        turn = torch.atan2((weight * turn.sin()).sum(1), (weight * turn.cos()).sum(1))
        return Poses(turn, self._centroid(at_rest))

    def _centroid(self, at_rest: Tensor) -> Tensor:
        """Middle of objects as `_draw_at_rest` makes them, shape (n, 2), pixels (y, x)."""
        drawn = self.likelihood.mean(at_rest).mean(1)
        level = drawn.flatten(1)[:, self.canonical_edge].median(1).values[:, None, None]
        weight = ((drawn - level).abs() * self.canonical_mask).flatten(1)
        weight = (weight - 0.1 * weight.amax(1, keepdim=True)).clamp(min=0)
        total = weight.sum(1, keepdim=True).clamp(min=1e-6)
        return weight @ self.canonical_grid[0] / total

    @torch.no_grad()
    def infer(self, images: Tensor) -> Posterior:
        """Most likely pose and content of boxes (n, channels, box_size, box_size)."""
        maps: PoseMaps = self.encoder(images)
        return self.read_posterior(maps)

    def read_posterior(self, maps: PoseMaps) -> Posterior:
        """Pose and content of the most likely component of each image."""
        best = maps.log_prob.argmax(1)
        rows = torch.arange(len(best), device=best.device)
        content = maps.content[rows, best]
        rotation = wrap_angle(self.steps[best] + maps.turn[rows, best])
        translation = self.places[best]
        if self.config.subpixel:
            offset = rotation_matrix_2d(self.steps[best]) @ maps.offset[rows, best].unsqueeze(-1)
            translation = translation + offset.squeeze(-1)
        poses = Poses(rotation, translation).compose(self.frame(content))
        side = 2 * self.config.places_range + 1
        log_prob = maps.log_prob.reshape(len(best), side, side, -1).permute(0, 3, 1, 2)
        return Posterior(poses, content, maps.content_log_std[rows, best].exp(), log_prob)

    @torch.no_grad()
    def generate(
        self, content: Tensor, poses: Poses | None = None, box_size: int | None = None
    ) -> Tensor:
        """Expected intensity of objects.

        Parameters
        ----------
        content : Tensor, shape (n, content_dim)
        poses : Poses, optional
            At rest, with its middle at the centre pixel, when not given.
        box_size : int, optional
            Side of the boxes in pixels; that of the training boxes by default.

        Returns
        -------
        Tensor, shape (n, channels, box_size, box_size)
        """
        if poses is None:
            zero = content.new_zeros(len(content))
            poses = Poses(zero, torch.stack((zero, zero), -1))
        at_rest, side = self._draw_at_rest(content), box_size or self.config.box_size
        internal = poses.compose(self._frame(content, at_rest).inverse())
        return self.likelihood.mean(self._draw(content, internal, side, at_rest))


def _log_normal(difference: Tensor, log_std: Tensor) -> Tensor:
    """Log of the density of a normal distribution, so far from its mean."""
    return -0.5 * ((difference / log_std.exp()).square() + log(2 * pi)) - log_std
