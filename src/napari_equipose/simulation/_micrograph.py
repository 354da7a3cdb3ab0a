"""Cryo-EM-like micrographs of a known structure, with the poses of all particles."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import pi
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage
from scipy.spatial.transform import Rotation

from napari_equipose.geometry import InputError, check_limits, check_voxels

from ._nuisances import Nuisance, carbon_film, crystalline_ice, dense_crystal, ice_ball
from ._optics import coloured_noise, contrast_transfer, spatial_frequency, uneven_ice
from ._placement import grow_clump, place_objects
from ._structures import VIEWS, Structure

_PADDING = 128  # pixels around the image that keep the transfer function from wrapping round
_CLUMP = (5, 21)  # copies in an aggregate, from and below
MAX_CARBON = 0.5
"""Of the image: where there is more, it is a micrograph of carbon."""
MAX_ICE_BALL = 20.0
"""Particle diameters."""
ANY_VIEW = "any"
AGGREGATE = "aggregate"
"""The view, in the truth, of a particle that lies in a clump."""
_NOT_NEGATIVE = (
    *("tilt_std", "defocus", "b_factor", "gradient"),
    *("contaminants", "ice_balls", "crystals", "aggregates"),
)


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
    """Views to show, and the in-plane symmetry of each (20S: 2 and 7): "side", "top", or "any"
    for a uniformly random orientation, whose in-plane rotation is then not told."""
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
    """Number of dense crystals as large as particles; they may lie on particles."""
    ice_balls: int = 0
    """Number of balls of ice, much darker than particles."""
    ice_ball_diameter: tuple[float, float] = (0.3, 3.0)
    """Smallest and largest, in particle diameters; as many small as large ones."""
    crystals: int = 0
    """Number of patches of crystalline ice: straight edges, and stripes of a lattice."""
    aggregates: int = 0
    """Number of clumps of particles, of 5 to 20 each that lie on one another."""
    carbon: float = 0.016
    """Part of the image under a carbon film, up to 0.5."""
    carbon_direction: float = pi / 4
    """From the middle of the image to the film, in radians from x toward y: pi / 4 is the far
    corner."""

    def __post_init__(self) -> None:
        check_limits(vars(self))
        for name in ("n", "snr", "pixel_size", "spacing"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, got {getattr(self, name)}.")
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise InputError(f"{name} can't be negative, got {getattr(self, name)}.")
        if not 0 <= self.carbon <= MAX_CARBON:
            raise InputError(
                f"carbon is the part of the image that it covers, from 0 to {MAX_CARBON}; got "
                f"{self.carbon}."
            )
        low, high = self.ice_ball_diameter
        if not 0 < low <= high <= MAX_ICE_BALL:
            raise InputError(
                "ice_ball_diameter must be two diameters, the smaller one first, above 0 and at "
                f"most {MAX_ICE_BALL} particles; got {low} and {high}."
            )
        if min(self.shape) < 1:
            raise InputError(f"shape must be positive, got {self.shape[0]} x {self.shape[1]}.")
        check_voxels("a micrograph", *(side + 2 * _PADDING for side in self.shape))
        known = {*VIEWS, ANY_VIEW}
        if not self.views or not set(self.views) <= known:
            raise InputError(
                f"views must be of {', '.join(VIEWS)}, {ANY_VIEW}, got {list(self.views)}"
            )
        if min(self.views.values()) < 1:
            raise InputError(f"an in-plane symmetry must be at least 1, got {dict(self.views)}.")


class MicrographTruth(NamedTuple):
    """Where the particles are; ``x_image = R x_view + position``.

    The ``n`` particles of the configuration come first, then those of the aggregates.
    """

    positions: npt.NDArray[np.float64]  # (n, 2) pixels (y, x) of the centres of mass
    rotation: npt.NDArray[np.float64]  # (n,) radians, counter-clockwise; NaN if of any view
    view: npt.NDArray[np.str_]  # (n,) "side", "top", "any" or "aggregate"
    symmetry_fold: npt.NDArray[np.int64]  # (n,) rotations are known modulo 2 pi / fold
    on_contaminant: npt.NDArray[np.bool_]  # (n,) hidden by ice, on carbon, or in an aggregate


class SimulatedMicrograph(NamedTuple):
    """A micrograph and what is in it."""

    image: npt.NDArray[np.float32]  # (y, x), mean 0, variance 1, particles dark
    truth: MicrographTruth
    particle_radius: float  # pixels
    clean: npt.NDArray[np.float32]  # (y, x), all particles alone, after the optics


class _Copies(NamedTuple):
    """Copies of a structure in the field."""

    xyz: list[npt.NDArray[np.float64]]  # Angstrom, turned but for the rotation in the plane
    weights: list[npt.NDArray[np.float64]]
    positions: npt.NDArray[np.float64]  # (n, 2) pixels (y, x)
    rotation: npt.NDArray[np.float64]  # (n,) radians


def simulate_micrograph(
    structure: Structure, rng: np.random.Generator, config: MicrographConfig | None = None
) -> SimulatedMicrograph:
    """Take a micrograph of many copies of a structure.

    Each copy is turned in the plane by a uniform angle and projected; the contrast
    transfer function acts on the field as a whole, so that particles reach into one another
    as they do in the microscope. Then come coloured noise, uneven ice, and whatever else the
    configuration names: dense crystals, balls of ice, crystalline ice, aggregates and carbon.

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
    whole = structure.upright()
    views = [whole if name == ANY_VIEW else structure.view(name) for name in names]
    radius = max(map(_extent, names, views)) / config.pixel_size

    positions = place_objects(
        rng, config.n, shape, diameter=2 * radius * config.spacing, margin=1.5 * radius
    )
    kind = rng.integers(len(names), size=config.n)
    rotation = rng.uniform(-pi, pi, config.n)
    tilts = Rotation.from_rotvec(rng.normal(0, config.tilt_std, (config.n, 3)) * [1, 1, 0])
    free = np.array([name == ANY_VIEW for name in names])[kind]
    if free.any():
        tilts = Rotation.concatenate([_orientations(rng, config.n), tilts])[
            np.where(free, 0, config.n) + np.arange(config.n)
        ]
    xyz = [views[k].xyz @ tilt.as_matrix().T for k, tilt in zip(kind, tilts, strict=True)]
    weights = [views[k].weight for k in kind]
    clean = _field(_Copies(xyz, weights, positions, rotation), config)

    noise = float(clean[_discs(positions, radius, shape)].std()) / config.snr**0.5
    padded = (shape[0] + 2 * _PADDING, shape[1] + 2 * _PADDING)
    grain = coloured_noise(rng, padded, config.pixel_size)[_PADDING:-_PADDING, _PADDING:-_PADDING]
    background = noise * (grain + config.gradient * uneven_ice(rng, shape))
    hidden = np.zeros(shape, bool)
    for drawn, covered in _nuisances(rng, radius, config):
        background += noise * drawn
        hidden |= covered
    clumps = _aggregates(rng, whole, radius, config)
    if len(clumps.positions):
        clean += _field(clumps, config)
        hidden |= _discs(clumps.positions, radius, shape)

    near = ndimage.distance_transform_edt(~hidden) if hidden.any() else np.full(shape, np.inf)
    y, x = np.round(positions).astype(int).T
    n_clumped = len(clumps.positions)
    truth = MicrographTruth(
        np.concatenate((positions, clumps.positions)),
        np.concatenate((np.where(free, np.nan, rotation), np.full(n_clumped, np.nan))),
        np.array([*(names[k] for k in kind), *[AGGREGATE] * n_clumped]),
        np.array([*(config.views[names[k]] for k in kind), *[1] * n_clumped]),
        np.concatenate((near[y, x] < 0.3 * radius, np.ones(n_clumped, bool))),
    )
    image = clean + background
    image = ((image - image.mean()) / image.std()).astype(np.float32)
    return SimulatedMicrograph(image, truth, radius, clean.astype(np.float32))


