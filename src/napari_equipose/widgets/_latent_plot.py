"""The plot of the latent space: very many points that one can walk among and draw around."""

from pathlib import Path

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QKeyEvent, QPalette, QShowEvent
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from ._density import Bounds
from ._lasso import rows_inside
from ._plot_export import export_plot
from ._plot_item import PointsItem
from ._plot_marks import MarksItem
from ._plot_view import Mode, PlotView

_REACH = 8  # pixels from a point within which a click is meant for it
_BETWEEN_HOVERS = 17  # milliseconds
_MARGIN = 0.04
_INK = 170  # opacity of the axes


class LatentPlot(QWidget):
    """Points in a plane, of any number; knows arrays, and nothing of layers.

    Where there are very many in view, their density is drawn, and dots for those that stand alone.
    The wheel zooms; a double click, or the key A, shows all.
    """

    lassoed = Signal(object, str)
    """Mask (n,) of the points inside what was drawn, and what to do with them: a `How`."""
    clicked = Signal(int)
    """Row of the point that was clicked on; -1 where there is none."""
    hovered = Signal(float, float)
    """Where the cursor is, in the coordinates of the points; at most 60 times a second."""
    left = Signal()
    """The cursor is no longer in the plot."""
    path_changed = Signal(object)
    """Corners (m, 2) of the path."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.view = PlotView()
        self.canvas = pg.PlotWidget(background=None, viewBox=self.view)
        self.canvas.hideButtons()
        for side in ("bottom", "left"):  # a content has no unit to put a prefix before
            self.canvas.getPlotItem().getAxis(side).enableAutoSIPrefix(False)
        self.canvas.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.item = PointsItem()
        self.item.setZValue(0)
        self.view.addItem(self.item, ignoreBounds=True)
        self._background = pg.ImageItem(axisOrder="row-major")
        self._background.setZValue(-10)
        self._marks = MarksItem()
        self._marks.setZValue(10)
        self.view.addItem(self._marks, ignoreBounds=True)
        self.view.addItem(self._background, ignoreBounds=True)
        self.current: int | None = None
        self.path = np.zeros((0, 2))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.canvas)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(240)
        self._hover_place: tuple[float, float] | None = None
        self._inside = False
        self._hover_timer = QTimer(self)
        self._hover_timer.setSingleShot(True)
        self._hover_timer.setInterval(_BETWEEN_HOVERS)
        self._hover_timer.timeout.connect(self._tell_hover)
        self.canvas.scene().sigMouseMoved.connect(self._on_moved)
        self.view.outlined.connect(self._on_outlined)
        self.view.tapped.connect(self._on_tapped)
        self.view.tapped_twice.connect(self.fit)

    def sizeHint(self) -> QSize:
        return QSize(380, 340)

    def set_points(self, xy: NDArray[np.floating], keep_view: bool = False) -> None:
        """Place points (n, 2); rows with NaN are not drawn.

        Where n is what it was, colours, selection and all else stay too; else they are as at first.
        """
        self.item.points.set_points(xy)
        self.item.changed()
        if self.current is not None and self.current >= len(xy):
            self.current = None
        self._mark_current()
        if not keep_view:
            self.fit()

    def set_colours(self, rgb: NDArray[np.uint8]) -> None:
        """Colour each point, (n, 3)."""
        self.item.points.set_colours(rgb)
        self.item.changed()

    def set_shown(self, mask: NDArray[np.bool_] | None) -> None:
        """Hide all points but those of a mask (n,); None shows all."""
        self.item.points.set_shown(mask)
        self.item.changed()

    def set_selected(self, mask: NDArray[np.bool_]) -> None:
        """Have the points of a mask (n,) stand out; the others fade where there are any."""
        self.item.points.set_selected(mask)
        self.item.changed()

    def set_labels(self, x: str, y: str) -> None:
        """Name the axes."""
        self.canvas.getPlotItem().setLabels(bottom=x, left=y)

    def set_current(self, row: int | None) -> None:
        """Ring one point."""
        self.current = row
        self._mark_current()

    def set_mode(self, mode: Mode) -> None:
        """Say what the mouse does: ``pan``, ``lasso``, ``rectangle`` or ``path``."""
        self.view.set_mode(mode)

    def set_background(
        self,
        pictures: NDArray[np.uint8] | None,
        bounds: tuple[float, float, float, float] | None = None,
    ) -> None:
        """Lay pictures behind the points.

        Parameters
        ----------
        pictures : array, shape (rows, columns, y, x) or (rows, columns, y, x, 3), or None
            Row 0 lies at the top. None takes away what is there.
        bounds : (float, float, float, float), optional
            ``x0, x1, y0, y1`` of the rectangle that all of them fill together.
        """
        if pictures is None or bounds is None:
            self._background.clear()
            return
        rows, columns, height, width = pictures.shape[:4]
        sheet = np.moveaxis(pictures, 2, 1).reshape(rows * height, columns * width, -1)
        sheet = sheet[::-1, :, 0] if sheet.shape[2] == 1 else sheet[::-1]
        self._background.setImage(np.ascontiguousarray(sheet), levels=(0, 255), autoLevels=False)
        x0, x1, y0, y1 = bounds
        self._background.setRect(QRectF(x0, y0, x1 - x0, y1 - y0))

    def fit(self) -> None:
        """Show all points."""
        extent = self.item.points.extent()
        if extent is not None:
            low, high = np.array(extent).reshape(2, 2).T
            flat = high <= low
            low, high = np.where(flat, low - 0.5, low), np.where(flat, high + 0.5, high)
            self.view.setRange(xRange=(low[0], high[0]), yRange=(low[1], high[1]), padding=_MARGIN)

    def bounds(self) -> Bounds:
        """Give the rectangle that is in view."""
        (x0, x1), (y0, y1) = self.view.viewRange()
        return Bounds(float(x0), float(x1), float(y0), float(y1))

    def clear_path(self) -> None:
        """Take the path away."""
        if len(self.path):
            self._set_path(np.zeros((0, 2)))

    def export(self, path: Path | str) -> None:
        """Write what is shown, with its axes, as .svg or .png.

        Raises
        ------
        InputError
            If the suffix is another.
        """
        export_plot(self.canvas, self.item, Path(path))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """A shows all, Backspace takes the last corner of the path away, Escape gives up."""
        if event.key() == Qt.Key.Key_A and not event.modifiers():
            self.fit()
        elif event.key() == Qt.Key.Key_Backspace and len(self.path):
            self._set_path(self.path[:-1])
        elif event.key() == Qt.Key.Key_Escape:
            self.view.give_up()
        else:
            super().keyPressEvent(event)

    def showEvent(self, event: QShowEvent) -> None:
        """Draw axes and outlines in the colour of the text about the plot."""
        super().showEvent(event)
        self._take_ink()

    def changeEvent(self, event: QEvent) -> None:
        """Do so again when the theme is another."""
        super().changeEvent(event)
        if self.isVisible() and event.type() in (
            QEvent.Type.PaletteChange,
            QEvent.Type.StyleChange,
        ):
            self._take_ink()

    def leaveEvent(self, event: QEvent) -> None:
        """Say that the cursor is gone."""
        super().leaveEvent(event)
        self._leave()

    def _on_outlined(self, corners: NDArray[np.float64], how: str) -> None:
        points = self.item.points
        self.lassoed.emit(rows_inside(points.xy, corners) & points.drawn, how)

    def _on_tapped(self, x: float, y: float) -> None:
        if self.view.mode == "path":
            self._set_path(np.vstack([self.path, (x, y)]))
        else:
            self.clicked.emit(self.item.points.row_at(x, y, self.view.viewPixelSize(), _REACH))

    def _set_path(self, path: NDArray[np.float64]) -> None:
        self.path = path
        self._marks.set_path(path)
        self.path_changed.emit(path.copy())

    def _mark_current(self) -> None:
        place = None
        if self.current is not None and np.isfinite(self.item.points.xy[self.current]).all():
            x, y = self.item.points.xy[self.current].tolist()
            place = (x, y)
        self._marks.set_current(place)

    def _take_ink(self) -> None:
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        self.view.set_ink(ink)
        ink.setAlpha(_INK)
        for side in ("bottom", "left"):
            self.canvas.getAxis(side).setPen(ink)
            self.canvas.getAxis(side).setTextPen(ink)

    def _on_moved(self, scene_place: QPointF) -> None:
        if not self.view.sceneBoundingRect().contains(scene_place):
            self._leave()
            return
        place = self.view.mapSceneToView(scene_place)
        self._hover_place, self._inside = (place.x(), place.y()), True
        if not self._hover_timer.isActive():
            self._tell_hover()

    def _tell_hover(self) -> None:
        if self._hover_place is not None:
            place, self._hover_place = self._hover_place, None
            self._hover_timer.start()
            self.hovered.emit(*place)

    def _leave(self) -> None:
        self._hover_place = None
        if self._inside:
            self._inside = False
            self.left.emit()
