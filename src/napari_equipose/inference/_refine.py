"""Sub-pixel poses: decoded objects fitted to the pixels, starting from the encoder's pose."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..geometry import Poses, apply_poses, smooth_disc_mask, wrap_angle
from ..models import Model

_TURN_STEP, _SHIFT_STEP = 0.03, 0.5
_MOST_TURN, _MOST_SHIFT = 0.25, 2.0
_CONTRAST = (0.5, 2.0)


class Templates(NamedTuple):
    """Decoded objects at rest, as a difference from their background."""

    pictures: Tensor  # (n, channels, s, s), zero outside a disc
    level: Tensor  # (n, channels, 1, 1), the background
    weight: Tensor  # (n, 1, s, s), 1 where the object is and on its rim, 0 far from it

    def select(self, rows: Tensor) -> "Templates":
        """Return those of some rows."""
        return Templates(*(column[rows] for column in self))

    def join(self, other: "Templates") -> "Templates":
        """Return both, one after the other."""
        return Templates(*(torch.cat(pair) for pair in zip(self, other, strict=True)))


def decode_templates(model: Model, content: Tensor, batch: int = 256) -> Templates:
    """Draw each content (n, content_dim) at rest, in the canonical frame of the model."""
    size = model.config.canonical_size
    mask = smooth_disc_mask(size, edge=2.0).to(content)
    ring = (mask > 0) & (mask < 1)
    drawn = torch.cat([model.generate(part, None, size) for part in content.split(batch)])
    level = drawn[:, :, ring].median(-1).values[..., None, None]
    pictures = (drawn - level) * mask
    # The rim counts as well: that an object ends where it is drawn to end is part of the fit.
    strength = _blurred(pictures.abs().mean(1, keepdim=True), size / 16)
    strength = strength / strength.amax((2, 3), keepdim=True).clamp(min=1e-9)
    return Templates(pictures, level, (strength / 0.3).clamp(max=1) * mask)


def _blurred(images: Tensor, sigma: float) -> Tensor:
    """Images (n, 1, y, x) convolved with a Gaussian."""
    reach = max(round(3 * sigma), 1)
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1).to(images) / sigma) ** 2)
    line = line / line.sum()
    rows = F.conv2d(images, line[None, None, :, None], padding=(reach, 0))
    return F.conv2d(rows, line[None, None, None], padding=(0, reach))


def refine_poses(
    images: Tensor, templates: Templates, poses: Poses, iterations: int = 8
) -> tuple[Poses, Tensor, Tensor]:
    """Fit pictures at their poses to images by damped least squares.

    Parameters
    ----------
    images : Tensor, shape (n, channels, y, x)
        Boxes, each around one object.
    templates : Templates
        One object for each image.
    poses : Poses
        Where to start; the fit is local, within about a quarter of a turn and a few pixels.
    iterations : int
        Levenberg-Marquardt steps.

    Returns
    -------
    Poses
        Of lowest squared error.
    Tensor, shape (n,)
        ``1 - error / error of the background alone`` on the object and its rim: how much better
        the object explains the pixels. 1 is perfect, 0 or less no object.
    Tensor, shape (n, 1, 1, 1)
        Factor, between a half and two, by which each picture was scaled to fit.
    """
    target = images - templates.level
    shape = images.shape[-2:]
    turn, shift = poses.rotation.clone(), poses.translation.clone()
    start = poses.translation
    damping = torch.full_like(turn, 1e-2)
    drawn = apply_poses(templates.pictures, poses, shape)
    contrast = fit_contrast(target, drawn, apply_poses(templates.weight, poses, shape))
    pictures = templates.pictures * contrast
    drawn = drawn * contrast
    error = (target - drawn).square().sum((1, 2, 3))
    for _ in range(iterations):
        slopes = _slopes(pictures, Poses(turn, shift), shape)  # (n, 3, pixels)
        residual = (target - drawn).flatten(1).unsqueeze(-1)
        normal = slopes @ slopes.mT
        diagonal = normal.diagonal(dim1=1, dim2=2)
        ridge = torch.diag_embed(diagonal * damping[:, None] + 1e-6)
        step = torch.linalg.solve(normal + ridge, slopes @ residual).squeeze(-1)
        new_turn = turn + step[:, 0].clamp(-_MOST_TURN, _MOST_TURN)
        new_shift = shift + step[:, 1:].clamp(-_MOST_SHIFT, _MOST_SHIFT)
        # An object that has left its neighbourhood is another object.
        reach = max(3 * _MOST_SHIFT, templates.pictures.shape[-1] / 8)
        new_shift = start + (new_shift - start).clamp(-reach, reach)
        new_drawn = apply_poses(pictures, Poses(new_turn, new_shift), shape)
        new_error = (target - new_drawn).square().sum((1, 2, 3))
        better = new_error < error
        turn = torch.where(better, new_turn, turn)
        shift = torch.where(better[:, None], new_shift, shift)
        drawn = torch.where(better[:, None, None, None], new_drawn, drawn)
        error = torch.where(better, new_error, error)
        damping = torch.where(better, damping * 0.3, damping * 10)
    refined = Poses(wrap_angle(turn), shift)
    drawn = apply_poses(templates.pictures, refined, shape)
    weight = apply_poses(templates.weight, refined, shape)
    return refined, explained(target, drawn, weight), fit_contrast(target, drawn, weight)


def fit_contrast(target: Tensor, drawn: Tensor, weight: Tensor) -> Tensor:
    """Factor (n, 1, 1, 1) that fits ``drawn`` best to ``target``, within a factor of two."""
    product = (weight * target * drawn).sum((1, 2, 3), keepdim=True)
    power = (weight * drawn.square()).sum((1, 2, 3), keepdim=True)
    return (product / power.clamp(min=1e-9)).clamp(*_CONTRAST)


def explained(target: Tensor, drawn: Tensor, weight: Tensor) -> Tensor:
    """Part of the weighted power of ``target`` that ``drawn`` explains, its contrast fitted."""
    error = target - drawn * fit_contrast(target, drawn, weight)
    power = (weight * target.square()).sum((1, 2, 3))
    return 1 - (weight * error.square()).sum((1, 2, 3)) / power.clamp(min=1e-9)


def _slopes(pictures: Tensor, poses: Poses, shape: torch.Size) -> Tensor:
    """Central differences of the drawn pictures by rotation, y and x: (n, 3, pixels)."""
    turn, shift = poses
    columns = []
    for axis, h in ((0, _TURN_STEP), (1, _SHIFT_STEP), (2, _SHIFT_STEP)):
        delta = torch.zeros(3).to(turn)
        delta[axis] = h
        plus = apply_poses(pictures, Poses(turn + delta[0], shift + delta[1:]), shape)
        minus = apply_poses(pictures, Poses(turn - delta[0], shift - delta[1:]), shape)
        columns.append(((plus - minus) / (2 * h)).flatten(1))
    return torch.stack(columns, 1)
