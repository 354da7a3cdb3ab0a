"""Averages placed in a volume, against places and rotations that are known."""

from math import pi

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from napari_equipose.geometry import InputError, rotations_from_relion, swap_axis_order
from napari_equipose.inference import place_back

SHAPE = (20, 24, 28)


def arm(length: int = 3) -> np.ndarray:
    """From the centre voxel of a box of 9 along x, brighter towards its end."""
    box = np.zeros((9, 9, 9), np.float32)
    box[4, 4, 4 : 5 + length] = np.arange(1, length + 2)
    return box


def test_objects_stand_where_they_are_put_turned_as_told() -> None:
    """A quarter turn about z takes +x to -y, as napari shows it counter-clockwise."""
    quarter = swap_axis_order(Rotation.from_rotvec([0, 0, -pi / 2]).as_matrix())
    turns = np.stack([np.eye(3), quarter])
    placed = place_back([arm()], [(5, 6, 7), (12, 15, 20)], turns, None, SHAPE)
    expected = np.zeros(SHAPE, np.float32)
    expected[5, 6, 7:11] = [1, 2, 3, 4]
    expected[12, 15:11:-1, 20] = [1, 2, 3, 4]
    np.testing.assert_allclose(placed, expected, atol=1e-4)
    assert placed.dtype == np.float32


def test_places_between_voxels_and_any_rotation() -> None:
    """By scipy alone, with RELION's angles: each voxel is looked up in the object at rest."""
    at_rest = ndimage.gaussian_filter(np.random.default_rng(0).random((13, 13, 13)), 1.5)
    away = np.linalg.norm(np.indices((13,) * 3) - 6, axis=0)
    at_rest = (at_rest * np.clip(5 - away, 0, 1)).astype(np.float32)
    angles, place = [35.0, 50.0, -70.0], np.array([9.3, 11.6, 14.25])
    turn = rotations_from_relion(np.array([angles]))
    placed = place_back([at_rest], place[None], turn, [0], SHAPE)
    z, y, x = np.indices(SHAPE) - place[:, None, None, None]
    to_reference = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix()
    where = np.stack([x, y, z], -1) @ to_reference.T + 6
    coordinates = np.moveaxis(where[..., ::-1], -1, 0)
    expected = ndimage.map_coordinates(at_rest, coordinates, order=1)
    np.testing.assert_allclose(placed, expected, atol=1e-4)
    assert placed.max() > 0.3


def test_what_lies_outside_is_cut_off() -> None:
    places = [(0, 0, 0), (19, 23, 27), (-30, 5, 5), (10, 10, 31)]
    placed = place_back([arm()], places, [np.eye(3)] * 4, None, SHAPE)
    expected = np.zeros(SHAPE, np.float32)
    expected[0, 0, :4] = [1, 2, 3, 4]
    expected[19, 23, 27] = 1
    np.testing.assert_allclose(placed, expected, atol=1e-5)


def test_each_has_the_average_of_its_class_and_of_two_in_one_place_the_larger_stays() -> None:
    places = [(5, 6, 7), (5, 6, 9)]
    placed = place_back([arm(), 3 * arm(1)], places, [np.eye(3)] * 2, [0, 1], SHAPE)
    np.testing.assert_allclose(placed[5, 6, 6:12], [0, 1, 2, 3, 6, 0], atol=1e-5)
    other = place_back([arm(), 3 * arm(1)], places[::-1], [np.eye(3)] * 2, [1, 0], SHAPE)
    np.testing.assert_array_equal(placed, other)


def test_dark_objects_are_placed_like_bright_ones() -> None:
    bright, dark = (
        place_back([sign * arm()], [(5, 6, 7)], [np.eye(3)], None, SHAPE) for sign in (1, -1)
    )
    np.testing.assert_array_equal(dark, -bright)


def test_none_leaves_the_volume_empty() -> None:
    assert not place_back([arm()], np.zeros((0, 3)), np.zeros((0, 3, 3)), None, SHAPE).any()


@pytest.mark.parametrize(
    ("positions", "rotations", "labels", "shape", "message"),
    [
        ([(1, 2)], [np.eye(3)], None, SHAPE, "a position"),
        ([(1, 2, 3)], [np.eye(3)] * 2, None, SHAPE, "a position"),
        ([(1, 2, 3)], [np.eye(3)], [0, 1], SHAPE, "a position"),
        ([(1, 2, 3)], [np.eye(3)], [1], SHAPE, "there are 1 averages"),
        ([(1, 2, np.nan)], [np.eye(3)], None, SHAPE, "finite"),
        ([(1, 2, 3)], [np.eye(3)], None, (4, 4), "must be volumes"),
    ],
)
def test_bad_input_is_refused(positions, rotations, labels, shape, message) -> None:
    with pytest.raises(InputError, match=message):
        place_back([arm()], positions, rotations, labels, shape)
