"""Both panels in the real viewer, driven by clicks. Needs a screen, real or virtual (Xvfb)."""

import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import tifffile
import torch
from napari.settings import get_plugin_settings
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication, QWidget
from tiny import typed

from napari_equipose.inference import finish
from napari_equipose.io import read_table
from napari_equipose.models import TargetVAE, load_model
from napari_equipose.simulation import sample_ecoli
from napari_equipose.training import (
    RunFolder,
    create_run,
    read_run,
    unfinished_run,
    unfinished_runs,
)
from napari_equipose.widgets import TrainWidget, _worker
from napari_equipose.widgets._models import shelf
from napari_equipose.widgets._train_job import learn

TINY = typed(steps_per_epoch=3, validation_images=8)
RNG = np.random.default_rng(0)

if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
    pytest.skip("napari's viewer draws on no offscreen platform", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def viewer(make_napari_viewer) -> Any:
    return make_napari_viewer()


def open_panel(viewer: Any, name: str) -> Any:
    return viewer.window.add_plugin_dock_widget("napari-equipose", name)[1]


def ecoli() -> np.ndarray:
    """Take a corner of the sample, in which cells are found sooner."""
    return sample_ecoli()[0][0][:128, :128]


def cells(viewer: Any) -> Any:
    return viewer.add_image(ecoli(), **sample_ecoli()[0][1])


def child(panel: QWidget, name: str) -> Any:
    found = panel.findChild(QWidget, name)
    assert found is not None, name
    return found


def click(qtbot, panel: QWidget, name: str) -> None:
    qtbot.mouseClick(child(panel, name), Qt.MouseButton.LeftButton, pos=QPoint(5, 5))


def tiny(panel: TrainWidget, *, epochs: int = 2, box_size: int = 24) -> TrainWidget:
    """Choose a network that learns nothing, quickly."""
    child(panel, "equipose.train.settings").setText(TINY)
    child(panel, "equipose.train.epochs").setValue(epochs)
    child(panel, "equipose.train.box_size").setValue(box_size)
    return panel


def wait(qtbot, panel: Any, seconds: int = 300) -> None:
    qtbot.waitUntil(lambda: not panel.is_running, timeout=1000 * seconds)


def can_resume(model: Path) -> bool:
    run = unfinished_run(RunFolder.of(model))
    return run is not None and run.can_resume


def messages() -> list[str]:
    return [record.message for record in notification_manager.records]


def train(qtbot, panel: TrainWidget) -> None:
    click(qtbot, panel, "equipose.train.start")
    assert panel.is_running
    wait(qtbot, panel)


def coloured(viewer: Any) -> int:
    """Number of pixels on the canvas that are not grey."""
    picture = viewer.screenshot(flash=False)[..., :3].astype(int)
    return int((np.ptp(picture, axis=-1) > 60).sum())


def test_from_sample_data_to_a_points_layer(make_napari_viewer, qtbot, home) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.open_sample("napari-equipose", "ecoli")
    image = viewer.layers[0]
    assert coloured(viewer) == 0
    panel = tiny(open_panel(viewer, "Train"))
    train(qtbot, panel)
    assert messages() == []
    assert panel.curve.last_epoch == 2
    assert [row.count for row in panel.pictures.rows] == [6, 6, 6]
    model = home / "equipose" / "e-coli-phase-contrast-1.safetensors"
    assert load_model(model).record["source"]["layer"] == image.name
    assert not panel.resume.isEnabled()

    click(qtbot, panel, "equipose.train.detect")  # opens the other panel
    detect = viewer.window.dock_widgets["Detect (napari-equipose)"]
    assert child(detect, "equipose.detect.model").currentText() == model.stem
    child(detect, "equipose.detect.lowest").setValue(0.01)
    click(qtbot, detect, "equipose.detect.start")
    wait(qtbot, detect)
    assert messages() == []
    vectors, points = viewer.layers[1:]
    assert len(points.data) and list(points.features)[:2] == ["rotation", "score"]
    assert "content_1" in points.features
    assert points.metadata["equipose"]["model"] == shelf[model.stem].saved.digest
    slider = child(detect, "equipose.detect.threshold")
    slider.setValue(slider.minimum())
    everything = len(vectors.data)
    vectors.visible = False
    drawn = coloured(viewer)
    assert everything == len(points.data) == points.shown.sum()
    slider.setValue((slider.minimum() + slider.maximum()) / 2)
    assert len(vectors.data) == points.shown.sum() < everything == len(points.data)
    assert 0 < coloured(viewer) < drawn
    vectors.visible = True
    slider.setValue(slider.minimum())
    detect.save_table(home / "objects.csv")
    assert len(read_table(home / "objects.csv")) == everything
    assert image in viewer.layers and len(viewer.layers) == 3


def test_training_stops_half_way_and_resumes(viewer, qtbot, home) -> None:
    cells(viewer)
    panel = tiny(open_panel(viewer, "Train"), epochs=12)
    click(qtbot, panel, "equipose.train.start")
    qtbot.waitUntil(lambda: panel.curve.last_epoch >= 3, timeout=300_000)
    click(qtbot, panel, "equipose.train.stop")
    wait(qtbot, panel, 10)
    model = home / "equipose" / "e-coli-phase-contrast-1.safetensors"
    done = panel.curve.last_epoch
    assert 3 <= done < 12
    assert list(shelf) == [model.stem]  # the best so far is at hand
    assert load_model(model).record["epochs"] <= done
    assert can_resume(model)
    viewer.layers.clear()  # the run has its own snapshot
    click(qtbot, panel, "equipose.train.resume")
    wait(qtbot, panel)
    assert messages() == []
    assert panel.curve.last_epoch == 12
    assert not can_resume(model)
    assert panel.status.text().startswith("Done")


def test_a_long_step_in_a_thread_does_not_hold_up_stop(viewer, qtbot, home, monkeypatch) -> None:
    cells(viewer)
    panel = tiny(open_panel(viewer, "Train"), epochs=6)
    hang, hangs, go_on = threading.Event(), threading.Event(), threading.Event()
    real = TargetVAE.loss

    def loss(*given: Any, **options: Any) -> Any:
        if hang.is_set():
            hangs.set()
            go_on.wait(60)
        return real(*given, **options)

    monkeypatch.setattr(TargetVAE, "loss", loss)
    click(qtbot, panel, "equipose.train.start")
    qtbot.waitUntil(lambda: panel.curve.last_epoch >= 2, timeout=300_000)
    hang.set()
    qtbot.waitUntil(hangs.is_set, timeout=300_000)
    monkeypatch.setattr(_worker, "PATIENCE", 0.1)
    click(qtbot, panel, "equipose.train.stop")
    wait(qtbot, panel, 10)
    model = home / "equipose" / "e-coli-phase-contrast-1.safetensors"
    assert panel.status.text().startswith("Stopped after epoch")
    assert "A last step still runs to its end" in panel.status.text()
    assert list(shelf) == [model.stem]  # the best so far is at hand
    assert not panel.resume.isEnabled()  # the step belongs to the run
    hang.clear()
    click(qtbot, panel, "equipose.train.start")  # another run, which waits
    qtbot.waitUntil(lambda: panel.status.text().startswith("Waiting for"), timeout=60_000)
    go_on.set()
    wait(qtbot, panel)
    assert panel.status.text().startswith("Done")
    assert len(shelf) == 2 and messages() == []
    assert can_resume(model)
    assert unfinished_run(RunFolder.of(model)).state == "stopped"
    assert panel.resume.isEnabled()


def test_a_run_is_forgotten_when_a_person_means_it(viewer, qtbot, home) -> None:
    cells(viewer)
    panel = tiny(open_panel(viewer, "Train"), epochs=12)
    click(qtbot, panel, "equipose.train.start")
    qtbot.waitUntil(lambda: panel.curve.last_epoch >= 2, timeout=300_000)
    click(qtbot, panel, "equipose.train.stop")
    wait(qtbot, panel, 10)
    model = home / "equipose" / "e-coli-phase-contrast-1.safetensors"
    folder = RunFolder.of(model)
    digest = load_model(model).digest

    def answer(button: str) -> None:
        panel.runs.aboutToShow.emit()
        (_, forget) = panel.runs.actions()
        (action,) = forget.menu().actions()
        assert action.text().startswith(model.stem)
        action.trigger()
        dialog = child(panel, "equipose.train.forget_dialog")
        assert model.stem in dialog.text() and model.name in dialog.informativeText()
        click(qtbot, dialog, button)
        name = "equipose.train.forget_dialog"
        qtbot.waitUntil(lambda: not panel.findChildren(QWidget, name), timeout=60_000)

    answer("equipose.train.forget_not")
    assert can_resume(model) and panel.resume.isEnabled()
    answer("equipose.train.forget")
    assert unfinished_runs(model.parent) == [] and not panel.resume.isEnabled()
    assert load_model(model).digest == digest
    assert not [path for path in folder.path.iterdir() if "checkpoint" in path.name]
    panel.runs.aboutToShow.emit()
    assert [action.isEnabled() for action in panel.runs.actions()] == [False]
    assert messages() == []


def test_a_run_is_resumed_by_another_panel_from_its_file(viewer, qtbot, home) -> None:
    cells(viewer)
    first = tiny(open_panel(viewer, "Train"), epochs=6)
    output = home / "cells.safetensors"
    first.settings.output.line.setText(str(output))
    click(qtbot, first, "equipose.train.start")
    qtbot.waitUntil(lambda: first.curve.last_epoch >= 2, timeout=300_000)
    click(qtbot, first, "equipose.train.stop")
    wait(qtbot, first, 10)
    second = TrainWidget(viewer)
    qtbot.addWidget(second)
    tiny(second, epochs=6)
    assert not second.resume.isEnabled()
    second.settings.output.line.setText(str(output))
    assert second.resume.isEnabled()
    second.resume.click()
    wait(qtbot, second)
    assert messages() == []
    assert second.status.text().startswith("Done")
    assert not can_resume(output)
    second.detach()


def test_boxes_are_learned_from_points_and_from_a_stack(viewer, qtbot) -> None:
    viewer.open_sample("napari-equipose", "shapes")
    image = next(layer for layer in viewer.layers if layer.rgb)
    panel = tiny(open_panel(viewer, "Train"), epochs=1)
    panel.source.image.value = image.unique_id
    child(panel, "equipose.train.source").setCurrentIndex(1)
    train(qtbot, panel)
    assert messages() == []
    saved = shelf[next(iter(shelf))].saved
    assert saved.model.config.channels == 3
    truth = next(layer for layer in viewer.layers if layer is not image)
    assert saved.record["images"] == len(truth.data)

    stack = np.stack(
        [image.data[y : y + 24, x : x + 24, 0] for y, x in RNG.integers(0, 400, (30, 2))]
    )
    keep = stack.reshape(30, -1).std(1) > 0
    viewer.add_image(stack[keep], name="stack")
    child(panel, "equipose.train.source").setCurrentIndex(2)
    train(qtbot, panel)
    assert messages() == []
    assert shelf["stack-1"].saved.record["images"] == keep.sum()


def test_candidates_are_shown_and_can_be_learned_from(viewer, qtbot) -> None:
    cells(viewer)
    panel = tiny(open_panel(viewer, "Train"), epochs=1)
    click(qtbot, panel, "equipose.train.show_boxes")
    wait(qtbot, panel)
    boxes = viewer.layers[-1]
    boxes.selected_data = set(range(10))
    boxes.remove_selected()
    child(panel, "equipose.train.source").setCurrentIndex(1)
    train(qtbot, panel)
    assert shelf[next(iter(shelf))].saved.record["images"] == len(boxes.data)


@pytest.mark.parametrize(
    ("shape", "corners", "size"),
    [
        ("line", [[10, 10], [40, 50]], 62),  # 50 long, and a quarter
        ("rectangle", [[10, 10], [10, 40], [20, 40], [20, 10]], 38),  # 30 long, and a quarter
        ("rectangle", [[10, 10], [10, 31], [31, 31], [31, 10]], 32),  # a diagonal of 29.7
        ("ellipse", [[10, 10], [10, 40], [20, 40], [20, 10]], 38),
        ("path", [[10, 10], [20, 30], [40, 50]], 62),
    ],
)
def test_box_size_follows_from_what_is_drawn(viewer, qtbot, shape, corners, size) -> None:
    image = viewer.add_image(RNG.normal(size=(100, 100)), scale=(0.5, 0.5), units=("um", "um"))
    panel = open_panel(viewer, "Train")
    click(qtbot, panel, "equipose.train.draw_box")
    shapes = viewer.layers[-1]
    assert shapes.mode == "add_line"
    shapes.add(np.array(corners), shape_type=shape)
    assert panel.source.box_size.value() == size
    assert panel.source.length.text() == f"{size / 2:g} µm"
    qtbot.waitUntil(lambda: list(viewer.layers) == [image], timeout=60_000)
    assert viewer.layers.selection.active is image


def test_a_line_dragged_along_an_object_tells_the_size_when_the_button_is_released(
    make_napari_viewer, qtbot
) -> None:
    viewer = make_napari_viewer(show=True)
    image = viewer.add_image(RNG.normal(size=(100, 100)))
    panel = open_panel(viewer, "Train")
    click(qtbot, panel, "equipose.train.draw_box")
    click(qtbot, panel, "equipose.train.draw_box")  # again: there is one layer to draw on
    assert len(viewer.layers) == 2
    shapes = viewer.layers[-1]
    react = {
        "mouse_press": mouse_press_callbacks,
        "mouse_move": mouse_move_callbacks,
        "mouse_release": mouse_release_callbacks,
    }
    steps = [("mouse_press", (30, 20)), ("mouse_move", (40, 40)), ("mouse_move", (70, 50))]
    event = SimpleNamespace(modifiers=[], is_dragging=True, handled=False, button=1)
    event.view_direction, event.dims_displayed = None, [0, 1]
    for kind, place in [*steps, ("mouse_release", (70, 50))]:
        event.type, event.position, event.pos = kind, place, np.array(place)
        react[kind](shapes, event)
        if kind != "mouse_release":
            assert panel.source.box_size.value() == 32 and len(viewer.layers) == 2
    assert panel.source.box_size.value() == 62
    qtbot.waitUntil(lambda: list(viewer.layers) == [image], timeout=60_000)


def test_no_box_is_larger_than_the_image(viewer, qtbot) -> None:
    viewer.add_image(RNG.normal(size=(3, 20, 30)), name="small")
    panel = open_panel(viewer, "Train")
    size = panel.source.box_size
    assert (size.value(), size.maximum()) == (20, 20)
    large = viewer.add_image([RNG.normal(size=(s, s)) for s in (100, 50)], multiscale=True)
    panel.source.image.value = large.unique_id
    assert size.maximum() == 100
    panel.source.level.setCurrentIndex(1)
    assert size.maximum() == 50


@pytest.mark.parametrize("room", ["Train", "Detect"])
def test_pixels_that_are_no_squares_are_refused_in_one_sentence(viewer, qtbot, home, room) -> None:
    tiny_model(cells(viewer) and viewer, qtbot)
    viewer.layers[0].scale = (2, 1)
    panel = open_panel(viewer, room)
    click(qtbot, panel, f"equipose.{room.lower()}.start")
    assert "the sides of its pixels are 2 x 1" in messages()[-1]
    assert not panel.is_running
    if room == "Train":
        viewer.add_image(RNG.normal(size=(12, 24, 24)), scale=(1, 2, 1), name="stack")
        child(panel, "equipose.train.source").setCurrentIndex(2)
        click(qtbot, panel, "equipose.train.start")
        assert "stack: the sides of its pixels are 2 x 1" in messages()[-1]


def test_settings_go_to_a_run_file_and_back(viewer, qtbot, home) -> None:
    first, second = TrainWidget(viewer), TrainWidget(viewer)
    for panel in (first, second):
        qtbot.addWidget(panel)
    tiny(first, epochs=7, box_size=26)
    first.settings.minutes.setValue(1.5)
    first.settings.polarity.value = "dark"
    first.save_run(home / "run.json")
    second.load_run(home / "run.json")
    assert second.read_run() == first.read_run() == read_run(home / "run.json")
    second.load_run(home / "nothing.json")
    assert "nothing.json" in messages()[-1]
    for panel in (first, second):
        panel.detach()


def test_training_goes_on_when_its_layer_is_deleted(viewer, qtbot) -> None:
    cells(viewer)
    panel = tiny(open_panel(viewer, "Train"), epochs=4)
    click(qtbot, panel, "equipose.train.start")
    viewer.layers.clear()
    wait(qtbot, panel)
    assert messages() == []
    assert panel.status.text().startswith("Done")


def test_objects_of_a_deleted_layer_still_arrive(viewer, qtbot) -> None:
    viewer.add_image(ecoli(), scale=(0.1, 0.1), units=("um", "um"), translate=(3, 4))
    tiny_model(viewer, qtbot)
    detect = open_panel(viewer, "Detect")
    child(detect, "equipose.detect.lowest").setValue(0.01)
    click(qtbot, detect, "equipose.detect.start")
    viewer.layers.clear()
    wait(qtbot, detect)
    vectors, points = viewer.layers
    for layer in (vectors, points):
        np.testing.assert_allclose(layer.scale, (0.1, 0.1))
        np.testing.assert_allclose(layer.translate, (3, 4))
        assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    (table,) = (Path.home() / "equipose" / "found").glob("*.csv")
    assert len(read_table(table)) == len(points.data)
    assert "layer is gone" in detect.status.text() and table.name in detect.status.text()
    record = json.loads(table.with_suffix(".json").read_text())
    assert record["model"] == points.metadata["equipose"]["model"]


@pytest.fixture
def own_process() -> None:
    get_plugin_settings("napari-equipose").jobs.own_process = True


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def job_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("Equipose")]


