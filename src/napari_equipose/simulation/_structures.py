"""Atoms of a macromolecule, and views of it."""

import gzip
import zlib
from functools import partial
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import numpy.typing as npt

from napari_equipose.geometry import InputError

_ELECTRONS = {"H": 0, "D": 0, "C": 6, "N": 7, "O": 8, "P": 15, "S": 16, "SE": 34}
_METAL = 25  # for whatever else is bound: its exact number never shows at 10 Angstrom
_FARTHEST = 1e6  # what the eight columns of a coordinate hold
_LONGEST_LINE = 200
_MOST_LINES = 2_000_000
_WATER = ("HOH", "WAT", "DOD")

VIEWS = {"top": (0, 1, 2), "side": (1, 2, 0)}
"""Which axes of `Structure.upright` make (x, y, beam) of a view: cyclic, so none mirrors."""


class Structure(NamedTuple):
    """Atoms as points that scatter."""

    xyz: npt.NDArray[np.float64]  # (n, 3) Angstrom
    weight: npt.NDArray[np.float64]  # (n,) electrons
    is_upright: bool = False  # it stands as `upright` would have it

    def upright(self) -> "Structure":
        """Move the centre of mass to the origin and the symmetry axis to z.

        The axis is the principal axis whose spread differs most from the others': the
        long one of a cylinder, the short one of a disc. The remaining two lie on x
        and y, the shorter first, with no mirroring. What is upright stays as it is.
        """
        if self.is_upright:
            return self
        centred = self.xyz - np.average(self.xyz, axis=0, weights=self.weight)
        spread, axes = np.linalg.eigh(np.cov(centred.T, aweights=self.weight))
        odd = 2 if spread[2] / spread[1] >= spread[1] / spread[0] else 0
        axes = axes[:, [i for i in range(3) if i != odd] + [odd]]
        # an eigenvector's sign is arbitrary; without a rule the views depend on the library
        axes = axes * np.sign(axes[np.abs(axes).argmax(0), range(3)])
        axes[:, 0] *= np.linalg.det(axes)
        return Structure(centred @ axes, self.weight, True)

    def view(self, name: str) -> "Structure":
        """Turn the atoms so that the beam runs along z.

        Parameters
        ----------
        name : {"top", "side"}
            Along the symmetry axis, or across it; the side view shows the axis upright,
            the top of the molecule being at small y.

        Raises
        ------
        InputError
            If there is no such view.
        """
        if name not in VIEWS:
            raise InputError(f"a view is one of {', '.join(VIEWS)}, got {name!r}")
        return Structure(self.upright().xyz[:, VIEWS[name]], self.weight)


def _open(path: Path) -> TextIO:
    return (
        gzip.open(path, "rt", encoding="ascii")
        if path.suffix == ".gz"
        else path.open(encoding="ascii")
    )


def read_pdb(path: Path) -> Structure:
    """Read the atoms of the first model of a PDB file, without water and hydrogen.

    An atom weighs its electrons times its occupancy.

    Parameters
    ----------
    path : Path
        A ``.pdb`` or ``.ent`` file, or one of them gzipped.

    Raises
    ------
    InputError
        If the file is missing, damaged, holds no atoms, or lines that aren't PDB's.
    """
    xyz, weight = [], []
    try:
        with _open(path) as file:
            for number, line in enumerate(iter(partial(file.readline, _LONGEST_LINE), ""), 1):
                if line.startswith("ENDMDL"):
                    break
                if number > _MOST_LINES:
                    raise InputError(f"{path} has more than {_MOST_LINES} lines: no PDB file has.")
                if not line.startswith(("ATOM", "HETATM")) or line[17:20] in _WATER:
                    continue
                try:
                    place = [float(line[i : i + 8]) for i in (30, 38, 46)]
                    occupancy = float(line[54:60].strip() or 1)
                except ValueError as error:
                    raise InputError(f"{path}, line {number}: not a PDB atom record") from error
                if not max(map(abs, (*place, occupancy))) < _FARTHEST:
                    raise InputError(f"{path}, line {number}: an atom that is nowhere")
                element = line[76:78].strip() or line[12:14].strip(" 0123456789")
                xyz.append(place)
                weight.append(occupancy * _ELECTRONS.get(element.upper(), _METAL))
    except (UnicodeDecodeError, zlib.error, EOFError, OSError) as error:
        raise InputError(f"{path} is not a PDB file that can be read: {error}") from error
    structure = Structure(np.array(xyz).reshape(-1, 3), np.array(weight, float))
    scatters = structure.weight > 0
    if not scatters.any():
        raise InputError(f"{path} holds no atoms: is it a PDB file?")
    return Structure(structure.xyz[scatters], structure.weight[scatters])
