"""How the particles of one class are aligned, and how things stand in between."""

from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..geometry import Poses3D, smooth_disc_mask
from ..models import SavedModel, choose_device
from ._aligned_stack import AlignedStack
from ._alignment import AlignConfig, Alignment, AlignmentUpdate, ClassAverage
from ._averages import Chosen, Frame, Sums, Wedges, sum_halves, wedges_of
from ._encode import Encoding
from ._fourier_shell import ShellCorrelation, fourier_shell_correlation
from ._progress import Notice, Progress, Watched
from ._refinement_plan import RefinementConfig
from ._subtomogram_refinement import LEAST_VOLUMES, Refinement, refine_step_by_step
from ._symmetry_axes import find_axes

_MOST_HYPOTHESES = 8  # of the model, that a local search begins at
_BATCH = 8  # volumes

Step = Progress | Notice | AlignmentUpdate


class Stand:
    """How things stand; poses and scores are those of the model until a class is refined."""

    def __init__(
        self, found: Encoding, label: NDArray[np.int64] | None, half: NDArray[np.int64]
    ) -> None:
        self.encoding, self.label, self.half = found, label, half
        self._averages: dict[int, ClassAverage] = {}

    def rows(self, name: int) -> NDArray[np.int64]:
        """The particles of a class."""
        n = len(self.half)
        return np.arange(n) if self.label is None else np.flatnonzero(self.label == name)

    def volumes(self, stack: NDArray[Any], wedge: Wedges, name: int) -> "ClassVolumes":
        """What is known of the particles of a class."""
        rows, found = self.rows(name), self.encoding
        poses = Poses3D(*(torch.from_numpy(x[rows]) for x in (found.rotation, found.translation)))
        return ClassVolumes(Chosen(stack, rows), wedges_of(wedge, rows), self.half[rows], poses)

    def take(
        self, name: int, found: Refinement, iteration: int, independent: bool = False
    ) -> AlignmentUpdate:
        """Take what is said of a class after an iteration; tell how all stands."""
        rows, before = self.rows(name), self.encoding
        rotation, translation = before.rotation.copy(), before.translation.copy()
        score = before.score.copy()
        rotation[rows], translation[rows] = (part.numpy() for part in found.poses)
        if found.score.any():  # it has none before the first iteration
            score[rows] = found.score
        self.encoding = before._replace(rotation=rotation, translation=translation, score=score)
        shown = found.average, found.halves, found.correlation, independent
        return self.show(name, iteration, *shown)

    def show(
        self,
        name: int,
        iteration: int,
        average: NDArray[np.float32],
        halves: NDArray[np.float32],
        correlation: ShellCorrelation,
        independent: bool = False,
    ) -> AlignmentUpdate:
        """Take the average of a class; tell how all stands."""
        n = len(self.rows(name))
        self._averages[name] = ClassAverage(name, n, average, halves, correlation, independent)
        return AlignmentUpdate(name, iteration, self.alignment())

    def alignment(self) -> Alignment:
        """All of it, which later steps do not change."""
        averages = tuple(self._averages[name] for name in sorted(self._averages))
        return Alignment(self.encoding, self.label, self.half, averages)


class ClassVolumes(NamedTuple):
    """The particles of one class."""

    stack: Any  # (n, z, y, x)
    wedge: Wedges
    half: NDArray[np.int64]
    poses: Poses3D

    @property
    def can_be_refined(self) -> bool:
        """Whether there are enough of them in each half."""
        n = len(self.half)
        return n >= LEAST_VOLUMES and 1 < self.half.sum() < n - 1

    def about_axes(
        self, poses: Poses3D, settings: RefinementConfig
    ) -> Generator[Progress, None, Poses3D]:
        """Lay poses (n, ...) of a model, whose frame is arbitrary, about the axes of a symmetry."""
        frame = Frame.of(self.stack.shape[-1], settings.symmetry, settings.mask_radius)
        if len(frame.group) == 1:
            return poses
        so_far, plain = Progress(0, len(self.half), "symmetry"), frame.without_symmetry()
        totals = yield from self.add_up(self.poses, plain, so_far)
        return poses.compose(find_axes(plain.density(totals[0].plus(totals[1])), frame))

    def add_up(
        self, poses: Poses3D, frame: Frame, so_far: Progress
    ) -> Generator[Progress, None, list[Sums]]:
        """Add up each half at some poses."""
        return sum_halves(self.stack, poses, self.half, self.wedge, frame, so_far)

    def average(
        self, settings: RefinementConfig
    ) -> Generator[Progress | Refinement, None, Refinement]:
        """Average them where they are, in place of a refinement."""
        frame = Frame.of(self.stack.shape[-1], settings.symmetry, settings.mask_radius)
        poses = yield from self.about_axes(self.poses, settings)
        so_far = Progress(0, len(self.half), "averages")
        totals = yield from self.add_up(poses, frame, so_far)
        halves = np.stack([frame.density(total).numpy() for total in totals])
        average = frame.density(totals[0].plus(totals[1])).numpy()
        correlation = fourier_shell_correlation(*halves)
        unscored = np.zeros(len(self.half), np.float32)
        return Refinement(poses, unscored, self.half, halves, average, correlation)


