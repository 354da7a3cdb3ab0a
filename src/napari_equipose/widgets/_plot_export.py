"""The plot as a figure in a file."""

from pathlib import Path

import pyqtgraph as pg
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QImage, QPainter
from qtpy.QtSvg import QSvgGenerator

from .._files import atomic_path
from ..geometry import InputError
from ._plot_item import PointsItem

_DETAIL = 3
"""Pixels of a figure to one of the screen."""
_INK = "#202124"


def export_plot(canvas: pg.PlotWidget, item: PointsItem, path: Path) -> None:
    """Write a plot as it is seen, dark on white.

    Raises
    ------
    InputError
        If the suffix is neither .svg nor .png.
    """
    if path.suffix.lower() not in (".svg", ".png"):
        raise InputError(f"{path}: a figure is written as .svg or .png; choose one of these.")
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".svg":
            _write_svg(canvas, item, temporary)
        else:
            _write_png(canvas, temporary)


def _write_png(canvas: pg.PlotWidget, path: Path) -> None:
    image = QImage(canvas.size() * _DETAIL, QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(_DETAIL)
    image.fill(Qt.GlobalColor.white)
    _render(canvas, QPainter(image))
    if not image.save(str(path)):
        raise OSError(f"{path}: can't be written")


def _write_svg(canvas: pg.PlotWidget, item: PointsItem, path: Path) -> None:
    generator = QSvgGenerator()
    generator.setFileName(str(path))
    generator.setSize(canvas.size())
    generator.setViewBox(canvas.rect())
    # The axes are recorded at the screen's resolution, and would be scaled to another one.
    generator.setResolution(canvas.logicalDpiX())
    item.as_shapes = True
    try:
        _render(canvas, QPainter(generator))
    finally:
        item.as_shapes = False


def _render(canvas: pg.PlotWidget, painter: QPainter) -> None:
    axes = [canvas.getAxis(side) for side in ("bottom", "left")]
    pens = [(axis.pen(), axis.textPen()) for axis in axes]
    try:
        for axis in axes:
            axis.setPen(_INK)
            axis.setTextPen(_INK)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        canvas.render(painter, QRectF(canvas.rect()), canvas.rect())
    finally:
        painter.end()
        for axis, (pen, text_pen) in zip(axes, pens, strict=True):
            axis.setPen(pen)
            axis.setTextPen(text_pen)
