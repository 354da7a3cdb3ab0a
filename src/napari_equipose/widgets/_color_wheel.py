"""A wheel that says which color stands for which direction."""

import numpy as np
from qtpy.QtCore import QPointF, QSize, Qt
from qtpy.QtGui import QColor, QConicalGradient, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from .._colors import cyclic_rgba

_STEPS = 48
_RIM = 0.3
"""Of the radius: how wide the ring is."""


class ColorWheel(QWidget):
    """A ring whose color at each angle is that of objects whose mark points there."""

    def __init__(self) -> None:
        super().__init__()
        self._fold, self._offset = 1, 0.0
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def show_angles(self, fold: int, offset: float = 0.0) -> None:
        """Say what is drawn.

        Parameters
        ----------
        fold : int
            Colors come again after such a part of a turn.
        offset : float
            By how many degrees marks are turned against the rotation that colors them.
        """
        self._fold, self._offset = fold, offset
        self.update()

    def color_at(self, degrees: float) -> QColor:
        """Color of a direction, counter-clockwise from the right."""
        red, green, blue, _ = cyclic_rgba([(degrees - self._offset) * self._fold / 360])[0].tolist()
        return QColor.fromRgbF(red, green, blue)

    def sizeHint(self) -> QSize:
        side = 4 * self.fontMetrics().height()
        return QSize(side, side)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the ring."""
        side = min(self.width(), self.height()) - 2
        middle = QPointF(self.width() / 2, self.height() / 2)
        gradient = QConicalGradient(middle, 0.0)
        for part in np.linspace(0, 1, _STEPS + 1).tolist():
            gradient.setColorAt(part, self.color_at(360 * part))
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        width = _RIM * side / 2
        painter.setPen(QPen(gradient, width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.FlatCap))
        half = (side - width) / 2
        painter.drawEllipse(middle, half, half)
        painter.end()
