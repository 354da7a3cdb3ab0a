"""Poses in space: pinned by RELION's own program, and by the laws of motions."""

import shutil
import subprocess
from math import pi
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch.utils._python_dispatch import TorchDispatchMode

from napari_equipose.geometry import (
    Poses,
    Poses3D,
    apply_poses,
    random_rotations,
    remove_poses,
    rotation_from_6d,
    rotation_matrix_2d,
    rotation_to_6d,
    rotations_from_relion,
    rotations_to_relion,
    swap_axis_order,
    turn_about,
)

# Where relion_project 3.1.3 puts three blobs, at (z, y, x) from the centre of the box.
BLOBS = np.array([[0, 0, 7], [0, 5, 0], [3, 0, 0]])
ORIGIN_XYZ = (3.0, -2.0, 1.0)  # rlnOrigin, in pixels
PROJECTED = {
    (0, 0, 30): [[-1.0, -1.5, 3.06], [-1.0, 6.33, -0.5], [2.01, 2.0, -3.0]],
    (20, 0, 0): [[-1.0, -0.39, 3.58], [-1.0, 6.7, -1.29], [2.01, 2.0, -3.0]],
    (0, 40, 0): [[3.5, 2.0, 2.36], [-1.0, 7.02, -3.0], [1.3, 2.0, -4.93]],
    (35, 50, -70): [[3.39, 4.09, 2.03], [1.2, 5.13, -6.22], [0.93, -0.16, -3.78]],
    (-110, 125, 80): [[-2.96, 1.79, 3.72], [-4.85, -0.95, -4.22], [-2.72, 4.42, -3.43]],
}


def relion_pose(angles: tuple[float, float, float]) -> Poses3D:
    rotation = torch.from_numpy(rotations_from_relion([angles])).float()
    return Poses3D(rotation, -torch.tensor([ORIGIN_XYZ[::-1]]))


def blobs(positions: np.ndarray, size: int = 32) -> torch.Tensor:
    grid = np.stack(np.indices((size,) * 3), -1) - size // 2
    volume = sum(
        (i + 1) * np.exp(-((grid - p) ** 2).sum(-1) / (2 * 1.5**2)) for i, p in enumerate(positions)
    )
    return torch.from_numpy(np.asarray(volume, np.float32))[None, None]


@pytest.mark.parametrize("angles", PROJECTED)
def test_poses_move_points_where_relion_puts_them(angles: tuple[float, float, float]) -> None:
    moved = relion_pose(angles).move(torch.from_numpy(BLOBS).float()[None])[0]
    np.testing.assert_allclose(moved, PROJECTED[angles], atol=0.04)


@pytest.mark.parametrize("angles", PROJECTED)
def test_volumes_move_where_relion_puts_them(angles: tuple[float, float, float]) -> None:
    moved = apply_poses(blobs(BLOBS), relion_pose(angles))
    expected = blobs(np.array(PROJECTED[angles]))
    assert np.corrcoef(moved.ravel(), expected.ravel())[0, 1] > 0.995


@pytest.mark.skipif(shutil.which("relion_project") is None, reason="RELION is not installed")
def test_relion_itself_agrees(tmp_path: Path) -> None:
    angles = (48.0, 107.0, -131.0)  # none of those whose answers are stored
    with mrcfile.new(tmp_path / "map.mrc") as mrc:
        mrc.set_data(blobs(BLOBS)[0, 0].numpy())
        mrc.voxel_size = 4.0
    origins = " ".join(str(4 * value) for value in ORIGIN_XYZ)
    optics = "_rlnOpticsGroup\n_rlnOpticsGroupName\n_rlnImagePixelSize\n_rlnImageSize\n"
    optics += "_rlnImageDimensionality\n_rlnVoltage\n_rlnSphericalAberration\n"
    optics += "_rlnAmplitudeContrast\n1 g 4.0 32 3 300 2.7 0.1\n"
    columns = "_rlnImageName\n_rlnOpticsGroup\n_rlnAngleRot\n_rlnAngleTilt\n_rlnAnglePsi\n"
    columns += "_rlnOriginXAngst\n_rlnOriginYAngst\n_rlnOriginZAngst\n"
    (tmp_path / "pose.star").write_text(
        f"# version 30001\n\ndata_optics\n\nloop_\n{optics}\n"
        f"data_particles\n\nloop_\n{columns}x.mrc 1 {angles[0]} {angles[1]} {angles[2]} {origins}\n"
    )
    command = "relion_project --i map.mrc --o out --angpix 4 --ang pose.star --3d_rot"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    (file,) = tmp_path.glob("out*.mrc*")
    with mrcfile.open(file, permissive=True) as mrc:
        theirs = np.array(mrc.data).reshape(32, 32, 32)
    ours = apply_poses(blobs(BLOBS), relion_pose(angles))[0, 0].numpy()
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99


