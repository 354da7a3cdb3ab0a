"""Plots in the colors of the theme: text, axes and lines as dark or bright as the text about."""

from typing import Any

import pyqtgraph as pg
from qtpy.QtCore import QEvent
from qtpy.QtGui import QColor, QPalette, QShowEvent
from qtpy.QtWidgets import QWidget

_FAINT = 150
"""Opacity of 255 of what stands behind: axes and grids."""


def ink_of(widget: QWidget, opacity: int = 255) -> QColor:
    """The color of text in a widget, as its theme has it."""
    ink = widget.palette().color(QPalette.ColorRole.WindowText)
    ink.setAlpha(opacity)
    return QColor(ink)


class InkedPlot(pg.PlotWidget):
    """A plot without a background of its own that follows the theme."""

    def __init__(self, **options: Any) -> None:
        super().__init__(background=None, **options)

    def showEvent(self, event: QShowEvent) -> None:
        """Take the colors of the theme, which is known once the plot is part of a window."""
        super().showEvent(event)
        self.take_ink(ink_of(self))

    def changeEvent(self, event: QEvent) -> None:
        """Take them again when the theme is another."""
        super().changeEvent(event)
        changed = (QEvent.Type.PaletteChange, QEvent.Type.StyleChange)
        if self.isVisible() and event.type() in changed:
            self.take_ink(ink_of(self))

    def take_ink(self, ink: QColor) -> None:
        """Draw in the color of the text about the plot."""
        item, faint = self.getPlotItem(), ink_of(self, _FAINT)
        for side in ("bottom", "left"):
            item.getAxis(side).setPen(faint)
            item.getAxis(side).setTextPen(ink)
        if item.legend is not None:
            item.legend.setLabelTextColor(ink)
            for _, label in item.legend.items:
                label.setText(label.text)  # which is not written anew by itself
