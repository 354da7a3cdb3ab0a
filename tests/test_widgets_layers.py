"""Layers to pixels and objects to layers, in every geometry that napari knows."""

from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
from napari.components import ViewerModel
from napari.layers import Layer, Points

from napari_equipose.cli._gui import layers_of
from napari_equipose.geometry import InputError
from napari_equipose.inference import (
    Alignment,
    ClassAverage,
    DetectionConfig,
    Encoding,
    Picks,
    finish,
    fourier_shell_correlation,
)
from napari_equipose.io import read_table
from napari_equipose.models import Normalisation, SavedModel, TargetVAE, TargetVAEConfig
from napari_equipose.widgets._align_job import Aligned
from napari_equipose.widgets._align_layers import AlignedLayers
from napari_equipose.widgets._align_particles import Particles, gather
from napari_equipose.widgets._align_source import AlignSourceForm
from napari_equipose.widgets._detect_job import Found
from napari_equipose.widgets._detect_layers import FoundLayers
from napari_equipose.widgets._layers import box_points, plane_of, points_on, slice_note
from napari_equipose.widgets._object_layers import write_shown
from napari_equipose.widgets._train_source import SourceForm

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def saved() -> SavedModel:
    torch.manual_seed(0)
    config = TargetVAEConfig(
        box_size=16, fields=4, n_rotations=4, generator_width=8, n_features=8, content_dim=3
    )
    return SavedModel(
        kind="target-vae",
        model=TargetVAE(config).eval(),
        normalisation=Normalisation(),
        digest="0123456789abcdef",
    )


def some_picks(n: int = 20) -> Picks:
    return Picks(
        RNG.uniform(5, 22, (n, 2)).astype(np.float32),
        RNG.uniform(-np.pi, np.pi, n).astype(np.float32),
        np.sort(RNG.uniform(0.1, 1, n).astype(np.float32))[::-1],
        RNG.normal(size=(n, 3)).astype(np.float32),
    )


def layers_on(layer: Any, viewer: ViewerModel, saved: SavedModel, picks: Picks) -> FoundLayers:
    plane = plane_of(layer, viewer)
    found = Found(picks, None, 0.3)
    return FoundLayers(found, plane, saved, "m", DetectionConfig(), along=False)


