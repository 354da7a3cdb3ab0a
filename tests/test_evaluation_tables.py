"""Whole tables against the truth: known answers, and bad answers that get bad marks."""

from math import pi

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from napari_equipose._image_names import image_keys
from napari_equipose.evaluation import (
    MEASURES,
    elbo_per_pixel,
    evaluate_tables,
    factor_correlation,
    label_accuracy,
    reconstruct,
    reconstruction_error,
    turning_rmse,
)
from napari_equipose.geometry import InputError, Poses, apply_poses
from napari_equipose.io import pick_table, pose_table
from napari_equipose.models import LossTerms, Posterior

N = 300


def stack(seed: int = 0) -> tuple[pd.DataFrame, np.random.Generator]:
    """True poses, classes and a factor of an imagined stack."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"index": np.arange(N)})
    table[["translation_y", "translation_x"]] = rng.normal(0, 5, (N, 2))
    table["rotation"] = rng.uniform(-180, 180, N)
    table["class"] = np.repeat([0, 1, 2], N // 3)
    table["hinge_deg"] = rng.uniform(0, 40, N)
    return table, rng


def answer(truth: pd.DataFrame, turn: np.ndarray, content: np.ndarray) -> pd.DataFrame:
    shifts = truth[["translation_y", "translation_x"]].to_numpy()
    return pose_table(np.radians(truth["rotation"]) + turn, shifts, content=content)


# -- rotations of one image -------------------------------------------------------------------


def test_rotations_that_follow_have_no_error_whatever_the_frame() -> None:
    turned = np.linspace(0, 2 * pi, 160, endpoint=False)
    frame = np.array([0.3, -2.0, 3.1])
    found = (frame[:, None] + turned + pi) % (2 * pi) - pi
    np.testing.assert_allclose(turning_rmse(found, turned, frame), 0, atol=1e-9)


def test_rmse_is_that_of_the_errors_put_in() -> None:
    turned = np.linspace(0, 2 * pi, 100, endpoint=False)
    error = np.radians(np.where(np.arange(100) < 50, 6.0, 8.0))
    rmse = turning_rmse((turned + error)[None], turned, [0.0])
    assert rmse[0] == pytest.approx(np.sqrt((36 + 64) / 2))


def test_half_turns_and_guesses_have_large_errors() -> None:
    turned = np.linspace(0, 2 * pi, 1000, endpoint=False)
    half = turned + pi * (np.arange(1000) % 2)
    assert turning_rmse(half[None], turned, [0.0])[0] == pytest.approx(180 / np.sqrt(2))
    told_nothing = turning_rmse(np.ones((1, 1000)), turned, [1.0])[0]
    assert told_nothing == pytest.approx(180 / np.sqrt(3), rel=0.01)


def test_turns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="unturned"):
        turning_rmse(np.zeros((2, 5)), np.zeros(4), np.zeros(2))


# -- content ----------------------------------------------------------------------------------


def test_a_factor_is_found_in_the_dimension_that_tells_it() -> None:
    rng = np.random.default_rng(0)
    factor = rng.uniform(size=1000)
    content = np.stack([rng.normal(size=1000), 2 - 3 * factor, np.ones(1000)], 1)
    noise, told, constant = factor_correlation(content, factor)
    assert abs(noise) < 0.1
    assert told == pytest.approx(-1)
    assert constant == 0
    with pytest.raises(InputError, match="same for all"):
        factor_correlation(content, np.ones(1000))


def test_classes_are_named_as_fits_best() -> None:
    labels = np.array(["a"] * 6 + ["b"] * 4)
    assert label_accuracy([5] * 6 + [2] * 4, labels) == 1
    assert label_accuracy([5] * 5 + [2] * 5, labels) == pytest.approx(0.9)
    assert label_accuracy(np.arange(10), labels) == pytest.approx(0.2)
    with pytest.raises(InputError, match="classes"):
        label_accuracy([1, 2], labels)


# -- what a model draws -----------------------------------------------------------------------


class Copier:
    """A model of one picture that knows every pose, or takes it from another image."""

    def __init__(self, picture: Tensor, poses: Poses, contrast: float) -> None:
        self.picture, self.poses, self.contrast = picture, poses, contrast

    def infer(self, images: Tensor) -> Posterior:
        n = len(images)
        gain = torch.full((n,), self.contrast)
        content = torch.zeros(n, 1)
        return Posterior(self.poses, content, content, contrast=gain, brightness=gain - 1)

    def generate(self, content: Tensor, poses: Poses | None = None) -> Tensor:
        still = self.picture.expand(len(content), 1, *self.picture.shape)
        return still if poses is None else apply_poses(still, poses)

    def loss(self, images: Tensor) -> LossTerms:
        total = images.flatten(1).sum(1).mean() + 0 * torch.randn(())
        return LossTerms(total, {"reconstruction": total})


def test_reconstruction_error_is_that_of_the_poses() -> None:
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(15, 15, generator=generator)
    poses = Poses(torch.rand(4, generator=generator), torch.rand(4, 2, generator=generator))
    model = Copier(picture, poses, 2.0)
    images = 2 * model.generate(torch.zeros(4, 1), poses) + 1
    assert reconstruction_error(reconstruct(model, images), images) < 1e-12
    model.poses = Poses(poses.rotation + 2, poses.translation)
    assert reconstruction_error(reconstruct(model, images), images) > 0.1


def test_reconstruction_error_by_hand() -> None:
    drawn, true = torch.tensor([[0.5, 0.25]]), torch.tensor([[1.0, 0.0]])
    assert reconstruction_error(drawn, true) == pytest.approx((0.25 + 0.0625) / 2)
    nats = -(np.log(0.5) + np.log(0.75)) / 2
    assert reconstruction_error(drawn, true, "cross-entropy") == pytest.approx(nats)
    with pytest.raises(InputError, match="between 0 and 1"):
        reconstruction_error(3 * drawn, true, "cross-entropy")
    with pytest.raises(InputError, match="one shape"):
        reconstruction_error(drawn[:, :1], true)


def test_bound_is_of_a_pixel_over_unequal_batches() -> None:
    images = torch.arange(130.0).reshape(130, 1, 1, 1).expand(130, 1, 2, 3)
    model = Copier(torch.zeros(2, 3), Poses(torch.zeros(1), torch.zeros(1, 2)), 1.0)
    state = torch.get_rng_state()
    assert elbo_per_pixel(model, images) == pytest.approx(-np.arange(130).mean())
    assert torch.equal(state, torch.get_rng_state())
    with pytest.raises(InputError, match="no images"):
        elbo_per_pixel(model, images[:0])


# -- tables of poses --------------------------------------------------------------------------


def test_right_answers_in_another_frame_score_all() -> None:
    truth, _ = stack()
    frame = np.array([0.5, -1.0, 2.5])[truth["class"]]
    content = np.stack([truth["class"] * 5.0, truth["hinge_deg"]], 1)
    found = answer(truth, frame, content).sample(frac=1, random_state=0)
    found["class"] = np.array([7, 3, 1])[truth["class"].to_numpy()[found["index"]]]
    result = evaluate_tables(found, truth)
    for axis in "yx":
        assert result[f"translation_correlation_{axis}"] == pytest.approx(1)
    assert result["rotation_resultant"] == pytest.approx(1)
    assert result["rotation_error_deg"] == pytest.approx(0, abs=1e-4)
    assert result["rotation_resultant_one_frame"] < 0.5
    assert result["class_accuracy"] == 1
    assert result["factor_correlation"] == {"hinge_deg": pytest.approx(1)}
    assert result["predictability"] > 0.95
    assert (result["n"], result["n_truth"], result["kind"]) == (N, N, "poses")
    assert set(result["not_measured"]) == set(MEASURES) - set(result)


def test_guesses_score_next_to_nothing() -> None:
    truth, rng = stack()
    found = pose_table(
        rng.uniform(-pi, pi, N), rng.normal(0, 5, (N, 2)), content=rng.normal(size=(N, 2))
    )
    found["class"] = rng.integers(0, 3, N)
    result = evaluate_tables(found, truth)
    assert max(abs(result[f"translation_correlation_{axis}"]) for axis in "yx") < 0.15
    assert result["rotation_resultant"] < 0.2
    assert result["rotation_error_deg"] > 70
    assert result["clustering_accuracy"] < 0.45
    assert result["class_accuracy"] < 0.45
    assert result["predictability"] < 0.45
    assert result["sap"] < 0.1
    assert result["factor_correlation"]["hinge_deg"] < 0.15


def test_symmetry_is_forgiven_only_where_asked() -> None:
    truth, rng = stack()
    found = answer(truth, 2 * pi / 7 * rng.integers(0, 7, N), np.zeros((N, 1)))
    assert evaluate_tables(found, truth)["rotation_error_deg"] > 40
    assert evaluate_tables(found, truth, symmetry="C7")["rotation_error_deg"] < 1e-3
    reason = evaluate_tables(found, truth, symmetry="T")["not_measured"]["rotation_error_deg"]
    assert "no symmetry of images" in reason


def test_what_a_table_lacks_is_said() -> None:
    truth, _ = stack()
    found = answer(truth, np.zeros(N), np.zeros((N, 1))).drop(columns=["content_0", "rotation"])
    result = evaluate_tables(found, truth.drop(columns="class"))
    reasons = result["not_measured"]
    assert reasons["clustering_accuracy"] == "TABLE has no column content_0"
    assert reasons["rotation_error_deg"] == "TABLE has no rotation"
    assert reasons["class_accuracy"] == "TABLE has no class"
    assert reasons["f1"] == "TABLE is of poses, not of picks"
    assert result["translation_correlation_y"] == pytest.approx(1)


def test_what_is_no_number_is_not_measured() -> None:
    truth, _ = stack()
    found = answer(truth, np.zeros(N), truth[["hinge_deg"]].to_numpy()).assign(scale=-1.0)
    found.loc[3, "translation_y"], found.loc[5, "rotation"] = np.inf, np.nan
    result = evaluate_tables(found, truth.assign(scale=2.0 + truth["hinge_deg"]))
    reasons = result["not_measured"]
    assert reasons["translation_correlation_y"] == (
        "TABLE has empty or infinite cells in translation_y, one in row 4"
    )
    assert "empty" in reasons["rotation_error_deg"] and "row 6" in reasons["rotation_error_deg"]
    assert reasons["scale_correlation"] == "scale must be positive"
    assert np.isfinite([v for v in result.values() if isinstance(v, float)]).all()


def test_rotations_in_space_are_judged_modulo_symmetry_and_frame() -> None:
    rng = np.random.default_rng(0)
    true = Rotation.random(N, random_state=0).as_matrix()
    frame = Rotation.random(random_state=9).as_matrix()
    about_z = np.outer(rng.integers(0, 4, N), [pi / 2, 0, 0])  # of (z, y, x)
    turns = Rotation.from_rotvec(about_z).as_matrix()
    truth = pose_table(true, rng.normal(size=(N, 3)))
    found = pose_table(true @ turns @ frame, truth.filter(like="translation").to_numpy())
    result = evaluate_tables(found, truth, symmetry="C4")
    assert result["dimensions"] == 3
    assert result["angular_error_deg"] == pytest.approx(0, abs=1e-3)
    assert result["translation_correlation_z"] == pytest.approx(1)
    assert evaluate_tables(found, truth)["angular_error_deg"] > 20
    assert "rotation_resultant" in result["not_measured"]


def test_tables_of_other_simulators_are_understood() -> None:
    truth, _ = stack()
    found = answer(truth, np.full(N, 1.0), truth[["hinge_deg"]].to_numpy())
    theirs = pd.DataFrame({"id": truth["index"], "theta_rad": -np.radians(truth["rotation"])})
    theirs["shift_x_px"], theirs["shift_y_px"] = truth["translation_x"], truth["translation_y"]
    theirs["hinge_deg"] = truth["hinge_deg"]
    result = evaluate_tables(found, theirs)
    assert result["rotation_resultant_one_frame"] == pytest.approx(1)
    assert result["translation_correlation_y"] == pytest.approx(1)
    assert list(result["factor_correlation"]) == ["hinge_deg"]
    mirrored = theirs.assign(theta_rad=-theirs["theta_rad"])
    assert evaluate_tables(found, mirrored)["rotation_resultant_one_frame"] < 0.2


# -- tables of picks --------------------------------------------------------------------------


def scene(image: str, seed: int, rotation: np.ndarray | None = None) -> pd.DataFrame:
    places = 40.0 * np.stack(np.divmod(np.arange(25), 5), 1)
    turns = np.random.default_rng(seed).uniform(-pi, pi, 25) if rotation is None else rotation
    return pick_table(image, places, turns, np.ones(25))


def test_picks_are_matched_image_by_image() -> None:
    truth = pd.concat([scene("a.mrc", 0), scene("b.mrc", 1)])
    found = pd.concat([scene("/data/b.mrc", 1), scene("/data/a.mrc", 0)])
    result = evaluate_tables(found, truth, tolerance=5)
    assert (result["f1"], result["matched"], result["tolerance"]) == (1, 50, 5)
    assert result["rotation_error_deg"] == pytest.approx(0, abs=1e-6)
    assert evaluate_tables(scene("c.mrc", 1), truth, tolerance=5)["f1"] == 0


def test_false_picks_lower_what_they_should() -> None:
    truth = scene("a", 0)[["y", "x"]]
    found = pd.concat([scene("a", 0), scene("a", 1).assign(y=1000.0, score=0.5)])
    found["y"] += 3
    result = evaluate_tables(found, truth, tolerance=4)
    assert (result["precision"], result["recall"]) == (0.5, 1)
    assert (result["best_f1"], result["best_f1_threshold"]) == (1, 1)
    assert result["average_precision"] == 1
    assert result["position_error_px"] == pytest.approx(3)
    missed = evaluate_tables(found, truth, tolerance=2)
    assert missed["f1"] == missed["best_f1"] == 0
    assert missed["not_measured"]["rotation_error_deg"] == "no pick is near an object"
    unscored = evaluate_tables(found.drop(columns="score"), truth, tolerance=4)
    assert unscored["not_measured"]["average_precision"] == "TABLE has no score"


def test_picks_in_space_are_judged_by_their_angles() -> None:
    places = 30.0 * np.random.default_rng(0).permutation(60).reshape(20, 3)
    turns = Rotation.random(20, random_state=0).as_matrix()
    truth = pick_table("t", places, turns)
    found = pick_table("t", places + 1, turns @ Rotation.random(random_state=1).as_matrix())
    result = evaluate_tables(found, truth)
    assert result["f1"] == 1
    assert result["angular_error_deg"] == pytest.approx(0, abs=1e-3)
    guessed = pick_table("t", places, Rotation.random(20, random_state=3).as_matrix())
    assert evaluate_tables(guessed, truth)["angular_error_deg"] > 40


# -- refusals ---------------------------------------------------------------------------------


def test_tables_that_do_not_belong_together_are_refused() -> None:
    truth, _ = stack()
    found = answer(truth, np.zeros(N), np.zeros((N, 1)))
    with pytest.raises(InputError, match="300 rows and TRUTH has 299"):
        evaluate_tables(found, truth.iloc[1:])
    with pytest.raises(InputError, match="different indices"):
        evaluate_tables(found, truth.assign(index=truth["index"] + 1))
    with pytest.raises(InputError, match="every index once"):
        evaluate_tables(found.assign(index=0), truth)
    with pytest.raises(InputError, match="symmetry"):
        evaluate_tables(found, truth, symmetry="Q3")
    with pytest.raises(InputError, match="at least 0, got nan"):
        evaluate_tables(found, truth, tolerance=float("nan"))
    with pytest.raises(InputError, match="column rotation"):
        evaluate_tables(found, truth.assign(rotation="up"))
    with pytest.raises(InputError, match="nothing in common"):
        evaluate_tables(found[["index", "score"]], truth)
    with pytest.raises(InputError, match="no column y and no x"):
        evaluate_tables(scene("a", 0), truth)
    with pytest.raises(InputError, match="TRUTH of volumes"):
        evaluate_tables(found, truth.assign(translation_z=0.0))


@pytest.mark.parametrize(
    ("found", "truth", "pairs"),
    [
        (["a.mrc", "b.mrc"], ["/x/b.tif", "/y/a"], {"a.mrc": "/y/a", "b.mrc": "/x/b.tif"}),
        (["A/a.mrc", "B/a.mrc"], ["B/a.mrc"], {"B/a.mrc": "B/a.mrc"}),
        (["A\\a.mrc", "B\\a.mrc"], ["./A/a.mrc"], {"A\\a.mrc": "./A/a.mrc"}),
        (["A/x/a", "B/x/a"], ["q/B/x/a", "q/A/x/a"], {"A/x/a": "q/A/x/a", "B/x/a": "q/B/x/a"}),
        (["A/a.mrc", "A/a.tif"], ["A/a.tif"], {"A/a.tif": "A/a.tif"}),
        (["./A/a", "A/a", "B/a"], ["A/a"], {"./A/a": "A/a", "A/a": "A/a"}),
        (["A/a", "B/a"], ["C/a"], {}),
        ([".mrc", "c"], ["c", ""], {"c": "c"}),
    ],
)
def test_names_mean_one_image_by_what_tells_images_apart(
    found: list[str], truth: list[str], pairs: dict[str, str]
) -> None:
    mine, theirs = image_keys(found, truth)
    assert {a: b for a in mine for b in theirs if mine[a] == theirs[b]} == pairs


def test_a_pick_or_an_object_without_a_place_is_told_by_its_row() -> None:
    truth = pd.DataFrame({"image": "a", "y": [1.0, 2.0, np.nan], "x": 1.0})
    found = pd.DataFrame({"image": "a", "y": [1.0], "x": [1.0], "score": [0.5]})
    with pytest.raises(InputError, match=r"TRUTH, row 3 of 3: no place \(y, x"):
        evaluate_tables(found, truth)
    with pytest.raises(InputError, match="TABLE, row 3 of 3"):
        evaluate_tables(truth, found)
