"""What a job has said: shown in a dialog, and kept as a file where it failed."""

from contextlib import suppress
from datetime import datetime
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtGui import QFontDatabase
from qtpy.QtWidgets import QApplication, QDialog, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from .. import __version__
from ._forms import named


class JobLog:
    """The lines of one job after another.

    Parameters
    ----------
    room : str
        Word that object names begin with.
    title : str
        What the jobs are.
    """

    def __init__(self, room: str, title: str) -> None:
        self._room, self._title = room, title
        self._lines: list[str] = []

    def clear(self) -> None:
        """Begin anew."""
        self._lines.clear()

    def add(self, text: str) -> None:
        """Add a line with the time; what was said last is not said again."""
        if text and not (self._lines and self._lines[-1].endswith(f"  {text}")):
            self._lines.append(f"{datetime.now():%H:%M:%S}  {text}")

    def add_trace(self, trace: str) -> None:
        """Add lines as they are."""
        self._lines.append(trace)

    @property
    def text(self) -> str:
        """All of it, with what it is of."""
        head = f"napari-equipose {__version__}: {self._title}"
        return "\n".join((head, "", *self._lines, ""))

    def write(self, folder: Path) -> Path | None:
        """Keep the text as a file in a folder, where that can be done."""
        now = datetime.now().strftime("%Y-%m-%d %H-%M-%S")
        path = folder / f"{now} {self._room}.txt"
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.text, encoding="utf-8")
            return path
        return None

    def show(self, parent: QWidget) -> None:
        """Show the text in a dialog."""
        dialog = QDialog(parent)
        dialog.setObjectName(f"equipose.{self._room}.details_dialog")
        dialog.setWindowTitle(f"{self._title}: log")
        dialog.resize(800, 500)
        text = QPlainTextEdit(self.text)
        text.setReadOnly(True)
        text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        name = f"equipose.{self._room}.details_copy"
        copy = named(QPushButton("Copy"), name, "Copy the text, for a report.")
        copy.clicked.connect(lambda: QApplication.clipboard().setText(text.toPlainText()))
        layout = QVBoxLayout(dialog)
        layout.addWidget(text)
        layout.addWidget(copy)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.show()
