"""What a run looks like: the curve of its loss, and pictures of what it has learned."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QRect, QSize, QTimer
from qtpy.QtGui import QImage, QPainter, QPaintEvent
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

from ._ink import InkedPlot

_TRAINING, _VALIDATION = "#8ab4d8", "#ff9f40"
_MILLISECONDS = 200
"""Between two drawings of the curve."""


class _WholeNumbers(pg.AxisItem):
    """An axis that has no half epochs."""

    def tickSpacing(self, low: float, high: float, size: float) -> list[tuple[float, float]]:
        steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000]
        step = next((s for s in steps if (high - low) / s <= 8), steps[-1])
        return [(step, 0)]


class LossCurve(InkedPlot):
    """Training and validation loss by epoch; a dot marks the model that is kept."""

    def __init__(self) -> None:
        super().__init__(axisItems={"bottom": _WholeNumbers("bottom")})
        self.setMinimumHeight(130)
        self.setMaximumHeight(170)
        self.setMenuEnabled(False)
        self.hideButtons()
        self.setMouseEnabled(x=False, y=False)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        item = self.getPlotItem()
        item.setLabel("bottom", "epoch")
        item.setLabel("left", "loss")
        item.showGrid(x=False, y=True, alpha=0.15)
        item.addLegend(offset=(-8, 4), verSpacing=-6)
        self._training = self.plot(pen=pg.mkPen(_TRAINING, width=2), name="training")
        self._validation = self.plot(pen=pg.mkPen(_VALIDATION, width=2), name="held out")
        self._best = self.plot(pen=None, symbol="o", symbolSize=8, symbolBrush=_VALIDATION)
        self._rows: list[tuple[int, float, float, bool]] = []
        self.last_epoch = 0
        # Epochs of a few milliseconds would have the viewer do nothing but draw.
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(_MILLISECONDS)
        self._later.timeout.connect(self._draw)

    def add(self, epoch: int, loss: float, validation_loss: float, best: bool) -> None:
        """Add an epoch; one that is there already, of a run that is resumed, goes."""
        while self._rows and self._rows[-1][0] >= epoch:
            self._rows.pop()
        self._rows.append((epoch, loss, validation_loss, best))
        self.last_epoch = epoch
        if not self._later.isActive():
            self._later.start()

    def _draw(self) -> None:
        epochs, training, validation, _ = zip(*self._rows, strict=True)
        self._training.setData(epochs, training)
        self._validation.setData(epochs, validation)
        kept = [row for row in self._rows if row[3]][-1:]
        self._best.setData([row[0] for row in kept], [row[2] for row in kept])
        self._fit_range(np.array([*training, *validation]))

    def _fit_range(self, losses: NDArray[Any]) -> None:
        # The first epochs are so much worse that they would flatten all that follows.
        if len(losses) > 6:
            losses = np.clip(losses, None, np.quantile(losses, 0.85))
        low, high = float(losses.min()), float(losses.max())
        margin = 0.08 * (high - low) or 1.0
        self.setYRange(low - margin, high + margin, padding=0)
        self.setXRange(self._rows[0][0], max(self._rows[-1][0], self._rows[0][0] + 1), padding=0.03)

    def clear_all(self) -> None:
        """Begin anew."""
        self._rows = []
        self._later.stop()
        for curve in (self._training, self._validation, self._best):
            curve.setData([], [])


class PictureRow(QWidget):
    """Small pictures side by side, as large as the width allows."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self._columns, self._images = columns, list[QImage]()
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setMinimumHeight(24)

    def show_pictures(self, pictures: Sequence[NDArray[np.uint8]]) -> None:
        """Show pictures (y, x) or (y, x, 3)."""
        self._images = [image_of(picture) for picture in pictures]
        self.update()

    @property
    def count(self) -> int:
        """Number of pictures shown."""
        return len(self._images)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return max(width // self._columns, 24)

    def sizeHint(self) -> QSize:
        return QSize(44 * self._columns, 44)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the pictures."""
        side = min(self.width() // self._columns, self.height())
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        for index in range(self._columns):
            frame = QRect(index * self.width() // self._columns, 0, side - 3, side - 3)
            if index < len(self._images):
                painter.drawImage(frame, self._images[index])
        painter.end()


def grey_levels(pictures: Sequence[NDArray[Any]]) -> list[NDArray[np.uint8]]:
    """Pictures (y, x) or (y, x, 3) of one range of values as those that can be shown."""
    low, high = np.percentile(np.stack(pictures), (0.5, 99.5))
    scale = 255 / max(float(high - low), 1e-12)
    return [np.clip((one - low) * scale, 0, 255).round().astype(np.uint8) for one in pictures]


def sections(box: NDArray[Any]) -> list[NDArray[Any]]:
    """Central sections of a volume across z, y and x; an image as it is."""
    if box.ndim == 2 or box.shape[-1] == 3:
        return [box]
    return [box.take(side // 2, axis) for axis, side in enumerate(box.shape)]


def image_of(picture: NDArray[np.uint8]) -> QImage:
    """Make an image of a picture (y, x) or (y, x, 3)."""
    picture = np.ascontiguousarray(picture)
    height, width = picture.shape[:2]
    rgb = picture.ndim == 3
    kind = QImage.Format.Format_RGB888 if rgb else QImage.Format.Format_Grayscale8
    image = QImage(picture.data, width, height, picture.strides[0], kind)
    return image.copy()  # the array may go, the image stays


class PictureRows(QWidget):
    """Boxes, the same drawn by the model, and each object at rest, one below the other."""

    COLUMNS = 6
    _LABELS = ("image", "model", "at rest")
    _TIPS = (
        "Some of the boxes the model learns from.",
        "The same boxes as the model draws them: object, place and rotation.",
        "The object of each box alone, brought to the model's own upright position.",
    )

    def __init__(self) -> None:
        super().__init__()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(0)
        grid.setColumnStretch(1, 1)
        self.rows: list[PictureRow] = []
        self._labels: list[QLabel] = []
        for row, (text, tip) in enumerate(zip(self._LABELS, self._TIPS, strict=True)):
            label, pictures = QLabel(text), PictureRow(self.COLUMNS)
            label.setToolTip(tip)
            pictures.setToolTip(tip)
            grid.addWidget(label, row, 0)
            grid.addWidget(pictures, row, 1)
            self.rows.append(pictures)
            self._labels.append(label)
        self.show_pictures([], [], [])

    def show_pictures(self, *rows: Sequence[NDArray[np.uint8]]) -> None:
        """Show one sequence of pictures a row; a row without any is hidden."""
        for row, label, pictures in zip(self.rows, self._labels, rows, strict=True):
            row.show_pictures(pictures)
            for part in (row, label):
                part.setVisible(bool(pictures))
