"""A panel of parts that share one job at a time, each with its own kind of work."""

from collections.abc import Callable, Generator
from typing import Any

from qtpy.QtWidgets import QWidget

from ..inference import Notice, Progress
from ..models import choose_device
from ._panel import Panel
from ._preferences import read_preferences
from ._worker import Ending


class PartsPanel(Panel):
    """A dock widget whose parts have work done, one job at a time.

    Parameters
    ----------
    viewer : napari.Viewer
    room : str
        Word that object names begin with: ``equipose.<room>.start``.
    title : str
        What a failure is said to be of.
    """

    def __init__(self, viewer: Any, room: str, title: str) -> None:
        super().__init__(viewer, room, title)
        self.parts: list[Any] = []
        """Those that want to know of jobs, and of the end."""
        self.version = 0
        """Counted up when rows come or go, or have other contents."""
        self._device: str | None = None
        self._then: Callable[[Any], None] | None = None
        self._show: Callable[[Any], None] | None = None

    def add_part(self, part: QWidget) -> None:
        """Add a part, above the stretch that ends the panel.

        If it, or the content of a `Fold`, has methods ``set_running`` or ``detach``, they are
        called when those of the panel are.
        """
        self.parts.append(getattr(part, "content", part))
        self.body.insertWidget(self.body.count() - 1, part)

    def do(
        self,
        title: str,
        work: Generator[Any, None, Any],
        then: Callable[[Any], None],
        show: Callable[[Any], None] | None = None,
        *,
        about_rows: bool = True,
    ) -> None:
        """Run a generator as the panel's one job.

        Parameters
        ----------
        title : str
        work : generator
        then : callable
            Takes what it returns, if it comes to its end.
        show : callable, optional
            Takes what it reports, but for `Progress`, which the panel shows.
        about_rows : bool
            Whether the result is worth nothing once rows have come or gone.
        """
        if self.is_running:
            work.close()
            self.say("Wait for what is running, or press Stop.")
            return
        version = self.version

        def then_if_same(result: Any) -> None:
            if about_rows and version != self.version:
                self.say(f"The objects were changed meanwhile, so this is of no use: {title}.")
            else:
                then(result)

        self._then, self._show = then_if_same, show
        self.run_job(title, work)

    def show_report(self, report: Any) -> None:
        """Show how far the job is."""
        if isinstance(report, Progress):
            done = report.done / max(report.total, 1)
            self.show_progress(done, f"{report.message.capitalize()} …")
        elif isinstance(report, Notice):
            self.show_progress(0, f"{report.message.capitalize()} …")
        elif self._show is not None:
            self._show(report)

    def show_end(self, ending: Ending) -> None:
        """Hand on the result."""
        then, self._then, self._show = self._then, None, None
        if ending.state == "stopped":
            self.show_progress(0, "Stopped; nothing was changed.")
        elif ending.state == "done" and then is not None:
            self.show_progress(1, "")
            then(ending.result)
        self._device = None

    @property
    def is_on_gpu(self) -> bool:
        """Whether the last job was on another device than the processor."""
        return choose_device(self.device).type != "cpu"

    @property
    def device(self) -> str:
        """Where to compute."""
        return self._device or read_preferences().device

    def run_on_cpu(self) -> None:
        """Do it again on the processor."""
        self._device = "cpu"
        self.start.click()

    def set_running(self, running: bool) -> None:
        """Let only one job at a time be started."""
        super().set_running(running)
        for part in self.parts:
            if hasattr(part, "set_running"):
                part.set_running(running)

    def detach(self) -> None:
        """Let go of all: the panel was closed."""
        super().detach()
        for part in self.parts:
            if hasattr(part, "detach"):
                part.detach()
