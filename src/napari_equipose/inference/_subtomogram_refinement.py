"""Refine the poses of subtomograms against their own average, two halves kept apart."""

from collections.abc import Generator
from dataclasses import dataclass
from math import radians
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..geometry import InputError, MissingWedge, Poses3D
from ._averages import (
    Frame,
    Sums,
    Wedges,
    at_rest,
    check_volumes,
    read_volume,
    sum_volumes,
    wedge_of,
)
from ._fourier_shell import GOLD_STANDARD, ShellCorrelation, fourier_shell_correlation
from ._progress import Progress
from ._rotation_search import Found, Search, nearby_rotations, rotations_everywhere
from ._spectra import fine_spectrum

_LEAST_VOLUMES = 8
_LEAST_SHELL = 4  # cycles per box that are always looked at
_OF_ALL_HYPOTHESES = 2  # iterations; after them a particle keeps its best
_FIRST_REACH, _REACH = 3.0, 2.0  # angular steps
_LEAST_REACH = 1.0  # voxels
_OUTER = 0.35  # of the box: how far from its centre most of an object lies
_EVERYWHERE_STEP_DEG = 18.0
_EVERYWHERE_SHELL = 6  # cycles per box: so coarse a grid can't use finer detail
_FRAME_SHELL = 6  # cycles per box by which the averages of both halves are laid on each other
_FRAME_STEPS_DEG = (4.0, 2.0, 1.0, 0.5)


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
    """Imposed on the averages: C1, C2, ..., D2, ..., T, O or I; the axis of C and D is z."""
    mask_radius: float | None = None
    """Voxels; the largest ball in the box by default."""
    seed: int = 0
    """Of the split into halves."""

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise InputError(f"iterations must be at least 1, got {self.iterations}.")
        if not 0 < self.angular_step_deg <= 60:
            raise InputError(
                f"angular_step_deg must be from 0 to 60 degrees, got {self.angular_step_deg:g}."
            )
        if not self.max_shift > 0:
            raise InputError(f"max_shift must be positive, got {self.max_shift:g}.")
        if not 0 <= self.everywhere <= self.iterations:
            raise InputError(
                f"everywhere must be from 0 to the {self.iterations} iterations, "
                f"got {self.everywhere}."
            )


class Refinement(NamedTuple):
    """Refined poses, and what the particles look like at them."""

    poses: Poses3D  # (n,)
    score: NDArray[np.float32]  # (n,) correlation with the average where measured, -1 to 1
    half: NDArray[np.int64]  # (n,) 0 or 1
    halves: NDArray[np.float32]  # (2, z, y, x) averages, masked, in one frame
    average: NDArray[np.float32]  # (z, y, x) of all, masked
    correlation: ShellCorrelation  # of the halves