def learning(viewer: Any, qtbot: Any, *, epochs: int, until: int) -> TrainWidget:
    """Open the sample and the panel, and learn until an epoch is done."""
    cells(viewer)
    panel = tiny(open_panel(viewer, "Train"), epochs=epochs)
    click(qtbot, panel, "equipose.train.start")
    qtbot.waitUntil(lambda: panel.curve.last_epoch >= until, timeout=300_000)
    return panel


def test_training_in_a_process_of_its_own_stops_and_resumes(
    viewer, qtbot, home, own_process
) -> None:
    panel = learning(viewer, qtbot, epochs=12, until=3)
    assert len(children()) == 1
    assert [row.count for row in panel.pictures.rows] == [6, 6, 6]
    click(qtbot, panel, "equipose.train.stop")
    wait(qtbot, panel, 10)
    assert children() == []
    assert panel.status.text().startswith("Stopped after epoch")
    click(qtbot, panel, "equipose.train.resume")
    wait(qtbot, panel)
    assert messages() == []
    assert panel.curve.last_epoch == 12
    assert panel.status.text().startswith("Done")


def test_a_killed_process_is_said_and_the_panel_works_again(
    viewer, qtbot, home, own_process
) -> None:
    panel = learning(viewer, qtbot, epochs=10_000, until=1)
    children()[0].kill()
    wait(qtbot, panel, 10)
    assert len(messages()) == 1 and "SIGKILL" in messages()[0]
    assert "The best model so far is" in panel.status.text()
    assert panel.start.isEnabled() and panel.resume.isEnabled()


