"""Panels and windows that are closed while a job goes on.

A job belongs to the session: closing the dock of its panel does not stop it. The panel waits out of
sight, with its progress, curve and log, and comes back when it is opened again. Closing the window
stops jobs, so that a person is asked first.
"""

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import ref

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QMainWindow, QMessageBox, QWidget

_GUARD = "equipose.close_guard"
_waiting: list[Any] = []
"""Panels whose dock was closed while their job goes on."""
_QWidgetType: Any = type(QWidget)


class Reopened(_QWidgetType):
    """The type of panels: to make one of a viewer gives back the one that waits, if one does."""

    def __call__(cls, viewer: Any) -> Any:
        for panel in _waiting:
            if type(panel) is cls and _same(panel.viewer, viewer):
                _waiting.remove(panel)
                return panel
        return super().__call__(viewer)


def _same(one: Any, other: Any) -> bool:
    """Whether two viewers are one; plugins are given stand-ins of it."""
    return getattr(one, "__wrapped__", one) is getattr(other, "__wrapped__", other)


def keep_waiting(panel: Any) -> None:
    """Keep a panel whose dock was closed until its job ends, or it is opened again."""
    _waiting.append(panel)


def is_waiting(panel: Any) -> bool:
    """Whether the dock of a panel was closed and its job goes on."""
    return any(one is panel for one in _waiting)


def let_go(panel: Any) -> None:
    """Close a panel that waits for good. Its job, if there still is one, is stopped."""
    if not is_waiting(panel):  # it was opened again meanwhile
        return
    _waiting[:] = [one for one in _waiting if one is not panel]
    panel.detach()
    panel.deleteLater()


class CloseGuard(QObject):
    """Asks before a window is closed in which jobs go on, and ends them with it.

    Parameters
    ----------
    window : QMainWindow
    kind : type
        Of panels.
    """

    def __init__(self, window: QMainWindow, kind: type) -> None:
        super().__init__(window)
        self.setObjectName(_GUARD)
        self._kind = kind
        window.installEventFilter(self)

    @classmethod
    def of(cls, window: QMainWindow, kind: type) -> None:
        """Guard a window, once."""
        if window.findChild(QObject, _GUARD) is None:
            cls(window, kind)

    def eventFilter(self, watched: Any, event: QEvent) -> bool:
        """Ask; napari does so itself, by the jobs' names, when the window's own X is clicked."""
        if watched is not self.parent() or event.type() != QEvent.Type.Close:
            return False
        window, waiting = watched, [one for one in _waiting if one.main_window() is watched]
        panels = [*window.findChildren(self._kind), *waiting]
        titles = [panel.job.title for panel in panels if panel.job is not None]
        to_ask = titles and window.isVisible() and not event.spontaneous()
        if to_ask and not ask_whether_to_close(window, titles):
            event.ignore()
            return True

        if waiting:
            QTimer.singleShot(0, partial(_end, ref(window)))
        return False


def _end(main_window: Callable[[], QMainWindow | None]) -> None:
    """Let go of the panels of a window, unless it stayed open."""
    window = main_window()
    if window is not None and isalive(window) and window.isVisible():
        return
    for panel in [one for one in _waiting if one.main_window() is window]:
        let_go(panel)


def ask_whether_to_close(window: QMainWindow, titles: list[str]) -> bool:
    """Ask a person whether napari is to be closed while jobs go on."""
    box = QMessageBox(window)
    box.setObjectName("equipose.close_dialog")
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("Close napari?")
    box.setText(f"Still going on: {'; '.join(titles)}.")
    box.setInformativeText(
        "Closing napari stops it. A training can be resumed the next time, under Resume in the "
        "panel Train; anything else begins anew."
    )
    close = box.addButton("Stop it and close", QMessageBox.ButtonRole.AcceptRole)
    keep = box.addButton("Keep napari open", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(keep)
    box.exec()
    return box.clickedButton() is close
