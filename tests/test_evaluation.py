"""The measures give known answers, and bad answers get bad marks."""

from math import pi

import numpy as np
import pytest

from napari_equipose.evaluation import (
    average_precision,
    best_f1,
    circular_correlation,
    clustering_accuracy,
    gauge_free_errors,
    match_picks,
    objects_from_masks,
    pick_scores,
    rotation_resultant,
    translation_correlation,
)
from napari_equipose.geometry import InputError

# -- picks -----------------------------------------------------------------------------------


def test_one_pick_stands_for_one_object() -> None:
    truth = [[0.0, 0.0], [50.0, 50.0]]
    scores = pick_scores([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0]], truth, tolerance=5)
    assert scores.precision == pytest.approx(1 / 3)
    assert scores.recall == pytest.approx(1 / 2)
    assert scores.f1 == pytest.approx(2 / 5)


def test_matching_prefers_more_pairs_to_closer_pairs() -> None:
    # The pick at 3 is nearest to the object at 4, but the other pick reaches no other object.
    matches = match_picks([[0.0, 3.0], [0.0, 7.0]], [[0.0, 0.0], [0.0, 4.0]], tolerance=3.5)
    assert matches.found.tolist() == [0, 1]
    assert matches.truth.tolist() == [0, 1]
    np.testing.assert_allclose(matches.distance, [3, 3])


def test_of_equally_many_pairs_the_closest_are_matched() -> None:
    matches = match_picks([[0.0, 1.0], [0.0, 9.0]], [[0.0, 10.0], [0.0, 0.0]], tolerance=20)
    assert matches.truth.tolist() == [1, 0]


def test_pixels_are_told_apart_by_their_fractions() -> None:
    assert match_picks([[0.0, 9.8], [0.0, 9.5]], [[0.0, 0.0]], tolerance=10).found.tolist() == [1]


def test_tolerance_counts_its_own_distance() -> None:
    assert len(match_picks([[0.0, 4.0]], [[0.0, 0.0]], tolerance=4).found) == 1
    assert len(match_picks([[0.0, 4.01]], [[0.0, 0.0]], tolerance=4).found) == 0


def test_picks_elsewhere_score_nothing() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 1000, (50, 2))
    elsewhere, score = truth + 5000, rng.uniform(size=50)
    assert pick_scores(elsewhere, truth, 10) == (0, 0, 0, -np.inf)
    assert best_f1(elsewhere, score, truth, 10).f1 == 0
    assert average_precision(elsewhere, score, truth, 10) == 0


def test_no_picks_score_nothing() -> None:
    none = np.empty((0, 2))
    assert pick_scores(none, [[1.0, 2.0]], 5).f1 == 0
    assert best_f1(none, [], [[1.0, 2.0]], 5).f1 == 0
    assert average_precision(none, [], [[1.0, 2.0]], 5) == 0


def test_best_f1_finds_the_threshold_between_true_and_false() -> None:
    truth = np.arange(20.0)[:, None] * np.array([30, 0])
    found = np.concatenate([truth[:18], truth + 500])
    score = np.concatenate([np.linspace(2, 3, 18), np.linspace(0, 1, 20)])
    best = best_f1(found, score, truth, tolerance=3)
    assert best.f1 == pytest.approx(2 * 18 / (18 + 20))
    assert best.threshold == pytest.approx(2)


def test_best_f1_agrees_with_scoring_every_threshold() -> None:
    rng = np.random.default_rng(1)
    truth, found = rng.uniform(0, 100, (40, 2)), rng.uniform(0, 100, (60, 2))
    score = rng.integers(0, 15, 60) / 15  # with ties
    every = [pick_scores(found[score >= t], truth, 8).f1 for t in np.unique(score)]
    best = best_f1(found, score, truth, 8)
    assert best.f1 == pytest.approx(max(every))
    assert pick_scores(found[score >= best.threshold], truth, 8).f1 == pytest.approx(best.f1)


