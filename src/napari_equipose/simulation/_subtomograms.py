"""Subtomograms of known structures, each turned, shifted and measured by a tilt series."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi, sqrt
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from napari_equipose.geometry import (
    InputError,
    MissingWedge,
    Poses3D,
    check_limits,
    check_voxels,
    fourier_grid,
    resample,
    swap_axis_order,
)

from ._optics import contrast_transfer
from ._structures import Structure

_BATCH = 32  # volumes made at once: bounds the memory, not the result
_BORDER = 6  # voxels around a structure that its blur reaches into


class DensityMap(NamedTuple):
    """A structure as a volume, its middle anywhere in it."""

    density: npt.NDArray[np.floating]  # (z, y, x)
    pixel_size: float  # Angstrom


@dataclass(frozen=True, kw_only=True)
class SubtomogramConfig:
    """What is in simulated subtomograms, and how they were taken."""

    n: int = 100
    """Of each structure."""
    box_size: int = 32
    """Voxels."""
    pixel_size: float = 12.0
    """Angstrom."""
    snr: float = 0.1
    """Variance of a subtomogram without noise over that of its noise, both as measured."""
    max_shift: float = 2.0
    """Uniform shifts along each axis, up to so many voxels either way."""
    tilt_min_deg: float | None = -60.0
    """None for no missing wedge."""
    tilt_max_deg: float | None = 60.0
    tilt_axis: Literal["y", "x"] = "y"
    defocus: float = 50_000.0
    """Angstrom of underfocus; 0 for no contrast transfer function."""
    b_factor: float = 100.0
    """Square Angstrom."""

    def __post_init__(self) -> None:
        check_limits(vars(self))
        for name in ("n", "box_size", "pixel_size", "snr"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, got {getattr(self, name)}.")
        for name in ("max_shift", "defocus"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} can't be negative, got {getattr(self, name)}.")
        self.wedge  # noqa: B018 - refuses a range of zero here, not after the work

    @property
    def wedge(self) -> MissingWedge | None:
        """What the tilt series measures; None where it measures all."""
        return MissingWedge.of_range(self.tilt_min_deg, self.tilt_max_deg, self.tilt_axis)


class SubtomogramTruth(NamedTuple):
    """What was done to each structure: ``x_box = R x_structure + t``."""

    label: npt.NDArray[np.int64]  # (n,) which structure
    rotation: npt.NDArray[np.float64]  # (n, 3, 3), acts on columns (z, y, x)
    translation: npt.NDArray[np.float64]  # (n, 3) pixels (z, y, x)


class Subtomograms(NamedTuple):
    """Subtomograms and what is in them."""

    volumes: npt.NDArray[np.float32]  # (n, z, y, x), mean 0, variance 1, protein bright
    truth: SubtomogramTruth


def simulate_subtomograms(
    maps: Sequence[DensityMap], rng: np.random.Generator, config: SubtomogramConfig | None = None
) -> Subtomograms:
    """Take subtomograms of structures, each uniformly turned over SO(3).

    A structure's origin is the centre of mass of its positive density. Each copy is read from the
    map in one interpolation, then passes the contrast transfer function, one for all of space,
    and the missing wedge; white noise that passed the wedge is added.

    Parameters
    ----------
    maps : sequence of DensityMap
        At least one; protein positive.
    rng : numpy.random.Generator
        Source of all choices.
    config : SubtomogramConfig, optional
        Defaults are those of the data of the Harmony paper's Table 1.

    Returns
    -------
    Subtomograms
        ``config.n`` of each structure, one structure after the other.

    Raises
    ------
    InputError
        If a map is empty or does not fit into the box.
    """
    config = config or SubtomogramConfig()
    if not maps:
        raise InputError("there is no structure to simulate; give a map or a PDB file.")
    check_voxels("boxes", config.n * len(maps), *[config.box_size] * 3)
    label = np.repeat(np.arange(len(maps)), config.n)
    turned = Rotation.random(len(label), random_state=rng).as_matrix()
    truth = SubtomogramTruth(
        label,
        swap_axis_order(turned),
        rng.uniform(-config.max_shift, config.max_shift, (len(label), 3)),
    )
    box, axes = config.box_size, (-3, -2, -1)
    transfer, wedge = _transfer(config), config.wedge
    volumes = np.empty((len(label), box, box, box), np.float32)
    for number, one in enumerate(maps):
        reference, middle = prepare(one, config, number)
        members = np.flatnonzero(label == number)
        for first in range(0, len(members), _BATCH):
            rows = members[first : first + _BATCH]
            rotation = torch.from_numpy(truth.rotation[rows]).float()
            shift = torch.from_numpy(truth.translation[rows]).float()
            clean = placed(reference, middle, Poses3D(rotation, shift), config, one.pixel_size)
            noise = torch.from_numpy(rng.standard_normal(clean.shape, np.float32))
            clean = torch.fft.irfftn(torch.fft.rfftn(clean, dim=axes) * transfer, clean.shape[1:])
            if wedge is not None:
                clean, noise = wedge.apply(clean), wedge.apply(noise)
            power = [value.flatten(1).var(1)[:, None, None, None] for value in (clean, noise)]
            seen = clean + noise * (power[0] / power[1] / config.snr).sqrt()
            seen = seen - seen.mean(axes, keepdim=True)
            volumes[rows] = (seen / seen.std(axes, keepdim=True)).numpy()
    return Subtomograms(volumes, truth)


def structure_map(structure: Structure, pixel_size: float, resolution: float = 20.0) -> DensityMap:
    """Blur the atoms of a structure into a volume.

    Parameters
    ----------
    structure : Structure
        From `read_pdb`; its x runs along the last axis of the volume.
    pixel_size : float
        Angstrom.
    resolution : float
        Angstrom; the atoms become Gaussians of ``resolution / (pi sqrt(2))``, as ChimeraX's
        molmap makes them.
    """
    sigma = resolution / (pi * sqrt(2)) / pixel_size
    places = structure.xyz[:, ::-1] / pixel_size
    places = places - places.min(0) + 4 * sigma + _BORDER
    shape = tuple(np.ceil(places.max(0) + 4 * sigma + _BORDER).astype(int))
    if np.prod(shape, dtype=float) > 512**3:
        raise InputError(f"a structure of {shape} voxels is too large; give larger voxels.")
    density = np.zeros(shape)
    corner = np.floor(places).astype(int)
    part = places - corner
    for step in np.ndindex(2, 2, 2):
        share = np.where(step, part, 1 - part).prod(-1)
        np.add.at(density, tuple((corner + step).T), structure.weight * share)
    return DensityMap(ndimage.gaussian_filter(density, sigma), pixel_size)


def prepare(
    one: DensityMap, config: SubtomogramConfig, number: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blur a map to the voxels of the boxes; return it and its middle, from its centre voxel."""
    density = np.clip(np.asarray(one.density, np.float64), 0, None)
    if density.ndim != 3 or not np.isfinite(density).all() or not density.any():
        raise InputError(f"map {number + 1} is no volume with positive density.")
    if one.pixel_size <= 0:
        raise InputError(f"map {number + 1} has no pixel size.")
    middle = np.array(ndimage.center_of_mass(density))
    places = np.argwhere(density > 0.1 * density.max()) - middle
    extent = 2 * np.sqrt((places**2).sum(1).max()) * one.pixel_size
    if extent > config.box_size * config.pixel_size:
        raise InputError(
            f"map {number + 1} is {extent:.0f} Angstrom long, longer than the box of "
            f"{config.box_size * config.pixel_size:.0f}; give larger boxes or voxels."
        )
    factor = config.pixel_size / one.pixel_size
    if factor > 1:  # else the coarser voxels would alias
        density = ndimage.gaussian_filter(density, 0.5 * sqrt(factor**2 - 1))
    centre = np.array(density.shape) // 2
    return torch.from_numpy(density / density.max()).float(), torch.from_numpy(middle - centre)


def placed(
    reference: torch.Tensor,
    middle: torch.Tensor,
    poses: Poses3D,
    config: SubtomogramConfig,
    pixel_size: float,
) -> torch.Tensor:
    """Copies of a structure at poses, shape (n, box, box, box)."""
    back, factor = poses.inverse(), config.pixel_size / pixel_size
    volumes = reference.expand(len(back.rotation), 1, *reference.shape)
    shift = back.translation * factor + middle.float()
    return resample(volumes, back.rotation * factor, shift, (config.box_size,) * 3)[:, 0]


def _transfer(config: SubtomogramConfig) -> torch.Tensor:
    """The contrast transfer function on the frequencies of `torch.fft.rfftn`, protein bright."""
    box = config.box_size
    frequency = fourier_grid(box).norm(dim=-1).double().numpy() / (box * config.pixel_size)
    if not config.defocus:
        return torch.ones(frequency.shape)
    transfer = -contrast_transfer(frequency, defocus=config.defocus, b_factor=config.b_factor)
    return torch.from_numpy(transfer).float()
