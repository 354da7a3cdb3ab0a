"""What the mouse does in the plot: move the view, draw an outline, click."""

from typing import Any, Literal, get_args

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPointF, Qt, Signal
from qtpy.QtGui import QColor, QPainterPath, QPolygonF
from qtpy.QtWidgets import QGraphicsPathItem

Mode = Literal["pan", "lasso", "rectangle", "path"]
_CLOSEST = 3  # pixels between two corners of an outline drawn by hand


class PlotView(pg.ViewBox):
    """A view in which a drag moves what is shown, or draws an outline about points."""

    outlined = Signal(object, str)
    """Corners (m, 2) of what was drawn, and what to do with those inside: a `How`."""
    tapped = Signal(float, float)
    """A click that is no drag."""
    tapped_twice = Signal()

    def __init__(self) -> None:
        super().__init__(enableMenu=False)
        self.mode: Mode = "pan"
        self._corners: list[QPointF] = []
        self._drawing = False
        self._outline = QGraphicsPathItem()
        self._outline.setZValue(20)
        self._outline.hide()
        self.addItem(self._outline, ignoreBounds=True)

    def set_ink(self, ink: QColor) -> None:
        """Draw outlines in a colour."""
        self._outline.setPen(pg.mkPen(ink, width=1.5, style=Qt.PenStyle.DashLine))
        fill = QColor(ink)
        fill.setAlpha(26)
        self._outline.setBrush(fill)

    def set_mode(self, mode: Mode) -> None:
        """Say what a drag does."""
        if mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, got {mode!r}")
        self.mode = mode
        self.give_up()
        draws = mode != "pan"
        self.setCursor(Qt.CursorShape.CrossCursor if draws else Qt.CursorShape.ArrowCursor)

    def give_up(self) -> None:
        """Forget an outline that is half drawn."""
        self._drawing = False
        self._corners = []
        self._outline.hide()  # an empty one would be written into figures

    def mouseDragEvent(self, event: Any, axis: int | None = None) -> None:
        """Move the view, or draw."""
        draws = self.mode in ("lasso", "rectangle") and axis is None
        if event.button() == Qt.MouseButton.RightButton:
            event.ignore()
        elif draws and event.button() == Qt.MouseButton.LeftButton:
            event.accept()
            self._draw(event)
        else:
            super().mouseDragEvent(event, axis)

    def mouseClickEvent(self, event: Any) -> None:
        """Say where a click was."""
        if event.button() != Qt.MouseButton.LeftButton:
            event.ignore()
            return
        event.accept()
        if event.double() and self.mode != "path":
            self.tapped_twice.emit()
        elif not event.double():
            place = self.mapToView(event.pos())
            self.tapped.emit(place.x(), place.y())

    def _draw(self, event: Any) -> None:
        if event.isStart():
            self._drawing = True
            self._corners = [self.mapToView(event.buttonDownPos())]
        if not self._drawing:  # given up while the button was down
            return
        place = self.mapToView(event.pos())
        if self.mode == "rectangle":
            first = self._corners[0]
            beside, below = QPointF(place.x(), first.y()), QPointF(first.x(), place.y())
            self._corners = [first, beside, QPointF(place), below]
        elif event.isFinish() or self._is_away(place):
            self._corners.append(QPointF(place))
        path = QPainterPath()
        path.addPolygon(QPolygonF(self._corners))
        path.closeSubpath()
        self._outline.setPath(path)
        self._outline.show()
        if event.isFinish():
            corners = np.array([(corner.x(), corner.y()) for corner in self._corners])
            self.give_up()
            self.outlined.emit(corners, _how(event.modifiers()))

    def _is_away(self, place: QPointF) -> bool:
        width, height = self.viewPixelSize()
        last = self._corners[-1]
        across, along = (place.x() - last.x()) / width, (place.y() - last.y()) / height
        return bool(np.hypot(across, along) >= _CLOSEST)


def _how(modifiers: Any) -> str:
    if modifiers & Qt.KeyboardModifier.ControlModifier:
        return "remove"
    return "add" if modifiers & Qt.KeyboardModifier.ShiftModifier else "replace"
