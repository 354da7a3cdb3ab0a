"""Refine the poses of subtomograms against their own average, two halves kept apart."""

from collections.abc import Generator
from types import NoneType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..geometry import InputError, Poses3D, check_array, check_type
from ._averages import (
    Frame,
    Sums,
    Wedges,
    at_rest,
    check_volumes,
    read_volume,
    sum_halves,
    wedge_of,
)
from ._fourier_shell import ShellCorrelation, fourier_shell_correlation
from ._half_frames import Halves, compare_halves, into_one_frame
from ._progress import Progress, Watched
from ._refinement_plan import Plan, RefinementConfig, plan_iteration
from ._spectra import fine_spectrum
from ._symmetry_axes import find_axes

LEAST_VOLUMES = 8
_OF_ALL_HYPOTHESES = 2  # iterations; after them a particle keeps its best


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
    return _progress_of(Watched(refine_step_by_step(volumes, poses, wedge, config, half)))


def _progress_of(
    job: Watched[Progress | Refinement, Refinement],
) -> Generator[Progress, None, Refinement]:
    for step in job:
        if isinstance(step, Progress):
            yield step
    return job.result


def refine_step_by_step(
    volumes: NDArray[Any],
    poses: Poses3D | None = None,
    wedge: Wedges = None,
    config: RefinementConfig | None = None,
    half: ArrayLike | None = None,
) -> Generator[Progress | Refinement, None, Refinement]:
    """Refine as `refine` does, and show how things stand before each iteration.

    Yields
    ------
    Progress
        After each particle.
    Refinement
        Before each iteration, of poses and scores as they are; its average is that of the two
        halves' averages.
    """
    config = config or RefinementConfig()
    check_type("config", config, RefinementConfig)
    check_type("poses", poses, Poses3D, NoneType)
    check_array("volumes", volumes)
    check_volumes(volumes, wedge)
    rng = np.random.default_rng(config.seed)
    rotation, translation = _start(volumes, poses, config, rng)
    side = _halves(len(volumes), half, rng)
    frame = Frame.of(volumes.shape[-1], config.symmetry, config.mask_radius)
    # a symmetry about axes that are not found yet would make another object
    axes_to_find = len(frame.group) > 1 and config.everywhere > 0
    particles = _Particles(
        *(volumes, wedge, side, frame.without_symmetry() if axes_to_find else frame),
        *(rotation, translation, np.zeros(len(volumes), np.float32)),
    )
    return _steps(particles, config, frame if axes_to_find else None)


def _steps(
    particles: "_Particles", config: RefinementConfig, symmetric: Frame | None
) -> Generator[Progress | Refinement, None, Refinement]:
    """Refine particles; those of a symmetry whose axes are not found yet, first without it."""
    side, axes_to_find = particles.side, symmetric is not None
    n, apart = len(side), config.everywhere > 0
    whole = (config.iterations + 2 + axes_to_find) * n
    totals = yield from particles.add_up(particles.poses, Progress(0, whole, "start"))
    halves = compare_halves(totals, Poses3D.identity(1), particles.frame, apart)
    for iteration in range(config.iterations):
        yield particles.as_they_are(halves)
        plan = plan_iteration(config, iteration, halves.correlation, particles.frame.size)
        if iteration == _OF_ALL_HYPOTHESES:
            particles = particles.with_one_hypothesis()
        message = f"iteration {iteration + 1} of {config.iterations}"
        past = iteration + 1 + (axes_to_find and iteration >= config.everywhere)
        totals = yield from particles.improve(plan, totals, Progress(past * n, whole, message))
        halves = compare_halves(totals, halves.drift, particles.frame, apart)
        if symmetric is not None and iteration + 1 == config.everywhere:
            particles = particles.about_axes(halves, symmetric)
            so_far = Progress((past + 1) * n, whole, "symmetry")
            totals = yield from particles.add_up(particles.poses, so_far)
            apart = False
            halves = compare_halves(totals, Poses3D.identity(1), symmetric, apart)
    final = into_one_frame(particles.poses, side, halves.drift)
    totals = yield from particles.add_up(final, Progress(whole - n, whole, "averages"))
    averages = np.stack([particles.frame.density(total).numpy() for total in totals])
    average = particles.frame.density(totals[0].plus(totals[1])).numpy()
    correlation = fourier_shell_correlation(*averages)
    return Refinement(final, particles.score, side, averages, average, correlation)


class _Particles(NamedTuple):
    """What is refined, and how far it has come; poses and scores are changed in place."""

    volumes: NDArray[Any]
    wedge: Wedges
    side: NDArray[np.int64]
    frame: Frame
    rotation: Tensor  # (n, h, 3, 3), hypotheses, the best first
    translation: Tensor  # (n, h, 3)
    score: NDArray[np.float32]

    @property
    def poses(self) -> Poses3D:
        """The best hypothesis of each."""
        return Poses3D(self.rotation[:, 0], self.translation[:, 0])

    def with_one_hypothesis(self) -> "_Particles":
        """Forget all but the best."""
        return self._replace(rotation=self.rotation[:, :1], translation=self.translation[:, :1])

    def about_axes(self, halves: Halves, frame: Frame) -> "_Particles":
        """Lay the object, and with it all poses, about the axes of the symmetry of a frame."""
        average = torch.from_numpy(halves.averages.mean(0))
        lie = find_axes(average, frame)
        poses = into_one_frame(self.poses, self.side, halves.drift).compose(lie)
        one = Poses3D(poses.rotation[:, None], poses.translation[:, None])
        return self._replace(frame=frame, rotation=one.rotation, translation=one.translation)

    def add_up(self, poses: Poses3D, so_far: Progress) -> Generator[Progress, None, list[Sums]]:
        """Add up each half at some poses."""
        return sum_halves(self.volumes, poses, self.side, self.wedge, self.frame, so_far)

    def as_they_are(self, halves: Halves) -> Refinement:
        """Tell how things stand."""
        poses = into_one_frame(self.poses, self.side, halves.drift)
        average = halves.averages.mean(0)
        return Refinement(
            poses, self.score.copy(), self.side, halves.averages, average, halves.correlation
        )

    def improve(
        self, plan: Plan, totals: list[Sums], so_far: Progress
    ) -> Generator[Progress, None, list[Sums]]:
        """Improve all poses against the totals of the halves; return the next totals."""
        frame, following = self.frame, [Sums.nothing(self.frame.where) for _ in range(2)]
        for row, half in enumerate(self.side):
            volume, wedge = read_volume(self.volumes, row), wedge_of(self.wedge, row)
            rotation, translation = self.rotation[row], self.translation[row]
            spectrum = fine_spectrum(volume[None])
            # its own noise would draw a particle to where it is
            own = at_rest(spectrum, rotation[0], translation[0], wedge, frame)
            reference = fine_spectrum(frame.density(totals[half] - own)[None])
            found = plan.improve(volume, wedge, reference, rotation, translation)
            rotation.copy_(torch.stack([one.rotation for one in found]))
            translation.copy_(torch.stack([one.translation for one in found]))
            self.score[row] = found[0].score
            own = at_rest(spectrum, rotation[0], translation[0], wedge, frame)
            following[half] = following[half].plus(own)
            yield so_far._replace(done=so_far.done + row + 1)
        return following


def _start(
    volumes: NDArray[Any], poses: Poses3D | None, config: RefinementConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Check the start; rotation (n, h, 3, 3) and translation (n, h, 3)."""
    n = len(volumes)
    if n < LEAST_VOLUMES:
        raise InputError(f"refinement needs at least {LEAST_VOLUMES} volumes, got {n}.")
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
