"""Classes, selections, grids, movies and symmetry in the Latent space panel."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget
from tiny import MODEL, untrained_harmony

from napari_equipose._colors import class_rgba
from napari_equipose.geometry import Poses, apply_poses
from napari_equipose.inference import draw_content, encode, finish
from napari_equipose.io import read_table
from napari_equipose.models import (
    MCEVAE,
    Capabilities,
    MCEVAEConfig,
    Normalisation,
    SavedModel,
    TargetVAE,
    save_model,
)
from napari_equipose.simulation import multi_object_scene, shape_pictures
from napari_equipose.widgets import LatentWidget
from napari_equipose.widgets._latent_drawn import mosaic, pictures_of
from napari_equipose.widgets._latent_state import NO_CLASS
from napari_equipose.widgets._models import shelf

if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
    pytest.skip("napari's viewer draws on no offscreen platform", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("home")

SIDE = 28
N = 30


def child(panel: QWidget, name: str) -> Any:
    found = panel.findChild(QWidget, f"equipose.latent.{name}")
    assert found is not None, name
    return found


def press(qtbot, panel: Any, name: str) -> None:
    """Press a button, and wait for the job that it may have begun."""
    child(panel, name).click()
    qtbot.waitUntil(lambda: not panel.is_running, timeout=60_000)


def messages() -> list[str]:
    return [record.message for record in notification_manager.records]


def model_at_hand(home: Path) -> Any:
    """An untrained model on the shelf."""
    torch.manual_seed(0)
    path = home / "tiny.safetensors"
    save_model(path, TargetVAE(MODEL).eval(), Normalisation())
    return shelf[shelf.load(path)].saved


def scene(viewer: Any, **record: Any) -> Any:
    """Shapes of three kinds, clear of noise, and points that know their true poses."""
    made = multi_object_scene(
        np.random.default_rng(0), shape=(300, 300), n=N, noise=0.0, gradient=0
    )
    world = {"scale": (2.0, 2.0), "units": ("nm", "nm")}
    viewer.add_image(made.image, name="shapes", **world)
    truth = made.truth
    rng = np.random.default_rng(1)
    content = 5.0 * np.array([[0, 0], [1, 0], [0, 1]])[truth.label] + rng.normal(0, 0.2, (N, 2))
    features = pd.DataFrame(
        {
            "rotation": np.degrees(truth.rotation),
            "score": np.linspace(0, 1, N),
            "content_0": content[:, 0],
            "content_1": content[:, 1],
        }
    )
    about = {"image": "shapes", "box_size": 16 if record else SIDE, **record}
    points = viewer.add_points(
        truth.positions, features=features, metadata={"equipose": about}, name="objects", **world
    )
    return points, truth.label


@pytest.fixture
def viewer() -> Any:
    return ViewerModel()


def panel_of(viewer: Any, qtbot) -> Any:
    panel = LatentWidget(viewer)
    qtbot.addWidget(panel)
    return panel


def cells(panel: Any) -> list[list[str]]:
    table = child(panel, "table")
    columns = range(table.columnCount())
    return [[table.item(row, c).text() for c in columns] for row in range(table.rowCount())]


def test_objects_are_sorted_listed_and_picked_by_their_class(viewer, qtbot) -> None:
    points, label = scene(viewer)
    points.shown = np.arange(N) > 2
    panel = panel_of(viewer, qtbot)
    assert cells(panel) == []
    child(panel, "classes").value = 3
    press(qtbot, panel, "sort")
    found = points.features["class"].to_numpy()
    assert (found[:3] == NO_CLASS).all()  # those that are hidden
    for name in range(3):
        assert len(set(label[3:][found[3:] == name])) == 1
    counts = np.bincount(found[3:])
    listed = [[str(name), str(count)] for name, count in enumerate(counts)]
    assert [row[:2] for row in cells(panel)] == listed
    score = points.features["score"][found == 1].mean()
    assert cells(panel)[1][2] == f"{score:.3f}"
    np.testing.assert_allclose(points.face_color, class_rgba(found), atol=1e-6)
    child(panel, "table").selectRow(1)
    np.testing.assert_array_equal(panel.state.selected, found == 1)
    assert panel.state.history.next_undo == "Class 1"
    panel.state.history.undo()
    assert not panel.state.selected.any() and not child(panel, "table").chosen
    points.shown = True
    assert cells(panel)[0][:2] == ["none", "3"]
    panel.state.history.undo()
    assert "class" not in points.features and cells(panel) == []
    assert messages() == []


def test_classes_are_made_joined_and_numbered_by_hand(viewer, qtbot) -> None:
    points, label = scene(viewer)
    panel = panel_of(viewer, qtbot)
    press(qtbot, panel, "put")
    assert messages() == ["no object is selected; draw a lasso around some first."]
    panel.state.select(label == 1)
    press(qtbot, panel, "put")
    np.testing.assert_array_equal(points.features["class"], np.where(label == 1, 0, NO_CLASS))
    panel.state.select(label == 2)
    press(qtbot, panel, "put")
    expected = np.array([NO_CLASS, 0, 1])[label]
    np.testing.assert_array_equal(points.features["class"], expected)
    child(panel, "into").value = NO_CLASS
    panel.state.select(np.arange(N) < 5)
    press(qtbot, panel, "put")
    expected[:5] = NO_CLASS
    np.testing.assert_array_equal(points.features["class"], expected)
    table = child(panel, "table")
    table.item(2, 0).setText("7")  # as a person who edits the cell
    expected[expected == 1] = 7
    np.testing.assert_array_equal(points.features["class"], expected)
    table.item(2, 0).setText("not a number")
    assert table.item(2, 0).text() == "7"
    assert not table.item(1, 1).flags() & Qt.ItemFlag.ItemIsEditable
    table.selectRow(1)
    press(qtbot, panel, "merge")
    assert "choose two or more classes" in messages()[-1]
    table.selectAll()
    press(qtbot, panel, "merge")
    assert (points.features["class"] == NO_CLASS).all()  # the one without a class was among them
    for _ in range(20):
        panel.state.history.undo()
    assert "class" not in points.features


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def test_averages_show_what_is_in_the_classes_and_go_when_they_change(viewer, qtbot) -> None:
    points, label = scene(viewer)
    points.features = points.features.assign(**{"class": label})
    panel = panel_of(viewer, qtbot)
    press(qtbot, panel, "averages")
    assert messages() == []
    assert all(row[3].endswith(" nm") for row in cells(panel))
    table = child(panel, "table")
    assert all(not table.item(row, 4).icon().isNull() for row in range(3))
    press(qtbot, panel, "averages_layer")
    layer = viewer.layers[-1]
    assert layer.metadata["equipose"]["particles"] == np.bincount(label).tolist()
    inner = slice(3, -3)
    for found, picture in zip(layer.data, shape_pictures(SIDE), strict=True):
        # the origin of a picture is its centre, that of a box its middle pixel
        shifted = (picture[:-1, :-1].astype(float) + picture[1:, 1:]) / 2
        assert likeness(found[1:, 1:][inner, inner], shifted[inner, inner]) > 0.9
    labels = label.copy()
    labels[np.flatnonzero(label == 0)[0]] = 1
    panel.state.set_classes(labels)
    icons = [table.item(row, 4).icon().isNull() for row in range(3)]
    assert icons == [True, True, False]  # of those that lost or won an object


def test_a_model_with_categories_offers_them(viewer, qtbot, home) -> None:
    torch.manual_seed(0)
    network = {"width": 2, "hidden": 8, "hidden_decoder": 8, "copies": 1}
    model = MCEVAE(MCEVAEConfig(box_size=16, content_dim=1, categories=2, **network)).eval()
    model.set_categories(torch.tensor([[0.0, 0.0], [5.0, 0.0]]), 1.0)
    digest = save_model(home / "own.safetensors", model, Normalisation())
    points, label = scene(viewer, model=digest)
    rest = points.features[["content_0", "content_1"]].to_numpy()
    points.features = points.features.assign(content_1=rest[:, 0], content_2=rest[:, 1])
    panel = panel_of(viewer, qtbot)
    assert child(panel, "method").value == "ward"
    panel.load_model(home / "own.safetensors")
    method = child(panel, "method")
    assert method.findData("own") == 0
    method.value = "own"
    assert not child(panel, "classes").isEnabled()
    press(qtbot, panel, "sort")
    np.testing.assert_array_equal(points.features["class"], label == 1)


def test_what_is_selected_is_kept_copied_cut_averaged_and_written(viewer, qtbot, tmp_path) -> None:
    points, label = scene(viewer)
    panel = panel_of(viewer, qtbot)
    assert not child(panel, "keep").isEnabled()
    rows = np.flatnonzero(label == 2)
    panel.state.select(label == 2)
    assert child(panel, "count").text() == f"{len(rows)} of {N} objects are selected."
    boxes = panel.source.boxes(rows)
    press(qtbot, panel, "as_points")
    np.testing.assert_array_equal(viewer.layers[-1].data, points.data[rows])
    press(qtbot, panel, "as_stack")
    stack = viewer.layers[-1]
    np.testing.assert_array_equal(stack.data, boxes)
    assert [f"{unit:~P}" for unit in stack.units] == ["pixel", "nm", "nm"]
    press(qtbot, panel, "average")
    average = viewer.layers[-1]
    assert average.data.shape == (1, SIDE, SIDE) and "the halves agree" in panel.status.text()
    assert average.metadata["equipose"]["rows"] == rows.tolist()
    part = panel.parts[1]
    part.save_table(tmp_path / "some.csv")
    assert len(read_table(tmp_path / "some.csv")) == len(rows)
    press(qtbot, panel, "keep")
    assert len(points.data) == len(rows) == len(panel.map.coordinates)
    panel.state.select(np.arange(len(rows)) < 2)
    press(qtbot, panel, "remove")
    assert len(points.data) == len(rows) - 2
    for _ in range(3):
        panel.state.history.undo()
    assert len(points.data) == N and panel.state.selected.sum() == len(rows)
    for image in [layer for layer in viewer.layers if isinstance(layer, Image)]:
        viewer.layers.remove(image)
    press(qtbot, panel, "as_stack")
    assert "choose the image layer" in messages()[-1]


def test_what_is_selected_is_learned_from_in_the_train_panel(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer()
    _, label = scene(viewer)
    panel = viewer.window.add_plugin_dock_widget("napari-equipose", "Latent space")[1]
    panel.state.select(label == 2)
    press(qtbot, panel, "retrain")
    train = viewer.window.dock_widgets["Train (napari-equipose)"]
    stack = train.source.read().stack
    np.testing.assert_array_equal(stack, panel.source.boxes(label == 2))
    assert messages() == []


def test_a_grid_of_drawn_objects_lies_behind_the_points_and_beside_the_image(
    viewer, qtbot, home
) -> None:
    saved = model_at_hand(home)
    scene(viewer, model=saved.digest)
    panel = panel_of(viewer, qtbot)
    child(panel, "grid").setValue(3)
    child(panel, "behind").setChecked(True)
    qtbot.waitUntil(lambda: not panel.is_running)
    part = panel.parts[2]
    grid = part._grid_drawn
    x0, x1, y0, y1 = grid.bounds
    low, high = np.percentile(panel.map.coordinates, (1, 99), axis=0)
    np.testing.assert_allclose((x0, y0, x1, y1), (*low, *high), rtol=1e-5)
    assert panel.plot._background.image is not None
    press(qtbot, panel, "grid_layer")
    layer, image = viewer.layers[-1], viewer.layers["shapes"]
    assert layer.data.shape == (48, 48) and layer.units == image.units
    top_right = [[x1 - (x1 - x0) / 6, y1 - (y1 - y0) / 6]]
    drawn = draw_content(saved, panel.map.content_at(top_right))[0]
    np.testing.assert_allclose(layer.data[:16, 32:], drawn, atol=1e-5)
    assert layer.extent.world[0, 1] > image.extent.world[1, 1]  # beside it
    np.testing.assert_array_equal(layer.scale, image.scale)
    panel.plot.view.setRange(xRange=(-1, 1), yRange=(-1, 1), padding=0)
    press(qtbot, panel, "grid_layer")
    assert viewer.layers[-1].metadata["equipose"]["bounds"][1] < 1  # of what is in view
    child(panel, "map").value = "pca"
    assert not child(panel, "behind").isChecked() and panel.plot._background.image is None
    assert messages() == []


def test_a_path_becomes_a_movie(viewer, qtbot, home) -> None:
    saved = model_at_hand(home)
    scene(viewer, model=saved.digest)
    panel = panel_of(viewer, qtbot)
    make = child(panel, "movie")
    assert not make.isEnabled()
    corners = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 2.0]])
    panel.plot.path_changed.emit(corners)
    child(panel, "frames").setValue(7)
    press(qtbot, panel, "movie")
    layer = viewer.layers[-1]
    assert layer.axis_labels == ("frame", "y", "x") and layer.data.shape == (7, 16, 16)
    # equal steps: the corner after two thirds of the way is the fifth of seven frames
    for frame, corner in ((0, 0), (4, 1), (6, 2)):
        drawn = draw_content(saved, panel.map.content_at(corners[[corner]]))[0]
        np.testing.assert_allclose(layer.data[frame], drawn, atol=1e-5)
    assert layer.metadata["equipose"]["path"] == corners.tolist()
    panel.plot.path_changed.emit(corners[:1])
    assert not make.isEnabled()


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3), (6, 4, 5)])
def test_objects_of_a_grid_lie_row_by_row(shape) -> None:
    dimensions = 3 if shape == (6, 4, 5) else 2
    objects = np.random.default_rng(0).normal(size=(2, 3, *shape))
    laid = mosaic(objects, dimensions)
    for row in range(2):
        for column in range(3):
            part = (slice(4 * row, 4 * row + 4), slice(5 * column, 5 * column + 5))
            there = laid[:, *part] if dimensions == 3 else laid[part]
            np.testing.assert_array_equal(there, objects[row, column])
    pictures = pictures_of(objects, dimensions)
    assert pictures.dtype == np.uint8
    assert pictures.shape == (2, 3, 4, 5, 3) if shape[-1] == 3 else (2, 3, 4, 5)
    section = objects[1, 2, 3] if dimensions == 3 else objects[1, 2]
    assert likeness(pictures[1, 2].astype(float), section) > 0.99


def test_volumes_are_averaged_cut_and_drawn_as_volumes(viewer, qtbot, home) -> None:
    path = untrained_harmony(home / "volumes.safetensors", box_size=16)
    saved = shelf[shelf.load(path)].saved
    rng = np.random.default_rng(0)
    tomogram = rng.normal(size=(24, 60, 60)).astype(np.float32)
    viewer.add_image(tomogram, name="tomogram", scale=(2.0,) * 3, units=("nm",) * 3)
    places = np.column_stack((np.full(12, 12.0), rng.uniform(10, 50, (12, 2))))
    content = finish(encode(saved, rng.normal(size=(12, 16, 16, 16)), refine=False)).content
    columns = {f"content_{i}": column for i, column in enumerate(content.T)}
    angles = dict(zip(("rot", "tilt", "psi"), rng.uniform(0, 90, (3, 12)), strict=True))
    features = pd.DataFrame({**angles, **columns, "class": np.arange(12) % 2})
    about = {"model": saved.digest, "image": "tomogram", "box_size": 16}
    world = {"scale": (2.0,) * 3, "units": ("nm",) * 3}
    viewer.add_points(places, features=features, metadata={"equipose": about}, **world)
    panel = panel_of(viewer, qtbot)
    press(qtbot, panel, "averages")
    press(qtbot, panel, "averages_layer")
    assert viewer.layers[-1].data.shape == (2, 16, 16, 16)
    panel.state.select(np.arange(12) < 4)
    press(qtbot, panel, "as_stack")
    assert viewer.layers[-1].axis_labels == ("n", "z", "y", "x")
    child(panel, "grid").setValue(2)
    press(qtbot, panel, "grid_layer")
    assert viewer.layers[-1].data.shape == (16, 32, 32)
    child(panel, "behind").setChecked(True)
    assert panel.plot._background.image is not None
    panel.plot.path_changed.emit(np.array([[-1.0, 0.0], [1.0, 0.0]]))
    child(panel, "frames").setValue(3)
    press(qtbot, panel, "movie")
    movie = viewer.layers[-1]
    assert movie.data.shape == (3, 16, 16, 16)
    assert movie.axis_labels == ("frame", "z", "y", "x")
    middle = np.mean(movie.extent.world, 0)
    np.testing.assert_allclose(viewer.dims.point[:2], (0, middle[1]), atol=2)  # the first frame
    np.testing.assert_allclose(viewer.scene.camera.center[1:], middle[2:])
    assert not child(panel, "symmetry").isEnabled()
    assert messages() == []


class TwoPictures(torch.nn.Module):
    """A model that draws one of two pictures (y, x), by the sign of the content."""

    def __init__(self, pictures: np.ndarray) -> None:
        super().__init__()
        self.pictures = torch.nn.Parameter(torch.from_numpy(pictures).float())
        side = pictures.shape[-1]
        self.config = SimpleNamespace(box_size=side, channels=1, content_dim=1)

    @property
    def capabilities(self) -> Capabilities:
        nothing: frozenset[str] = frozenset()
        return Capabilities(
            dimensions=frozenset({2}), infers=nothing, fully_convolutional=False, clusters=False
        )

    def generate(self, content: torch.Tensor, poses: Any = None, box_size: Any = None) -> Any:
        return self.pictures[(content[:, 0] > 0).long()][:, None]


def ring(weights: list[float], side: int = 32) -> np.ndarray:
    """Blobs on a ring, of these weights."""
    y, x = np.mgrid[:side, :side] - side // 2
    turns = 2 * np.pi * np.arange(len(weights)) / len(weights)
    blobs = [
        weight * np.exp(-((y + 9 * np.sin(turn)) ** 2 + (x - 9 * np.cos(turn)) ** 2) / 8)
        for weight, turn in zip(weights, turns, strict=True)
    ]
    return np.sum(blobs, 0)


def test_the_symmetry_of_each_class_is_told_and_shown(viewer, qtbot, home) -> None:
    pictures = np.stack((ring([1, 1, 1]), ring([1, 0.4, 0])))
    saved = SavedModel(
        kind="test", model=TwoPictures(pictures), normalisation=Normalisation(), digest="two"
    )
    shelf.put(saved, home / "two.safetensors")
    rng = np.random.default_rng(0)
    label, angle = np.arange(36) % 2, rng.uniform(-np.pi, np.pi, 36)
    places = 20.0 + 40 * np.argwhere(np.ones((6, 6)))
    turned = apply_poses(
        torch.from_numpy(pictures[label]).float()[:, None],
        Poses(torch.from_numpy(angle).float(), torch.zeros(36, 2)),
    )
    image = rng.normal(0, 0.3, (240, 240))
    for place, picture in zip(places.astype(int), turned[:, 0].numpy(), strict=True):
        image[place[0] - 16 : place[0] + 16, place[1] - 16 : place[1] + 16] += picture
    viewer.add_image(image, name="rings")
    features = {"rotation": np.degrees(angle), "content_0": label - 0.5, "class": label}
    about = {"model": "two", "image": "rings", "box_size": 32}
    viewer.add_points(places, features=features, metadata={"equipose": about})
    panel = panel_of(viewer, qtbot)
    press(qtbot, panel, "symmetry")
    assert "no object is selected" in messages()[-1]
    child(panel, "symmetry_of").value = "classes"
    press(qtbot, panel, "symmetry")
    first, second = child(panel, "verdict").text().split("<br>")
    assert "Class 0: looks 3-fold symmetric" in first
    assert "Class 1: no symmetry" in second
    x, y = child(panel, "polar").outlines[0]
    far = np.hypot(x, y)[:-1] > 0.9
    assert np.diff(far.astype(int), append=int(far[0])).clip(0).sum() == 3  # petals
    panel.state.select(label == 0)
    child(panel, "symmetry_of").value = "selection"
    press(qtbot, panel, "symmetry")
    assert "18 objects: looks 3-fold symmetric" in child(panel, "verdict").text()
    panel.state.layer.remove([0])
    assert not child(panel, "verdict").text()
