"""Poses in the plane: a rotation, then a translation."""

from math import pi
from typing import Any, NamedTuple

import torch
from torch import Tensor


def wrap_angle(angle: Tensor) -> Tensor:
    """Bring angles in radians into [-pi, pi)."""
    return torch.remainder(angle + pi, 2 * pi) - pi


def rotation_matrix_2d(angle: Tensor) -> Tensor:
    """Matrices that turn points (y, x), counter-clockwise as displayed with y down.

    Parameters
    ----------
    angle : Tensor, shape (...)
        Radians.

    Returns
    -------
    Tensor, shape (..., 2, 2)
        ``R`` acts on columns ``(y, x)``; a quarter turn takes +x (right) to -y (up).
    """
    cos, sin = angle.cos(), angle.sin()
    return torch.stack((cos, -sin, sin, cos), -1).reshape(*angle.shape, 2, 2)


class Poses(NamedTuple):
    """Rigid motions of the plane, one an object: ``x_image = R x_canonical + t``."""

    rotation: Tensor  # (n,), radians, counter-clockwise as displayed
    translation: Tensor  # (n, 2), pixels, (y, x)

    @property
    def matrix(self) -> Tensor:
        """Rotation matrices (n, 2, 2)."""
        return rotation_matrix_2d(self.rotation)

    def move(self, points: Tensor) -> Tensor:
        """Take points (n, k, 2) of the canonical frame into the image."""
        return points @ self.matrix.mT + self.translation.unsqueeze(-2)

    def inverse(self) -> "Poses":
        """Return the motions that undo these."""
        matrix = rotation_matrix_2d(-self.rotation)
        back = (matrix @ self.translation.unsqueeze(-1)).squeeze(-1)
        return Poses(-self.rotation, -back)

    def compose(self, first: "Poses") -> "Poses":
        """Return the motions that apply ``first``, then these."""
        moved = (self.matrix @ first.translation.unsqueeze(-1)).squeeze(-1)
        return Poses(wrap_angle(self.rotation + first.rotation), moved + self.translation)

    @classmethod
    def identity(cls, n: int, like: Tensor | None = None) -> "Poses":
        """Return ``n`` identity poses, with the dtype and device of a tensor."""
        kind: Any = {} if like is None else {"device": like.device, "dtype": like.dtype}
        return cls(torch.zeros(n, **kind), torch.zeros(n, 2, **kind))
