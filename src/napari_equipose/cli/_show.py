"""What a command shows: progress on standard error, its result on standard output."""

import json
import sys
import time
from collections.abc import Generator
from contextlib import closing
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from tqdm import tqdm

if TYPE_CHECKING:
    from ..inference import Progress
    from ..training import EpochReport, StepReport

Result = TypeVar("Result")


class Display:
    """The output of one command, as its options want it."""

    def __init__(self, *, quiet: bool, as_json: bool) -> None:
        self.quiet, self.as_json = quiet, as_json
        self._bar: tqdm[Any] | None = None
        self._began = 0.0

    def say(self, text: str) -> None:
        """Tell what is going on, on standard error."""
        if not self.quiet:
            typer.echo(text, err=True)

    def result(self, text: str, values: dict[str, Any]) -> None:
        """Print what came out: ``values`` as JSON if that is wanted, else ``text``."""
        if self.as_json:
            typer.echo(json.dumps(values, allow_nan=False))
        elif not self.quiet:
            typer.echo(text)

    def run(self, job: Generator[Any, None, Result], what: str) -> Result:
        """Run a job to its end with a progress bar; an interrupt closes it where it is."""
        from ..inference import finish
        from ..training import EpochReport, StepReport

        hidden = self.quiet or not sys.stderr.isatty()
        self._began = time.monotonic()

        def show(report: "Progress | StepReport | EpochReport") -> None:
            if isinstance(report, EpochReport):
                self._show_training(report, f"validation loss {report.validation_loss:.2f}")
            elif isinstance(report, StepReport):
                self._show_training(report, f"loss {report.loss:.2f}")
            else:
                self._show_progress(report)

        with closing(job), tqdm(desc=what, total=1.0, disable=hidden, leave=False) as bar:
            self._bar = bar
            return finish(job, show)

    def _show_progress(self, progress: "Progress") -> None:
        bar = self._bar
        assert bar is not None
        bar.total = progress.total
        if progress.message:
            bar.set_description_str(progress.message, refresh=False)
        bar.update(progress.done - bar.n)

    def _show_training(self, report: "StepReport | EpochReport", loss: str) -> None:
        """A bar of time, because minutes may end a run as well as epochs."""
        bar = self._bar
        assert bar is not None
        bar.bar_format = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}"
        elapsed, left = time.monotonic() - self._began, report.seconds_left
        share = elapsed / (elapsed + left) if isfinite(left) and left > 0 else 0.0
        wait = tqdm.format_interval(left) if isfinite(left) else "?"
        bar.set_postfix_str(f"{wait} left, epoch {report.epoch}, {loss}", refresh=False)
        bar.update(max(share - bar.n, 0))
        bar.refresh()
