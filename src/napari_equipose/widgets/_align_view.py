"""What an alignment looks like: averages, how far they agree, and particles before and after."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget
from superqt import QLabeledSlider

from ..inference import ClassAverage, ShellCorrelation
from ._forms import Choice, Form, named
from ._ink import InkedPlot
from ._pictures import PictureRow, grey_levels, sections

_THRESHOLD = 0.143
_SLAB = 4  # of the middle of a volume a part of so many is shown, since one plane is mostly noise
_LOW, _HIGH = -0.1, 1.05


class ShellCurve(InkedPlot):
    """Correlation of two half-averages by frequency, and where it falls below 0.143."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumHeight(150)
        self.setMaximumHeight(180)
        self.setMenuEnabled(False)
        self.hideButtons()
        self.setMouseEnabled(x=False, y=False)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.getPlotItem().showGrid(x=False, y=True, alpha=0.15)
        self.getPlotItem().getAxis("bottom").enableAutoSIPrefix(False)  # no thousandths of 1/nm
        self._line = pg.InfiniteLine(_THRESHOLD, angle=0)
        self.addItem(self._line)
        self._curve = self.plot(pen=pg.mkPen("#ff9f40", width=2))
        self.setYRange(_LOW, _HIGH, padding=0)

    def take_ink(self, ink: QColor) -> None:
        """Draw in the color of the text about the plot."""
        super().take_ink(ink)
        self._line.setPen(pg.mkPen(ink, style=Qt.PenStyle.DashLine))

    def show_correlation(
        self, found: ShellCorrelation, voxel: tuple[float, str], volumes: bool
    ) -> None:
        """Show the curve in the unit of the layer."""
        length, unit = voxel
        item = self.getPlotItem()
        item.setLabel("left", "FSC" if volumes else "FRC")
        item.setLabel("bottom", f"spatial frequency (1/{unit})")
        frequency = found.frequency / length
        self._curve.setData(frequency, found.correlation)
        self.setXRange(0, float(frequency[-1]), padding=0.02)

    @property
    def points(self) -> tuple[Any, Any]:
        """What is drawn: frequencies and correlations."""
        frequency, correlation = self._curve.getData()
        return frequency, correlation


def resolution_text(found: ClassAverage, voxel: tuple[float, str]) -> str:
    """Say up to which detail the halves agree, and whether that is optimistic."""
    detail, (length, unit) = found.correlation.resolution(), voxel
    if not np.isfinite(detail):
        return "the halves do not agree"
    text = f"the halves agree up to {detail * length:.3g} {unit} (0.143)"
    return "; ".join(filter(None, (text, found.caveat)))


class Stage(NamedTuple):
    """How an alignment stands: what is shown while it goes on, and at its end."""

    unaligned: NDArray[np.float32]
    """The mean of all boxes as they are, or of their middles."""
    averages: tuple[ClassAverage, ...]
    label: int
    """The class that is worked on."""
    classes: bool
    """Whether there are several."""


