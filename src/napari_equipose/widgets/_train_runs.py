"""The list of runs that are not done: go on with one of them, or forget it."""

from collections.abc import Callable

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QMenu, QMessageBox, QWidget

from ..training import UnfinishedRun, unfinished_runs
from ._forms import named
from ._panel import short, user_folder

_MOST = 20
"""As many unfinished runs are offered, the latest."""


class RunMenu(QMenu):
    """The runs in the run folder that are not done."""

    chosen = Signal(object)
    """The `UnfinishedRun` to go on with."""
    unwanted = Signal(object)
    """The `UnfinishedRun` to forget."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.busy = False
        """Whether none can be gone on with now."""
        self.setToolTipsVisible(True)
        self.aboutToShow.connect(self._list)

    def _list(self) -> None:
        self.clear()
        runs = unfinished_runs(user_folder())[:_MOST]
        if not runs:
            self.addAction(f"No unfinished run in {short(user_folder())}").setEnabled(False)
            return
        for run in runs:
            action = self.addAction(_title(run))
            action.setEnabled(run.can_resume and not self.busy)
            action.setToolTip(run.problem or run.reason or short(run.folder.path))
            action.triggered.connect(lambda _=False, run=run: self.chosen.emit(run))
        forget = self.addMenu("Forget")
        for run in runs:
            action = forget.addAction(f"{_title(run)} …")
            action.setEnabled(not run.goes_on)
            action.triggered.connect(lambda _=False, run=run: self.unwanted.emit(run))


def _title(run: UnfinishedRun) -> str:
    words = {"running": "interrupted"}.get(run.state, run.state)
    return f"{run.folder.model.stem}: {words}, {run.date:%d %b %H:%M}"


def ask_whether_to_forget(run: UnfinishedRun, parent: QWidget, then: Callable[[], None]) -> None:
    """Ask a person whether they mean it, and do it then."""
    model, folder = run.folder.model, run.folder.path
    kept = (
        f"Its best model so far, {short(model)}, stays, and so does what is needed to repeat it."
        if model.exists()
        else f"There is no model of it, so its folder {short(folder)} is removed."
    )
    box = QMessageBox(parent)
    named(box, "equipose.train.forget_dialog", "Forget a run that is not done.")
    box.setWindowTitle("Forget a run")
    box.setIcon(QMessageBox.Icon.Question)
    box.setText(f"Forget the run {model.stem}? It can't be resumed then.")
    box.setInformativeText(kept)
    forget = box.addButton("Forget", QMessageBox.ButtonRole.AcceptRole)
    cancel = box.addButton(QMessageBox.StandardButton.Cancel)
    named(forget, "equipose.train.forget", "The run is not listed any more.")
    named(cancel, "equipose.train.forget_not", "Keep the run.")
    box.setDefaultButton(cancel)
    box.accepted.connect(then)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.open()
