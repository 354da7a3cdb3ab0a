"""Run folders: what they keep, when they refuse, and that a run can be repeated and resumed."""

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from tiny import SETTINGS

from napari_equipose import _files
from napari_equipose.geometry import InputError
from napari_equipose.inference import finish
from napari_equipose.models import load_model
from napari_equipose.simulation import multi_object_scene
from napari_equipose.training import (
    EpochReport,
    RunFolder,
    Started,
    TrainingRun,
    _train_run,
    create_run,
    read_run,
    train_run,
    unfinished_run,
    unfinished_runs,
    write_run,
)

STACK = np.random.default_rng(0).normal(size=(40, 24, 24)).astype(np.float32)


def tiny(**options: Any) -> TrainingRun:
    return TrainingRun(**({"epochs": 4, "device": "cpu", "settings": SETTINGS} | options))


def from_stack(tmp_path: Path, name: str = "m", **options: Any) -> RunFolder:
    np.save(tmp_path / "stack.npy", STACK)
    run = tiny(images=(str(tmp_path / "stack.npy"),), **options)
    return create_run(tmp_path / f"{name}.safetensors", run)


def stop_after(job: Any, epochs: int) -> None:
    for report in job:
        if isinstance(report, EpochReport) and report.epoch == epochs:
            break
    job.close()


def names(folder: RunFolder) -> set[str]:
    return {path.name for path in folder.path.iterdir()}


def test_a_folder_says_all_of_a_run_that_is_done(tmp_path: Path) -> None:
    folder = from_stack(tmp_path)
    assert folder.state.state == "new"
    reports: list[Any] = []
    saved = finish(train_run(folder.path), reports.append)
    assert saved.digest == load_model(tmp_path / "m.safetensors").digest
    assert folder.state.state == "done"
    assert Started(40, 24, 4) in reports
    (given,) = folder.about["inputs"]
    assert (given["path"], given["shape"]) == (str(tmp_path / "stack.npy"), [40, 24, 24])
    assert {"torch", "python", "napari-equipose"} <= folder.about["versions"].keys()
    log = folder.log.read_text()
    assert "epoch 4 of 4" in log and "done" in log
    assert len(pd.read_csv(tmp_path / "m.log.csv")) == 4
    assert np.load(folder.examples).shape == (12, 1, 24, 24)
    assert not any("checkpoint" in name or name.startswith(".") for name in names(folder))


def test_a_run_is_repeated_from_its_folder_wherever_it_lies(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "one").mkdir()
    folder = from_stack(tmp_path / "one")
    digest = finish(train_run(folder.path)).digest
    shutil.move(tmp_path / "one", tmp_path / "two")
    monkeypatch.chdir("/")
    run = read_run(tmp_path / "two" / "m.run" / "run.json")
    again = create_run(tmp_path / "again.safetensors", run)
    assert finish(train_run(again.path)).digest == digest


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_run_on_an_image_that_is_resumed_is_the_same_to_the_bit(tmp_path, epochs) -> None:
    scene = multi_object_scene(np.random.default_rng(0), shape=(160, 160), n=12)
    tifffile.imwrite(tmp_path / "scene.tif", scene.image.astype(np.float32))
    run = tiny(images=(str(tmp_path / "scene.tif"),), box_size=24, epochs=5)
    whole = create_run(tmp_path / "whole.safetensors", run)
    digest = finish(train_run(whole.path)).digest
    parts = create_run(tmp_path / "parts.safetensors", run)
    stop_after(train_run(parts.path), epochs)  # in the first round, in the second
    assert parts.state.state == "stopped"
    load_model(parts.model)
    assert finish(train_run(parts.path, resume=True)).digest == digest
    one, other = (pd.read_csv(tmp_path / f"{name}.log.csv") for name in ("whole", "parts"))
    columns = ["epoch", "loss", "validation_loss"]
    pd.testing.assert_frame_equal(one[columns], other[columns])
    assert "round1.safetensors" not in names(parts)


