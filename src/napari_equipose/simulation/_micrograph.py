"""Cryo-EM-like micrographs of a known structure, with the poses of all particles."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import pi
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage
from scipy.spatial.transform import Rotation

from napari_equipose.geometry import InputError

from ._optics import coloured_noise, contrast_transfer, spatial_frequency, uneven_ice
from ._placement import place_objects
from ._structures import VIEWS, Structure

_PADDING = 128  # pixels around the image that keep the transfer function from wrapping round


@dataclass(frozen=True, kw_only=True)
class MicrographConfig:
    """What is in a simulated micrograph, and how it was taken."""

    shape: tuple[int, int] = (1024, 1024)
    """Size (y, x) in pixels."""
    pixel_size: float = 4.0
    """Angstrom."""
    n: int = 150
    """Number of particles."""
    snr: float = 0.1
    """Variance of the particles inside their discs over the variance of the noise."""
    views: Mapping[str, int] = field(default_factory=lambda: {"side": 2, "top": 7})
    """Views to show, "side" or "top", and the in-plane symmetry each has (20S: 2 and 7)."""
    tilt_std: float = 0.0
    """Spread of a tilt out of the view, in radians."""
    spacing: float = 1.15
    """Least distance of two particles, in particle diameters."""
    defocus: float = 20_000.0
    """Angstrom of underfocus."""
    b_factor: float = 150.0
    """Square Angstrom."""
    gradient: float = 1.0
    """Unevenness of the ice, in standard deviations of the noise."""
    contaminants: int = 6
    """Number of ice crystals; they may lie on particles."""
    carbon: bool = True
    """Whether a carbon edge crosses the far corner."""

    def __post_init__(self) -> None:
        if self.snr <= 0 or self.pixel_size <= 0:
            raise InputError(
                f"snr and pixel_size must be positive, got {self.snr} and {self.pixel_size}"
            )
        if not self.views or not set(self.views) <= set(VIEWS):
            raise InputError(f"views must be of {', '.join(VIEWS)}, got {list(self.views)}")


class MicrographTruth(NamedTuple):
    """Where the particles are; ``x_image = R x_view + position``."""

    positions: npt.NDArray[np.float64]  # (n, 2) pixels (y, x) of the centres of mass
    rotation: npt.NDArray[np.float64]  # (n,) radians, counter-clockwise as displayed
    view: npt.NDArray[np.str_]  # (n,) "side" or "top"
    symmetry_fold: npt.NDArray[np.int64]  # (n,) rotations are known modulo 2 pi / fold
    on_contaminant: npt.NDArray[np.bool_]  # (n,) hidden by ice or on carbon


class SimulatedMicrograph(NamedTuple):
    """A micrograph and what is in it."""

    image: npt.NDArray[np.float32]  # (y, x), mean 0, variance 1, particles dark
    truth: MicrographTruth
    particle_radius: float  # pixels
    clean: npt.NDArray[np.float32]  # (y, x), the particles alone, after the optics


def simulate_micrograph(
    structure: Structure, rng: np.random.Generator, config: MicrographConfig | None = None
) -> SimulatedMicrograph:
    """Take a micrograph of many copies of a structure.

    Each copy is turned in the plane by a uniform angle and projected; the contrast
    transfer function acts on the field as a whole, so that particles reach into one another
    as they do in the microscope. Then come coloured noise, uneven ice, ice crystals and carbon.

    Parameters
    ----------
    structure : Structure
        From `read_pdb`.
    rng : numpy.random.Generator
        Source of all choices.
    config : MicrographConfig, optional
        Defaults make a 20S proteasome's micrograph of 1024 x 1024 pixels in a few seconds.

    Returns
    -------
    SimulatedMicrograph
        Image, truth, radius of the particles in pixels, and the signal without noise.

    Raises
    ------
    InputError
        If the particles don't fit into the field.
    """
    config = config or MicrographConfig()
    shape = config.shape
    names = list(config.views)
    views = [structure.view(name) for name in names]
    extent = [np.percentile(np.hypot(*v.xyz[:, :2].T), 99) for v in views]
    radius = float(max(extent)) / config.pixel_size

    positions = place_objects(
        rng, config.n, shape, diameter=2 * radius * config.spacing, margin=1.5 * radius
    )
    kind = rng.integers(len(names), size=config.n)
    rotation = rng.uniform(-pi, pi, config.n)
    tilts = Rotation.from_rotvec(rng.normal(0, config.tilt_std, (config.n, 3)) * [1, 1, 0])
    copies = [views[k].xyz @ tilt.as_matrix().T for k, tilt in zip(kind, tilts, strict=True)]
    weights = [views[k].weight for k in kind]
    clean = _field(copies, weights, positions, rotation, config)

    discs = _discs(positions, radius, shape)
    noise = float(clean[discs].std()) / config.snr**0.5
    padded = (shape[0] + 2 * _PADDING, shape[1] + 2 * _PADDING)
    grain = coloured_noise(rng, padded, config.pixel_size)[_PADDING:-_PADDING, _PADDING:-_PADDING]
    image = clean + noise * (grain + config.gradient * uneven_ice(rng, shape))
    hidden = np.zeros(shape, bool)
    for _ in range(config.contaminants):
        crystal, covered = _ice_crystal(rng, shape, radius)
        image += noise * crystal
        hidden |= covered
    if config.carbon:
        film, covered = _carbon(rng, shape)
        image += noise * film
        hidden |= covered

    near = ndimage.distance_transform_edt(~hidden) if hidden.any() else np.full(shape, np.inf)
    y, x = np.round(positions).astype(int).T
    truth = MicrographTruth(
        positions,
        rotation,
        np.array(names)[kind],
        np.array([config.views[name] for name in names])[kind],
        near[y, x] < 0.3 * radius,
    )
    image = ((image - image.mean()) / image.std()).astype(np.float32)
    return SimulatedMicrograph(image, truth, radius, clean.astype(np.float32))


def _field(
    copies: list[npt.NDArray[np.float64]],
    weights: list[npt.NDArray[np.float64]],
    positions: npt.NDArray[np.float64],
    rotation: npt.NDArray[np.float64],
    config: MicrographConfig,
) -> npt.NDArray[np.float64]:
    """Project the turned copies at their places and pass the field through the microscope."""
    shape = (config.shape[0] + 2 * _PADDING, config.shape[1] + 2 * _PADDING)
    field = np.zeros(shape)
    for xyz, weight, position, angle in zip(copies, weights, positions, rotation, strict=True):
        x, y = xyz[:, :2].T / config.pixel_size
        cos, sin = np.cos(angle), np.sin(angle)
        places = np.stack((cos * y - sin * x, sin * y + cos * x), -1) + position + _PADDING
        corner = np.floor(places).astype(int)
        part = places - corner
        for step in ((0, 0), (0, 1), (1, 0), (1, 1)):
            share = np.where(step, part, 1 - part).prod(-1)
            rows, columns = (corner + step).T
            np.add.at(field, (rows, columns), weight * share)
    frequency = spatial_frequency(shape, config.pixel_size)
    # 10 Angstrom is finer than these pixels show; the Gaussian is that of a density map
    resolution = max(10.0, 2 * config.pixel_size)
    blur = np.exp(-((frequency * resolution) ** 2))
    transfer = contrast_transfer(frequency, defocus=config.defocus, b_factor=config.b_factor)
    seen = fft.irfft2(fft.rfft2(field) * blur * transfer, shape)
    return np.asarray(seen[_PADDING:-_PADDING, _PADDING:-_PADDING])


def _discs(
    positions: npt.NDArray[np.float64], radius: float, shape: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Mark the pixels within ``radius`` of a position (rounded)."""
    ground = np.ones(shape, bool)
    ground[tuple(np.round(positions).astype(int).T)] = False
    return np.asarray(ndimage.distance_transform_edt(ground) <= radius)