def test_average_precision_of_a_textbook_ranking() -> None:
    # hit, miss, hit: precision 1 up to recall 1/2, then 2/3 up to recall 1
    found = [[0.0, 0.0], [0.0, 500.0], [0.0, 100.0]]
    truth = [[0.0, 0.0], [0.0, 100.0]]
    assert average_precision(found, [3, 2, 1], truth, 5) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(found, [1, 3, 2], truth, 5) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("found", "score", "message"),
    [
        ([[1.0, 2.0, 3.0]], [1], "picks and truth"),
        ([[1.0, np.nan]], [1], "finite"),
        ([[1.0, 2.0]], [1, 2], "needs a score"),
    ],
)
def test_picks_that_are_none_are_refused(found: list, score: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        best_f1(found, score, [[0.0, 0.0]], 5)


# -- poses -----------------------------------------------------------------------------------


def test_translation_correlation_is_by_axis() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=(500, 2))
    predicted = np.stack([3 * true[:, 0] + 1, rng.normal(size=500)], axis=1)
    y, x = translation_correlation(predicted, true)
    assert y == pytest.approx(1)
    assert abs(x) < 0.15


def test_a_constant_translation_correlates_with_nothing() -> None:
    true = np.random.default_rng(0).normal(size=(50, 2))
    np.testing.assert_array_equal(translation_correlation(np.ones((50, 2)), true), [0, 0])
    with pytest.raises(InputError, match="constant"):
        translation_correlation(true, np.ones((50, 2)))


def test_each_group_has_a_gauge_of_its_own() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat([3, 7], 200)
    error = np.where(groups == 3, 1.0, -2.0) + rng.normal(0, 0.1, 400)
    together = rotation_resultant(error)
    apart = rotation_resultant(error, groups=groups)
    assert together.overall < 0.2
    assert apart.overall == pytest.approx(np.exp(-(0.1**2) / 2), abs=0.01)
    assert set(apart.by_group) == {3, 7}
    assert gauge_free_errors(error, groups=groups).median == pytest.approx(
        np.degrees(0.1 * 0.6745), rel=0.15
    )


def test_half_turns_are_forgiven_only_where_asked() -> None:
    rng = np.random.default_rng(0)
    error = 0.4 + pi * rng.integers(0, 2, 1000)
    assert rotation_resultant(error).overall < 0.1
    assert rotation_resultant(error, fold=2).overall == pytest.approx(1)
    assert gauge_free_errors(error, fold=2).median == pytest.approx(0, abs=1e-9)
    assert np.ptp(np.abs(gauge_free_errors(error).degrees)) == pytest.approx(180, abs=1)


@pytest.mark.parametrize("fold", [1, 2, 7])
def test_guessed_rotations_score_as_guesses(fold: int) -> None:
    error = np.random.default_rng(0).uniform(-pi, pi, 4000)
    assert rotation_resultant(error, fold).overall < 0.05
    errors = gauge_free_errors(error, fold)
    assert errors.median == pytest.approx(90 / fold, rel=0.1)
    assert np.abs(errors.degrees).max() <= 180 / fold


def test_errors_wrap_at_the_seam() -> None:
    errors = gauge_free_errors([pi - 0.1, -pi + 0.1])
    np.testing.assert_allclose(errors.degrees, np.degrees([-0.1, 0.1]))


def test_circular_correlation_of_narrow_angles_is_near_the_linear_one() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(0, 0.1, 2000)
    b = a + rng.normal(0, 0.1, 2000)
    assert circular_correlation(a, b + 2) == pytest.approx(np.corrcoef(a, b)[0, 1], abs=0.01)
    assert circular_correlation(a, -a) == pytest.approx(-1)
    assert circular_correlation(a, np.ones(2000)) == 0


def test_circular_correlation_of_uniform_angles_is_left_to_chance() -> None:
    # Why it is no criterion here: these predictions are all equally good.
    true = np.linspace(-pi, pi, 1000, endpoint=False)
    measured, lengths = [], []
    for seed in range(20):
        predicted = true + np.random.default_rng(seed).normal(0, 0.05, 1000)
        measured.append(circular_correlation(true, predicted))
        lengths.append(rotation_resultant(predicted - true).overall)
    assert np.ptp(measured) > 1
    assert min(lengths) > 0.99