def test_a_run_that_died_can_be_resumed_at_any_of_its_files(tmp_path: Path) -> None:
    """The disk as it was at each report is a state to go on from."""
    whole = finish(train_run(from_stack(tmp_path, "whole").path)).digest
    folder = from_stack(tmp_path, "m")
    job = train_run(folder.path)
    copies = []
    for _ in job:
        copy = tmp_path / f"{len(copies)}"
        copy.mkdir()
        shutil.copytree(folder.path, copy / "m.run")
        for path in (tmp_path / "stack.npy", *tmp_path.glob("m.[ls]*")):
            shutil.copy(path, copy)
        copies.append(copy)
    assert len(copies) > 4
    for copy in copies:
        (run,) = unfinished_runs(copy)
        assert (run.state, run.can_resume) == ("running", True)
        assert finish(train_run(copy / "m.run", resume=True)).digest == whole


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    folder = from_stack(tmp_path)
    stop_after(train_run(folder.path), 1)
    folder.write_state("running")
    text = (folder.path / "state.json").read_text()
    (folder.path / "state.json").write_text(text.replace(str(os.getpid()), "99999999"))
    left = [tmp_path / ".m.99999999.safetensors", folder.path / ".checkpoint.99999999.safetensors"]
    for path in left:
        path.write_bytes(b"half")
    finish(train_run(folder.path, resume=True))
    assert not any(path.exists() for path in left)


def test_an_input_that_changed_is_refused(tmp_path: Path) -> None:
    folder = from_stack(tmp_path)
    stop_after(train_run(folder.path), 1)
    for change, words in (
        (STACK[:30], "shape"),
        (STACK.astype(np.float64), "type"),
        (STACK + (np.arange(24) == 3), "pixels"),
    ):
        np.save(tmp_path / "stack.npy", change.astype(change.dtype.newbyteorder("=")))
        if words == "pixels":
            np.save(tmp_path / "stack.npy", change.astype(np.float32))
        with pytest.raises(InputError, match=rf"stack.npy has changed .*{words}.*put the file"):
            finish(train_run(folder.path, resume=True))
    np.save(tmp_path / "stack.npy", STACK)
    finish(train_run(folder.path, resume=True))


def test_a_run_whose_input_vanished_is_listed_with_the_reason(tmp_path: Path) -> None:
    folder = from_stack(tmp_path)
    stop_after(train_run(folder.path), 1)
    (tmp_path / "stack.npy").unlink()
    (run,) = unfinished_runs(tmp_path)
    assert not run.can_resume and "stack.npy is gone" in run.problem
    with pytest.raises(InputError, match=r"stack\.npy"):
        finish(train_run(folder.path, resume=True))
    assert folder.state.state == "failed"  # and it is not thrown away


