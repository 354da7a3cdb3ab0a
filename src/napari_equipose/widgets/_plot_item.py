"""The points of the plot as one item of its scene, drawn anew for each view."""

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRect, QRectF
from qtpy.QtGui import QColor, QImage, QPainter, QPen

from ._density import Bounds, dots
from ._plot_points import Layer, PlotPoints


class PointsItem(pg.GraphicsObject):
    """Draws points pixel on pixel.

    What was drawn is kept for as long as view and points stay the same, so that an outline that
    follows the cursor above them costs little.
    """

    def __init__(self) -> None:
        super().__init__()
        self.points = PlotPoints()
        self.as_shapes = False
        """Whether dots are drawn as shapes; for files that hold such."""
        self._key: object = None
        self._images: list[tuple[QImage, float]] = []

    def changed(self) -> None:
        """Draw anew, since the points are others."""
        self._key = None
        self.update()

    def boundingRect(self) -> QRectF:
        """All that the view shows."""
        return QRectF(self.viewRect())

    def viewRangeChanged(self) -> None:
        """Draw anew, since other points are seen."""
        self.prepareGeometryChange()
        self.update()

    def paint(self, painter: QPainter, *_: object) -> None:
        """Draw what the view shows."""
        to_device = painter.transform()
        target = to_device.mapRect(QRectF(self.viewRect())).toAlignedRect()
        back, possible = to_device.inverted()
        if not possible or target.isEmpty():
            return
        area = back.mapRect(QRectF(target))
        bounds = Bounds(area.left(), area.right(), area.top(), area.bottom())
        shape = (target.height(), target.width())
        painter.save()
        painter.resetTransform()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        if self.as_shapes:
            for layer in self.points.layers(bounds, shape):
                _paint_shapes(painter, target, layer, self.points.near(bounds))
        else:
            ratio = painter.device().devicePixelRatioF()
            key = (bounds, shape, ratio)
            if key != self._key:
                self._images, self._key = self._draw(bounds, shape, ratio), key
            for image, opacity in self._images:
                painter.setOpacity(opacity)
                painter.drawImage(QRectF(target), image)
        painter.restore()

    def _draw(
        self, bounds: Bounds, shape: tuple[int, int], ratio: float
    ) -> list[tuple[QImage, float]]:
        images = []
        near = self.points.near(bounds)
        fine = (round(shape[0] * ratio), round(shape[1] * ratio))
        for layer in self.points.layers(bounds, shape):
            if layer.density is not None:
                images.append((_image_of(layer.density), layer.opacity))
            picture = dots(layer.dots, near, fine, layer.radius * ratio)
            images.append((_image_of(picture), layer.opacity))
        return images


def _paint_shapes(painter: QPainter, target: QRect, layer: Layer, near: Bounds) -> None:
    painter.setOpacity(layer.opacity)
    if layer.density is not None:
        painter.drawImage(QRectF(target), _image_of(layer.density))
    x = target.left() + (layer.dots.x - near.x0) * (target.width() / (near.x1 - near.x0))
    y = target.top() + (near.y1 - layer.dots.y) * (target.height() / (near.y1 - near.y0))
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    for centre_x, centre_y, rgb in zip(x, y, layer.dots.rgb.T, strict=True):
        colour = QColor(*(int(level) for level in rgb))
        painter.setPen(QPen(colour.darker(180), 0.5))
        painter.setBrush(colour)
        painter.drawEllipse(QPointF(centre_x, centre_y), layer.radius, layer.radius)


def _image_of(picture: NDArray[np.uint8]) -> QImage:
    height, width = picture.shape[:2]
    kind = QImage.Format.Format_RGBA8888_Premultiplied
    return QImage(picture.data, width, height, picture.strides[0], kind).copy()