def test_the_viewer_closed_during_a_run_ends_it_and_keeps_it(
    make_napari_viewer, qtbot, home, own_process
) -> None:
    viewer = make_napari_viewer()
    learning(viewer, qtbot, epochs=10_000, until=1)
    viewer.close()
    qtbot.waitUntil(lambda: not children() and not job_threads(), timeout=60_000)
    (run,) = unfinished_runs(home / "equipose")
    assert (run.state, run.can_resume) == ("stopped", True)
    load_model(run.folder.model)


def test_runs_of_an_earlier_session_are_offered_and_need_nothing_but_their_folder(
    viewer, qtbot, home
) -> None:
    viewer.add_image(ecoli(), name="cells")
    first = tiny(open_panel(viewer, "Train"), epochs=8)
    click(qtbot, first, "equipose.train.start")
    qtbot.waitUntil(lambda: first.curve.last_epoch >= 2, timeout=300_000)
    click(qtbot, first, "equipose.train.stop")
    wait(qtbot, first, 10)
    viewer.window.remove_dock_widget(first)
    viewer.layers.clear()
    second = TrainWidget(viewer)  # as after a restart
    qtbot.addWidget(second)
    second.runs.aboutToShow.emit()
    action, forget = second.runs.actions()
    assert action.text().startswith("cells-1: stopped")
    assert forget.text() == "Forget"
    assert second.resume.isEnabled()
    action.trigger()
    wait(qtbot, second)
    assert messages() == []
    assert second.status.text().startswith("Done")
    assert second.curve.last_epoch == 8
    assert not second.resume.isEnabled()
    second.runs.aboutToShow.emit()
    assert [action.isEnabled() for action in second.runs.actions()] == [False]
    second.detach()


