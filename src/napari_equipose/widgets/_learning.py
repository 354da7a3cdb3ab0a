"""How far a training is and what it has learned: for every panel that trains."""

import time
from typing import Any

from qtpy.QtWidgets import QVBoxLayout, QWidget

from ..inference import Progress
from ..training import EpochReport, Started, StepReport
from ._forms import named
from ._pictures import LossCurve, PictureRows
from ._train_job import SOON, Pictures, time_left


class LearningView(QWidget):
    """The curve of the loss and the pictures, hidden until something is learned.

    Parameters
    ----------
    room : str
        Word that object names begin with.
    """

    def __init__(self, room: str) -> None:
        super().__init__()
        self.started: Started | None = None
        self.epoch = 0
        """The last one that ended."""
        self._note, self._began = "", 0.0
        self._new_round = False
        self.curve = named(
            LossCurve(),
            f"equipose.{room}.curve",
            "How well the boxes are explained, in nats per box; lower is better. When the curve\n"
            "of boxes held out levels off, there is little more to learn. The dot is the model\n"
            "that is kept.",
        )
        self.pictures = named(
            PictureRows(), f"equipose.{room}.pictures", "What the model has learned."
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.curve)
        layout.addWidget(self.pictures)
        self.curve.hide()
        self.hide()

    def begin(self, note: str = "") -> None:
        """Show a run; ``note`` says what its boxes are of."""
        self.started, self.epoch, self._new_round, self._note = None, 0, False, note
        self.pictures.show_pictures([], [], [])
        self.show()

    def clear_curve(self) -> None:
        """Forget the losses of an earlier run."""
        self.curve.clear_all()
        self.curve.last_epoch = 0
        self.curve.hide()

    @property
    def boxes(self) -> str:
        """How many boxes are learned from, in words."""
        assert self.started is not None
        return count_boxes(self.started.boxes, self._note)

    @property
    def stopped(self) -> str:
        """When a run was stopped, in words."""
        of = self.started.epochs if self.started else 0
        return f"after epoch {self.epoch} of {of}" if self.epoch else ""

    def take(self, report: Any) -> tuple[float, str] | None:
        """Show a report of a training.

        Returns
        -------
        (float, str) or None
            Which part is done, from 0 to 1, and a text of it, where there is news of that.
        """
        if isinstance(report, Started):
            self.started, self._began = report, time.monotonic()
            return 0.0, f"Learning from {self.boxes} …"
        if isinstance(report, StepReport | EpochReport):
            return self._take_training(report)
        if isinstance(report, Pictures):
            self.pictures.show_pictures(*report)
        elif isinstance(report, Progress):
            self._new_round = self.started is not None
        return None

    def _take_training(self, report: StepReport | EpochReport) -> tuple[float, str]:
        assert self.started is not None
        epochs = self.started.epochs
        done, current = float(report.epoch), report.epoch
        if isinstance(report, EpochReport):
            if self._new_round:  # of other boxes, so that the losses don't compare
                self.curve.clear_all()
                self._new_round = False
            self.curve.add(report.epoch, report.loss, report.validation_loss, report.best)
            self.curve.show()
            self.epoch = report.epoch
        else:
            done, current = report.epoch + report.step / report.steps, report.epoch + 1
        known = time.monotonic() - self._began >= SOON
        left = time_left(report.seconds_left) if known else ""
        lines = [f"Epoch {current} of {epochs}, {self.boxes}", left]
        return done / epochs, "\n".join(filter(None, lines))


def count_boxes(boxes: int, note: str) -> str:
    """Say how many boxes there are, and of what."""
    return f"{boxes} boxes{f' of {note}' if note else ''}"
