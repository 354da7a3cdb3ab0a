"""Faults, and how each ends: the state, and the words a person reads. One row, one fault.

Each is done to the panels that a person has. Whatever it was, the job ends, nothing of it goes
on, and the same panel then learns something else without a word of complaint.
"""

import errno
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
import psutil
import pytest
import torch
from filelock import FileLock
from napari.components import ViewerModel
from napari.settings import get_plugin_settings
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QWidget
from tiny import typed, untrained_harmony

from napari_equipose import _files
from napari_equipose.inference import _detect as detection
from napari_equipose.inference import _encode as encoding
from napari_equipose.inference import finish
from napari_equipose.models import SavedModel, TargetVAE, load_model
from napari_equipose.training import RunFolder, checkpoint_path
from napari_equipose.widgets import (
    AlignWidget,
    DetectWidget,
    TrainWidget,
    _align_job,
    _preferences,
    _worker,
)
from napari_equipose.widgets._layers import Plane
from napari_equipose.widgets._models import shelf
from napari_equipose.widgets._panel import Panel
from napari_equipose.widgets._train_job import learn
from napari_equipose.widgets._worker import Ending

if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
    pytest.skip("napari's viewer draws on no offscreen platform", allow_module_level=True)

TINY = typed(validation_images=8)
STACK = np.random.default_rng(0).normal(size=(40, 24, 24)).astype(np.float32)
VOLUMES = np.random.default_rng(2).normal(size=(8, 16, 16, 16)).astype(np.float32)
NOISE = np.random.default_rng(1).normal(size=(100, 100)).astype(np.float32)