def refine(
    volumes: NDArray[Any],
    poses: Poses3D | None = None,
    wedge: Wedges = None,
    config: RefinementConfig | None = None,
    half: ArrayLike | None = None,
) -> Generator[Progress, None, Refinement]:
    """Refine the poses of particles of one structure against their own averages.

    The particles are split into halves, each with an average of its own. In each iteration every
    particle is compared with the average of the others of its half, over the coefficients that
    its tilt series measured, each trusted as far as the halves agree on it. An average drifts with
    its particles; the second half is brought back to the frame of the first at the end.

    Parameters
    ----------
    volumes : array, shape (n, z, y, x)
        At least 8, of equal sides, protein bright or dark alike; may be memory-mapped.
    poses : Poses3D, optional
        Where to start: one pose a particle, or several hypotheses: rotation (n, h, 3, 3) and
        translation (n, h, 3), the likeliest first. From nothing by default; then some iterations
        must search ``everywhere``.
    wedge : MissingWedge, or a sequence of one for each volume, optional
        What was measured; all by default.
    config : RefinementConfig, optional
    half : array_like, shape (n,), optional
        0 or 1 for each particle, where halves were kept apart before; at random by default.

    Yields
    ------
    Progress
        After each particle.

    Returns
    -------
    Refinement

    Raises
    ------
    InputError
        If the volumes, poses and halves do not fit together, or are too few.

    References
    ----------
    F. Foerster et al., J. Struct. Biol. 161, 2008: the constrained cross-correlation.
    S. H. W. Scheres and S. Chen, Nature Methods 9, 2012: the halves.
    """
    config = config or RefinementConfig()
    volumes = np.asanyarray(volumes)
    check_volumes(volumes, wedge)
    rng = np.random.default_rng(config.seed)
    rotation, translation = _start(volumes, poses, config, rng)
    side = _halves(len(volumes), half, rng)
    frame = Frame.of(volumes.shape[-1], config.symmetry, config.mask_radius)
    n, score = len(volumes), np.zeros(len(volumes), np.float32)
    whole = (config.iterations + 2) * n
    at_first = Poses3D(rotation[:, 0], translation[:, 0])
    totals = yield from _totals(volumes, at_first, side, wedge, frame, Progress(0, whole, "start"))
    drift = Poses3D.identity(1)
    for iteration in range(config.iterations):
        drift, correlation = _compare(totals, drift, frame, config.everywhere > 0)
        plan = _plan(config, iteration, correlation, frame.size)
        message = f"iteration {iteration + 1} of {config.iterations}"
        following = [Sums.nothing(frame.where), Sums.nothing(frame.where)]
        if iteration == _OF_ALL_HYPOTHESES:
            rotation, translation = rotation[:, :1], translation[:, :1]
        for row in range(n):
            volume, own_wedge, own_half = read_volume(volumes, row), wedge_of(wedge, row), side[row]
            spectrum = fine_spectrum(volume[None])
            # its own noise would draw a particle to where it is
            own = at_rest(spectrum, rotation[row, 0], translation[row, 0], own_wedge, frame)
            reference = fine_spectrum(frame.density(totals[own_half] - own)[None])
            found = plan.improve(volume, own_wedge, reference, rotation[row], translation[row])
            rotation[row] = torch.stack([one.rotation for one in found])
            translation[row] = torch.stack([one.translation for one in found])
            score[row] = found[0].score
            own = at_rest(spectrum, rotation[row, 0], translation[row, 0], own_wedge, frame)
            following[own_half] = following[own_half].plus(own)
            yield Progress((iteration + 1) * n + row + 1, whole, message)
        totals = following
    drift, _ = _compare(totals, drift, frame, config.everywhere > 0)
    final = _one_frame(Poses3D(rotation[:, 0], translation[:, 0]), side, drift)
    last = Progress(whole - n, whole, "averages")
    totals = yield from _totals(volumes, final, side, wedge, frame, last)
    halves = np.stack([frame.density(total).numpy() for total in totals])
    average = frame.density(totals[0].plus(totals[1])).numpy()
    return Refinement(final, score, side, halves, average, fourier_shell_correlation(*halves))


class _Plan(NamedTuple):
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


