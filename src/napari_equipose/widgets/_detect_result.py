"""The objects of one layer, and from which score on they are shown: a part of the Detect panel."""

from typing import Any

import numpy as np
import pandas as pd
import pyqtgraph as pg
from napari.layers import Points, Vectors
from numpy.typing import NDArray
from qtpy.compat import isalive
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QLabel, QPushButton, QSizePolicy
from superqt import QLabeledDoubleSlider

from ._color_wheel import ColorWheel
from ._forms import Choice, Form, LayerChoice, named
from ._ink import InkedPlot
from ._object_edits import ObjectEdits, edits_of, record_of, show_from, tie_arrows

_NAME = "equipose.detect."
_MIN_BINS, _MAX_BINS = 8, 40
_HIDDEN, _SHOWN = "#808890", "#ff9f40"
_COLUMNS = ("rotation", "score", "class")
_FINEST = 1e-3


def has_scores(layer: Any) -> bool:
    """Whether a layer is one of points with scores."""
    if not isinstance(layer, Points) or "score" not in layer.features or not len(layer.data):
        return False
    return bool(pd.api.types.is_numeric_dtype(layer.features["score"]))


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
        bins = int(np.clip(2 * np.sqrt(len(score)), _MIN_BINS, _MAX_BINS))
        counts, edges = np.histogram(score, bins, (low, high))
        self._middles = (edges[:-1] + edges[1:]) / 2
        self._bars.setOpts(x=self._middles, height=counts, width=edges[1] - edges[0])
        self._line.blockSignals(True)
        self._line.setBounds((low, high))
        self._line.blockSignals(False)
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
    """The scores of the objects of a layer, the least that is shown, and how many that are.

    It follows the layer that is selected in the viewer, and holds nothing of it.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers are offered.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._edits: ObjectEdits | None = None
        self._build()
        self._arrange()
        for field in self._fields:
            self.show_row(field, False)
        self.objects.picked.connect(self._bind)
        self.threshold.valueChanged.connect(self._on_least)
        self.scores.moved.connect(self.threshold.setValue)
        self.color.activated.connect(self._on_color)
        self.ends.activated.connect(self._on_ends)
        self.undo.clicked.connect(self._undo)
        viewer.layers.selection.events.active.connect(self._on_active)
        self._bind()
        self._on_active()

    def _build(self) -> None:
        self.objects = named(
            LayerChoice(self._viewer, has_scores),
            f"{_NAME}objects",
            "The points layer whose objects are shown or hidden: the one that is selected in the\n"
            "viewer, if it has scores.",
        )
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
            "better the object explains the pixels than background does; 1 is perfect. Objects\n"
            "of unknown score, such as those added by hand, stay.",
        )
        self.threshold.setDecimals(3)
        self.threshold.setRange(0.0, 1.0)
        self.count = named(QLabel(), f"{_NAME}count", "How many objects are shown.")
        self.count.setWordWrap(True)
        self.undo = named(QPushButton("Undo"), f"{_NAME}undo", "Take the last edit back.")
        self.save = named(
            QPushButton("Save table …"),
            f"{_NAME}save",
            "Write the objects that are shown: .csv, .star (RELION); of an image also .box (EMAN)\n"
            "and .txt (Topaz). Opened again in napari, .csv and .star have their arrows too.",
        )
        self.color = named(
            Choice(), f"{_NAME}color", "The feature that colors points and arrows in the viewer."
        )
        self.ends = named(
            Choice({"one head": 1, "two heads": 2}),
            f"{_NAME}ends",
            "Two heads are for objects that look the same after half a turn, such as rods: their\n"
            "angle is known up to half a turn, and so are the colors. Detect looks for itself\n"
            "whether the objects it finds are such.",
        )
        self.wheel = named(
            ColorWheel(),
            f"{_NAME}wheel",
            "The color of objects whose arrows point in each direction.",
        )

    def _arrange(self) -> None:
        self.add("Objects", self.objects)
        fields = [self.add("Scores", self.scores), self.add("Least score", self.threshold)]
        fields += [self.add("Shown", self.count, self.undo), self.add("", self.save)]
        fields.append(self.add("Color by", self.color, self.wheel))
        self._ends_row = self.add("Arrows", self.ends)
        self._fields = (*fields, self._ends_row)

    @property
    def points(self) -> Any:
        """The layer whose objects are shown, or None."""
        return self.objects.layer

    def _on_active(self, event: Any = None) -> None:
        """Go over to the layer that is selected, or to that of the arrows that are."""
        if not isalive(self):
            self.detach()
            return
        active = self._viewer.layers.selection.active
        if isinstance(active, Vectors) and (mark := record_of(active).get("result")):
            same = (x for x in self._viewer.layers if record_of(x).get("result") == mark)
            active = next((x for x in same if isinstance(x, Points)), None)
        if active is not None and has_scores(active):
            self.objects.value = active.unique_id

    def _bind(self) -> None:
        """Show another layer, or none."""
        if self._edits is not None:
            self._edits.changed.disconnect(self._show, missing_ok=True)
            self._edits.history.changed.disconnect(self._show_steps, missing_ok=True)
        points = self.points
        self._edits = None
        for field in self._fields:
            self.show_row(field, points is not None)
        self.setEnabled(points is not None)
        if points is None:
            self.count.setText("")
            return
        tie_arrows(self._viewer.layers)
        self._edits = edits_of(points)
        self._edits.changed.connect(self._show)
        self._edits.history.changed.connect(self._show_steps)
        self._offer_columns(points)
        self._show()
        self._show_steps()

    def _show(self, what: str = "rows") -> None:
        """Show what the layer says now."""
        if not isalive(self):
            self.detach()
            return
        points = self.points
        if points is None or "score" not in points.features:
            return
        if what != "drawn":
            self._show_scores(points)
        n, shown = len(points.data), int(np.sum(points.shown))
        unknown = int(points.features["score"].isna().sum())
        text = f"{shown} of {n} objects"
        self.count.setText(f"{text}, {unknown} of unknown score" if unknown else text)
        record = record_of(points)
        fold = int(record.get("fold") or 1)
        cyclic = record.get("color") == "rotation" and "rotation" in points.features
        self.wheel.setVisible(cyclic)
        self.wheel.show_angles(fold, float(record.get("arrow_offset") or 0.0))
        self.ends.value = fold
        self.show_row(self._ends_row, "rotation" in points.features and bool(record))
        self.color.value = record.get("color")

    def _show_scores(self, points: Any) -> None:
        score = points.features["score"].to_numpy(np.float64, na_value=np.nan)
        score = score[np.isfinite(score)]
        low, high = (float(score.min()), float(score.max())) if len(score) else (0.0, 1.0)
        high = max(high, low + _FINEST)
        shown = np.asarray(points.shown, bool)
        least = record_of(points).get("min_score")
        if least is None:
            hidden = points.features["score"].to_numpy(np.float64, na_value=np.nan)[~shown]
            least = low if shown.all() else float(np.nanmax(hidden))
        self.threshold.blockSignals(True)
        self.threshold.setRange(low, high)
        self.threshold.setSingleStep((high - low) / 100)
        self.threshold.setValue(float(np.clip(least, low, high)))
        self.threshold.blockSignals(False)
        self.scores.show_scores(score, low, high)
        self.scores.show_least(self.threshold.value())

    def _offer_columns(self, points: Any) -> None:
        self.color.clear()
        for name in _COLUMNS:
            if name in points.features:
                self.color.addItem(name, name)

    def _on_least(self) -> None:
        points = self.points
        if points is not None:
            least = self.threshold.value()
            self.scores.show_least(least)
            show_from(points, least)
            self._show("drawn")

    def _on_color(self) -> None:
        if self._edits is not None:
            self._edits.color_by(self.color.value)

    def _on_ends(self) -> None:
        points = self.points
        if self._edits is not None and record_of(points):
            record_of(points)["fold"] = self.ends.value
            self._edits.color_by(record_of(points).get("color"))

    def _undo(self) -> None:
        if self._edits is not None:
            self._edits.history.undo()

    def _show_steps(self) -> None:
        if not isalive(self) or self._edits is None:
            return
        step = self._edits.history.next_undo
        self.undo.setEnabled(bool(step))
        what = f"Take back: {step}" if step else "Nothing was done to these objects"
        self.undo.setToolTip(f"{what} (Ctrl+Z while the layer is selected).")

    def detach(self) -> None:
        """Listen to the viewer and to the layer no more."""
        self.objects.detach()
        self._viewer.layers.selection.events.active.disconnect(self._on_active)
        if self._edits is not None:
            self._edits.changed.disconnect(self._show, missing_ok=True)
            self._edits.history.changed.disconnect(self._show_steps, missing_ok=True)
            self._edits = None
