"""Run folders: all that a training run was given and has done, so that it is never lost.

Beside the model file ``M.safetensors`` and its log ``M.log.csv`` stands the folder ``M.run``:

- ``run.json``, the run file: ``equipose train --config M.run/run.json`` repeats the run;
- ``about.json``: seed, versions, device, and of each input its path, shape, type and the hash of
  a sample;
- ``state.json``: whether the run goes on, is done, was stopped or failed, and why;
- ``log.txt``: what it said, with the time;
- ``input-0.npy``, ``positions.csv``, ``examples.csv``, ``targets.npy``: what was given and lies in
  no other file;
- ``examples.npy``: a few of its boxes; and, while it is not done, checkpoints.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout
from numpy.typing import NDArray

from .._files import atomic_path, remove_temporaries, write_json
from ..geometry import InputError
from ._checkpoint import checkpoint_path
from ._failure import explain
from ._inputs import holds
from ._run_file import TrainingRun, write_run

StateName = Literal["new", "running", "done", "stopped", "failed", "forgotten"]


class RunState(NamedTuple):
    """How far a run is, as its folder says."""

    state: StateName
    """new: nothing was learned yet. running: now, or when the machine or the program died.
    forgotten: it was not done, and nobody wants it to be."""
    reason: str = ""
    """Why it failed."""
    pid: int = 0


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @classmethod
    def of(cls, model: Path) -> "RunFolder":
        """The folder that belongs to a model file."""
        return cls(checkpoint_path(Path(model)).parent)

    @property
    def model(self) -> Path:
        """The model file that belongs to the folder."""
        return self.path.with_suffix(".safetensors")

    @property
    def run_file(self) -> Path:
        """The settings of the run."""
        return self.path / "run.json"

    @property
    def log(self) -> Path:
        """What the run said."""
        return self.path / "log.txt"

    @property
    def examples(self) -> Path:
        """A few normalised boxes (n, channels, y, x), float32, for pictures."""
        return self.path / "examples.npy"

    @property
    def state(self) -> RunState:
        """How far the run is; "running" where its file can't be read."""
        content = _read_json(self.path / "state.json")
        name: Any = content.get("state")
        if name not in get_args(StateName):
            return RunState("running")
        pid = content.get("pid")
        return RunState(name, str(content.get("reason", "")), pid if type(pid) is int else 0)

    @property
    def about(self) -> dict[str, Any]:
        """What is known of the run; empty where nothing was written yet."""
        return _read_json(self.path / "about.json")

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """What the run learns from; empty where it has not begun."""
        found = self.about.get("inputs")
        return found if isinstance(found, list) else []

    def write_state(self, state: StateName, reason: str = "") -> None:
        """Say how far the run is."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        content = {"state": state, "reason": reason, "pid": os.getpid(), "date": now}
        write_json(self.path / "state.json", content)

    def write_about(self, **entries: Any) -> None:
        """Add to what is known of the run."""
        write_json(self.path / "about.json", self.about | entries)

    def say(self, line: str) -> None:
        """Add a line to the log, where that can be done: a full disk ends no run here."""
        now = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
        with suppress(OSError), self.log.open("a", encoding="utf-8") as file:
            file.write(f"{now}  {line}\n")

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Let nobody else work in the folder, and keep its state and log by what happens.

        Raises
        ------
        InputError
            If another process works on this run.
        """
        before = self.state
        lock = self._lock()
        refused = False
        try:
            self.clean()
            self.write_state("running")
            self.say("begins" if before.state == "new" else "goes on")
            try:
                yield
            except (GeneratorExit, KeyboardInterrupt):
                self.end("stopped")
                raise
            except BaseException as error:
                failure = explain(error)
                # A full disk or memory that runs out is no refusal: the run can be resumed.
                refused = isinstance(error, InputError) and not failure.memory
                refused = refused and before.state == "new" and not self.inputs
                if not refused:
                    self.end("failed", failure.message)
                raise
            self.end("done")
        finally:
            lock.release()
            if refused:  # before it began: nothing is worth keeping
                self.discard()

    def _lock(self) -> BaseFileLock:
        lock = FileLock(self.path / "lock", timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise InputError(f"{self.path}: this run is going on in another process.") from None
        return lock

    def end(self, state: StateName, reason: str = "") -> None:
        """Say how the run ended, as far as the disk lets it be said."""
        self.say(": ".join(filter(None, (state, reason))))
        with suppress(OSError):
            self.write_state(state, reason)

    def clean(self) -> None:
        """Remove what processes that are gone left half written."""
        files = [self.path / name for name in (*_FILES, *_TO_GO_ON, "input-0.npy")]
        for file in (*files, self.model, self.model.with_suffix(".log.csv")):
            remove_temporaries(file)

    def forget(self) -> None:
        """Remove what is needed only to go on."""
        for name in _TO_GO_ON:
            (self.path / name).unlink(missing_ok=True)

    def give_up(self) -> None:
        """Let the run be resumed no more. Its model stays, with what is needed to repeat it.

        Where there is no model, nothing is worth keeping, and the folder goes.

        Raises
        ------
        InputError
            If the run is going on.
        OSError
            If the folder can't be written.
        """
        lock = self._lock()
        try:
            if self.model.exists():
                self.write_state("forgotten")  # first: half forgotten is not to be resumed
                self.forget()
                self.say("forgotten")
                return
            self.run_file.unlink(missing_ok=True)
        finally:
            lock.release()
        self.discard()

    def discard(self) -> None:
        """Remove a run that was never begun."""
        with suppress(OSError):
            self.forget()
            for name in (*_FILES, *(path.name for path in self.path.glob("input-*.npy"))):
                (self.path / name).unlink(missing_ok=True)
            self.path.rmdir()

    @property
    def is_running(self) -> bool:
        """Whether a process works on the run now."""
        if self.state.state != "running" or not (self.path / "lock").exists():
            return False
        try:
            with FileLock(self.path / "lock", timeout=0, thread_local=False):
                return False
        except Timeout:
            return True

    @property
    def is_taken(self) -> bool:
        """Whether there is a run of this name: one that goes on, can be resumed, or is repeated.

        Another run of the name would take its place.
        """
        return self.run_file.exists()


_FILES = (
    *("run.json", "about.json", "state.json", "log.txt", "lock"),
    *("positions.csv", "examples.csv", "targets.npy", "examples.npy"),
)
_TO_GO_ON = (
    *("checkpoint.safetensors", "members.npy", "powers.npy"),
    *("round1.safetensors", "round1.log.csv", "round1.checkpoint.safetensors"),
)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def create_run(
    model: Path,
    run: TrainingRun,
    *,
    pixels: Sequence[Any] = (),
    positions: NDArray[np.floating[Any]] | None = None,
    examples: NDArray[np.floating[Any]] | None = None,
    targets: NDArray[Any] | None = None,
    source: dict[str, Any] | None = None,
    resume: bool = False,
) -> RunFolder:
    """Make the folder of a run, with a snapshot of what it was given.

    Parameters
    ----------
    model : Path
        The model file the run is to write.
    run : TrainingRun
        Its images are files.
    pixels : sequence of array, optional
        The images that are meant, where they were in memory. One whose file, if ``run`` names
        one, holds the very same is left there; any other is saved in the folder.
    positions : array, shape (n, 2), optional
        Centres (y, x) of the boxes, in pixels of the one image.
    examples : array, shape (n, 2), optional
        Centers (y, x) of a few objects of the kind to look for, in pixels of the one image.
    targets : array, optional
        The objects of a stack at rest, of its shape.
    source : dict, optional
        Where the pixels came from, for the record in the model file; plain JSON.
    resume : bool
        Keep what an earlier start of this run has done.

    Raises
    ------
    InputError
        If the run is going on.
    OSError
        If the folder can't be written.
    """
    folder = RunFolder.of(model)
    if folder.is_running:
        raise InputError(f"{folder.path}: this run is going on in another process.")
    is_new = not folder.path.exists()
    folder.path.mkdir(parents=True, exist_ok=True)
    images = list(run.images)
    for index, array in enumerate(pixels):
        if index >= len(images) or not holds(images[index], array, run):
            kept = folder.path / f"input-{index}.npy"
            _keep_array(kept, array)
            images[index : index + 1] = [str(kept)]
    if targets is not None and not (run.targets and holds(run.targets, targets, run)):
        _keep_array(folder.path / "targets.npy", targets)
        run = replace(run, targets=str(folder.path / "targets.npy"))
    for name, places in {"positions": positions, "examples": examples}.items():
        if places is not None:
            kept = folder.path / f"{name}.csv"
            with atomic_path(kept) as temporary:
                np.savetxt(temporary, places, "%.17g", ",", header="y,x", comments="")
            kept_as: dict[str, Any] = {name: str(kept)}
            run = replace(run, **kept_as)
    if not resume:
        folder.forget()
        folder.log.unlink(missing_ok=True)
        write_json(folder.path / "about.json", {"source": source or {}})
    write_run(folder.run_file, replace(run, images=tuple(images), output=str(folder.model)))
    if is_new or not resume:
        folder.write_state("new" if is_new else "stopped")
    return folder


def _keep_array(path: Path, array: Any) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.asarray(array), allow_pickle=False)
