"""What the Align panel has done in its thread; nothing here knows of Qt."""

import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import MissingWedge
from ..inference import (
    AlignConfig,
    AlignedStack,
    Alignment,
    AlignmentUpdate,
    Progress,
    Watched,
    align,
    pixel_size_notice,
    place_back,
)
from ..models import SavedModel, load_model
from ..training import pixel_size_of_layer
from ._align_particles import Particles, gather
from ._align_view import Stage
from ._queue import take_turn
from ._train_job import SOON, Order, learn


class Learned(NamedTuple):
    """The model that was trained first."""

    saved: SavedModel
    path: Path


@dataclass(frozen=True, kw_only=True)
class AlignOrder:
    """All that a run is given."""

    particles: Particles
    config: AlignConfig
    wedge: MissingWedge | list[MissingWedge] | None
    """One for all, or one for each particle."""
    device: str
    folder: Path
    """Where boxes go that are too many for memory."""
    saved: SavedModel | None = None
    """The model; None where one is trained first."""
    model_name: str = ""
    training: Order | None = None
    """The run to begin, or to go on with, where there is no model."""

    @property
    def title(self) -> str:
        """What the run does."""
        return f"Aligning {self.particles.name}"


class Aligned(NamedTuple):
    """What there is of a run, at its end or where it was stopped."""

    saved: SavedModel | None
    boxes: NDArray[Any] | None
    alignment: Alignment | None
    iteration: int | None
    """Of the class that was worked on when the run was stopped; None where it came to its end."""

    @property
    def stack(self) -> AlignedStack:
        """The boxes at rest."""
        assert self.boxes is not None and self.alignment is not None
        found = self.alignment.encoding
        scale = found.scale if found.rotation.ndim == 1 else None
        return AlignedStack(self.boxes, found.rotation, found.translation, scale)


class AlignRun:
    """One run: its generator, and what there is of it so far.

    Parameters
    ----------
    order : AlignOrder
    columns : int
        Number of boxes to make pictures of while a model learns.
    """

    def __init__(self, order: AlignOrder, columns: int) -> None:
        self._order, self._columns = order, columns
        self._saved = order.saved
        self._boxes: NDArray[Any] | None = None
        self._update: AlignmentUpdate | None = None
        self._mean: NDArray[np.float32] | None = None

    def work(self) -> Generator[Any, None, Aligned]:
        """Read the boxes, train a model if there is none, and align.

        Yields
        ------
        Progress, Notice, Waiting, Stage, Learned, what `learn` yields, or None

        Raises
        ------
        InputError
            If boxes or settings can't be used.
        """
        order = self._order
        boxes = yield from gather(order.particles, order.folder)
        self._boxes = boxes
        self._mean = _mean(boxes)
        saved = order.saved
        if order.training is not None:
            saved = yield from self._learn(order.training, boxes)
        else:
            assert saved is not None
            size = pixel_size_of_layer(order.particles.place)
            yield pixel_size_notice(saved, size, order.particles.name)
        assert saved is not None
        turn = yield from take_turn(order.device, order.title)
        try:
            job = Watched(align(saved, boxes, order.config, wedge=order.wedge, device=order.device))
            try:
                for step in job:
                    yield step
                    if isinstance(step, AlignmentUpdate):
                        self._update = step
                        yield self._stage(step.alignment, step.label)
            finally:
                job.close()
        finally:
            turn.release()
        found = job.result
        yield self._stage(found, found.averages[0].label)
        return Aligned(saved, boxes, found, None)

    def _learn(self, training: Order, boxes: NDArray[Any]) -> Generator[Any, None, SavedModel]:
        if training.source is not None:
            training = replace(training, source=training.source._replace(stack=boxes))
        saved = yield from learn(training, self._columns)
        self._saved = saved
        yield Learned(saved, training.output)
        return saved

    def _stage(self, found: Alignment, label: int) -> Stage:
        assert self._mean is not None
        return Stage(self._mean, found.averages, label, found.label is not None)

    def so_far(self) -> Aligned:
        """What there is of a run that was stopped or failed."""
        saved, training = self._saved, self._order.training
        if saved is None and training is not None and training.output.is_file():
            saved = load_model(training.output)
        found = self._update
        if found is None:
            return Aligned(saved, None, None, 0)
        return Aligned(saved, self._boxes, found.alignment, found.iteration)


def _mean(boxes: NDArray[Any]) -> NDArray[np.float32]:
    total = np.zeros(boxes.shape[1:])
    for box in boxes:
        total += box
    return (total / max(len(boxes), 1)).astype(np.float32)


class Placing(NamedTuple):
    """Averages to put into a volume."""

    averages: list[NDArray[np.float32]]
    positions: NDArray[np.float64]
    """Of the objects (z, y, x) in the tomogram's voxels."""
    rotations: NDArray[np.float32]
    labels: NDArray[np.int64]
    shape: tuple[int, ...]


def place(placing: Placing) -> Generator[Progress, None, NDArray[np.float32]]:
    """Put the average of its class at the place of each particle.

    Yields
    ------
    Progress

    Returns
    -------
    array, shape (z, y, x)
    """
    yield Progress(0, 1, "placing back")
    return place_back(*placing)


class Clock:
    """How long a job still takes, by what it reports."""

    def __init__(self) -> None:
        self._began, self._first = 0.0, 0
        self._last: Progress | None = None

    def seconds_left(self, report: Progress) -> float:
        """Seconds from now to the end of what is reported; nan where it is not known."""
        now, last = time.monotonic(), self._last
        new = last is None or report.total != last.total or report.done < last.done
        if new:
            self._began, self._first = now, report.done
        self._last = report
        done = report.done - self._first
        if done < 1 or now - self._began < SOON:
            return float("nan")
        return (now - self._began) / done * (report.total - report.done)
