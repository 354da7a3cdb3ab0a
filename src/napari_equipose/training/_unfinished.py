"""Runs that are not done: what a front end offers to resume."""

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from ..geometry import InputError
from ._run_file import read_run
from ._run_folder import RunFolder, StateName

_GOES_ON = "it is going on"


class UnfinishedRun(NamedTuple):
    """A run that is not done."""

    folder: RunFolder
    state: StateName
    """"running" of a run whose program or machine died, too."""
    reason: str
    """Why it failed."""
    date: datetime
    """When it last said how far it is."""
    problem: str = ""
    """Why it can't be resumed; empty where it can."""

    @property
    def can_resume(self) -> bool:
        """Whether `train_run` can go on with it."""
        return not self.problem

    @property
    def goes_on(self) -> bool:
        """Whether a process works on it now."""
        return self.problem == _GOES_ON


def unfinished_runs(folder: Path) -> list[UnfinishedRun]:
    """Runs in a folder that are not done, the latest first."""
    found = [
        run
        for path in Path(folder).glob("*.run")
        if (run := unfinished_run(RunFolder(path))) is not None
    ]
    return sorted(found, key=lambda run: run.date, reverse=True)


def unfinished_run(folder: RunFolder) -> UnfinishedRun | None:
    """Say how a run stands that is not done; None for one that is, was forgotten, or is none."""
    state = folder.state
    if state.state in ("done", "forgotten") or not folder.run_file.is_file():
        return None
    problem = ""
    try:
        if folder.is_running:
            problem = _GOES_ON
        else:
            run = read_run(folder.run_file)
            files = (*run.images, run.positions, run.examples, run.targets)
            gone = [name for name in files if name and not Path(name).exists()]
            problem = f"{gone[0]} is gone" if gone else ""
    except (InputError, OSError) as error:
        problem = str(error)
    said = folder.path / "state.json"
    date = (said if said.exists() else folder.run_file).stat().st_mtime
    return UnfinishedRun(folder, state.state, state.reason, datetime.fromtimestamp(date), problem)
