"""A table of classes: number and colour, how many objects, how good, what they look like."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from .._colors import class_rgba
from ._icons import colour_icon, picture_icon
from ._latent_state import NO_CLASS
from ._pictures import grey_levels, sections

_HEADER = ("class", "objects", "score", "detail", "average")
_SIDE = 44  # pixels of an average
_LINE = 24
_MOST = 200
_SHOWN = 6  # rows without scrolling


class ClassRow(NamedTuple):
    """What is known of a class."""

    label: int
    n: int
    score: float
    """Mean; nan where there is none."""
    detail: str
    """Up to where its halves agree; empty where it is not known."""
    average: NDArray[np.float32] | None


class ClassTable(QTableWidget):
    """The classes, of which some are chosen."""

    chosen_changed = Signal()
    """A person has chosen others."""
    renamed = Signal(int, int)
    """A person has given a class another number: the old one, and the new one."""

    def __init__(self) -> None:
        super().__init__(0, len(_HEADER))
        self.setHorizontalHeaderLabels(_HEADER)
        self.verticalHeader().hide()
        self.setIconSize(QSize(_SIDE, _SIDE))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(True)
        self.itemSelectionChanged.connect(self.chosen_changed)
        self.itemChanged.connect(self._on_edited)
        self._fit()

    @property
    def chosen(self) -> list[int]:
        """Classes whose rows are chosen, in falling order of the table."""
        rows = sorted({index.row() for index in self.selectionModel().selectedRows()})
        return [self.label_of(row) for row in rows]

    def label_of(self, row: int) -> int:
        """Number of the class of a row."""
        return int(self.item(row, 0).data(Qt.ItemDataRole.UserRole))

    def choose_none(self) -> None:
        """Choose no class, and do not tell."""
        self.blockSignals(True)
        self.clearSelection()
        self.blockSignals(False)
        self.viewport().update()

    def show_rows(self, rows: Sequence[ClassRow]) -> None:
        """Show classes, of very many the first ones; those chosen before still are."""
        chosen = self.chosen
        self.blockSignals(True)
        self.clearSelection()
        self.setRowCount(min(len(rows), _MOST))
        for number, one in enumerate(rows[:_MOST]):
            for column, cell in enumerate(_cells(one)):
                self.setItem(number, column, cell)
            self.setRowHeight(number, _LINE if one.average is None else _SIDE + 4)
            if one.label in chosen:
                model = self.selectionModel()
                flags = model.SelectionFlag
                model.select(self.model().index(number, 0), flags.Select | flags.Rows)
        self.blockSignals(False)
        self._fit()

    def _fit(self) -> None:
        """Be as high as a few rows."""
        rows = [self.rowHeight(row) for row in range(min(self.rowCount(), _SHOWN))]
        high = self.horizontalHeader().sizeHint().height() + 2 * self.frameWidth()
        self.setFixedHeight(high + max(sum(rows), 2 * _LINE))

    def _on_edited(self, item: QTableWidgetItem) -> None:
        old, text = self.label_of(item.row()), item.text().strip()
        if text.isdecimal() and int(text) != old:
            self.renamed.emit(old, int(text))
        else:
            self.blockSignals(True)
            item.setText(str(old))
            self.blockSignals(False)


def _cells(one: ClassRow) -> list[QTableWidgetItem]:
    none = one.label == NO_CLASS
    first = QTableWidgetItem("none" if none else str(one.label))
    first.setData(Qt.ItemDataRole.UserRole, one.label)
    first.setIcon(colour_icon(class_rgba([one.label])[0]))
    score = f"{one.score:.3f}" if np.isfinite(one.score) else ""
    rest = [QTableWidgetItem(text) for text in (str(one.n), score, one.detail, "")]
    if one.average is not None:
        rest[-1].setIcon(picture_icon(_grey(one.average), _SIDE))
    fixed: list[Any] = [first, *rest] if none else rest
    for cell in fixed:
        cell.setFlags(cell.flags() & ~Qt.ItemFlag.ItemIsEditable)
    return [first, *rest]


def _grey(average: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture of an average; of a volume its middle section across z."""
    return grey_levels(sections(average)[:1])[0]
