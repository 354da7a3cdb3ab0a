"""Volumes found among a few structures, at all rotations."""

from collections.abc import Generator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import MissingWedge, Poses3D, fourier_crop
from ._averages import Frame, Sums, at_rest
from ._in_a_row import in_a_row, keep_unlike, neighbours
from ._progress import Progress
from ._rotation_search import (
    Found,
    Search,
    Stage,
    fit,
    fit_best,
    nearby_rotations,
    rotations_everywhere,
)
from ._spectra import fine_spectrum

SIDE = 16  # voxels: so coarse a volume has all that tells rotations far apart from each other
LEAST_GROUP = 8  # volumes
_SHELL, _FINE_SHELL = 5, 7  # cycles per box
_STEP_DEG, _FINE_STEP_DEG = 24.0, 8.0


def reduced(volumes: Tensor) -> Tensor:
    """Bin volumes (n, z, y, x) to what is searched; `coarseness` says by how much."""
    volumes = volumes.float()
    if volumes.shape[-1] <= SIDE:
        return volumes
    return fourier_crop(volumes.unsqueeze(1), SIDE).squeeze(1)


def coarseness(size: int) -> float:
    """Voxels that are searched, of one voxel of a box."""
    return min(SIDE / size, 1.0)


class StructureSearch:
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
        coarse, fine = self.stages(volumes.shape[-1])
        for row, volume in enumerate(volumes):
            label[row], one = fit_best(volume, self.wedge, spectra, [coarse], [fine])
            found.append(one)
            yield Progress(row + 1, len(volumes), message)
        rotation = torch.stack([one.rotation for one in found])
        translation = torch.stack([one.translation for one in found])
        score = np.array([one.score for one in found], np.float32)
        return Poses3D(rotation, translation), label, score

    def stages(self, side: int) -> tuple[Stage, Stage]:
        """Look at all rotations, and at those near the best."""
        even = torch.ones(SIDE)
        return (
            Stage(Search.up_to(_SHELL, even, side, self.reach), self.turns),
            Stage(Search.up_to(_FINE_SHELL, even, side, 1.0), self.near),
        )

    def average(
        self, volumes: Tensor, poses: Poses3D, label: NDArray[np.int64]
    ) -> tuple[list[Tensor], NDArray[np.int64]]:
        """Average the volumes of each structure; those that nearly none chose have none, -1."""
        frame = Frame.of(volumes.shape[-1])
        averages, new = list[Tensor](), np.full_like(label, -1)
        for name in range(label.max() + 1):
            rows = np.flatnonzero(label == name)
            if len(rows) < min(LEAST_GROUP, len(label) // 2):
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
        kept = keep_unlike(likeness, counts, alike)
        likeness = likeness[np.ix_(kept, kept)]
        placed = {0: averages[kept[0]]}
        frame = Frame.of(averages[0].shape[-1])
        for child, parent in neighbours(likeness):
            average = averages[kept[child]]
            (found,) = self._laid_on_all(average, [placed[parent]])
            pose = found.rotation, found.translation
            placed[child] = frame.density(at_rest(fine_spectrum(average[None]), *pose, None, frame))
        return [placed[name] for name in in_a_row(likeness)]

    def _laid_on_all(self, average: Tensor, references: list[Tensor]) -> list[Found]:
        stages = self.stages(average.shape[-1])
        spectra = [fine_spectrum(reference[None]) for reference in references]
        return [fit(average, None, spectrum, stages) for spectrum in spectra]