@given(st.floats(-179, 179), st.floats(1, 179), st.floats(-179, 179))
def test_relion_angles_come_back(rot: float, tilt: float, psi: float) -> None:
    angles = rotations_to_relion(rotations_from_relion([(rot, tilt, psi)]))
    np.testing.assert_allclose(angles, [(rot, tilt, psi)], atol=1e-4)


def test_tilt_of_zero_leaves_one_angle() -> None:
    angles = rotations_to_relion(rotations_from_relion([(30, 0, 40)]))
    np.testing.assert_allclose(angles, [(70, 0, 0)], atol=1e-5)


def test_turn_about_the_beam_is_the_turn_of_the_plane() -> None:
    matrix = rotations_from_relion([(0, 0, 25)])[0]
    in_plane = rotation_matrix_2d(torch.tensor(np.radians(25))).numpy()
    np.testing.assert_allclose(matrix[1:, 1:], in_plane, atol=1e-6)
    volume = blobs(BLOBS)[..., :16, :, :].amax(2)  # an image
    stacked = volume.unsqueeze(2).expand(-1, -1, 9, -1, -1)
    turned = apply_poses(
        stacked, Poses3D(torch.from_numpy(matrix)[None].float(), torch.zeros(1, 3))
    )
    flat = apply_poses(volume, Poses(torch.tensor([np.radians(25)]).float(), torch.zeros(1, 2)))
    torch.testing.assert_close(turned[:, :, 4], flat, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [12, 13])
def test_any_motion_is_that_of_scipy(size: int) -> None:
    rng = np.random.default_rng(0)
    volume = ndimage.gaussian_filter(rng.standard_normal((size,) * 3), 1).astype(np.float32)
    matrix = Rotation.random(random_state=1).as_matrix()
    shift, centre = np.array([1.3, -0.4, 2.1]), size // 2
    expected = ndimage.affine_transform(
        volume,
        matrix,
        offset=centre + shift - matrix @ np.full(3, centre),
        order=1,
        mode="grid-constant",
    )
    pose = Poses3D(torch.from_numpy(matrix)[None].float(), torch.from_numpy(shift)[None].float())
    rest = remove_poses(torch.from_numpy(volume)[None, None], pose)[0, 0]
    np.testing.assert_allclose(rest, expected, atol=1e-5)


