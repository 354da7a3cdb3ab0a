"""Images found among a few pictures, at all rotations, shifts and scales."""

from collections.abc import Generator, Sequence
from functools import cached_property
from math import ceil, pi, radians
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..geometry import (
    Poses,
    apply_poses,
    fourier_crop,
    remove_poses,
    rotation_matrix_2d,
    smooth_disc_mask,
    wrap_angle,
)
from ._in_a_row import in_a_row, keep_unlike, neighbours
from ._progress import Progress, finish

SIDE = 32  # pixels: so coarse an image has all that tells rotations apart
_RING, _FINE_RING = 6, 12  # cycles per box
_STEP_DEG, _SCALE_STEP = 15.0, 0.11
_FINE_TURNS_DEG = (-8.0, -4.0, 0.0, 4.0, 8.0)
_FINE_SCALE_STEP, _FINE_SHIFT_STEP = 0.05, 0.5  # pixels
_AT_A_TIME = 128  # images


class Placed(NamedTuple):
    """How pictures lie in ``n`` images: ``image(s R x + t) = picture(x)``.

    Of every picture in every image, ``n`` is two axes: images, pictures.
    """

    rotation: Tensor  # (n,), radians
    translation: Tensor  # (n, 2), pixels of what is searched
    log_scale: Tensor  # (n,)
    score: Tensor  # (n,) correlation, from -1 to 1

    def rows(self, *index: Tensor | slice | int) -> "Placed":
        """Those of some images."""
        return Placed(*(part[index] for part in self))

    def bring_to_rest(self, images: Tensor) -> Tensor:
        """Undo these in images (n, channels, y, x)."""
        poses = Poses(self.rotation, self.translation)
        return remove_poses(images, poses, scale=self.log_scale.exp())

    def about_the_mean(self) -> "Placed":
        """Move and scale the picture so that nothing is left of that on average.

        A picture is where, and as large as, the image was that it came from.
        """
        matrix = rotation_matrix_2d(self.rotation) * self.log_scale.exp()[:, None, None]
        middle = torch.linalg.solve(matrix, self.translation).mean(0)
        shift = self.translation - matrix @ middle
        return self._replace(translation=shift, log_scale=self.log_scale - self.log_scale.mean())


def reduced_images(images: Tensor) -> Tensor:
    """Bin images (n, channels, y, x) to what is searched."""
    return images.float() if images.shape[-1] <= SIDE else fourier_crop(images.float(), SIDE)


def windowed(pictures: Tensor) -> Tensor:
    """Cut pictures (n, channels, y, x) to a soft disc, beyond which there is nothing."""
    mask = smooth_disc_mask(pictures.shape[-1], edge=2.0).to(pictures)
    ring = (mask > 0) & (mask < 1)
    return (pictures - pictures[..., ring].mean(-1)[..., None, None]) * mask


