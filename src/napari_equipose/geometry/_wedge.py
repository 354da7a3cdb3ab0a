"""The missing wedge of a tilt series, and how it turns with a particle."""

from dataclasses import dataclass
from math import radians
from typing import Literal

import torch
from torch import Tensor

from ._constants import constant
from ._errors import InputError


def fourier_grid(box_size: int) -> Tensor:
    """Frequencies (z, y, x) of `torch.fft.rfftn` of a cube, in cycles per box.

    Returns
    -------
    Tensor, shape (box_size, box_size, box_size // 2 + 1, 3)
    """
    full = torch.fft.fftfreq(box_size) * box_size
    half = torch.fft.rfftfreq(box_size) * box_size
    return torch.stack(torch.meshgrid(full, full, half, indexing="ij"), -1)


def fourier_ball(box_size: int, radius: float | None = None) -> Tensor:
    """Mark the frequencies that stay on the grid however it is turned.

    Parameters
    ----------
    box_size : int
    radius : float, optional
        In cycles per box; up to Nyquist by default.

    Returns
    -------
    Tensor of bool, shape (box_size, box_size, box_size // 2 + 1)
        On the frequencies of `torch.fft.rfftn`.
    """
    limit = (box_size - 1) // 2 if radius is None else radius
    inside: Tensor = fourier_grid(box_size).norm(dim=-1) <= limit
    return inside


@dataclass(frozen=True, kw_only=True)
class MissingWedge:
    """Which Fourier coefficients a single-axis tilt series measures."""

    tilt_min_deg: float = -60.0
    tilt_max_deg: float = 60.0
    tilt_axis: Literal["y", "x"] = "y"

    def __post_init__(self) -> None:
        low, high = self.tilt_min_deg, self.tilt_max_deg
        if not -90 <= low < high <= 90:
            raise InputError(
                f"the tilt range must run from one angle to a larger one, both within -90 to 90 "
                f"degrees, got {low:g} to {high:g}; where nothing is missing give -90 to 90."
            )
        if self.tilt_axis not in ("y", "x"):
            raise InputError(f"the tilt axis must be y or x, got {self.tilt_axis!r}.")

    @classmethod
    def of_range(
        cls, tilt_min_deg: float | None, tilt_max_deg: float | None, tilt_axis: Literal["y", "x"]
    ) -> "MissingWedge | None":
        """Return the wedge of a tilt range; None where there is no range.

        Raises
        ------
        InputError
            If the range has one end only, or is none.
        """
        if tilt_min_deg is None and tilt_max_deg is None:
            return None
        if tilt_min_deg is None or tilt_max_deg is None:
            raise InputError("a tilt range has two ends; give both tilt_min_deg and tilt_max_deg.")
        return cls(tilt_min_deg=tilt_min_deg, tilt_max_deg=tilt_max_deg, tilt_axis=tilt_axis)

    def measures(self, frequency: Tensor) -> Tensor:
        """Whether frequencies (..., 3), in order (z, y, x), lie on a tilted plane.

        Returns
        -------
        Tensor of bool, shape (...)
            Also where only the mirrored frequency does, which has the same coefficient.
        """
        beam = frequency[..., 0]
        across = frequency[..., 2] if self.tilt_axis == "y" else -frequency[..., 1]
        beam = torch.where(across < 0, -beam, beam)
        across = across.abs()
        # Rounding must not lose the planes at the ends of the range, nor the axis itself.
        slack = 1e-4
        angle = torch.atan2(beam, across)
        inside = (angle >= radians(self.tilt_min_deg) - slack) & (
            angle <= radians(self.tilt_max_deg) + slack
        )
        on_axis = (beam.abs() <= slack) & (across <= slack)
        return inside | on_axis

    def mask(self, box_size: int) -> Tensor:
        """What is measured of a box as it was cut.

        Returns
        -------
        Tensor of bool, shape (box_size, box_size, box_size // 2 + 1)
            On the frequencies of `torch.fft.rfftn`.
        """
        return self.measures(fourier_grid(box_size))

    def at_rest(self, rotation: Tensor, box_size: int) -> Tensor:
        """What is measured of particles when they are brought to rest.

        Parameters
        ----------
        rotation : Tensor, shape (n, 3, 3)
            That of the particles' poses, on (z, y, x). A Fourier transform turns with its volume:
            the frequency ``k`` at rest was measured as ``R k``.
        box_size : int

        Returns
        -------
        Tensor of bool, shape (n, box_size, box_size, box_size // 2 + 1)
        """
        grid = constant(fourier_grid, box_size, like=rotation)
        turned = grid.reshape(1, -1, 3) @ rotation.mT
        return self.measures(turned).reshape(len(rotation), *grid.shape[:-1])

    def apply(self, volumes: Tensor) -> Tensor:
        """Take from volumes (..., z, y, x) what the tilt series does not measure."""
        axes = (-3, -2, -1)
        mask = constant(MissingWedge.mask, self, volumes.shape[-1], like=volumes, dtype=torch.bool)
        spectrum = torch.fft.rfftn(volumes, dim=axes) * mask
        measured: Tensor = torch.fft.irfftn(spectrum, s=volumes.shape[-3:], dim=axes)
        return measured
