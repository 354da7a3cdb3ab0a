"""The Align panel in the real viewer, driven by clicks. Needs a screen, real or virtual (Xvfb)."""

import os
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QWidget
from scipy import ndimage
from tiny import HARMONY, untrained_harmony

from napari_equipose.inference import ClassAverage, Progress, ShellCorrelation
from napari_equipose.models import load_model
from napari_equipose.training import RunFolder, read_run, unfinished_run
from napari_equipose.widgets._align_job import Clock
from napari_equipose.widgets._align_view import AlignView, Stage
from napari_equipose.widgets._models import shelf

if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
    pytest.skip("napari's viewer draws on no offscreen platform", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("home")

RNG = np.random.default_rng(0)
TINY = " ".join(f"{name}={value}" for name, value in HARMONY.items())


@pytest.fixture
def viewer(make_napari_viewer) -> Any:
    return make_napari_viewer()


def open_panel(viewer: Any) -> Any:
    return viewer.window.add_plugin_dock_widget("napari-equipose", "Align")[1]


def child(panel: QWidget, name: str) -> Any:
    found = panel.findChild(QWidget, f"equipose.align.{name}")
    assert found is not None, name
    return found


def click(qtbot, panel: QWidget, name: str) -> None:
    qtbot.mouseClick(child(panel, name), Qt.MouseButton.LeftButton, pos=QPoint(5, 5))


def wait(qtbot, panel: Any) -> None:
    qtbot.waitUntil(lambda: not panel.is_running, timeout=300_000)


def messages() -> list[str]:
    return [record.message for record in notification_manager.records]


def known(home: Path, *, box_size: int, dimensions: int = 3) -> str:
    """Put a model that has learned nothing on the shelf; return its name."""
    path = untrained_harmony(
        home / f"tiny-{box_size}-{dimensions}.safetensors", box_size=box_size, dimensions=dimensions
    )
    return shelf.put(load_model(path), path)


def noise(n: int = 8, side: int = 16, dimensions: int = 3) -> np.ndarray:
    return RNG.normal(size=(n, *(side,) * dimensions)).astype(np.float32)


def quickly(panel: Any, *, epochs: int = 1) -> Any:
    """Choose a network that learns nothing, and one iteration of the refinement."""
    child(panel, "settings").setText(TINY)
    child(panel, "epochs").setValue(epochs)
    child(panel, "iterations").setValue(1)
    return panel


def detail(volume: np.ndarray) -> float:
    """Share of a volume's power at periods of four to six voxels."""
    volume = volume - volume.mean()
    power = np.abs(np.fft.fftn(volume)) ** 2
    axes = [np.fft.fftfreq(side) for side in volume.shape]
    frequency = np.linalg.norm(np.stack(np.meshgrid(*axes, indexing="ij")), axis=0)
    return float(power[(frequency > 1 / 6) & (frequency < 1 / 4)].sum() / power.sum())


def test_from_sample_subtomograms_to_the_aligned_layer_and_a_sharper_average(
    viewer, qtbot, home
) -> None:
    viewer.open_sample("napari-equipose", "subtomograms")
    stack = next(layer for layer in viewer.layers if layer.name != "truth")
    stack.data = stack.data[:12]  # of the first structure
    before = stack.data.copy()
    name = known(home, box_size=32)
    panel = open_panel(viewer)
    assert child(panel, "model").value == name
    assert child(panel, "tilt_axis").value == "y"  # from the layer's metadata
    child(panel, "iterations").setValue(2)
    viewer.dims.set_current_step((0, 1), (7, 16))
    assert not child(panel, "show_3d").isVisibleTo(panel)
    click(qtbot, panel, "start")
    wait(qtbot, panel)
    assert messages() == []
    assert panel.status.text().startswith("Done: 12 particles")
    aligned, averages = viewer.layers[-2:]
    np.testing.assert_array_equal(stack.data, before)
    assert aligned.data.shape == before.shape and isinstance(aligned.data, da.Array)
    assert averages.data.shape == (1, 32, 32, 32)
    for layer in (aligned, averages):
        np.testing.assert_array_equal(layer.scale, stack.scale)
        assert layer.units == stack.units and layer.axis_labels[1:] == stack.axis_labels[1:]
        assert layer.metadata["equipose"]["model"] == shelf[name].saved.digest
        assert layer.metadata["equipose"]["wedge"]["tilt_max_deg"] == 60
    assert viewer.layers.units is not None
    # noise of twelve boxes at rest has no more detail than that of twelve as they were cut
    mean, rest = before.mean(0), np.asarray(aligned.data).mean(0)
    assert detail(rest) > 1.5 * detail(mean)
    assert detail(averages.data[0]) > 1.5 * detail(mean)
    # the average is what one sees, though the slider stood elsewhere
    assert averages.axis_labels[0] == "class" and viewer.dims.current_step[0] == 0
    assert averages.visible and not aligned.visible
    np.testing.assert_array_equal(averages._slice.image.raw, averages.data[0, 16])
    click(qtbot, panel, "show_3d")
    assert viewer.dims.ndisplay == 3 and averages.rendering == "iso"
    assert [layer for layer in viewer.layers if layer.visible] == [averages]
    inside = (averages.data > averages.iso_threshold).mean()
    assert 0.01 < inside < 0.3
    # the panel shows it
    assert [row.count for row in (panel.view.mean, panel.view.average, panel.view.pair)] == [
        3,
        3,
        2,
    ]
    frequency, correlation = panel.view.curve.points
    assert frequency[-1] == pytest.approx(1 / 16)  # Nyquist at 8 Angstrom
    assert correlation[1] > 0.9
    assert "12 particles; the halves agree up to" in child(panel, "resolution").text()
    assert "optimistic" not in child(panel, "resolution").text()
    assert averages.metadata["equipose"]["independent_halves"] == [True]
    assert not child(panel, "place_back").isVisibleTo(panel)
    slider = child(panel, "particle")
    assert (slider.minimum(), slider.maximum()) == (0, 11)
    shown = panel.view.pair._images
    slider.setValue(7)
    assert panel.view.pair._images != shown


def test_a_model_is_trained_then_used_and_offered_again(viewer, qtbot, home) -> None:
    viewer.add_image(noise(10), name="boxes")
    panel = quickly(open_panel(viewer))
    assert child(panel, "model").value is None
    child(panel, "infer_scale").setChecked(True)
    child(panel, "tilt_axis").value = "x"
    child(panel, "tilt_max").setValue(50)
    child(panel, "classes").value = 2
    click(qtbot, panel, "start")
    wait(qtbot, panel)
    assert panel.status.text().startswith("Done")
    model = home / "equipose" / "boxes-1.safetensors"
    config = load_model(model).model.config
    assert config.infers == {"rotation", "translation", "scale"}
    assert (config.tilt_min_deg, config.tilt_max_deg, config.tilt_axis) == (-60, 50, "x")
    assert list(shelf) == ["boxes-1"] and child(panel, "model").value == "boxes-1"
    assert RunFolder.of(model).state.state == "done"
    averages = viewer.layers["boxes averages"]
    assert len(averages.data) == 2 == child(panel, "shown").count()
    assert sum(averages.metadata["equipose"]["particles"]) == 10
    child(panel, "classes").value = None
    click(qtbot, panel, "start")
    wait(qtbot, panel)
    assert len(list((home / "equipose").glob("*.safetensors"))) == 1  # it was used again
    assert len(viewer.layers) == 5


def test_learning_is_stopped_and_resumed_and_then_aligned(viewer, qtbot, home) -> None:
    layer = viewer.add_image(noise(), name="boxes")
    panel = quickly(open_panel(viewer), epochs=1000)
    click(qtbot, panel, "start")
    qtbot.waitUntil(lambda: panel.learning.epoch >= 1, timeout=300_000)
    assert [row.count for row in panel.learning.pictures.rows] in ([6] * 3, [6, 0, 0])
    viewer.layers.remove(layer)  # the run has its own copy
    click(qtbot, panel, "stop")
    wait(qtbot, panel)
    assert panel.status.text().startswith("Stopped after epoch")
    (run,) = (home / "equipose").glob("*.run")
    folder = RunFolder(run)
    assert unfinished_run(folder).can_resume and panel.resume.isEnabled()
    assert list(shelf) == ["boxes-1"] and len(viewer.layers) == 0
    text = folder.run_file.read_text()
    folder.run_file.write_text(
        text.replace('"epochs": 1000', f'"epochs": {panel.learning.epoch + 1}')
    )
    click(qtbot, panel, "resume")
    wait(qtbot, panel)
    assert messages() == []
    assert panel.status.text().startswith("Done")
    assert read_run(folder.run_file).model == "harmony"
    assert [layer.name for layer in viewer.layers] == ["boxes aligned", "boxes averages"]
    assert not panel.resume.isEnabled()


def test_stopped_while_it_aligns_the_layers_show_how_it_stood(viewer, qtbot, home) -> None:
    viewer.add_image(noise(10, 24), name="boxes")
    known(home, box_size=24)
    panel = open_panel(viewer)
    child(panel, "iterations").setValue(50)
    click(qtbot, panel, "start")
    qtbot.waitUntil(lambda: panel.view.average.count == 3, timeout=300_000)
    click(qtbot, panel, "stop")
    wait(qtbot, panel)
    assert "as they stood after iteration" in panel.status.text()
    assert [layer.name for layer in viewer.layers[1:]] == ["boxes aligned", "boxes averages"]
    assert viewer.layers[-1].metadata["equipose"]["stopped_at_iteration"] is not None
    assert panel.start.isEnabled()


def tomogram(n: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """A volume with bright blobs on a lattice, and their places."""
    places = np.array([(12, y, x) for y in (12, 30, 48) for x in (12, 30, 48)][:n], float)
    volume = RNG.normal(0, 0.3, (24, 60, 60))
    for place in places.astype(int):
        volume[tuple(place)] += 300
        volume[place[0], place[1], place[2] + 3] += 150
    return ndimage.gaussian_filter(volume, 1.5).astype(np.float32), places


def test_points_on_a_tomogram_give_points_vectors_and_a_volume_put_back(
    viewer, qtbot, home
) -> None:
    volume, places = tomogram()
    world = {"scale": (1.2,) * 3, "units": ("nm",) * 3, "translate": (5.0, 6, 7)}
    image = viewer.add_image(volume, name="tomogram", **world)
    points = np.concatenate((places, [(2.0, 30, 30), (12, 12, 56)]))  # the last two at the edge
    viewer.add_points(points, name="places", **world)
    known(home, box_size=16)
    panel = open_panel(viewer)
    child(panel, "source").value = "points"
    assert child(panel, "box_size").value() == 16 and not child(panel, "box_size").isEnabled()
    child(panel, "iterations").setValue(1)
    click(qtbot, panel, "start")
    left_out = ["2 points are left out: a box around them does not lie within tomogram."]
    assert messages() == left_out
    viewer.layers.remove(image)  # what it needs is read in time, or held
    wait(qtbot, panel)
    assert messages() == left_out
    aligned, averages, vectors, objects = viewer.layers[1:]
    assert aligned.data.shape == (9, 16, 16, 16) and averages.data.shape == (1, 16, 16, 16)
    assert tuple(aligned.scale) == (1, 1.2, 1.2, 1.2)
    assert [str(unit) for unit in aligned.units] == ["pixel", *["nanometer"] * 3]
    for layer in (objects, vectors):
        np.testing.assert_array_equal(layer.scale, (1.2,) * 3)
        np.testing.assert_array_equal(layer.translate, (5, 6, 7))
    assert {"rot", "tilt", "psi", "score", "content_0"} <= set(objects.features)
    np.testing.assert_allclose(objects.data, places, atol=5)
    np.testing.assert_allclose(vectors.data[:, 0], objects.data, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors.data[:, 1], axis=1), 16 / 3, rtol=1e-3)
    # z at rest is where the arrow points: RELION's tilt is its angle from z
    up = vectors.data[:, 1, 0] / (16 / 3)
    np.testing.assert_allclose(up, np.cos(np.radians(objects.features["tilt"])), atol=1e-3)
    click(qtbot, panel, "place_back")
    wait(qtbot, panel)
    placed = viewer.layers["tomogram placed back"]
    assert placed.data.shape == volume.shape
    np.testing.assert_array_equal(placed.translate, (5, 6, 7))
    there = np.abs(placed.data)
    assert there[:, :48, :48].max() > 0
    assert there[:, 40:44, 22:26].max() < there.max()
    np.testing.assert_allclose(
        np.corrcoef(placed.data.ravel(), volume.ravel())[0, 1], 0.8, atol=0.2
    )


@pytest.mark.parametrize("independent", [True, False])
def test_a_resolution_is_called_optimistic_where_the_halves_share_a_model(
    qtbot, independent
) -> None:
    view = AlignView()
    qtbot.addWidget(view)
    view.begin((8.0, "angstrom"))
    box, falling = noise(1)[0], ShellCorrelation(np.arange(9) / 16, np.linspace(1, -0.1, 9))
    one = ClassAverage(3, 20, box, np.stack([box, box]), falling, independent)
    view.show_stage(Stage(box, (one,), 3, True))
    text = view.resolution.text()
    assert text.startswith("20 particles; the halves agree up to")
    assert ("optimistic: both halves share one model" in text) != independent
    assert view.shown.currentText() == "class 3, 20 particles"  # the number in every table


def test_images_are_aligned_as_well(viewer, qtbot, home) -> None:
    viewer.add_image(noise(10, 24, 2), name="pictures")
    known(home, box_size=24, dimensions=2)
    panel = open_panel(viewer)
    assert not child(panel, "symmetry").isVisibleTo(panel.settings)
    assert not panel.wedge.isVisibleTo(panel)
    click(qtbot, panel, "start")
    wait(qtbot, panel)
    assert messages() == []
    aligned, averages = viewer.layers[1:]
    assert aligned.data.shape == (10, 24, 24) and averages.data.shape == (1, 24, 24)
    assert panel.view.average.count == 1


def test_models_are_offered_where_they_fit(viewer, qtbot, home) -> None:
    names = [known(home, box_size=side, dimensions=d) for side, d in ((16, 3), (24, 3), (16, 2))]

    def offered() -> list[str]:
        choice = child(panel, "model")
        shown = [choice.itemData(row) for row in range(1, choice.count())]
        assert set(shown) == set(names)
        return [name for name in shown if choice.can_choose(name)]

    viewer.add_image(noise(), name="boxes")
    panel = open_panel(viewer)
    assert offered() == [names[0]]
    pictures = viewer.add_image(noise(8, 16, 2), name="pictures")
    child(panel, "stack").value = pictures.unique_id
    assert offered() == [names[2]]
    child(panel, "source").value = "points"  # pictures taken for a volume (8, 16, 16)
    assert offered() == [names[1], names[0]]
    panel.load_model(home / "nothing.safetensors")
    assert "nothing.safetensors" in messages().pop()


@pytest.mark.parametrize(
    ("layer", "change", "words"),
    [
        (
            {"data": noise()[:, :, :12]},
            {},
            "boxes of equal sides are wanted, these have 16 x",
        ),
        ({"data": noise(5)}, {}, "needs at least 8 particles, got 5|5 boxes are too few"),
        (
            {"data": noise(), "scale": (1, 1, 1, 2)},
            {},
            "sides of its pixels are 1 x 1 x 2,",
        ),
        (
            {"data": noise()},
            {"tilt_axis": "y", "tilt_min": 60},
            "tilt range must run from",
        ),
        (
            {"data": noise()},
            {"infer_rotation": 0, "infer_translation": 0},
            "nothing to infer",
        ),
        ({"data": noise()}, {"settings": "fields=3"}, "no setting 'fields'"),
        ({"data": noise()}, {"source": "points"}, "open a stack|points layer"),
    ],
)
def test_bad_input_is_said_in_one_notification(viewer, qtbot, home, layer, change, words) -> None:
    viewer.add_image(**layer, name="boxes", contrast_limits=(0, 1))
    panel = quickly(open_panel(viewer))
    for name, value in change.items():
        control = child(panel, name)
        if hasattr(control, "isChecked"):
            control.setChecked(bool(value))
        elif isinstance(value, str) and hasattr(control, "setText"):
            control.setText(value)
        elif isinstance(value, str):
            control.value = value
        else:
            control.setValue(value)
    click(qtbot, panel, "start")
    wait(qtbot, panel)
    (message,) = messages()
    assert any(part in message for part in words.split("|")), message
    assert len(viewer.layers) == 1 and panel.start.isEnabled()
    assert not list(home.rglob("*.safetensors"))


def test_time_left_follows_from_what_is_done(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    clock = Clock()
    assert np.isnan(clock.seconds_left(Progress(1, 11, "")))
    now[0] += 4
    assert np.isnan(clock.seconds_left(Progress(3, 11, "")))  # too soon to tell
    now[0] += 6
    assert clock.seconds_left(Progress(6, 11, "")) == pytest.approx(10)
    assert np.isnan(clock.seconds_left(Progress(1, 50, "")))  # another part of the job
