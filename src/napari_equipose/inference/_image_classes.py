"""Class averages of noisy images by maximum likelihood, from nothing but the images."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from math import ceil, log, pi
from types import NoneType
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import (
    InputError,
    Poses,
    apply_poses,
    centred_grid,
    check_type,
    fourier_crop,
    remove_poses,
    rotation_matrix_2d,
    smooth_disc_mask,
)
from ._ab_initio import Structures
from ._ab_initio_images import averages_of_boxes
from ._picture_search import Placed
from ._progress import Progress
from ._refine import OUTLINE
from ._structure_search import LEAST_GROUP

_LEVELS = ((16, 15), (24, 8))
"""Pixels across an object, and rounds of expectation and maximisation: coarsely first, which is
quick and finds more, then enough to tell objects from what noise looks like."""
_TURNS = 36
_AT_A_TIME = 256  # images
_CHANCE_PART = 1 / 2
"""To each image of a class, decoys at most."""
_RARE = 1 / 8
"""Of the images of the largest class of objects: smaller ones hold what is odd, such as ice."""


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig:
    """How images are sorted into classes."""

    classes: int = 8
    """At most. Some will hold what is no object."""
    object_size: int
    """Side, in pixels, of the square that holds an object at any rotation."""
    max_shift: float
    """Pixels along each axis; shifts of half of it are usual."""
    images: int = 3000
    """At most so many are looked at."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise InputError(f"classes must be at least 1, got {self.classes}.")
        if self.images < LEAST_GROUP:
            raise InputError(f"images must be at least {LEAST_GROUP}, got {self.images}.")
        if not (self.object_size > 0 and self.max_shift > 0):
            raise InputError("object_size and max_shift must be positive.")


def classify_images(
    read: Callable[[NDArray[np.int64]], Tensor],
    n: int,
    config: ClassificationConfig,
    decoys: Tensor | None = None,
) -> Generator[Progress, None, Structures]:
    """Sort noisy images of a few kinds or views into classes, and average each, aligned.

    Each image is a class average, turned and shifted, under white noise. Averages and noise are
    those that make the images likeliest; they begin as averages of random images at random
    rotations. All rotations and shifts of an image count, weighed by how likely they are, where
    the single best would often be one that noise makes look good.

    Parameters
    ----------
    read : callable
        Returns some of the images, shape (m, channels, y, x), normalised alike.
    n : int
        How many images there are; at least 8.
    config : ClassificationConfig
    decoys : Tensor, shape (m, channels, y, x), optional
        Images that show no objects, found as those were that may: the negatives of images, say.
        A class that they choose as well is noise.

    Yields
    ------
    Progress

    Returns
    -------
    Structures
        Of the classes that are objects, the largest first; possibly none. Averages are of the boxes
        as they came; images of other classes have the label -1.

    Raises
    ------
    InputError
        If there are too few images.

    References
    ----------
    S. H. W. Scheres et al., "Maximum-likelihood multi-reference refinement for electron
    microscopy images", Journal of Molecular Biology 2005.
    """
    check_type("read", read, Callable)
    check_type("n", n, int)
    check_type("config", config, ClassificationConfig)
    check_type("decoys", decoys, Tensor, NoneType)
    if n < LEAST_GROUP:
        raise InputError(f"at least {LEAST_GROUP} images are needed, got {n}.")
    return _classify_images(read, n, config, decoys)


