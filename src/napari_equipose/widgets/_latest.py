"""Work of which only the latest that is asked for is wanted, done in a thread of its own."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from qtpy.QtCore import QObject, Signal

from .._threads import compute_here_with
from ._worker import job_threads

_LINGERS = 2.0
"""Seconds that the thread waits for more; to begin one anew would have torch do so too."""


class Latest(QObject):
    """Does work in a thread; what was asked for meanwhile, but for the last, is never begun."""

    done = Signal(object)
    """What the work returned; received on the thread that made this."""
    failed = Signal(object)
    """The exception that it raised."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._wanted: Callable[[], Any] | None = None
        self._there = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def ask(self, work: Callable[[], Any]) -> None:
        """Have work done, in place of what has not been begun yet."""
        with self._there:
            self._wanted = work
            if self._stopped:
                return
            if self._thread is not None:
                self._there.notify()
                return
            self._thread = threading.Thread(target=self._go_on, name=self._name, daemon=True)
            self._thread.start()

    def forget(self) -> None:
        """Do not begin what has not been begun."""
        with self._there:
            self._wanted = None

    def stop(self) -> None:
        """End the thread after what it is doing; do no more."""
        with self._there:
            self._stopped, self._wanted = True, None
            self._there.notify()

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do, and nothing is being done."""
        with self._there:
            return self._wanted is None and not self._busy

    _busy = False

    def _go_on(self) -> None:
        compute_here_with(job_threads())
        while (work := self._next()) is not None:
            signal: Any = self.done
            result: Any = None
            try:
                result = work()
            except Exception as error:  # told where it was asked for
                signal, result = self.failed, error.with_traceback(None)
            with suppress(RuntimeError):  # napari has closed, and nobody listens
                signal.emit(result)

    def _next(self) -> Callable[[], Any] | None:
        with self._there:
            self._busy = False
            if self._wanted is None and not self._stopped:
                self._there.wait(_LINGERS)
            work, self._wanted = self._wanted, None
            self._busy = work is not None
            if work is None:
                self._thread = None
            return work