class Room:
    """A viewer with panels, and what they have come to."""

    def __init__(self, viewer: Any, qtbot: Any, home: Path, patch: pytest.MonkeyPatch) -> None:
        self.viewer, self.qtbot, self.home, self.patch = viewer, qtbot, home, patch
        self.endings: list[Ending] = []
        self.panels: list[Any] = []
        self.train = self.open(TrainWidget)

    def open(self, kind: type) -> Any:
        panel = kind(self.viewer)
        self.qtbot.addWidget(panel)
        self.panels.append(panel)
        return panel

    def fill(self, panel: TrainWidget, *, epochs: int = 1, **choices: Any) -> TrainWidget:
        """Choose a tiny network, and where boxes come from."""
        self.control(panel, "settings").setText(TINY)
        self.control(panel, "epochs").setValue(epochs)
        self.control(panel, "box_size").setValue(24)
        for name, value in choices.items():
            control = self.control(panel, name)
            getattr(control, "setValue", getattr(control, "setText", None))(value)
        return panel

    def control(self, panel: Any, name: str) -> Any:
        found = panel.findChild(QWidget, f"equipose.{panel.room}.{name}")
        assert found is not None, name
        return found

    def boxes(self, data: Any = STACK, *, epochs: int = 1, **choices: Any) -> TrainWidget:
        """Learn from a stack of boxes."""
        layer = self.viewer.add_image(data, name="boxes", contrast_limits=(0, 1))
        self.fill(self.train, epochs=epochs, **choices).source.kind.value = "stack"
        self.train.source.stack.value = layer.unique_id
        self.train.start.click()
        return self.train

    def picture(self, data: Any = NOISE, **choices: Any) -> TrainWidget:
        """Learn from candidates in an image."""
        self.viewer.add_image(data, name="picture", contrast_limits=(0, 1))
        self.fill(self.train, **choices).start.click()
        return self.train

    def known(self) -> str:
        """Put a model on the shelf, trained without a panel; return its name."""
        self.viewer.add_image(STACK, name="boxes")
        panel = self.fill(TrainWidget(self.viewer))
        self.qtbot.addWidget(panel)
        panel.source.kind.value = "stack"
        order = panel._new_order(None)
        panel.detach()
        self.viewer.layers.clear()
        return shelf.put(finish(learn(order, 2)), order.output)

    def find(self, data: Any = NOISE, **options: Any) -> DetectWidget:
        """Find objects with a model that is known."""
        self.known()
        detect: Any = self.open(DetectWidget)
        self.viewer.add_image(data, **({"name": "picture", "contrast_limits": (0, 1)} | options))
        self.control(detect, "lowest").setValue(0.01)
        detect.start.click()
        return detect

    def align(self, data: Any = VOLUMES, **options: Any) -> AlignWidget:
        """Align volumes with a model that has learned nothing."""
        path = untrained_harmony(self.home / "volumes.safetensors", box_size=16)
        shelf.put(load_model(path), path)
        self.viewer.add_image(data, **({"name": "volumes", "contrast_limits": (0, 1)} | options))
        panel: Any = self.open(AlignWidget)
        self.control(panel, "iterations").setValue(1)
        panel.start.click()
        return panel

    def stopped(self, *, epochs: int = 6) -> RunFolder:
        """A run that was stopped after its first epoch, and can be resumed."""
        panel = self.boxes(epochs=epochs)
        self.until(lambda: panel.curve.last_epoch >= 1)
        panel.stop.click()
        self.settle()
        self.endings.clear()
        return RunFolder.of(panel._order.output)

    def until(self, condition: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(condition, timeout=300_000)

    def settle(self) -> None:
        """Wait until no panel has a job, and nothing of one is left."""
        self.until(lambda: not any(panel.is_running for panel in self.panels))
        self.until(lambda: not threads() and not psutil.Process().children(recursive=True))

    def at_each_loss(self, effect: Callable[[Any], Any]) -> None:
        """Do something each time a loss was computed."""
        real = TargetVAE.loss

        def loss(model: TargetVAE, images: Any, **options: Any) -> Any:
            return effect(real(model, images, **options))

        self.patch.setattr(TargetVAE, "loss", loss)

    def raising(self, error: BaseException) -> None:
        def effect(terms: Any) -> Any:
            raise error

        self.at_each_loss(effect)

    def own_process(self, script: str) -> None:
        """Have a script take the place of the training process."""
        program = self.home / "program"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        get_plugin_settings("napari-equipose").jobs.own_process = True
        self.patch.setattr(sys, "executable", str(program))


class Fault(NamedTuple):
    """A row of the table."""

    state: str
    """refused: no job was begun; else as the job ended."""
    words: str
    """Pattern of what is said: of a fault in a notification, else in the panel."""
    inject: Callable[[Room], None]


FAULTS: dict[str, Fault] = {}


def fault(state: str, words: str) -> Callable[[Callable[[Room], None]], Callable[[Room], None]]:
    def register(inject: Callable[[Room], None]) -> Callable[[Room], None]:
        FAULTS[inject.__name__] = Fault(state, words, inject)
        return inject

    return register


# -- memory


@fault("failed", "single box: try the device cpu")
def memory_runs_out_in_training(room: Room) -> None:
    room.raising(torch.OutOfMemoryError("CUDA out of memory"))
    room.boxes()


@fault("failed", r"Memory ran out\. Try a smaller batch or tile")
def memory_runs_out_while_boxes_are_read(room: Room) -> None:
    def read(*_: Any) -> Any:
        raise MemoryError

    room.patch.setattr("napari_equipose.training._train_run._keep_examples", read)
    room.boxes()


@fault("failed", "try the device cpu, or a part of the image")
def memory_runs_out_in_detection(room: Room) -> None:
    def candidates(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")
        yield

    room.patch.setattr(detection, "find_candidates", candidates)
    room.find()


@fault("failed", "single box: try the device cpu")
def memory_runs_out_in_aligning(room: Room) -> None:
    def encode(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    room.patch.setattr(encoding, "_encode_batch", encode)
    room.align()


# -- numbers


@fault("failed", r"the loss became nan in epoch 1: training has diverged.*broken images")
def the_loss_is_nan(room: Room) -> None:
    room.at_each_loss(lambda terms: terms._replace(total=terms.total * torch.nan))
    room.boxes()


@fault("failed", r"the loss became (inf|nan) in epoch [2-9]\d*: training has diverged")
def the_loss_is_infinite_after_an_epoch(room: Room) -> None:
    room.at_each_loss(
        lambda terms: terms._replace(
            total=terms.total * (torch.inf if room.train.curve.last_epoch else 1)
        )
    )
    room.boxes(epochs=10_000)


@fault("failed", "NaN")
def an_image_with_nan(room: Room) -> None:
    data = NOISE.copy()
    data[3, 4] = np.nan
    room.picture(data)


@fault("failed", "NaN")
def an_image_with_infinity_to_find_objects_in(room: Room) -> None:
    data = NOISE.copy()
    data[3, 4] = np.inf
    room.find(data)


@fault("failed", "volume 3 has values that are not finite|NaN|not finite")
def a_volume_with_nan(room: Room) -> None:
    data = VOLUMES.copy()
    data[2, 3, 4, 5] = np.nan
    room.align(data)


@fault("failed", "at least 8 particles, got 7")
def too_few_volumes(room: Room) -> None:
    room.align(VOLUMES[:7])


@fault("refused", "volumes: boxes of equal sides are wanted, these have 12 x 16 x 16 pixels")
def volumes_that_are_no_cubes(room: Room) -> None:
    room.align(VOLUMES[:, 2:14])


@fault("refused", "volumes: the sides of its pixels are 2 x 1 x 1")
def voxels_of_unequal_sides(room: Room) -> None:
    room.align(scale=(1, 2, 1, 1))


@fault("failed", "constant")
def an_image_that_is_constant(room: Room) -> None:
    room.picture(np.zeros((100, 100)))


@fault("failed", "no object of about")
def an_image_without_candidates(room: Room) -> None:
    room.picture(np.linspace(0, 1, 100)[:, None] * np.ones(100))


@fault("failed", "no object of about 20 pixels")
def an_image_smaller_than_the_box(room: Room) -> None:  # the panel lowers the box size to 20
    room.picture(NOISE[:20, :20])


@fault("failed", "too few to learn from; give at least 8")
def too_few_boxes(room: Room) -> None:
    room.boxes(STACK[:3])


@fault("failed", "square boxes")
def boxes_that_are_not_square(room: Room) -> None:
    room.boxes(STACK[:, :20])


@fault("failed", r"trained on gray images, and the image, .* is in color")
def a_model_of_another_number_of_channels(room: Room) -> None:
    room.find(np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8), rgb=True)


@fault("failed", "smaller than an object")
def an_image_smaller_than_the_model(room: Room) -> None:
    room.find(NOISE[:12, :12])


# -- exceptions of each class, in the worker


def exceptions() -> dict[str, tuple[BaseException, str]]:
    ours = [
        *(RuntimeError, ValueError, TypeError, IndexError, AttributeError, AssertionError),
        *(NotImplementedError, ZeroDivisionError, FloatingPointError, OverflowError),
        *(RecursionError, ImportError, NameError, BufferError, EOFError, UserWarning),
        *(KeyboardInterrupt, SystemExit, GeneratorExit),
    ]
    found: dict[str, tuple[BaseException, str]] = {
        kind.__name__: (kind("the cause"), f"Learning failed: {kind.__name__}: the cause")
        for kind in ours
    }
    found["KeyError"] = (KeyError("the cause"), "Learning failed: KeyError: 'the cause'")
    found["StopIteration"] = (StopIteration(), "Learning failed: RuntimeError: generator raised")
    for code, words in ((errno.EIO, "Input/output error"), (errno.EACCES, "Permission denied")):
        error = OSError(code, words, "a file")
        found[f"{type(error).__name__} {code}"] = (error, f"^a file: {words}")
    found["ConnectionResetError"] = (ConnectionResetError(104, "Connection reset"), "A file: Conn")
    return found


def _raised(name: str) -> Callable[[Room], None]:
    def inject(room: Room) -> None:
        room.raising(exceptions()[name][0])
        room.boxes()

    return inject


for _name, (_, _words) in exceptions().items():
    FAULTS[f"worker raises {_name}"] = Fault("failed", _words, _raised(_name))


@fault("failed", "Finding objects failed: RuntimeError: the cause")
def detection_raises_RuntimeError(room: Room) -> None:
    def candidates(*_: Any) -> Any:
        raise RuntimeError("the cause")
        yield

    room.patch.setattr(detection, "find_candidates", candidates)
    room.find()


@fault("failed", "Aligning failed: RuntimeError: the cause")
def aligning_raises_RuntimeError(room: Room) -> None:
    def align(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the cause")
        yield

    room.patch.setattr(_align_job, "align", align)
    room.align()


# -- the training process


@fault("failed", r"ended from outside \(SIGKILL\): memory ran out, or somebody ended it\. Resume")
def the_process_is_killed(room: Room) -> None:
    room.own_process("kill -9 $$")
    room.boxes()


@fault("failed", r"ended from outside \(SIGSEGV\)\. Resume goes on\. What it said is in .*log\.txt")
def the_process_breaks_down(room: Room) -> None:
    room.own_process("kill -SEGV $$")
    room.boxes()


@fault("failed", "ended by itself with exit code 3")
def the_process_exits_with_a_code(room: Room) -> None:
    room.own_process("exit 3")
    room.boxes()


@fault("failed", "training process said what is no report: 'Hello!")
def the_process_prints_garbage(room: Room) -> None:
    room.own_process("echo 'Hello!'; exec cat > /dev/null")
    room.boxes()


@fault("failed", "training process said what is no report:")
def the_process_says_a_report_of_another_version(room: Room) -> None:
    room.own_process("""echo '{"report": "Gossip", "of": 1}'; exec cat > /dev/null""")
    room.boxes()


@fault("failed", "ended by itself with exit code 0")
def the_process_ends_without_a_word(room: Room) -> None:
    room.own_process("exec cat > /dev/null & exit 0")
    room.boxes()


@fault("failed", "No such file or directory")
def there_is_no_program_for_the_process(room: Room) -> None:
    room.own_process("exit 0")
    (room.home / "program").unlink()
    room.boxes()


@fault("stopped", "Stopped before the first epoch ended")
def the_process_hangs_and_is_stopped(room: Room) -> None:
    room.patch.setattr("napari_equipose.training._in_child.GRACE", 0.1)
    room.own_process("exec sleep 600")
    panel = room.boxes()
    room.until(lambda: bool(psutil.Process().children()))
    panel.stop.click()


# -- layers, panels, viewer


@fault("done", "Done: the model .* is ready")
def the_layer_is_deleted_during_training(room: Room) -> None:
    room.boxes(epochs=3)
    room.viewer.layers.clear()


@fault("done", "Done: the model boxes-1 is ready")
def the_layer_is_renamed_during_training(room: Room) -> None:
    room.boxes(epochs=3)
    room.viewer.layers[0].name = "other"


@fault("done", "Done: the model .* is ready")
def the_layer_is_edited_during_training(room: Room) -> None:
    panel = room.boxes(STACK.copy(), epochs=3)
    room.until(lambda: panel.learning.started is not None)
    room.viewer.layers[0].data[:] = np.nan
    room.viewer.layers[0].data = np.zeros((3, 5, 5))


@fault("done", "Found .* objects in picture.\nIts layer is gone; a table is in .*csv")
def the_layer_is_deleted_during_detection(room: Room) -> None:
    room.find()
    room.viewer.layers.clear()


@fault("done", "Done: 8 particles are aligned")
def the_layer_is_deleted_while_it_is_aligned(room: Room) -> None:
    room.align()
    room.viewer.layers.clear()


@fault("done", "Done: 8 particles are aligned")
def the_layer_is_renamed_while_it_is_aligned(room: Room) -> None:
    room.align()
    room.viewer.layers[0].name = "other"


@fault("failed", "gone.tif: No such file or directory")
def the_file_of_a_lazy_layer_vanishes(room: Room) -> None:
    gone = []

    def read(block: Any) -> Any:
        if gone:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", "gone.tif")
        return block

    lazy = da.zeros((100, 100), chunks=50).map_blocks(read, dtype=float, meta=np.zeros((0, 0)))
    room.viewer.add_image(lazy, name="lazy", contrast_limits=(0, 1))
    gone.append(True)
    room.fill(room.train).start.click()


@fault("stopped", "Stop")
def the_panel_is_closed_during_training(room: Room) -> None:
    panel = room.boxes(epochs=10_000)
    room.until(lambda: panel.curve.last_epoch >= 1)
    panel.detach()  # as when its dock is taken away
    room.settle()
    room.train = room.open(TrainWidget)


@fault("refused", "no point of places lies on what is shown of picture")
def units_of_points_and_image_do_not_match(room: Room) -> None:
    places = np.random.default_rng(0).uniform(20, 80, (20, 2))
    room.viewer.add_image(NOISE, name="picture", scale=(1e-3, 1e-3), units=("um", "um"))
    room.viewer.add_points(places, name="places")  # in pixels: napari draws them far away
    room.fill(room.train).source.kind.value = "points"
    room.train.start.click()


@fault("done", "Done: the model .* is ready")
def units_of_points_and_image_differ_by_a_factor(room: Room) -> None:
    places = np.random.default_rng(0).uniform(20, 80, (20, 2))
    room.viewer.add_image(NOISE, name="picture", scale=(0.5, 0.5), units=("um", "um"))
    room.viewer.add_points(places, name="places", scale=(500, 500), units=("nm", "nm"))
    room.fill(room.train).source.kind.value = "points"
    room.train.start.click()


# -- files and folders


@fault("failed", "stack.npy does not exist")
def an_input_is_gone_when_a_run_is_resumed(room: Room) -> None:
    folder = _stopped_on_a_file(room)
    (room.home / "stack.npy").unlink()
    room.train.resume_run(folder)


@fault("failed", r"stack.npy has changed since the run began \(its pixels\): put the file back")
def an_input_has_changed_when_a_run_is_resumed(room: Room) -> None:
    folder = _stopped_on_a_file(room)
    np.save(room.home / "stack.npy", STACK[::-1])
    room.train.resume_run(folder)


def _stopped_on_a_file(room: Room) -> RunFolder:
    np.save(room.home / "stack.npy", STACK)
    folder = room.stopped()
    run = room.train._order.run
    text = folder.run_file.read_text().replace("input-0.npy", str(room.home / "stack.npy"))
    folder.run_file.write_text(text)
    assert run.box_size is None
    return folder


@fault("refused", "there.safetensors")
def a_model_file_is_damaged(room: Room) -> None:
    name = room.known()
    path = shelf[name].path
    (room.home / "there.safetensors").write_bytes(path.read_bytes()[:-100])
    room.open(DetectWidget).load_model(room.home / "there.safetensors")


@fault("failed", "checkpoint.safetensors is not a checkpoint of this version")
def a_checkpoint_is_damaged(room: Room) -> None:
    folder = room.stopped()
    path = checkpoint_path(folder.model)
    path.write_bytes(path.read_bytes()[:-100])
    room.train.resume_run(folder)


@fault("failed", "checkpoint.safetensors is damaged, or not of this model")
def a_checkpoint_is_of_another_model(room: Room) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    folder = room.stopped()
    path = checkpoint_path(folder.model)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {
            name: file.get_tensor(name)[..., :1].clone()
            for name in file.keys()
            if file.get_tensor(name).ndim
        }
    save_file(tensors, path, metadata)
    room.train.resume_run(folder)


@fault("refused", "run.json is not a run file")
def a_run_file_is_damaged(room: Room) -> None:
    folder = room.stopped()
    folder.run_file.write_text("[" * 100_000)
    room.train.resume_run(folder)


@fault("failed", "this run is going on in another process")
def a_run_goes_on_elsewhere(room: Room) -> None:
    folder = room.stopped()
    with FileLock(folder.path / "lock"):
        room.train.resume_run(folder)
        room.settle()


@fault("refused", r"m\.safetensors exists; give another name")
def the_model_file_is_there_already(room: Room) -> None:
    (room.home / "m.safetensors").write_bytes(b"mine")
    room.train.settings.output.line.setText(str(room.home / "m.safetensors"))
    room.boxes()
    assert (room.home / "m.safetensors").read_bytes() == b"mine"
    room.train.settings.output.line.clear()


@fault("failed", r"Permission denied")
def the_run_folder_is_read_only(room: Room) -> None:
    def touch(path: Path, *_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    room.patch.setattr(Path, "touch", touch)
    room.boxes()


def _full(room: Room, word: str) -> None:
    """Have no room for files of which the name has a word in it."""
    rename = _files._rename

    def full(temporary: Path, path: Path) -> None:
        if word in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(temporary, path)

    room.patch.setattr(_files, "_rename", full)


@fault("failed", r"input-0\.npy: No space left on device\..*make room, then resume")
def the_disk_is_full_at_the_start(room: Room) -> None:
    _full(room, "input-0")
    room.boxes()


@fault("failed", r"checkpoint\.safetensors: No space left on device\. What was done before is kept")
def the_disk_is_full_at_a_checkpoint(room: Room) -> None:
    _full(room, "checkpoint")
    room.boxes(epochs=3)


@fault("failed", r"boxes-1\.safetensors: No space left on device")
def the_disk_is_full_at_the_model(room: Room) -> None:
    _full(room, "boxes-1.safetensors")
    room.boxes()


@fault("done", "No space left on device")
def the_disk_is_full_at_a_table(room: Room) -> None:
    _full(room, os.sep + "found")
    room.find()


@fault("refused", "nowhere.*No such file|can't be written|Not a directory")
def a_table_can_not_be_written(room: Room) -> None:
    detect = room.find()
    room.settle()
    room.endings.clear()
    (room.home / "nowhere").write_text("a file")
    detect.save_table(room.home / "nowhere" / "objects.csv")


# -- settings and devices


@fault("failed", "device|CUDA")
def a_device_is_missing(room: Room) -> None:
    room.patch.setattr(torch.cuda, "is_available", lambda: False)
    room.train.settings.device.addItem("gone", "cuda:7")
    room.train.settings.device.value = "cuda:7"
    room.boxes()
    room.settle()
    room.train.settings.device.value = "cpu"


@fault("refused", "no setting 'field' of target-vae; known are")
def a_setting_is_unknown(room: Room) -> None:
    room.fill(room.train)
    room.viewer.add_image(NOISE)
    room.control(room.train, "settings").setText("field=4")
    room.train.start.click()


@fault("failed", "batch_size must be positive, got 0")
def a_setting_is_impossible(room: Room) -> None:
    room.viewer.add_image(STACK)
    room.fill(room.train).source.kind.value = "stack"
    room.control(room.train, "settings").setText("batch_size=0")
    room.train.start.click()


@fault("done", "threads -1 can't be used")
def the_preferences_are_nonsense(room: Room) -> None:
    settings = get_plugin_settings("napari-equipose")
    path = Path(settings.config_path)
    path.parent.mkdir(exist_ok=True)
    path.write_text("jobs: {threads: -1, own_process: false}")
    from napari import settings as module

    module._PLUGIN_SETTINGS.clear()
    room.boxes()


# -- waiting and stopping


@fault("done", "Done: the model .* is ready")
def two_jobs_on_one_device(room: Room) -> None:
    first = room.boxes(epochs=10_000)
    room.until(lambda: first.curve.last_epoch >= 1)
    room.train = room.open(TrainWidget)
    second = room.boxes()
    room.until(lambda: second.status.text().startswith("Waiting for Learning"))
    first.stop.click()


@fault("stopped", "Stopped before the first epoch ended")
def a_job_is_stopped_while_it_waits(room: Room) -> None:
    first = room.boxes(epochs=10_000)
    room.until(lambda: first.curve.last_epoch >= 1)
    second = room.train = room.open(TrainWidget)
    room.boxes()
    room.until(lambda: second.status.text().startswith("Waiting for Learning"))
    second.stop.click()
    room.until(lambda: not second.is_running)
    first.stop.click()
    room.settle()
    room.endings.pop()


@fault("stopped", "Stopped")
def a_job_is_stopped_in_its_first_epoch(room: Room) -> None:
    seen: list[Any] = []
    room.at_each_loss(lambda terms: (seen.append(1), time.sleep(0.6), terms)[-1])
    panel = room.boxes(epochs=10_000)
    room.until(lambda: bool(seen))
    panel.stop.click()


@fault("stopped", "Stopped; nothing was changed")
def detection_is_stopped(room: Room) -> None:
    begun, go_on = threading.Event(), threading.Event()
    real = Plane.read

    def read(plane: Plane) -> Any:
        begun.set()
        go_on.wait(10)
        return real(plane)

    room.known()
    room.patch.setattr(Plane, "read", read)
    room.patch.setattr(room, "known", lambda: "")
    detect = room.find()
    room.until(begun.is_set)
    detect.stop.click()
    go_on.set()


@fault("stopped", "Stopped. Nothing was changed")
def aligning_is_stopped(room: Room) -> None:
    begun, go_on = threading.Event(), threading.Event()
    real = encoding._encode_batch

    def encode(*given: Any) -> Any:
        begun.set()
        go_on.wait(10)
        return real(*given)

    room.patch.setattr(encoding, "_encode_batch", encode)
    panel = room.align()
    room.until(begun.is_set)
    panel.stop.click()
    go_on.set()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("Equipose")]


@pytest.fixture
def room(qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(_preferences, "_said", set())
    monkeypatch.setattr(_worker, "PATIENCE", 60)  # a busy machine is no step that hangs
    get_plugin_settings("napari-equipose").jobs.own_process = False
    shelf.clear()
    notification_manager.records.clear()
    with pytest.MonkeyPatch.context() as patch:
        room = Room(ViewerModel(), qtbot, tmp_path, patch)
        real = Panel._on_ended

        def on_ended(panel: Panel, ending: Ending) -> None:
            room.endings.append(ending)
            real(panel, ending)

        monkeypatch.setattr(Panel, "_on_ended", on_ended)
        yield room
    for panel in room.panels:
        panel.detach()
    room.settle()
    shelf.clear()


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_ends_as_the_table_says_and_the_panel_works_again(room: Room, name: str) -> None:
    state, words, inject = FAULTS[name]
    inject(room)
    room.settle()
    said = [record.message for record in notification_manager.records]
    shown = [panel.status.text() for panel in room.panels]
    assert (room.endings[-1].state if room.endings else "refused") == state, (said, shown)
    faulty = state in ("failed", "refused")
    assert any(re.search(words, text) for text in (said if faulty else said + shown)), (said, shown)
    if faulty:
        assert any(re.search(words.lstrip("^"), text) for text in shown), shown
    assert not list(room.home.rglob(".*.safetensors"))  # nothing half written
    for panel in room.panels:
        assert panel.start.isEnabled() and not panel.stop.isEnabled()

    room.patch.undo()
    get_plugin_settings("napari-equipose").jobs.own_process = False
    notification_manager.records.clear()
    room.boxes()
    room.settle()
    assert room.endings[-1].state == "done", room.endings[-1]
    assert isinstance(room.endings[-1].result, SavedModel)
    assert notification_manager.records == []


def test_there_are_at_least_thirty_kinds_of_faults() -> None:
    assert len([name for name in FAULTS if not name.startswith("worker raises")]) >= 30
