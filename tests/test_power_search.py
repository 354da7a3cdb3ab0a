"""In noise, objects are found by the power that recurs, and ice, dirt and noise are not objects."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from tiny import MODEL, SETTINGS

from napari_equipose.evaluation import match_picks, pick_scores
from napari_equipose.geometry import InputError
from napari_equipose.inference import DetectionConfig, detect, finish
from napari_equipose.inference._power_search import PowerModel, learn_power
from napari_equipose.inference._recurrence import above_chance
from napari_equipose.models import Normalisation, SavedModel, TargetVAE
from napari_equipose.simulation import MicrographConfig, model_structure, simulate_micrograph
from napari_equipose.training import (
    TrainingRun,
    _rounds,
    _wake_sleep,
    create_run,
    propose,
    train_run,
)
from napari_equipose.training._wake_sleep import find_classes

BOX = 52
TOLERANCE = 14.0


def micrograph(structure: str = "ring", **options: Any) -> tuple[NDArray[np.float32], Any]:
    config = {
        "shape": (480, 480), "pixel_size": 4.0, "n": 30, "snr": 0.2, "views": {"side": 1, "top": 6},
        "contaminants": 0, "carbon": 0.0, "ice_balls": 3, "crystals": 1,
    } | options  # fmt: skip
    shape, _ = model_structure(structure)
    made = simulate_micrograph(shape, np.random.default_rng(0), MicrographConfig(**config))
    return made.image, made.truth


def f1(positions: NDArray[np.floating], truth: Any) -> float:
    """Without what ice hides, which may be found or not."""
    hidden = truth.positions[truth.on_contaminant]
    near = match_picks(positions, hidden, TOLERANCE).found if len(hidden) else []
    rest = np.delete(positions, near, axis=0)
    return pick_scores(rest, truth.positions[~truth.on_contaminant], TOLERANCE).f1


@pytest.fixture(scope="module")
def seen() -> tuple[NDArray[np.float32], Any]:
    return micrograph()


@pytest.fixture(scope="module")
def learned(seen: tuple[NDArray[np.float32], Any]) -> PowerModel:
    return learn_power([seen[0]], BOX)[0].model


def test_particles_beside_ice_are_found(seen: tuple[NDArray[np.float32], Any]) -> None:
    image, truth = seen
    found = propose(image, BOX)
    assert found.polarity == "dark"
    assert (np.diff(found.scores) <= 0).all() and np.isnan(found.rotation).all()
    assert f1(found.positions, truth) > 0.85


def test_scale_offset_and_sign_of_the_intensities_do_not_matter(
    seen: tuple[NDArray[np.float32], Any],
) -> None:
    image, _ = seen
    found = propose(image, BOX)
    other = propose(1000 - 30 * image, BOX)
    assert other.polarity == "bright"
    assert pick_scores(other.positions, found.positions, 2.0).f1 > 0.95


@pytest.mark.parametrize("part", ["noise", "one object"])
def test_what_is_there_once_or_never_does_not_recur(part: str) -> None:
    rng = np.random.default_rng(1)
    image = rng.normal(size=(500, 500))
    if part == "one object":
        y, x = np.mgrid[:500, :500]
        image -= 3 * (np.hypot(y - 260, x - 200) < 20)
    assert all(way.recurrences <= 5 for way in learn_power([image], BOX))


def test_the_record_finds_the_same_and_a_damaged_one_is_refused(
    seen: tuple[NDArray[np.float32], Any], learned: PowerModel
) -> None:
    again = PowerModel.from_record(learned.to_record())
    one, other = learned.find(seen[0]), again.find(seen[0])
    assert pick_scores(one.positions[:30], other.positions[:30], 0.5).f1 > 0.9
    np.testing.assert_allclose(one.log_odds[:30], other.log_odds[:30], atol=0.05)
    for broken in ({}, learned.to_record() | {"mean": "x"}):
        with pytest.raises(InputError, match="record of powers is damaged"):
            PowerModel.from_record(broken)


def test_tiles_agree_with_the_whole(
    seen: tuple[NDArray[np.float32], Any], learned: PowerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = learned.find(seen[0])
    monkeypatch.setattr("napari_equipose.inference._scaled_tiles._TILE", 200)
    tiled = learned.find(seen[0])
    likely = whole.positions[whole.log_odds > 0]
    assert pick_scores(tiled.positions[tiled.log_odds > 0], likely, 4.0).f1 > 0.9


def test_a_model_that_knows_powers_finds_objects_by_them(
    seen: tuple[NDArray[np.float32], Any], learned: PowerModel
) -> None:
    image, _ = seen
    config = replace(MODEL, box_size=64, object_size=BOX + 1, translation_range=8, binning=4)
    model = TargetVAE(config).eval()
    record = {"threshold": 0.5, "power": learned.to_record()}
    normalisation = Normalisation(background_sigma=BOX)
    saved = SavedModel(kind="target-vae", model=model, normalisation=normalisation, record=record)
    picks = finish(detect(saved, image))
    assert (np.diff(picks.score) <= 0).all() and (picks.score >= 0.5).all()
    assert picks.content.shape == (len(picks.score), config.content_dim)
    assert np.isfinite(picks.rotation).all()
    few = finish(detect(saved, image, DetectionConfig(threshold=0.99)))
    many = finish(detect(saved, image, DetectionConfig(threshold=0.01)))
    assert len(few.score) <= len(picks.score) <= len(many.score)
    apart = finish(detect(saved, image, DetectionConfig(min_distance=100.0)))
    assert len(apart.score) < len(picks.score)


def test_as_many_are_taken_as_leave_a_tenth_to_chance() -> None:
    chance = np.arange(10.0)
    assert above_chance(np.full(30, 20.0), chance) == 30
    assert above_chance(np.concatenate([np.full(30, 8.5), np.zeros(50)]), chance) == 30
    assert above_chance(np.zeros(5), chance) == 0


@pytest.mark.parametrize("winner", [0, 1])
def test_the_classes_decide_between_blobs_and_power(
    tmp_path: Path, seen: tuple[NDArray[np.float32], Any], monkeypatch, winner: int
) -> None:
    monkeypatch.setattr(_wake_sleep, "_DRAWING_STEPS", 2)
    monkeypatch.setattr(_wake_sleep, "_READING_STEPS", 2)
    tifffile.imwrite(tmp_path / "seen.tif", seen[0])
    counted: list[int] = []

    def judged(config: Any, boxes: Any, training: Any, decoys: Any) -> Any:
        """All boxes in one class, which fits those of the winner better."""
        found = yield from find_classes(config, boxes[:40], training, None)
        counted.append(len(boxes))
        fit = 0.9 if len(counted) - 1 == winner else 0.1
        label = np.zeros(len(found.rows), np.int64)
        return found._replace(
            averages=found.averages[:1], label=label, score=np.full(len(label), fit, np.float32)
        )

    monkeypatch.setattr(_rounds, "find_classes", judged)
    run = TrainingRun(
        images=(str(tmp_path / "seen.tif"),), box_size=BOX, epochs=2, device="cpu",
        settings=SETTINGS,
    )  # fmt: skip
    folder = create_run(tmp_path / "m.safetensors", run)
    saved = finish(train_run(folder.path))
    assert len(counted) == 2
    assert ("power" in saved.record) == (winner == 1)
    if winner == 1:
        assert saved.record["threshold"] == 0.5


def test_where_no_class_is_found_nothing_recurs(
    tmp_path: Path, seen: tuple[NDArray[np.float32], Any], monkeypatch
) -> None:
    def none(*args: Any) -> Any:
        found = yield from find_classes(args[0], args[1][:20], *args[2:])
        return found._replace(averages=found.averages[:0], label=np.full_like(found.label, -1))

    monkeypatch.setattr(_rounds, "find_classes", none)
    tifffile.imwrite(tmp_path / "seen.tif", seen[0])
    run = TrainingRun(images=(str(tmp_path / "seen.tif"),), box_size=BOX, epochs=2, device="cpu")
    with pytest.raises(InputError, match="nothing of that size recurs"):
        finish(train_run(create_run(tmp_path / "m.safetensors", run).path))
    assert not (tmp_path / "m.safetensors").exists()
