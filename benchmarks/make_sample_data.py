"""Make the files in sample_data from the public ones named in its PROVENANCE.md.

    python benchmarks/make_sample_data.py [FOLDER]

FOLDER holds mnist/, pdb/ and ecoli_phase_contrast/ and is ../shared/data unless given.
"""

import gzip
import shutil
import sys
from pathlib import Path

import numpy as np
from _data import DATA, REPOSITORY, load_mnist

from napari_equipose.simulation import read_pdb

OUT = REPOSITORY / "sample_data"
PER_DIGIT = 30

REMARKS = """\
HEADER    HYDROLASE                               02-FEB-15   3J9I
TITLE     THERMOPLASMA ACIDOPHILUM 20S PROTEASOME, ONE PSEUDO-ATOM A RESIDUE
REMARK    MADE FROM PDB ENTRY 3J9I (CC0): EACH RESIDUE IS ONE CARBON ATOM AT ITS
REMARK    CENTRE OF ELECTRONS; OCCUPANCY = ITS ELECTRONS (WITHOUT HYDROGEN) / 6.
"""


def copy_ecoli(folder: Path) -> None:
    """Copy the image and the masks as they are."""
    shutil.copyfile(folder / "ec_5I.tif", OUT / "ecoli_phase_contrast.tif")
    shutil.copyfile(folder / "ec_5I_masks.tif", OUT / "ecoli_phase_contrast_masks.tif")


def choose_digits(folder: Path) -> None:
    """Take as many pictures of each digit, at random."""
    digits, labels = load_mnist(folder)
    rng = np.random.default_rng(0)
    chosen = [rng.choice(np.flatnonzero(labels == d), PER_DIGIT, replace=False) for d in range(10)]
    source = np.sort(np.concatenate(chosen))
    np.savez_compressed(
        OUT / "digits.npz", digits=digits[source], labels=labels[source], source=source
    )


def coarsen_proteasome(path: Path) -> None:
    """Write one pseudo-atom a residue; its projections at 10 Angstrom correlate by 0.998."""
    with gzip.open(path, "rt") as file:
        lines = [line for line in file if line.startswith("ATOM")]
    atoms = read_pdb(path)
    if len(atoms.weight) != len(lines):
        sys.exit(f"{path}: {len(lines)} atom records but {len(atoms.weight)} atoms")
    _, first, residue = np.unique(
        [line[21:27] for line in lines], return_index=True, return_inverse=True
    )
    weight = np.bincount(residue, atoms.weight)
    centre = [np.bincount(residue, atoms.weight * axis) / weight for axis in atoms.xyz.T]
    records = [
        f"ATOM  {serial:5d}  CA  {lines[i][17:27]}   {x:8.3f}{y:8.3f}{z:8.3f}{w / 6:6.2f}"
        f"{0:6.2f}          {'C':>2}\n"
        for serial, (i, x, y, z, w) in enumerate(zip(first, *centre, weight, strict=True), 1)
    ]
    text = REMARKS + "".join(records) + "END\n"
    # no name and no time in the header: the same input gives the same file
    data = gzip.compress(text.encode("ascii"), 9, mtime=0)
    (OUT / "proteasome_20s.pdb.gz").write_bytes(data)


if __name__ == "__main__":
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    OUT.mkdir(exist_ok=True)
    copy_ecoli(data / "ecoli_phase_contrast")
    choose_digits(data / "mnist")
    coarsen_proteasome(data / "pdb" / "3J9I_proteasome20S.pdb.gz")
