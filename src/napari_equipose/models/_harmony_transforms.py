"""The transformations of Harmony: within their ranges, at random, and taken out of images."""

from math import log, pi
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..geometry import (
    Poses,
    Poses3D,
    constant,
    random_rotations,
    resample,
    rotation_from_6d,
    rotation_matrix_2d,
    turn_about,
)
from ._harmony_config import HarmonyConfig


class Transforms(NamedTuple):
    """What was done to each of ``n`` objects: ``image(s R x + t) = gain rest(x) + offset``.

    Lengths are pixels of the boxes that the networks see.
    """

    rotation: Tensor  # (n, d, d), acts on columns ((z,) y, x)
    translation: Tensor  # (n, d), pixels
    log_scale: Tensor  # (n,)
    log_gain: Tensor  # (n,)
    offset: Tensor  # (n,)

    @property
    def scale(self) -> Tensor:
        """By how much each object is enlarged."""
        return self.log_scale.exp()

    @property
    def poses(self) -> Poses | Poses3D:
        """The rigid part."""
        if self.rotation.shape[-1] == 3:
            return Poses3D(self.rotation, self.translation)
        angle = torch.atan2(self.rotation[:, 1, 0], self.rotation[:, 0, 0])
        return Poses(angle, self.translation)

    def rows(self, index: Tensor) -> "Transforms":
        """Those of some objects."""
        return Transforms(*(value[index] for value in self))

    def compose(self, first: "Transforms") -> "Transforms":
        """Return what ``first``, then these, do together."""
        moved = self._turned(first.translation)
        return Transforms(
            self.rotation @ first.rotation,
            moved + self.translation,
            self.log_scale + first.log_scale,
            self.log_gain + first.log_gain,
            self.log_gain.exp() * first.offset + self.offset,
        )

    def inverse(self) -> "Transforms":
        """Return what undoes these."""
        matrix = self.rotation.mT / self.scale[:, None, None]
        return Transforms(
            self.rotation.mT,
            -(matrix @ self.translation.unsqueeze(-1)).squeeze(-1),
            -self.log_scale,
            -self.log_gain,
            -self.offset / self.log_gain.exp(),
        )

    def bring_to_rest(self, images: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
        """Undo these in images (n, channels, ...), in one resampling."""
        matrix = self.rotation * self.scale[:, None, None]
        rest = resample(images, matrix, self.translation, shape)
        one = (-1, *[1] * (images.ndim - 1))
        return (rest - self.offset.reshape(one)) * (-self.log_gain).exp().reshape(one)

    def apply(self, images: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
        """Do these to objects at rest, in one resampling."""
        return self.inverse().bring_to_rest(images, shape)

    def _turned(self, vectors: Tensor) -> Tensor:
        return (self.rotation @ vectors.unsqueeze(-1)).squeeze(-1) * self.scale[:, None]


class TransformRanges:
    """Makes transformations within the ranges of a configuration, from numbers or at random."""

    def __init__(self, config: HarmonyConfig) -> None:
        self.config = config
        self.all_turns = config.rotation_range == pi
        self.shift = (config.translation_range or 0.0) * config.side / config.box_size
        d = config.dimensions
        turn = {2: 2 if self.all_turns else 1, 3: 6 if self.all_turns else 3}[d]
        self.sizes = [turn, d, 1, 1, 1]

    @property
    def at_rest(self) -> Tensor:
        """Numbers that make no transformation, shape (n_numbers,)."""
        numbers = torch.zeros(self.n_numbers)
        if self.all_turns:
            numbers[[0, 4] if self.config.dimensions == 3 else [0]] = 1.0
        return numbers

    @property
    def n_numbers(self) -> int:
        """How many numbers make one transformation."""
        return sum(self.sizes)

    def bounded(self, numbers: Tensor) -> Transforms:
        """Transformations of any numbers (n, n_numbers), bounded by tanh and by the circle.

        The bounds are twice the ranges: an image that is at the end of them may be transformed
        as far again for its copy.
        """
        turn, shift, *others = numbers.split(self.sizes, dim=-1)
        config = self.config
        log_scale, log_gain, offset = (value.squeeze(-1) for value in others)
        return Transforms(
            self._rotation(turn),
            _within(2 * self.shift or None, shift),
            _within(_twice(_log(config.scale_range)), log_scale),
            _within(_twice(_log(config.contrast_range)), log_gain),
            _within(_twice(config.brightness_range), offset),
        )

    def random(self, n: int, like: Tensor) -> Transforms:
        """Transformations drawn uniformly over the whole ranges."""
        config, d = self.config, self.config.dimensions

        def uniform(bound: float | None, *shape: int) -> Tensor:
            return (2 * torch.rand(shape, device=like.device).to(like) - 1) * (bound or 0.0)

        if d == 2:
            rotation = rotation_matrix_2d(uniform(config.rotation_range, n))
        elif config.rotation_range is not None and not self.all_turns:
            axis = F.normalize(torch.randn(n, 3, device=like.device).to(like), dim=-1)
            rotation = turn_about(axis * uniform(config.rotation_range, n, 1))
        else:
            rotation = random_rotations(n, like)
        if config.rotation_range is None:
            rotation = constant(torch.eye, d, like=like).expand(n, d, d)
        return Transforms(
            rotation,
            uniform(self.shift, n, d),
            uniform(_log(config.scale_range), n),
            uniform(_log(config.contrast_range), n),
            uniform(config.brightness_range, n),
        )

    def _rotation(self, numbers: Tensor) -> Tensor:
        config, d = self.config, self.config.dimensions
        if config.rotation_range is None:
            return constant(torch.eye, d, like=numbers).expand(len(numbers), d, d)
        if self.all_turns and d == 3:
            return rotation_from_6d(numbers)
        if self.all_turns:
            cos, sin = F.normalize(numbers, dim=-1).unbind(-1)
            return torch.stack((cos, -sin, sin, cos), -1).reshape(-1, 2, 2)
        bound = min(2 * config.rotation_range, pi)
        if d == 2:
            return rotation_matrix_2d(_within(bound, numbers.squeeze(-1)))
        length = numbers.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        return turn_about(numbers * (bound * length.tanh() / length))

    def starts(self) -> Tensor:
        """Rotations (hypotheses, d, d), far from one another, that the hypotheses start from."""
        n = self.config.hypotheses
        if self.config.dimensions == 2:
            return rotation_matrix_2d(torch.arange(n) * (2 * pi / n))
        group = Rotation.create_group("I")
        first = int(group.magnitude().argmin())  # the identity
        chosen, apart = [first], group.magnitude()
        while len(chosen) < n:
            chosen.append(int(apart.argmax()))
            apart = np.minimum(apart, (group[chosen[-1]].inv() * group).magnitude())
        return torch.from_numpy(group[chosen].as_matrix()).float()


def _twice(bound: float | None) -> float | None:
    return None if bound is None else 2 * bound


def _log(factor: float | None) -> float | None:
    return None if factor is None else log(factor)


def _within(bound: float | None, numbers: Tensor) -> Tensor:
    return torch.zeros_like(numbers) if bound is None else bound * numbers.tanh()
