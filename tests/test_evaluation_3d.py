"""Measures of rotations in space and of content: known answers, gauges, symmetries."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_equipose.evaluation import content_scores, geodesic_errors, symmetry_group
from napari_equipose.geometry import InputError


def turns(n: int, seed: int = 0) -> np.ndarray:
    return Rotation.random(n, random_state=seed).as_matrix()


def off_by(n: int, degrees: float, seed: int = 5) -> np.ndarray:
    axes = np.random.default_rng(seed).standard_normal((n, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return Rotation.from_rotvec(np.radians(degrees) * axes).as_matrix()


def test_another_canonical_frame_is_no_error() -> None:
    true = turns(50)
    errors = geodesic_errors(true @ turns(1, 9)[0], true)
    np.testing.assert_allclose(errors.degrees, 0, atol=1e-4)


def test_each_group_has_a_frame_of_its_own() -> None:
    true, group = turns(60), np.repeat(["a", "b"], 30)
    predicted = true.copy()
    predicted[30:] = predicted[30:] @ turns(1, 9)[0]
    assert geodesic_errors(predicted, true, groups=group).median == pytest.approx(0, abs=1e-4)
    assert np.percentile(geodesic_errors(predicted, true).degrees, 90) > 20


def test_turning_the_images_is_an_error() -> None:
    """A rotation from the left is no change of frame."""
    true = turns(200)
    assert geodesic_errors(turns(1, 9)[0] @ true, true).median > 20


@pytest.mark.parametrize("degrees", [1.0, 8.0, 40.0])
def test_median_is_the_angle_they_are_off(degrees: float) -> None:
    true = turns(300)
    errors = geodesic_errors(off_by(300, degrees) @ true @ turns(1, 9)[0], true)
    assert errors.median == pytest.approx(degrees, rel=0.05)
    assert errors.degrees.shape == (300,)


def test_few_good_ones_among_guesses_are_found() -> None:
    true = turns(200)
    predicted = turns(200, 3)
    predicted[:110] = true[:110] @ turns(1, 9)[0]
    assert geodesic_errors(predicted, true).degrees[:110].max() < 3


def test_guesses_are_far_off() -> None:
    errors = geodesic_errors(turns(400, 1), turns(400, 2))
    assert 100 < errors.median < 127


@pytest.mark.parametrize("symmetry", ["C1", "C7", "D2", "D7", "T", "O", "I"])
def test_equivalent_rotations_are_no_error(symmetry: str) -> None:
    true = turns(80)
    alike = symmetry_group(symmetry)
    chosen = alike.as_matrix()[np.random.default_rng(0).integers(len(alike), size=80)]
    chosen = chosen[:, ::-1, ::-1]  # on (z, y, x), as the poses
    predicted = true @ chosen @ turns(1, 9)[0]
    assert geodesic_errors(predicted, true, symmetry).median == pytest.approx(0, abs=1e-4)
    if symmetry != "C1":
        assert geodesic_errors(predicted, true).degrees.max() > 30


def test_axis_of_symmetry_is_z() -> None:
    half = Rotation.from_euler("z", 180, degrees=True).as_matrix()[::-1, ::-1]
    true, half_the_time = turns(40), np.arange(40) % 2 == 0
    predicted = np.where(half_the_time[:, None, None], true @ half, true)
    assert geodesic_errors(predicted, true, "C2").degrees.max() < 1e-3
    tilted = Rotation.from_euler("x", 180, degrees=True).as_matrix()[::-1, ::-1]
    predicted = np.where(half_the_time[:, None, None], true @ tilted, true)
    assert geodesic_errors(predicted, true, "C2").degrees.max() > 60


@pytest.mark.parametrize("name", ["C0", "K3", "", "D"])
def test_unknown_symmetry_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="a symmetry is C1, C2"):
        symmetry_group(name)


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"two \(n, 3, 3\)"):
        geodesic_errors(turns(3), turns(4))
    with pytest.raises(InputError, match="needs a group"):
        geodesic_errors(turns(3), turns(3), groups=[0, 1])


def test_content_that_is_the_class_scores_one() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 50)
    content = labels[:, None] + 0.05 * rng.standard_normal((200, 1))
    noise = rng.standard_normal((200, 3))
    scores = content_scores(content, labels, noise)
    assert scores.predictability == pytest.approx(1.0, abs=0.01)
    assert scores.by_latent.shape == (4,) and scores.by_latent[1:].max() < 0.4
    assert scores.sap == pytest.approx(scores.by_latent[0] - scores.by_latent[1:].max())


def test_pose_that_tells_the_class_costs_sap() -> None:
    labels = np.repeat(np.arange(2), 40)
    latent = labels[:, None] + 0.1 * np.random.default_rng(0).standard_normal((80, 1))
    assert content_scores(latent, labels, latent).sap == pytest.approx(0, abs=0.03)


def test_no_object_votes_for_itself() -> None:
    rng = np.random.default_rng(0)
    scores = content_scores(rng.standard_normal((300, 1)), rng.integers(3, size=300), neighbours=1)
    assert scores.predictability < 0.45  # 1.0 if they did


def test_classes_may_need_two_dimensions() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(2, size=(200, 2))
    content = corners + 0.05 * rng.standard_normal((200, 2))
    scores = content_scores(content, corners[:, 0] ^ corners[:, 1])
    assert scores.predictability > 0.99 > 0.8 > scores.by_latent.max()


def test_too_few_of_a_class_are_refused() -> None:
    with pytest.raises(InputError, match="each of 5 objects or more, got \\[9, 1\\]"):
        content_scores(np.zeros((10, 1)), [0] * 9 + [1])
    with pytest.raises(InputError, match="content must be"):
        content_scores(np.zeros((10, 1)), [0] * 9)