def test_circular_correlation_for_uniform_angles_needs_no_frame() -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(-pi, pi, 2000)
    noisy = true + rng.normal(0, 0.3, 2000)
    for offset in (0, 1, 3):
        found = circular_correlation(noisy + offset, true, uniform=True)
        assert found == pytest.approx(np.exp(-(0.3**2) / 2), abs=0.03)
    assert circular_correlation(-true, true, uniform=True) < -0.95
    assert abs(circular_correlation(rng.uniform(-pi, pi, 2000), true, uniform=True)) < 0.06
    assert circular_correlation(np.ones(2000), true, uniform=True) == pytest.approx(0)


# -- clusters --------------------------------------------------------------------------------


def test_clusters_are_named_as_fits_best() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([4, 9, 2], 30)
    centres = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    content = np.repeat(centres, 30, axis=0) + rng.normal(0, 0.5, (90, 2))
    assert clustering_accuracy(content, labels) == 1
    labels[:15] = 9  # half of a class is not what it is taken for
    assert clustering_accuracy(content, labels) == pytest.approx(75 / 90)


def test_content_that_says_nothing_clusters_by_chance() -> None:
    rng = np.random.default_rng(0)
    accuracy = clustering_accuracy(rng.normal(size=(1000, 2)), rng.integers(0, 10, 1000))
    assert accuracy < 0.2


def test_more_clusters_than_objects_are_refused() -> None:
    with pytest.raises(InputError, match="clusters"):
        clustering_accuracy(np.zeros((3, 2)), [0, 1, 2], n_clusters=5)


# -- masks -----------------------------------------------------------------------------------


def rod(angle: float, shape: tuple[int, int] = (61, 81), centre: tuple = (30, 40)) -> np.ndarray:
    """Draw a rod 40 by 8 pixels; its axis at rest is +x."""
    y, x = np.indices(shape) - np.array(centre)[:, None, None]
    along = np.cos(angle) * x - np.sin(angle) * y
    across = np.sin(angle) * x + np.cos(angle) * y
    return ((np.abs(along) <= 20) & (np.abs(across) <= 4)).astype(np.uint8)


@pytest.mark.parametrize("degrees", [-80, -45, -10, 0, 30, 45, 60, 89])
def test_angle_of_a_rod_is_counter_clockwise_as_displayed(degrees: float) -> None:
    found = objects_from_masks(rod(np.radians(degrees)))
    assert np.degrees(found.angle[0]) == pytest.approx(degrees, abs=1)
    np.testing.assert_allclose(found.positions, [[30, 40]], atol=1e-9)
    assert not found.touches_border[0]


def test_a_rising_line_has_a_positive_angle() -> None:
    rising = np.eye(9, dtype=np.uint8)[::-1]  # lower left to upper right, y down
    assert objects_from_masks(rising).angle[0] == pytest.approx(pi / 4)


def test_masks_are_told_apart_by_their_values() -> None:
    masks = np.zeros((40, 60), np.uint16)
    masks[10:13, 5:25] = 700
    masks[20:40, 50:54] = 3
    found = objects_from_masks(masks)
    assert found.label.tolist() == [3, 700]
    assert found.area.tolist() == [80, 60]
    np.testing.assert_allclose(found.positions, [[29.5, 51.5], [11, 14.5]])
    assert found.touches_border.tolist() == [True, False]
    assert abs(found.angle[0]) == pytest.approx(pi / 2)


@pytest.mark.parametrize("masks", [np.zeros((5, 5), int), np.ones((5, 5)), np.ones((2, 5, 5), int)])
def test_what_is_no_mask_image_is_refused(masks: np.ndarray) -> None:
    with pytest.raises(InputError, match="masks"):
        objects_from_masks(masks)
