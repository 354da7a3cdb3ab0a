"""Groups of motions of the plane, from their Lie algebras by the exponential map."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ._poses import Poses
from ._ratios import sine_ratios

GROUPS: Mapping[str, frozenset[str]] = {
    "SO2": frozenset({"rotation"}),
    "SE2": frozenset({"rotation", "translation"}),
    "SIM2": frozenset({"rotation", "translation", "scale"}),
}
"""What the members of each group do."""

_SIZES = {"SO2": 1, "SE2": 3, "SIM2": 4}
_SMALL = 0.25
"""Below it the series is as exact as float64, and the closed form begins to cancel."""
_TERMS = 13  # 0.25 ** 13 / 14! is below 1e-18


class Similarity(NamedTuple):
    """Motions of the plane, one an object: ``x_image = s R x_canonical + t``."""

    poses: Poses
    scale: Tensor | None = None
    """``s``, shape (n,), where the group has one."""


def group_size(group: str) -> int:
    """How many coefficients the members of a group have: its dimension."""
    return _SIZES[group]


def exponential_map(group: str, tau: Tensor) -> Similarity:
    """Members of a Lie group from the coefficients of its algebra.

    Parameters
    ----------
    group : {"SO2", "SE2", "SIM2"}
        Rotations; rotations and shifts; rotations, shifts and enlargements.
    tau : Tensor, shape (n, 1), (n, 3) or (n, 4)
        The rotation in radians; the velocity (y, x) in pixels; the logarithm of the scale. The
        element of the algebra, on columns (y, x, 1), is ``[[l, -r, v_y], [r, l, v_x], [0, 0, 0]]``
        of ``tau = (r, v_y, v_x, l)``.

    Returns
    -------
    Similarity
        As its matrix exponential says, to the precision of ``tau`` also where rotation and scale
        vanish, and so are its gradients.
    """
    angle = tau[:, 0]
    if group == "SO2":
        return Similarity(Poses(angle, torch.zeros_like(tau).expand(-1, 2)))
    if group == "SIM2":
        real, imaginary = _mean_exponential(tau[:, 3], angle)
    else:
        real, imaginary = sine_ratios(angle.square())
        imaginary = imaginary * angle
    y, x = tau[:, 1], tau[:, 2]
    # Points (y, x) as complex numbers y + ix: the algebra multiplies them by l + ir.
    shift = torch.stack((real * y - imaginary * x, real * x + imaginary * y), -1)
    return Similarity(Poses(angle, shift), tau[:, 3].exp() if group == "SIM2" else None)


def _mean_exponential(real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
    """``(exp(w) - 1) / w`` of ``w = real + i imaginary``."""
    square = real.square() + imaginary.square()
    small = square < _SMALL**2
    # Each branch sees only what it is exact for, or its gradient would spoil that of the other.
    zero = torch.zeros_like(real)
    series = _series(torch.where(small, real, zero), torch.where(small, imaginary, zero))
    a = torch.where(small, torch.ones_like(real), real)
    b = torch.where(small, zero, imaginary)
    # exp(w) - 1, without the cancellation of exp(a) cos(b) - 1
    above = torch.expm1(a) * b.cos() - 2 * (b / 2).sin().square()
    aside = a.exp() * b.sin()
    square = a.square() + b.square()
    closed = (above * a + aside * b) / square, (aside * a - above * b) / square
    return torch.where(small, series[0], closed[0]), torch.where(small, series[1], closed[1])


def _series(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The same as ``1 + w/2 (1 + w/3 (1 + ...))``."""
    real, imaginary = torch.ones_like(a), torch.zeros_like(b)
    for k in range(_TERMS + 1, 1, -1):
        real, imaginary = 1 + (a * real - b * imaginary) / k, (a * imaginary + b * real) / k
    return real, imaginary
