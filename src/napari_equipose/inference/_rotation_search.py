"""Find how a reference lies in a volume: rotations tried one by one, shifts all at once."""

from collections.abc import Sequence
from math import pi, radians, sqrt
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..geometry import MissingWedge, swap_axis_order
from ._spectra import Coefficients, coefficients, read_spectrum, shift_phase, to_coefficients

_AT_ONCE = 2**21  # coefficients in memory at a time
_PLACES, _APART_DEG = 8, 30.0
"""Rotations that a coarse search leaves to a finer one, and how far they lie apart: the wrong way
round is as likely to be the best of a coarse grid where a long object is nearly the same half a
turn on."""


class Found(NamedTuple):
    """The best pose of one search."""

    score: float
    """Correlation with the reference over what was measured, from -1 to 1."""
    rotation: Tensor  # (3, 3)
    translation: Tensor  # (3,)


class Search(NamedTuple):
    """What is compared, and which shifts are tried."""

    size: int
    where: Coefficients
    strength: Tensor  # (k,) how far each coefficient of the reference can be trusted
    reach: float  # voxels along each axis
    steps: int  # shifts from -reach to reach, an odd number

    @classmethod
    def up_to(cls, radius: float, trust: Tensor, size: int, reach: float) -> "Search":
        """Look at frequencies up to a radius, trusted shell by shell."""
        found = coefficients(size, radius)
        rows = found.frequency.abs().sum(-1) > 0  # a mean says nothing of the pose
        where = Coefficients(*(part[rows] for part in found))
        shell = where.frequency.norm(dim=-1).round().long().clamp(max=len(trust) - 1)
        return cls(size, where, trust[shell], reach, 2 * max(3, int(np.ceil(reach))) + 1)

    def best(
        self,
        volume: Tensor,
        wedge: MissingWedge | None,
        reference: Tensor,
        rotations: Tensor,
        start: Tensor,
    ) -> Found:
        """Try rotations (r, 3, 3) of a reference in a volume (z, y, x), about a shift ``start``.

        ``reference`` is a fine spectrum (1, 2, z, y, x).
        """
        return self.several(volume, wedge, reference, rotations, start, 1)[0]

    def several(
        self,
        volume: Tensor,
        wedge: MissingWedge | None,
        reference: Tensor,
        rotations: Tensor,
        start: Tensor,
        n: int,
        apart_deg: float = 0.0,
    ) -> list[Found]:
        """Try rotations as `best` does; return the best of up to ``n`` places, the best first.

        All lie at least ``apart_deg`` from each other: a coarse search takes a reference that is
        nearly the same half a turn on for the other way round, and a finer one may choose.
        """
        rows = slice(None) if wedge is None else wedge.measures(self.where.frequency)
        frequency, weight = self.where.frequency[rows], self.where.weight[rows]
        seen = to_coefficients(volume, self.where)[rows]
        seen = seen * shift_phase(frequency, start, self.size)
        power = (weight * seen.abs().square()).sum().sqrt().clamp(min=1e-30)

        def compare(turns: Tensor) -> Tensor:
            drawn = read_spectrum(reference, frequency @ turns) * self.strength[rows]
            norm = (weight * drawn.abs().square()).sum(1).sqrt().clamp(min=1e-30)
            alike = self._over_shifts(seen * weight * drawn.conj(), frequency)
            return alike / (norm * power)[:, None, None, None]

        parts = rotations.split(max(1, _AT_ONCE // len(frequency)))
        score = torch.cat([compare(turns).flatten(1).amax(1) for turns in parts])
        found = list[Found]()
        while len(found) < n and bool(score.isfinite().any()):
            which = int(score.argmax())
            (alike,) = compare(rotations[which : which + 1])
            shift = self._peak(alike, int(alike.argmax()))
            found.append(Found(float(score[which]), rotations[which], start + shift))
            trace = torch.einsum("nij,ij->n", rotations, rotations[which])
            near = trace >= 1 + 2 * np.cos(radians(apart_deg)) - 1e-4
            score = torch.where(near, -torch.inf, score)
        return found or [Found(-np.inf, rotations[0], start)]

    def _over_shifts(self, product: Tensor, frequency: Tensor) -> Tensor:
        """Correlations (r, s, s, s) at all shifts of products (r, k), axis by axis.

        A Fourier transform of which only the middle is asked for, as finely as wanted.
        """
        far = int(frequency.abs().max())
        sides = (2 * far + 1, 2 * far + 1, far + 1)
        z, y, x = (frequency + torch.tensor([far, far, 0])).long().unbind(-1)
        box = product.new_zeros(len(product), *sides)
        box.view(len(product), -1)[:, (z * sides[1] + y) * sides[2] + x] = product
        angle = self._shifts()[:, None] * torch.arange(-far, far + 1) * (2 * pi / self.size)
        wave = torch.polar(torch.ones_like(angle), angle)  # (s, k)
        along_x = box @ wave[:, far:].T
        along_y = wave @ along_x
        along_z = wave @ along_y.flatten(2)
        correlations: Tensor = along_z.real.unflatten(2, (self.steps, self.steps))
        return correlations

    def _shifts(self) -> Tensor:
        return torch.linspace(-self.reach, self.reach, self.steps)

    def _peak(self, alike: Tensor, place: int) -> Tensor:
        """Place of the highest of correlations (s, s, s) in voxels, by a parabola each axis."""
        at = np.array(np.unravel_index(place, alike.shape))
        shift = self._shifts()[at].clone()
        for axis, i in enumerate(at.tolist()):
            if 0 < i < self.steps - 1:
                beside = np.eye(3, dtype=int)[axis]
                low, top, high = (float(alike[*(at + k * beside)]) for k in (-1, 0, 1))
                bend = low - 2 * top + high
                if bend < 0:
                    shift[axis] += 0.5 * (low - high) / bend * 2 * self.reach / (self.steps - 1)
        return shift


class Stage(NamedTuple):
    """A step of a search from coarse to fine."""

    search: Search
    turns: Tensor  # (r, 3, 3), each tried after the best rotation of the step before


def fit(
    volume: Tensor,
    wedge: MissingWedge | None,
    reference: Tensor,
    stages: Sequence[Stage],
    start: Found | None = None,
) -> Found:
    """Find how a reference lies in a volume, stage by stage; by default from no pose at all."""
    if start is None:
        return _fits(volume, wedge, reference, stages)[0]
    found = start
    for search, turns in stages:
        turned = found.rotation @ turns
        found = search.best(volume, wedge, reference, turned, found.translation)
    return found


def fit_best(
    volume: Tensor,
    wedge: MissingWedge | None,
    references: Sequence[Tensor],
    stages: Sequence[Stage],
    then: Sequence[Stage] = (),
) -> tuple[int, Found]:
    """Find which of some references lies in a volume, and how.

    The best is chosen after ``stages``; it alone goes through what comes ``then``.
    """
    each = [_fits(volume, wedge, reference, stages) for reference in references]
    best = int(np.argmax([found[0].score for found in each]))
    ends = [fit(volume, wedge, references[best], then, one) for one in each[best]]
    return best, max(ends, key=lambda one: one.score)


def _fits(
    volume: Tensor, wedge: MissingWedge | None, reference: Tensor, stages: Sequence[Stage]
) -> list[Found]:
    """Go on from each of the places that the first stage leaves open; the best fit first."""
    first, *others = stages
    seen = (volume, wedge, reference)
    starts = first.search.several(*seen, first.turns, torch.zeros(3), _PLACES, _APART_DEG)
    return sorted((fit(*seen, others, one) for one in starts), key=lambda one: -one.score)


def nearby_rotations(step_deg: float, reach: float = 2.0) -> Tensor:
    """Small rotations (r, 3, 3) on a grid of rotation vectors, up to ``reach`` steps long."""
    side = np.arange(-int(reach), int(reach) + 1)
    grid = np.stack(np.meshgrid(side, side, side, indexing="ij"), -1).reshape(-1, 3)
    inside = grid[(grid**2).sum(1) <= reach**2 + 1e-9]
    turned = Rotation.from_rotvec(np.radians(step_deg) * inside).as_matrix()
    return torch.from_numpy(turned).float()


def rotations_everywhere(step_deg: float) -> Tensor:
    """Rotations (r, 3, 3) spread evenly over SO(3), about ``step_deg`` from one to the next.

    References
    ----------
    M. Alexa, "Super-Fibonacci Spirals: Fast, Low-Discrepancy Sampling of SO(3)", CVPR 2022.
    """
    n = int(np.ceil(8 * pi**2 / np.radians(step_deg) ** 3))
    place = np.arange(n) + 0.5
    inner, outer = np.sqrt(place / n), np.sqrt(1 - place / n)
    # sqrt(2), and the root of psi^4 = psi + 4
    alpha, beta = 2 * pi * place / sqrt(2), 2 * pi * place / 1.533751168755204288118041
    quaternion = np.stack(
        (inner * np.sin(alpha), inner * np.cos(alpha), outer * np.sin(beta), outer * np.cos(beta)),
        -1,
    )
    turned = swap_axis_order(Rotation.from_quat(quaternion).as_matrix())
    return torch.from_numpy(turned).float()
