"""``equipose evaluate``: from files to numbers, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation
from test_cli import refuse, run, succeed

from napari_equipose.evaluation import MEASURES
from napari_equipose.io import pick_table, pose_table, read_stack, write_mrc, write_table

N = 40


@pytest.fixture
def poses(tmp_path: Path) -> Path:
    """A folder with true poses, and the same in another frame as CSV and STAR."""
    rng = np.random.default_rng(0)
    turn, shift = rng.uniform(-np.pi, np.pi, N), rng.normal(0, 3, (N, 2))
    truth = pose_table(turn, shift)
    truth["class"], truth["opening"] = np.arange(N) % 4, rng.uniform(size=N)
    truth.drop(columns="score").to_csv(tmp_path / "truth.csv", index=False)
    found = pose_table(turn + 1, shift, np.ones(N), content=truth[["opening"]])
    write_table(tmp_path / "found.csv", found)
    write_mrc(tmp_path / "stack.mrcs", rng.normal(size=(N, 8, 8)).astype(np.float32), 2.5)
    write_table(tmp_path / "found.star", found, stack=read_stack(tmp_path / "stack.mrcs"))
    return tmp_path


@pytest.mark.parametrize("suffix", [".csv", ".star"])
def test_poses_are_measured_from_files(poses: Path, suffix: str) -> None:
    result = succeed("evaluate", poses / f"found{suffix}", poses / "truth.csv", "--json")
    values = json.loads(result.stdout)
    assert values["translation_correlation_x"] == pytest.approx(1)
    assert values["rotation_error_deg_one_frame"] == pytest.approx(0, abs=1e-3)
    assert ("factor_correlation" in values) == (suffix == ".csv")  # content is in CSV only
    assert result.stderr == ""
    assert set(MEASURES) == (set(values) & set(MEASURES)) | set(values["not_measured"])


def test_a_person_gets_a_table_with_reasons_beside_the_json(poses: Path) -> None:
    result = succeed("evaluate", poses / "found.csv", poses / "truth.csv")
    lines = result.stderr.splitlines()
    assert lines[0] == f"{N} poses against {N} true ones"
    assert any(line.startswith("translation_correlation_y") and " 1 " in line for line in lines)
    assert any("TABLE is of poses, not of picks" in line for line in lines)
    assert json.loads(result.stdout)["n"] == N


def test_picks_are_measured_within_the_tolerance(tmp_path: Path) -> None:
    places = 50.0 * np.stack(np.divmod(np.arange(25), 5), 1)
    truth = pick_table("a.mrc", places)[["image", "y", "x"]]
    truth.to_csv(tmp_path / "truth.csv", index=False)
    write_table(tmp_path / "found.star", pick_table("a.mrc", places + 3, score=np.ones(25)))
    pair = (tmp_path / "found.star", tmp_path / "truth.csv")
    near = json.loads(succeed("evaluate", *pair, "--tolerance", 5).stdout)
    far = json.loads(succeed("evaluate", *pair, "--tolerance", 2).stdout)
    assert (near["f1"], near["average_precision"], near["matched"]) == (1, 1, 25)
    assert near["position_error_px"] == pytest.approx(3 * 2**0.5)
    assert (far["f1"], far["average_precision"], far["matched"]) == (0, 0, 0)


def test_symmetry_of_volumes_is_taken_out(tmp_path: Path) -> None:
    turns = Rotation.random(N, random_state=0).as_matrix()
    sevenths = np.outer(np.arange(N) % 7, [2 * np.pi / 7, 0, 0])
    truth = pose_table(turns, np.zeros((N, 3)))
    truth.to_csv(tmp_path / "truth.csv", index=False)
    found = pose_table(turns @ Rotation.from_rotvec(sevenths).as_matrix(), np.zeros((N, 3)))
    write_table(tmp_path / "found.csv", found)
    pair = (tmp_path / "found.csv", tmp_path / "truth.csv")
    error = {
        name: json.loads(succeed("evaluate", *pair, "--symmetry", name).stdout)["angular_error_deg"]
        for name in ("C1", "C7")
    }
    assert error["C7"] < 0.01
    assert error["C1"] > 20


def test_mistakes_are_told_in_a_line(poses: Path) -> None:
    found, truth = poses / "found.csv", poses / "truth.csv"
    table = pd.read_csv(truth)
    table[1:].to_csv(poses / "short.csv", index=False)
    table[["opening"]].rename(columns={"opening": "a"}).to_csv(poses / "other.csv", index=False)
    (poses / "note.txt").write_text("hello")
    assert f"{N} rows and TRUTH has {N - 1}" in refuse("evaluate", found, poses / "short.csv")
    words = poses / "words.csv"
    table.assign(rotation=["north", *table["rotation"][1:]]).to_csv(words, index=False)
    said = refuse("evaluate", found, words)
    assert "TRUTH, row 1, column rotation: 'north' is no number" in said and str(words) in said
    (poses / "text.csv").write_text("dear reader\nthis is no table\n")
    said = refuse("evaluate", poses / "text.csv", truth)
    assert "its columns are dear reader" in said and "text.csv" in said
    assert "nothing in common" in refuse("evaluate", poses / "other.csv", poses / "other.csv")
    assert "does not exist" in refuse("evaluate", found, poses / "none.csv")
    assert "note.txt" in refuse("evaluate", found, poses / "note.txt")
    assert "'Q7'" in refuse("evaluate", found, truth, "--symmetry", "Q7")


def test_help_lists_the_keys() -> None:
    text = run("evaluate", "--help").output
    assert all(name in text for name in [*MEASURES, "not_measured"])


def test_images_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    places = np.random.default_rng(0).uniform(0, 1000, (2, 30, 2))
    found, truth, swapped, bare = (tmp_path / f"{name}.csv" for name in "ftsb")

    def write(path: Path, *names: str) -> None:
        both = zip(names, places, strict=True)
        pd.concat([pick_table(*pair) for pair in both]).to_csv(path, index=False)

    write(found, "A/mic1.mrc", "B/mic1.mrc")
    write(truth, "/data/A/mic1.tif", "/data/B/mic1.tif")
    write(swapped, "/data/B/mic1.mrc", "/data/A/mic1.mrc")
    write(bare, "mic1.mrc", "other/mic1.mrc")
    assert json.loads(succeed("evaluate", found, truth).stdout)["f1"] == 1
    assert json.loads(succeed("evaluate", found, swapped).stdout)["f1"] < 0.2
    said = refuse("evaluate", found, bare)
    assert "'mic1.mrc' of one table may be 'A/mic1.mrc' or 'B/mic1.mrc'" in said
