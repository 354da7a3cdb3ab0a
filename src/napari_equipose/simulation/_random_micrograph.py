"""Micrographs whose every property is random: what a method meets that nobody tuned on them."""

from math import pi
from typing import NamedTuple

import numpy as np

from napari_equipose.geometry import InputError

from ._micrograph import ANY_VIEW, MicrographConfig
from ._model_structures import MODEL_STRUCTURES, model_structure
from ._structures import Structure

_N = (30, 400)
_SNR = (0.05, 0.3)
_DIAMETER = (20.0, 80.0)  # pixels
_LEAST_SIGNAL = 140.0
"""Of a particle: its variance over that of the noise, times the pixels of its disc. With half as
much even a matched filter that knows the particle finds as many peaks of noise as particles."""
_PIXEL_SIZE = (1.2, 8.0)  # Angstrom
_FILLED = 0.33  # of the field: placing at random gets stuck at about a half


class MicrographDraw(NamedTuple):
    """What a seed chose."""

    name: str
    """Of `MODEL_STRUCTURES`."""
    structure: Structure
    config: MicrographConfig


def draw_micrograph(
    rng: np.random.Generator,
    *,
    snr: float | None = None,
    shape: tuple[int, int] = (1200, 1200),
) -> MicrographDraw:
    """Choose a structure and all that may be in its micrograph, for `simulate_micrograph`.

    Drawn are the structure and its views, 30 to 400 particles of 20 to 80 pixels, pixel size,
    defocus, slope of the ice, dense crystals, balls of ice of any size, crystalline ice,
    aggregates, and a carbon edge. Each nuisance is absent from a third of the draws or more. The
    more noise, the larger are the smallest particles (24 pixels at SNR 0.3, 42 at 0.1), since
    smaller ones could not be told from noise.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all choices; one from a seed repeats them.
    snr : float, optional
        Variance of the particles over that of the noise; drawn from 0.05 to 0.3 if not given.
    shape : (int, int)
        Size (y, x) of the image in pixels.

    Raises
    ------
    InputError
        If the image has no room for 30 particles that can be told from noise.
    """
    if snr is None:
        snr = _even(rng, *_SNR)
    elif not snr > 0:
        raise InputError(f"snr must be positive, got {snr}.")
    smallest = max(_DIAMETER[0], (4 / pi * _LEAST_SIGNAL / snr) ** 0.5)
    name = MODEL_STRUCTURES[rng.integers(len(MODEL_STRUCTURES))]
    structure, known = model_structure(name)
    names = [*dict.fromkeys((*known, ANY_VIEW))]
    chosen = rng.permutation(len(names))[: rng.integers(1, len(names) + 1)]
    spacing = rng.uniform(1.05, 1.4)
    longest = 2 * float(np.percentile(np.linalg.norm(structure.xyz, axis=1), 99))  # Angstrom
    widest = min(
        max(_DIAMETER[1], smallest), longest / _PIXEL_SIZE[0], _room(_N[0], shape, spacing)
    )
    if widest < smallest:
        raise InputError(
            f"an image of {shape[0]} x {shape[1]} px has no room for {_N[0]} particles of "
            f"{smallest:.0f} px, which SNR {snr:.3g} takes; ask for a larger one or less noise."
        )
    least = max(smallest, longest / _PIXEL_SIZE[1])
    diameter = _even(rng, min(least, widest), widest)
    most = _most(diameter, shape, spacing)
    return MicrographDraw(
        name,
        structure,
        MicrographConfig(
            shape=shape,
            pixel_size=longest / diameter,
            n=round(_even(rng, _N[0], min(_N[1], most))),
            snr=snr,
            views={names[k]: known.get(names[k], 1) for k in sorted(chosen)},
            tilt_std=_sometimes(rng, 0.15),
            spacing=spacing,
            defocus=rng.uniform(8_000, 30_000),
            b_factor=rng.uniform(60, 250),
            gradient=_sometimes(rng, 2.0),
            contaminants=round(_sometimes(rng, 10)),
            ice_balls=round(_sometimes(rng, 12)),
            crystals=round(_sometimes(rng, 4)),
            aggregates=round(_sometimes(rng, 5)),
            carbon=_sometimes(rng, 0.2),
            carbon_direction=rng.uniform(-pi, pi),
        ),
    )


def _even(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number so that each factor of two is as likely."""
    return float(low * (high / low) ** rng.uniform())


def _sometimes(rng: np.random.Generator, high: float) -> float:
    """Draw zero in a third of the cases, else a number up to ``high``."""
    return float(high * max(0.0, rng.uniform(-0.5, 1)))


def _most(diameter: float, shape: tuple[int, int], spacing: float) -> float:
    """Tell how many particles surely find room."""
    free = max(0.0, shape[0] - 1.5 * diameter) * max(0.0, shape[1] - 1.5 * diameter)
    return _FILLED * free / (pi / 4 * (spacing * diameter) ** 2)


def _room(n: int, shape: tuple[int, int], spacing: float) -> float:
    """Tell the largest diameter at which ``n`` particles surely find room."""
    diameters = np.linspace(1, min(shape), 500)
    return float(max(d for d in diameters if d == 1 or _most(d, shape, spacing) >= n))
