"""Marks above the points of the plot: a ring about one of them, and a path."""

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF

_LIGHT, _DARK = QColor("#ffffff"), QColor(20, 22, 26, 220)
_RING = 7.5
_CORNER, _FIRST = 3.5, 5.5


class MarksItem(pg.GraphicsObject):
    """Light lines on dark ones, so that they are seen on whatever lies below.

    pyqtgraph's own symbols are pictures, which do not come into a file of shapes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._current: tuple[float, float] | None = None
        self._path = np.zeros((0, 2))

    def set_current(self, place: tuple[float, float] | None) -> None:
        """Ring a place."""
        self._current = place
        self.update()

    def set_path(self, path: NDArray[np.float64]) -> None:
        """Draw a line from corner to corner (m, 2); the first is the largest."""
        self._path = path
        self.update()

    def boundingRect(self) -> QRectF:
        """All that the view shows."""
        return QRectF(self.viewRect())

    def viewRangeChanged(self) -> None:
        """Draw where the places are now."""
        self.prepareGeometryChange()
        self.update()

    def paint(self, painter: QPainter, *_: object) -> None:
        """Draw ring and path."""
        place = painter.transform().map
        path = [place(QPointF(x, y)) for x, y in self._path.tolist()]
        painter.save()
        ring = None if self._current is None else QPointF(*self._current)
        inside = ring is not None and self.viewRect().contains(ring)
        spot = place(ring) if inside else None
        painter.resetTransform()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for colour, wider in ((_DARK, 1.5), (_LIGHT, 0.0)):
            painter.setPen(QPen(colour, 2 + 2 * wider))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            if spot is not None:
                painter.drawEllipse(spot, _RING, _RING)
            if len(path) > 1:
                painter.drawPolyline(QPolygonF(path))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour)
            for index, corner in enumerate(path):
                radius = (_CORNER if index else _FIRST) + wider
                painter.drawEllipse(corner, radius, radius)
        painter.restore()