def _extent(name: str, view: Structure) -> float:
    """Radius in Angstrom of a disc that holds a view."""
    seen = view.xyz if name == ANY_VIEW else view.xyz[:, :2]
    return float(np.percentile(np.linalg.norm(seen, axis=1), 99))


def _orientations(rng: np.random.Generator, n: int) -> Rotation:
    """Draw rotations uniformly from all of SO(3)."""
    return Rotation.from_quat(rng.normal(size=(n, 4)))


def _nuisances(
    rng: np.random.Generator, radius: float, config: MicrographConfig
) -> Iterator[Nuisance]:
    """Draw, one by one, what lies on the particles."""
    shape = config.shape
    for _ in range(config.contaminants):
        yield dense_crystal(rng, shape, radius)
    if config.carbon:
        yield carbon_film(rng, shape, config.carbon, config.carbon_direction)
    for _ in range(config.ice_balls):
        yield ice_ball(rng, shape, *(radius * d for d in config.ice_ball_diameter))
    for _ in range(config.crystals):
        yield crystalline_ice(rng, shape, radius)


def _aggregates(
    rng: np.random.Generator, whole: Structure, radius: float, config: MicrographConfig
) -> _Copies:
    """Pile up copies that are turned at random."""
    clumps = [
        grow_clump(rng, int(rng.integers(*_CLUMP)), config.shape, diameter=2 * radius)
        for _ in range(config.aggregates)
    ]
    positions = np.concatenate([*clumps, np.zeros((0, 2))])
    turned = _orientations(rng, len(positions)).as_matrix() if len(positions) else ()
    xyz = [whole.xyz @ matrix.T for matrix in turned]
    return _Copies(xyz, [whole.weight] * len(xyz), positions, np.zeros(len(xyz)))


def _field(copies: _Copies, config: MicrographConfig) -> npt.NDArray[np.float64]:
    """Project the turned copies at their places and pass the field through the microscope."""
    shape = (config.shape[0] + 2 * _PADDING, config.shape[1] + 2 * _PADDING)
    field = np.zeros(shape)
    for xyz, weight, position, angle in zip(*copies, strict=True):
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
