"""Quotients of an angle's sine and cosine by the angle, exact also where it vanishes."""

from math import factorial

import torch
from torch import Tensor

from ._constants import constant

_SMALL = 0.25**2
"""Of the square. Below it the series is as exact as float64; above, the closed form is."""
_TERMS = 7  # 0.25 ** 14 / 15! is below 1e-20


def sine_ratios(square: Tensor) -> tuple[Tensor, Tensor]:
    """``sin(a) / a`` and ``(1 - cos(a)) / a ** 2`` of angles, from the squares of the angles.

    Parameters
    ----------
    square : Tensor, shape (...)
        Radians squared.

    Returns
    -------
    tuple of Tensor, each of shape (...)
        To the precision of ``square``, and so are their gradients, also at 0.
    """
    small = square < _SMALL
    # Each branch sees only what it is exact for, or its gradient would spoil that of the other.
    near = torch.where(small, square, 0.0)
    powers = near.unsqueeze(-1) ** constant(torch.arange, _TERMS, like=square)
    series = (powers.unsqueeze(-2) * constant(_coefficients, like=square)).sum(-1)
    angle = torch.where(small, 1.0, square).sqrt()
    sine = torch.where(small, series[..., 0], angle.sin() / angle)
    cosine = torch.where(small, series[..., 1], 2 * ((angle / 2).sin() / angle).square())
    return sine, cosine


def _coefficients() -> Tensor:
    """Of the powers of the square, (2, terms): first of the sine, then of the cosine."""
    rows = [[(-1) ** k / factorial(2 * k + n) for k in range(_TERMS)] for n in (1, 2)]
    return torch.tensor(rows, dtype=torch.float64)
