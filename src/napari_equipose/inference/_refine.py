"""Sub-pixel poses: decoded objects fitted to the pixels, starting from the encoder's pose."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from ..geometry import Poses, apply_poses, constant, numbers_like, smooth_disc_mask, wrap_angle
from ..models import SavedModel

_TURN_STEP, _SHIFT_STEP = 0.03, 0.5
_MOST_TURN, _MOST_SHIFT = 0.25, 2.0
_CONTRAST = (0.5, 2.0)
OUTLINE = 0.35
"""Of its greatest strength: where an object ends."""


class Templates(NamedTuple):
    """Decoded objects at rest, as a difference from their background."""

    pictures: Tensor  # (n, channels, s, s), zero outside a disc
    level: Tensor  # (n, channels, 1, 1), the background
    weight: Tensor  # (n, 1, s, s), 1 where the object is and on its rim, 0 far from it
    side: (
        Tensor  # (n, 1, 1, 1), -1 where objects are dark, 1 where bright, 0 where they may be both
    )
    factor: Tensor  # (n, 1, 1, 1), by which the pictures were scaled since they were decoded

    def contrast(self, images: Tensor) -> Tensor:
        """Difference of images, one for each object, from its background.

        Of dark objects only what is darker counts, and of bright ones only what is brighter: in a
        crowd the gaps between objects differ from the background too.
        """
        difference = images - self.level
        return difference * (difference * self.side >= 0)

    def scaled(self, factor: Tensor) -> "Templates":
        """Return them of another contrast, scaled by ``factor`` (n, 1, 1, 1)."""
        return self._replace(pictures=self.pictures * factor, factor=self.factor * factor)

    def select(self, rows: Tensor | slice) -> "Templates":
        """Return those of some rows."""
        return Templates(*(column[rows] for column in self))

    def join(self, other: "Templates") -> "Templates":
        """Return both, one after the other."""
        return Templates(*(torch.cat(pair) for pair in zip(self, other, strict=True)))


def _disc(size: int) -> Tensor:
    return smooth_disc_mask(size, edge=2.0)


def _ring(size: int) -> Tensor:
    """Pixels, by number, where the disc falls."""
    mask = _disc(size).flatten()
    return ((mask > 0) & (mask < 1)).nonzero()[:, 0]


@torch.no_grad()
def decode_templates(saved: SavedModel, content: Tensor, batch: int = 256) -> Templates:
    """Draw each content (n, content_dim) at rest, in the canonical frame of the model."""
    model = saved.model
    size = model.config.canonical_size
    mask = constant(_disc, size, like=content)
    ring = constant(_ring, size, like=content, dtype=torch.int64)
    drawn = torch.cat([model.generate(part, None, size) for part in content.split(batch)])
    level = drawn.flatten(2)[:, :, ring].median(-1).values[..., None, None]
    pictures = (drawn - level) * mask
    side = {None: 0.0, "dark": -1.0, "bright": 1.0}[saved.normalisation.polarity]
    if side:
        pictures = _central_part(pictures * (pictures * side >= 0))
    # The rim counts as well: that an object ends where it is drawn to end is part of the fit.
    strength = _blurred(pictures.abs().mean(1, keepdim=True), size / 16)
    strength = strength / strength.amax((2, 3), keepdim=True).clamp(min=1e-9)
    weight = (strength / 0.3).clamp(max=1) * mask
    column = torch.ones_like(level[:, :1])
    return Templates(pictures, level, weight, side * column, column)


def _central_part(pictures: Tensor, batch: int = 4096) -> Tensor:
    """Cut off what stands apart from the middle: in a crowd, the neighbors of the object."""
    return torch.cat([_one_part(part) for part in pictures.split(batch)])


def _one_part(pictures: Tensor) -> Tensor:
    """Keep, of each picture, the connected part that is strongest about the middle."""
    strength = pictures.abs().mean(1)
    n, size = len(strength), strength.shape[-1]
    inside = strength > OUTLINE * strength.amax((1, 2), keepdim=True)
    central = strength * inside * constant(_middle, size, like=strength)
    seed = torch.zeros_like(inside).flatten(1)
    seed = seed.scatter(1, central.flatten(1).argmax(1, keepdim=True), True).view(n, size, size)
    part = _connected(seed & inside, inside).float()
    for _ in range(2):  # its rim as well
        rows, columns = (F.max_pool2d(part, k, 1, pad) for k, pad in _CROSS)
        part = torch.maximum(rows, columns)
    blur = constant(_blur_matrix, size, like=part)
    kept = blur @ part @ blur.T
    return pictures * kept.to(pictures).unsqueeze(1)


_CROSS = (((3, 1), (1, 0)), ((1, 3), (0, 1)))


def _middle(size: int) -> Tensor:
    line = torch.arange(size) - size // 2
    return torch.exp(-0.5 * (line[:, None] ** 2 + line**2) / (size / 8) ** 2)


def _blur_matrix(size: int) -> Tensor:
    """Convolution with a Gaussian of one pixel, the picture reflected at its border."""
    return torch.from_numpy(ndimage.gaussian_filter1d(np.eye(size), 1.0, axis=0)).float()


def _connected(seeds: Tensor, inside: Tensor) -> Tensor:
    """Grow seeds (n, y, x) within masks, from pixel to pixel along y and x, until nothing grows."""
    while True:
        for _ in range(seeds.shape[-1]):  # enough for most: each look has the CPU wait for a GPU
            before, seeds = seeds, _grown(seeds, inside)
        if torch.equal(before, seeds):
            return seeds


def _grown(seeds: Tensor, inside: Tensor) -> Tensor:
    grown = seeds.clone()
    grown[:, 1:] |= seeds[:, :-1]
    grown[:, :-1] |= seeds[:, 1:]
    grown[:, :, 1:] |= seeds[:, :, :-1]
    grown[:, :, :-1] |= seeds[:, :, 1:]
    return grown & inside


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
        Factor by which each picture was scaled to fit: between a half and two of what was decoded.
    """
    target = templates.contrast(images)
    shape = images.shape[-2:]
    turn, shift = poses.rotation.clone(), poses.translation.clone()
    start = poses.translation
    damping = torch.full_like(turn, 1e-2)
    drawn = apply_poses(templates.pictures, poses, shape)
    factor = templates.factor
    contrast = fit_contrast(target, drawn, apply_poses(templates.weight, poses, shape), factor)
    pictures = templates.pictures * contrast
    drawn = drawn * contrast
    error = (target - drawn).square().sum((1, 2, 3))
    for _ in range(iterations):
        slopes = _slopes(pictures, Poses(turn, shift), shape)  # (n, 3, pixels)
        residual = (target - drawn).flatten(1).unsqueeze(-1)
        normal = slopes @ slopes.mT
        diagonal = normal.diagonal(dim1=1, dim2=2)
        ridge = torch.diag_embed(diagonal * damping[:, None] + 1e-6)
        # Unlike `solve` it checks nothing, for which the host would wait; what it can't solve is
        # no number, and no better.
        step = torch.linalg.solve_ex(normal + ridge, slopes @ residual).result.squeeze(-1)
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
    contrast = fit_contrast(target, drawn, weight, factor)
    return refined, explained(target, drawn * contrast, weight), contrast