def in_more_dimensions(geometry: dict[str, Any], leading: int) -> dict[str, Any]:
    """The same geometry with axes before y and x."""
    options = dict(geometry)
    for name, fill in {
        "scale": 3.0,
        "translate": 1.0,
        "units": "pixel",
        "axis_labels": "t",
    }.items():
        if name in options:
            extra = ("t", "z")[:leading] if name == "axis_labels" else (fill,) * leading
            options[name] = (*extra, *options[name])
    if leading and "rotate" in options:
        matrix = np.eye(leading + 2)
        angle = np.radians(options["rotate"])
        matrix[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        options["rotate"] = matrix
    if leading and "shear" in options:
        n = leading + 2
        options["shear"] = (0.0,) * (n * (n - 1) // 2 - 1) + options["shear"]
    if leading and "affine" in options:
        matrix = np.eye(leading + 3)
        matrix[leading:, leading:] = options["affine"]
        options["affine"] = matrix
    return options


LEADING = {"2D": (), "3D": ("z",), "time": ("t",), "4D": ("t", "channel")}
KINDS = ("numpy", "dask", "pyramid", "dask pyramid")
TRANSFORMS = {
    "isotropic": {"scale": (1.5, 1.5)},
    "shifted": {"scale": (0.7, 0.7), "translate": (5.0, -7.0)},
    "turned": {"scale": (2.0, 2.0), "translate": (1.0, 2.0), "rotate": 30.0},
    "sheared": {"scale": (2.0, 2.0), "shear": (0.2,)},
    "affine": {"scale": (1.1, 1.1), "affine": [[0, 2, 3], [-2, 0, 4], [0, 0, 1]]},
}


def image_in(viewer: ViewerModel, axes: tuple[str, ...], kind: str, **options: Any) -> Any:
    """Add an image layer with axes before y and x, and put the viewer's sliders on slice 2."""
    fine = RNG.normal(size=(*(4, 5)[: len(axes)], 48, 64))
    data: Any = [fine, fine[..., ::2, ::2]] if "pyramid" in kind else [fine]
    if "dask" in kind:
        data = [da.from_array(level, chunks=(*(1,) * len(axes), 16, 16)) for level in data]
    several = "pyramid" in kind
    layer = viewer.add_image(data if several else data[0], multiscale=several, **options)
    for axis in range(len(axes)):
        viewer.dims.set_current_step(axis, 2)
    return layer


def assert_lies_as(other: Any, layer: Any, counted: str | None = None) -> None:
    """Both are in one place; ``counted`` is the label of the other's first axis if it differs."""
    labels = tuple(layer.axis_labels) if counted is None else (counted, *layer.axis_labels[1:])
    assert other.ndim == layer.ndim
    assert tuple(other.units) == tuple(layer.units)
    assert tuple(other.axis_labels) == labels
    for name in ("scale", "translate", "rotate", "shear"):
        np.testing.assert_allclose(getattr(other, name), getattr(layer, name), err_msg=name)
    np.testing.assert_allclose(other.affine.affine_matrix, layer.affine.affine_matrix)
    for place in RNG.uniform(0, 40, (3, layer.ndim)):
        np.testing.assert_allclose(other.data_to_world(place), layer.data_to_world(place))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("unit", "transform"),
    [
        ("pixel", "isotropic"),
        ("nm", "shifted"),
        ("angstrom", "shifted"),
        ("angstrom", "turned"),
        ("nm", "sheared"),
        ("pixel", "affine"),
    ],
)
@pytest.mark.parametrize("axes", LEADING)
def test_every_layer_we_add_lies_as_its_image(saved, qtbot, axes, unit, transform, kind) -> None:
    leading = LEADING[axes]
    viewer = ViewerModel()
    options = in_more_dimensions(TRANSFORMS[transform], len(leading))
    units = {"t": "second", "z": "nm", "channel": "pixel"}
    layer = image_in(
        viewer,
        leading,
        kind,
        units=(*(units[axis] for axis in leading), unit, unit),
        axis_labels=(*leading, "y", "x"),
        **options,
    )
    units_before = viewer.layers.units
    assert units_before is not None
    level = 1 if "pyramid" in kind else 0
    plane = plane_of(layer, viewer, level)
    whole = layer.data[level] if layer.multiscale else layer.data
    np.testing.assert_array_equal(plane.read(), np.asarray(whole[(2,) * len(leading)]))
    picks = some_picks(8)
    found = FoundLayers(Found(picks, None, 0.3), plane, saved, "m", DetectionConfig(), along=True)
    boxes = box_points(plane, picks.positions, 16)
    for added in (found.vectors, found.points, boxes):
        viewer.add_layer(added)
    form = SourceForm(viewer)
    qtbot.addWidget(form)
    form.image.value = layer.unique_id
    form.draw_box()
    added_layers = [other for other in viewer.layers if other is not layer]
    assert len(added_layers) == 4
    for other in added_layers:
        assert_lies_as(other, layer)
    assert viewer.layers.units == units_before  # napari goes on drawing in them
    # Of a coarser level, a pixel's centre lies between those of the pixels it is made of.
    factor = 2 if level else 1
    expected = (picks.positions + 0.5) * factor - 0.5
    middle = found.vectors.data[:, 0] + found.vectors.data[:, 1] / 2
    for places in (found.points.data, middle, boxes.data):
        np.testing.assert_allclose(places[:, -2:], expected, rtol=1e-6)
        assert (places[:, :-2] == 2).all()
    np.testing.assert_allclose(boxes.size.max(), 16 * factor)
    np.testing.assert_allclose(points_on(boxes, layer, viewer, plane), picks.positions, atol=1e-4)
    form.detach()


def aligned_by_hand(particles: Particles, boxes: Any, saved: SavedModel) -> AlignedLayers:
    """Layers of two classes of particles, shifted along the last axis by one pixel."""
    n, d, side = len(boxes), particles.dimensions, particles.shape[1]
    shift = np.zeros((n, d), np.float32)
    shift[:, -1] = 1
    turn = np.tile(np.eye(3, dtype=np.float32), (n, 1, 1)) if d == 3 else np.zeros(n, np.float32)
    label = np.arange(n) % 2
    rest = np.stack([boxes[label == name].mean(0, dtype=np.float32) for name in (0, 1)])
    grey = rest.mean(-1) if particles.rgb else rest
    averages = tuple(
        ClassAverage(name, n // 2, one, rest, fourier_shell_correlation(*grey))
        for name, one in enumerate(rest)
    )
    content = np.zeros((n, 1), np.float32)
    found = Alignment(
        Encoding(turn, shift, np.linspace(0, 1, n, dtype=np.float32), content),
        label,
        label,
        averages,
    )
    assert boxes.shape[1:3] == (side, side)
    return AlignedLayers(Aligned(saved, boxes, found, None), particles, "m", {})


STACKS = {"images": (8, 12, 12), "volumes": (8, 12, 12, 12), "colour": (8, 12, 12, 3)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("unit", "transform"),
    [
        ("pixel", "isotropic"),
        ("nm", "isotropic"),
        ("angstrom", "turned alike"),
        ("angstrom", "affine"),
    ],
)
@pytest.mark.parametrize("boxes", STACKS)
def test_aligned_boxes_lie_as_the_stack(saved, qtbot, boxes, unit, transform, kind) -> None:
    viewer = ViewerModel()
    rgb, ndim = boxes == "colour", len(STACKS[boxes]) - (boxes == "colour")
    geometry = TRANSFORMS.get(transform, TRANSFORMS["turned"] | {"scale": (2.0, 2.0)})
    options = in_more_dimensions(geometry, ndim - 2)
    options["scale"] = (5.0, *(options["scale"][-1],) * (ndim - 1))
    whole = RNG.integers(0, 255, STACKS[boxes], np.uint8)
    data = [whole, whole[:, ::2, ::2]] if "pyramid" in kind else [whole]
    data = [da.from_array(one, chunks=4) for one in data] if "dask" in kind else data
    several = "pyramid" in kind
    layer = viewer.add_image(
        data if several else data[0],
        multiscale=several,
        rgb=rgb,
        units=("pixel", *(unit,) * (ndim - 1)),
        axis_labels=("n", "z", "y", "x")[-ndim:],
        **options,
    )
    units_before = viewer.layers.units
    form = AlignSourceForm(viewer)
    qtbot.addWidget(form)
    particles = form.read()
    assert (particles.shape, particles.rgb) == (STACKS[boxes], rgb)
    copied = finish(gather(particles, None))
    np.testing.assert_array_equal(copied, whole)
    layers = aligned_by_hand(particles, copied, saved)
    for added in layers:
        viewer.add_layer(added)
        assert_lies_as(added, layer, "class" if added is layers.averages else None)
        assert added.rgb == rgb
    assert viewer.layers.units == units_before
    assert layers.stack.data.shape == whole.shape
    assert layers.averages.data.shape == (2, *whole.shape[1:])
    moved = np.asarray(layers.stack.data[3])
    axis = -2 if rgb else -1
    np.testing.assert_allclose(
        np.moveaxis(moved, axis, 0)[:-1], np.moveaxis(whole[3], axis, 0)[1:], atol=1e-3
    )
    form.detach()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", ["pixel", "nm", "angstrom"])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_objects_around_points_lie_as_their_image(saved, qtbot, dimensions, unit, kind) -> None:
    viewer = ViewerModel()
    ndim = dimensions
    whole = RNG.normal(size=(40,) * ndim).astype(np.float32)
    data = [whole, whole[(slice(None, None, 2),) * ndim]] if "pyramid" in kind else [whole]
    data = [da.from_array(one, chunks=16) for one in data] if "dask" in kind else data
    several = "pyramid" in kind
    layer = viewer.add_image(
        data if several else data[0],
        multiscale=several,
        scale=(1.5,) * ndim,
        translate=tuple(range(3, 3 + ndim)),
        units=(unit,) * ndim,
        axis_labels=("z", "y", "x")[-ndim:],
    )
    places = np.concatenate((RNG.uniform(9, 30, (8, ndim)), [np.full(ndim, 3.0)]))
    other = "micrometer" if unit == "nm" else unit  # points may come in another unit
    factor = 1e-3 if unit == "nm" else 1.0
    world = 1.5 * places + np.arange(3, 3 + ndim)
    viewer.add_points(world * factor, units=(other,) * ndim, axis_labels=("z", "y", "x")[-ndim:])
    form = AlignSourceForm(viewer)
    qtbot.addWidget(form)
    form.kind.value = "points"
    form.box_size.setValue(12)
    particles = form.read()
    assert particles.left_out == 1
    np.testing.assert_allclose(particles.positions, places[:8], atol=1e-6)
    boxes = finish(gather(particles, None))
    centre = np.floor(places[:8] + 0.5).astype(int)
    np.testing.assert_array_equal(boxes[(slice(None), *(6,) * ndim)], whole[tuple(centre.T)])
    layers = aligned_by_hand(particles, boxes, saved)
    for added in (layers.points, layers.vectors):
        assert_lies_as(added, layer)
        viewer.add_layer(added)
    expected = centre + np.eye(ndim)[-1]  # one pixel along the last axis
    np.testing.assert_allclose(layers.points.data, expected)
    assert set(layers.points.features["class"]) == {0, 1}
    np.testing.assert_array_equal(layers.stack.scale, (1, *(1.5,) * ndim))
    assert layers.stack.units[1:] == layer.units
    assert layers.can_be_placed == (ndim == 3)
    form.detach()


def test_many_boxes_go_to_a_nameless_file(qtbot, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("napari_equipose.widgets._align_particles._IN_MEMORY", 1000)
    viewer = ViewerModel()
    data = RNG.normal(size=(9, 8, 8, 8))
    viewer.add_image(data)
    form = AlignSourceForm(viewer)
    qtbot.addWidget(form)
    boxes = finish(gather(form.read(), tmp_path / "equipose"))
    assert isinstance(boxes, np.memmap)
    np.testing.assert_array_equal(boxes, data)
    assert not list((tmp_path / "equipose").iterdir())
    form.detach()


def test_layers_of_the_demo_lie_on_each_other() -> None:
    viewer = ViewerModel()
    for layer in layers_of(RNG.normal(size=(48, 64)), some_picks(), "cells", {}):
        viewer.add_layer(Layer.create(*layer))
    image, vectors, points = viewer.layers
    for other in (vectors, points):
        assert_lies_as(other, image)
    assert viewer.layers.units == tuple(image.units)


@pytest.mark.filterwarnings("ignore:Non-orthogonal")
def test_a_series_turned_out_of_its_plane_is_refused() -> None:
    viewer = ViewerModel()
    turned = np.eye(3)
    turned[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]  # z into y
    layer = viewer.add_image(RNG.normal(size=(5, 48, 64)), name="scan", rotate=turned)
    with pytest.raises(InputError, match="scan is turned out of its plane"):
        plane_of(layer, viewer)


@pytest.mark.filterwarnings("ignore:Non-orthogonal")
def test_a_series_that_drifts_keeps_its_slices() -> None:
    viewer = ViewerModel()
    drift = np.eye(4)
    drift[1, 0] = 3.0  # each slice lies three pixels further down
    layer = viewer.add_image(RNG.normal(size=(5, 48, 64)), affine=drift)
    viewer.dims.set_point(0, 2.0)
    plane = plane_of(layer, viewer)
    np.testing.assert_array_equal(plane.read(), layer.data[2])
    assert_lies_as(box_points(plane, some_picks().positions, 16), layer)


def test_axes_that_were_rolled_are_refused() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(RNG.normal(size=(5, 48, 64)), name="scan")
    viewer.dims.order = (0, 2, 1)  # y and x still, turned over
    assert plane_of(layer, viewer).read().shape == (48, 64)
    viewer.dims.order = (1, 0, 2)
    with pytest.raises(InputError, match="scan: the viewer shows other axes"):
        plane_of(layer, viewer)


def test_rotation_is_drawn_counter_clockwise(saved) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(RNG.normal(size=(50, 60)))
    picks = some_picks(3)._replace(rotation=np.array([0, np.pi / 2, np.pi], np.float32))
    found = layers_on(layer, viewer, saved, picks)
    direction = found.vectors.data[:, 1] / np.linalg.norm(found.vectors.data[:, 1], axis=1)[:, None]
    np.testing.assert_allclose(direction, [[0, 1], [-1, 0], [0, -1]], atol=1e-6)  # y points down
    np.testing.assert_allclose(found.points.features["rotation"], [0, 90, -180])


def test_score_hides_points_and_vectors_alike(saved) -> None:
    viewer = ViewerModel()
    picks = some_picks()
    found = layers_on(viewer.add_image(RNG.normal(size=(50, 60))), viewer, saved, picks)
    for threshold in (0.5, 0.9, 0.3, 0.0):
        n = found.filter(threshold)
        assert n == (picks.score >= threshold).sum() == len(found.vectors.data)
        assert found.points.shown.sum() == n
        np.testing.assert_allclose(found.vectors.features["score"], picks.score[:n])
        middle = found.vectors.data[:, 0] + found.vectors.data[:, 1] / 2
        np.testing.assert_allclose(middle, picks.positions[:n], atol=1e-5)
    assert len(found.points.data) == len(picks.score)


@pytest.mark.parametrize("suffix", [".csv", ".star"])
def test_what_is_shown_is_written(saved, tmp_path, suffix) -> None:
    viewer = ViewerModel()
    options = {"scale": (9, 1.5, 1.5), "units": ("nm", "angstrom", "angstrom")}
    layer = viewer.add_image(RNG.normal(size=(3, 50, 60)), name="scan", **options)
    picks = some_picks()
    found = layers_on(layer, viewer, saved, picks)
    n = found.filter(0.5)
    assert write_shown(found.points, tmp_path / f"objects{suffix}") == n
    table = read_table(tmp_path / f"objects{suffix}")
    np.testing.assert_allclose(table[["y", "x"]], picks.positions[:n], atol=1e-3)
    np.testing.assert_allclose(table["rotation"], np.degrees(picks.rotation[:n]), atol=1e-3)
    assert set(table["image"]) == {"scan"}


def test_tables_are_kept_under_new_names(saved, tmp_path) -> None:
    viewer = ViewerModel()
    picks = some_picks()
    layer = viewer.add_image(RNG.normal(size=(50, 60)), name="../My cells")
    found = layers_on(layer, viewer, saved, picks)
    found.filter(0.5)
    paths = [found.keep(tmp_path / "found") for _ in range(2)]
    assert [path.name for path in paths] == ["my-cells-1.csv", "my-cells-2.csv"]
    assert sorted(tmp_path.rglob("*.csv")) == paths
    np.testing.assert_allclose(read_table(paths[1])["score"], picks.score, atol=1e-4)


def test_layers_say_where_they_came_from(saved) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(RNG.normal(size=(50, 60)), name="cells")
    found = layers_on(layer, viewer, saved, some_picks())
    for other in (found.points, found.vectors):
        record = other.metadata["equipose"]
        assert record["model"] == saved.digest
        assert record["model_config"]["box_size"] == 16
        assert "threshold" in record["config"]
        assert record["image"] == "cells"
        assert record["version"]


@pytest.mark.parametrize("wrap", [np.asarray, lambda x: da.from_array(x, chunks=(1, 16, 16))])
def test_the_slice_that_is_shown_is_read(wrap) -> None:
    viewer = ViewerModel()
    data = RNG.normal(size=(6, 50, 60))
    layer = viewer.add_image(wrap(data), scale=(4, 1, 1))
    viewer.dims.set_current_step(0, 3)
    plane = plane_of(layer, viewer)
    np.testing.assert_array_equal(plane.read(), data[3])
    assert "3" in plane.note


def test_the_slice_is_right_where_another_layer_has_a_smaller_unit() -> None:
    viewer = ViewerModel()
    data = RNG.normal(size=(6, 50, 60))
    layer = viewer.add_image(data, scale=(2, 1, 1), units=("um", "um", "um"))
    viewer.add_points([[0.0, 0, 0]], units=("nm", "nm", "nm"))
    viewer.dims.set_point(0, 4000.0)  # nm
    np.testing.assert_array_equal(plane_of(layer, viewer).read(), data[2])


def test_a_snapshot_does_not_follow_the_layer() -> None:
    viewer = ViewerModel()
    data = RNG.normal(size=(50, 60))
    layer = viewer.add_image(data)
    plane = plane_of(layer, viewer)
    viewer.layers.remove(layer)
    picture = plane.read()
    data[:] = 0
    assert picture.std() > 0


def test_colour_is_kept_and_transparency_is_not() -> None:
    viewer = ViewerModel()
    data = RNG.integers(0, 255, (50, 60, 4), np.uint8)
    layer = viewer.add_image(data, rgb=True)
    np.testing.assert_array_equal(plane_of(layer, viewer).read(), data[..., :3])


def test_a_level_of_a_pyramid_lies_on_the_finest() -> None:
    viewer = ViewerModel()
    fine = np.zeros((64, 96))
    fine[40:44, 60:64] = 1  # centre (41.5, 61.5)
    coarse = fine.reshape(16, 4, 24, 4).mean((1, 3))
    layer = viewer.add_image([fine, coarse], multiscale=True)
    plane = plane_of(layer, viewer, 1)
    place = np.argwhere(plane.read() == 1)
    np.testing.assert_allclose(plane.to_layer(place), [[41.5, 61.5]])
    np.testing.assert_allclose(plane.to_picture(plane.to_layer(place)), place)


def test_points_fall_on_the_pixels_they_are_drawn_on() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(
        RNG.normal(size=(50, 60)), scale=(2, 2), units=("um", "um"), translate=(10, 20), rotate=20
    )
    pixels = RNG.uniform(5, 45, (7, 2))
    world = np.array([layer.data_to_world(place) for place in pixels])
    points = viewer.add_points(world * 1000, units=("nm", "nm"))
    found = points_on(points, layer, viewer, plane_of(layer, viewer))
    np.testing.assert_allclose(found, pixels, atol=1e-6)


def test_points_of_other_slices_and_hidden_ones_are_left_out() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(RNG.normal(size=(6, 50, 60)))
    viewer.dims.set_current_step(0, 2)
    points = Points([[2, 10, 10], [2, 20, 20], [3, 30, 30]], shown=[True, False, True])
    viewer.add_layer(points)
    found = points_on(points, layer, viewer, plane_of(layer, viewer))
    np.testing.assert_allclose(found, [[10, 10]])
    flat = Points([[11.0, 12.0]])
    np.testing.assert_allclose(points_on(flat, layer, viewer, plane_of(layer, viewer)), flat.data)


def test_a_line_is_no_image() -> None:
    line = type("Line", (), {"data": np.zeros(5), "multiscale": False, "rgb": False, "name": "l"})
    with pytest.raises(InputError, match="an image"):
        plane_of(line, ViewerModel())


@pytest.mark.parametrize(
    ("axes", "leading", "part", "words"),
    [
        (("-3", "-2", "-1"), (4,), "plane", "plane 4 of axis 0"),
        (("t", "y", "x"), (4,), "plane", "t = 4"),
        (("t", "-3", "y", "x"), (4, 2), "plane", "t = 4, plane 2 of axis 1"),
        (("-4", "-3", "-2", "-1"), (1,), "volume", "volume 1 of axis 0"),
        (("y", "x"), (), "plane", ""),
    ],
)
def test_which_slice_it_is_is_said_by_the_names_of_axes_where_they_have_some(
    axes, leading, part, words
) -> None:
    assert slice_note(axes, leading, part) == words
