"""What the objects may be, as rows of pictures to choose from."""

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ..training import Hypothesis, question_of, title_of
from ._forms import named
from ._pictures import PictureRow, grey_levels

_ROWS, _COLUMNS = 4, 6


class HypothesesView(QWidget):
    """Up to four answers, each with a button to choose it; hidden while there are none."""

    chosen = Signal(object)
    """The `Hypothesis` whose button was pressed."""

    def __init__(self) -> None:
        super().__init__()
        self._found: list[Hypothesis] = []
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.question = QLabel()
        self.question.setWordWrap(True)
        layout.addWidget(self.question)
        self.rows = [self._row(number) for number in range(_ROWS)]
        for row in self.rows:
            layout.addWidget(row)
        self.clear()

    def _row(self, number: int) -> QWidget:
        row, head = QWidget(), QHBoxLayout()
        row.label = QLabel()
        row.label.setWordWrap(True)
        tip = (
            "Make these the examples, and take their polarity: training then looks for objects\n"
            "like them. They are put into a points layer, where wrong ones can be deleted."
        )
        row.button = named(
            QPushButton("This is my object"), f"equipose.train.choose_{number + 1}", tip
        )
        row.button.clicked.connect(lambda: self.chosen.emit(self._found[number]))
        row.pictures = PictureRow(_COLUMNS)
        row.pictures.setToolTip("The most typical objects of this answer.")
        head.addWidget(row.label, 1)
        head.addWidget(row.button)
        inner = QVBoxLayout(row)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addLayout(head)
        inner.addWidget(row.pictures)
        return row

    def show_hypotheses(self, found: Sequence[Hypothesis]) -> None:
        """Show answers, the likeliest first."""
        self._found = list(found)[:_ROWS]
        for row, one in zip(self.rows, self._found, strict=False):
            row.label.setText(title_of(one).capitalize())
            row.pictures.show_pictures(grey_levels(list(one.pictures)))
        for number, row in enumerate(self.rows):
            row.setVisible(number < len(self._found))
        self.question.setText(question_of(self._found) if self._found else "")
        self.setVisible(bool(self._found))

    def clear(self) -> None:
        """Show none."""
        self.show_hypotheses([])
