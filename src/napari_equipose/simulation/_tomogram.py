"""A tomogram of known structures, each copy turned, all measured by one tilt series."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial.transform import Rotation

from napari_equipose.geometry import InputError, Poses3D, box_centre, swap_axis_order

from ._optics import contrast_transfer
from ._subtomograms import DensityMap, SubtomogramConfig, placed, prepare

_TRIES = 400  # to find room for one copy
_MOST_VOXELS = 512**3


class TomogramTruth(NamedTuple):
    """Where each copy is, and how it is turned."""

    positions: npt.NDArray[np.float64]  # (n, 3) pixels (z, y, x), of the centres of mass
    label: npt.NDArray[np.int64]  # (n,) which structure
    rotation: npt.NDArray[np.float64]  # (n, 3, 3), acts on columns (z, y, x)


class SimulatedTomogram(NamedTuple):
    """A volume and what is in it."""

    volume: npt.NDArray[np.float32]  # (z, y, x), protein bright, noise of variance 1
    truth: TomogramTruth


def simulate_tomogram(
    maps: Sequence[DensityMap],
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    config: SubtomogramConfig | None = None,
) -> SimulatedTomogram:
    """Put copies of structures into one volume, none into another, and measure it.

    Parameters
    ----------
    maps : sequence of DensityMap
        At least one; protein positive.
    rng : numpy.random.Generator
        Source of all choices.
    shape : tuple of int
        Of the volume (z, y, x), in voxels; at most 512^3 of them.
    config : SubtomogramConfig, optional
        ``n`` is the number of copies of each structure, ``box_size`` the side of a cube that holds
        one, within which the signal is measured against the noise; ``max_shift`` does not matter.

    Returns
    -------
    SimulatedTomogram

    Raises
    ------
    InputError
        If a map is empty or does not fit into the box, or the copies have no room.
    """
    config = config or SubtomogramConfig()
    if not maps:
        raise InputError("there is no structure to simulate; give a map or a PDB file.")
    if min(shape) < config.box_size or np.prod(shape, dtype=float) > _MOST_VOXELS:
        raise InputError(
            f"each side of the tomogram must be at least the box size {config.box_size}, and it "
            f"must have at most 512^3 voxels; got {shape}."
        )
    references = [prepare(one, config, number) for number, one in enumerate(maps)]
    label = rng.permutation(np.repeat(np.arange(len(maps)), config.n))
    reach = np.array([_reach(*pair) for pair in references]) / [
        config.pixel_size / one.pixel_size for one in maps
    ]
    positions = _places(rng, shape, reach[label], config.box_size)
    turned = swap_axis_order(Rotation.random(len(label), random_state=rng).as_matrix())
    truth = TomogramTruth(positions, label, turned)
    clean = torch.zeros(shape)
    boxes = [_box(place, config.box_size) for place in positions]
    for place, box, number, turn in zip(positions, boxes, label, turned, strict=True):
        shift = torch.from_numpy(place - np.floor(place + 0.5)).float()[None]
        pose = Poses3D(torch.from_numpy(turn).float()[None], shift)
        reference, middle = references[number]
        clean[box] += placed(reference, middle, pose, config, maps[number].pixel_size)[0]
    noise = torch.from_numpy(rng.standard_normal(shape, np.float32))
    clean, noise = _measured(clean, noise, config)
    power = torch.stack([clean[box].var() for box in boxes]).mean()
    noise = noise * (power / config.snr / noise.var()).sqrt()
    return SimulatedTomogram(((clean + noise) / noise.std()).numpy(), truth)


def _reach(density: torch.Tensor, middle: torch.Tensor) -> float:
    """Farthest voxel of a structure from its middle, in voxels of its map."""
    centre = torch.tensor([box_centre(side) for side in density.shape])
    inside = (density > 0.1).nonzero() - centre - middle
    return float(inside.norm(dim=1).max())


def _places(
    rng: np.random.Generator, shape: Sequence[int], reach: npt.NDArray[np.float64], box_size: int
) -> npt.NDArray[np.float64]:
    """Draw a place for each copy where none of those before it reaches; boxes lie inside."""
    half = box_centre(box_size)
    highest = np.array(shape) - (box_size - half) - 0.5
    places = np.empty((len(reach), 3))
    for number, own in enumerate(reach):
        for _ in range(_TRIES):
            place = rng.uniform(half, np.maximum(highest, half + 1e-6))
            apart = np.linalg.norm(places[:number] - place, axis=1)
            if (apart > own + reach[:number]).all():
                places[number] = place
                break
        else:
            raise InputError(
                f"there is no room for copy {number + 1} of {len(reach)}; give a larger tomogram "
                "or fewer copies."
            )
    return places


def _box(place: npt.NDArray[np.float64], box_size: int) -> tuple[slice, ...]:
    corner = np.floor(place + 0.5).astype(int) - box_centre(box_size)
    return tuple(slice(first, first + box_size) for first in corner.tolist())


def _measured(
    clean: torch.Tensor, noise: torch.Tensor, config: SubtomogramConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the microscope leaves of the structures, and of the noise."""
    lines = [np.fft.fftfreq(side) for side in clean.shape[:2]] + [np.fft.rfftfreq(clean.shape[2])]
    mesh = torch.meshgrid(*(torch.from_numpy(line).float() for line in lines), indexing="ij")
    frequency = torch.stack(mesh, -1)  # cycles per voxel
    kept = torch.ones(frequency.shape[:-1])
    if config.wedge is not None:
        kept = config.wedge.measures(frequency).float()
    transfer = kept
    if config.defocus:
        radius = frequency.norm(dim=-1).double().numpy() / config.pixel_size
        waves = contrast_transfer(radius, defocus=config.defocus, b_factor=config.b_factor)
        transfer = -kept * torch.from_numpy(waves).float()
    spectra = torch.fft.rfftn(clean) * transfer, torch.fft.rfftn(noise) * kept
    seen, heard = (torch.fft.irfftn(spectrum, clean.shape) for spectrum in spectra)
    return seen, heard
