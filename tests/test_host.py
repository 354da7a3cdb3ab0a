"""What a program that hosts this package, such as napari, keeps as it was."""

import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from host_state import elsewhere, state
from test_run_folder import from_stack
from tiny import MODEL

from napari_equipose._threads import compute_here_with, usual_threads
from napari_equipose.inference import detect
from napari_equipose.models import Normalisation, SavedModel, TargetVAE
from napari_equipose.training import _in_child, train_run
from napari_equipose.widgets._worker import Job

IMPORT = f"""
import json, sys
import matplotlib.figure, mrcfile, napari, pandas, pyqtgraph, qtpy.QtWidgets, scipy.ndimage
import skimage.filters, skimage.measure, sklearn.cluster, superqt, tifffile, torch, typer, zarr
sys.path.insert(0, {str(Path(__file__).parent)!r})
import host_state
before = host_state.state()
import napari_equipose, napari_equipose.cli, napari_equipose.evaluation, napari_equipose.inference
import napari_equipose.io, napari_equipose.simulation, napari_equipose.training
import napari_equipose.widgets
after = host_state.state()
print(json.dumps([name for name in before if before[name] != after[name]]))
"""


def test_an_import_turns_no_switch() -> None:
    environment = {name: value for name, value in os.environ.items() if name[:3] != "OMP"}
    said = subprocess.run(
        [sys.executable, "-c", IMPORT], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(said.stdout.splitlines()[-1]) == []


THEIRS = ("warnings",)
"""What libraries that are imported late, such as sympy and scipy.special, change."""


def differing(before: dict[str, Any], *but: str) -> list[str]:
    """Name what is changed and stays so.

    torch knows no number of threads of one thread alone, so that a job changes that of new threads
    for as long as it takes to put it back.
    """
    changed = [name for name in before if name not in but]
    for _ in range(5):
        after = state()
        changed = [name for name in changed if before[name] != after[name]]
        if not changed:
            break
        time.sleep(0.02)
    return changed


@pytest.mark.usefixtures("home")
def test_panels_and_jobs_turn_no_switch(make_napari_viewer, qtbot, tmp_path: Path) -> None:
    saved = SavedModel(
        kind="target-vae", model=TargetVAE(MODEL).eval(), normalisation=Normalisation()
    )
    viewer = make_napari_viewer()
    before = state()
    for name in ("Train", "Detect", "Align", "Latent space"):
        viewer.window.add_plugin_dock_widget("napari-equipose", name)
    qtbot.wait(10)
    assert differing(before, *THEIRS) == []
    image = np.random.default_rng(0).random((40, 40), np.float32)
    inside: list[tuple[bool, int]] = []

    def work() -> Generator[Any, None, None]:
        for job in (detect(saved, image, device="cpu"), train_run(folder.path)):
            for report in job:
                inside.append((gc.isenabled(), torch.get_num_threads()))
                yield report

    folder = from_stack(tmp_path, threads=1)
    seen: list[list[str]] = []
    job = Job("Finding and training", work())
    # a step of training borrows the random numbers, and gives them back
    job.reported.connect(lambda _: seen.append(differing(before, "random", *THEIRS)))
    with qtbot.waitSignal(job.released, timeout=60_000):
        job.start()
    assert len(seen) > 5
    assert {name for one in seen for name in one} == set()
    assert all(enabled for enabled, _ in inside)
    qtbot.wait(50)
    assert differing(before, *THEIRS) == []


def test_threads_are_those_of_one_thread_alone() -> None:
    here, usual = torch.get_num_threads(), usual_threads()

    def job() -> tuple[int, int]:
        compute_here_with(usual + 3)
        return torch.get_num_threads(), elsewhere(torch.get_num_threads)

    assert elsewhere(job) == (usual + 3, usual)
    assert (torch.get_num_threads(), usual_threads()) == (here, usual)


def test_jobs_that_begin_together_leave_the_number_of_threads() -> None:
    usual = usual_threads()
    together, found = threading.Barrier(12), []

    def job(threads: int) -> None:
        together.wait()
        for _ in range(20):
            compute_here_with(threads)
        found.append(torch.get_num_threads() == threads)

    jobs = [threading.Thread(target=job, args=(usual + 1 + n,)) for n in range(12)]
    for one in jobs:
        one.start()
    for one in jobs:
        one.join()
    assert found == [True] * 12
    assert usual_threads() == usual


def test_only_processes_of_our_own_wait_without_spinning(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    given: dict[str, str] = {}

    def start(*command: Any, env: Any = None, **more: Any) -> Any:
        given.update(env or {})
        raise InterruptedError

    folder = from_stack(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(_in_child.subprocess, "Popen", start)
        with pytest.raises(InterruptedError):
            next(_in_child.train_in_child(folder.path))
        assert given["OMP_WAIT_POLICY"] == "PASSIVE" and "OMP_WAIT_POLICY" not in os.environ
        patch.setenv("OMP_WAIT_POLICY", "ACTIVE")
        with pytest.raises(InterruptedError):
            next(_in_child.train_in_child(folder.path))
        assert given["OMP_WAIT_POLICY"] == "ACTIVE"  # who set it knows why
    code = (
        "import os, sys, napari_equipose.cli._app as app\n"
        "app.app = lambda: print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])\n"
        "app.main()"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.stdout.split() == ["False", "PASSIVE"], said