def _plan(
    config: RefinementConfig, iteration: int, correlation: ShellCorrelation, size: int
) -> _Plan:
    """Look at detail as fine as the halves agree on and the angular step can use."""
    trust = torch.from_numpy(correlation.correlation).float().clamp(min=0)
    below = (trust[1:] < GOLD_STANDARD).nonzero()
    radius = max(int(below[0]) if len(below) else (size - 1) // 2, _LEAST_SHELL)
    trust[: radius + 1] = trust[: radius + 1].clamp(min=GOLD_STANDARD)
    halved = max(0, iteration - config.everywhere)
    step = config.angular_step_deg / 2**halved
    # what moves by half its period in one step can't guide to the right one
    finest = 1 / (2 * radians(step) * _OUTER)
    reach = max(config.max_shift / 2**halved, _LEAST_REACH)
    search = Search.up_to(max(_LEAST_SHELL, min(radius, finest)), trust, size, reach)
    coarse = Search.up_to(min(radius, _EVERYWHERE_SHELL), trust, size, config.max_shift)
    everywhere = iteration < config.everywhere
    turns = rotations_everywhere(_EVERYWHERE_STEP_DEG) if everywhere else None
    nearby = nearby_rotations(step, _FIRST_REACH if iteration == 0 else _REACH)
    return _Plan(search, nearby, coarse, turns)


def _totals(
    volumes: NDArray[Any],
    poses: Poses3D,
    side: NDArray[np.int64],
    wedge: Wedges,
    frame: Frame,
    so_far: Progress,
) -> Generator[Progress, None, list[Sums]]:
    """Add up each half."""
    totals = [Sums.nothing(frame.where), Sums.nothing(frame.where)]
    for row, name in enumerate(side):
        totals[name] = totals[name].plus(sum_volumes(volumes, [row], poses, wedge, frame))
        yield so_far._replace(done=so_far.done + row + 1)
    return totals


def _compare(
    totals: list[Sums], drift: Poses3D, frame: Frame, everywhere: bool
) -> tuple[Poses3D, ShellCorrelation]:
    """Find how the second half's average lies against the first's, and how well they agree.

    A symmetric average lies about its axes; it may only move in ways that leave them where they
    are, by vectors that the symmetry does not change.
    """
    first, second = (frame.density(total) for total in totals)
    reference = fine_spectrum(first[None])
    rotation, shift = drift.rotation[0], drift.translation[0]
    search = Search.up_to(_FRAME_SHELL, torch.ones(_FRAME_SHELL + 1), frame.size, 2.0)
    if everywhere:
        turns = rotations_everywhere(_EVERYWHERE_STEP_DEG)
        _, rotation, shift = search.best(second, None, reference, turns, shift)
    for step in _FRAME_STEPS_DEG:
        turns = rotation @ nearby_rotations(step)
        _, rotation, shift = search.best(second, None, reference, turns, shift)
    free = frame.group.mean(0)
    turn = Rotation.from_rotvec(free.numpy() @ Rotation.from_matrix(rotation).as_rotvec())
    rotation, shift = torch.from_numpy(turn.as_matrix()).float(), free @ shift
    back = at_rest(fine_spectrum(second[None]), rotation, shift, None, frame)
    correlation = fourier_shell_correlation(first.numpy(), frame.density(back).numpy())
    return Poses3D(rotation[None], shift[None]), correlation


def _one_frame(poses: Poses3D, side: NDArray[np.int64], drift: Poses3D) -> Poses3D:
    """Take the second half's poses to the frame of the first."""
    moved = poses.compose(drift)
    second = torch.from_numpy(side == 1)
    return Poses3D(
        torch.where(second[:, None, None], moved.rotation, poses.rotation),
        torch.where(second[:, None], moved.translation, poses.translation),
    )


def _start(
    volumes: NDArray[Any], poses: Poses3D | None, config: RefinementConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Check the start; rotation (n, h, 3, 3) and translation (n, h, 3)."""
    n = len(volumes)
    if n < _LEAST_VOLUMES:
        raise InputError(f"refinement needs at least {_LEAST_VOLUMES} volumes, got {n}.")
    if poses is None:
        if not config.everywhere:
            raise InputError(
                "without poses to start from, some iterations must search everywhere; give poses, "
                "or set everywhere."
            )
        turned = Rotation.random(n, random_state=rng).as_matrix()
        return torch.from_numpy(turned).float()[:, None], torch.zeros(n, 1, 3)
    rotation, translation = (part.detach().float().cpu().clone() for part in poses)
    if rotation.ndim == 3 and translation.ndim == 2:
        rotation, translation = rotation[:, None], translation[:, None]
    h = rotation.shape[1] if rotation.ndim == 4 else 0
    if not h or rotation.shape != (n, h, 3, 3) or translation.shape != (n, h, 3):
        raise InputError(
            f"each of {n} volumes needs a rotation (3, 3) and a translation (3), or as many "
            f"hypotheses of both, got {tuple(poses.rotation.shape)} and "
            f"{tuple(poses.translation.shape)}."
        )
    square = rotation @ rotation.mT
    if not (torch.isfinite(translation).all() and torch.allclose(square, torch.eye(3), atol=1e-3)):
        raise InputError("the poses to start from must be rotation matrices and finite shifts.")
    return (rotation[:, :1], translation[:, :1]) if config.everywhere else (rotation, translation)


def _halves(n: int, half: ArrayLike | None, rng: np.random.Generator) -> NDArray[np.int64]:
    """Check the halves, or make them."""
    if half is None:
        return rng.permutation(n) % 2
    side = np.asarray(half)
    if side.shape != (n,) or not np.isin(side, (0, 1)).all() or not 1 < side.sum() < n - 1:
        raise InputError(
            f"halves are given as 0 or 1 for each of {n} volumes, at least two of each."
        )
    return side.astype(np.int64)
