"""Up to which detail two averages of the same thing agree."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..geometry import InputError

GOLD_STANDARD = 0.143


class ShellCorrelation(NamedTuple):
    """Fourier shell correlation of two volumes, or ring correlation of images, one value each."""

    frequency: NDArray[np.float64]  # (shells,), cycles per voxel, from 0 up to Nyquist
    correlation: NDArray[np.float64]  # (shells,), from -1 to 1

    def resolution(self, threshold: float = GOLD_STANDARD) -> float:
        """Smallest detail in voxels that the volumes agree on; times the voxel size, in Angstrom.

        It is where the curve first falls below the threshold, interpolated between shells;
        two voxels where it never does, infinite where it does so at once.
        """
        below = np.flatnonzero(self.correlation[1:] < threshold) + 1
        if not len(below):
            return float(1 / self.frequency[-1])
        last = below[0] - 1
        if last == 0:
            return float(np.inf)
        high, low = self.correlation[[last, last + 1]]
        part = (high - threshold) / (high - low)
        return float(1 / (self.frequency[last] + part * self.frequency[1]))


def fourier_shell_correlation(first: NDArray[Any], second: NDArray[Any]) -> ShellCorrelation:
    """Correlate two volumes, shell by shell of their Fourier transforms, or two images, by rings.

    Parameters
    ----------
    first, second : array, shape (z, y, x) or (y, x)
        Of equal sides. Mask them softly before, as `average_volumes` does.

    Returns
    -------
    ShellCorrelation
        Of shells one cycle per box wide, up to Nyquist; 0 in a shell where one of them is empty.

    Raises
    ------
    InputError
        If they are no cubes, or squares, of one size.

    References
    ----------
    P. B. Rosenthal and R. Henderson, J. Mol. Biol. 333, 2003: 0.143 for the averages of halves.
    """
    sides = {*first.shape, *second.shape}
    if first.ndim not in (2, 3) or len(sides) != 1 or first.shape != second.shape:
        raise InputError(
            "a Fourier shell correlation is of two cubes, or two squares, of one size, got shapes "
            f"{first.shape} and {second.shape}."
        )
    size = len(first)
    full, half = torch.fft.fftfreq(size) * size, torch.fft.rfftfreq(size) * size
    axes = [full] * (first.ndim - 1)
    grid = torch.stack(torch.meshgrid(*axes, half, indexing="ij"), -1)
    weight = torch.where((grid[..., -1] > 0) & (grid[..., -1] < size / 2), 2.0, 1.0).double()
    shell = grid.norm(dim=-1).round().long().flatten()
    a, b = (torch.fft.rfftn(torch.tensor(np.asarray(x, np.float64))) for x in (first, second))
    parts = [(a * b.conj()).real, a.abs().square(), b.abs().square()]
    shells = size // 2 + 1
    cross, of_a, of_b = (
        torch.bincount(shell, (weight * part).flatten())[:shells].numpy() for part in parts
    )
    power = np.sqrt(of_a * of_b)
    # what rounding leaves of nothing has no correlation
    filled = (of_a > 1e-12 * of_a.max()) & (of_b > 1e-12 * of_b.max())
    correlation = np.divide(cross, power, out=np.zeros(shells), where=filled & (power > 0))
    return ShellCorrelation(np.arange(shells) / size, correlation)
