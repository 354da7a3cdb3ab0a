"""The Detect panel on tomograms, in the real viewer. Needs a screen, real or virtual (Xvfb)."""

import os
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QWidget
from scipy.spatial.transform import Rotation
from test_volumes import BOX, Drawer, molecule
from test_widgets_layers import assert_lies_as
from tiny import MODEL

from napari_equipose.evaluation import match_picks
from napari_equipose.geometry import InputError, MissingWedge, rotations_from_relion
from napari_equipose.inference import DetectionConfig, Picks3D, _volume_poser
from napari_equipose.io import read_star, read_table
from napari_equipose.models import Normalisation, SavedModel, TargetVAE
from napari_equipose.simulation import DensityMap, SubtomogramConfig, simulate_tomogram
from napari_equipose.widgets._detect_job import FoundInVolume
from napari_equipose.widgets._detect_layers import FoundVolumeLayers
from napari_equipose.widgets._models import shelf
from napari_equipose.widgets._object_layers import write_shown
from napari_equipose.widgets._volumes import VolumeReader, volume_of

if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
    pytest.skip("napari's viewer draws on no offscreen platform", allow_module_level=True)

RNG = np.random.default_rng(0)
SHAPE = (26, 52, 64)
WORLD: dict[str, Any] = {
    **{"scale": (1.2,) * 3, "units": ("nm",) * 3, "translate": (5.0, 6.0, 7.0)},
    "axis_labels": ("z", "y", "x"),
}


@pytest.fixture(scope="module")
def simulated() -> Any:
    config = SubtomogramConfig(n=6, box_size=BOX, pixel_size=12.0, snr=20.0, defocus=0.0)
    return simulate_tomogram(
        [DensityMap(molecule(), 12.0)], np.random.default_rng(3), SHAPE, config
    )


@pytest.fixture
def viewer(make_napari_viewer, home, monkeypatch) -> Any:
    monkeypatch.setattr(_volume_poser, "_COARSE_DEG", 40.0)  # a fifth of the rotations
    return make_napari_viewer()


def knowing(threshold: float | None = 0.4) -> SavedModel:
    """A model that knows the molecule."""
    record = {} if threshold is None else {"threshold": threshold}
    return SavedModel(
        kind="harmony", model=Drawer(), normalisation=Normalisation(), record=record, digest="12ab"
    )


def open_panel(viewer: Any) -> Any:
    return viewer.window.add_plugin_dock_widget("napari-equipose", "Detect")[1]


def child(panel: QWidget, name: str) -> Any:
    found = panel.findChild(QWidget, f"equipose.detect.{name}")
    assert found is not None, name
    return found


def detect(qtbot, panel: Any) -> None:
    qtbot.mouseClick(child(panel, "start"), Qt.MouseButton.LeftButton, pos=QPoint(5, 5))
    qtbot.waitUntil(lambda: not panel.is_running, timeout=300_000)


def messages() -> list[str]:
    return [record.message for record in notification_manager.records]


def test_objects_of_a_tomogram_are_found_shown_filtered_and_written(
    viewer, qtbot, home, simulated
) -> None:
    image = viewer.add_image(simulated.volume, name="tomogram", **WORLD)
    name = shelf.put(knowing(), home / "m.safetensors")
    panel = open_panel(viewer)
    assert child(panel, "model").value == name
    assert panel.source.about.text() == "26 x 52 x 64 voxels of 1.2 nm"
    assert not child(panel, "arrows").isVisibleTo(panel.settings)
    child(panel, "tilt_axis").value = "y"
    child(panel, "classes").value = 2
    detect(qtbot, panel)
    assert messages() == []
    vectors, points = viewer.layers[1:]
    truth = simulated.truth
    pairs = match_picks(points.data[points.shown], truth.positions, 2.5)
    assert len(pairs.found) == len(truth.positions) == points.shown.sum()
    angles = points.features[["rot", "tilt", "psi"]].to_numpy()[points.shown]
    between = (
        rotations_from_relion(angles)[pairs.found].swapaxes(1, 2) @ truth.rotation[pairs.truth]
    )
    # as near as so few rotations lead
    assert np.median(np.degrees(Rotation.from_matrix(between).magnitude())) < 12
    known = ["rot", "tilt", "psi", "score", "class", "content_0"]
    assert list(points.features) == [*known, "id", "by_hand"]
    for layer in (points, vectors):
        assert_lies_as(layer, image)
        record = layer.metadata["equipose"]
        assert (record["model"], record["image"], record["box_size"]) == ("12ab", "tomogram", BOX)
        assert (record["tilt_min"], record["tilt_max"], record["tilt_axis"]) == (-60, 60, "y")
    assert viewer.layers.units is not None
    np.testing.assert_allclose(viewer.dims.margin_left, (1.2 * BOX / 8,) * 3)
    # z at rest is where the arrow points: RELION's tilt is its angle from z
    up = vectors.data[:, 1, 0] / (BOX / 3)
    tilt = points.features["tilt"].to_numpy()[points.shown]
    np.testing.assert_allclose(up, np.cos(np.radians(tilt)), atol=1e-3)
    # the slider begins at the model's threshold; what is shown is what is written
    slider = child(panel, "threshold")
    assert slider.value() == pytest.approx(max(0.4, slider.minimum()), abs=1e-3)
    assert child(panel, "scores").counts.sum() == len(points.data)
    best = float(points.features["score"].max())
    slider.setValue(best - 1e-3)
    few = int(points.shown.sum())
    assert len(vectors.data) == few < len(points.data)
    assert child(panel, "count").text() == f"{few} of {len(points.data)} objects"
    panel.save_table(home / "objects.star")
    star = read_star(home / "objects.star")
    assert len(star.particles) == few
    assert star.optics["rlnMicrographPixelSize"].item() == pytest.approx(12)
    row = star.particles.iloc[0]
    written = row[["rlnCoordinateZ", "rlnCoordinateY", "rlnCoordinateX"]].astype(float)
    np.testing.assert_allclose(written, points.data[points.shown][0], atol=1e-3)
    written = row[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].astype(float)
    expected = points.features.loc[points.shown, ["rot", "tilt", "psi"]].iloc[0]
    np.testing.assert_allclose(written, expected, atol=1e-3)
    assert viewer.layers[0] is image


