"""Rotations of space: representations for learning, for files, and at random."""

import warnings
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from ._constants import constant
from ._ratios import sine_ratios


def rotation_from_6d(numbers: Tensor) -> Tensor:
    """Rotation matrices of any six numbers: two axes, made orthonormal.

    Every representation of rotations in three or four numbers is torn somewhere: near the tear
    like rotations have unlike numbers, which a network can't follow. This one is not.

    Parameters
    ----------
    numbers : Tensor, shape (..., 6)
        The first two columns of a matrix, of any length and at any angle to one another.

    Returns
    -------
    Tensor, shape (..., 3, 3)

    References
    ----------
    Y. Zhou et al., "On the Continuity of Rotation Representations in Neural Networks",
    CVPR 2019, equation 15.
    """
    first, second = numbers[..., :3], numbers[..., 3:]
    first = F.normalize(first, dim=-1)
    second = F.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    third = torch.linalg.cross(first, second)
    return torch.stack((first, second, third), -1)


def rotation_to_6d(rotation: Tensor) -> Tensor:
    """First two columns of matrices (..., 3, 3), shape (..., 6)."""
    return rotation[..., :2].mT.flatten(-2)


def turn_about(vectors: Tensor) -> Tensor:
    """Rotations about vectors in order (z, y, x), by the length of each in radians.

    Parameters
    ----------
    vectors : Tensor, shape (n, 3)

    Returns
    -------
    Tensor, shape (n, 3, 3)
        They act on columns (z, y, x); by Rodrigues' formula, to the precision of ``vectors`` at
        all lengths, and so are its gradients.
    """
    square = vectors.square().sum(-1)
    sine, cosine = (ratio[:, None, None] for ratio in sine_ratios(square))
    cross = (vectors[:, :, None, None] * constant(_generators, like=vectors)).sum(1)
    outer = vectors.unsqueeze(-1) * vectors.unsqueeze(-2)
    still = constant(torch.eye, 3, like=vectors) * (1 - cosine * square[:, None, None])
    return still + sine * cross + cosine * outer


def _generators() -> Tensor:
    """Of rotations about each axis of columns (z, y, x)."""
    made = torch.zeros(3, 3, 3)
    for axis in range(3):
        row, column = (axis + 1) % 3, (axis + 2) % 3
        made[axis, row, column], made[axis, column, row] = -1.0, 1.0
    return made


def random_rotations(n: int, like: Tensor) -> Tensor:
    """Draw ``n`` rotation matrices (n, 3, 3), uniform on SO(3), of the type and device of a tensor.

    References
    ----------
    K. Shoemake, "Uniform Random Rotations", Graphics Gems III, 1992: a uniform direction in four
    dimensions is a uniform unit quaternion.
    """
    x, y, z, w = F.normalize(torch.randn(n, 4, device=like.device).to(like), dim=-1).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def swap_axis_order(matrix: NDArray[Any]) -> NDArray[Any]:
    """Turn matrices (..., 3, 3) that act on (x, y, z) into those on (z, y, x), and back."""
    return matrix[..., ::-1, ::-1].copy()


def rotations_from_relion(angles_deg: ArrayLike) -> NDArray[np.float64]:
    """Rotations of RELION's angles.

    Parameters
    ----------
    angles_deg : array, shape (n, 3)
        ``rlnAngleRot``, ``rlnAngleTilt``, ``rlnAnglePsi`` in degrees.

    Returns
    -------
    ndarray, shape (n, 3, 3)
        They act on columns (z, y, x) and take the reference into the particle.
    """
    angles = np.asarray(angles_deg, np.float64).reshape(-1, 3)
    turned = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix()
    return swap_axis_order(np.swapaxes(turned, -1, -2))


def rotations_to_relion(rotation: ArrayLike) -> NDArray[np.float64]:
    """RELION's angles of rotations.

    Parameters
    ----------
    rotation : array, shape (n, 3, 3)
        They act on columns (z, y, x) and take the reference into the particle.

    Returns
    -------
    ndarray, shape (n, 3)
        ``rlnAngleRot``, ``rlnAngleTilt``, ``rlnAnglePsi`` in degrees; the tilt in [0, 180], the
        others in [-180, 180). Where the tilt is 0 or 180, psi is set to 0.
    """
    matrix = swap_axis_order(np.asarray(rotation, np.float64).reshape(-1, 3, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that only the sum of two angles is known
        angles = Rotation.from_matrix(np.swapaxes(matrix, -1, -2)).as_euler("ZYZ", degrees=True)
    angles[:, ::2] = (np.round(angles[:, ::2], 6) + 180) % 360 - 180
    result: NDArray[np.float64] = angles
    return result