def _ice_crystal(
    rng: np.random.Generator, shape: tuple[int, int], radius: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Draw a dense ellipse with a bright fringe, in units of the noise, and what it covers."""
    centre = rng.uniform((0, 0), shape)
    axes = rng.uniform((0.5, 0.4), (1.6, 1.2)) * radius
    angle, depth = rng.uniform(0, pi), rng.uniform(2, 4)
    y, x = (np.mgrid[: shape[0], : shape[1]].T - centre).T
    along = (np.cos(angle) * x + np.sin(angle) * y) / axes[0]
    across = (np.cos(angle) * y - np.sin(angle) * x) / axes[1]
    distance = np.hypot(along, across)  # 1 on the crystal's edge
    body = 0.5 * (1 - np.tanh(6 * (distance - 1)))
    fringe = 0.4 * np.exp(-(((distance - 1.12) / 0.07) ** 2))
    return depth * (fringe - body), distance < 1


def _carbon(
    rng: np.random.Generator, shape: tuple[int, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Draw a grainy dark film over the far corner, in units of the noise, and what it covers."""
    y, x = (np.mgrid[: shape[0], : shape[1]].T / shape).T
    depth = y + x + rng.normal(0, 0.02) - 1.82
    grain = ndimage.gaussian_filter(rng.standard_normal(shape), 1.5)
    film = -0.5 * (1 + np.tanh(100 * depth)) * (1 + 2 * grain)
    return film, depth > 0