def align_volumes(
    saved: SavedModel,
    stack: NDArray[Any],
    stand: Stand,
    name: int,
    config: AlignConfig,
    wedge: Wedges,
    device: str,
) -> Generator[Step, None, None]:
    """Refine the poses of a class, if that is wanted and it is large enough, and average it."""
    part, settings = stand.volumes(stack, wedge, name), config.refinement_of_volumes
    independent = False
    if not config.refine:
        job = part.average(settings)
    elif not part.can_be_refined:
        yield Notice(
            f"class {name} has {len(part.half)} particles, and refinement needs "
            f"{LEAST_VOLUMES}, two in each half; it is averaged at the poses that the model infers."
        )
        job = part.average(settings)
    else:
        start, independent = None, config.search != "local"
        if config.search == "local":
            start = yield from _propose(saved, part, device)
            start = yield from part.about_axes(start, settings)
        job = refine_step_by_step(part.stack, start, part.wedge, settings, part.half)
    prefix, iteration = "" if stand.label is None else f"class {name}, ", 0
    steps = Watched(job)
    for step in steps:
        if isinstance(step, Progress):
            yield step._replace(message=prefix + step.message)
        else:
            yield stand.take(name, step, iteration, independent)
            iteration += 1
    yield stand.take(name, steps.result, iteration, independent)


def average_images(
    stack: NDArray[Any], stand: Stand, name: int, config: AlignConfig
) -> Generator[Step, None, None]:
    """Average a class of images, and its halves."""
    found, rows = stand.encoding, stand.rows(name)
    aligned = AlignedStack(stack, found.rotation, found.translation, found.scale)
    sums, message = np.zeros((2, *stack.shape[1:])), "averages"
    for done, row in enumerate(rows, 1):
        sums[stand.half[row]] += aligned[row]
        yield Progress(done, len(rows), message)
    counts = np.bincount(stand.half[rows], minlength=2)
    shape = (2, *[1] * (stack.ndim - 1))
    halves = (sums / np.maximum(counts, 1).reshape(shape)).astype(np.float32)
    average = (sums.sum(0) / counts.sum()).astype(np.float32)
    mask = smooth_disc_mask(stack.shape[1], config.refinement.mask_radius, edge=3.0).numpy()
    grey = [half.mean(-1) if half.ndim == 3 else half for half in halves]
    correlation = fourier_shell_correlation(*(mask * one for one in grey))
    yield stand.show(name, 0, average, halves, correlation)


def _propose(
    saved: SavedModel, volumes: ClassVolumes, device: str
) -> Generator[Progress, None, Poses3D]:
    """Poses (n, h) that a model holds for possible, the likeliest first."""
    target, n = choose_device(device), len(volumes.half)
    propose = getattr(saved.on(target).model, "propose", None)
    if propose is None or saved.record.get("structures"):  # then they were searched for
        return volumes.poses
    parts = []
    for first in range(0, n, _BATCH):
        raw = np.stack([volumes.stack[row] for row in range(first, min(first + _BATCH, n))])
        boxes = torch.from_numpy(saved.normalisation.of_stack(raw)).to(target)
        with torch.no_grad():
            poses, _ = propose(boxes[:, None])
        each = [part.cpu().unflatten(0, (len(raw), -1))[:, :_MOST_HYPOTHESES] for part in poses]
        parts.append(each)
        yield Progress(first + len(raw), n, "hypotheses")
    return Poses3D(*(torch.cat(column) for column in zip(*parts, strict=True)))
