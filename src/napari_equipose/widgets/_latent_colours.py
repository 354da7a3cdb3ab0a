"""Colours of objects by what is known of them, and what they stand for."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from .._colors import class_rgba, cyclic_rgba, ramp_rgba
from ._latent_columns import NO_CLASS, classes_of

CYCLIC = ("rotation", "rot", "psi")
"""Angles in degrees that are the same at both ends of a turn."""
_PLAIN = (127, 179, 213)
_UNKNOWN = (128, 136, 144)
_WITHIN = (1.0, 99.0)  # percentiles: few objects far out would leave all others one colour
_FEW = 12  # values of one column that are told apart as classes are
_STEPS = 256
_PARTS = np.linspace(0, 1, _STEPS)


class Legend(NamedTuple):
    """What colours stand for."""

    entries: tuple[tuple[str, tuple[int, int, int]], ...] = ()
    """Values that have a colour of their own, and how many others there are."""
    low: float = 0.0
    high: float = 0.0
    ramp: NDArray[np.uint8] | None = None
    """Colours (m, 3) from ``low`` to ``high``, of numbers."""
    fold: int | None = None
    """Of angles: after which part of a turn the colours come again."""


def colours_by(
    features: pd.DataFrame, name: str | None, fold: int = 1
) -> tuple[NDArray[np.uint8], Legend]:
    """Colour objects by one of their features.

    Parameters
    ----------
    features : DataFrame
        A row an object.
    name : str or None
        Column; without one all have the same colour.
    fold : int
        Of the symmetry of the objects: angles that differ by such a part of a turn are alike.

    Returns
    -------
    array of uint8, shape (n, 3)
    Legend
    """
    n = len(features)
    if name is None or name not in features:
        return np.full((n, 3), _PLAIN, np.uint8), Legend()
    column = features[name]
    if name == "class":
        return _by_class(classes_of(features, n))
    if _is_ramp(column):
        cycle = fold if name in CYCLIC else None
        return _by_number(column.to_numpy(np.float64, na_value=np.nan), cycle)
    values = column.astype(object).where(column.notna(), None)
    codes, uniques = pd.factorize(values, sort=False)
    order = np.argsort([str(value) for value in uniques], kind="stable")
    place = np.append(np.argsort(order), NO_CLASS)  # a code of -1 stays one
    return _by_class(place[codes], [str(uniques[i]) for i in order])


def _is_ramp(column: "pd.Series[Any]") -> bool:
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return False
    return bool(pd.api.types.is_float_dtype(column)) or column.nunique() > _FEW


def _by_class(
    labels: NDArray[np.int64], names: list[str] | None = None
) -> tuple[NDArray[np.uint8], Legend]:
    found = np.unique(labels)
    entries = []
    for label in found[found >= 0][:_FEW].tolist():
        red, green, blue = _bytes(class_rgba([label]))[0].tolist()
        entries.append((names[label] if names else str(label), (red, green, blue)))
    more = int((found >= 0).sum()) - len(entries)
    if more:
        entries.append((f"and {more} more", _UNKNOWN))
    elif (found < 0).any():
        entries.append(("none", _UNKNOWN))
    return _bytes(class_rgba(labels)), Legend(tuple(entries))


def _by_number(values: NDArray[np.float64], fold: int | None) -> tuple[NDArray[np.uint8], Legend]:
    """Color numbers; with ``fold`` they are degrees, the same after such a part of a turn."""
    if fold is not None:
        ramp = _bytes(cyclic_rgba((_PARTS - 0.5) * fold))
        return _bytes(cyclic_rgba(values * fold / 360)), Legend((), -180.0, 180.0, ramp, fold)
    there = np.isfinite(values)
    ends = np.percentile(values[there], _WITHIN) if there.any() else (0.0, 1.0)
    low, high = float(ends[0]), float(ends[1])
    colours = _bytes(ramp_rgba((values - low) / ((high - low) or 1.0)))
    return colours, Legend((), low, high, _bytes(ramp_rgba(_PARTS)))


def _bytes(rgba: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.round(rgba[:, :3] * 255), np.uint8)


class LegendBar(QWidget):
    """One line that says what the colours stand for."""

    def __init__(self) -> None:
        super().__init__()
        self.legend = Legend()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_legend(self, legend: Legend) -> None:
        """Show what colours stand for."""
        self.legend = legend
        self.setToolTip(", ".join(text for text, _ in legend.entries))
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(200, self.fontMetrics().height() + 4)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the values by their colours, or a ramp between two numbers."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(self.palette().text().color())
        if self.legend.ramp is not None:
            self._paint_ramp(painter, self.legend.ramp)
        else:
            self._paint_entries(painter)
        painter.end()

    def _paint_ramp(self, painter: QPainter, ramp: NDArray[np.uint8]) -> None:
        flags = Qt.AlignmentFlag
        texts = [f"{value:.4g}" for value in (self.legend.low, self.legend.high)]
        widths = [self.fontMetrics().horizontalAdvance(text) + 6 for text in texts]
        left, right = widths[0], self.width() - widths[1]
        gradient = QLinearGradient(left, 0, max(right, left + 1), 0)
        for step in np.linspace(0, _STEPS - 1, 17).round().astype(int).tolist():
            gradient.setColorAt(step / (_STEPS - 1), QColor(*ramp[step].tolist()))
        painter.fillRect(QRectF(left, 4, max(right - left, 1), self.height() - 8), gradient)
        painter.drawText(0, 0, left - 6, self.height(), int(flags.AlignVCenter), texts[0])
        there = (right + 6, 0, widths[1], self.height())
        painter.drawText(*there, int(flags.AlignVCenter), texts[1])

    def _paint_entries(self, painter: QPainter) -> None:
        x, side = 0, self.height() - 8
        for text, colour in self.legend.entries:
            painter.setBrush(QColor(*colour))
            pen = painter.pen()
            painter.setPen(Qt.PenStyle.NoPen)
            painter.drawEllipse(QRectF(x, 4, side, side))
            painter.setPen(pen)
            width = self.fontMetrics().horizontalAdvance(text)
            where = (x + side + 4, 0, width + 2, self.height())
            painter.drawText(*where, int(Qt.AlignmentFlag.AlignVCenter), text)
            x += side + width + 14