def test_poses_in_space_are_a_group() -> None:
    torch.manual_seed(0)
    like = torch.zeros(1, dtype=torch.float64)
    first, second = (
        Poses3D(random_rotations(5, like), torch.randn(5, 3, dtype=torch.float64)) for _ in range(2)
    )
    points = torch.randn(5, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(second.compose(first).move(points), second.move(first.move(points)))
    torch.testing.assert_close(first.inverse().move(first.move(points)), points)
    still = Poses3D.identity(2).move(points[:2].float())
    torch.testing.assert_close(still, points[:2].float())


@pytest.mark.parametrize("dimensions", [2, 3])
def test_scale_enlarges_about_the_origin(dimensions: int) -> None:
    size, shape = 33, (33,) * dimensions
    spot = torch.zeros(1, 1, *shape)
    place = [size // 2] * dimensions
    place[-1] += 4  # right of the origin
    spot[(0, 0, *place)] = 1.0
    shift = torch.tensor([[1.0, 2.0, -3.0][-dimensions:]])
    pose: Poses | Poses3D = Poses(torch.tensor([pi / 2]), shift)
    if dimensions == 3:
        pose = Poses3D(torch.from_numpy(rotations_from_relion([(0, 0, 90)])).float(), shift)
    moved = apply_poses(spot, pose, scale=torch.tensor([2.0]))
    brightest = np.unravel_index(int(moved.argmax()), shape)
    # four to the right become eight up, then two down and three to the left
    assert tuple(brightest[-2:]) == (16 - 8 + 2, 16 - 3)
    back = remove_poses(moved, pose, scale=torch.tensor([2.0]))
    torch.testing.assert_close(back, spot, atol=1e-4, rtol=0)


def test_gradient_reaches_poses_in_space() -> None:
    numbers = torch.randn(1, 6, requires_grad=True)
    shift = torch.zeros(1, 3, requires_grad=True)
    rest = remove_poses(blobs(BLOBS, 16), Poses3D(rotation_from_6d(numbers), shift))
    (rest * torch.rand_like(rest)).sum().backward()
    for tensor in (numbers, shift):
        assert tensor.grad is not None and tensor.grad.abs().sum() > 0


def test_six_numbers_make_a_rotation() -> None:
    torch.manual_seed(0)
    rotation = rotation_from_6d(torch.randn(50, 6, dtype=torch.float64) * 10)
    eye = torch.eye(3, dtype=torch.float64).expand(50, 3, 3)
    torch.testing.assert_close(rotation @ rotation.mT, eye)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(50, dtype=torch.float64))
    torch.testing.assert_close(rotation_from_6d(3 * rotation_to_6d(rotation)), rotation)


def test_random_rotations_are_uniform() -> None:
    torch.manual_seed(0)
    rotation = random_rotations(20_000, torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(rotation.mean(0), torch.zeros(3, 3).double(), atol=0.02, rtol=0)
    # Of uniform rotations the angle has the density (1 - cos) / pi, its mean is pi / 2 + 2 / pi.
    angle = ((rotation.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1).acos()
    assert angle.mean().item() == pytest.approx(pi / 2 + 2 / pi, abs=0.02)


LENGTHS = [0.0, 1e-300, 1e-12, 1e-6, 1e-3, 0.1, 0.2499, 0.25, 0.2501, 1.0, 3.0, pi, 6.0, 2 * pi]


def vectors(dtype: torch.dtype) -> torch.Tensor:
    """Vectors in many directions, of all the lengths."""
    rng = np.random.default_rng(5)
    directions = rng.normal(size=(20, 1, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return torch.from_numpy(directions * np.array(LENGTHS)[:, None]).reshape(-1, 3).to(dtype)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 3e-15), (torch.float32, 1e-6)])
def test_turning_about_a_vector_is_that_of_scipy(dtype: torch.dtype, error: float) -> None:
    about = vectors(dtype)
    wanted = Rotation.from_rotvec(about.double().numpy()).as_matrix()
    np.testing.assert_allclose(turn_about(about), wanted, atol=error)


def test_turning_about_a_vector_has_the_gradients_of_the_matrix_exponential() -> None:
    def exponential(about: torch.Tensor) -> torch.Tensor:
        z, y, x = about.unbind(-1)
        zero = torch.zeros_like(z)
        rows = torch.stack((zero, -x, y, x, zero, -z, -y, z, zero), -1)
        return torch.linalg.matrix_exp(rows.unflatten(-1, (3, 3)))

    def gradient(turn: Any, about: torch.Tensor) -> torch.Tensor:
        about = about.clone().requires_grad_()
        weights = torch.arange(9.0, dtype=about.dtype).reshape(3, 3).cos()
        (found,) = torch.autograd.grad((turn(about) * weights).sum(), about)
        return found

    wanted = gradient(exponential, vectors(torch.float64))
    assert (gradient(turn_about, vectors(torch.float64)) - wanted).abs().max() < 1e-13
    assert (gradient(turn_about, vectors(torch.float32)) - wanted).abs().max() < 3e-6
    few = vectors(torch.float64)[: len(LENGTHS)].requires_grad_()
    assert torch.autograd.gradcheck(turn_about, few)


class Operations(TorchDispatchMode):
    """Keep the names of all operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket._qualified_op_name)
        return func(*args, **kwargs or {})


def test_turning_needs_no_operation_that_apple_gpus_lack() -> None:
    about = vectors(torch.float32).requires_grad_()
    with Operations() as used:
        turn_about(about).sum().backward()
    assert not [name for name in used.names if "linalg" in name or "complex" in name]


def test_axis_order_swaps_and_keeps_the_hand() -> None:
    matrix = Rotation.from_euler("x", 90, degrees=True).as_matrix()  # +y to +z
    swapped = swap_axis_order(matrix)
    np.testing.assert_allclose(swapped @ [0, 1, 0], [1, 0, 0], atol=1e-12)  # (z, y, x)
    assert np.linalg.det(swapped) == pytest.approx(1)