def fit_contrast(target: Tensor, drawn: Tensor, weight: Tensor, factor: Tensor) -> Tensor:
    """Factor (n, 1, 1, 1) that fits ``drawn`` best to ``target``.

    With ``factor``, by which it is scaled already, it stays within a factor of two of what was
    decoded: an object much fainter than any that was learnt is none.
    """
    product = (weight * target * drawn).sum((1, 2, 3), keepdim=True)
    power = (weight * drawn.square()).sum((1, 2, 3), keepdim=True)
    least, most = (limit / factor for limit in _CONTRAST)
    return (product / power.clamp(min=1e-9)).clamp(least, most)


def explained(target: Tensor, drawn: Tensor, weight: Tensor) -> Tensor:
    """Part of the weighted power of ``target`` that ``drawn`` explains."""
    error = target - drawn
    power = (weight * target.square()).sum((1, 2, 3))
    return 1 - (weight * error.square()).sum((1, 2, 3)) / power.clamp(min=1e-9)


def _slopes(pictures: Tensor, poses: Poses, shape: torch.Size) -> Tensor:
    """Central differences of the drawn pictures by rotation, y and x: (n, 3, pixels)."""
    turn, shift = poses
    columns = []
    for dturn, dy, dx in ((_TURN_STEP, 0.0, 0.0), (0.0, _SHIFT_STEP, 0.0), (0.0, 0.0, _SHIFT_STEP)):
        delta, h = numbers_like((dy, dx), shift), dturn + dy + dx
        plus = apply_poses(pictures, Poses(turn + dturn, shift + delta), shape)
        minus = apply_poses(pictures, Poses(turn - dturn, shift - delta), shape)
        columns.append(((plus - minus) / (2 * h)).flatten(1))
    return torch.stack(columns, 1)