def test_a_new_run_takes_no_name_of_one_that_can_be_resumed(viewer, qtbot, home) -> None:
    viewer.add_image(ecoli(), name="cells")
    panel = tiny(open_panel(viewer, "Train"), epochs=1)
    waiting = panel._new_order(None)
    create_run(waiting.output, waiting.run, pixels=[ecoli()])
    RunFolder.of(waiting.output).end("stopped")  # before there was a model
    panel.settings.output.line.setText(str(waiting.output))
    click(qtbot, panel, "equipose.train.start")
    assert "press Resume" in messages()[-1]
    panel.settings.output.line.setText("")
    train(qtbot, panel)
    assert list(shelf) == ["cells-2"]
    assert can_resume(waiting.output)


def test_a_run_keeps_what_it_was_given_whatever_becomes_of_the_layer(viewer, qtbot, home) -> None:
    digests = []
    for harm in (False, True):
        layer = viewer.add_image(ecoli(), name="cells")
        panel = tiny(open_panel(viewer, "Train"), epochs=3)
        click(qtbot, panel, "equipose.train.start")
        qtbot.waitUntil(lambda panel=panel: panel.learning.started is not None, timeout=300_000)
        if harm:
            layer.name = "renamed"
            layer.data[:] = 0
            layer.data = np.zeros((5, 5))
            viewer.layers.remove(layer)
        wait(qtbot, panel)
        digests.append(shelf[list(shelf)[-1]].saved.digest)
        viewer.layers.clear()
    assert messages() == []
    assert sorted(shelf) == ["cells-1", "cells-2"]
    assert digests[0] == digests[1]


