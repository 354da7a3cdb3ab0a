"""Tables beside images in the viewer: each lies where its pixels are, and is written so."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_equipose.geometry import InputError
from napari_equipose.io import (
    napari_get_reader,
    napari_write_points,
    pick_table,
    read_table,
    write_mrc,
    write_table,
)

IMAGE = np.random.default_rng(0).normal(size=(64, 96)).astype(np.float32)
PLACES = [[30.0, 40.0], [10.0, 70.0], [50.0, 12.0]]
ANGLES = np.radians([10.0, 100, -80])
PLUGIN = "napari-equipose"
STAR = "data_\n\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n{}40 30{}\n70 10{}\n12 50{}\n"
NAMED = STAR.format("_rlnMicrographName\n", *[" Micrographs/a.mrc"] * 3)
BARE = STAR.format("", "", "", "")
OPTICS = "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnMicrographPixelSize\n1 {}\n\n"
TABLES = {
    "a.box": "28 18 24 24\n58 -2 24 24\n0 38 24 24\n",
    "a.coords": "40 30\n70 10\n12 50\n",
    "a.coord": "40 30\n70 10\n12 50\n",
    "other.star": NAMED,
    "a_manualpick.star": BARE,
    "other.csv": "image,y,x\na,30,40\na,10,70\na,50,12\n",
    "a.csv": "x,y\n40,30\n70,10\n12,50\n",
    "other.txt": "image_name\tx_coord\ty_coord\na\t40\t30\na\t70\t10\na\t12\t50\n",
}


def _read(path: Path) -> list[tuple[Any, dict[str, Any], str]]:
    reader = napari_get_reader(str(path))
    assert reader is not None
    return reader(str(path))


def _world(layer: Any) -> Any:
    return np.array([layer.data_to_world(place) for place in layer.data])


def _save(layer: Any, path: Path) -> pd.DataFrame:
    layer.save(str(path), plugin=PLUGIN)
    return read_table(path)


@pytest.mark.parametrize("name", TABLES)
def test_picks_take_the_scale_of_the_mrc_file_beside_them(tmp_path: Path, name: str) -> None:
    write_mrc(tmp_path / "a.mrc", IMAGE, 2.0)
    write_mrc(tmp_path / "b.mrc", IMAGE, 5.0)
    (tmp_path / name).write_text(TABLES[name])
    ((data, meta, kind),) = _read(tmp_path / name)
    assert (kind, meta["scale"], meta["units"]) == ("points", (2, 2), ("angstrom",) * 2)
    np.testing.assert_array_equal(data, PLACES)


def test_picks_of_an_image_that_is_not_there_have_no_scale(tmp_path: Path) -> None:
    write_mrc(tmp_path / "b.mrc", IMAGE, 2.0)
    for name in ("a.box", "other.star", "ab.coords"):
        (tmp_path / name).write_text(TABLES.get(name, TABLES["a.coords"]))
        ((_, meta, _),) = _read(tmp_path / name)
        assert not {"scale", "units"} & set(meta)


def test_picks_lie_on_the_image_that_is_open(make_napari_viewer_proxy: Any, tmp_path: Path) -> None:
    viewer = make_napari_viewer_proxy()
    image = viewer.add_image(
        IMAGE, name="a", scale=(-2, 2), translate=(100, -50), rotate=20, units=("nm", "nm")
    )
    expected = np.array([image.data_to_world(place) for place in PLACES])
    for name, content in TABLES.items():
        (tmp_path / name).write_text(content)
        (points,) = viewer.open(str(tmp_path / name), plugin=PLUGIN)
        np.testing.assert_allclose(_world(points), expected)
        assert points.units == image.units
    # A table says which pixels it means only if its pixel size is that of the image.
    for size, on in (("20", True), ("80", False)):
        (tmp_path / "c.star").write_text(
            OPTICS.format(size) + NAMED.replace("_\n", "_particles\n", 1)
        )
        (points,) = viewer.open(str(tmp_path / "c.star"), plugin=PLUGIN)
        assert np.allclose(_world(points), expected) == on
        assert float(abs(points.scale[1])) == (2 if on else 80)
    # Positions without a name mean the only image; those with another name do not.
    (tmp_path / "z.coords").write_text(TABLES["a.coords"])
    (points,) = viewer.open(str(tmp_path / "z.coords"), plugin=PLUGIN)
    np.testing.assert_allclose(_world(points), expected)
    (tmp_path / "z.star").write_text(NAMED.replace("a.mrc", "z.mrc"))
    (points,) = viewer.open(str(tmp_path / "z.star"), plugin=PLUGIN)
    np.testing.assert_array_equal(points.scale, 1)


def test_star_of_an_image_without_a_pixel_size_opens_on_it(
    make_napari_viewer_proxy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = make_napari_viewer_proxy()
    said: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_info", said.append)
    viewer.add_image(IMAGE, name="cells")
    features = pd.DataFrame({"rotation": np.degrees(ANGLES), "score": [0.5, 0.6, 0.7]})
    points = viewer.add_points(PLACES, features=features, name="objects")
    points.save(str(tmp_path / "a.star"), plugin=PLUGIN)
    assert len(said) == 1 and "no pixel size" in said[0]
    viewer.layers.remove(points)
    arrows, points = viewer.open(str(tmp_path / "a.star"), plugin=PLUGIN)
    assert viewer.layers.units is not None  # None if layers have unlike ones
    np.testing.assert_array_equal(points.data, PLACES)
    middle = arrows.data[:, 0] + arrows.data[:, 1] / 2
    np.testing.assert_allclose(middle, points.data)
    angle = np.arctan2(-arrows.data[:, 1, 0], arrows.data[:, 1, 1])
    np.testing.assert_allclose(angle, ANGLES, atol=1e-6)


def test_points_of_a_new_layer_are_written_in_pixels_of_the_image_below(
    make_napari_viewer_proxy: Any, tmp_path: Path
) -> None:
    viewer = make_napari_viewer_proxy()
    image = viewer.add_image(IMAGE, scale=(2, 2), translate=(100, -50), units=("angstrom",) * 2)
    world = image.data_to_world(PLACES[0])
    points = viewer.add_points([world], units=image.units)
    for scale, translate in (((2, 2), (100, -50)), ((-1, -1), (0, 0)), ((1, -3), (7, 9))):
        image.scale, image.translate = scale, translate
        points.data = [image.data_to_world(PLACES[0])]
        table = _save(points, tmp_path / "a.star")
        np.testing.assert_allclose(table[["y", "x"]], PLACES[:1], atol=1e-4)
        assert f"{abs(scale[1])}.0" in (tmp_path / "a.star").read_text().split()[-1]
    points.scale, points.data = (3, 3), np.array([image.data_to_world(PLACES[0])]) / 3
    table = _save(points, tmp_path / "a.csv")
    np.testing.assert_allclose(table[["y", "x"]], PLACES[:1], atol=1e-4)
    assert table["image"].tolist() == [image.name]
    other = viewer.add_image(IMAGE, scale=image.scale, translate=(10, 20), units=image.units)
    with pytest.raises(OSError, match="not at one place; hide all images but"):
        _save(points, tmp_path / "b.csv")
    other.visible = False
    np.testing.assert_allclose(_save(points, tmp_path / "b.csv")[["y", "x"]], PLACES[:1], atol=1e-4)


def test_points_in_a_stack_or_a_volume_come_back(
    make_napari_viewer_proxy: Any, tmp_path: Path
) -> None:
    viewer = make_napari_viewer_proxy()
    places = [[0, 30, 40], [4, 10, 70], [4, 50, 12]]
    write_mrc(tmp_path / "s.mrcs", np.stack([IMAGE] * 5), 2.0)
    viewer.open(str(tmp_path / "s.mrcs"), plugin=PLUGIN)
    points = viewer.add_points(np.multiply(places, (1, 2, 2)), name="mine")
    for suffix in (".csv", ".star"):
        table = _save(points, tmp_path / f"a{suffix}")
        np.testing.assert_allclose(table[["y", "x"]], np.array(places)[:, 1:])
        numbers = [Path(name).name for name in table["image"].str.split("@").str[0]]
        assert numbers == ["000001", "000005", "000005"]
        (back,) = viewer.open(str(tmp_path / f"a{suffix}"), plugin=PLUGIN)
        np.testing.assert_allclose(back.data, places)
        np.testing.assert_array_equal(back.scale, (1, 2, 2))
    viewer.layers.clear()
    write_mrc(tmp_path / "v.mrc", np.stack([IMAGE] * 5), 2.0)
    viewer.open(str(tmp_path / "v.mrc"), plugin=PLUGIN)
    points = viewer.add_points(np.multiply(places, 2), name="mine", units=("angstrom",) * 3)
    table = _save(points, tmp_path / "b.csv")
    np.testing.assert_allclose(table[["z", "y", "x"]], places)
    assert table["rot"].isna().all()


def test_series_is_told_from_a_volume_without_an_image(tmp_path: Path) -> None:
    places = np.array([[0.0, 3, 4], [7, 5, 6]])
    path = str(tmp_path / "a.csv")
    for meta in (
        {"axis_labels": ("t", "y", "x")},
        {"scale": (1, 2, 2), "units": ("pixel", "nm", "nm")},
    ):
        napari_write_points(path, places, {"name": "m", **meta})
        assert read_table(path)["image"].tolist() == ["000001@m", "000008@m"]
    for meta in ({}, {"axis_labels": ("z", "y", "x"), "scale": (2, 1, 1), "units": ("nm",) * 3}):
        napari_write_points(path, places, {"name": "m", **meta})
        assert read_table(path)["z"].tolist() == [0, 7]


@pytest.mark.parametrize("suffix", [".csv", ".star", ".box", ".txt"])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_layer_of_no_points_is_a_table_of_no_rows(
    tmp_path: Path, suffix: str, dimensions: int
) -> None:
    path = tmp_path / f"a{suffix}"
    meta = {"name": "none", "features": pd.DataFrame(), "size": np.zeros(0), "shown": np.zeros(0)}
    if dimensions == 3 and suffix in (".box", ".txt"):
        with pytest.raises(InputError, match="picks in a plane"):
            napari_write_points(str(path), np.zeros((0, dimensions)), meta)
        return
    napari_write_points(str(path), np.zeros((0, dimensions)), meta)
    assert read_table(path, "picks").empty
    ((data, _, kind),) = _read(path)
    assert (kind, len(data)) == ("points", 0)


def test_classes_that_are_words_are_refused_and_other_words_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    features = pd.DataFrame({"class": ["rod", "rod", "ring"]})
    with pytest.raises(InputError, match=r"feature class numbers classes .* 'rod' is no such"):
        napari_write_points(str(path), np.array(PLACES), {"features": features})
    assert not list(tmp_path.iterdir())
    features = pd.DataFrame({"view": ["rod", "rod", "ring"], "class": ["1", "0", None]})
    napari_write_points(str(path), np.array(PLACES), {"features": features})
    table = read_table(path)
    assert table["view"].tolist() == ["rod", "rod", "ring"]
    assert table["class"].fillna(-1).tolist() == [1, 0, -1]


def test_scale_below_zero_is_no_pixel_size_below_zero(tmp_path: Path) -> None:
    for scale, unit in ((-2.0, "angstrom"), (200.0, "picometer"), (-2e-10, "meter")):
        meta = {"scale": (scale, scale), "units": (unit, unit)}
        napari_write_points(str(tmp_path / "a.star"), np.array(PLACES), meta)
        assert _read(tmp_path / "a.star")[-1][1]["scale"] == pytest.approx((2, 2))


OURS = ["image,y,x,rotation,score,class", "x,y", "image,z,y,x,rot,tilt,psi,score,class,content_0"]
OURS += [
    "y,x,score,content_0,content_1",
    "image;y;x",
    "X-Coordinate,Y-Coordinate",
    "image,x,y,view",
]
FOREIGN = ["index,axis-0,axis-1", "track_id,t,y,x", "index,translation_y,translation_x,rotation"]
FOREIGN += ["a,b", "", "x", "index,shape-type,vertex-index,axis-0,axis-1", "frame,x,y,mass"]


def test_only_tables_of_ours_are_claimed(tmp_path: Path) -> None:
    for suffix, headers, ours in ((".csv", OURS, True), (".csv", FOREIGN, False)):
        for number, header in enumerate(headers):
            path = tmp_path / f"{ours}{number}{suffix}"
            path.write_text(header + "\n1,2\n" * bool(header))
            assert (napari_get_reader(str(path)) is not None) == ours, header
    (tmp_path / "notes.txt").write_text("image_name is a word\n")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    for name in ("notes.txt", "binary.csv", "none.csv"):
        assert napari_get_reader(str(tmp_path / name)) is None
    write_table(tmp_path / "a.txt", pick_table("a", PLACES))
    assert napari_get_reader(str(tmp_path / "a.txt")) is not None
    assert napari_get_reader([str(tmp_path / "a.txt"), str(tmp_path / "notes.txt")]) is None


def test_table_that_detect_writes_opens_on_its_image(
    make_napari_viewer_proxy: Any, tmp_path: Path
) -> None:
    viewer = make_napari_viewer_proxy()
    write_mrc(tmp_path / "m.mrc", IMAGE, 2.0)
    (image,) = viewer.open(str(tmp_path / "m.mrc"), plugin=PLUGIN)
    features = pd.DataFrame({"rotation": np.degrees(ANGLES), "score": [0.9, 0.2, 0.8]})
    features = features.assign(content_0=[1.0, 2, 3], id=[4, 5, 9], by_hand=False)
    record = {"image": str(tmp_path / "m.mrc"), "model": "abc", "box_size": 24, "slice": []}
    record |= {"min_score": 0.5, "arrow_length": 12.0, "color": "score"}
    points = viewer.add_points(
        PLACES, features=features, scale=image.scale, units=image.units,
        metadata={"equipose": record}, name="found",
    )  # fmt: skip
    for suffix in (".csv", ".star"):
        points.save(str(tmp_path / f"t{suffix}"), plugin=PLUGIN)
    viewer.layers.clear()
    # Another program's reader opens the image without its pixel size.
    image = viewer.add_image(IMAGE, name="m")
    for suffix in (".csv", ".star"):
        arrows, points = viewer.open(str(tmp_path / f"t{suffix}"), plugin=PLUGIN)
        assert viewer.layers.units is not None
        np.testing.assert_allclose(_world(points), PLACES)
        np.testing.assert_allclose(points.features["rotation"], features["rotation"], atol=1e-4)
        assert points.metadata["equipose"]["model"] == "abc"
        assert points.shown.tolist() == [True, False, True]
        middle = arrows.data[:, 0] + arrows.data[:, 1] / 2
        np.testing.assert_allclose(middle, np.array(PLACES)[[0, 2]])
        assert ("content_0" in points.features) == (suffix == ".csv")
        assert len(viewer.layers) == 3
        viewer.layers.remove(arrows)
        viewer.layers.remove(points)
    viewer.layers.clear()
    _, points = viewer.open(str(tmp_path / "t.csv"), plugin=PLUGIN)
    np.testing.assert_array_equal(points.scale, 2)
    assert [str(unit) for unit in points.units] == ["angstrom"] * 2