def test_a_model_without_a_threshold_gets_one_from_the_tomogram(
    viewer, qtbot, home, simulated, monkeypatch
) -> None:
    asked = []

    def search(saved: SavedModel, volume: Any, **more: Any) -> Any:
        asked.append(more["wedge"])
        yield from ()
        places = simulated.truth.positions.astype(np.float32)
        score = np.linspace(0.9, 0.1, len(places), dtype=np.float32)
        turned = simulated.truth.rotation.astype(np.float32)
        picks = Picks3D(places, turned, score, np.zeros((len(places), 1), np.float32))
        return picks, 0.6

    monkeypatch.setattr("napari_equipose.widgets._detect_job.search_volume", search)
    viewer.add_image(simulated.volume, name="tomogram")
    shelf.put(knowing(None), home / "m.safetensors")
    panel = open_panel(viewer)
    detect(qtbot, panel)
    points = viewer.layers[-1]
    assert asked == [None]
    assert panel.threshold.value() == pytest.approx(0.6, abs=1e-3)
    assert points.features["score"].min() >= 0.3  # half of it
    child(panel, "lowest").setValue(0.85)
    child(panel, "tilt_axis").value = "x"
    child(panel, "tilt_max").setValue(50)
    detect(qtbot, panel)
    assert asked[-1] == MissingWedge(tilt_min_deg=-60, tilt_max_deg=50, tilt_axis="x")
    assert len(viewer.layers[-1].data) == 1
    child(panel, "lowest").setValue(0.95)
    detect(qtbot, panel)
    assert messages() == ["No object of a score of 0.950 or more in tomogram."]


def wrong() -> dict[str, tuple[dict[str, Any], str]]:
    volume = RNG.normal(size=(20, 24, 28)).astype(np.float32)
    return {
        "an image": ({"data": volume[0]}, "picture is an image, and the model is of volumes"),
        "oblong": ({"data": volume, "scale": (2, 1, 1)}, "sides of its pixels are 2 x 1 x 1,"),
        "oblong in unlike units": (
            {"data": volume, "scale": (1, 1, 1), "units": ("nm", "angstrom", "angstrom")},
            "sides of its pixels are 10 x 1 x 1,",
        ),
        "a stack": (
            {"data": volume, "units": ("pixel", "nm", "nm")},
            "its last 3 axes are in pixel, nm, nm, which can't be the sides of one object",
        ),
        "colour": (
            {"data": RNG.integers(0, 255, (20, 20, 20, 3), np.uint8), "rgb": True},
            "picture is in colour; a grey volume",
        ),
        "small": ({"data": volume[:12]}, "box size must be from 8 to 12"),
        "constant": ({"data": np.zeros((20, 20, 20))}, "the volume is constant"),
    }


def test_what_does_not_fit_is_refused_in_one_notification(viewer, qtbot, home) -> None:
    shelf.put(knowing(), home / "m.safetensors")
    panel = open_panel(viewer)
    for options, words in wrong().values():
        viewer.add_image(**options, name="picture", contrast_limits=(0, 1))
        notification_manager.records.clear()
        detect(qtbot, panel)
        (message,) = messages()
        assert words in message and message.count(". ") == 0, message
        assert len(viewer.layers) == 1 and panel.start.isEnabled()
        viewer.layers.clear()
    viewer.add_image(RNG.normal(size=(20, 24, 28)), name="tomogram")
    viewer.dims.ndisplay = 3
    flat = SavedModel(kind="target-vae", model=TargetVAE(MODEL), normalisation=Normalisation())
    child(panel, "model").value = shelf.put(flat, home / "flat.safetensors")
    assert not child(panel, "tilt_axis").isVisibleTo(panel)
    notification_manager.records.clear()
    detect(qtbot, panel)
    (message,) = messages()
    assert message.startswith("tomogram is shown as a volume, and the model is of images")


