"""Averages of the structures in a mixture of volumes, from nothing but the volumes."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from types import NoneType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import InputError, MissingWedge, Poses, Poses3D, check_type, fourier_grid
from ._progress import Progress, Watched
from ._refinement_plan import RefinementConfig
from ._structure_search import LEAST_GROUP, StructureSearch, coarseness, reduced
from ._subtomogram_refinement import refine

_ROUNDS_ALONE = 3


@dataclass(frozen=True, kw_only=True)
class AbInitioConfig:
    """How structures are looked for."""

    structures: int = 8
    """At most. Better too many than too few: what turns out alike is joined."""
    particles: int = 24
    """Volumes that are looked at, for each structure."""
    rounds: int = 2
    """In which so many volumes choose among the structures, before all do."""
    labelled: int = 1000
    """At most so many volumes are given a pose and a structure at the end."""
    alike: float = 0.92
    """Averages that correlate more are one structure."""
    max_shift: float = 3.0
    """Voxels along each axis."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.structures < 1:
            raise InputError(f"structures must be at least 1, got {self.structures}.")
        if self.particles < LEAST_GROUP:
            raise InputError(f"particles must be at least {LEAST_GROUP}, got {self.particles}.")
        if self.rounds < 1:
            raise InputError(f"rounds must be at least 1, got {self.rounds}.")
        if not self.max_shift > 0:
            raise InputError(f"max_shift must be positive, got {self.max_shift:g}.")


class Structures(NamedTuple):
    """What a mixture is made of, coarsely."""

    averages: NDArray[np.float32]  # of volumes (k, side, side, side), masked, like beside like;
    # of images (k, channels, y, x), as they are
    rows: NDArray[np.int64]  # (m,) the volumes that were labelled
    label: NDArray[np.int64]  # (m,) their structures; -1 for one of its own kind
    poses: Poses | Poses3D  # (m,) in pixels of the boxes
    score: NDArray[np.float32]  # (m,) correlation with the average where measured
    scale: NDArray[np.float32] | None = None  # (m,) of images, where it was looked for
    by_chance: float = 0.0  # sum of the squares of the scores of decoys that chose a structure

    def members(self) -> "Structures":
        """Leave out those that are of their own kind."""
        known = np.flatnonzero(self.label >= 0)
        poses: Any = self.poses
        return self._replace(
            rows=self.rows[known],
            label=self.label[known],
            poses=type(poses)(*(part[torch.from_numpy(known)] for part in poses)),
            score=self.score[known],
            scale=None if self.scale is None else self.scale[known],
        )


def ab_initio(
    read: Callable[[NDArray[np.int64]], Tensor],
    n: int,
    wedge: MissingWedge | None = None,
    config: AbInitioConfig | None = None,
) -> Generator[Progress, None, Structures]:
    """Find the structures in a mixture of volumes, without references.

    Volumes are sorted by what no rotation changes, the power of their Fourier shells. Each group
    is averaged from random rotations on. Then volumes choose, among the averages of all groups
    and all rotations, what they correlate with best; and averages are made anew. All on volumes
    of 16 voxels: it is a start for what goes on more finely, within some 20 degrees.

    Parameters
    ----------
    read : callable
        Returns some of the volumes, shape (m, z, y, x), normalised alike.
    n : int
        How many volumes there are; at least 8.
    wedge : MissingWedge, optional
        What was measured; all by default.
    config : AbInitioConfig, optional

    Yields
    ------
    Progress

    Returns
    -------
    Structures

    Raises
    ------
    InputError
        If there are too few volumes.
    """
    config = config or AbInitioConfig()
    check_type("read", read, Callable)
    check_type("n", n, int)
    check_type("wedge", wedge, MissingWedge, NoneType)
    check_type("config", config, AbInitioConfig)
    if n < LEAST_GROUP:
        raise InputError(f"at least {LEAST_GROUP} volumes are needed, got {n}.")
    return _ab_initio(read, n, wedge, config)


def _ab_initio(
    read: Callable[[NDArray[np.int64]], Tensor],
    n: int,
    wedge: MissingWedge | None,
    config: AbInitioConfig,
) -> Generator[Progress, None, Structures]:
    rng = np.random.default_rng(config.seed)
    order = rng.permutation(n)
    few = order[: config.structures * config.particles]
    many = order[: max(len(few), config.labelled)]
    size = read(few[:1]).shape[-1]
    coarse = coarseness(size)
    search = StructureSearch(wedge, config.max_shift * coarse)
    small = torch.cat([reduced(read(part)) for part in np.array_split(many, -(-len(many) // 16))])
    averages = yield from _alone(small, wedge, search.reach, config)
    for number in range(config.rounds):
        message = f"sorting, round {number + 1} of {config.rounds}"
        poses, label, _ = yield from search.compare(small[: len(few)], averages, message)
        averages, label = search.average(small[: len(few)], poses, label)
        averages = search.join(averages, np.bincount(label[label >= 0]), config.alike)
    poses, label, score = yield from search.compare(small, averages, "sorting all")
    averages, label = search.average(small, poses, label)
    poses = poses._replace(translation=poses.translation / coarse)
    return Structures(torch.stack(averages).numpy(), many, label, poses, score)


def _alone(
    volumes: Tensor, wedge: MissingWedge | None, reach: float, config: AbInitioConfig
) -> Generator[Progress, None, list[Tensor]]:
    """Average each group of volumes that have like power in their shells."""
    power = _shell_power(volumes, wedge)
    k = max(1, min(config.structures, len(volumes) // (2 * LEAST_GROUP)))
    from sklearn.cluster import AgglomerativeClustering  # a second, which most runs do not want

    group = AgglomerativeClustering(k).fit_predict(power)
    members = [np.flatnonzero(group == name)[: config.particles] for name in range(k)]
    members = [rows for rows in members if len(rows) >= LEAST_GROUP] or [np.arange(len(volumes))]
    settings = RefinementConfig(
        iterations=_ROUNDS_ALONE, everywhere=_ROUNDS_ALONE, max_shift=reach, seed=config.seed
    )
    averages, done, total = list[Tensor](), 0, sum(len(rows) for rows in members)
    for rows in members:
        job = Watched(refine(volumes[rows].numpy(), None, wedge, settings))
        for progress in job:
            part = progress.done / progress.total * len(rows)
            yield Progress(int(done + part), total, "looking for structures")
        averages.append(torch.from_numpy(job.result.average))
        done += len(rows)
    return averages


def _shell_power(volumes: Tensor, wedge: MissingWedge | None) -> NDArray[np.float64]:
    """Logarithm of the mean power (n, shells) of the measured part of each shell, standardised."""
    side = volumes.shape[-1]
    frequency = fourier_grid(side)
    shell = frequency.norm(dim=-1).round()
    measured = torch.ones_like(shell, dtype=torch.bool)
    if wedge is not None:
        measured = wedge.measures(frequency.reshape(-1, 3)).reshape(shell.shape).bool()
    power = torch.fft.rfftn(volumes, dim=(1, 2, 3)).abs().square()
    shells = [power[:, measured & (shell == radius)].mean(1) for radius in range(side // 2)]
    logs = torch.stack(shells, 1).clamp(min=1e-12).log().double().numpy()
    spread: NDArray[np.float64] = (logs - logs.mean(0)) / np.maximum(logs.std(0), 1e-9)
    return spread