def _classify_images(
    read: Callable[[NDArray[np.int64]], Tensor],
    n: int,
    config: ClassificationConfig,
    decoys: Tensor | None,
) -> Generator[Progress, None, Structures]:
    rows = np.random.default_rng(config.seed).permutation(n)[: config.images]
    parts = np.array_split(rows, -(-len(rows) // _AT_A_TIME))
    expected: _Expected | None = None
    done, total = 0, sum(rounds for _, rounds in _LEVELS)
    for across, rounds in _LEVELS:
        scale = min(across / config.object_size, 1.0)
        images = torch.cat([_reduced(read(part), scale) for part in parts])
        mixture = _Mixture(images, config, scale)
        if expected is None:
            mixture.begin(*_at_random(len(images), config))
        else:
            mixture.begin(expected.label, expected.poses)
        for _ in range(rounds):
            mixture.maximise(mixture.expect(images))
            done += 1
            yield Progress(done, total, "sorting into classes")
        expected = mixture.expect(images)
    assert expected is not None
    counts = expected.classes.sum(0)
    by_chance, false = torch.zeros_like(counts), None
    if decoys is not None and len(decoys):
        few = decoys[: ceil(len(decoys) * len(rows) / n)]
        false = mixture.expect(_reduced(few, scale))
        by_chance = false.classes.sum(0)
    own = mixture.off_centre() <= config.object_size / 3  # else it shows a neighbour
    objects = torch.where(own & (by_chance <= _CHANCE_PART * counts), counts, 0)
    kept = (objects > 0) & (objects >= _RARE * objects.max())
    kept &= expected.label.bincount(minlength=len(counts)) > 0
    names = [name for name in objects.argsort(descending=True).tolist() if kept[name]]
    label = torch.full((len(images),), -1)
    for new, name in enumerate(names):
        label[expected.label == name] = new
    placed = Placed(*expected.poses, torch.zeros(len(label)), expected.score)
    averages = np.empty((0, *images.shape[1:]), np.float32)
    if names:
        averages = averages_of_boxes(read, parts, placed, label)
    found = Structures(averages, rows, label.numpy(), expected.poses, placed.score.numpy())
    if false is not None:
        chance = float(false.score[kept[false.label]].square().sum())
        found = found._replace(by_chance=chance)
    return found


def _at_random(n: int, config: ClassificationConfig) -> tuple[Tensor, Poses]:
    random = torch.Generator().manual_seed(config.seed)
    k = max(1, min(config.classes, n // LEAST_GROUP))
    turn = torch.rand(n, generator=random) * (2 * pi)
    return torch.randperm(n, generator=random) % k, Poses(turn, torch.zeros(n, 2))


class _Expected(NamedTuple):
    """What ``n`` images are expected to be, given a mixture."""

    classes: Tensor  # (n, k) probabilities
    label: Tensor  # (n,) of the single likeliest class, rotation and shift
    poses: Poses  # (n,) its rotation and shift, in pixels of the boxes
    score: Tensor  # (n,) correlation with it, from -1 to 1
    sums: Tensor  # (k, channels, y, x): the images, brought to rest and weighed
    middles: Tensor  # (k, 2) mean of the centres of boxes, at rest, in pixels of the images
    variance: Tensor  # of the noise, given all this


class _Mixture:
    """Averages at all rotations and shifts, under white noise: what images may have come from.

    Parameters
    ----------
    images : Tensor, shape (n, channels, side, side)
        On fewer pixels than the boxes.
    config : ClassificationConfig
    scale : float
        Pixels of the images in a pixel of the boxes.
    """

    averages: Tensor  # (k, channels, side, side)
    log_class: Tensor  # (k,) of the shares of the classes
    variance: Tensor  # of the noise

    def __init__(self, images: Tensor, config: ClassificationConfig, scale: float) -> None:
        self.images, self.scale, self.side = images, scale, images.shape[-1]
        self.reach = ceil(config.max_shift * scale)
        self.turns = torch.arange(_TURNS) * (2 * pi / _TURNS)
        line = torch.arange(self.reach, -self.reach - 1, -1.0)
        self.shifts = torch.cartesian_prod(line, line)
        usual = (self.shifts / (config.max_shift * scale / 2)).square().sum(1)
        self.log_shift = (-usual / 2).log_softmax(0)
        # An object and its rim.
        self.mask = smooth_disc_mask(self.side, config.object_size * scale / 2 + 1, edge=2.0)

    def begin(self, label: Tensor, poses: Poses) -> None:
        """Average images of known classes and poses, in pixels of the boxes."""
        here = Poses(poses.rotation, poses.translation * self.scale)
        rest = remove_poses(self.images, here)
        k = int(label.max()) + 1
        means = [rest[label == name].mean(0) for name in range(k)]
        self.averages = torch.stack(means).nan_to_num() * self.mask  # an empty class is nothing
        self.log_class = torch.full((k,), -log(k))
        self.variance = self.images.square().mean()

    def expect(self, images: Tensor) -> _Expected:
        """Weigh all classes, rotations and shifts of each image."""
        bank = self._bank()  # (k * turns * shifts, pixels)
        power = bank.square().sum(1)
        k, n_shifts = len(self.averages), len(self.shifts)
        log_prior = (self.log_class[:, None, None] + self.log_shift.expand(k, _TURNS, -1)).flatten()
        sums, misfit = torch.zeros_like(bank), images.square().sum()
        used = torch.zeros(len(bank))
        classes, best, score = list[Tensor](), list[Tensor](), list[Tensor]()
        for few in images.flatten(1).split(_AT_A_TIME):
            product = few @ bank.T
            weight = ((product - power / 2) / self.variance + log_prior).softmax(1)
            sums += weight.T @ few
            used += weight.sum(0)
            misfit += (weight * (power - 2 * product)).sum()
            classes.append(weight.unflatten(1, (k, -1)).sum(2))
            best.append(weight.argmax(1))
            length = few.norm(dim=1) * power[best[-1]].sqrt()
            alike = product.gather(1, best[-1][:, None])[:, 0]
            score.append(alike / length.clamp(min=1e-9))
        chosen = torch.cat(best)
        return _Expected(
            torch.cat(classes),
            chosen // (_TURNS * n_shifts),
            Poses(
                self.turns[chosen // n_shifts % _TURNS],
                self.shifts[chosen % n_shifts] / self.scale,
            ),
            torch.cat(score),
            self._at_rest(sums),
            self._middles(used.unflatten(0, (k, _TURNS, n_shifts))),
            misfit / images.numel(),
        )

    def maximise(self, expected: _Expected) -> None:
        """Take the averages, their shares and the noise that make the images likeliest."""
        counts = expected.classes.sum(0)
        # As if one image more of each class showed nothing: a class of none is no division by it.
        averages = expected.sums / (counts + 1)[:, None, None, None]
        # Else of one kind of objects there would be several classes, each about a part of it.
        moved = [
            average.roll((-y, -x), (1, 2))
            for average, (y, x) in zip(
                averages, expected.middles.round().long().tolist(), strict=True
            )
        ]
        self.averages = torch.stack(moved) * self.mask
        self.log_class = ((counts + 1) / (counts + 1).sum()).log()
        self.variance = expected.variance

    def off_centre(self) -> Tensor:
        """How far from the centre the middle of each average is, in pixels of the boxes; (k,)."""
        strength = self.averages.abs().mean(1)
        inside = strength > OUTLINE * strength.amax((1, 2), keepdim=True)
        weight = inside.float().unsqueeze(-1)
        grid = centred_grid(strength.shape[1:]).to(weight)
        middle = (weight * grid).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1)
        distance: Tensor = middle.norm(dim=1)
        return distance / self.scale

    def _middles(self, used: Tensor) -> Tensor:
        """Mean centre of the boxes at rest, of each class, by the weights (k, turns, shifts)."""
        back = -torch.einsum("tji,sj->tsi", rotation_matrix_2d(self.turns), self.shifts)
        total = used.sum((1, 2)).clamp(min=1e-9)
        return torch.einsum("kts,tsi->ki", used, back) / total.unsqueeze(1)

    def _bank(self) -> Tensor:
        turns = self.turns.repeat(len(self.averages))
        pictures = self.averages.repeat_interleave(_TURNS, 0)
        turned = apply_poses(pictures, Poses(turns, torch.zeros(len(turns), 2)))
        shifted = F.unfold(F.pad(turned, (self.reach,) * 4), self.side)  # (., pixels, shifts)
        return shifted.mT.flatten(0, 1)

    def _at_rest(self, sums: Tensor) -> Tensor:
        """Undo shifts and rotations of sums that are as `_bank` is, and add up those of a class."""
        whole, reach, k = self.side + 2 * self.reach, self.reach, len(self.averages)
        columns = sums.unflatten(0, (-1, len(self.shifts))).mT
        padded = F.fold(columns, (whole, whole), self.side)  # the opposite of unfold
        still = padded[..., reach : reach + self.side, reach : reach + self.side]
        rest: Tensor = remove_poses(still, Poses(self.turns.repeat(k), torch.zeros(k * _TURNS, 2)))
        rest = rest.unflatten(0, (k, _TURNS))
        return rest.sum(1)


def _reduced(images: Tensor, scale: float) -> Tensor:
    """Images on fewer pixels, without their means."""
    side = max(round(images.shape[-1] * scale), 1)
    small = images.float()
    small = small if small.shape[-1] <= side else fourier_crop(small, side)
    return small - small.mean((2, 3), keepdim=True)
