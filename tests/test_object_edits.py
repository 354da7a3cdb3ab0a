"""Edits of objects in the viewer: by hand, by the slider, by the panels; rows stay true."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from napari.components import ViewerModel
from napari.layers import Points, Vectors
from qtpy.QtWidgets import QWidget
from tiny import MODEL

from napari_equipose.inference import Picks, Progress
from napari_equipose.io import read_table
from napari_equipose.models import Normalisation, TargetVAE, save_model
from napari_equipose.widgets import _detect_order, _object_rows
from napari_equipose.widgets._detect_job import Found
from napari_equipose.widgets._detect_result import DetectResult
from napari_equipose.widgets._model_choice import ModelChoice
from napari_equipose.widgets._models import ShelvedModel, shelf
from napari_equipose.widgets._object_edits import Exchange, edits_of, show_from
from napari_equipose.widgets._object_keeper import _keepers, watch_objects
from napari_equipose.widgets._object_layers import object_pair, write_shown
from napari_equipose.widgets._object_rows import Rows, rows_of, set_rows

N = 30
RECORD = {"image": "cells", "slice": [], "box_size": 16, "arrow_length": 12.0, "fold": 1}
RECORD |= {"color": "rotation", "arrow_width": 3.0, "point_size": 4.0}
NEEDS_A_SCREEN = pytest.mark.skipif(
    os.environ.get("QT_QPA_PLATFORM") == "offscreen",
    reason="napari's viewer draws on no offscreen platform",
)


def objects(viewer: Any, **record: Any) -> tuple[Points, Vectors]:
    """Points and arrows as Detect adds them, of scores from 0.01 to 1."""
    rng = np.random.default_rng(0)
    places = np.stack(np.meshgrid(np.arange(5), np.arange(6), indexing="ij"), -1).reshape(-1, 2)
    features = pd.DataFrame({"rotation": rng.uniform(-180, 180, N)})
    features["score"] = rng.permutation(np.linspace(0.01, 1, N))
    features["content_0"] = rng.normal(size=N)
    names = ("objects", "arrows")
    points, arrows = object_pair(20.0 * places, features, names, RECORD | record, {})
    viewer.add_layer(arrows)
    viewer.add_layer(points)
    return points, arrows


def assert_arrows_follow(points: Points, arrows: Vectors) -> None:
    """Every object that is shown and has a rotation has its arrow, and no other."""
    rows = np.flatnonzero(points.shown & points.features["rotation"].notna().to_numpy())
    np.testing.assert_array_equal(arrows.features["id"], points.features["id"].to_numpy()[rows])
    np.testing.assert_allclose(
        arrows.data[:, 0] + arrows.data[:, 1] / 2, points.data[rows], atol=1e-6
    )
    angle = np.degrees(np.arctan2(-arrows.data[:, 1, 0], arrows.data[:, 1, 1]))
    wrong = (angle - points.features["rotation"].to_numpy()[rows] + 180) % 360 - 180
    np.testing.assert_allclose(wrong, 0, atol=1e-6)
    np.testing.assert_array_equal(arrows.edge_color, points.face_color[rows])


@pytest.fixture
def viewer() -> Any:
    viewer = ViewerModel()
    watch_objects(viewer)
    return viewer


def drawn(viewer: Any) -> np.ndarray:
    return viewer.screenshot(flash=False)[..., :3].astype(int)


@NEEDS_A_SCREEN
def test_what_is_drawn_is_what_the_layers_say(make_napari_viewer) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(700, 500)
    watch_objects(viewer)
    points, arrows = objects(viewer)
    viewer.reset_view()

    def assert_drawn_as_it_is(expected: np.ndarray) -> None:
        seen = drawn(viewer)
        for layer in (points, arrows):
            layer.refresh()
        np.testing.assert_array_equal(seen, drawn(viewer))
        np.testing.assert_array_equal(seen, expected)

    show_from(points, 0.0)
    whole = drawn(viewer)
    assert (np.ptp(whole, axis=-1) > 30).sum() > 1000  # of many colors
    show_from(points, 0.6)
    some = drawn(viewer)
    assert (some != whole).any()
    show_from(points, 0.9)
    show_from(points, 0.6)
    assert_drawn_as_it_is(some)
    show_from(points, 0.0)
    assert_drawn_as_it_is(whole)
    points.selected_data = set()
    step = Exchange(points, np.arange(5))
    step()
    left = drawn(viewer)
    assert (left != whole).any()
    step()
    points.selected_data = set()
    assert_drawn_as_it_is(whole)
    # hidden meanwhile
    points.visible = arrows.visible = False
    step()
    points.visible = arrows.visible = True
    points.selected_data = set()
    assert_drawn_as_it_is(left)
    points.visible = arrows.visible = False
    show_from(points, 0.6)
    step()
    show_from(points, 0.0)
    points.visible = arrows.visible = True
    points.selected_data = set()
    assert_drawn_as_it_is(whole)
    edits_of(points).color_by("score")
    assert (drawn(viewer) != whole).any()
    edits_of(points).color_by("rotation")
    assert_drawn_as_it_is(whole)
    arrows.edge_color = "rotation"  # by napari's own colors
    whole = drawn(viewer)
    show_from(points, 0.9)
    show_from(points, 0.0)
    assert_drawn_as_it_is(whole)


@NEEDS_A_SCREEN
@pytest.mark.parametrize("color", ["given", "by a feature"])
def test_rows_of_a_hidden_layer_are_removed_and_come_back(make_napari_viewer, qtbot, color) -> None:
    viewer = make_napari_viewer(show=True)
    panel = viewer.window.add_plugin_dock_widget("napari-equipose", "Latent space")[1]
    points, arrows = objects(viewer)
    if color == "by a feature":
        points.face_color = "rotation"
    points.size = np.linspace(2, 8, N)
    before = rows_of(points)
    points.visible = arrows.visible = False
    panel.source.points.value = points.unique_id
    points.selected_data = {0, 1, 2}
    panel.findChild(QWidget, "equipose.latent.remove").click()
    assert len(points.data) == len(arrows.data) == N - 3
    assert_arrows_follow(points, arrows)
    for name, column in before.columns.items():
        np.testing.assert_array_equal(getattr(points, name), column[3:], err_msg=name)
    panel.findChild(QWidget, "equipose.latent.undo").click()
    points.visible = arrows.visible = True
    assert_arrows_follow(points, arrows)
    for name, column in before.columns.items():
        np.testing.assert_array_equal(getattr(points, name), column, err_msg=name)


@pytest.mark.parametrize("name", ["features", "size"])
def test_rows_are_set_all_or_not_at_all(viewer, monkeypatch, name) -> None:
    points, arrows = objects(viewer)
    points.selected_data = {3}
    before = rows_of(points), rows_of(arrows)
    calls: list[int] = []
    setter = getattr(Points, name).fset

    def fails_once(layer: Points, value: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("as napari does")
        setter(layer, value)

    monkeypatch.setattr(Points, name, property(getattr(Points, name).fget, fails_once))
    rows = before[0].take(np.arange(4, N))
    rows = rows.having(size=rows.columns["size"] * 2)
    with pytest.raises(ValueError, match="as napari does"):
        edits_of(points).write(rows)
    monkeypatch.undo()
    for was, layer in zip(before, (points, arrows), strict=True):
        now = rows_of(layer)
        np.testing.assert_array_equal(was.data, now.data)
        pd.testing.assert_frame_equal(was.features, now.features)
        for key, column in was.columns.items():
            np.testing.assert_array_equal(column, now.columns[key])
    assert points.selected_data == {3} and not _object_rows.is_being_set(points)


def test_rows_are_put_between_others() -> None:
    def rows(*numbers: int) -> Rows:
        column = np.array(numbers)
        return Rows(column[:, None], pd.DataFrame({"a": column}), {"size": column})

    both = rows(0, 2, 3).with_rows(rows(4, 1), np.array([4, 1]))
    for column in (both.data[:, 0], both.features["a"], both.columns["size"]):
        np.testing.assert_array_equal(column, np.arange(5))
    assert len(rows().with_rows(rows(1), np.array([0]))) == 1


def test_a_point_added_by_hand_has_no_measurements_of_another(viewer) -> None:
    points, arrows = objects(viewer)
    points.selected_data = {7}  # whose features napari copies
    points.add([[33.0, 44.0]])
    new = points.features.iloc[-1]
    assert new[["rotation", "score", "content_0"]].isna().all()
    assert new["by_hand"] and new["id"] == N
    assert not points.features["by_hand"][:-1].any()
    assert points.features["id"].is_unique
    assert_arrows_follow(points, arrows)
    assert np.ptp(points.face_color[-1, :3]) < 0.1  # gray
    points.selected_data = {0, 1}
    points._copy_data()
    points._paste_data()
    assert points.features["id"].tolist() == list(range(N + 3))
    assert points.features["score"][-3:].isna().all()
    history = edits_of(points).history
    assert history.next_undo == "Paste 2 objects"
    for n in (N + 1, N):
        history.undo()
        assert len(points.data) == n
    assert_arrows_follow(points, arrows)
    history.redo()
    assert np.array_equal(points.data[-1], [33, 44]) and points.features["score"].isna().sum() == 1


def test_an_id_of_an_object_that_is_gone_is_not_given_to_a_new_one_with_its_score(viewer) -> None:
    points, arrows = objects(viewer)
    points.selected_data = {7}
    points.remove_selected()
    points.add([[33.0, 44.0]])
    assert np.isnan(points.features["score"].iloc[-1])
    assert_arrows_follow(points, arrows)
    edits_of(points).history.undo()
    edits_of(points).history.undo()
    assert points.features["id"].tolist() == list(range(N))
    assert_arrows_follow(points, arrows)


def test_the_slider_goes_on_working_after_edits(viewer) -> None:
    points, arrows = objects(viewer)
    show_from(points, 0.5)
    points.selected_data = {4, 11}
    points.remove_selected()
    points.add([[33.0, 44.0], [1.0, 99.0]])
    for least in (0.75, 0.2, 0.95, 0.0):
        score = points.features["score"].to_numpy()
        shown = show_from(points, least)
        np.testing.assert_array_equal(points.shown, np.isnan(score) | (score >= least))
        assert shown == points.shown.sum()
        np.testing.assert_allclose(points.size[points.shown], 4)
        assert (points.size[~points.shown] < 1e-3).all()
        assert_arrows_follow(points, arrows)
    edits_of(points).history.undo()  # what was added
    edits_of(points).history.undo()  # what was removed, with the sizes that it had
    assert len(points.data) == N
    show_from(points, 0.0)
    np.testing.assert_allclose(points.size, 4)
    assert_arrows_follow(points, arrows)


def test_sizes_that_a_person_changed_stay(viewer) -> None:
    points, _ = objects(viewer)
    points.size = np.linspace(1, 7, N)
    for least in (0.9, 0.1, 0.5, 0.0):
        show_from(points, least)
    np.testing.assert_allclose(points.size, np.linspace(1, 7, N))


def test_a_point_that_is_moved_takes_its_arrow_along(viewer) -> None:
    points, arrows = objects(viewer)

    def drag(rows: list[int], by: list[float]) -> None:
        told = {"value": points.data, "data_indices": tuple(rows), "vertex_indices": ((),)}
        points.events.data(action="changing", **told)  # as napari does while it drags
        points.data[rows] += by
        points.events.data(action="changed", **told)
        points.events.features()

    before = points.features.copy()
    drag([5], [1.0, 1.0])  # a bit: it is on the same object still
    assert_arrows_follow(points, arrows)
    assert points.features["score"][5] == before["score"][5] and points.features["by_hand"][5]
    drag([5, 6], [40.0, 0.0])  # away
    assert points.features["score"].isna().tolist() == [i in (5, 6) for i in range(N)]
    assert points.features["id"].tolist() == before["id"].tolist()
    assert_arrows_follow(points, arrows)
    history = edits_of(points).history
    assert history.next_undo == "Move 2 objects"
    points.features = points.features.assign(other=np.arange(N))
    history.undo()
    history.undo()
    pd.testing.assert_frame_equal(points.features.drop(columns="other"), before)
    assert points.features["other"].tolist() == list(range(N))
    assert_arrows_follow(points, arrows)
    history.redo()
    np.testing.assert_allclose(points.data[5], [1.0, 101.0])


def test_all_can_go_and_come_back(viewer) -> None:
    points, arrows = objects(viewer)
    points.selected_data = set(range(N))
    points.remove_selected()
    assert len(arrows.data) == 0
    points.add([[1.0, 2.0]])
    assert np.isnan(points.features["score"]).all()
    history = edits_of(points).history
    history.undo()
    history.undo()
    assert points.features["id"].tolist() == list(range(N))
    assert_arrows_follow(points, arrows)


def test_arrows_follow_when_another_plugin_replaces_features_or_rows(viewer) -> None:
    points, arrows = objects(viewer)
    points.features = points.features.assign(rotation=12.0)
    assert_arrows_follow(points, arrows)
    points.data = points.data[:10]
    assert_arrows_follow(points, arrows)
    points.features = points.features.drop(columns=["id", "by_hand"])
    assert points.features["id"].tolist() == list(range(10))
    assert_arrows_follow(points, arrows)
    assert edits_of(points).history.next_undo == ""


def test_the_keys_of_the_viewer_undo_what_was_done_to_the_selected_layer(viewer) -> None:
    points, _ = objects(viewer)
    points.remove([1, 2])
    keys = {str(key): act for key, act in points.keymap.items()}
    keys["Ctrl+Z"](points)
    assert len(points.data) == N
    keys["Ctrl+Shift+Z"](points)
    assert len(points.data) == N - 2


@pytest.mark.parametrize("suffix", [".csv", ".star"])
def test_hand_edits_are_written_as_they_are(viewer, tmp_path, suffix) -> None:
    points, _ = objects(viewer)
    points.remove([0, 3])
    points.add([[33.0, 44.0]])
    path = tmp_path / f"a{suffix}"
    assert write_shown(points, path) == N - 1
    table = read_table(path)
    np.testing.assert_allclose(table[["y", "x"]], points.data, atol=1e-3)
    assert table["score"].isna().tolist() == [*[False] * (N - 2), True]
    np.testing.assert_allclose(table["score"][:-1], points.features["score"][:-1], atol=1e-5)
    if suffix == ".csv":
        assert table["id"].tolist() == points.features["id"].tolist()
        assert table["by_hand"].tolist() == [*[False] * (N - 2), True]


def test_rows_set_on_layers_of_other_kinds_of_color(viewer) -> None:
    points, arrows = objects(viewer)
    points.face_color, arrows.edge_color = "score", "score"
    show_from(points, 0.5)
    show_from(points, 0.0)
    assert str(points.face_color_mode) == str(arrows.edge_color_mode) == "colormap"
    colors = np.array(points.face_color)
    np.testing.assert_allclose(arrows.edge_color, colors)
    set_rows(points, rows_of(points).take(np.arange(N)[::-1]))
    np.testing.assert_allclose(points.face_color, colors[::-1])


def knowing_nothing(path: Path) -> ShelvedModel:
    """An untrained model on the shelf, whose file is there too."""
    torch.manual_seed(0)
    save_model(path, TargetVAE(MODEL).eval(), Normalisation())
    return shelf[shelf.load(path)]


@NEEDS_A_SCREEN
def test_detect_edit_slide_undo_save_and_reopen(
    make_napari_viewer, qtbot, home, monkeypatch
) -> None:
    rng = np.random.default_rng(1)
    shelved = knowing_nothing(home / "m.safetensors")
    picks = Picks(
        rng.uniform(12, 84, (N, 2)).astype(np.float32),
        rng.uniform(-np.pi, np.pi, N).astype(np.float32),
        np.linspace(1, 0.05, N, dtype=np.float32),
        rng.normal(size=(N, shelved.saved.model.config.content_dim)).astype(np.float32),
    )

    def found(*args: Any) -> Any:
        yield Progress(1, 1, "looking")
        return Found(picks, None, 0.4)

    monkeypatch.setattr(_detect_order, "find", found)
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(900, 700)
    place = {"scale": (0.5, 0.5), "units": ("um", "um"), "translate": (3, 4)}
    viewer.add_image(rng.normal(size=(96, 96)), name="cells", **place)
    panel = viewer.window.add_plugin_dock_widget("napari-equipose", "Detect")[1]

    def control(name: str) -> Any:
        return panel.findChild(QWidget, f"equipose.detect.{name}")

    control("start").click()
    qtbot.waitUntil(lambda: not panel.is_running, timeout=60_000)
    arrows, points = viewer.layers[1:]

    def assert_true(given: Any, marks: Any) -> None:
        """Score and content of what was found, the slider, and the arrows."""
        features = given.features
        old = features[~features["by_hand"]]
        at = old["id"].to_numpy()
        np.testing.assert_allclose(old["score"], picks.score[at], atol=1e-6)
        np.testing.assert_allclose(old["content_0"], picks.content[at, 0], atol=1e-6)
        np.testing.assert_allclose(given.data[old.index], picks.positions[at], atol=1e-4)
        least = given.metadata["equipose"]["min_score"]
        np.testing.assert_array_equal(given.shown[old.index], old["score"] >= least)
        rows = np.flatnonzero(given.shown & features["rotation"].notna().to_numpy())
        np.testing.assert_array_equal(marks.features["id"], features["id"].to_numpy()[rows])
        middle = marks.data[:, 0] + marks.data[:, 1] / 2
        np.testing.assert_allclose(middle, given.data[rows], atol=1e-4)
        np.testing.assert_allclose(marks.edge_color, given.face_color[rows], atol=1e-6)

    def step(edit: Any) -> None:
        edit()
        qtbot.waitUntil(lambda: _keepers[viewer.layers].is_idle, timeout=60_000)
        assert_true(points, arrows)

    def drag() -> None:
        told = {"value": points.data, "data_indices": (2,), "vertex_indices": ((),)}
        points.events.data(action="changing", **told)
        points.data[2] = (50.0, 51.0)
        points.events.data(action="changed", **told)
        points.events.features()

    assert control("objects").currentText() == points.name
    step(lambda: control("threshold").setValue(0.3))
    step(lambda: points.remove([5]))
    step(drag)
    moved, known = points.features.iloc[2], ["score", "rotation", "content_0"]
    assert moved["by_hand"] and np.isfinite(moved[known].astype(float)).all()
    assert moved["score"] != picks.score[2]
    step(lambda: points.add([[40.0, 30.0]]))
    new = points.features.iloc[-1]
    assert new["by_hand"] and new["id"] == N
    assert np.isfinite(new[known].astype(float)).all()
    for least in (0.8, 0.1, 0.3):
        step(lambda least=least: control("threshold").setValue(least))
    assert control("count").text() == f"{points.shown.sum()} of {N} objects"
    step(lambda: control("undo").click())
    assert len(points.data) == N - 1
    step(lambda: edits_of(points).history.redo())
    assert len(points.data) == N
    control("threshold").setValue(control("threshold").minimum())
    panel.save_table(home / "edited.csv")
    before, seen = points.features, drawn(viewer)
    for layer in (points, arrows):
        layer.refresh()
    np.testing.assert_array_equal(seen, drawn(viewer))
    viewer.layers.remove(points)
    viewer.layers.remove(arrows)
    assert not control("threshold").isEnabled() and control("count").text() == ""
    viewer.window.remove_dock_widget("all")
    shelf.clear()  # another day
    panel = viewer.window.add_plugin_dock_widget("napari-equipose", "Detect")[1]
    opened = viewer.open(home / "edited.csv", plugin="napari-equipose")
    (again,) = (layer for layer in opened if isinstance(layer, Points))
    (marks,) = (layer for layer in opened if isinstance(layer, Vectors))
    np.testing.assert_allclose(again.scale, (0.5, 0.5))
    names = ["rotation", "score", "content_0", "id", "by_hand"]
    pd.testing.assert_frame_equal(
        again.features[names], before[names], check_dtype=False, atol=1e-5, rtol=1e-5
    )
    assert_true(again, marks)
    assert control("objects").currentText() == again.name
    points, arrows = again, marks
    step(lambda: control("threshold").setValue(0.6))
    step(lambda: again.add([[20.0, 60.0]]))  # the model is read from its file
    assert np.isfinite(again.features["score"].iloc[-1])
    latent = viewer.window.add_plugin_dock_widget("napari-equipose", "Latent space")[1]
    assert latent.state.layer is again and latent.source.model_name == shelved.name
    assert len(latent.map.coordinates) == N + 1


def test_the_slider_is_that_of_the_result_that_is_selected(viewer, qtbot) -> None:
    form = DetectResult(viewer)
    qtbot.addWidget(form)
    assert form.points is None and not form.threshold.isEnabled()
    first, first_arrows = objects(viewer)
    second, second_arrows = objects(viewer)
    third = viewer.add_points([[0, 0], [1, 1]], features={"score": [0.2, 0.8]}, name="others")
    for layer, least, of in (
        (first, 0.5, first),
        (second_arrows, 0.7, second),
        (third, 0.3, third),
    ):
        viewer.layers.selection.active = layer
        assert form.points is of
        form.threshold.setValue(least)
    assert [int(layer.shown.sum()) for layer in (first, second, third)] == [15, 9, 1]
    assert (len(first_arrows.data), len(second_arrows.data)) == (15, 9)
    viewer.layers.selection.active = first
    assert form.threshold.value() == 0.5 and form.count.text() == "15 of 30 objects"
    first.remove([0, 1])
    assert form.count.text().endswith("of 28 objects") and form.undo.isEnabled()
    form.undo.click()
    assert form.count.text() == "15 of 30 objects"
    for layer in list(viewer.layers):
        viewer.layers.remove(layer)
    assert form.points is None and form.count.text() == ""
    form.detach()


def test_the_model_that_is_chosen_stays_when_another_is_made(qtbot, home) -> None:
    choice = ModelChoice(lambda facts: "")
    qtbot.addWidget(choice)
    names = [knowing_nothing(home / "a.safetensors").name]
    assert choice.value == "a"
    names.append(knowing_nothing(home / "b.safetensors").name)
    assert choice.value == "a" and choice.count() == len(names)
    choice.detach()
