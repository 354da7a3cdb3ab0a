"""A choice among the models of this session that suit."""

from collections.abc import Callable
from pathlib import Path

from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from ._forms import Choice
from ._models import ModelFacts, shelf
from ._panel import user_folder


class ModelChoice(Choice):
    """Models that were trained or loaded, the newest first, below one entry for none of them.

    Parameters
    ----------
    none : str
        Text of the entry that chooses no model.
    suits : callable
        Says of what is known of a model whether it is offered.
    """

    picked = Signal()
    """Another model is chosen, or none."""

    def __init__(self, none: str, suits: Callable[[ModelFacts], bool]) -> None:
        super().__init__()
        self._none, self._suits = none, suits
        shelf.added.connect(self.refresh)
        self.currentIndexChanged.connect(lambda: self.picked.emit())
        self.refresh()

    def refresh(self, newest: str | None = None) -> None:
        """Offer what suits now; choose one that is new, or the newest where none suited before."""
        if not isalive(self):  # the window was closed, which tells no one but Qt
            self.detach()
            return
        before, none_suited = self.value, self.count() < 2
        names = [name for name in reversed(list(shelf)) if self._suits(shelf.facts(name))]
        self.blockSignals(True)
        self.clear()
        for text, name in ((self._none, None), *zip(names, names, strict=True)):
            self.addItem(text, name)
        if newest not in names:
            newest = names[0] if none_suited and names else before
        self.value = newest
        self.blockSignals(False)
        if self.value != before:
            self.picked.emit()

    def detach(self) -> None:
        """Listen to the models no more."""
        shelf.added.disconnect(self.refresh, missing_ok=True)


def ask_for_model(parent: QWidget) -> Path | None:
    """Let a person choose a model file."""
    folder = user_folder()
    start = str(folder) if folder.is_dir() else ""
    path, _ = QFileDialog.getOpenFileName(parent, "Load a model", start, "Models (*.safetensors)")
    return Path(path) if path else None
