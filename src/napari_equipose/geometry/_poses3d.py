"""Poses in space: a rotation, then a translation."""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Poses3D(NamedTuple):
    """Rigid motions of space, one an object: ``x_image = R x_canonical + t``."""

    rotation: Tensor  # (n, 3, 3), acts on columns (z, y, x)
    translation: Tensor  # (n, 3), pixels, (z, y, x)

    @property
    def matrix(self) -> Tensor:
        """Rotation matrices (n, 3, 3)."""
        return self.rotation

    def move(self, points: Tensor) -> Tensor:
        """Take points (n, k, 3) of the canonical frame into the image."""
        return points @ self.rotation.mT + self.translation.unsqueeze(-2)

    def inverse(self) -> "Poses3D":
        """Return the motions that undo these."""
        back = self.rotation.mT
        return Poses3D(back, -(back @ self.translation.unsqueeze(-1)).squeeze(-1))

    def compose(self, first: "Poses3D") -> "Poses3D":
        """Return the motions that apply ``first``, then these."""
        moved = (self.rotation @ first.translation.unsqueeze(-1)).squeeze(-1)
        return Poses3D(self.rotation @ first.rotation, moved + self.translation)

    @classmethod
    def identity(cls, n: int, like: Tensor | None = None) -> "Poses3D":
        """Return ``n`` identity poses, with the dtype and device of a tensor."""
        kind: Any = {} if like is None else {"device": like.device, "dtype": like.dtype}
        return cls(torch.eye(3, **kind).repeat(n, 1, 1), torch.zeros(n, 3, **kind))
