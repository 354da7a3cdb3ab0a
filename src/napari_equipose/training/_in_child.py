"""Training in a process of its own, driven from this one.

The child says what `train_run` reports as lines of JSON. It ends by itself when it is told to
stop, and when this process is gone; where it does not answer in time, it is killed: the model
file and the checkpoint are whole at any moment.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ..geometry import InputError, check_type
from ..inference import Notice, Progress
from ..models import OutOfMemory, SavedModel, load_model
from ._failure import ChildFault, Failure
from ._reports import EpochReport, Report, Started, StepReport
from ._run_file import read_run
from ._run_folder import RunFolder

GRACE = 1.5
"""Seconds that a child has to end by itself."""
_POLL = 0.1
_KINDS = {kind.__name__: kind for kind in (Started, StepReport, EpochReport, Progress, Notice)}


def train_in_child(
    folder: Path, *, resume: bool = False
) -> Generator[Report | None, None, SavedModel]:
    """Do what `train_run` does in another process, of lower priority.

    Parameters
    ----------
    folder, resume
        As for `train_run`.

    Yields
    ------
    Report or None
        What `train_run` yields; None when there is nothing new, at least ten times a second, so
        that whoever drives the generator can close it at any moment. Closing takes two seconds
        at most.

    Returns
    -------
    SavedModel

    Raises
    ------
    InputError
        As `train_run` does, and if the process dies.
    ChildFault
        If it fails by a fault of ours; what the child knew of it is in a note.
    """
    check_type("folder", folder, str, Path)
    place = RunFolder(Path(folder))
    read_run(place.run_file)
    return _train_in_child(place, resume)


def _train_in_child(place: RunFolder, resume: bool) -> Generator[Report | None, None, SavedModel]:
    process = _start(place, resume)
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    assert process.stdout is not None
    reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
    reader.start()
    end: dict[str, Any] | None = None
    closed = False
    try:
        while True:
            try:
                line = lines.get(timeout=_POLL)
            except queue.Empty:
                yield None
                continue
            if line is None:
                break
            report = _decoded(line)
            if isinstance(report, dict):
                end = report
            else:
                yield report
    except GeneratorExit:
        closed = True
        raise
    finally:
        code = _stop(process)
        reader.join()
        process.stdout.close()
        if end is None:
            place.clean()
            if place.state.pid == process.pid and place.state.state == "running":
                if closed:
                    place.end("stopped")
                else:
                    place.end("failed", _death(code))
    if end is None:
        raise InputError(f"{_death(code)} Resume goes on. What it said is in {place.log}.")
    if "message" in end:
        raise _error(Failure(end["message"], end["expected"], end["memory"]), end["trace"])
    return load_model(place.model)


def encode_report(report: Report) -> str:
    """One line of JSON that holds a report."""
    return json.dumps({"report": type(report).__name__, **report._asdict()})


def encode_end(failure: Failure | None = None, trace: str = "") -> str:
    """One line of JSON that says how the child ended."""
    content: dict[str, Any] = {"report": "End"}
    if failure is not None:
        content |= {**failure._asdict(), "trace": trace}
    return json.dumps(content)


def _decoded(line: str) -> Report | dict[str, Any]:
    """Read a line of the child: a report, or the end as a mapping."""
    try:
        content = json.loads(line)
        kind = content.pop("report")
        return dict(content) if kind == "End" else _KINDS[kind](**content)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ChildFault(f"The training process said what is no report: {line[:80]!r}") from None


def _start(place: RunFolder, resume: bool) -> "subprocess.Popen[str]":
    command = [sys.executable, "-P", "-m", "napari_equipose.training._child", str(place.path)]
    # Threads that wait by spinning slow training tenfold when the viewer wants their core.
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | dict(os.environ)
    if threads := read_run(place.run_file).threads:
        environment.setdefault("OMP_NUM_THREADS", str(threads))
    # only on Windows; elsewhere the child makes itself nice
    flags = getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
    flags |= getattr(subprocess, "CREATE_NO_WINDOW", 0)
    with place.log.open("ab") as log:
        return subprocess.Popen(
            [*command, *(["--resume"] if resume else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            text=True,
            encoding="utf-8",
            creationflags=flags,
        )


def _read(stream: IO[str], lines: "queue.SimpleQueue[str | None]") -> None:
    with suppress(ValueError, OSError):
        for line in stream:
            lines.put(line)
    lines.put(None)


def _stop(process: "subprocess.Popen[str]") -> int:
    """Let a child end, or end it; return its exit code."""
    stdin = process.stdin
    assert stdin is not None
    with suppress(OSError):
        stdin.write("stop\n")
    with suppress(OSError):
        stdin.close()
    try:
        return process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _death(code: int) -> str:
    """Say what ended a child that said nothing."""
    if code >= 0:
        return f"The training process ended by itself with exit code {code}."
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    words = f"The training process was ended from outside ({name})"
    if name == "SIGKILL":
        return f"{words}: memory ran out, or somebody ended it."
    return f"{words}."


def _error(failure: Failure, trace: str) -> Exception:
    error: Exception
    if failure.memory:
        error = OutOfMemory(failure.message)
    else:
        error = (InputError if failure.expected else ChildFault)(failure.message)
    if trace:
        error.add_note(trace)
    return error
