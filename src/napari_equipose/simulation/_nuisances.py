"""What lies on the particles of a micrograph: ice, crystals and carbon, in units of the noise."""

from math import pi
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage


class Nuisance(NamedTuple):
    """Something that is no particle."""

    drawn: npt.NDArray[np.float64]
    """Shape (y, x): to be added, in standard deviations of the noise."""
    covered: npt.NDArray[np.bool_]
    """Shape (y, x): where it lies."""


def dense_crystal(rng: np.random.Generator, shape: tuple[int, int], radius: float) -> Nuisance:
    """Draw a dense ellipse with a bright fringe, about as large as a particle."""
    centre = rng.uniform((0, 0), shape)
    axes = rng.uniform((0.5, 0.4), (1.6, 1.2)) * radius
    angle, depth = rng.uniform(0, pi), rng.uniform(2, 4)
    y, x = _from(centre, shape)
    along = (np.cos(angle) * x + np.sin(angle) * y) / axes[0]
    across = (np.cos(angle) * y - np.sin(angle) * x) / axes[1]
    distance = np.hypot(along, across)  # 1 on the crystal's edge
    body = 0.5 * (1 - np.tanh(6 * (distance - 1)))
    fringe = 0.4 * np.exp(-(((distance - 1.12) / 0.07) ** 2))
    return Nuisance(depth * (fringe - body), distance < 1)


def ice_ball(
    rng: np.random.Generator, shape: tuple[int, int], smallest: float, largest: float
) -> Nuisance:
    """Draw a ball of ice, as dark as it is thick, with a bright fringe; radii in pixels."""
    centre = rng.uniform((0, 0), shape)
    radius = smallest * (largest / smallest) ** rng.uniform()
    depth = rng.uniform(3, 9)
    distance = np.hypot(*_from(centre, shape))
    body = np.sqrt(np.clip(1 - (distance / radius) ** 2, 0, None))
    fringe = 0.2 * np.exp(-(((distance - 1.05 * radius - 1) / (0.05 * radius + 1)) ** 2))
    return Nuisance(depth * (fringe - body), distance < radius)


def crystalline_ice(rng: np.random.Generator, shape: tuple[int, int], radius: float) -> Nuisance:
    """Draw a patch with straight edges whose lattice shows as stripes of three directions."""
    centre = rng.uniform((0, 0), shape)
    size = radius * rng.uniform(1, 4)
    n_sides, first = rng.integers(4, 8), rng.uniform(0, 2 * pi)
    y, x = _from(centre, shape)
    outside = np.full(shape, -np.inf)
    for side in range(n_sides):
        angle = first + 2 * pi * side / n_sides + rng.normal(0, 0.15)
        apart = size * rng.uniform(0.6, 1)
        outside = np.maximum(outside, np.cos(angle) * x + np.sin(angle) * y - apart)
    period, depth = rng.uniform(3, 8), rng.uniform(0.5, 2)
    lattice = sum(
        np.cos(2 * pi / period * (np.cos(first + k * pi / 3) * x + np.sin(first + k * pi / 3) * y))
        for k in range(3)
    )
    body = 0.5 * (1 - np.tanh(outside / 2))
    return Nuisance(-depth * body * (1 + 0.5 * lattice), outside < 0)


def carbon_film(
    rng: np.random.Generator, shape: tuple[int, int], part: float, direction: float
) -> Nuisance:
    """Draw a grainy dark film over a part of the image; direction in radians from x toward y."""
    y, x = (np.mgrid[: shape[0], : shape[1]].T / shape).T
    along = 2**0.5 * (np.sin(direction) * y + np.cos(direction) * x)
    depth = along - np.quantile(along, 1 - part)
    grain = ndimage.gaussian_filter(rng.standard_normal(shape), 1.5)
    film = -0.5 * (1 + np.tanh(100 * depth)) * (1 + 2 * grain)
    return Nuisance(film, depth > 0)


def _from(
    centre: npt.NDArray[np.float64], shape: tuple[int, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Tell the places (y, x) of all pixels from a centre, in pixels."""
    y, x = (np.mgrid[: shape[0], : shape[1]].T - centre).T
    return y, x
