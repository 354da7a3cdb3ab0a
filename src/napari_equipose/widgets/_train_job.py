"""What the Train panel has done in its thread; nothing here knows of Qt."""

import time
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import InputError
from ..inference import Progress, Watched
from ..models import SavedModel, load_model
from ..training import (
    EpochReport,
    Hypothesis,
    PreparedRun,
    Report,
    RunFolder,
    Started,
    TrainingRun,
    create_run,
    hypotheses,
    prepare_images,
    prepare_stack,
    train_in_child,
    train_run,
)
from ._layers import Plane
from ._queue import Waiting, take_turn

_SECONDS_BETWEEN_PICTURES = 2.0
SOON = 5.0
"""Seconds in which nothing is said of the time that is left: the first steps tell little of it."""


class Pictures(NamedTuple):
    """What the best model so far makes of a few boxes; rows of uint8 (y, x) or (y, x, 3).

    Of volumes it is their central section across z. Before there is a model, only the boxes.
    """

    boxes: list[NDArray[np.uint8]]
    drawn: list[NDArray[np.uint8]]
    at_rest: list[NDArray[np.uint8]]


class Source(NamedTuple):
    """Pixels to learn from: a snapshot, whatever becomes of form and layers."""

    name: str
    record: dict[str, Any]
    """What the model file says of them; plain JSON."""
    plane: Plane | None = None
    """A large image to take boxes from,"""
    positions: NDArray[np.float64] | None = None
    """around these places (y, x), or around candidates it proposes itself,"""
    examples: NDArray[np.float64] | None = None
    """which are like the objects at these places (y, x), if some are shown;"""
    stack: Any = None
    """or a stack of boxes (n, y, x), (n, y, x, 3) or (n, z, y, x)."""
    targets: Any = None
    """The objects of the stack at rest, where they are known; of the stack's shape."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """All that a run is given."""

    run: TrainingRun
    output: Path
    source: Source | None = None
    """None for a run that is resumed: its folder has all it needs."""
    own_process: bool = False

    @property
    def title(self) -> str:
        """What the run does."""
        return f"Learning from {self.source.name if self.source else self.output.stem}"


Work = Generator[Report | Pictures | Waiting | None, None, SavedModel]


def learn(order: Order, columns: int) -> Work:
    """Keep what was given in a run folder, train, and show now and then what has been learned.

    Parameters
    ----------
    order : Order
    columns : int
        Number of boxes to make pictures of.

    Yields
    ------
    Report, Pictures, Waiting or None
        Waiting for another job on the device; None as `train_in_child` does.

    Returns
    -------
    SavedModel
        The best model. When the generator is closed its file stays.

    Raises
    ------
    InputError
        If the source or a setting can't be used, or training diverges.
    """
    place = RunFolder.of(order.output)
    if order.source is not None:
        yield Progress(0, 1, "keeping what is learned from")
        pixels = read(order.source)
        yield None  # reading may have taken long: who was stopped meanwhile leaves no folder
        place = keep(order, order.source, pixels)
    turn = None
    try:
        turn = yield from take_turn(order.run.device, order.title)
        train = train_in_child if order.own_process else train_run
        job: Any = train(place.path, resume=order.source is None)
        saved = yield from _with_pictures(job, place, columns)
        return saved
    finally:
        if turn is not None:
            turn.release()
        elif place.state.state == "new":
            place.discard()  # it was stopped while it waited


def read(source: Source) -> NDArray[Any]:
    """Read all pixels of a source."""
    return np.asarray(source.stack) if source.plane is None else source.plane.read()


def keep(order: Order, source: Source, pixels: NDArray[Any]) -> RunFolder:
    """Make the folder of a run with a snapshot of its source."""
    return create_run(
        order.output,
        order.run,
        pixels=[pixels],
        positions=source.positions,
        examples=source.examples,
        targets=None if source.targets is None else np.asarray(source.targets),
        source=source.record,
    )


def _with_pictures(job: Work, place: RunFolder, columns: int) -> Work:
    examples: Tensor | None = None
    drawn_at, new = -np.inf, False
    with closing(Watched(job)) as reports:
        for report in reports:
            yield report
            if isinstance(report, Started):
                few = np.load(place.examples, allow_pickle=False)
                examples = torch.from_numpy(few[:columns])
                boxes = _sections(examples)
                yield Pictures(_to_bytes(boxes, _limits(boxes)), [], [])
            new = new or (isinstance(report, EpochReport) and report.best)
            if examples is None or time.monotonic() - drawn_at < _SECONDS_BETWEEN_PICTURES:
                continue
            if new:
                # The model in training can't be asked from here; its file holds the best one.
                with suppress(InputError, OSError):  # a run does not end for want of a picture
                    yield draw(load_model(place.model), examples)
                drawn_at, new = time.monotonic(), False
    if examples is not None:
        yield draw(reports.result, examples)
    return reports.result


def prepare(run: TrainingRun, source: Source) -> Generator[Progress, None, PreparedRun]:
    """Make the boxes of a run.

    Raises
    ------
    InputError
        If the source or a setting can't be used.
    """
    if source.plane is None:
        yield Progress(0, 1, "reading the boxes")
        return prepare_stack(replace(run, box_size=None), np.asarray(source.stack))
    looking = source.positions is None
    yield Progress(0, 1, "looking for objects" if looking else "cutting boxes")
    positions = None if source.positions is None else [source.positions]
    examples = None if source.examples is None else [source.examples]
    return prepare_images(run, [source.plane.read()], positions, examples=examples)


def preview(run: TrainingRun, source: Source) -> Generator[Progress | None, None, list[Hypothesis]]:
    """Say what the objects of an image may be.

    Raises
    ------
    InputError
        If nothing recurs.
    """
    assert run.box_size is not None and source.plane is not None
    yield Progress(0, 1, "looking for what recurs")
    pixels = source.plane.read()
    yield None
    return hypotheses([pixels], run.box_size, run.polarity)


@torch.no_grad()
def draw(saved: SavedModel, boxes: Tensor) -> Pictures:
    """Make pictures of normalised boxes (n, channels, [z,] y, x) as a model sees them."""
    posterior = saved.model.infer(boxes)
    drawn = saved.model.generate(posterior.content, posterior.poses, boxes.shape[-1])
    at_rest = saved.model.generate(posterior.content, None, boxes.shape[-1])
    boxes, drawn, at_rest = (_sections(pictures) for pictures in (boxes, drawn, at_rest))
    limits = _limits(torch.cat((drawn, at_rest)))
    return Pictures(
        _to_bytes(boxes, _limits(boxes)), _to_bytes(drawn, limits), _to_bytes(at_rest, limits)
    )


def _sections(boxes: Tensor) -> Tensor:
    """Pictures (n, channels, y, x) of images, or of the middles of volumes."""
    return boxes if boxes.ndim == 4 else boxes[:, :, boxes.shape[2] // 2]


def _limits(pictures: Tensor) -> tuple[float, float]:
    low, high = np.percentile(pictures.numpy(), (0.5, 99.5))
    return float(low), float(max(high, low + 1e-6))


def _to_bytes(pictures: Tensor, limits: tuple[float, float]) -> list[NDArray[np.uint8]]:
    low, high = limits
    scaled = ((pictures - low) / (high - low)).clamp(0, 1).mul(255).round().to(torch.uint8)
    rows = scaled.permute(0, 2, 3, 1).numpy()
    return list(rows if rows.shape[-1] == 3 else rows[..., 0])


def time_left(seconds: float) -> str:
    """Say how long something will take, in words; empty where it is not known."""
    if not np.isfinite(seconds):
        return ""
    if seconds < 60:
        return f"{max(round(seconds), 1)} s left"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s left"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:02.0f} min left"
