"""Tables of objects come back as the layers that they were written from, without a window."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.layers import Layer, Points, Vectors
from skimage.color import rgb2lab

from napari_equipose._colors import class_rgba, cyclic_rgba, ramp_rgba
from napari_equipose.geometry import InputError
from napari_equipose.io import napari_write_points, object_layers, read_record, read_table

RNG = np.random.default_rng(0)
N = 8
RECORD = {"model": "abc", "image": "cells", "slice": [3], "box_size": 20, "color": "rotation"}
RECORD |= {"arrow_length": 10.0, "arrow_offset": 90.0, "min_score": 0.3, "point_size": 4.0}
PLACE = {"scale": (2.0, 0.5, 0.5), "translate": (1.0, 5.0, 6.0), "units": ("s", "nm", "nm")}


def table(n: int = N) -> pd.DataFrame:
    features = pd.DataFrame({"rotation": RNG.uniform(-180, 180, n)})
    features["score"] = np.linspace(0.1, 0.9, n)
    features["content_0"] = RNG.normal(size=n)
    return features


def points_in_a_series(features: pd.DataFrame, **more: Any) -> Points:
    places = np.column_stack((np.full(len(features), 3), RNG.uniform(0, 60, (len(features), 2))))
    return Points(places, features=features, metadata={"equipose": RECORD}, **(PLACE | more))


def write(points: Points, path: Any) -> None:
    data, meta, _ = points.as_layer_data_tuple()
    napari_write_points(str(path), data, meta)


def reopened(path: Any) -> list[Any]:
    return [Layer.create(*one) for one in object_layers(read_table(path), read_record(path), "a")]


def test_a_table_comes_back_with_its_arrows_content_model_and_place(tmp_path) -> None:
    before = points_in_a_series(table().assign(id=np.arange(N) + 5, by_hand=np.arange(N) == 2))
    write(before, tmp_path / "a.csv")
    arrows, points = reopened(tmp_path / "a.csv")
    assert isinstance(arrows, Vectors) and isinstance(points, Points)
    np.testing.assert_allclose(points.data, before.data, atol=1e-5)
    for name in before.features:
        np.testing.assert_allclose(points.features[name], before.features[name], atol=1e-6)
    for layer in (points, arrows):
        np.testing.assert_array_equal(layer.scale, before.scale)
        np.testing.assert_array_equal(layer.translate, before.translate)
        assert layer.units == before.units
        record = layer.metadata["equipose"]
        assert {name: record[name] for name in RECORD} == RECORD
        assert record["result"] == points.metadata["equipose"]["result"]
    shown = before.features["score"] >= 0.3
    np.testing.assert_array_equal(points.shown, shown)
    np.testing.assert_array_equal(points.size > 1, shown)
    np.testing.assert_array_equal(arrows.features["id"], points.features["id"][shown])
    middle = arrows.data[:, 0] + arrows.data[:, 1] / 2
    np.testing.assert_allclose(middle, points.data[shown], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(arrows.data[:, 1], axis=1), 10)
    angle = np.degrees(np.arctan2(-arrows.data[:, 1, 1], arrows.data[:, 1, 2]))
    turned = angle - 90 - points.features["rotation"][shown]
    np.testing.assert_allclose((turned + 180) % 360 - 180, 0, atol=1e-3)
    np.testing.assert_array_equal(arrows.edge_color, points.face_color[shown])
    assert len({one.metadata["equipose"]["result"] for one in reopened(tmp_path / "a.csv")}) == 1
    again = reopened(tmp_path / "a.csv")[1]
    assert again.metadata["equipose"]["result"] != points.metadata["equipose"]["result"]


def test_a_point_that_carries_the_id_of_another_is_written_as_one_made_by_hand(tmp_path) -> None:
    features = table().assign(id=np.arange(N), by_hand=False)
    features = pd.concat([features, features.iloc[[4]]], ignore_index=True)
    write(points_in_a_series(features), tmp_path / "a.csv")
    found = read_table(tmp_path / "a.csv")
    assert found["by_hand"].tolist() == [False] * N + [True]
    assert found["id"].is_unique and found["id"].tolist()[:N] == list(range(N))
    assert found[["rotation", "score", "content_0"]].isna().all(axis=1).tolist() == [
        *[False] * N,
        True,
    ]
    arrows, points = reopened(tmp_path / "a.csv")
    assert points.shown[-1] and N not in arrows.features["id"].to_numpy()


def test_points_in_space_of_unknown_rotation_are_written_and_come_back(tmp_path) -> None:
    angles = pd.DataFrame(RNG.uniform(10, 80, (4, 3)), columns=["rot", "tilt", "psi"])
    angles.iloc[3] = np.nan
    features = angles.assign(score=[0.5, 0.6, 0.7, np.nan], id=range(4), by_hand=False)
    record = {"model": "abc", "slice": [], "box_size": 16}
    points = Points(RNG.uniform(0, 9, (4, 3)), features=features, metadata={"equipose": record})
    write(points, tmp_path / "a.csv")
    arrows, again = reopened(tmp_path / "a.csv")
    np.testing.assert_allclose(again.features[[*angles]], angles, atol=1e-4)
    np.testing.assert_allclose(arrows.data[:, 0], points.data[:3], atol=1e-5)


def test_the_record_takes_no_other_file_away(tmp_path) -> None:
    (tmp_path / "a.json").write_text('{"mine": 1}')
    with pytest.raises(InputError, match=r"a\.json is there already"):
        write(points_in_a_series(table()), tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()
    assert read_record(tmp_path / "a.csv") is None
    assert json.loads((tmp_path / "a.json").read_text()) == {"mine": 1}
    for _ in range(2):  # our own is replaced
        write(points_in_a_series(table()), tmp_path / "b.csv")
    assert read_record(tmp_path / "b.csv")["model"] == "abc"


def test_a_table_of_another_program_comes_as_points_and_arrows(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("y,x,rotation\n1,2,0\n3,4,90\n")
    arrows, points = reopened(tmp_path / "a.csv")
    assert points.features["id"].tolist() == [0, 1]
    assert len(arrows.data) == 2
    (tmp_path / "b.csv").write_text("y,x\n1,2\n3,4\n")
    (points,) = reopened(tmp_path / "b.csv")
    np.testing.assert_array_equal(points.data, [[1, 2], [3, 4]])


def test_two_arrows_leave_an_object_of_twofold_symmetry(tmp_path) -> None:
    record = RECORD | {"fold": 2, "slice": []}
    picks = pd.DataFrame({"image": "", "y": [5.0, 9], "x": [5.0, 9], "rotation": [20.0, -160]})
    arrows, points = (Layer.create(*one) for one in object_layers(picks, record, "a"))
    assert arrows.features["id"].tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(arrows.data[:, 0], [[5, 5], [5, 5], [9, 9], [9, 9]])
    np.testing.assert_allclose(arrows.data[0, 1], -arrows.data[1, 1])
    np.testing.assert_allclose(points.face_color[0], points.face_color[1], atol=1e-6)


def test_colors_of_angles_are_of_even_lightness_and_close_the_circle() -> None:
    around = cyclic_rgba(np.linspace(0, 1, 181))
    lab = rgb2lab(around[None, :, :3])[0]
    assert np.ptp(lab[:, 0]) < 6  # of 100; those of hsv differ by 65
    np.testing.assert_allclose(around[0], around[-1], atol=1e-6)
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert steps.max() < 2 * steps.min()
    gray = cyclic_rgba([np.nan])[0]
    assert np.ptp(gray[:3]) < 0.1
    np.testing.assert_array_equal(ramp_rgba([np.nan])[0], gray)
    np.testing.assert_array_equal(class_rgba([-1])[0], gray)
    np.testing.assert_array_equal(class_rgba([0]), class_rgba([12]))
