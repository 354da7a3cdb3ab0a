"""What a training run yields, and how it reads in a log."""

from typing import Any, NamedTuple

from ..inference import Notice, Progress
from ._fit import EpochReport, StepReport


class Started(NamedTuple):
    """The boxes are there, and training begins."""

    boxes: int
    box_size: int
    epochs: int
    """At most."""


Report = Started | StepReport | EpochReport | Progress | Notice


def describe(report: Any) -> str:
    """One line for a log; empty for what is only of the moment."""
    if isinstance(report, Started):
        size = report.box_size
        return (
            f"training on {report.boxes} boxes of {size} x {size} pixels, "
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