def test_a_sample_is_left_in_its_file_and_an_edited_one_kept(viewer, qtbot, home) -> None:
    path = str(home / "cells.tif")
    tifffile.imwrite(path, ecoli())
    layer = viewer.open(path)[0]
    for _ in range(2):
        panel = tiny(open_panel(viewer, "Train"), epochs=1)
        train(qtbot, panel)
        layer.data = np.array(layer.data)
        layer.data[3:6, 3:6] = 7
    folders = sorted((home / "equipose").glob("*.run"))
    assert [folder / "input-0.npy" for folder in folders][1].exists()
    first, second = (read_run(folder / "run.json").images for folder in folders)
    assert first == (path,)
    assert second == (str(folders[1] / "input-0.npy"),)


def test_a_second_job_on_a_device_waits_and_can_be_cancelled(viewer, qtbot, home) -> None:
    cells(viewer)
    tiny_model(viewer, qtbot)
    panel = tiny(open_panel(viewer, "Train"), epochs=10_000)
    click(qtbot, panel, "equipose.train.start")
    qtbot.waitUntil(lambda: panel.curve.last_epoch >= 1, timeout=300_000)
    detect = open_panel(viewer, "Detect")
    for _ in range(2):
        click(qtbot, detect, "equipose.detect.start")
        qtbot.waitUntil(lambda: "Waiting for Learning" in detect.status.text(), timeout=60_000)
        if not _:
            click(qtbot, detect, "equipose.detect.stop")
            wait(qtbot, detect, 10)
            assert detect.status.text().startswith("Stopped")
    assert panel.is_running
    click(qtbot, panel, "equipose.train.stop")
    wait(qtbot, detect)
    assert "Waiting" not in detect.status.text()
    wait(qtbot, panel)