class PictureSearch:
    """Finds images among pictures by correlation, low frequencies first.

    Parameters
    ----------
    size : int
        Side of images and pictures in pixels.
    reach : float
        Pixels that are searched along each axis.
    most_log_scale : float
        Logarithm of the largest factor either way; 0 where scale is not looked for.
    """

    def __init__(self, size: int, reach: float, most_log_scale: float = 0.0) -> None:
        self.size, self.reach = size, reach
        self.scaled = most_log_scale > 0
        self.turns = torch.arange(0, 2 * pi - 1e-6, radians(_STEP_DEG))
        steps = ceil(most_log_scale / _SCALE_STEP)
        self.scales = torch.linspace(-most_log_scale, most_log_scale, 2 * steps + 1)
        line = torch.linspace(-reach, reach, 2 * ceil(reach) + 1)
        self.shifts = torch.cartesian_prod(line, line)

    def compare(
        self, images: Tensor, pictures: Tensor, message: str
    ) -> Generator[Progress, None, tuple[Placed, Tensor]]:
        """Find each image's best picture (n,), and how it lies there.

        Parameters
        ----------
        images : Tensor, shape (n, channels, y, x)
        pictures : Tensor, shape (k, channels, y, x)
            Windowed.
        message : str
            Of what is yielded.
        """
        templates = self._templates(pictures)
        placed, label, done = list[Placed](), list[Tensor](), 0
        for few in images.split(_AT_A_TIME):
            everywhere = self._everywhere(few, templates)
            best = everywhere.score.argmax(1)
            start = everywhere.rows(torch.arange(len(few)), best)
            placed.append(self.improve(few, pictures[best], start))
            label.append(best)
            done += len(few)
            yield Progress(done, len(images), message)
        return Placed(*(torch.cat(parts) for parts in zip(*placed, strict=True))), torch.cat(label)

    def every(self, images: Tensor, pictures: Tensor) -> Generator[Progress, None, Placed]:
        """Find every picture in each image, coarsely: a `Placed` of shape (n, k, ...)."""
        templates, parts, done = self._templates(pictures), list[Placed](), 0
        for few in images.split(_AT_A_TIME):
            parts.append(self._everywhere(few, templates))
            done += len(few)
            yield Progress(done, len(images), "laying images on each other")
        return Placed(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def improve(self, images: Tensor, pictures: Tensor, placed: Placed) -> Placed:
        """Look near where a picture of its own was found in each image."""
        n = len(images)
        scales = torch.arange(-1.0, 2) * _FINE_SCALE_STEP if self.scaled else torch.zeros(1)
        turns = torch.deg2rad(torch.tensor(_FINE_TURNS_DEG))
        shifts = torch.cartesian_prod(*[torch.arange(-2.0, 3) * _FINE_SHIFT_STEP] * 2)
        turn = (placed.rotation[:, None] + turns).repeat_interleave(len(scales), 1)
        scale = (placed.log_scale[:, None] + scales).repeat(1, len(turns))
        each = turn.shape[1]
        drawn = self._drawn(pictures.repeat_interleave(each, 0), turn.flatten(), scale.flatten())
        templates = _as_directions(self._fine.of(drawn)).unflatten(0, (n, each))
        seen = self._fine.of(images)
        strength = _as_numbers(seen).norm(dim=1)
        seen = seen * self._fine.shifted(placed.translation).unsqueeze(1)
        moved = _as_numbers(seen.unsqueeze(1) * self._fine.shifted(shifts).unsqueeze(1))
        score, best = (moved @ templates.mT).flatten(1).max(1)
        shift, which = shifts[best // each], best % each
        row = torch.arange(n)
        return Placed(
            wrap_angle(turn[row, which]),
            placed.translation + shift,
            scale[row, which],
            score / strength.clamp(min=1e-9),
        )

    def join(self, pictures: Tensor, counts: Sequence[int], alike: float) -> Tensor:
        """Keep one of those that are alike, each in the frame of the likest, in a row."""
        everywhere = self._everywhere(pictures, self._templates(pictures))
        each = [
            self.improve(pictures, picture.expand_as(pictures), everywhere.rows(slice(None), name))
            for name, picture in enumerate(pictures)
        ]
        score = torch.stack([placed.score for placed in each], 1).double()
        likeness = torch.minimum(score, score.T).numpy()
        kept = keep_unlike(likeness, counts, alike)
        likeness, pictures = likeness[np.ix_(kept, kept)], pictures[kept].clone()
        for child, parent in neighbours(likeness):
            one = pictures[child : child + 1]
            placed, _ = finish(self.compare(one, pictures[parent : parent + 1], ""))
            pictures[child] = windowed(placed.bring_to_rest(one))[0]
        return pictures[in_a_row(likeness)]

    def _everywhere(self, images: Tensor, templates: Tensor) -> Placed:
        """Try templates (k, turns * scales, numbers) in images at all shifts."""
        k, each = templates.shape[:2]
        flat = templates.flatten(0, 1).T
        seen = self._coarse.of(images)
        strength = _as_numbers(seen).norm(dim=1)
        score = torch.full((len(images), k), -np.inf)
        which, place = (torch.zeros(len(images), k, dtype=torch.long) for _ in range(2))
        for number, phase in enumerate(self._coarse.shifted(self.shifts)):
            alike = (_as_numbers(seen * phase) @ flat).unflatten(1, (k, each)).max(2)
            better = alike.values > score
            score = torch.where(better, alike.values, score)
            which = torch.where(better, alike.indices, which)
            place = torch.where(better, number, place)
        turn, scale = which % len(self.turns), which // len(self.turns)
        score = score / strength.clamp(min=1e-9)[:, None]
        return Placed(self.turns[turn], self.shifts[place], self.scales[scale], score)

    def _templates(self, pictures: Tensor) -> Tensor:
        """Pictures at all rotations and scales, (k, turns * scales, numbers), of length one."""
        turn = self.turns.repeat(len(self.scales))
        scale = self.scales.repeat_interleave(len(self.turns))
        each = (self._drawn(one.expand(len(turn), *one.shape), turn, scale) for one in pictures)
        return torch.stack([_as_directions(self._coarse.of(drawn)) for drawn in each])

    def _drawn(self, pictures: Tensor, turn: Tensor, log_scale: Tensor) -> Tensor:
        poses = Poses(turn, turn.new_zeros(len(turn), 2))
        return apply_poses(pictures, poses, scale=log_scale.exp() if self.scaled else None)

    @cached_property
    def _coarse(self) -> "_Rings":
        return _Rings(self.size, _RING)

    @cached_property
    def _fine(self) -> "_Rings":
        return _Rings(self.size, _FINE_RING)


class _Rings:
    """The Fourier coefficients of images up to a radius in cycles per box, without the mean."""

    def __init__(self, size: int, radius: float) -> None:
        self.size = size
        y = torch.fft.fftfreq(size, 1 / size)[:, None]
        x = torch.fft.rfftfreq(size, 1 / size)
        length = (y**2 + x**2).sqrt()
        # of a pair that is conjugate, one
        self.kept = (length > 0) & (length <= radius) & ((x > 0) | (y > 0))
        self.frequency = torch.stack(torch.broadcast_tensors(y, x), -1)[self.kept]

    def of(self, images: Tensor) -> Tensor:
        """Coefficients (n, channels, k) of images."""
        spectrum = torch.fft.rfft2(torch.fft.ifftshift(images, (-2, -1)))
        kept: Tensor = spectrum[..., self.kept]
        return kept

    def shifted(self, shifts: Tensor) -> Tensor:
        """Factors (n, k) that undo shifts (n, 2)."""
        angle = shifts @ self.frequency.T * (2 * pi / self.size)
        return torch.polar(torch.ones_like(angle), angle)


def _as_numbers(coefficients: Tensor) -> Tensor:
    """Real numbers (..., 2 k channels) whose products are correlations."""
    return torch.view_as_real(coefficients.contiguous()).flatten(-3)


def _as_directions(coefficients: Tensor) -> Tensor:
    numbers = _as_numbers(coefficients)
    directions: Tensor = numbers / numbers.norm(dim=-1, keepdim=True).clamp(min=1e-9)
    return directions