# Volumes of layers

KINDS = ("numpy", "dask", "zarr", "pyramid", "dask pyramid")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("leading", [(), ("t",)])
def test_what_is_found_lies_as_its_volume(kind: str, leading: tuple[str, ...]) -> None:
    viewer, n = ViewerModel(), len(leading)
    fine = RNG.normal(size=(*(3,) * n, 40, 44, 48)).astype(np.float32)
    data: Any = [fine, fine[..., ::2, ::2, ::2]] if "pyramid" in kind else [fine]
    if "dask" in kind:
        data = [da.from_array(level, chunks=(*(1,) * n, 16, 16, 16)) for level in data]
    elif kind == "zarr":
        data = [zarr.array(fine, chunks=(*(1,) * n, 16, 16, 16))]
    several = "pyramid" in kind
    layer = viewer.add_image(
        data if several else data[0],
        multiscale=several,
        scale=(*(2.0,) * n, 0.5, 0.5, 0.5),
        translate=(*(0.0,) * n, 3.0, 4.0, 5.0),
        units=(*("second",) * n, "nm", "nm", "nm"),
        axis_labels=(*leading, "z", "y", "x"),
    )
    if n:
        viewer.dims.set_current_step(0, 2)
    level = 1 if several else 0
    volume = volume_of(layer, viewer, level)
    array = np.asarray(data[level])[(2,) * n]
    for index in np.s_[3:5, 2:9, 4:20], np.s_[5:6, 2:9, 4:20], np.s_[14:19, 0:3, 1:2]:
        np.testing.assert_array_equal(volume.data[index], array[index])
    places = RNG.uniform(4, 15, (5, 3)).astype(np.float32)
    turned = Rotation.random(5, random_state=0).as_matrix().astype(np.float32)
    picks = Picks3D(places, turned, np.linspace(1, 0, 5), np.zeros((5, 1), np.float32))
    found = FoundInVolume(picks, np.arange(5) % 2, 0.5)
    layers = FoundVolumeLayers(found, volume, knowing(), "m", DetectionConfig(), None)
    for added in (layers.vectors, layers.points):
        viewer.add_layer(added)
        assert_lies_as(added, layer)
    factor = 2 if several else 1
    for found_places in (layers.points.data, layers.vectors.data[:, 0]):
        np.testing.assert_allclose(found_places[:, n:], (places + 0.5) * factor - 0.5, rtol=1e-6)
        assert (found_places[:, :n] == 2).all()
    colour = layers.vectors.edge_color[2]
    assert layers.filter(0.5) == 3
    np.testing.assert_array_equal(layers.vectors.edge_color[2], colour)


def test_points_of_a_volume_in_a_series_are_written_in_space(tmp_path: Path) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((3, 20, 20, 20)), contrast_limits=(0, 1))
    viewer.dims.set_current_step(0, 1)
    volume = volume_of(layer, viewer)
    places = np.array([[4.0, 5, 6], [7, 8, 9]], np.float32)
    picks = Picks3D(places, np.stack([np.eye(3)] * 2), np.array([0.9, 0.1]), np.zeros((2, 1)))
    found = FoundInVolume(picks, None, 0.5)
    layers = FoundVolumeLayers(found, volume, knowing(), "m", DetectionConfig(), None)
    layers.filter(0.5)
    assert write_shown(layers.points, tmp_path / "t.csv") == 1
    table = read_table(tmp_path / "t.csv")
    assert table[["z", "y", "x", "rot", "tilt", "psi"]].to_numpy().tolist() == [[4, 5, 6, 0, 0, 0]]
    with pytest.raises(InputError, match="picks in a plane"):
        write_shown(layers.points, tmp_path / "t.box")


def test_chunks_are_unpacked_once_for_all_their_planes() -> None:
    whole, unpacked = RNG.normal(size=(40, 16, 16)), []

    def chunk(block_info: Any = None) -> Any:
        (first, last), *_ = block_info[None]["array-location"]
        unpacked.append(first)
        return whole[first:last]

    data = da.map_blocks(chunk, chunks=((16, 16, 8), (16,), (16,)), dtype=float)
    reader = VolumeReader(data)
    for z in range(0, 40, 2):
        np.testing.assert_array_equal(reader[z : z + 2, 3:9, 0:16], whole[z : z + 2, 3:9])
    assert sorted(unpacked) == [0, 16, 32]
