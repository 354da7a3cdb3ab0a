"""What an electron microscope does to a projection: transfer function, noise, uneven ice."""

from math import pi

import numpy as np
import numpy.typing as npt
from scipy import fft


def spatial_frequency(shape: tuple[int, int], pixel_size: float) -> npt.NDArray[np.float64]:
    """Magnitudes of the frequencies of `scipy.fft.rfft2`, in 1/Angstrom, for Angstrom pixels."""
    y = fft.fftfreq(shape[0], pixel_size)[:, None]
    x = fft.rfftfreq(shape[1], pixel_size)[None, :]
    frequency: npt.NDArray[np.float64] = np.hypot(y, x)
    return frequency


def contrast_transfer(
    frequency: npt.NDArray[np.float64],
    *,
    defocus: float,
    voltage: float = 300.0,
    spherical_aberration: float = 2.7,
    amplitude_contrast: float = 0.1,
    b_factor: float = 0.0,
) -> npt.NDArray[np.float64]:
    """Contrast transfer function of a round lens: negative near zero, protein is dark.

    Parameters
    ----------
    frequency : ndarray
        1/Angstrom.
    defocus : float
        Angstrom, positive for underfocus.
    voltage : float
        Kilovolt.
    spherical_aberration : float
        Millimetre.
    amplitude_contrast : float
        Part in [0, 1).
    b_factor : float
        Square Angstrom; the envelope is ``exp(-b_factor frequency^2 / 4)``.
    """
    volts = voltage * 1e3
    wavelength = 12.2643 / np.sqrt(volts * (1 + 0.978466e-6 * volts))  # relativistic, Angstrom
    rings = wavelength * frequency**2
    aberration = 0.5 * (spherical_aberration * 1e7) * wavelength * rings**2
    phase = pi * (defocus * rings - aberration) + np.arcsin(amplitude_contrast)
    transfer: npt.NDArray[np.float64] = -np.sin(phase) * np.exp(-b_factor / 4 * frequency**2)
    return transfer


def coloured_noise(
    rng: np.random.Generator, shape: tuple[int, int], pixel_size: float
) -> npt.NDArray[np.float32]:
    """White noise with more of it below 1/50 Angstrom, as vitreous ice has; variance 1."""
    boost = 1 + 1.5 / (1 + (50 * spatial_frequency(shape, pixel_size)) ** 2)
    white = rng.standard_normal(shape, np.float32)
    noise = fft.irfft2(fft.rfft2(white) * boost.astype(np.float32), shape)
    return np.asarray(noise / noise.std(), np.float32)


def uneven_ice(rng: np.random.Generator, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Draw a slope in a random direction and a bowl, both about 1 from edge to edge."""
    y, x = (np.mgrid[: shape[0], : shape[1]].T / shape).T - 0.5
    angle = rng.uniform(0, 2 * pi)
    return np.asarray(1.2 * (np.sin(angle) * y + np.cos(angle) * x) + 0.8 * (y**2 + x**2))
