"""Show me one, and the preview, in the real viewer. Needs a screen, real or virtual (Xvfb)."""

import os
from typing import Any

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QWidget

from napari_equipose.training import Hypothesis
from napari_equipose.widgets import _train_job

if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
    pytest.skip("napari's viewer draws on no offscreen platform", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("home")
RNG = np.random.default_rng(0)


@pytest.fixture
def viewer(make_napari_viewer) -> Any:
    return make_napari_viewer()


def open_panel(viewer: Any, image: np.ndarray | None = None, **layer: Any) -> Any:
    picture = RNG.normal(size=(64, 80)) if image is None else image
    viewer.add_image(picture, name="cells", **layer)
    return viewer.window.add_plugin_dock_widget("napari-equipose", "Train")[1]


def child(panel: QWidget, name: str) -> Any:
    found = panel.findChild(QWidget, f"equipose.train.{name}")
    assert found is not None, name
    return found


def answers(*polarities: Any) -> list[Hypothesis]:
    return [
        Hypothesis(
            polarity,
            12,
            RNG.normal(size=(2, 16, 16)).astype(np.float32),
            np.zeros(2, int),
            np.array([[20, 30], [40, 50]], np.float32),
            1 / len(polarities),
        )
        for polarity in polarities
    ]


def test_points_shapes_and_labels_show_where_examples_are(viewer) -> None:
    placed = {"scale": (2, 2), "translate": (5, 7)}
    panel = open_panel(viewer, **placed)
    labels = np.zeros((64, 80), int)
    labels[10:13, 20:25] = 3
    labels[40:45, 50:53] = 7
    # The same two objects, in the pixels of the image, three times.
    viewer.add_points([[11, 22], [42, 51], [42, 900]], name="points", **placed)
    corners = [np.array([[y - 4, x - 6], [y + 4, x + 6]]) for y, x in ((11, 22), (42, 51))]
    viewer.add_shapes(corners, shape_type="rectangle", name="shapes", **placed)
    viewer.add_labels(labels, name="labels", **placed)
    assert panel._read_source().examples is None  # unless they are chosen
    for name in ("points", "shapes", "labels"):
        choice = child(panel, "examples")
        choice.setCurrentText(name)
        np.testing.assert_allclose(panel._read_source().examples, [[11, 22], [42, 51]])
    child(panel, "source").setCurrentText("points on an image")
    child(panel, "points").setCurrentText("points")
    assert panel._read_source().examples is None


def test_examples_are_those_of_the_slice_that_is_shown(viewer) -> None:
    panel = open_panel(viewer, RNG.normal(size=(3, 64, 80)))
    viewer.dims.set_point(0, 1)
    viewer.add_points([[1, 20, 30], [2, 40, 50]], name="points")
    child(panel, "examples").setCurrentText("points")
    np.testing.assert_allclose(panel._read_source().examples, [[20, 30]])
    viewer.dims.set_point(0, 0)
    child(panel, "start").click()
    assert not panel.is_running
    assert "no example of points lies on what is shown" in panel.status.text()


def test_click_examples_adds_rings_as_large_as_the_box(viewer) -> None:
    panel = open_panel(viewer)
    child(panel, "box_size").setValue(20)
    child(panel, "click_examples").click()
    layer = viewer.layers["Examples"]
    assert (layer.mode, layer.current_size, len(layer.data)) == ("add", 20, 0)
    assert viewer.layers.selection.active is layer
    layer.add([12, 34])
    np.testing.assert_allclose(panel._read_source().examples, [[12, 34]])
    child(panel, "box_size").setValue(24)
    assert layer.size[0] == layer.current_size == 24
    child(panel, "click_examples").click()  # goes on in the same layer
    assert len(viewer.layers) == 2


def test_shapes_suggest_the_box_unless_one_was_given(viewer) -> None:
    panel = open_panel(viewer)
    box = child(panel, "box_size")
    shapes = viewer.add_shapes(
        [[[10, 10], [10, 30], [18, 30], [18, 10]]], shape_type="rectangle", name="shapes"
    )
    child(panel, "examples").setCurrentText("shapes")
    assert box.value() == 24  # 20 pixels, and some room
    shapes.add(np.array([[10, 10], [10, 42], [18, 42], [18, 10]]))
    assert box.value() == 40
    box.setValue(28)
    shapes.add(np.array([[10, 10], [10, 58], [18, 58], [18, 10]]))
    assert box.value() == 28


def test_examples_go_into_the_run(viewer, monkeypatch, qtbot, tmp_path) -> None:
    panel = open_panel(viewer)
    viewer.add_points([[11, 22], [42, 51]], name="points")
    child(panel, "examples").setCurrentText("points")
    kept: list[Any] = []

    def create(*_: Any, **given: Any) -> Any:
        kept.append(given["examples"])
        raise ValueError("enough")

    monkeypatch.setattr(_train_job, "create_run", create)
    child(panel, "start").click()
    qtbot.waitUntil(lambda: not panel.is_running, timeout=60_000)
    np.testing.assert_allclose(kept[0], [[11, 22], [42, 51]])
    notification_manager.records.clear()


def preview(panel: Any, qtbot: Any) -> None:
    child(panel, "preview").click()
    assert panel.is_running
    qtbot.waitUntil(lambda: not panel.is_running, timeout=60_000)


def test_an_answer_of_the_preview_becomes_the_examples(viewer, monkeypatch, qtbot) -> None:
    panel = open_panel(viewer)
    monkeypatch.setattr(_train_job, "hypotheses", lambda *_: answers("dark", "bright"))
    assert panel.hypotheses.isHidden()
    preview(panel, qtbot)
    assert [row.isHidden() for row in panel.hypotheses.rows] == [False, False, True, True]
    assert panel.hypotheses.rows[1].label.text() == "Bright, 12 objects, 50% of the evidence"
    assert panel.hypotheses.rows[1].pictures.count == 2
    assert "No answer has most of the evidence" in panel.hypotheses.question.text()
    child(panel, "choose_2").click()
    assert panel.read_run().polarity == "bright"
    np.testing.assert_allclose(panel._read_source().examples, [[20, 30], [40, 50]])
    child(panel, "choose_1").click()  # another choice takes the place of the first
    assert panel.read_run().polarity == "dark"
    assert [layer.name for layer in viewer.layers] == ["cells", "Examples"]
    viewer.layers["Examples"].add([1, 2])
    child(panel, "choose_2").click()  # but what a person clicked stays
    assert [len(layer.data) for layer in viewer.layers[1:]] == [3, 2]
    child(panel, "source").setCurrentText("points on an image")
    assert panel.hypotheses.isHidden() and child(panel, "preview").isHidden()


def test_where_nothing_recurs_the_panel_says_what_to_do(viewer, qtbot) -> None:
    panel = open_panel(viewer, np.full((64, 80), 3.0))
    preview(panel, qtbot)
    assert "constant" in panel.status.text()
    assert "Show a few objects, or try the other polarity" in panel.status.text()
    assert panel.hypotheses.isHidden()
    assert not child(panel, "examples").isHidden() and panel.show_me.button.isChecked()
    notification_manager.records.clear()
