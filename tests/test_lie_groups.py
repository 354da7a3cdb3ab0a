"""The exponential map beside scipy's matrix exponential, and the laws of a group."""

from math import pi

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from napari_equipose.geometry import GROUPS, Similarity, apply_poses, exponential_map, group_size

SIZES = [0.0, 1e-12, 1e-8, 1e-6, 1e-4, 1e-2, 0.2, 0.2499, 0.25, 0.2501, 1.0, 3.0, pi, 6.0]


def coefficients(group: str, size: float) -> torch.Tensor:
    """Many elements of an algebra; the rotation and the scale are about so large."""
    rng = np.random.default_rng(3)
    signs = rng.choice([-1.0, 1.0], 12)
    scale = rng.choice([0.0, -0.3, 1.0], 12) * size
    tau = np.stack([signs * size, *rng.normal(size=(2, 12)) * 5, np.clip(scale, -2, 2)], 1)
    return torch.from_numpy(tau[:, : group_size(group)])


def algebra(tau: torch.Tensor) -> np.ndarray:
    r, y, x, scale = [*tau.tolist(), *[0.0] * (4 - len(tau))]
    return np.array([[scale, -r, y], [r, scale, x], [0, 0, 0]])


def matrices(motion: Similarity) -> np.ndarray:
    poses, scale = motion
    found = np.zeros((len(poses.rotation), 3, 3))
    found[:, :2, :2] = poses.matrix.detach().numpy()
    if scale is not None:
        found[:, :2, :2] *= scale.detach().numpy()[:, None, None]
    found[:, :2, 2], found[:, 2, 2] = poses.translation.detach().numpy(), 1
    return found


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("size", SIZES)
def test_is_the_matrix_exponential(group: str, size: float) -> None:
    tau = coefficients(group, size)
    found = matrices(exponential_map(group, tau))
    wanted = np.stack([expm(algebra(row)) for row in tau])
    largest = np.abs(wanted).max((1, 2), keepdims=True)
    assert np.abs((found - wanted) / largest).max() < 1e-12
    if size <= 1:  # scipy's own squarings cost it digits beyond
        assert np.abs((found - wanted) / largest).max() < 3e-15


@pytest.mark.parametrize("size", [1e-8, 1e-4, 0.1, 0.24, 0.26])
def test_float32_keeps_its_digits(size: float) -> None:
    tau = coefficients("SIM2", size)
    found = exponential_map("SIM2", tau.float()).poses.translation
    wanted = exponential_map("SIM2", tau).poses.translation
    assert (found - wanted).norm(dim=1).max() < 4e-7 * wanted.norm(dim=1).max()


@pytest.mark.parametrize("group", GROUPS)
def test_gradients_are_exact_and_finite_at_rest(group: str) -> None:
    rest = torch.zeros(1, group_size(group), dtype=torch.float64)
    many = [rest, *(coefficients(group, size)[:1] for size in (1e-8, 0.2499, 0.2501, 3.0))]
    tau = torch.cat(many).requires_grad_()

    def flat(values: torch.Tensor) -> torch.Tensor:
        motion = exponential_map(group, values)
        turned = (motion.poses.rotation.cos(), motion.poses.rotation.sin())
        parts = [*turned, motion.poses.translation]
        return torch.cat([p.flatten() for p in parts if p.requires_grad])

    assert torch.autograd.gradcheck(flat, (tau,))
    gradient = torch.autograd.grad(flat(tau[:1]).sum(), tau)[0]
    assert gradient.isfinite().all()


@pytest.mark.parametrize("group", GROUPS)
def test_opposite_coefficients_undo_and_multiples_compose(group: str) -> None:
    tau = coefficients(group, 0.7)
    there, back = (matrices(exponential_map(group, sign * tau)) for sign in (1, -1))
    np.testing.assert_allclose(there @ back, np.broadcast_to(np.eye(3), there.shape), atol=1e-13)
    parts = [matrices(exponential_map(group, part * tau)) for part in (0.3, 0.7)]
    np.testing.assert_allclose(parts[0] @ parts[1], there, atol=1e-13)


def test_moves_pictures_as_the_matrix_says() -> None:
    spot = torch.zeros(1, 1, 33, 33)
    spot[0, 0, 16 - 4, 16 + 3] = 1  # (y, x) = (-4, 3)
    tau = torch.tensor([[0.6, 2.0, -3.0, 0.3]])
    motion = exponential_map("SIM2", tau)
    moved = apply_poses(spot, motion.poses, scale=motion.scale)[0, 0]
    grid = torch.stack(torch.meshgrid(*[torch.arange(33.0) - 16] * 2, indexing="ij"), -1)
    found = (moved[..., None] * grid).sum((0, 1)) / moved.sum()
    wanted = expm(algebra(tau[0])) @ [-4, 3, 1]
    assert np.abs(found.numpy() - wanted[:2]).max() < 0.1