def test_a_run_that_is_stopped_while_it_waits_leaves_nothing(viewer, qtbot, home) -> None:
    cells(viewer)
    first, second = tiny(open_panel(viewer, "Train"), epochs=10_000), TrainWidget(viewer)
    qtbot.addWidget(second)
    tiny(second)
    click(qtbot, first, "equipose.train.start")
    qtbot.waitUntil(lambda: first.curve.last_epoch >= 1, timeout=300_000)
    second.start.click()
    qtbot.waitUntil(lambda: second.status.text().startswith("Waiting"), timeout=60_000)
    assert len(list((home / "equipose").glob("*.run"))) == 2
    second.stop.click()
    wait(qtbot, second, 10)
    assert len(list((home / "equipose").glob("*.run"))) == 1
    first.stop.click()
    wait(qtbot, first, 10)
    second.detach()


def test_the_log_tells_the_run_and_is_copied(viewer, qtbot, home) -> None:
    cells(viewer)
    panel = tiny(open_panel(viewer, "Train"))
    assert not panel.details.isVisibleTo(panel)
    train(qtbot, panel)
    click(qtbot, panel, "equipose.train.details")
    dialog = child(panel, "equipose.train.details_dialog")
    child(dialog, "equipose.train.details_copy").click()
    text = QApplication.clipboard().text()
    for words in ("Learning from", "looking for objects", "epoch 2 of 2", "done"):
        assert words in text
    dialog.close()


