"""The missing wedge: what a tilt series measures, and where that turns to."""

import numpy as np
import pytest
import torch

from napari_equipose.geometry import (
    InputError,
    MissingWedge,
    Poses3D,
    apply_poses,
    fourier_ball,
    fourier_grid,
    random_rotations,
    remove_poses,
    rotations_from_relion,
    smooth_ball_mask,
)


def tilted_plane(degrees: float, axis: str) -> torch.Tensor:
    """A direction in the plane that a projection of the turned specimen measures."""
    a = np.radians(degrees)
    # The specimen is turned right-handedly about its axis, the beam runs along z: what the image
    # shows along its own x (or y) is this direction of the specimen, in order (z, y, x).
    return torch.tensor({"y": [np.sin(a), 0, np.cos(a)], "x": [-np.sin(a), np.cos(a), 0]}[axis])


@pytest.mark.parametrize("axis", ["y", "x"])
@pytest.mark.parametrize(("degrees", "measured"), [(-41, 0), (-39, 1), (0, 1), (59, 1), (61, 0)])
def test_planes_within_the_range_are_measured(axis: str, degrees: float, measured: int) -> None:
    wedge = MissingWedge(tilt_min_deg=-40, tilt_max_deg=60, tilt_axis=axis)
    across = tilted_plane(degrees, axis)
    along = torch.tensor([0.0, 1, 0] if axis == "y" else [0.0, 0, 1])
    for frequency in (across, across + 2 * along, -across, across - 3 * along):
        assert bool(wedge.measures(frequency)) == bool(measured)


@pytest.mark.parametrize("size", [40, 41])
def test_range_of_60_leaves_two_thirds(size: int) -> None:
    wedge = MissingWedge()
    mask = wedge.mask(size) & fourier_ball(size)
    assert wedge.mask(size).shape == (size, size, size // 2 + 1)
    assert mask.sum() / fourier_ball(size).sum() == pytest.approx(2 / 3, abs=0.03)
    assert wedge.mask(size)[0, :, 0].all()  # the tilt axis itself
    assert not wedge.mask(size)[1 : size // 2, 0, 0].any()  # the beam


def test_full_range_misses_nothing() -> None:
    assert MissingWedge(tilt_min_deg=-90, tilt_max_deg=90).mask(8).all()


def test_wedge_turns_with_the_particle() -> None:
    """What a turned, measured blob lacks at rest is where the mask at rest is zero."""
    torch.manual_seed(0)
    size, wedge = 32, MissingWedge(tilt_min_deg=-40, tilt_max_deg=55)
    rotation = torch.from_numpy(rotations_from_relion([(30, 50, -70), (10, 120, 20)])).float()
    pose = Poses3D(rotation, torch.tensor([[1.0, 2, -1], [0, 0, 0]]))
    ball = smooth_ball_mask(size, 3.0, 2.0).expand(2, 1, -1, -1, -1)
    rest = remove_poses(wedge.apply(apply_poses(ball, pose)), pose)
    power = torch.fft.rfftn(rest[:, 0], dim=(1, 2, 3)).abs().square()
    inside = (fourier_grid(size).norm(dim=-1) < 7) & (fourier_grid(size).norm(dim=-1) > 2)
    measured = wedge.at_rest(rotation, size)
    for volume in range(2):
        kept = power[volume][measured[volume] & inside].mean()
        lost = power[volume][~measured[volume] & inside].mean()
        assert lost < 0.1 * kept
        wrong = wedge.at_rest(rotation.mT, size)[volume]
        assert power[volume][~wrong & inside].mean() > 0.3 * power[volume][wrong & inside].mean()


def test_wedge_at_rest_of_a_still_particle_is_the_mask() -> None:
    wedge = MissingWedge(tilt_axis="x")
    assert torch.equal(wedge.at_rest(torch.eye(3)[None], 12)[0], wedge.mask(12))


def test_as_much_is_measured_however_a_particle_lies() -> None:
    torch.manual_seed(0)
    ball = fourier_ball(24)
    turned = MissingWedge().at_rest(random_rotations(20, torch.zeros(1)), 24)
    part = (turned & ball).sum((1, 2, 3)) / ball.sum()
    torch.testing.assert_close(part, torch.full((20,), 2 / 3), atol=0.03, rtol=0)


@pytest.mark.parametrize("limits", [(0, 0), (30, -30), (-95, 60), (float("nan"), 60)])
def test_tilt_range_that_measures_nothing_is_refused(limits: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="tilt range must run from one angle to a larger one"):
        MissingWedge(tilt_min_deg=limits[0], tilt_max_deg=limits[1])


def test_unknown_tilt_axis_is_refused() -> None:
    with pytest.raises(InputError, match="tilt axis must be y or x, got 'z'"):
        MissingWedge(tilt_axis="z")  # type: ignore[arg-type]


def test_ball_is_soft_and_centred() -> None:
    mask = smooth_ball_mask(17, 5.0, 4.0)
    assert mask[8, 8, 8] == 1 and mask[8, 8, 8 + 5] == pytest.approx(0.5)
    assert mask[8, 8 - 3, 8] == 1 and mask[8 + 7, 8, 8] == 0
