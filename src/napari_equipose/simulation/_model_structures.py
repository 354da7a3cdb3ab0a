"""Six macromolecules built of balls: shapes as unlike as those of real ones, and no file needed."""

from collections.abc import Mapping, Sequence
from functools import cache
from math import pi
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from napari_equipose.geometry import InputError

from ._structures import Structure

_SPACING = 7.0
"""Angstrom between the points that fill a ball: finer than 10 Angstrom, what a view shows."""


class ModelStructure(NamedTuple):
    """A structure and its views."""

    structure: Structure
    """Upright: its symmetry axis is z, and a two-fold axis across, if any, is x."""
    views: Mapping[str, int]
    """The views that tell its shape, with the in-plane symmetry of each; 1 for "any"."""


Ball = tuple[float, float, float, float]
"""x, y, z and radius in Angstrom."""


def _barrel() -> tuple[Sequence[Ball], str]:
    # two inner and two outer rings of seven, 115 wide and 150 tall
    return [(38, 0, 18, 17), (40, 4, 56, 16), (24, 10, 64, 9)], "D7"


def _ring() -> tuple[Sequence[Ball], str]:
    # a ring of six with a wider, thinner one on top: its two ends differ
    return [(44, 0, -18, 21), (62, 12, 24, 15), (50, 18, 8, 10)], "C6"


def _shell() -> tuple[Sequence[Ball], str]:
    # 24 balls on a sphere, hollow, 125 wide
    return [(19, 33, 38, 13), (12, 24, 46, 9)], "O"


def _tetramer() -> tuple[Sequence[Ball], str]:
    # four long chains about three two-fold axes, 175 x 135 x 90
    return [(18, 24, 22, 25), (22, 52, 20, 20), (15, 70, 8, 17), (40, 26, 10, 19)], "D2"


def _two_lobes() -> tuple[Sequence[Ball], str]:
    # a large lobe with arms and a small flat one, 240 wide, no symmetry
    large = [
        (0, 0, 45, 62),
        (45, 20, 35, 40),
        (-50, 30, 55, 34),
        (5, -55, 60, 36),
        (-66, -8, 78, 20),
    ]
    small = [(15, 0, -52, 38), (-38, 12, -50, 30), (48, -28, -58, 24), (-10, 45, -72, 22)]
    arms = [(88, 42, 30, 17), (20, 62, 84, 20), (-14, -40, -88, 15)]
    return large + small + arms, "C1"


def _antibody() -> tuple[Sequence[Ball], str]:
    # two arms and a stem in one plane about a two-fold axis in that plane, 150 wide
    arm = [(22, 24, 5, 14), (32, 40, -5, 14), (46, 50, 6, 14), (56, 66, -4, 13)]
    stem = [(-22, 8, 3, 13), (-46, 9, -3, 13)]
    return arm + stem, "C2 about x"


_BUILDERS = {
    "barrel": (_barrel, {"side": 2, "top": 7}),
    "ring": (_ring, {"side": 1, "top": 6}),
    "shell": (_shell, {"any": 1}),
    "tetramer": (_tetramer, {"side": 2, "top": 2}),
    "two-lobes": (_two_lobes, {"side": 1}),  # its top is nearly round
    "antibody": (_antibody, {"side": 2, "top": 1}),
}
MODEL_STRUCTURES = tuple(_BUILDERS)
"""Names that `model_structure` knows."""


@cache
def model_structure(name: str) -> ModelStructure:
    """Build one of six structures, in size and outline like well-known macromolecules.

    Parameters
    ----------
    name : str
        One of `MODEL_STRUCTURES`: ``barrel`` (as the 20S proteasome), ``ring`` (a hexamer of
        two unlike layers), ``shell`` (hollow, as apoferritin), ``tetramer`` (as
        beta-galactosidase), ``two-lobes`` (large and without symmetry, as the ribosome) or
        ``antibody`` (three thin arms).

    Raises
    ------
    InputError
        If there is no such structure.
    """
    if name not in _BUILDERS:
        raise InputError(f"a structure is one of {', '.join(MODEL_STRUCTURES)}, got {name!r}.")
    build, views = _BUILDERS[name]
    balls, symmetry = build()
    xyz = np.concatenate([_fill(ball) for ball in balls])
    group = Rotation.create_group(symmetry.split()[0]).as_matrix()
    if symmetry.endswith("about x"):
        group = np.roll(group, (1, 1), (1, 2))  # x, y, z in place of z, x, y
    # scipy's dihedral groups have a two-fold axis along x
    copies = np.einsum("gij,nj->gni", group, xyz).reshape(-1, 3)
    return ModelStructure(Structure(copies - copies.mean(0), np.ones(len(copies)), True), views)


def _fill(ball: Ball) -> npt.NDArray[np.float64]:
    """Fill a ball evenly with points: shells of spirals, so that nothing is random."""
    *middle, radius = ball
    points = [np.zeros((1, 3))]
    for distance in np.arange(_SPACING, radius, _SPACING):
        n = round(4 * pi * (distance / _SPACING) ** 2)
        step = np.arange(n) + 0.5
        z, turn = 1 - 2 * step / n, step * pi * (3 - 5**0.5)  # the golden angle
        flat = np.sqrt(1 - z**2)
        points.append(distance * np.stack((flat * np.cos(turn), flat * np.sin(turn), z), -1))
    return np.concatenate(points) + middle