def test_memory_that_runs_out_offers_the_processor(viewer, qtbot, home, monkeypatch) -> None:
    cells(viewer)
    panel = tiny(open_panel(viewer, "Train"))
    monkeypatch.setattr(TrainWidget, "is_on_gpu", True)
    real = TargetVAE.loss

    def loss(model: TargetVAE, images: Any, **options: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(TargetVAE, "loss", loss)
    train(qtbot, panel)
    assert [message for message in messages() if "going on with 4 boxes" in message]
    assert "try the device cpu" in messages()[-1]
    assert panel.on_cpu.isVisibleTo(panel)
    monkeypatch.setattr(TargetVAE, "loss", real)
    click(qtbot, panel, "equipose.train.on_cpu")
    assert not panel.on_cpu.isVisibleTo(panel)
    wait(qtbot, panel)
    assert panel.status.text().startswith("Done")
    assert read_run(RunFolder.of(panel._order.output).run_file).device == "cpu"


def test_a_folder_that_is_read_only_is_said(viewer, qtbot, home, monkeypatch) -> None:
    def touch(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    cells(viewer)
    panel = tiny(open_panel(viewer, "Train"))
    monkeypatch.setattr(Path, "touch", touch)
    train(qtbot, panel)
    assert len(messages()) == 1 and "Permission denied" in messages()[0]
    assert panel.start.isEnabled()


def tiny_model(viewer: Any, qtbot) -> str:
    """Train on the first image of a viewer, without a panel; return the model's name."""
    panel = TrainWidget(viewer)
    qtbot.addWidget(panel)
    tiny(panel, epochs=1)
    order = panel._new_order(None)
    panel.detach()
    return shelf.put(finish(learn(order, 2)), order.output)


def bad_inputs() -> dict[str, tuple[Any, str]]:
    holes = RNG.normal(size=(100, 100))
    holes[3, 4] = np.nan
    return {
        "constant": (np.zeros((100, 100)), "constant"),
        "NaN": (holes, "NaN"),
        "too small": (RNG.normal(size=(20, 20)), "candidates"),
    }


@pytest.mark.parametrize("kind", bad_inputs())
def test_bad_images_are_refused_in_one_notification(viewer, qtbot, home, kind) -> None:
    data, words = bad_inputs()[kind]
    viewer.add_image(data, contrast_limits=(0, 1))
    panel = tiny(open_panel(viewer, "Train"))
    train(qtbot, panel)
    assert len(messages()) == 1
    assert words in messages()[0]
    assert len(viewer.layers) == 1
    assert not list(home.rglob("*.safetensors"))
    assert panel.start.isEnabled()


def test_what_is_missing_is_said(viewer, qtbot, home) -> None:
    panel = tiny(open_panel(viewer, "Train"))
    click(qtbot, panel, "equipose.train.start")
    assert "open an image" in messages()[-1]
    viewer.add_image(RNG.normal(size=(100, 100)))
    child(panel, "equipose.train.source").setCurrentIndex(1)
    click(qtbot, panel, "equipose.train.start")
    assert "points layer" in messages()[-1]
    child(panel, "equipose.train.source").setCurrentIndex(0)
    child(panel, "equipose.train.settings").setText("fields: 3")
    click(qtbot, panel, "equipose.train.start")
    assert "name=value" in messages()[-1]
    (home / "there.safetensors").write_bytes(b"mine")
    child(panel, "equipose.train.settings").setText("")
    panel.settings.output.line.setText(str(home / "there.safetensors"))
    click(qtbot, panel, "equipose.train.start")
    assert "exists" in messages()[-1]
    assert (home / "there.safetensors").read_bytes() == b"mine"
    detect = open_panel(viewer, "Detect")
    click(qtbot, detect, "equipose.detect.start")
    assert "train a model" in messages()[-1]
    detect.load_model(home / "there.safetensors")
    assert "there.safetensors" in messages()[-1]
    assert len(viewer.layers) == 1


def test_a_model_for_grey_images_refuses_colour(viewer, qtbot) -> None:
    cells(viewer)
    tiny_model(viewer, qtbot)
    viewer.layers.clear()
    viewer.add_image(RNG.integers(0, 255, (100, 100, 3), np.uint8), rgb=True)
    detect = open_panel(viewer, "Detect")
    click(qtbot, detect, "equipose.detect.start")
    wait(qtbot, detect)
    assert len(messages()) == 1 and "is in color" in messages()[0]
    assert len(viewer.layers) == 1


def test_our_own_slips_leave_a_log_and_a_panel_that_works(viewer, qtbot, home) -> None:
    cells(viewer)
    panel = tiny(open_panel(viewer, "Train"))

    def broken() -> Any:
        yield from ()
        raise RuntimeError("shapes cannot be multiplied")

    panel._order = panel._new_order(None)
    panel.run_job("Learning", broken())
    wait(qtbot, panel)
    assert len(messages()) == 1
    (log,) = (home / "equipose" / "log").iterdir()
    assert log.name in messages()[0]
    assert "shapes cannot be multiplied" in log.read_text(encoding="utf-8")
    assert panel.details.isVisibleTo(panel)
    click(qtbot, panel, "equipose.train.details")
    dialog = child(panel, "equipose.train.details_dialog")
    assert dialog.isVisible()
    dialog.close()
    train(qtbot, panel)
    assert panel.status.text().startswith("Done")
