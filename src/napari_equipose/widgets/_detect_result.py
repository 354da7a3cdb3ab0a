"""What was found, and from which score on it is shown: a part of the Detect panel."""

from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QLabel, QPushButton, QSizePolicy
from superqt import QLabeledDoubleSlider

from ._forms import Form, named
from ._ink import InkedPlot

_NAME = "equipose.detect."
_FEWEST_BINS, _MOST_BINS = 8, 40
_HIDDEN, _SHOWN = "#80868c", "#ff9f40"


class ScoreHistogram(InkedPlot):
    """How many objects have which score; a line that can be moved marks the least that is shown."""

    moved = Signal(float)
    """A person moved the line to a score."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumHeight(90)
        self.setMaximumHeight(110)
        self.setMenuEnabled(False)
        self.hideButtons()
        self.setMouseEnabled(x=False, y=False)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.getPlotItem().hideAxis("left")  # only the shape tells
        self._bars = pg.BarGraphItem(x=[0.0], height=[0], width=1.0)
        self._line = pg.InfiniteLine(angle=90, movable=True)
        self.addItem(self._bars)
        self.addItem(self._line)
        self._middles: NDArray[Any] = np.zeros(1)
        self._line.sigPositionChanged.connect(lambda line: self.moved.emit(float(line.value())))

    def take_ink(self, ink: QColor) -> None:
        """Draw in the color of the text about the plot."""
        super().take_ink(ink)
        self._line.setPen(pg.mkPen(ink, width=2))
        self._line.setHoverPen(pg.mkPen(ink, width=3))

    def show_scores(self, score: NDArray[Any], low: float, high: float) -> None:
        """Count objects by score."""
        bins = int(np.clip(2 * np.sqrt(len(score)), _FEWEST_BINS, _MOST_BINS))
        counts, edges = np.histogram(score, bins, (low, high))
        self._middles = (edges[:-1] + edges[1:]) / 2
        self._bars.setOpts(x=self._middles, height=counts, width=edges[1] - edges[0])
        self._line.setBounds((low, high))
        self.setXRange(low, high, padding=0.02)
        self.setYRange(0, max(int(counts.max()), 1), padding=0.05)

    def show_least(self, least: float) -> None:
        """Mark a score, and what lies below it."""
        self._line.blockSignals(True)
        self._line.setValue(least)
        self._line.blockSignals(False)
        brushes = [_SHOWN if middle >= least else _HIDDEN for middle in self._middles]
        self._bars.setOpts(brushes=brushes, pen=None)

    @property
    def counts(self) -> NDArray[Any]:
        """What is drawn: objects by score."""
        return np.asarray(self._bars.opts["height"])


class DetectResult(Form):
    """The scores of what was found, the least that is shown, and how many that are."""

    least_changed = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.scores = named(
            ScoreHistogram(),
            f"{_NAME}scores",
            "How many objects have which score. Chance fits crowd at low scores: move the line to\n"
            "where they end.",
        )
        self.threshold: Any = named(
            QLabeledDoubleSlider(Qt.Orientation.Horizontal),
            f"{_NAME}threshold",
            "Objects of a lower score are hidden; move it and see. The score says how much\n"
            "better the object explains the pixels than background does; 1 is perfect.",
        )
        self.threshold.setDecimals(3)
        self.threshold.setRange(0.0, 1.0)
        self.count = named(QLabel(), f"{_NAME}count", "How many objects are shown.")
        self.save = named(
            QPushButton("Save table …"),
            f"{_NAME}save",
            "Write the objects that are shown: .csv, .star (RELION); of an image also .box (EMAN)\n"
            "and .txt (Topaz).",
        )
        self._scores_row = self.add("Scores", self.scores)
        self.add("Least score", self.threshold)
        self.add("Shown", self.count, self.save)
        self.show_row(self._scores_row, False)
        self.setEnabled(False)
        self.threshold.valueChanged.connect(self._on_least)
        self.scores.moved.connect(self.threshold.setValue)

    def show_found(self, score: NDArray[Any], threshold: float) -> None:
        """Show the scores of what was found, and begin with those from a threshold on."""
        low, high = float(score.min()), float(score.max())
        high = max(high, low + 1e-3)
        self.setEnabled(True)
        self.scores.show_scores(score, low, high)
        self.show_row(self._scores_row, True)
        self.threshold.setRange(low, high)
        self.threshold.setSingleStep((high - low) / 100)
        self.threshold.setValue(threshold)
        self._on_least()

    def _on_least(self) -> None:
        least = self.threshold.value()
        self.scores.show_least(least)
        self.least_changed.emit(least)
