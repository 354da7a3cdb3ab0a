"""Whether the objects of a class look the same after a part of a turn; a part of the panel."""

from math import pi
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QPen
from qtpy.QtWidgets import QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from .._colors import class_rgba
from ..geometry import InputError
from ..inference import RotationProfile
from ._forms import Choice, Form, named
from ._ink import InkedPlot
from ._latent_job import Lying
from ._latent_state import NO_CLASS
from ._symmetry_job import ClassSymmetry, look_for_symmetry

_NAME = "equipose.latent."
_GREY = "#80868c"
_FLOOR = 0.25  # radius of likeness 0: of -1/3 it is the middle
_EDGE = 1.28
_MOST = 6  # curves that one plot can show


class PolarPlot(InkedPlot):
    """How well objects fit after each turn: the farther from the middle, the better."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(230)
        self.setMenuEnabled(False)
        self.hideButtons()
        self.setMouseEnabled(x=False, y=False)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        for side in ("left", "bottom"):
            self.getPlotItem().hideAxis(side)
        self.setAspectLocked(True)
        self.setRange(QRectF(-_EDGE, -_EDGE, 2 * _EDGE, 2 * _EDGE), padding=0)
        self._curves: list[pg.PlotDataItem] = []
        self._degrees: list[pg.TextItem] = []
        turn = np.linspace(0, 2 * pi, 181)
        for radius, style in ((_FLOOR, Qt.PenStyle.DotLine), (1.0, Qt.PenStyle.SolidLine)):
            pen = pg.mkPen(_GREY, style=style)
            self.plot(radius * np.cos(turn), radius * np.sin(turn), pen=pen)
        for degrees in range(0, 360, 30):
            x, y = np.cos(degrees * pi / 180), np.sin(degrees * pi / 180)
            self.plot([_FLOOR * x, x], [_FLOOR * y, y], pen=pg.mkPen(_GREY, width=0.5))
            text = pg.TextItem(f"{degrees}°", anchor=(0.5, 0.5))
            text.setPos(1.14 * x, 1.14 * y)
            self.addItem(text)
            self._degrees.append(text)

    def take_ink(self, ink: QColor) -> None:
        """Write in the color of the text about the plot."""
        super().take_ink(ink)
        for text in self._degrees:
            text.setColor(ink)

    def show_profiles(self, profiles: list[tuple[RotationProfile, QColor]]) -> None:
        """Show curves in their colours, in place of those before."""
        for curve in self._curves:
            self.removeItem(curve)
        self._curves = []
        for profile, colour in profiles:
            x, y = _outline(profile)
            pen = QPen(colour)
            pen.setWidthF(2)
            pen.setCosmetic(True)
            self._curves.append(self.plot(x, y, pen=pen))

    @property
    def outlines(self) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """What is drawn: x and y of each curve."""
        return [curve.getData() for curve in self._curves]


def _outline(profile: RotationProfile) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    radius = np.clip(_FLOOR + (1 - _FLOOR) * profile.likeness, 0, 1.1)
    radius, angle = np.append(radius, radius[:1]), np.append(profile.angle, profile.angle[:1])
    return radius * np.cos(angle), radius * np.sin(angle)


class SymmetryPart(QWidget):
    """Asks of a class, or of each, whether it looks symmetric, and shows why.

    Parameters
    ----------
    panel : LatentWidget
        Whose state, source and jobs are used.
    """

    def __init__(self, panel: Any) -> None:
        super().__init__()
        self._panel, self._state, self._source = panel, panel.state, panel.source
        self.which = named(
            Choice({"the selection": "selection", "each class": "classes"}),
            f"{_NAME}symmetry_of",
            "Of which objects it is asked: those that are selected, or those of each class.",
        )
        self.look = named(
            QPushButton("Look for symmetry"),
            f"{_NAME}symmetry",
            "Turn what the model draws of each object all around over its box, and see after\n"
            "which turns it fits as well as it lies best. Of images, not of volumes.",
        )
        self.polar = named(
            PolarPlot(),
            f"{_NAME}polar",
            "How well the objects fit after each turn, by the angle: the circle is as well as\n"
            "they lie best, the dotted one as well as after any turn. A symmetric object has\n"
            "as many petals as its symmetry is fold.",
        )
        self.verdict = named(
            QLabel(), f"{_NAME}verdict", "Which symmetry the objects look to have, and how surely."
        )
        self.verdict.setWordWrap(True)
        self.verdict.setTextFormat(Qt.TextFormat.RichText)
        form = Form()
        form.add("Of", self.which, self.look)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (form, self.verdict, self.polar):
            layout.addWidget(widget)
        self.polar.hide()
        self.look.clicked.connect(self._look)
        self._state.rows_changed.connect(self._clear)
        self._source.changed.connect(self._offer)
        self._offer()

    def _offer(self) -> None:
        self.look.setEnabled(self._source.saved is not None and self._source.dimensions == 2)

    def _clear(self) -> None:
        self.polar.hide()
        self.verdict.setText("")

    def _look(self) -> None:
        try:
            labels, rows = self._asked()
            lying, content = Lying.of(self._source, rows), self._state.content[rows]
        except Exception as error:
            self._panel.refuse(error)
            return
        work = look_for_symmetry(self._source.saved, lying, content, labels[rows])
        self._panel.do("Looking for symmetry", work, self._show_found)

    def _asked(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Class of each object, and the rows that are asked about."""
        state = self._state
        if self.which.value == "classes":
            labels = np.where(state.shown, state.classes, NO_CLASS)
            if not (labels != NO_CLASS).any():
                raise InputError("there are no classes yet; sort the objects first.")
        else:
            labels = np.where(state.selected, 0, NO_CLASS)
            if not state.selected.any():
                raise InputError("no object is selected; draw a lasso around some first.")
        known = np.isfinite(state.content).all(1)
        return labels, np.flatnonzero((labels != NO_CLASS) & known)

    def _show_found(self, found: list[ClassSymmetry]) -> None:
        each = self.which.value == "classes"
        colours = [QColor.fromRgbF(*map(float, class_rgba([one.label])[0])) for one in found]
        self.polar.show_profiles(
            [(one.profile, colour) for one, colour in zip(found, colours, strict=True)][:_MOST]
        )
        lines = []
        for one, colour in zip(found, colours, strict=True):
            name = f"Class {one.label}" if each else f"{one.n} objects"
            lines.append(
                f"<span style='color: {colour.name()}'>●</span> {name}: {say_symmetry(one)}"
            )
        self.verdict.setText("<br>".join(lines))
        self.polar.show()
        self._panel.show_progress(1, "")


def say_symmetry(one: ClassSymmetry) -> str:
    """Put what was found into words."""
    fold, sure = one.symmetry
    likely = "almost surely" if sure > 0.99 else f"with {sure:.0%} by the noise"
    if fold == 0:
        return "round, or too little is seen to tell"
    if fold == 1:
        return f"no symmetry, {likely}"
    return f"looks {fold}-fold symmetric, {likely}"
