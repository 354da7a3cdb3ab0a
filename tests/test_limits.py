"""Numbers without bound are refused at once, wherever a person can give them."""

import json
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
from typer.testing import CliRunner

from napari_equipose.cli import app
from napari_equipose.evaluation import best_f1, match_picks
from napari_equipose.geometry import InputError, check_limits, symmetry_group
from napari_equipose.inference import RefinementConfig, cluster
from napari_equipose.io import pose_table
from napari_equipose.models import Normalisation, TargetVAE, build_model, save_model
from napari_equipose.simulation import DensityMap, SubtomogramConfig, simulate_subtomograms
from napari_equipose.training import TrainingRun, read_run


@pytest.mark.parametrize("name", ["C99999999", "D99999999", "C100000", "C121", "C" + "9" * 5000])
def test_symmetries_of_endless_order_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="at most 120 rotations"):
        symmetry_group(name)


@pytest.mark.parametrize("name", ["", "C", "C0", "C-2", "C1.5", "E7", "C٣", "TT"])
def test_what_is_no_symmetry_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="a symmetry is"):
        symmetry_group(name)


@pytest.mark.parametrize(("name", "order"), [("c1", 1), ("C120", 120), ("D7", 14), ("I", 60)])
def test_symmetries_that_objects_have_are_found(name: str, order: int) -> None:
    assert len(symmetry_group(name)) == order


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"content_dim": 100_000}, "content_dim must be at most 1000, got 100000"),
        ({"epochs": 10**9}, "epochs must be at most"),
        ({"minutes": float("inf")}, "minutes must be a finite number"),
        ({"minutes": float("nan")}, "minutes must be a finite number"),
        ({"box_size": 10**6}, "box_size must be at most 4096"),
        ({"seed": -1}, "seed must not be negative"),
        ({"seed": 10**400}, "a number beyond 1e30"),
        ({"threads": 10**6}, "threads must be at most"),
        ({"settings": {"batch_size": "1e9"}}, "batch_size must be at most"),
        ({"settings": {"content_dim": 10**5}}, "content_dim must be at most"),
        ({"settings": {"fields": 10**6}}, "fields must be at most"),
        ({"settings": {"steps_per_epoch": 10**12}}, "steps_per_epoch must be at most"),
        ({"settings": {"noise_std": "nan"}}, "noise_std must be a finite number"),
    ],
)
def test_a_run_refuses_numbers_without_bound(
    values: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        TrainingRun(**values)  # type: ignore[arg-type]
    (tmp_path / "run.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match=f"run.json: .*{said}"):
        read_run(tmp_path / "run.json")


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (lambda: cluster(np.zeros((5000, 2)), 2000), "classes must be at most"),
        (lambda: RefinementConfig(iterations=10**9), "iterations must be at most"),
        (lambda: RefinementConfig(max_shift=1e9), "max_shift must be at most"),
        (lambda: SubtomogramConfig(n=10**9), "n must be at most"),
        (
            lambda: simulate_subtomograms(
                [DensityMap(np.ones((8, 8, 8)), 12.0)],
                np.random.default_rng(0),
                SubtomogramConfig(n=10**6, box_size=512),
            ),
            "boxes of 1000000 x 512 x 512 x 512 voxels",
        ),
        (
            lambda: build_model("vae", {"box_size": 4096, "encoder_width": 65_536}),
            "million numbers, more than",
        ),
        (
            lambda: build_model(
                "target-vae", {"box_size": 4096, "fields": 65_536, "generator_width": 65_536}
            ),
            "million numbers, more than",
        ),
        (
            lambda: match_picks(np.zeros((6000, 2)), np.zeros((6000, 2)), 1e6),
            "smaller than the objects",
        ),
    ],
)
def test_work_without_bound_is_refused_before_it_is_begun(
    refused: Callable[[], object], said: str
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=said):
        refused()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


def test_a_wide_tolerance_is_no_matter_for_few_objects() -> None:
    places = np.random.default_rng(0).random((300, 2)) * 4000
    assert best_f1(places, np.ones(300), places, 1e5).f1 == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("evaluate t.csv t.csv --symmetry C99999999", "at most 120 rotations"),
        ("train s.npy -o m.safetensors --content-dim 100000", "content_dim must be at most"),
        ("train s.npy -o m.safetensors --epochs 999999999999", "epochs must be at most"),
        ("train s.npy -o m.safetensors --seed -1", "seed must not be negative"),
        ("encode m.safetensors s.npy -o e.csv --seed -1", "--seed"),
        ("encode m.safetensors s.npy -o e.csv --classes 99999999999999999999", "classes must be"),
        ("encode m.safetensors s.npy -o e.csv --classes ٣", "--classes must be a number"),
        ("detect m.safetensors s.npy -o e.csv --threshold nan", "threshold must be a finite"),
        ("demo -o d --minutes inf", "minutes must be a finite number"),
        ("simulate tomogram m.mrc -o d --n 999999999", "n must be at most"),
    ],
)
def test_commands_refuse_numbers_without_bound(
    command: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(Path("m.safetensors"), TargetVAE(tiny.MODEL), Normalisation())
    np.save("s.npy", np.random.default_rng(0).random((12, 16, 16)))
    pd.DataFrame(pose_table(np.zeros(5), np.zeros((5, 2)))).to_csv("t.csv", index=False)
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 2 and said in result.stderr.splitlines()[-1]


def test_numbers_within_bounds_and_what_is_no_number_pass() -> None:
    check_limits({"epochs": 500, "minutes": None, "preset": "fast", "ctf": True, "gamma": 1e9})
