"""The points of the plot as one item of its scene, drawn anew for each view."""

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRect, QRectF
from qtpy.QtGui import QColor, QImage, QPainter, QPen

from ._density import Bounds, Layer, dots
from ._plot_points import PlotPoints

_FADED = 0.22
"""Opacity of all others where some points stand out."""


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
        self._images: list[tuple[QImage, QRectF, float]] = []

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
                self._paint_shapes(painter, target, layer, bounds)
        else:
            ratio = painter.device().devicePixelRatioF()
            key = (bounds, shape, ratio)
            if key != self._key:
                self._images, self._key = self._draw(bounds, shape, ratio), key
            for image, rectangle, opacity in self._images:
                painter.setOpacity(opacity)
                painter.drawImage(rectangle.translated(QPointF(target.topLeft())), image)
        painter.restore()

    def _draw(
        self, bounds: Bounds, shape: tuple[int, int], ratio: float
    ) -> list[tuple[QImage, QRectF, float]]:
        images = []
        near = self.points.near(bounds)
        fine = (round(shape[0] * ratio), round(shape[1] * ratio))
        for layer in self.points.layers(bounds, shape):
            opacity = self._opacity(layer)
            if layer.density is not None:
                image = _image_of(layer.density)
                images.append((image, _rectangle(image, layer.grain), opacity))
            image = _image_of(dots(layer.dots, near, fine, layer.radius * ratio))
            images.append((image, _rectangle(image, 1 / ratio), opacity))
        return images

    def _paint_shapes(self, painter: QPainter, target: QRect, layer: Layer, bounds: Bounds) -> None:
        painter.setOpacity(self._opacity(layer))
        if layer.density is not None:
            image = _image_of(layer.density)
            place = _rectangle(image, layer.grain).translated(QPointF(target.topLeft()))
            painter.drawImage(place, image)
        near = self.points.near(bounds)
        points = layer.dots.take(layer.dots.inside(near))
        x = target.left() + (points.x - near.x0) * (target.width() / (near.x1 - near.x0))
        y = target.top() + (near.y1 - points.y) * (target.height() / (near.y1 - near.y0))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        rows = zip(x.tolist(), y.tolist(), points.rgb.T.tolist(), strict=True)
        for centre_x, centre_y, rgb in rows:
            colour = QColor(*rgb)
            painter.setPen(QPen(colour.darker(180), 0.5))
            painter.setBrush(colour)
            painter.drawEllipse(QPointF(centre_x, centre_y), layer.radius, layer.radius)

    def _opacity(self, layer: Layer) -> float:
        return _FADED if self.points.some_selected and not layer.chosen else 1.0


def _rectangle(image: QImage, pixel: float) -> QRectF:
    return QRectF(0, 0, image.width() * pixel, image.height() * pixel)


def _image_of(picture: NDArray[np.uint8]) -> QImage:
    height, width = picture.shape[:2]
    kind = QImage.Format.Format_RGBA8888_Premultiplied
    return QImage(picture.data, width, height, picture.strides[0], kind).copy()