def test_a_long_search_for_objects_can_be_stopped_at_any_moment(tmp_path, monkeypatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def prepare(_: Any) -> Any:
        begun.set()
        go_on.wait(60)
        raise InputError("nobody hears this")

    monkeypatch.setattr(_train_run.RunInputs, "prepare", prepare)
    monkeypatch.setattr(_train_run, "_PATIENCE", 0.01)
    folder = from_stack(tmp_path)
    job = train_run(folder.path)
    for _ in job:
        if begun.is_set():
            break
    job.close()
    go_on.set()
    assert folder.state.state == "stopped"
    monkeypatch.undo()
    finish(train_run(folder.path, resume=True))


def test_pixels_that_no_file_holds_are_kept(tmp_path: Path) -> None:
    np.save(tmp_path / "stack.npy", STACK)
    file = (str(tmp_path / "stack.npy"),)
    there = create_run(tmp_path / "a.safetensors", tiny(images=file), pixels=[STACK])
    assert read_run(there.run_file).images == file
    edited = STACK.copy()
    edited[7, 8, 9] += 1
    other = create_run(tmp_path / "b.safetensors", tiny(images=file), pixels=[edited])
    assert read_run(other.run_file).images == (str(other.path / "input-0.npy"),)
    bare = create_run(tmp_path / "c.safetensors", tiny(), pixels=[edited])
    for folder in (other, bare):
        np.testing.assert_array_equal(np.load(folder.path / "input-0.npy"), edited)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_boxes_around_given_positions_and_colour_are_kept(tmp_path: Path, dtype: type) -> None:
    rng = np.random.default_rng(0)
    picture = (rng.random((100, 120, 3)) * 255).astype(dtype)
    positions = rng.uniform(20, 80, (15, 2))
    run = tiny(box_size=16, epochs=1)
    folder = create_run(tmp_path / "m.safetensors", run, pixels=[picture], positions=positions)
    reports: list[Any] = []
    assert finish(train_run(folder.path), reports.append).model.config.channels == 3
    assert Started(15, 20, 1) in reports
    assert len(folder.about["inputs"]) == 2


def test_a_run_refused_before_it_began_leaves_nothing(tmp_path: Path) -> None:
    folder = create_run(tmp_path / "m.safetensors", tiny(images=(str(tmp_path / "none.npy"),)))
    with pytest.raises(InputError, match="does not exist"):
        finish(train_run(folder.path))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_is_never_thrown_away(tmp_path: Path) -> None:
    folder = from_stack(tmp_path)
    finish(train_run(folder.path))
    run = read_run(folder.run_file)
    (tmp_path / "stack.npy").unlink()
    again = create_run(folder.model, run)
    with pytest.raises(InputError, match="does not exist"):
        finish(train_run(again.path))
    assert read_run(folder.run_file) == run
    assert folder.state.state == "failed" and "stack.npy" in folder.state.reason


def test_nobody_works_on_a_run_that_goes_on(tmp_path: Path) -> None:
    folder = from_stack(tmp_path)
    job = train_run(folder.path)
    next(job)
    with pytest.raises(InputError, match="going on in another process"):
        next(train_run(folder.path, resume=True))
    with pytest.raises(InputError, match="going on in another process"):
        create_run(folder.model, tiny())
    run = unfinished_run(folder)
    assert run is not None and run.problem == "it is going on"
    job.close()
    run = unfinished_run(folder)
    assert run is not None and run.can_resume


def test_a_run_that_is_forgotten_can_be_repeated_and_not_resumed(tmp_path: Path) -> None:
    folder = from_stack(tmp_path)
    stop_after(train_run(folder.path), 2)
    before = folder.model.read_bytes()
    folder.give_up()
    assert folder.state.state == "forgotten"
    assert unfinished_run(folder) is None and unfinished_runs(tmp_path) == []
    assert folder.model.read_bytes() == before
    assert not any("checkpoint" in name for name in names(folder))
    with pytest.raises(InputError, match=r"was forgotten .*train --config .*run\.json"):
        next(train_run(folder.path, resume=True))
    assert folder.state.state == "forgotten"
    again = create_run(tmp_path / "again.safetensors", read_run(folder.run_file))
    whole = finish(train_run(from_stack(tmp_path, "whole").path))
    assert finish(train_run(again.path)).digest == whole.digest


def test_a_run_without_a_model_that_is_forgotten_leaves_nothing(tmp_path: Path) -> None:
    folder = create_run(tmp_path / "m.safetensors", tiny(), pixels=[STACK])
    job = train_run(folder.path)
    next(job)
    with pytest.raises(InputError, match="going on"):
        folder.give_up()
    job.close()
    (run,) = unfinished_runs(tmp_path)
    run.folder.give_up()
    assert list(tmp_path.iterdir()) == []


def test_runs_that_are_not_done_are_listed_the_latest_first(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "old")):
        folder = from_stack(tmp_path, name)
        stop_after(train_run(folder.path), 1)
        os.utime(folder.path / "state.json", (1e9 - age, 1e9 - age))
    finish(train_run(from_stack(tmp_path, "done").path))
    broken = from_stack(tmp_path, "broken")
    broken.run_file.write_text("{")
    (tmp_path / "empty.run").mkdir()
    runs = unfinished_runs(tmp_path)
    assert [run.folder.model.stem for run in runs] == ["broken", "new", "old"]
    assert [run.can_resume for run in runs] == [False, True, True]


def test_a_full_disk_ends_a_run_with_its_reason_and_keeps_the_model(tmp_path, monkeypatch) -> None:
    folder = from_stack(tmp_path)
    real = Path.write_bytes
    full = []

    def write(path: Path, data: bytes) -> int:
        if full and "checkpoint" in path.name:
            path.touch()
            raise OSError(28, "No space left on device")
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", write)
    job = train_run(folder.path)
    with pytest.raises(OSError, match="No space left"):
        for report in job:
            full.extend([1] if isinstance(report, EpochReport) and report.epoch == 2 else [])
    assert folder.state.state == "failed"
    assert "No space left on device. What was done before is kept" in folder.state.reason
    assert not list(folder.path.glob(".*"))
    full.clear()
    digest = finish(train_run(from_stack(tmp_path, "whole").path)).digest
    assert finish(train_run(folder.path, resume=True)).digest == digest


def test_new_files_have_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        folder = from_stack(tmp_path)
        stop_after(train_run(folder.path), 1)
    finally:
        os.umask(before)
    for path in (folder.model, folder.path / "checkpoint.safetensors", folder.run_file):
        assert path.stat().st_mode & 0o777 == 0o640, path


def test_a_file_is_flushed_before_it_takes_its_name(tmp_path: Path, monkeypatch) -> None:
    order: list[str] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("flush"), real(handle))[1])
    replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda *paths: (order.append("rename"), replace(*paths))[1]
    )
    with _files.atomic_path(tmp_path / "file") as temporary:
        temporary.write_text("text")
    assert order == ["flush", "rename", "flush"]  # the file, then the folder
    write_run(tmp_path / "run.json", TrainingRun())
    assert order[3:] == ["flush", "rename", "flush"]
