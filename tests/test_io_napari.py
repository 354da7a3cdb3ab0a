from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_equipose.geometry import InputError
from napari_equipose.io import (
    napari_get_reader,
    napari_write_image,
    napari_write_points,
    pick_table,
    read_image,
    read_table,
    write_mrc,
    write_table,
)


def _open(path: Path) -> tuple[Any, dict[str, Any], str]:
    reader = napari_get_reader(str(path))
    assert reader is not None
    *_, (data, meta, kind) = reader(str(path))  # arrows, if any, come before points
    return data, meta, kind


def test_mrc_opens_in_angstrom(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", np.eye(5, dtype=np.float32), 2.0)
    data, meta, kind = _open(tmp_path / "a.mrc")
    assert (kind, meta["name"], meta["axis_labels"]) == ("image", "a", ("y", "x"))
    assert (meta["scale"], meta["units"]) == ((2.0, 2.0), ("angstrom", "angstrom"))
    np.testing.assert_array_equal(data, np.eye(5))


def test_axis_that_counts_images_has_no_length(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrcs", np.zeros((3, 4, 4), np.float32), 2.0)
    meta = _open(tmp_path / "a.mrcs")[1]
    assert (meta["scale"], meta["units"]) == ((1, 2, 2), ("pixel", "angstrom", "angstrom"))


def test_image_of_unknown_pixel_size_gets_no_units(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.map", np.zeros((3, 4, 4), np.float32))
    assert not {"scale", "units"} & set(_open(tmp_path / "a.map")[1])


def test_star_of_positions_opens_as_points_with_features(tmp_path: Path) -> None:
    picks = pick_table("m.mrc", [[1, 2], [3, 4]], [0.0, 1.0], [5, 6], classes=[0, 1])
    write_table(tmp_path / "a.star", picks, pixel_size=1.5)
    data, meta, kind = _open(tmp_path / "a.star")
    assert (kind, meta["scale"]) == ("points", (1.5, 1.5))
    np.testing.assert_array_equal(data, [[1, 2], [3, 4]])
    assert list(meta["features"]) == ["rotation", "score", "class", "id", "by_hand"]
    assert meta["metadata"]["equipose"]["image"] == "m.mrc"


def test_star_of_particles_opens_as_their_stack(tmp_path: Path) -> None:
    write_mrc(tmp_path / "s.mrcs", np.arange(32, dtype=np.float32).reshape(2, 4, 4))
    (tmp_path / "a.star").write_text("data_\n\nloop_\n_rlnImageName\n2@s.mrcs\n1@s.mrcs\n")
    data, meta, kind = _open(tmp_path / "a.star")
    assert (kind, data.shape, meta["contrast_limits"]) == ("image", (2, 4, 4), (0, 31))
    assert list(meta["metadata"]["table"]) == ["rlnImageName"]


def test_box_file_opens_as_points(tmp_path: Path) -> None:
    write_table(tmp_path / "a.box", pick_table("a", [[10, 20]]), box_size=8)
    data, _, kind = _open(tmp_path / "a.box")
    assert (kind, data.tolist()) == ("points", [[10, 20]])


def test_files_of_cryolo_open_as_points(tmp_path: Path) -> None:
    (tmp_path / "a.coords").write_text("20 10\n")
    data, meta, kind = _open(tmp_path / "a.coords")
    assert (kind, data.tolist(), meta["name"]) == ("points", [[10, 20]], "a")
    columns = "".join(f"_{name}\n" for name in ("CoordinateX", "CoordinateY", "Width", "Height"))
    (tmp_path / "a.cbox").write_text(f"data_cryolo\n\nloop_\n{columns}_Confidence\n16 6 8 8 0.5\n")
    data, meta, kind = _open(tmp_path / "a.cbox")
    assert (kind, data.tolist()) == ("points", [[10, 20]])
    assert meta["features"]["score"].tolist() == [0.5]


def test_several_files_open_as_several_layers(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("a.mrc", "b.mrc")]
    for path in paths:
        write_mrc(path, np.zeros((4, 4), np.float32))
    reader = napari_get_reader(paths)
    assert reader is not None
    assert [meta["name"] for _, meta, _ in reader(paths)] == ["a", "b"]


def test_other_files_are_left_to_others() -> None:
    assert napari_get_reader("a.tif") is None


def test_points_are_written_with_their_features(tmp_path: Path) -> None:
    features = pd.DataFrame(
        {"rotation": [90.0], "score": [0.5], "class": [1], "content_0": [3.0], "other": ["x"]}
    )
    meta = {"name": "picks", "features": features, "scale": (0.2, 0.2), "units": ("nanometer",) * 2}
    path = str(tmp_path / "a.csv")
    assert napari_write_points(path, np.array([[1.0, 2.0]]), meta) == [path]
    back = read_table(path)
    columns = ["y", "x", "rotation", "score", "class", "content_0"]
    assert back.loc[0, columns].tolist() == [1, 2, 90, 0.5, 1, 3]
    star = str(tmp_path / "a.star")
    napari_write_points(star, np.array([[1.0, 2.0]]), meta)
    assert _open(Path(star))[1]["scale"] == (2.0, 2.0)


def test_points_of_a_person_are_written_without_features(tmp_path: Path) -> None:
    meta = {"name": "mine", "features": pd.DataFrame(index=range(2)), "size": np.array([8, 8])}
    napari_write_points(str(tmp_path / "a.box"), np.array([[10.0, 20], [30, 40]]), meta)
    assert read_table(tmp_path / "a.box")["x"].tolist() == [20, 40]


def test_hidden_points_are_left_out_and_a_slice_is_a_picture(tmp_path: Path) -> None:
    meta = {
        "features": pd.DataFrame({"score": [0.9, 0.1]}),
        "shown": np.array([True, False]),
        "metadata": {"equipose": {"image": "scan.tif", "slice": [4]}},
    }
    napari_write_points(str(tmp_path / "a.csv"), np.array([[4.0, 1, 2], [4, 3, 4]]), meta)
    back = read_table(tmp_path / "a.csv")
    assert back[["image", "y", "x", "score"]].to_numpy().tolist() == [["scan.tif", 1, 2, 0.9]]


def test_points_of_four_axes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="4 dimensions"):
        napari_write_points(str(tmp_path / "a.star"), np.zeros((2, 4)), {})


@pytest.mark.parametrize(
    ("labels", "axes"), [(("n", "y", "x"), "nyx"), (("z", "y", "x"), "zyx"), ((), "zyx")]
)
def test_image_is_written_with_its_axes(tmp_path: Path, labels: tuple[str, ...], axes: str) -> None:
    meta = {"axis_labels": labels, "scale": (1, 1, 3e-4), "units": ("micrometer",) * 3}
    path = str(tmp_path / "a.mrc")
    napari_write_image(path, np.zeros((3, 4, 5), np.float32), meta)
    image = read_image(path)
    assert (image.axes, image.pixel_size) == (axes, pytest.approx(3.0))


def test_finest_level_of_a_pyramid_is_written(tmp_path: Path) -> None:
    levels = [np.ones((8, 8), np.float32), np.ones((4, 4), np.float32)]
    napari_write_image(str(tmp_path / "a.mrc"), levels, {"multiscale": True})
    assert read_image(tmp_path / "a.mrc").data.shape == (8, 8)


def test_colour_is_not_written_as_mrc(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="have no colour"):
        napari_write_image(str(tmp_path / "a.mrc"), np.zeros((4, 4, 3)), {"rgb": True})


def test_viewer_opens_and_saves_through_the_manifest(
    make_napari_viewer_proxy: Any, tmp_path: Path
) -> None:
    viewer = make_napari_viewer_proxy()
    write_mrc(tmp_path / "a.mrc", np.eye(16, dtype=np.float32), 2.0)
    write_table(tmp_path / "a.star", pick_table("a.mrc", [[4, 8]], [1.0]), pixel_size=2.0)
    viewer.open([str(tmp_path / "a.mrc")], plugin="napari-equipose")
    viewer.open([str(tmp_path / "a.star")], plugin="napari-equipose")
    image, arrows, points = viewer.layers
    assert image.extent.world.tolist() == [[0, 0], [30, 30]]
    for layer in (arrows, points):
        assert [str(unit) for unit in layer.units] == ["angstrom", "angstrom"]
    assert viewer.layers.units is not None
    points.save(str(tmp_path / "b.star"), plugin="napari-equipose")
    assert read_table(tmp_path / "b.star").loc[0, ["y", "x"]].tolist() == [4, 8]
    image.save(str(tmp_path / "b.mrc"), plugin="napari-equipose")
    assert read_image(tmp_path / "b.mrc").pixel_size == pytest.approx(2.0)


def test_viewer_slices_a_gathered_stack(make_napari_viewer_proxy: Any, tmp_path: Path) -> None:
    viewer = make_napari_viewer_proxy()
    write_mrc(tmp_path / "s.mrcs", np.arange(32, dtype=np.float32).reshape(2, 4, 4))
    (tmp_path / "a.star").write_text("data_\n\nloop_\n_rlnImageName\n2@s.mrcs\n1@s.mrcs\n")
    viewer.open([str(tmp_path / "a.star")], plugin="napari-equipose")
    assert viewer.layers[0].data.shape == (2, 4, 4)
    viewer.dims.set_point(0, 1)
    assert viewer.layers[0].get_value((1, 3, 3)) == 15
