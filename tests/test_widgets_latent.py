"""The Latent space panel in the real viewer. Needs a screen, real or virtual (Xvfb)."""

import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import torch
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget
from tiny import MODEL

from napari_equipose._colors import class_rgba
from napari_equipose.geometry import InputError
from napari_equipose.inference import bring_to_rest, draw_content, encode, finish
from napari_equipose.models import Normalisation, SavedModel, TargetVAE, save_model
from napari_equipose.widgets import LatentWidget, _latent_object
from napari_equipose.widgets._latent_colours import colours_by
from napari_equipose.widgets._latent_source import LatentSource
from napari_equipose.widgets._latent_state import NO_CLASS, LatentState, Step
from napari_equipose.widgets._models import shelf
from napari_equipose.widgets._object_edits import Exchange

if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
    pytest.skip("napari's viewer draws on no offscreen platform", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("home")


def open_panel(viewer: Any) -> Any:
    return viewer.window.add_plugin_dock_widget("napari-equipose", "Latent space")[1]


def panel_of(viewer: ViewerModel, qtbot) -> LatentWidget:
    """The panel alone: what needs no window of napari is quicker without."""
    panel = LatentWidget(viewer)
    qtbot.addWidget(panel, before_close_func=LatentWidget.detach)
    return panel


def until(qtbot, so: Callable[[], bool]) -> None:
    """Wait for something, on a busy machine for long."""
    qtbot.waitUntil(so, timeout=120_000)


def child(panel: QWidget, name: str) -> Any:
    found = panel.findChild(QWidget, f"equipose.latent.{name}")
    assert found is not None, name
    return found


def click(qtbot, panel: QWidget, name: str) -> None:
    qtbot.mouseClick(child(panel, name), Qt.MouseButton.LeftButton, pos=QPoint(5, 5))


def messages() -> list[str]:
    return [record.message for record in notification_manager.records]


def table(n: int = 40, k: int = 2, seed: int = 0, **more: Any) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    content = {f"content_{i}": rng.normal(size=n) for i in range(k)}
    angle = rng.uniform(-180, 180, n)
    return pd.DataFrame({"rotation": angle, "score": rng.uniform(size=n), **content, **more})


def some_points(viewer: Any, n: int = 40, **more: Any) -> Any:
    places = np.random.default_rng(1).uniform(20, 80, (n, 2))
    return viewer.add_points(places, features=table(n, **more), size=4, name="objects")


def tiny_model(home: Path, name: str = "tiny", seed: int = 0, digest: str = "") -> SavedModel:
    """An untrained model on the shelf."""
    torch.manual_seed(seed)
    path = home / "equipose" / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    model, scale = TargetVAE(MODEL).eval(), Normalisation()
    digest = digest or save_model(path, model, scale)
    saved = SavedModel(kind="target-vae", model=model, normalisation=scale, digest=digest)
    shelf.put(saved, path)
    return saved


def on_screen(panel: Any, places: np.ndarray) -> list[QPointF]:
    """Where places of the map are on the canvas of the plot."""
    canvas = panel.plot.canvas
    scene = [panel.plot.view.mapViewToScene(QPointF(x, y)) for x, y in places.tolist()]
    return [QPointF(canvas.mapFromScene(one)) for one in scene]


def mouse(panel: Any, kind: QEvent.Type, place: QPointF, down: bool) -> None:
    port = panel.plot.canvas.viewport()
    button = Qt.MouseButton.NoButton if kind == QEvent.Type.MouseMove else Qt.MouseButton.LeftButton
    buttons = Qt.MouseButton.LeftButton if down else Qt.MouseButton.NoButton
    where = QPointF(port.mapToGlobal(place.toPoint()))
    none = Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(port, QMouseEvent(kind, place, where, button, buttons, none))
    QApplication.processEvents()


def draw_around(panel: Any, corners: np.ndarray) -> None:
    """Draw an outline with the mouse."""
    first, *rest = on_screen(panel, np.vstack((corners, corners[:1])))
    mouse(panel, QEvent.Type.MouseButtonPress, first, down=True)
    for place in rest:
        QTest.qWait(15)  # pyqtgraph leaves out moves that come faster
        mouse(panel, QEvent.Type.MouseMove, place, down=True)
    mouse(panel, QEvent.Type.MouseButtonRelease, rest[-1], down=False)


def show(qtbot, panel: Any) -> None:
    panel.activateWindow()
    until(qtbot, lambda: panel.plot.isVisible() and panel.plot.canvas.height() > 150)
    panel.plot.fit()
    QApplication.processEvents()


def looked_at(boxes: np.ndarray) -> np.ndarray:
    """A content of two numbers: the first components of what boxes look like."""
    flat = boxes.reshape(len(boxes), -1).astype(float)
    u, s, _ = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    return u[:, :2] * s[:2]


def test_drawing_around_a_cluster_of_the_sample_selects_the_objects_of_its_class(
    make_napari_viewer, qtbot
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.open_sample("napari-equipose", "shapes")
    image, truth = viewer.layers
    kinds = truth.features["shape"].to_numpy()
    source = LatentSource(viewer)  # its boxes about the true places, at rest, are the contents
    truth.features = truth.features.assign(content_0=0.0)
    truth.metadata["equipose"] = {"image": image.name, "box_size": 33}
    source.points.refresh()
    rows = np.arange(len(kinds))
    boxes = source.boxes(rows).mean(-1)
    rest = bring_to_rest(boxes, source.rotation(rows), source.translation(rows))
    content = looked_at(rest)
    truth.features = truth.features.assign(content_0=content[:, 0], content_1=content[:, 1])
    source.detach()
    panel = open_panel(viewer)
    show(qtbot, panel)
    assert panel.source.layer is truth and panel.source.image.layer is image
    wanted = kinds == "key"
    cluster = content[wanted]
    radius = 0.3 + 1.5 * np.abs(cluster - cluster.mean(0)).max(0)
    turn = np.arange(0, 2 * np.pi, 0.3)
    around = cluster.mean(0) + radius * np.stack((np.cos(turn), np.sin(turn)), 1)
    click(qtbot, panel, "lasso")
    draw_around(panel, around)
    assert set(truth.selected_data) == set(np.flatnonzero(wanted).tolist())
    np.testing.assert_array_equal(panel.state.selected, wanted)
    # what the viewer selects is selected in the plot
    truth.selected_data = {3, 7}
    assert panel.state.selected.sum() == 2
    assert child(panel, "status").text() == f"{len(kinds)} objects, 2 selected"
    np.testing.assert_array_equal(panel.plot.item.points._selected, panel.state.selected)
    # and steps can be taken back, by key or button
    panel.plot.setFocus()
    qtbot.keyClick(panel.plot, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert not truth.selected_data and not panel.state.selected.any()
    click(qtbot, panel, "redo")
    assert set(truth.selected_data) == set(np.flatnonzero(wanted).tolist())
    assert messages() == []


def test_a_click_goes_to_the_object_and_shows_it(make_napari_viewer, qtbot, home) -> None:
    saved = tiny_model(home)
    viewer = make_napari_viewer(show=True)
    rng = np.random.default_rng(2)
    series = rng.normal(size=(3, 90, 100)).astype(np.float32)
    world = {"scale": (1, 2, 2), "units": ("second", "nm", "nm"), "translate": (0, 7, 9)}
    image = viewer.add_image(series, name="series", **world)
    places = np.column_stack((np.arange(20) % 3, rng.uniform(20, 70, (20, 2))))
    about = {"image": "series", "model": saved.digest, "model_name": "tiny"}
    points = viewer.add_points(
        places, features=table(20), metadata={"equipose": about}, name="objects", **world
    )
    viewer.add_image(np.zeros((9, 9)), scale=(3, 3), units=("um", "um"), visible=False)
    panel = open_panel(viewer)
    show(qtbot, panel)
    row = 7
    (place,) = on_screen(panel, panel.map.coordinates[[row]])
    for kind, down in (
        (QEvent.Type.MouseButtonPress, True),
        (QEvent.Type.MouseButtonRelease, False),
    ):
        mouse(panel, kind, place, down)
    assert panel.state.current == panel.plot.current == row
    assert viewer.dims.current_step[0] == row % 3
    ratio = (
        1.0
        if viewer.layers.units is None
        else (1 * image.units[-1]).to(viewer.layers.units[-1]).magnitude
    )
    expected = (places[row, 1:] * 2 + (7, 9)) * ratio
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], expected, rtol=1e-5)
    assert f"row {row}" in panel.object.about.text()
    until(qtbot, lambda: all(one.count == 1 for one in panel.object.three))
    seen: list[Any] = []
    panel.object._object.done.connect(seen.append)
    panel.state.select_current(8)
    until(qtbot, lambda: bool(seen))
    corner = np.floor(places[8, 1:] + 0.5).astype(int) - 8
    box = series[8 % 3][corner[0] : corner[0] + 16, corner[1] : corner[1] + 16]
    np.testing.assert_array_equal(seen[0].box, box)
    angle = np.radians(points.features["rotation"].iloc[8])
    rest = bring_to_rest(box[None], [angle], (places[[8], 1:] - corner - 8))
    np.testing.assert_allclose(seen[0].at_rest, rest[0], atol=1e-5)
    np.testing.assert_allclose(
        seen[0].drawn, draw_content(saved, panel.state.content[[8]])[0], atol=1e-5
    )
    panel.plot.clicked.emit(-1)
    assert not points.selected_data


def test_the_panel_survives_what_happens_to_the_layer(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer()
    points = some_points(viewer)
    other = viewer.add_points([[0, 0], [1, 1]], name="no objects")
    panel = open_panel(viewer)
    state, history = panel.state, panel.state.history
    assert state.layer is points and len(state) == 40
    mask = np.arange(40) < 5
    state.select(mask)
    state.set_classes(np.arange(40) % 3)
    points.name = "renamed"
    assert child(panel, "points").currentText() == "renamed"
    assert state.layer is points and history.next_undo == "Sort"
    # moved and rescored: what was done can still be taken back
    places = points.data
    points.data = places + 1
    points.features = points.features.assign(score=0.5)
    assert history.next_undo == "Move 40 objects"
    history.undo()
    np.testing.assert_array_equal(points.data, places)
    points.features = points.features.assign(score=0.5)
    history.undo()
    assert "class" not in points.features and (points.features["score"] == 0.5).all()
    # rows deleted by other means come back too
    points.remove_selected()
    assert len(state) == len(panel.map.coordinates) == 35 and not state.selected.any()
    assert history.next_undo == "Delete 5 objects" and history.next_redo == ""
    child(panel, "undo").click()
    assert len(state) == 40 and state.selected.sum() == 5
    child(panel, "redo").click()
    points.add([[3, 3]])
    assert len(state) == len(panel.plot.item.points.xy) == 36
    assert history.next_undo == "Add 1 object"
    # other contents
    points.features = points.features.assign(content_1=1.0, content_2=np.arange(36.0))
    assert history.next_undo == "" and not child(panel, "undo").isEnabled()
    assert state.content.shape == (36, 3) and panel.map.labels[0].startswith("component 1")
    points.features = points.features.drop(columns=["content_0", "content_1", "content_2"])
    assert state.content.shape == (36, 0) and panel.map is None
    viewer.layers.remove(other)
    viewer.layers.remove(points)
    assert state.layer is None and len(state) == 0 and panel.map is None
    state.select(np.zeros(0, bool))
    panel.plot.hovered.emit(0.0, 0.0)
    again = some_points(viewer, 12)
    assert state.layer is again and len(panel.map.coordinates) == 12
    assert messages() == []
    viewer.window.remove_dock_widget("all")
    again.selected_data = {1}
    again.remove_selected()
    viewer.layers.remove(again)
    assert state.layer is None


def test_the_panel_survives_the_closing_of_the_viewer(make_napari_viewer, qtbot, home) -> None:
    tiny_model(home)
    viewer = make_napari_viewer()
    points = some_points(viewer)
    panel = open_panel(viewer)
    child(panel, "in_layer").setChecked(True)
    panel.plot.hovered.emit(0.1, 0.2)
    viewer.close()
    points.features = points.features.assign(score=1.0)
    points.selected_data = {2}
    del panel, viewer
    gc.collect()
    threads = [one for one in threading.enumerate() if one.name == "drawing"]
    for one in threads:
        one.join(120)
        assert not one.is_alive()


def test_edits_of_the_panels_own_keep_the_history_and_go_back() -> None:
    viewer = ViewerModel()
    points = some_points(viewer)
    state = LatentState()
    state.layer = points
    told: list[str] = []
    for name in ("rows", "selection", "classes", "features"):
        getattr(state, f"{name}_changed").connect(lambda name=name: told.append(name))
    before = np.array(points.face_color)
    labels = np.where(np.arange(40) < 10, NO_CLASS, np.arange(40) % 4)
    state.set_classes(labels, "Sort")
    assert sorted(set(told)) == ["classes", "features"]
    np.testing.assert_array_equal(points.features["class"], labels)
    np.testing.assert_array_equal(state.classes, labels)
    np.testing.assert_allclose(points.face_color, class_rgba(labels), atol=1e-6)
    state.select(labels == 1, title="One")
    state.select(labels == 2, "add")
    state.select((np.arange(40) % 8) == 1, "remove")
    wanted = np.isin(labels, (1, 2)) & ((np.arange(40) % 8) != 1)
    np.testing.assert_array_equal(state.selected, wanted)
    for _ in range(2):
        state.history.undo()
    np.testing.assert_array_equal(state.selected, labels == 1)
    # a row goes and comes back
    told.clear()
    points.selected_data = set()
    step = Exchange(points, np.array([0]))
    step()
    state.history.add(Step("Remove", step, step))
    assert len(state) == 39 and told.count("rows") == 1
    assert state.history.next_undo == "Remove"
    for _ in range(3):
        state.history.undo()
    assert len(state) == 40 and state.classes.max() == NO_CLASS
    np.testing.assert_allclose(points.face_color, before, atol=1e-6)
    points.shown = np.arange(40) > 3
    assert state.shown.sum() == 36 and told[-1] == "features"


@pytest.mark.parametrize("lazy", [False, True])
def test_boxes_are_what_the_image_has_mirrored_at_its_border(lazy) -> None:
    viewer = ViewerModel()
    pixels = np.random.default_rng(0).normal(size=(50, 60)).astype(np.float32)
    viewer.add_image(da.from_array(pixels, chunks=16) if lazy else pixels, name="image")
    places = np.array([[1.2, 58.6], [25.5, 30.0], [49, 0.4]])
    points = viewer.add_points(
        places,
        features={"content_0": [0.0, 1, 2], "rotation": [90.0, np.nan, -45]},
        metadata={"equipose": {"image": "image", "box_size": 15}},
    )
    source = LatentSource(viewer)
    assert source.layer is points and source.box_size == 15 and source.saved is None
    rows = np.arange(3)
    around = np.pad(pixels, 20, mode="reflect")
    nearest = np.floor(places + 0.5).astype(int)
    expected = [around[y + 13 : y + 28, x + 13 : x + 28] for y, x in nearest]
    np.testing.assert_array_equal(source.boxes(rows), expected)
    np.testing.assert_allclose(source.translation(rows), places - nearest)
    np.testing.assert_allclose(source.rotation(rows), np.radians([90, 0, -45]))
    np.testing.assert_array_equal(source.boxes(rows == 1), expected[1:2])
    # the image is deleted: another one is none of theirs until a person says so
    other = viewer.add_image(np.zeros_like(pixels), name="other")
    viewer.layers["image"].name = "renamed"
    np.testing.assert_array_equal(source.boxes(rows == 1), expected[1:2])
    viewer.layers.remove("renamed")
    with pytest.raises(InputError, match="choose the image layer that the objects lie in"):
        source.boxes(rows)
    assert source.image.layer is other
    source.image.activated.emit(0)
    assert not source.boxes(rows).any()


def test_boxes_come_from_the_level_and_the_slice_that_objects_were_found_in() -> None:
    viewer = ViewerModel()
    fine = np.random.default_rng(0).normal(size=(2, 80, 96)).astype(np.float32)
    coarse = fine.reshape(2, 40, 2, 48, 2).mean((2, 4))
    viewer.add_image([fine, coarse], multiscale=True, name="pyramid", scale=(1, 0.5, 0.5))
    about = {"image": "pyramid", "slice": [1], "level_factor": [2.0, 2.0], "box_size": 20}
    at = np.array([[20.0, 24.0]])
    viewer.add_points(
        np.column_stack(([1.0], (at + 0.5) * 2 - 0.5)),
        features={"content_0": [0.0]},
        scale=(1, 0.5, 0.5),
        metadata={"equipose": about},
    )
    source = LatentSource(viewer)
    assert source.box_size == 10 and source.voxel[0] == 1
    np.testing.assert_array_equal(source.boxes([0])[0], coarse[1, 15:25, 19:29])
    np.testing.assert_allclose(source.translation([0]), 0, atol=1e-9)


def test_the_model_is_the_one_that_the_layers_record_names(qtbot, home) -> None:
    saved = tiny_model(home, "first")
    shelf.clear()  # another session; its file is still in the run folder
    tiny_model(home, "second", seed=1)
    viewer = ViewerModel()
    points = some_points(viewer)
    points.metadata["equipose"] = {"model": saved.digest, "model_name": "first"}
    panel = panel_of(viewer, qtbot)
    assert panel.source.saved.digest == saved.digest and panel.source.model_name == "first"
    tiny_model(home, "third", seed=2)  # trained meanwhile: it is none of these contents
    assert panel.source.model_name == "first"
    panel.load_model(home / "equipose" / "second.safetensors")
    assert "second can't be used here. The objects' content is of another" in messages()[-1]
    assert panel.source.model_name == "first"
    points.metadata["equipose"] = {"model": "gone", "model_name": "lost"}
    viewer.layers.selection.clear()
    viewer.layers.remove(points)
    viewer.add_layer(points)
    assert panel.source.saved is None and "Load the model lost" in panel.source.about.text()


def test_the_object_under_the_cursor_is_drawn_in_a_thread_the_latest_alone(
    qtbot, home, monkeypatch
) -> None:
    saved = tiny_model(home)
    viewer = ViewerModel()
    some_points(viewer)
    panel = panel_of(viewer, qtbot)
    drawn: list[Any] = []
    panel.object.generated.connect(drawn.append)
    threads, waiting = [], threading.Event()
    real = _latent_object.draw_content

    def slow(*given: Any) -> Any:
        threads.append(threading.current_thread())
        assert waiting.wait(120)
        return real(*given)

    monkeypatch.setattr(_latent_object, "draw_content", slow)
    places = np.random.default_rng(0).normal(size=(20, 2)).tolist()
    panel.plot.hovered.emit(*places[0])
    until(qtbot, lambda: len(threads) == 1)
    for place in places[1:]:
        panel.plot.hovered.emit(*place)
    assert not drawn  # the viewer goes on meanwhile
    waiting.set()
    until(qtbot, lambda: len(drawn) == 2)
    until(qtbot, lambda: panel.object.is_idle)
    assert len(drawn) == 2 and threading.main_thread() not in threads
    content = panel.map.content_at([places[-1]])
    np.testing.assert_allclose(content, [places[-1]], rtol=1e-6)
    np.testing.assert_allclose(drawn[1], draw_content(saved, content)[0], atol=1e-6)
    assert panel.object.live.count == 1 and len(viewer.layers) == 1
    # in a layer, as long as that is wanted, and wherever a person has thrown it
    child(panel, "in_layer").setChecked(True)
    panel.plot.hovered.emit(*places[3])
    until(qtbot, lambda: len(viewer.layers) == 2)
    layer = viewer.layers[-1]
    assert viewer.layers.selection.active is viewer.layers[0]  # its tools are still at hand
    panel.plot.hovered.emit(*places[4])
    until(qtbot, lambda: len(drawn) == 4)
    np.testing.assert_array_equal(layer.data, drawn[3])
    assert layer.contrast_limits[0] <= drawn[3].min() <= drawn[3].max() <= layer.contrast_limits[1]
    viewer.layers.remove(layer)
    panel.plot.hovered.emit(*places[5])
    until(qtbot, lambda: len(viewer.layers) == 2)
    child(panel, "in_layer").setChecked(False)
    assert len(viewer.layers) == 1
    assert messages() == []


def test_contents_of_another_width_are_refused_in_words(qtbot, home) -> None:
    tiny_model(home)
    viewer = ViewerModel()
    some_points(viewer, k=5)
    panel = panel_of(viewer, qtbot)
    assert panel.map.labels[0].startswith("component 1")
    panel.plot.hovered.emit(0.0, 0.0)
    until(qtbot, lambda: "choose the model" in panel.object.about.text())


def test_boxes_are_encoded_and_become_objects_in_their_stack(qtbot, home) -> None:
    saved = tiny_model(home)
    viewer = ViewerModel()
    boxes = np.random.default_rng(0).normal(size=(12, 16, 16)).astype(np.float32)
    image = viewer.add_image(boxes, name="boxes", scale=(1, 3, 3), units=("pixel", "nm", "nm"))
    panel = panel_of(viewer, qtbot)
    assert child(panel, "source").value == "stack" and child(panel, "start").text() == "Encode"
    click(qtbot, panel, "start")
    until(qtbot, lambda: not panel.is_running)
    assert messages() == []
    points = viewer.layers[-1]
    found = finish(encode(saved, boxes))
    np.testing.assert_allclose(points.data[:, 0], np.arange(12))
    np.testing.assert_allclose(points.data[:, 1:], 8 + found.translation, atol=1e-5)
    np.testing.assert_allclose(points.features[["content_0", "content_1"]], found.content)
    assert points.units == image.units and points.name == "boxes particles"
    assert panel.state.layer is points and panel.source.image.layer is image
    assert panel.source.saved is saved and not panel.source.of_stack
    # the box of an object is that of the stack, however it lies in it
    np.testing.assert_array_equal(panel.source.boxes([3]), boxes[[3]])
    np.testing.assert_allclose(panel.source.translation([3]), found.translation[[3]], atol=1e-5)
    np.testing.assert_allclose(panel.source.rotation([3]), found.rotation[[3]], atol=1e-5)


def test_maps_are_laid_out_in_a_job_or_at_once(qtbot) -> None:
    viewer = ViewerModel()
    points = some_points(viewer, 60, k=4)
    panel = panel_of(viewer, qtbot)
    method, start = child(panel, "map"), child(panel, "start")
    assert method.value == "pca" and not start.isEnabled()
    found = panel.map.coordinates
    assert found.shape == (60, 2) and found.std(0)[0] >= found.std(0)[1]
    method.value = "dims"
    child(panel, "x").value, child(panel, "y").value = 3, 1
    np.testing.assert_allclose(
        panel.map.coordinates, points.features[["content_3", "content_1"]], rtol=1e-6
    )
    assert panel.map.labels == ("content_3", "content_1")
    method.value = "t-sne"
    assert panel.is_running and not panel.source.isEnabled()
    until(qtbot, lambda: not panel.is_running)
    assert panel.map.labels == ("t-SNE 1", "t-SNE 2") and not start.isEnabled()
    # others now: PCA until a map of them is asked for
    points.remove([0])
    assert panel.map.labels[0].startswith("component 1") and start.isEnabled()
    points.features = points.features[["content_0"]]
    assert panel.map.labels == ("content_0", "density")
    assert messages() == []


def test_a_result_about_rows_that_have_gone_is_not_used(qtbot) -> None:
    viewer = ViewerModel()
    points = some_points(viewer)
    panel = panel_of(viewer, qtbot)
    used: list[int] = []
    go_on = threading.Event()

    def work() -> Any:
        yield
        assert go_on.wait(120)
        return 1

    panel.do("Thinking", work(), used.append)
    panel.do("Thinking again", work(), used.append)
    assert "Wait for what is running" in messages()[-1]
    points.remove([0])
    go_on.set()
    until(qtbot, lambda: not panel.is_running)
    assert not used and "changed meanwhile" in messages()[-1]
    panel.do("Thinking", work(), used.append)
    until(qtbot, lambda: not panel.is_running)
    assert used == [1]


def test_colours_of_features_tell_them_apart(qtbot) -> None:
    features = table(
        8,
        word=["a", "b", None, "a", "c", "b", "a", "c"],
        half=[0, 1] * 4,
        flag=[True, False] * 4,
        **{"class": pd.array([0, 1, None, 2, -1, 13, 1, 0], dtype="Int64")},
    )
    features["rotation"] = [-180, 180, 0, 90, -90, np.nan, 179.999, 45]
    rgb, _ = colours_by(features, "class")
    np.testing.assert_array_equal(rgb[[0, 1]], rgb[[7, 6]])
    np.testing.assert_array_equal(rgb[2], rgb[4])  # of no class
    np.testing.assert_allclose(rgb / 255, class_rgba([0, 1, -1, 2, -1, 13, 1, 0])[:, :3], atol=3e-3)
    rgb, legend = colours_by(features, "rotation")
    assert np.abs(rgb[0].astype(int) - rgb[1]).max() == 0 and (legend.low, legend.high) == (
        -180,
        180,
    )
    assert np.abs(rgb[0].astype(int) - rgb[6]).max() < 30  # a turn ends where it began
    assert len(np.unique(rgb[[0, 2, 3, 4]], axis=0)) == 4
    rgb, legend = colours_by(features, "score")
    light = rgb[np.argsort(features["score"])].astype(int).sum(1)
    assert (np.diff(light) >= 0).all() and legend.entries == ()
    rgb, legend = colours_by(features, "word")
    assert [text for text, _ in legend.entries] == ["a", "b", "c", "none"]
    assert len(np.unique(rgb, axis=0)) == 4 and (rgb[0] == rgb[3]).all()
    assert [text for text, _ in colours_by(features, "half")[1].entries] == ["0", "1"]
    assert [text for text, _ in colours_by(features, "flag")[1].entries] == ["False", "True"]
    viewer = ViewerModel()
    points = viewer.add_points(np.zeros((8, 2)), features=features, face_color="red")
    panel = panel_of(viewer, qtbot)
    assert child(panel, "colour").value == "class"
    np.testing.assert_allclose(points.face_color, [(1, 0, 0, 1)] * 8)  # until it is asked for
    choice = child(panel, "colour")
    choice.value = "word"
    choice.activated.emit(choice.currentIndex())
    np.testing.assert_allclose(points.face_color[:, :3], rgb / 255, atol=1e-6)
    np.testing.assert_array_equal(panel.plot.item.points._rgb, rgb)


def test_hidden_objects_are_neither_shown_nor_selected(qtbot) -> None:
    viewer = ViewerModel()
    points = some_points(viewer)
    panel = panel_of(viewer, qtbot)
    points.shown = np.arange(40) >= 10
    panel.plot.lassoed.emit(np.ones(40, bool), "replace")
    assert set(points.selected_data) == set(range(10, 40))
    assert not panel.plot.item.points.drawn[:10].any()


def test_the_figure_is_written_or_refused_in_words(qtbot, tmp_path) -> None:
    viewer = ViewerModel()
    some_points(viewer)
    panel = panel_of(viewer, qtbot)
    panel.save_figure(tmp_path / "figure.svg")
    assert "content_0" in (tmp_path / "figure.svg").read_text()
    panel.save_figure(tmp_path / "figure.gif")
    assert "figure.gif" in messages()[-1]
