"""What all panels share: a job at a time, its progress, its end, and words for each."""

import re
from abc import abstractmethod
from collections.abc import Callable, Generator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from weakref import ref

from napari.utils.notifications import show_error, show_info
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import (
    QApplication,
    QDockWidget,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ..inference import Notice
from ..training import RunFolder, describe, explain
from ._closed import CloseGuard, Reopened, is_waiting, keep_waiting, let_go
from ._forms import VerticalScroll, named, press_with, primary
from ._help import help_button
from ._job_log import JobLog
from ._preferences import read_preferences
from ._queue import Waiting
from ._worker import Ending, Job, warm_up

_LINGERS = "A last step still runs to its end; what you start on the same device waits for it."


def user_folder() -> Path:
    """Where models go when no other place is given."""
    return read_preferences().run_folder


def short(path: Path) -> str:
    """A path as a person writes it, with ~ for the home folder."""
    if path.is_relative_to(Path.home()):
        return str(Path("~") / path.relative_to(Path.home()))
    return str(path)


def new_model_path(name: str) -> Path:
    """Path of a model file that is not there yet, and that no run is to write, now or resumed."""
    word = re.sub(r"[^\w]+", "-", name.lower()).strip("-") or "model"
    numbers = (user_folder() / f"{word}-{number}.safetensors" for number in count(1))
    return next(path for path in numbers if not (path.exists() or RunFolder.of(path).is_taken))


class Panel(QWidget, metaclass=Reopened):
    """A dock widget that runs one job at a time, which goes on when the dock is closed.

    Panels of one window are tabs of one dock, unless a person has moved them.

    Each kind of panel has its own words for what its job says and how it ended: the methods that
    are abstract here.

    Parameters
    ----------
    viewer : napari.Viewer
    room : str
        Word that object names begin with: ``equipose.<room>.start``.
    title : str
        What a failure is said to be of.
    """

    page = "index.md"
    """Page and heading of the manual that tell of the panel."""

    def __init__(self, viewer: Any, room: str, title: str) -> None:
        super().__init__()
        self.viewer, self.room, self._title = viewer, room, title
        self.job: Job | None = None
        self.main_window: Callable[[], QMainWindow | None] = lambda: None
        """The window whose dock the panel is or was in, as long as it is there."""
        self._log = JobLog(room, title)
        warm_up()
        self.setObjectName(f"equipose.{room}")
        inside = QWidget()
        self.body = QVBoxLayout(inside)
        self.body.setContentsMargins(8, 8, 8, 8)
        self.body.setSpacing(8)
        scroll = VerticalScroll(inside)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)

    def __init_subclass__(cls) -> None:
        """Refuse a kind of panel that lacks a method; Qt's metaclass would not."""
        super().__init_subclass__()
        methods = {name: getattr(cls, name) for name in sorted(vars(Panel))}
        lacking = [n for n, it in methods.items() if getattr(it, "__isabstractmethod__", False)]
        if lacking:
            raise TypeError(f"{cls.__name__} lacks {', '.join(lacking)}")

    def named(self, widget: Any, name: str, tip: str) -> Any:
        """Name a control within this panel and give it its tooltip."""
        return named(widget, f"equipose.{self.room}.{name}", tip)

    def add_controls(self, start: str, tip: str, *more: QWidget) -> None:
        """Add the button that starts a job, the one that stops it, and what tells of it."""
        self.start = primary(self.named(QPushButton(start), "start", tip))
        self.stop = self.named(
            QPushButton("Stop"), "stop", "End the run now. What was done so far is kept."
        )
        self.stop.clicked.connect(self._ask_to_stop)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start, 3)
        for button in (self.stop, *more):
            buttons.addWidget(button, 1)
        self.help = help_button(self.page, f"equipose.{self.room}.help")
        buttons.addWidget(self.help)
        keys = {"Ctrl+Return": self.start, "Ctrl+.": self.stop, "F1": self.help}
        for sequence, button in keys.items():
            press_with(sequence, button, self)
        self.progress = self.named(QProgressBar(), "progress", "How much of the run is done.")
        self.progress.setRange(0, 1000)
        self.progress.setTextVisible(False)
        self.progress.setMaximumHeight(8)
        self.progress.setStyleSheet("QProgressBar::chunk { background: #2f7ed8; }")
        self.status = self.named(QLabel(), "status", "What is going on.")
        self.status.setWordWrap(True)
        flags = Qt.TextInteractionFlag
        self.status.setTextInteractionFlags(
            flags.TextSelectableByMouse | flags.TextSelectableByKeyboard
        )
        self.details = self.named(
            QPushButton("Log"), "details", "Show what the run has said, and what went wrong."
        )
        self.details.clicked.connect(lambda: self._log.show(self))
        self.on_cpu = self.named(
            QPushButton("Run on the CPU"),
            "on_cpu",
            "Do it again on the processor: it has more memory, and takes longer.",
        )
        self.on_cpu.clicked.connect(self.run_on_cpu)
        line = QHBoxLayout()
        line.addWidget(self.status, 1)
        line.addWidget(self.details)
        self.body.addLayout(buttons)
        self.body.addWidget(self.progress)
        self.body.addLayout(line)
        self.body.addWidget(self.on_cpu)
        self.stop.setEnabled(False)
        self.details.hide()
        self.on_cpu.hide()

    def run_job(
        self,
        title: str,
        work: Generator[Any, None, Any],
        salvage: Callable[[], Any] | None = None,
    ) -> None:
        """Start a job; its reports go to `show_report`, its end to `show_end`."""
        assert self.job is None
        self.job = Job(title, work, salvage)
        self.job.reported.connect(self._on_report)
        self.job.ended.connect(self._on_ended)
        self.job.released.connect(self._on_released)
        self._log.clear()
        self.log(title)
        self.details.show()
        self.on_cpu.hide()
        # Not in napari's list of activities: its wheel turns in the status bar, each turn has the
        # whole window composed anew, and without a GPU that takes a third of a training's speed.
        self.set_running(True)
        if (window := self.main_window()) is not None:
            CloseGuard.of(window, Panel)
        self.show_progress(0.0, f"{title} …")
        self.job.start()

    def show_progress(self, done: float, text: str) -> None:
        """Show which part of a job is done, from 0 to 1, and a line of text."""
        self.progress.setValue(round(1000 * min(max(done, 0.0), 1.0)))
        self.status.setText(text)

    def log(self, text: str) -> None:
        """Add to the log of the job; what is there already is not said again."""
        self._log.add(text)

    @abstractmethod
    def show_report(self, report: Any) -> None:
        """Show what the generator yields."""

    @abstractmethod
    def show_end(self, ending: Ending) -> None:
        """Show how the job ended."""

    @property
    @abstractmethod
    def is_on_gpu(self) -> bool:
        """Whether the last job was on another device than the processor."""

    @abstractmethod
    def run_on_cpu(self) -> None:
        """Start again, on the processor, the job for which memory ran out."""

    def offer(self) -> None:
        """Offer what can be done now, after a job has let go of all it held."""

    def refuse(self, error: Exception) -> None:
        """Tell a person in one notification what is wrong with what they gave."""
        failure = explain(error)
        if not failure.expected:
            raise error  # napari shows it with its traceback
        self.status.setText(failure.message)
        show_error(failure.message)

    def say(self, message: str) -> None:
        """Say something that is no error."""
        self.status.setText(message)
        show_info(message)

    @property
    def is_running(self) -> bool:
        """Whether a job has not ended yet."""
        return self.job is not None

    def detach(self) -> None:
        """Let go of the viewer: the panel was closed for good. A job that goes on is stopped."""
        if self.job is not None:
            self.job.stop()

    def event(self, event: QEvent) -> bool:
        """Notice that the panel was put into a dock, or that the dock was closed."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is None:
                self._on_closed()
            else:
                QTimer.singleShot(0, self._settle)
        return bool(super().event(event))

    def _on_closed(self) -> None:
        """Go, or stay out of sight as long as there is a job; napari took the panel out."""
        if self.job is None:
            self.detach()
            return
        keep_waiting(self)
        show_info(f"{self.job.title} goes on. Open the panel again to watch it, or to stop it.")

    def _settle(self) -> None:
        """Become a tab beside the other panels: below each other they would be slits."""
        if not isalive(self) or not isinstance(dock := self.parent(), QDockWidget):
            return
        window = dock.parent()
        if not isinstance(window, QMainWindow):
            return
        self.main_window = ref(window)
        if self.job is not None:
            CloseGuard.of(window, Panel)
        area = window.dockWidgetArea(dock)
        others = [
            one
            for one in window.findChildren(QDockWidget)
            if isinstance(one.widget(), Panel)
            and one is not dock
            and not (one.isHidden() or one.isFloating())
            and window.dockWidgetArea(one) == area
        ]
        if others and not (dock.isFloating() or window.tabifiedDockWidgets(dock)):
            window.tabifyDockWidget(others[-1], dock)
            dock.show()
            dock.raise_()

    def _ask_to_stop(self) -> None:
        if self.job is not None:
            self.job.stop()
            self.setFocus()
            self.stop.setEnabled(False)
            self.status.setText("Stopping …")

    def _on_report(self, report: Any) -> None:
        if isinstance(report, Waiting):
            self.log(f"waiting for: {report.title}")
            self.show_progress(0, f"Waiting for {report.title} …")
            return
        self.log(describe(report))
        if isinstance(report, Notice):
            self.say(f"{report.message[:1].upper()}{report.message[1:]}.")
        else:
            self.show_report(report)

    def _on_ended(self, ending: Ending) -> None:
        self.log(": ".join(filter(None, (ending.state, ending.message))))
        if ending.trace and not ending.expected:
            self._log.add_trace(ending.trace)
        self.on_cpu.setVisible(ending.memory and self.is_on_gpu)
        self.job = None
        self.set_running(False)
        try:
            if ending.state == "failed":
                self._show_failure(ending)
        finally:
            self.show_end(ending)
        if ending.lingers:
            self.log(_LINGERS)
            self.status.setText(f"{self.status.text()}\n{_LINGERS}")
        if is_waiting(self) and self.job is None:  # nobody sees what the panel says
            if ending.state != "failed":
                show_info(self.status.text())
            QTimer.singleShot(0, partial(let_go, self))

    def _on_released(self) -> None:
        if not self.is_running:
            self.status.setText(self.status.text().removesuffix(f"\n{_LINGERS}"))
        self.offer()

    def _show_failure(self, ending: Ending) -> None:
        self.progress.setValue(0)
        if ending.expected:
            self.status.setText(ending.message)
            show_error(ending.message)
            return
        where = self._log.write(user_folder() / "log")
        message = f"{self._title} failed: {ending.message}"
        self.status.setText(message)
        show_error(f"{message}\nPress Log for more{f', or see {short(where)}' if where else ''}.")

    def set_running(self, running: bool) -> None:
        """Let only one job at a time be started."""
        if running and self.isAncestorOf(QApplication.focusWidget()):
            self.setFocus()  # what has it may be disabled now, and with it the panel's keys
        self.start.setEnabled(not running)
        self.stop.setEnabled(running)
