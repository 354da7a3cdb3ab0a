"""What was done and can be taken back; nothing here knows of Qt."""

from collections.abc import Callable
from typing import NamedTuple

from psygnal import Signal

_MAX_STEPS = 100


class Step(NamedTuple):
    """Something that can be taken back."""

    title: str
    undo: Callable[[], None]
    redo: Callable[[], None]


class History:
    """What was done, and what was taken back."""

    changed = Signal()

    def __init__(self) -> None:
        self._done: list[Step] = []
        self._undone: list[Step] = []

    def add(self, step: Step) -> None:
        """Remember a step that has been done."""
        self._done = [*self._done, step][-_MAX_STEPS:]
        self._undone = []
        self.changed.emit()

    def undo(self) -> None:
        """Take the last step back, if there is one."""
        if self._done:
            step = self._done.pop()
            step.undo()
            self._undone.append(step)
            self.changed.emit()

    def redo(self) -> None:
        """Do again what was taken back last, if there is something."""
        if self._undone:
            step = self._undone.pop()
            step.redo()
            self._done.append(step)
            self.changed.emit()

    def clear(self) -> None:
        """Forget all: rows are not what they were."""
        if self._done or self._undone:
            self._done, self._undone = [], []
            self.changed.emit()

    @property
    def next_undo(self) -> str:
        """Title of the step that `undo` would take back; empty where there is none."""
        return self._done[-1].title if self._done else ""

    @property
    def next_redo(self) -> str:
        """Title of the step that `redo` would do again; empty where there is none."""
        return self._undone[-1].title if self._undone else ""
