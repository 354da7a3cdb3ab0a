"""The contrast transfer function of an electron microscope, for each particle its own."""

from dataclasses import dataclass, fields, replace
from math import pi
from typing import Any

import torch
from torch import Tensor

from ._constants import constant


@dataclass(frozen=True, kw_only=True)
class ContrastTransfer:
    """Contrast transfer functions of ``n`` boxes; indexing computes those of some.

    The sign is RELION's for extracted particles: positive at low frequency, particles bright.
    """

    box_size: int
    """Side of the boxes in pixels."""
    pixel_size: float
    """Angstrom."""
    defocus_u: Tensor
    """Shape (n,), Angstrom, positive for underfocus; along the azimuth."""
    defocus_v: Tensor
    """Shape (n,), Angstrom; across it."""
    azimuth: Tensor
    """Shape (n,), radians from x towards y, as in ``rlnDefocusAngle``."""
    phase_shift: Tensor
    """Shape (n,), radians, of a phase plate."""
    voltage: Tensor
    """Shape (n,), kilovolt."""
    spherical_aberration: Tensor
    """Shape (n,), millimetre."""
    amplitude_contrast: Tensor
    """Shape (n,), in [0, 1)."""

    def __len__(self) -> int:
        return len(self.defocus_u)

    def to(self, device: torch.device) -> "ContrastTransfer":
        """Return the same on a device, where indexing then computes."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {
            name: v.to(device) for name, v in values.items() if isinstance(v, Tensor)
        }
        return replace(self, **moved)

    def __getitem__(self, index: Tensor) -> Tensor:
        """Transfer functions of some boxes, on the frequencies of `torch.fft.rfft2`.

        Returns
        -------
        Tensor, shape (k, box_size, box_size // 2 + 1)
        """
        squared, direction = constant(_polar, self.box_size, self.pixel_size, like=self.defocus_u)

        def each(values: Tensor) -> Tensor:
            return values[index].reshape(-1, 1, 1)

        volts = 1e3 * each(self.voltage)
        wavelength = 12.2643 / (volts * (1 + 0.978466e-6 * volts)).sqrt()  # relativistic
        mean = (each(self.defocus_u) + each(self.defocus_v)) / 2
        astigmatism = (each(self.defocus_u) - each(self.defocus_v)) / 2
        defocus = mean + astigmatism * (2 * (direction - each(self.azimuth))).cos()
        aberration = 0.5e7 * each(self.spherical_aberration) * wavelength**3 * squared**2
        phase = pi * (wavelength * defocus * squared - aberration)
        offset = each(self.amplitude_contrast).asin() + each(self.phase_shift)
        transfer: Tensor = (phase + offset).sin()
        return transfer


def _polar(box_size: int, pixel_size: float) -> Tensor:
    """Squared length and direction of the frequencies of `torch.fft.rfft2`, (2, y, x)."""
    y = torch.fft.fftfreq(box_size, pixel_size)[:, None]
    x = torch.fft.rfftfreq(box_size, pixel_size)
    return torch.stack((x**2 + y**2, torch.atan2(y.expand(-1, len(x)), x)))
