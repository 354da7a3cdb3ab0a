"""Averages of the structures in a mixture of volumes, from nothing but the volumes."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial.distance import squareform
from sklearn.cluster import AgglomerativeClustering
from torch import Tensor

from ..geometry import InputError, MissingWedge, Poses3D, fourier_crop, fourier_grid
from ._averages import Frame, Sums, at_rest
from ._progress import Progress, Watched
from ._refinement_plan import RefinementConfig
from ._rotation_search import Found, Search, nearby_rotations, rotations_everywhere
from ._spectra import fine_spectrum
from ._subtomogram_refinement import refine

_SIDE = 16  # voxels: so coarse a volume has all that tells rotations far apart from each other
_SHELL, _FINE_SHELL = 5, 7  # cycles per box
_STEP_DEG, _FINE_STEP_DEG = 24.0, 8.0
_LEAST_GROUP = 8  # volumes
_ROUNDS_ALONE = 3
_EVEN = torch.ones(_SIDE)


@dataclass(frozen=True, kw_only=True)
class AbInitioConfig:
    """How structures are looked for."""

    structures: int = 8
    """At most. Better too many than too few: what turns out alike is joined."""
    particles: int = 24
    """Volumes that are looked at, for each structure."""
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
        if self.particles < _LEAST_GROUP:
            raise InputError(f"particles must be at least {_LEAST_GROUP}, got {self.particles}.")
        if not self.max_shift > 0:
            raise InputError(f"max_shift must be positive, got {self.max_shift:g}.")


class Structures(NamedTuple):
    """What a mixture is made of, coarsely."""

    averages: NDArray[np.float32]  # (k, side, side, side), masked; one after the like of it
    rows: NDArray[np.int64]  # (m,) the volumes that were labelled
    label: NDArray[np.int64]  # (m,) their structures; -1 for one of its own kind
    poses: Poses3D  # (m,) in voxels of the volumes
    score: NDArray[np.float32]  # (m,) correlation with the average where measured


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
    if n < _LEAST_GROUP:
        raise InputError(f"at least {_LEAST_GROUP} volumes are needed, got {n}.")
    rng = np.random.default_rng(config.seed)
    order = rng.permutation(n)
    few = order[: config.structures * config.particles]
    many = order[: max(len(few), config.labelled)]
    size = read(few[:1]).shape[-1]
    coarse = min(_SIDE / size, 1)
    search = _Search(wedge, config.max_shift * coarse)
    small = torch.cat([_reduced(read(part)) for part in np.array_split(many, -(-len(many) // 16))])
    averages = yield from _alone(small[: len(few)], wedge, search.reach, config)
    poses, label, _ = yield from search.compare(small[: len(few)], averages, "sorting")
    averages, label = search.average(small[: len(few)], poses, label)
    averages = search.join(averages, np.bincount(label[label >= 0]), config.alike)
    poses, label, score = yield from search.compare(small, averages, "sorting again")
    averages, label = search.average(small, poses, label)
    poses = poses._replace(translation=poses.translation / coarse)
    return Structures(torch.stack(averages).numpy(), many, label, poses, score)


def _reduced(volumes: Tensor) -> Tensor:
    volumes = volumes.float()
    if volumes.shape[-1] <= _SIDE:
        return volumes
    return fourier_crop(volumes.unsqueeze(1), _SIDE).squeeze(1)


def _alone(
    volumes: Tensor, wedge: MissingWedge | None, reach: float, config: AbInitioConfig
) -> Generator[Progress, None, list[Tensor]]:
    """Average each group of volumes that have like power in their shells."""
    power = _shell_power(volumes, wedge)
    k = max(1, min(config.structures, len(volumes) // (2 * _LEAST_GROUP)))
    group = AgglomerativeClustering(k).fit_predict(power)
    members = [np.flatnonzero(group == name)[: config.particles] for name in range(k)]
    members = [rows for rows in members if len(rows) >= _LEAST_GROUP] or [np.arange(len(volumes))]
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


class _Search:
    """Finds volumes among averages, at all rotations."""

    def __init__(self, wedge: MissingWedge | None, reach: float) -> None:
        self.wedge, self.reach = wedge, reach
        self.turns = rotations_everywhere(_STEP_DEG)
        self.near = nearby_rotations(_FINE_STEP_DEG)

    def compare(
        self, volumes: Tensor, averages: list[Tensor], message: str
    ) -> Generator[Progress, None, tuple[Poses3D, NDArray[np.int64], NDArray[np.float32]]]:
        """Find each volume's best pose in its best average."""
        spectra = [fine_spectrum(average[None]) for average in averages]
        label, found = np.zeros(len(volumes), np.int64), list[Found]()
        for row, volume in enumerate(volumes):
            each = [self.find(volume, self.wedge, spectrum) for spectrum in spectra]
            label[row] = best = int(np.argmax([one.score for one in each]))
            found.append(self.improve(volume, self.wedge, spectra[best], each[best]))
            yield Progress(row + 1, len(volumes), message)
        rotation = torch.stack([one.rotation for one in found])
        translation = torch.stack([one.translation for one in found])
        score = np.array([one.score for one in found], np.float32)
        return Poses3D(rotation, translation), label, score

    def find(self, volume: Tensor, wedge: MissingWedge | None, reference: Tensor) -> Found:
        """Look at all rotations."""
        search = Search.up_to(_SHELL, _EVEN, volume.shape[-1], self.reach)
        return search.best(volume, wedge, reference, self.turns, torch.zeros(3))

    def improve(
        self, volume: Tensor, wedge: MissingWedge | None, reference: Tensor, found: Found
    ) -> Found:
        """Look at rotations near the one found."""
        search = Search.up_to(_FINE_SHELL, _EVEN, volume.shape[-1], 1.0)
        turns = found.rotation @ self.near
        return search.best(volume, wedge, reference, turns, found.translation)

    def average(
        self, volumes: Tensor, poses: Poses3D, label: NDArray[np.int64]
    ) -> tuple[list[Tensor], NDArray[np.int64]]:
        """Average the volumes of each structure; those that nearly none chose have none, -1."""
        frame = Frame.of(volumes.shape[-1])
        averages, new = list[Tensor](), np.full_like(label, -1)
        for name in range(label.max() + 1):
            rows = np.flatnonzero(label == name)
            if len(rows) < min(_LEAST_GROUP, len(label) // 2):
                continue
            total = Sums.nothing(frame.where)
            for row in rows:
                pose = poses.rotation[row], poses.translation[row]
                spectrum = fine_spectrum(volumes[row][None])
                total = total.plus(at_rest(spectrum, *pose, self.wedge, frame))
            new[rows] = len(averages)
            averages.append(frame.density(total))
        return averages, new

    def join(self, averages: list[Tensor], counts: NDArray[np.int64], alike: float) -> list[Tensor]:
        """Keep one of those that are alike, and bring each into the frame of the likest kept."""
        every = [self._laid_on_all(average, averages) for average in averages]
        likeness = np.array([[one.score for one in row] for row in every])
        likeness = np.minimum(likeness, likeness.T)
        _, kind = connected_components(likeness > alike)
        kept = [max(np.flatnonzero(kind == name), key=counts.__getitem__) for name in set(kind)]
        apart = np.maximum(1 - likeness[np.ix_(kept, kept)], 1e-6)
        np.fill_diagonal(apart, 0)
        order, parent = breadth_first_order(minimum_spanning_tree(apart), 0, directed=False)
        placed = {0: averages[kept[0]]}
        frame = Frame.of(averages[0].shape[-1])
        for child in order[1:]:
            average, like = averages[kept[child]], placed[int(parent[child])]
            (found,) = self._laid_on_all(average, [like])
            pose = found.rotation, found.translation
            placed[int(child)] = frame.density(
                at_rest(fine_spectrum(average[None]), *pose, None, frame)
            )
        if len(kept) < 3:
            return [placed[name] for name in range(len(kept))]
        tree = linkage(squareform(apart, checks=False), "average", optimal_ordering=True)
        return [placed[int(name)] for name in leaves_list(tree)]

    def _laid_on_all(self, average: Tensor, references: list[Tensor]) -> list[Found]:
        spectra = [fine_spectrum(reference[None]) for reference in references]
        return [
            self.improve(average, None, spectrum, self.find(average, None, spectrum))
            for spectrum in spectra
        ]
