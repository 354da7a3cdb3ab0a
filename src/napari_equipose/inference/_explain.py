"""Explaining an image object by object, so that touching and overlapping ones are told apart."""

import heapq

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import Poses, apply_poses
from ._refine import OUTLINE, Templates, refine_poses

_MOST_COVERED = 0.4
_NOISE_ROOM = 0.5
"""By so much of itself the power of noise may exceed its mean by chance, in so few pixels."""
_MEDIAN_TO_VARIANCE = 2.198  # of the squares of normal numbers
_MARGIN = 4  # pixels around the canonical frame within which a pose may be refined


class Explanation:
    """An image as a sum of objects on a background; what is not explained yet is ``residual``.

    Parameters
    ----------
    image : Tensor, shape (1, channels, y, x)
        Normalised.
    size : int
        Side of the canonical frame in pixels.
    pixels_at_once : int
        Of the boxes that objects are fitted to at a time; bounds the memory of a fit, which holds
        some twenty times as many numbers.
    """

    def __init__(self, image: Tensor, size: int, pixels_at_once: int = 2**22) -> None:
        self.side = size + 2 * _MARGIN + (size % 2 == 0)
        self.pad = self.side
        padded = torch.nn.functional.pad(image[0], (self.pad,) * 4)
        self.rows = max(pixels_at_once // (len(padded) * self.side**2), 1)
        self.image = padded
        self.residual = padded.clone()

    def boxes(self, position: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """Cut boxes of ``source`` around positions; return them and the pixels they start at."""
        corner = torch.floor(position + 0.5).long() - self.side // 2 + self.pad
        limits = [side - self.side for side in source.shape[-2:]]
        sides = [c.clamp(0, limit) for c, limit in zip(corner.unbind(1), limits, strict=True)]
        corner = torch.stack(sides, 1)
        y, x = self._pixels(corner)
        return source[:, y, x].transpose(0, 1), corner

    def _pixels(self, corner: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (n, side, 1) and columns (n, 1, side) of the boxes that start at corners."""
        grid = torch.arange(self.side, device=corner.device)
        return corner[:, 0, None, None] + grid[:, None], corner[:, 1, None, None] + grid

    def refine(
        self,
        position: Tensor,
        rotation: Tensor,
        templates: Templates,
        own: Tensor | None,
        steps: int,
    ) -> tuple[Tensor, Tensor, Tensor, Templates]:
        """Fit objects to what is left of the image without them.

        Parameters
        ----------
        own : Tensor, optional
            What each object contributes now, (n, channels, side, side) from the corner of its
            box; given back before the fit.

        Returns
        -------
        position, rotation, score : Tensor
        Templates
            Scaled to the contrast that fits.
        """
        parts = []
        for first in range(0, max(len(position), 1), self.rows):
            few = slice(first, first + self.rows)
            part = None if own is None else own[few]
            chosen = templates.select(few)
            parts.append(self._refine(position[few], rotation[few], chosen, part, steps))
        position, rotation, score, contrast = map(torch.cat, zip(*parts, strict=True))
        return position, rotation, score, templates.scaled(contrast)

    def _refine(
        self,
        position: Tensor,
        rotation: Tensor,
        templates: Templates,
        own: Tensor | None,
        steps: int,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Fit a batch of objects that fits into memory; the last result is their contrast."""
        boxes, corner = self.boxes(position, self.residual)
        if own is not None:
            boxes = boxes + own
        middle = corner - self.pad + self.side // 2
        poses = Poses(rotation, position - middle)
        poses, score, contrast = refine_poses(boxes, templates, poses, steps)
        # Of all the power there, not only of what the other objects leave.
        weight = apply_poses(templates.weight, poses, boxes.shape[-2:])
        left, whole = (
            (weight * templates.contrast(pixels).square()).sum((1, 2, 3))
            for pixels in (boxes, self.boxes(position, self.image)[0])
        )
        score = score * (left / whole.clamp(min=1e-9)).clamp(max=1)
        return poses.translation + middle, poses.rotation, score, contrast

    def draw(self, position: Tensor, rotation: Tensor, templates: Templates) -> tuple[Tensor, ...]:
        """Draw objects: pictures and weights (n, ...), and the corners of their boxes."""
        corner = self.boxes(position, self.residual)[1]
        poses = Poses(rotation, position - (corner - self.pad + self.side // 2))
        shape = (self.side, self.side)
        return (
            apply_poses(templates.pictures, poses, shape),
            apply_poses(templates.weight, poses, shape),
            corner,
        )

    def redraw(self, position: Tensor, rotation: Tensor, templates: Templates) -> None:
        """Set ``residual`` to the image without these objects."""
        pictures, _, corner = self.draw(position, rotation, templates)
        self.residual = self.image.clone()
        # On the CPU in the order of the objects, so to the bit as one by one.
        last = self.residual.movedim(0, -1)
        last.index_put_(self._pixels(corner), -pictures.movedim(1, -1), accumulate=True)

    def score(self, position: Tensor, rotation: Tensor, templates: Templates) -> Tensor:
        """Part of the power of its pixels that each object explains and no other does, (n,).

        The objects are those that ``residual`` is without, and at most 1 is explained. Where there
        is noise, the power of the pixels is what an object and the noise of this image should
        have, unless it is much more: in so few pixels it goes up and down by chance, and so does
        the level of the background, which is fitted the more, the more noise there is.
        """
        drawn, weight, _ = self.draw(position, rotation, templates)
        seen = templates.contrast(self.boxes(position, self.residual)[0] + drawn)
        whole = templates.contrast(self.boxes(position, self.image)[0])
        inner = self.residual[:, self.pad : -self.pad, self.pad : -self.pad]
        noise = _MEDIAN_TO_VARIANCE * inner.square().median()

        def total(values: Tensor) -> Tensor:
            return (weight * values).sum((1, 2, 3), keepdim=True)

        area = total(torch.ones_like(drawn)).clamp(min=1e-9)
        chance = noise * area
        fitted = (chance / total(seen.square()).clamp(min=1e-9)).clamp(max=1)
        drawn, seen, whole = (p - fitted * total(p) / area for p in (drawn, seen, whole))
        usual = total(drawn.square()) + chance
        power = torch.maximum(total(seen.square()), total(whole.square())) - _NOISE_ROOM * chance
        power = torch.maximum(power, usual)
        both, own = total(seen * drawn), total(drawn.square())
        # The contrast was fitted without a level: with one, it is often less.
        contrast = torch.maximum(both / own.clamp(min=1e-9), 1 - fitted / 2).clamp(max=1)
        explained = contrast * (2 * both - contrast * own)
        return (explained / power.clamp(min=1e-9)).flatten()

    def uncovered(self, position: Tensor, rotation: Tensor, templates: Templates) -> Tensor:
        """Return the objects, of falling score, that better ones do not largely cover.

        Two fits to one object differ in pose or content; they are told by the pixels they share.
        """
        pictures, _, corner = self.draw(position, rotation, templates)
        strength = pictures.abs().mean(1)
        inside = strength > OUTLINE * strength.amax((1, 2), keepdim=True)
        taken = torch.zeros(self.image.shape[-2:], dtype=torch.bool)
        kept = []
        for i, (shape, (y, x)) in enumerate(zip(inside.cpu(), corner.tolist(), strict=True)):
            view = taken[y : y + self.side, x : x + self.side]
            if (shape & view).sum() <= _MOST_COVERED * shape.sum():
                kept.append(i)
                view |= shape
        return torch.tensor(kept, dtype=torch.long, device=position.device)

    def accept(
        self, position: Tensor, rotation: Tensor, templates: Templates, threshold: float
    ) -> NDArray[np.intp]:
        """Take objects one by one, the one that explains most first, and explain it away.

        An object's gain is the part of the power on it and its rim that it explains beyond what
        the objects taken before it explain already; it is taken while that is at least
        ``threshold``. ``residual`` is what remains.

        Returns
        -------
        ndarray of int
            The objects taken.
        """
        pictures, weights, corner = self.draw(position, rotation, templates)
        residual, image = self.residual.cpu().numpy(), self.image.cpu().numpy()
        drawn, weight, start = pictures.cpu().numpy(), weights.cpu().numpy(), corner.cpu().numpy()
        base, side_of = templates.level.cpu().numpy(), templates.side.cpu().numpy()
        side = self.side
        views = [np.s_[:, y : y + side, x : x + side] for y, x in start]

        def contrast(source: NDArray[np.float32], i: int) -> NDArray[np.float32]:
            difference = source[views[i]] - base[i]
            return np.where(difference * side_of[i] >= 0, difference, 0)

        power = [float((weight[i] * contrast(image, i) ** 2).sum()) for i in range(len(drawn))]

        def gain(i: int) -> float:
            target = contrast(residual, i)
            return float((weight[i] * (2 * target - drawn[i]) * drawn[i]).sum())

        waiting = [(-gain(i), i) for i in range(len(drawn))]
        heapq.heapify(waiting)
        taken: list[int] = []
        while waiting:
            _, best = heapq.heappop(waiting)
            now = gain(best)  # what was taken since may have explained it
            if now < threshold * max(power[best], 1e-9):
                continue
            if waiting and now < -waiting[0][0]:
                heapq.heappush(waiting, (-now, best))
                continue
            residual[views[best]] -= drawn[best]
            taken.append(best)
        self.residual = torch.from_numpy(residual).to(self.residual)
        return np.array(taken, np.intp)
