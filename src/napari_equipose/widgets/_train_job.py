"""What the Train panel has done in its thread; nothing here knows of Qt."""

import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..inference import Progress
from ..models import SavedModel, load_model
from ..training import (
    EpochReport,
    PreparedRun,
    StepReport,
    TrainingRun,
    checkpoint_path,
    prepare_images,
    prepare_stack,
    train_prepared,
)
from ._layers import Plane

_SECONDS_BETWEEN_PICTURES = 2.0


class Preparing(NamedTuple):
    """The boxes are being made."""

    message: str


class Pictures(NamedTuple):
    """What the best model so far makes of a few boxes; rows of uint8 (y, x) or (y, x, 3)."""

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
    """around these places (y, x), or around candidates it proposes itself;"""
    stack: Any = None
    """or a stack of boxes (n, y, x) or (n, y, x, 3)."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """All that a run is given."""

    run: TrainingRun
    source: Source
    output: Path
    prepared: PreparedRun | None = None
    """Of a run that is resumed in the same session: the very same boxes."""
    resume: bool = False


Report = Preparing | PreparedRun | Progress | StepReport | EpochReport | Pictures


def learn(order: Order, columns: int) -> Generator[Report, None, SavedModel]:
    """Make boxes, train on them, and show now and then what has been learned.

    Parameters
    ----------
    order : Order
    columns : int
        Number of boxes to make pictures of.

    Yields
    ------
    Preparing, PreparedRun, Progress, StepReport, EpochReport or Pictures

    Returns
    -------
    SavedModel
        The best model. When the generator is closed its file stays.

    Raises
    ------
    InputError
        If the source or a setting can't be used, or training diverges.
    """
    prepared = order.prepared
    if prepared is None:
        prepared = yield from prepare(order.run, order.source)
    yield prepared
    run = order.run
    job = train_prepared(
        prepared,
        output=order.output,
        kind=run.model,
        device=run.device,
        resume=order.resume,
        source={"run": asdict(run), **order.source.record},
    )
    examples = _examples(prepared.boxes, columns, run.seed)
    drawn_at, new = -np.inf, False
    try:
        while True:
            try:
                report = next(job)
            except StopIteration as end:
                saved: SavedModel = end.value
                yield draw(saved, examples)
                return saved
            yield report
            new = new or (isinstance(report, EpochReport) and report.best)
            if new and time.monotonic() - drawn_at > _SECONDS_BETWEEN_PICTURES:
                # The model in training can't be asked from here; its file holds the best one.
                yield draw(load_model(order.output), examples)
                drawn_at, new = time.monotonic(), False
    finally:
        job.close()


def prepare(run: TrainingRun, source: Source) -> Generator[Preparing, None, PreparedRun]:
    """Make the boxes of a run.

    Raises
    ------
    InputError
        If the source or a setting can't be used.
    """
    if source.plane is None:
        yield Preparing("Reading the boxes")
        return prepare_stack(replace(run, box_size=None), np.asarray(source.stack))
    yield Preparing("Looking for objects" if source.positions is None else "Cutting boxes")
    positions = None if source.positions is None else [source.positions]
    return prepare_images(run, [source.plane.read()], positions)


def can_resume(output: Path) -> bool:
    """Whether a run of this model file was stopped and can go on."""
    first_round = output.with_name(f"{output.stem}.round1.safetensors")
    return checkpoint_path(output).is_file() or first_round.is_file()


def _examples(boxes: Tensor, columns: int, seed: int) -> Tensor:
    """Take a few boxes, always the same of one run."""
    order = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(seed))
    return boxes[order[:columns]]


@torch.no_grad()
def draw(saved: SavedModel, boxes: Tensor) -> Pictures:
    """Make pictures of normalised boxes (n, channels, y, x) as a model sees them."""
    posterior = saved.model.infer(boxes)
    drawn = saved.model.generate(posterior.content, posterior.poses, boxes.shape[-1])
    at_rest = saved.model.generate(posterior.content, None, boxes.shape[-1])
    limits = _limits(torch.cat((drawn, at_rest)))
    return Pictures(
        _to_bytes(boxes, _limits(boxes)), _to_bytes(drawn, limits), _to_bytes(at_rest, limits)
    )


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
