"""Objects brought to rest."""

from math import pi

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_equipose.geometry import InputError
from napari_equipose.inference import average, bring_to_rest
from napari_equipose.simulation import rotated_digits


def test_a_quarter_turn_is_undone_to_the_pixel() -> None:
    rest = np.zeros((1, 9, 9), np.float32)
    rest[0, 4, 4:8] = 1  # from the centre to the right
    turned = np.rot90(rest, axes=(1, 2))  # to the top: counter-clockwise
    assert turned[0, 1:5, 4].all()
    np.testing.assert_allclose(bring_to_rest(turned, [pi / 2], [[0, 0]]), rest, atol=1e-5)


def test_a_translation_is_undone_to_the_pixel() -> None:
    moved = np.zeros((1, 8, 8), np.float32)
    moved[0, 6, 1] = 1
    aligned = bring_to_rest(moved, [0.0], [[2, -3]])  # the centre of 8 pixels is pixel 4
    assert aligned[0, 4, 4] == pytest.approx(1, abs=1e-5)
    assert aligned.sum() == pytest.approx(1, abs=1e-4)


def test_digits_of_known_pose_come_to_the_same_picture() -> None:
    digit = np.zeros((28, 28), np.uint8)
    digit[5:23, 10:16] = 200
    digit[18:23, 10:22] = 255  # an L
    images, rotation, translation = rotated_digits(
        np.repeat(digit[None], 40, 0), np.random.default_rng(0), translation_std=3.0
    )
    mean = average(bring_to_rest(images, rotation, translation))
    still, *_ = rotated_digits(
        digit[None], np.random.default_rng(0), rotation_std=1e-9, translation_std=1e-9
    )
    assert np.corrcoef(mean.ravel(), still.ravel())[0, 1] > 0.98
    assert np.corrcoef(average(images).ravel(), still.ravel())[0, 1] < 0.8


def test_channels_are_turned_alike() -> None:
    rng = np.random.default_rng(0)
    plane = rng.random((3, 12, 12), dtype=np.float32)
    colour = np.stack((plane, 2 * plane), 1)
    aligned = bring_to_rest(colour, [0.3, 1.0, 2.0], rng.normal(size=(3, 2)))
    np.testing.assert_allclose(aligned[:, 1], 2 * aligned[:, 0], rtol=1e-4)


def test_what_lies_outside_the_box_is_as_its_border() -> None:
    flat = np.full((2, 10, 10), 7.0)
    np.testing.assert_allclose(bring_to_rest(flat, [0.4, 1.0], [[3, 0], [0, 0]]), flat, rtol=1e-6)


def test_a_quarter_turn_of_a_volume_is_undone_to_the_voxel() -> None:
    """About z, as napari shows it counter-clockwise, and by a shift."""
    rest = np.zeros((1, 9, 9, 9), np.float32)
    rest[0, 4, 4, 4:7] = 1  # from the centre along +x
    turned = np.zeros_like(rest)
    turned[0, 5, 5:2:-1, 2] = 1  # along -y
    turn = [[[1, 0, 0], [0, 0, -1], [0, 1, 0]]]  # of (z, y, x)
    np.testing.assert_allclose(bring_to_rest(turned, turn, [[1, 1, -2]]), rest, atol=1e-5)


def test_what_lies_outside_a_volume_is_as_its_border() -> None:
    flat = np.full((2, 8, 8, 8), 7.0)
    turn = Rotation.random(2, random_state=0).as_matrix()
    np.testing.assert_allclose(bring_to_rest(flat, turn, [[3, 0, 0], [0, 1, 2]]), flat, rtol=1e-6)


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(InputError, match="a rotation and a translation"):
        bring_to_rest(np.zeros((2, 8, 8)), [0, 0, 0], np.zeros((2, 2)))
    with pytest.raises(InputError, match="a matrix and a translation"):
        bring_to_rest(np.zeros((2, 8, 8, 8)), np.zeros((2, 3, 3)), np.zeros((2, 2)))
    with pytest.raises(InputError, match="no boxes"):
        average(np.zeros((0, 8, 8)))
