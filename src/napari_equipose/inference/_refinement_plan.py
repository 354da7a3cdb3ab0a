"""How poses of subtomograms are refined, and what each iteration looks at."""

from dataclasses import dataclass
from math import radians
from typing import NamedTuple

import torch
from torch import Tensor

from ..geometry import InputError, MissingWedge, check_limits
from ._fourier_shell import GOLD_STANDARD, ShellCorrelation
from ._rotation_search import Found, Search, nearby_rotations, rotations_everywhere

_LEAST_SHELL = 4  # cycles per box that are always looked at
_FIRST_REACH, _REACH = 3.0, 2.0  # angular steps
_LEAST_REACH = 1.0  # voxels
_OUTER = 0.35  # of the box: how far from its centre most of an object lies
_EVERYWHERE_SHELL = 6  # cycles per box: so coarse a grid can't use finer detail
EVERYWHERE_STEP_DEG = 18.0


@dataclass(frozen=True, kw_only=True)
class RefinementConfig:
    """How poses are refined."""

    iterations: int = 6
    angular_step_deg: float = 10.0
    """Of the first search, which reaches three times as far; halved at each iteration."""
    max_shift: float = 3.0
    """Voxels that the first search reaches along each axis; later ones reach less."""
    everywhere: int = 0
    """So many of the iterations search all rotations, whatever the start."""
    symmetry: str = "C1"
    """Imposed on the averages: C1, C2, ..., D2, ..., T, O or I; the axis of C and D is z. Where
    iterations search ``everywhere``, from there on when these are done: the axes are found then."""
    mask_radius: float | None = None
    """Voxels; the largest ball in the box by default."""
    low_pass: float | None = None
    """Voxels; detail smaller than this is never compared, however well the halves agree on it."""
    seed: int = 0
    """Of the split into halves."""

    def __post_init__(self) -> None:
        check_limits({"iterations": self.iterations, "max_shift": self.max_shift})
        if self.iterations < 1:
            raise InputError(f"iterations must be at least 1, got {self.iterations}.")
        if not 0 < self.angular_step_deg <= 60:
            raise InputError(
                f"angular_step_deg must be from 0 to 60 degrees, got {self.angular_step_deg:g}."
            )
        if not self.max_shift > 0:
            raise InputError(f"max_shift must be positive, got {self.max_shift:g}.")
        if self.low_pass is not None and not self.low_pass >= 2:
            raise InputError(
                f"low_pass must be at least 2 voxels, the finest detail there is, got "
                f"{self.low_pass:g}."
            )
        if not 0 <= self.everywhere <= self.iterations:
            raise InputError(
                f"everywhere must be from 0 to the {self.iterations} iterations, "
                f"got {self.everywhere}."
            )


class Plan(NamedTuple):
    """What an iteration compares, and which rotations it tries."""

    search: Search
    nearby: Tensor  # (r, 3, 3), about each hypothesis
    coarse: Search
    everywhere: Tensor | None  # (r, 3, 3), in place of the hypotheses

    def improve(
        self,
        volume: Tensor,
        wedge: MissingWedge | None,
        reference: Tensor,
        rotation: Tensor,
        shift: Tensor,
    ) -> list[Found]:
        """Improve hypotheses (h, 3, 3) and (h, 3) of one particle; the best comes first."""
        seen = (volume, wedge, reference)
        if self.everywhere is not None:
            found = self.coarse.best(*seen, self.everywhere, shift[0])
            rotation, shift = found.rotation[None], found.translation[None]
        improved = [
            self.search.best(*seen, turn @ self.nearby, start)
            for turn, start in zip(rotation, shift, strict=True)
        ]
        return sorted(improved, key=lambda one: -one.score)


def plan_iteration(
    config: RefinementConfig, iteration: int, correlation: ShellCorrelation, size: int
) -> Plan:
    """Look at detail as fine as the halves agree on and the angular step can use."""
    trust = torch.from_numpy(correlation.correlation).float().clamp(min=0)
    below = (trust[1:] < GOLD_STANDARD).nonzero()
    radius = max(int(below[0]) if len(below) else (size - 1) // 2, _LEAST_SHELL)
    if config.low_pass is not None:
        radius = max(min(radius, int(size / config.low_pass)), _LEAST_SHELL)
    trust[: radius + 1] = trust[: radius + 1].clamp(min=GOLD_STANDARD)
    halved = max(0, iteration - config.everywhere)
    step = config.angular_step_deg / 2**halved
    # what moves by half its period in one step can't guide to the right one
    finest = 1 / (2 * radians(step) * _OUTER)
    reach = max(config.max_shift / 2**halved, _LEAST_REACH)
    search = Search.up_to(max(_LEAST_SHELL, min(radius, finest)), trust, size, reach)
    coarse = Search.up_to(min(radius, _EVERYWHERE_SHELL), trust, size, config.max_shift)
    everywhere = iteration < config.everywhere
    turns = rotations_everywhere(EVERYWHERE_STEP_DEG) if everywhere else None
    nearby = nearby_rotations(step, _FIRST_REACH if iteration == 0 else _REACH)
    return Plan(search, nearby, coarse, turns)
