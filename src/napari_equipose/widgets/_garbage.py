"""Python's garbage is collected on the viewer's thread while a job has a thread of its own.

Python looks for objects that only hold each other in whichever thread happens to make the next
object, and destroys them there. A training makes nearly all objects, so that nearly all of the
viewer's own garbage would be destroyed in its thread. Some of it is Qt's, and Qt lets pixmaps,
fonts and what is drawn with them be touched by the thread of the windows alone.
"""

import gc
from collections.abc import Callable

from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

_MILLISECONDS = 100
_MIDDLE, _FULL = 10, 100
"""After so many collections of what is young one of what is older, as Python itself does."""
_GROWTH = 1.25
"""A full one only when there is so much more than at the last: it may take a third of a second."""


class _Collector(QTimer):
    """Collects in place of Python as long as something is going on elsewhere."""

    def __init__(self, application: QApplication) -> None:
        super().__init__(application)
        self._going_on: list[Callable[[], bool]] = []
        self._rounds, self._old = 0, 0
        self.setInterval(_MILLISECONDS)
        self.timeout.connect(self._look)
        application.aboutToQuit.connect(self._let_go)

    def add(self, going_on: Callable[[], bool]) -> None:
        if not self._going_on:
            if not gc.isenabled():
                return  # as the host wants it
            gc.disable()
            self.start()
        self._going_on.append(going_on)

    def _look(self) -> None:
        self._going_on = [going_on for going_on in self._going_on if going_on()]
        if not self._going_on:
            self._let_go()
        elif gc.get_threshold()[0]:  # zero: the host wants no collections
            self._rounds += 1
            gc.collect(self._generation())

    def _generation(self) -> int:
        if self._rounds % _MIDDLE:
            return 0
        if self._rounds % _FULL:
            return 1
        old = len(gc.get_objects(generation=2))
        if self._old and old < _GROWTH * self._old:
            return 1
        self._old = old
        return 2

    def _let_go(self) -> None:
        if self.isActive():
            self.stop()
            self._going_on.clear()
            gc.collect(0)  # so that the last lines of the thread don't set off the next one
            gc.enable()


_collector: _Collector | None = None


def collect_here(going_on: Callable[[], bool]) -> None:
    """Collect garbage on this thread, that of the viewer, and on no other.

    Parameters
    ----------
    going_on : callable
        Says whether the other thread still works; asked on this one.
    """
    global _collector
    if _collector is None or not isalive(_collector):
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        _collector = _Collector(application)
    _collector.add(going_on)
