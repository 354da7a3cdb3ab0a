"""Jobs: one generator in a thread of its own, whose end always arrives.

napari's own generator worker is not used as it stands: it takes a `RuntimeError`, which is what
torch raises when memory runs out, for its own deletion and says nothing; its ``quit`` leaves the
generator suspended, so that no ``finally`` runs; and it turns each warning of the whole program
into a notification. Its registry is used, so that napari asks before it closes on a running job.
"""

import os
import sys
import threading
import traceback
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import cache
from typing import Any, Literal, NamedTuple

import torch
from napari.qt.threading import FunctionWorker, create_worker
from qtpy.QtCore import QObject, Signal

from .._memory import give_memory_back
from .._threads import compute_here_with, usual_threads
from ..training import explain
from ._preferences import read_preferences

PATIENCE = 1.7
"""Seconds that a generator has to answer a stop; a process of its own needs up to 1.6."""


class Ending(NamedTuple):
    """How a job ended. Holds text, not the exception, whose frames would keep memory taken."""

    state: Literal["done", "stopped", "failed"]
    result: Any = None
    """What the generator returned, or, of a job that was stopped or failed, what was saved."""
    message: str = ""
    """Why it failed, for a person."""
    expected: bool = True
    """Whether the failure is the user's to mend, and so the message is all there is to say."""
    memory: bool = False
    """Whether memory ran out."""
    trace: str = ""
    lingers: bool = False
    """Whether a step goes on in its thread that could not be broken off."""


class Job(QObject):
    """Drive a generator in a thread. Signals are received on the thread that made the job.

    Parameters
    ----------
    title : str
        What it does, as napari says when it asks whether to close.
    work : generator
        Yields reports and returns a result; None is no report, but lets a stop be answered. It
        is closed, in its thread, when the job is stopped.
    salvage : callable, optional
        Gives, in a thread, what is left of a job that was stopped or failed.
    """

    reported = Signal(object)
    """What the generator yields."""
    ended = Signal(object)
    """An `Ending`; once, whatever happens."""
    released = Signal()
    """The generator is closed: what it held is free. With the end, or after one that lingers."""

    def __init__(
        self,
        title: str,
        work: Generator[Any, None, Any],
        salvage: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__()
        self.title = title
        self._work: Generator[Any, None, Any] | None = work
        self._salvage = salvage
        self._stop, self._closed = threading.Event(), threading.Event()
        self._lock, self._has_ended = threading.Lock(), False

    def __repr__(self) -> str:
        return f"Equipose: {self.title}"

    def start(self) -> None:
        """Start the thread."""
        create_worker(self, _worker_class=_JobWorker, _start_thread=True, _ignore_errors=True)

    def stop(self) -> None:
        """Ask the generator to end at its next report; the job ends within two seconds.

        Python can't break off a step in a thread. One that takes longer goes on to its end, and
        the generator is closed then.
        """
        if not self._stop.is_set():
            self._stop.set()
            waiting = threading.Thread(target=self._wait, name="Equipose: stopping", daemon=True)
            waiting.start()

    def __call__(self) -> None:
        """Drive the generator to its end; called in the thread."""
        ending = self._drive()
        self._closed.set()
        self._end(ending)
        self._work = self._salvage = None
        with suppress(RuntimeError):  # napari has closed, and nobody listens
            self.released.emit()

    def _wait(self) -> None:
        if not self._closed.wait(PATIENCE):
            ending = Ending("stopped", self._salvaged(), lingers=True)
            if not self._closed.is_set():
                self._end(ending)

    def _end(self, ending: Ending) -> None:
        with self._lock:
            if not self._has_ended:
                self._has_ended = True
                with suppress(RuntimeError):  # napari has closed, and nobody listens
                    self.ended.emit(ending)

    def _drive(self) -> Ending:
        assert self._work is not None
        try:
            while not self._stop.is_set():
                try:
                    report = next(self._work)
                except StopIteration as end:
                    return Ending("done", end.value)
                if report is not None:
                    self._report(report)
            self._work.close()
            return Ending("stopped", self._salvaged())
        except BaseException as error:  # the end must arrive, whatever it is
            message, expected, memory = explain(error)
            trace = "".join(traceback.format_exception(error))
        # The exception is gone here, and with it the frames that held its tensors.
        return Ending("failed", self._salvaged(), message, expected, memory, trace)

    def _report(self, report: Any) -> None:
        with self._lock:
            if self._has_ended:
                return
            try:
                self.reported.emit(report)
            except RuntimeError:  # napari has closed: the generator must still be closed
                self._stop.set()

    def _salvaged(self) -> Any:
        salvage = self._salvage
        if salvage is None:
            return None
        try:
            return salvage()
        except Exception:  # what can't be saved is not there
            return None


class _JobWorker(FunctionWorker):
    """napari's worker, with a thread of lower priority, a `quit` that stops the job, and an end."""

    def quit(self) -> None:
        super().quit()
        self._func.stop()

    def run(self) -> None:
        with suppress(RuntimeError):
            self.started.emit()
        self._running = True
        # Of its own, since a thread whose priority was lowered can't be given back to the pool.
        thread = threading.Thread(target=_kindly, args=(self._func,), name=repr(self._func))
        thread.start()
        thread.join()
        self._running = False
        with suppress(RuntimeError):
            self.finished.emit()
            self._finished.emit(self)


def job_threads() -> int:
    """How many threads a job computes with: as preferred, or all but one."""
    return read_preferences().threads or max(usual_threads() - 1, 1)


@cache
def warm_up() -> None:
    """Have torch imported in full, in a thread, before a job wants it.

    The first optimiser, and the first network drawn up without memory, make torch import its
    compiler: two seconds, in parts of which the viewer would stand still.
    """

    def draw_up() -> None:
        with torch.device("meta"):
            torch.arange(2)

    threading.Thread(target=draw_up, name="importing torch").start()


def _kindly(work: Callable[[], None]) -> None:
    """Do work at a lower priority and, unless told otherwise, with one thread less.

    So the viewer stays alive.
    """
    if sys.platform == "linux":  # elsewhere this would be the priority of a whole process
        thread = threading.get_native_id()
        with suppress(OSError):
            niceness = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(niceness + 10, 19))
    compute_here_with(job_threads())
    work()
    give_memory_back()
