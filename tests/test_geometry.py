"""The conventions, pinned by known answers; the laws of motions, grids and filters."""

from math import pi

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from napari_equipose.geometry import (
    Poses,
    apply_poses,
    box_centre,
    centred_grid,
    remove_poses,
    rotate_filters,
    rotation_matrix_2d,
    smooth_disc_mask,
    wrap_angle,
)


def one_pose(turn: float, y: float = 0, x: float = 0) -> Poses:
    return Poses(torch.tensor([turn]), torch.tensor([[y, x]], dtype=torch.float32))


def dot(size: int, y: int, x: int) -> torch.Tensor:
    picture = torch.zeros(1, 1, size, size)
    picture[0, 0, y, x] = 1
    return picture


@pytest.mark.parametrize(("size", "centre"), [(4, 2), (5, 2), (64, 32), (65, 32)])
def test_centre_is_pixel_n_over_two(size: int, centre: int) -> None:
    assert box_centre(size) == centre
    assert centred_grid((size, size))[centre, centre].tolist() == [0, 0]


def test_quarter_turn_takes_right_to_up() -> None:
    moved = rotation_matrix_2d(torch.tensor(pi / 2)) @ torch.tensor([0.0, 1.0])
    torch.testing.assert_close(moved, torch.tensor([-1.0, 0.0]))


def test_quarter_turn_is_that_of_numpy() -> None:
    picture = torch.rand(1, 1, 7, 7)
    turned = apply_poses(picture, one_pose(pi / 2))
    torch.testing.assert_close(turned[0, 0].numpy(), np.rot90(picture[0, 0].numpy()).copy())


def test_any_turn_is_that_of_scipy() -> None:
    picture = torch.zeros(1, 1, 33, 33)
    picture[0, 0, 10:20, 14:17] = 1
    picture = torch.from_numpy(ndimage.gaussian_filter(picture.numpy(), (0, 0, 1, 1)))
    # scipy turns counter-clockwise as displayed, in the plane of axes (1, 0).
    expected = ndimage.rotate(picture[0, 0].numpy(), 30, reshape=False, order=1)
    turned = apply_poses(picture, one_pose(pi / 6))[0, 0].numpy()
    assert np.abs(turned - expected).max() < 1e-4


@pytest.mark.parametrize("size", [8, 9])
def test_turn_comes_before_shift(size: int) -> None:
    c = size // 2
    # A dot right of the centre turns to above it, then moves one down and two right.
    moved = apply_poses(dot(size, c, c + 2), one_pose(pi / 2, 1, 2))
    torch.testing.assert_close(moved, dot(size, c - 1, c + 2), atol=1e-5, rtol=0)


def test_smaller_frame_keeps_the_centre() -> None:
    cut = remove_poses(dot(12, 6, 7), one_pose(0), (5, 5))
    torch.testing.assert_close(cut, dot(5, 2, 3))


angles = st.floats(-10, 10)
shifts = st.floats(-20, 20)


@given(angles, shifts, shifts, angles, shifts, shifts)
def test_poses_are_a_group(a: float, b: float, c: float, d: float, e: float, f: float) -> None:
    first, second = one_pose(a, b, c), one_pose(d, e, f)
    points = torch.tensor([[[0.0, 0.0], [3.0, -4.0]]])
    torch.testing.assert_close(
        second.compose(first).move(points), second.move(first.move(points)), atol=1e-3, rtol=1e-4
    )
    torch.testing.assert_close(
        first.inverse().move(first.move(points)), points, atol=1e-3, rtol=1e-4
    )


@given(st.floats(-100, 100))
def test_wrapped_angle_is_the_same_direction(angle: float) -> None:
    wrapped = wrap_angle(torch.tensor(angle, dtype=torch.float64))
    assert -pi <= wrapped < pi
    assert np.exp(1j * wrapped.item()) == pytest.approx(np.exp(1j * angle))


def test_removing_a_pose_undoes_applying_it() -> None:
    line = torch.arange(33) - 16.0
    blob = torch.exp(-((line[:, None] - 3) ** 2 / 18 + (line + 2) ** 2 / 40))[None, None]
    pose = one_pose(0.7, 2.3, -1.6)
    back = remove_poses(apply_poses(blob, pose), pose)
    assert (back - blob).abs().max() < 0.03


def test_gradient_reaches_the_pose() -> None:
    pose = Poses(torch.tensor([0.3], requires_grad=True), torch.ones(1, 2, requires_grad=True))
    apply_poses(torch.rand(1, 1, 9, 9), pose).square().sum().backward()
    for tensor in pose:
        assert tensor.grad is not None and tensor.grad.abs().sum() > 0


@pytest.mark.parametrize("n_rotations", [1, 3, 4, 8, 12])
def test_turned_filters_have_one_norm(n_rotations: int) -> None:
    size = 25
    filters = torch.randn(3, 2, size, size, generator=torch.Generator().manual_seed(0))
    filters = torch.from_numpy(ndimage.gaussian_filter(filters.numpy(), (0, 0, 1, 1)))
    turned = rotate_filters(filters * smooth_disc_mask(size), n_rotations)
    assert turned.shape == (3, n_rotations, 2, size, size)
    norms = turned.flatten(2).norm(dim=2)
    assert (norms / norms[:, :1] - 1).abs().max() < 0.15


def test_filters_turn_as_images_do() -> None:
    filters = torch.randn(1, 1, 9, 9)
    turned = rotate_filters(filters, 4)
    for quarter in range(4):
        torch.testing.assert_close(turned[:, quarter], filters.rot90(quarter, (-2, -1)))
