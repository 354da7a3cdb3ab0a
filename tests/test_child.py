"""Training in a process of its own: the same as in this one, and an end whatever happens."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from test_run_folder import from_stack, tiny

from napari_equipose.geometry import InputError
from napari_equipose.inference import Notice, Progress, finish
from napari_equipose.models import OutOfMemory, load_model
from napari_equipose.training import (
    ChildFault,
    EpochReport,
    Failure,
    RunFolder,
    Started,
    StepReport,
    create_run,
    explain,
    train_in_child,
    train_run,
)
from napari_equipose.training import _in_child as in_child


def until_epoch(job: Any, epoch: int) -> EpochReport:
    return next(r for r in job if isinstance(r, EpochReport) and r.epoch == epoch)


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def pid_of(folder: RunFolder) -> int:
    return folder.state.pid


def test_a_child_makes_the_model_that_this_process_makes(tmp_path: Path) -> None:
    here: list[Any] = []
    digest = finish(train_run(from_stack(tmp_path, "here", threads=1).path), here.append)
    there: list[Any] = []
    folder = from_stack(tmp_path, "there", threads=1)
    saved = finish(train_in_child(folder.path), there.append)
    assert saved.digest == digest.digest
    often = (StepReport, Progress, type(None))  # as often as the time it takes
    assert [type(report) for report in there if not isinstance(report, often)] == [
        type(report) for report in here if not isinstance(report, often)
    ]
    assert folder.state.state == "done" and folder.state.pid != os.getpid()
    assert children() == []


def test_closing_stops_the_child_and_resuming_goes_on(tmp_path: Path) -> None:
    folder = from_stack(tmp_path, epochs=10_000)
    job = train_in_child(folder.path)
    until_epoch(job, 2)
    job.close()
    assert children() == []
    assert folder.state.state == "stopped"
    done = load_model(folder.model).record["epochs"]
    job = train_in_child(folder.path, resume=True)
    again = next(report for report in job if isinstance(report, EpochReport))
    job.close()
    assert again.epoch > done


def test_a_child_in_a_long_step_is_killed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(in_child, "GRACE", 0.2)
    folder = from_stack(tmp_path, epochs=10_000)
    job = train_in_child(folder.path)
    until_epoch(job, 1)
    os.kill(pid_of(folder), signal.SIGSTOP)  # answers no more
    job.close()
    assert children() == []
    assert folder.state.state == "stopped"
    load_model(folder.model)


def test_a_child_that_is_killed_is_a_reason_and_the_run_goes_on(tmp_path: Path) -> None:
    folder = from_stack(tmp_path, epochs=10_000)
    job = train_in_child(folder.path)
    until_epoch(job, 1)
    os.kill(pid_of(folder), signal.SIGKILL)
    with pytest.raises(InputError, match=r"ended from outside \(SIGKILL\): memory ran out"):
        finish(job)
    assert folder.state.state == "failed" and "SIGKILL" in folder.state.reason
    load_model(folder.model)
    job = train_in_child(folder.path, resume=True)
    next(report for report in job if isinstance(report, EpochReport))
    job.close()


def test_a_child_does_not_outlive_its_parent(tmp_path: Path) -> None:
    folder = from_stack(tmp_path, epochs=100_000)
    program = (
        "import sys; from pathlib import Path; from napari_equipose.training import *\n"
        "for report in train_in_child(Path(sys.argv[1])): pass"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(folder.path)])
    patience = time.monotonic() + 60
    while not (folder.path / "checkpoint.safetensors").exists():
        assert time.monotonic() < patience
        time.sleep(0.1)
    child = psutil.Process(folder.state.pid)
    assert child.ppid() == parent.pid
    parent.kill()
    parent.wait()
    child.wait(30)
    assert folder.state.state == "stopped"


def test_refusals_of_a_child_are_those_of_this_process(tmp_path: Path) -> None:
    flat = np.zeros((40, 24, 24), np.float32)
    words = []
    for train in (train_run, train_in_child):
        folder = create_run(tmp_path / "m.safetensors", tiny(), pixels=[flat])
        with pytest.raises(InputError) as refusal:
            finish(train(folder.path))
        words.append(str(refusal.value))
    assert words[0] == words[1]


def test_a_child_that_can_not_even_begin_says_so(tmp_path: Path, monkeypatch) -> None:
    folder = from_stack(tmp_path)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(InputError, match="exit code 1"):
        finish(train_in_child(folder.path))


@pytest.mark.parametrize(
    ("error", "kind", "memory"),
    [
        (InputError("no"), InputError, False),
        (OutOfMemory("too much"), OutOfMemory, True),
        (MemoryError(), OutOfMemory, True),
        (OSError(28, "No space left on device", "m"), InputError, False),
        (ValueError("ours"), ChildFault, False),
    ],
)
def test_errors_cross_between_processes(error, kind, memory) -> None:
    said = explain(error)
    arrived = in_child._error(Failure(*said), "trace of the child")
    assert type(arrived) is kind
    assert explain(arrived) == said
    assert said.memory == memory
    assert arrived.__notes__ == ["trace of the child"]


@pytest.mark.parametrize(
    "report",
    [
        Progress(1, 2, "encoding"),
        Notice("memory ran out"),
        Started(3, 4, 5),
        StepReport(1, 2, 3, float("nan"), float("inf")),
        EpochReport(1, 2, 3.0, 4.0, {"kl": 1.0}, 1e-3, 5.0, float("inf"), True),
    ],
)
def test_reports_cross_between_processes(report) -> None:
    import json

    content = json.loads(in_child.encode_report(report))
    assert repr(in_child._KINDS[content.pop("report")](**content)) == repr(report)


def test_a_job_answers_while_its_child_is_silent(tmp_path: Path) -> None:
    folder = from_stack(tmp_path)
    job = train_in_child(folder.path)
    assert next(job) is None  # the child is not up yet
    assert [thread.name for thread in threading.enumerate()]
    job.close()
    assert children() == []
