"""A choice among the models of this session, of which those are offered that suit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog

from ._forms import Choice
from ._models import ModelFacts, shelf
from ._panel import user_folder


class ModelChoice(Choice):
    """Models that were trained or loaded, the newest first; one that does not suit is greyed.

    Parameters
    ----------
    why_not : callable
        Says of what is known of a model why it does not suit; nothing where it does.
    none : str, optional
        Text of an entry above them that chooses no model; by default there is none.
    """

    picked = Signal()
    """Another model is chosen, or none."""

    def __init__(self, why_not: Callable[[ModelFacts], str], none: str | None = None) -> None:
        super().__init__()
        self._why_not, self._none = why_not, none
        shelf.added.connect(self.refresh)
        self.currentIndexChanged.connect(lambda: self.picked.emit())
        self.refresh()

    def refresh(self, newest: str | None = None) -> None:
        """Offer what suits now; keep to the one that is chosen, else choose the newest."""
        if not isalive(self):  # the window was closed, which tells no one but Qt
            self.detach()
            return
        before, none_suited = self.value, not self._suiting
        self.blockSignals(True)
        self.clear()
        if self._none is not None:
            self.addItem(self._none, None)
        for name in reversed(list(shelf)):
            self.addItem(name, name)
            self.offer(self.count() - 1, self._why_not(shelf.facts(name)))
        suiting = self._suiting
        wanted = next((name for name in (before, newest) if name in suiting), None)
        if suiting and wanted is None and (none_suited or self._none is None):
            wanted = suiting[0]
        self.setCurrentIndex(self.findData(wanted))
        self.blockSignals(False)
        if self.value != before:
            self.picked.emit()

    def load(self, path: Path) -> str:
        """Load a model file and choose it; say why it can't be chosen, if it does not suit.

        Raises
        ------
        InputError
            If the file is no model.
        """
        name = shelf.load(path)
        reason = self._why_not(shelf.facts(name))
        if not reason:
            self.value = name
        return f"{name} can't be used here. {reason}" if reason else ""

    @property
    def _suiting(self) -> list[str]:
        """The models that are offered."""
        names = map(self.itemData, range(self.count()))
        return [name for name in names if name is not None and self.can_choose(name)]

    def detach(self) -> None:
        """Listen to the models no more."""
        shelf.added.disconnect(self.refresh, missing_ok=True)


def why_no_boxes(facts: ModelFacts, dimensions: int, side: int | None, channels: int) -> str:
    """Why a model can't be used on boxes; nothing where it can, or where the side may be chosen."""
    if dimensions not in facts.capabilities.dimensions:
        return f"It is a model of {'images' if dimensions == 3 else 'volumes'}."
    if channels != facts.channels:
        return f"It is a model of {'colour' if facts.channels == 3 else 'grey'} images."
    if side not in (None, facts.box_size):
        return f"It learnt from boxes of {facts.box_size} pixels; these have {side}."
    return ""


class LoadsModels:
    """What a `Panel` with a choice of models does with model files."""

    model: ModelChoice

    def ask_for_model(self: Any) -> None:
        """Let a person choose a model file, and load it."""
        folder = user_folder()
        start = str(folder) if folder.is_dir() else ""
        path, _ = QFileDialog.getOpenFileName(self, "Load a model", start, "Models (*.safetensors)")
        if path:
            self.load_model(Path(path))

    def load_model(self: Any, path: Path) -> None:
        """Load a model file and choose it, if it suits."""
        try:
            reason = self.model.load(path)
        except Exception as error:
            self.refuse(error)
        else:
            if reason:
                self.say(reason)
