"""What a command shows: progress on standard error, its result on standard output."""

import json
import shutil
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from tqdm import tqdm

if TYPE_CHECKING:
    from ..inference import Notice, Progress
    from ..training import Report

Result = TypeVar("Result")


class Display:
    """The output of one command, as its options want it."""

    def __init__(self, *, quiet: bool, as_json: bool) -> None:
        self.quiet, self.as_json = quiet, as_json
        self.warnings: list[str] = []

    def warn(self, notice: "Notice | None") -> None:
        """Tell on standard error, and in the JSON object, what may be wrong with the input."""
        if notice is not None:
            self.warnings.append(notice.message)
            self.say(f"warning: {notice.message}")

    def say(self, text: str) -> None:
        """Tell what is going on, on standard error."""
        if not self.quiet:
            typer.echo(text, err=True)

    def result(
        self, text: str, values: dict[str, Any], failed: Mapping[str, str] = {}, of: int = 1
    ) -> None:
        """Print what came out: ``values`` as JSON if that is wanted, else ``text``.

        Where ``failed`` names some of the images, with the reason for each, they are told
        last, and the command ends with code 1.
        """
        if self.as_json:
            failures = [{"image": name, "error": reason} for name, reason in failed.items()]
            more = {"warnings": self.warnings} | ({"failed": failures} if of > 1 else {})
            typer.echo(json.dumps(values | more, allow_nan=False))
        elif not self.quiet:
            typer.echo(text)
        if failed:
            for reason in failed.values():
                typer.echo(f"error: {' '.join(reason.split())}", err=True)
            typer.echo(f"error: {len(failed)} of {of} images failed, the rest is done", err=True)
            raise typer.Exit(1)

    def run(self, job: Generator[Any, None, Result], what: str) -> Result:
        """Run a job to its end with a progress bar; an interrupt closes it where it is."""
        from ..inference import Notice, finish
        from ..training import EpochReport, Started, StepReport, describe

        hidden = self.quiet or not sys.stderr.isatty()
        # tqdm shows nothing on a terminal that does not tell its size; this falls back to 80 x 24.
        columns, rows = shutil.get_terminal_size()
        bar = tqdm(desc=what, total=1, disable=hidden, leave=False, ncols=columns, nrows=rows)
        with closing(job), bar:
            phases = _Phases(bar, what)

            def show(report: "Report") -> None:
                if isinstance(report, Notice | Started):
                    with bar.external_write_mode(sys.stderr):
                        self.say(describe(report))
                elif isinstance(report, EpochReport):
                    phases.show_time(report.epoch, report.validation_loss, report.seconds_left)
                elif isinstance(report, StepReport):
                    phases.show_time(report.epoch + 1, report.loss, report.seconds_left)
                else:
                    phases.show_count(report)

            return finish(job, show)


class _Phases:
    """One bar for a job of several phases: some are counted, some last as long as they may."""

    def __init__(self, bar: "tqdm[Any]", what: str) -> None:
        self.bar, self.what = bar, what
        self.phase: str | None = None
        self.began = 0.0

    def show_time(self, epoch: int, loss: float, left: float) -> None:
        """A phase whose end is told in seconds: minutes may end a training, or epochs."""
        if self._enters("training"):
            self.bar.bar_format = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}"
            self.bar.reset(1)
        elapsed = time.monotonic() - self.began
        share = elapsed / (elapsed + left) if isfinite(left) and elapsed > 0 else 0.0
        wait = tqdm.format_interval(left) if isfinite(left) else "?"
        self.bar.set_postfix_str(f"{wait} left, epoch {epoch}, loss {loss:.2f}", refresh=False)
        self.bar.n = share
        self.bar.refresh()

    def show_count(self, progress: "Progress") -> None:
        """A phase whose steps are counted."""
        if self._enters(progress.message or self.what):
            self.bar.bar_format = None
            self.bar.set_postfix_str("", refresh=False)
            self.bar.reset(progress.total)
        self.bar.total = progress.total
        self.bar.n = progress.done
        self.bar.refresh()

    def _enters(self, phase: str) -> bool:
        """Whether a phase begins."""
        if phase == self.phase:
            return False
        self.phase, self.began = phase, time.monotonic()
        self.bar.set_description_str(phase, refresh=False)
        return True
