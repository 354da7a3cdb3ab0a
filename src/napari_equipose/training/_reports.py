"""What a training run yields, and how it reads in a log."""

from typing import Any, NamedTuple

from ..inference import Notice, Progress


class Started(NamedTuple):
    """The boxes are there, and training begins."""

    boxes: int
    box_size: int
    epochs: int
    """At most."""


class StepReport(NamedTuple):
    """Where training is within an epoch."""

    epoch: int
    step: int
    steps: int
    loss: float
    seconds_left: float


class EpochReport(NamedTuple):
    """What one epoch came to; losses are in nats per image."""

    epoch: int
    epochs: int
    loss: float
    validation_loss: float
    parts: dict[str, float]
    """Named parts of the validation loss."""
    learning_rate: float
    seconds: float
    """Since training began, without the time between runs."""
    seconds_left: float
    best: bool
    """Whether this is the lowest validation loss so far."""


Report = Started | StepReport | EpochReport | Progress | Notice


def describe(report: Any) -> str:
    """One line for a log; empty for what is only of the moment."""
    if isinstance(report, Started):
        return (
            f"training on {report.boxes} boxes with sides of {report.box_size} pixels, "
            f"at most {report.epochs} epochs"
        )
    if isinstance(report, EpochReport):
        best = ", the best so far" if report.best else ""
        return (
            f"epoch {report.epoch} of {report.epochs}: loss {report.loss:.4g}, "
            f"of boxes held out {report.validation_loss:.4g}{best}"
        )
    if isinstance(report, Notice | Progress):
        return report.message
    return ""
