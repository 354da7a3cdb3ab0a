"""What the Latent space panel does with objects that are selected, without a window."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Points, Vectors

from napari_equipose.geometry import InputError
from napari_equipose.inference import ClassAverage, ShellCorrelation
from napari_equipose.io import read_stack, read_table, write_mrc
from napari_equipose.widgets._latent_actions import (
    averages_of,
    points_of,
    remove_objects,
    stack_of,
    write_objects,
)
from napari_equipose.widgets._latent_state import LatentState
from napari_equipose.widgets._object_edits import show_from
from napari_equipose.widgets._object_keeper import watch_objects
from napari_equipose.widgets._object_layers import object_pair

RNG = np.random.default_rng(0)
N = 12
RECORD = {"model": "abc", "image": "cells", "slice": [], "box_size": 16}
RECORD |= {"arrow_length": 5.0, "color": "rotation"}


def found(viewer: Any, **more: Any) -> tuple[Points, Vectors]:
    """Points and arrows as Detect makes them, coloured by rotation."""
    places, angle = RNG.uniform(0, 60, (N, 2)), RNG.uniform(-180, 180, N)
    features = pd.DataFrame({"rotation": angle, "score": np.linspace(0.1, 0.9, N)})
    features["content_0"] = RNG.normal(size=N)
    points, arrows = object_pair(places, features, ("objects", "arrows"), dict(RECORD), more)
    points.size = np.arange(1.0, N + 1)
    viewer.add_layer(arrows)
    viewer.add_layer(points)
    return points, arrows


def looks(layer: Any) -> dict[str, Any]:
    """All of a layer that a removal could spoil."""
    names = ["data", "features"]
    if isinstance(layer, Points):
        names += ["size", "symbol", "border_width", "shown", "face_color", "border_color"]
    else:
        names += ["edge_color"]
    return {name: np.array(getattr(layer, name)) for name in names}


def assert_same(first: dict[str, Any], second: dict[str, Any]) -> None:
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


@pytest.fixture
def viewer() -> Any:
    viewer = ViewerModel()
    watch_objects(viewer)
    return viewer


@pytest.fixture
def state() -> LatentState:
    return LatentState()


def some(*rows: int) -> np.ndarray:
    return np.isin(np.arange(N), rows)


def test_objects_and_their_arrows_go_and_come_back_as_they_were(viewer, state) -> None:
    points, arrows = found(viewer)
    points.symbol = ["disc"] * 6 + ["square"] * 6
    points.border_color = RNG.uniform(size=(N, 4))
    state.layer = points
    points.selected_data = {2, 7}
    before = looks(points), looks(arrows)
    gone = some(2, 7)
    remove_objects(state, viewer.layers, gone, "Remove 2 objects")
    after = looks(points), looks(arrows)
    for was, now in zip(before, after, strict=True):
        assert_same({name: value[~gone] for name, value in was.items()}, now)
    assert len(state) == N - 2 and not points.selected_data
    assert state.history.next_undo == "Remove 2 objects"
    state.history.undo()
    assert_same(before[0], looks(points))
    assert_same(before[1], looks(arrows))
    assert set(points.selected_data) == {2, 7} and state.selected.sum() == 2
    state.history.redo()
    assert_same(after[0], looks(points))
    assert_same(after[1], looks(arrows))


def test_classes_given_before_come_back_with_the_objects(viewer, state) -> None:
    points, arrows = found(viewer)
    state.layer = points
    labels = np.arange(N) % 3
    state.set_classes(labels, "Sort")
    colours = np.array(points.face_color)
    remove_objects(state, viewer.layers, some(*range(4, N)), "Keep 4 objects")
    np.testing.assert_array_equal(state.classes, labels[:4])
    np.testing.assert_allclose(points.face_color, colours[:4])
    assert len(arrows.data) == 4
    np.testing.assert_allclose(arrows.edge_color, colours[:4])
    state.history.undo()
    np.testing.assert_array_equal(state.classes, labels)
    np.testing.assert_allclose(points.face_color, colours)
    state.history.undo()
    assert "class" not in points.features
    assert state.history.next_redo == "Sort"


def test_all_arrows_can_go_and_come_back(viewer, state) -> None:
    points, arrows = found(viewer)
    shown = some(3, 4)
    points.features = points.features.assign(score=np.where(shown, 0.9, 0.1))
    show_from(points, 0.5)
    state.layer = points
    before = looks(points), looks(arrows)
    assert len(arrows.data) == 2
    remove_objects(state, viewer.layers, shown, "Remove 2")
    assert len(arrows.data) == 0 and len(points.data) == N - 2
    state.history.undo()
    assert_same(before[0], looks(points))
    assert_same(before[1], looks(arrows))


def test_arrows_of_the_objects_that_are_shown_go_with_them(viewer, state) -> None:
    points, arrows = found(viewer)
    show_from(points, 0.45)
    rows = np.flatnonzero(points.shown)
    np.testing.assert_array_equal(arrows.features["id"], points.features["id"][rows])
    state.layer = points
    kept = np.array(arrows.data)[1:]
    remove_objects(state, viewer.layers, some(0, rows[0]), "Remove")
    np.testing.assert_array_equal(arrows.data, kept)


def test_arrows_of_another_run_stay(viewer, state) -> None:
    points, arrows = found(viewer)
    others = found(viewer)
    state.layer = points
    remove_objects(state, viewer.layers, some(1), "Remove")
    assert [len(layer.data) for layer in (points, arrows, *others)] == [N - 1, N - 1, N, N]
    again = viewer.add_layer(points_of(points, some(1, 2)[: N - 1], "these"))
    state.layer = again
    remove_objects(state, viewer.layers, np.array([True, False]), "Remove")
    assert [len(layer.data) for layer in (again, points, arrows)] == [1, N - 1, N - 1]


def test_arrows_keep_the_one_color_that_a_person_gave_them(viewer, state) -> None:
    points, arrows = found(viewer)
    state.layer = points
    remove_objects(state, viewer.layers, some(1), "Remove")
    arrows.edge_color = "red"
    state.history.undo()
    assert len(arrows.data) == N
    np.testing.assert_array_equal(np.unique(arrows.edge_color, axis=0), [[1, 0, 0, 1]])


def test_a_removal_outlives_the_layers_it_was_done_to(viewer, state) -> None:
    points, arrows = found(viewer)
    state.layer = points
    remove_objects(state, viewer.layers, some(1), "Remove")
    viewer.layers.remove(arrows)
    state.history.undo()
    assert len(points.data) == N


def test_nothing_selected_is_said(viewer, state, tmp_path) -> None:
    points, _ = found(viewer)
    state.layer = points
    with pytest.raises(InputError, match="there is no object to remove"):
        remove_objects(state, viewer.layers, some(), "Remove")
    with pytest.raises(InputError, match="no object of objects would be left"):
        remove_objects(state, viewer.layers, ~some(), "Remove")
    assert not state.history.next_undo
    points.shown = some(3)
    with pytest.raises(InputError, match=r"table\.csv: no object is selected"):
        write_objects(points, some(4), tmp_path / "table.csv")
    assert not list(tmp_path.iterdir())


def test_some_points_become_a_layer_of_their_own(viewer) -> None:
    points, _ = found(viewer, scale=(2, 2), units=("nm", "nm"), translate=(3, 4))
    points.symbol = ["disc"] * 6 + ["square"] * 6
    rows = some(1, 5, 9)
    new = viewer.add_layer(points_of(points, rows, "these"))
    assert_same({name: value[rows] for name, value in looks(points).items()}, looks(new))
    assert (new.name, new.units) == ("these", points.units)
    np.testing.assert_array_equal(new.translate, points.translate)
    marks = [layer.metadata["equipose"].pop("result") for layer in (new, points)]
    assert marks[0] != marks[1]
    assert new.metadata["equipose"] == points.metadata["equipose"] == RECORD
    new.metadata["other"] = 1
    new.features.loc[0, "score"] = 7
    assert "other" not in points.metadata and points.features["score"].max() < 1


@pytest.mark.parametrize("suffix", [".csv", ".star"])
def test_some_objects_are_written(viewer, tmp_path, suffix) -> None:
    points, _ = found(viewer)
    points.shown = ~some(5)
    assert write_objects(points, some(1, 5, 9), tmp_path / f"table{suffix}") == 2
    table = read_table(tmp_path / f"table{suffix}")
    np.testing.assert_allclose(table[["y", "x"]], points.data[[1, 9]], atol=1e-3)
    np.testing.assert_allclose(table["rotation"], points.features["rotation"][[1, 9]], atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "dimensions"), [((5, 16, 16), 2), ((5, 16, 16, 3), 2), ((5, 8, 8, 8), 3)]
)
def test_boxes_become_a_stack_of_their_unit(viewer, shape, dimensions) -> None:
    boxes = RNG.integers(0, 255, shape, np.uint8)
    layer = viewer.add_layer(stack_of(boxes, (1.5, "nm"), dimensions, "boxes", {"model": "abc"}))
    np.testing.assert_array_equal(layer.data, boxes)
    assert layer.rgb == (shape[-1] == 3)
    assert layer.ndim == dimensions + 1
    assert [f"{unit:~P}" for unit in layer.units] == ["pixel", *["nm"] * dimensions]
    np.testing.assert_array_equal(layer.scale, [1, *[1.5] * dimensions])
    assert layer.axis_labels == ("n", *"zyx"[-dimensions:])


def test_averages_tell_their_classes() -> None:
    frequency = np.linspace(0, 0.5, 9)
    curve = ShellCorrelation(frequency, np.where(frequency < 0.3, 1.0, 0.0))
    averages = [
        ClassAverage(label, 10 + label, RNG.normal(size=(16, 16)).astype(np.float32), None, curve)
        for label in (0, 2)
    ]
    layer = averages_of(averages, (2.0, "angstrom"), "averages", {"model": "abc"})
    assert layer.data.shape == (2, 16, 16)
    record = layer.metadata["equipose"]
    assert (record["classes"], record["particles"], record["model"]) == ([0, 2], [10, 12], "abc")
    assert record["resolution_pixels"] == [curve.resolution()] * 2


@pytest.mark.parametrize("suffix", [".csv", ".star"])
def test_objects_in_boxes_of_a_stack_are_written_as_poses(tmp_path, suffix) -> None:
    boxes = RNG.normal(size=(N, 16, 16)).astype(np.float32)
    write_mrc(tmp_path / "boxes.mrcs", boxes, 1.5, axes="nyx")
    shift = RNG.normal(size=(N, 2))
    features = pd.DataFrame(
        {
            "rotation": RNG.uniform(-180, 180, N),
            "score": np.linspace(0, 1, N),
            "class": np.arange(N) % 3 - 1,
            "content_0": RNG.normal(size=N),
        }
    )
    record = {"model": "abc", "box_size": 16, "image": str(tmp_path / "boxes.mrcs")}
    places = np.column_stack((np.arange(N), 8 + shift))
    points = Points(places, features=features, metadata={"equipose": record})
    rows = np.array([3, 4, 8])
    path = tmp_path / f"some{suffix}"
    assert write_objects(points, some(*rows), path) == 3
    poses = read_table(path, "poses")
    np.testing.assert_allclose(poses[["translation_y", "translation_x"]], shift[rows], atol=1e-3)
    np.testing.assert_allclose(poses["rotation"], features["rotation"][rows], atol=1e-3)
    assert poses["class"].tolist() == [pd.NA, 0, 1]
    if suffix == ".csv":
        assert poses["index"].tolist() == rows.tolist()
        return
    stack = read_stack(path)
    np.testing.assert_array_equal(np.asarray(stack.images), boxes[rows])
    record["image"] = "a layer"
    with pytest.raises(InputError, match="need the stack they belong to"):
        write_objects(points, some(3), path)


def test_what_is_in_no_class_has_none_in_a_table(viewer, tmp_path) -> None:
    points, _ = found(viewer)
    points.features = points.features.assign(**{"class": np.where(some(1), -1, 4)})
    write_objects(points, some(1, 2), tmp_path / "table.csv")
    assert read_table(tmp_path / "table.csv")["class"].tolist() == [pd.NA, 4]