class AlignView(QWidget):
    """Unaligned mean and average, their curve, and a slider through the particles."""

    _TIPS = (
        "The mean of all boxes as they were cut; of volumes the sections across z, y and x.",
        "The average of the boxes at their poses: the sharper, the better they are aligned.",
        "The particle of the slider as it was cut, and aligned; of volumes a slab of the middle.",
    )

    def __init__(self) -> None:
        super().__init__()
        self._voxel = (1.0, "pixel")
        self._stage: Stage | None = None
        self._boxes: Any = None
        self._aligned: Any = None
        self.mean, self.average = PictureRow(3), PictureRow(3)
        self.pair = PictureRow(2)
        self.curve = named(
            ShellCurve(),
            "equipose.align.agreement",
            "How well the averages of two halves of the particles agree, by detail: 1 is the\n"
            "same, 0 chance. The dashed line is 0.143; finer detail than where the curve falls\n"
            "below it is noise.",
        )
        self.resolution = named(
            QLabel(), "equipose.align.resolution", "Where the curve falls below 0.143."
        )
        self.shown = named(
            Choice(), "equipose.align.shown", "The class whose average and curve are shown."
        )
        self.particle = named(
            QLabeledSlider(Qt.Orientation.Horizontal),
            "equipose.align.particle",
            "The particle that is shown before and after; the layers' own slider goes through\n"
            "all of them too.",
        )
        self.resolution.setWordWrap(True)
        pictures = QGridLayout()
        pictures.setHorizontalSpacing(6)
        pictures.setVerticalSpacing(2)
        pictures.setColumnStretch(1, 1)
        rows = {"unaligned": self.mean, "average": self.average, "particle": self.pair}
        for row, ((text, widget), tip) in enumerate(zip(rows.items(), self._TIPS, strict=True)):
            label = QLabel(text)
            for part in (label, widget):
                part.setToolTip(tip)
            pictures.addWidget(label, row, 0)
            pictures.addWidget(widget, row, 1)
        self._form = Form()
        self._form.setToolTip(self.particle.toolTip())
        self._class_row = self._form.add("Class", self.shown)
        self._particle_row = self._form.add("Particle", self.particle)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(pictures)
        for part in (self._form, self.curve, self.resolution):
            layout.addWidget(part)
        self.shown.currentIndexChanged.connect(self._draw)
        self.particle.valueChanged.connect(self._draw_particle)
        self.hide()

    def begin(self, voxel: tuple[float, str]) -> None:
        """Show nothing yet of a new run."""
        self._voxel, self._stage = voxel, None
        self._boxes = self._aligned = None
        for row in (self.mean, self.average, self.pair):
            row.show_pictures([])
        self.shown.clear()
        self.resolution.setText("")
        self._form.show_row(self._class_row, False)
        self._form.show_row(self._particle_row, False)
        self.hide()

    def show_stage(self, stage: Stage) -> None:
        """Show how things stand; the class that is worked on comes to the front."""
        self._stage = stage
        labels = [one.label for one in stage.averages]
        self.shown.blockSignals(True)
        self.shown.clear()
        for one in stage.averages:
            self.shown.addItem(f"class {one.label}, {one.n} particles", one.label)
        self.shown.value = stage.label if stage.label in labels else None
        self.shown.blockSignals(False)
        self._form.show_row(self._class_row, stage.classes)
        self.show()
        self._draw()

    def show_particles(self, boxes: Any, aligned: Any) -> None:
        """Let the slider go through boxes as they were cut, and as they are aligned."""
        self._boxes, self._aligned = boxes, aligned
        self.particle.setRange(0, len(boxes) - 1)
        self._form.show_row(self._particle_row, True)
        self._draw_particle()

    def _draw(self) -> None:
        if self._stage is None:
            return
        self.mean.show_pictures(grey_levels(sections(self._stage.unaligned)))
        found = [one for one in self._stage.averages if one.label == self.shown.value]
        for one in found:
            self.average.show_pictures(grey_levels(sections(one.average)))
            self.curve.show_correlation(one.correlation, self._voxel, _is_volume(one.average))
            self.resolution.setText(f"{one.n} particles; {resolution_text(one, self._voxel)}")

    def _draw_particle(self) -> None:
        if self._boxes is not None:
            row = self.particle.value()
            both = [_slab(np.asarray(stack[row])) for stack in (self._boxes, self._aligned)]
            self.pair.show_pictures(_each_grey(both))


def _is_volume(box: NDArray[Any]) -> bool:
    return box.ndim == 3 and box.shape[-1] != 3


def _slab(box: NDArray[Any]) -> NDArray[Any]:
    """Mean over the middle of a volume across z; an image as it is."""
    if not _is_volume(box):
        return box
    side = len(box)
    half = max(side // (2 * _SLAB), 1)
    return np.asarray(box[side // 2 - half : side // 2 + half].mean(0))


def _each_grey(pictures: Sequence[NDArray[Any]]) -> list[NDArray[np.uint8]]:
    return [grey_levels([one])[0] for one in pictures]
