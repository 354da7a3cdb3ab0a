"""STAR files of particles: RELION 3.0, 3.1 to 5, and what both call a pixel size."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import starfile
from numpy.typing import NDArray

from ..geometry import InputError
from ._files import atomic_path, existing_file, reading

# Names stay text: a micrograph called 0003 must not come back as 3.
_TEXT = [
    "rlnImageName",
    "rlnImageOriginalName",
    "rlnMicrographName",
    "rlnOpticsGroupName",
    "rlnGroupName",
    "rlnTomoName",
    "rlnTomoParticleName",
]
# What must be numbers wherever it stands.
_NUMBERS = [
    *("rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ"),
    *("rlnClassNumber", "rlnOpticsGroup", "rlnRandomSubset", "tilt_min", "tilt_max"),
    *("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"),
    *("rlnOriginX", "rlnOriginY", "rlnOriginZ"),
    *("rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst"),
    *("rlnImagePixelSize", "rlnMicrographPixelSize", "rlnPixelSize", "rlnAutopickFigureOfMerit"),
    *("rlnDetectorPixelSize", "rlnMagnification", "rlnVoltage", "rlnSphericalAberration"),
    *("rlnAmplitudeContrast", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnPhaseShift"),
]
# What RELION 3.1 moved from each particle to its optics group.
_OPTICS = ["rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"]


class StarFile(NamedTuple):
    """The particles of a STAR file, every column in its order, and their optics groups."""

    particles: pd.DataFrame
    optics: pd.DataFrame | None


def read_star(path: str | Path) -> StarFile:
    """Read the particles of a STAR file.

    Raises
    ------
    InputError
        If the file is missing or has no table of particles.
    """
    blocks = read_blocks(path, _TEXT)
    tables = {name: block for name, block in blocks.items() if isinstance(block, pd.DataFrame)}
    for table in tables.values():
        for name in table.columns.intersection(_NUMBERS):
            with reading(path, f"a STAR file with numbers in column {name}"):
                table[name] = pd.to_numeric(table[name])
    optics = tables.pop("optics", None)
    if optics is not None and not optics.get("rlnOpticsGroup", pd.Series([0, 0])).is_unique:
        raise InputError(f"{path}: each row of its optics must have an rlnOpticsGroup of its own.")
    particles = tables.get("particles")
    if particles is None:  # RELION 3.0 and others: one table, by any name
        marks = {"rlnImageName", "rlnCoordinateX"}
        particles = next((t for t in tables.values() if marks & set(t.columns)), None)
    if particles is None:
        raise InputError(
            f"{path} has no table of particles: none of its blocks "
            f"({', '.join(map(repr, blocks)) or 'none'}) has rlnImageName or rlnCoordinateX."
        )
    return StarFile(particles, optics)


def read_blocks(path: str | Path, text: list[str]) -> dict[str, Any]:
    """Read the blocks of a STAR file, the columns ``text`` as text."""
    path = existing_file(path)
    with reading(path, "a STAR file"):
        blocks: dict[str, Any] = starfile.read(path, always_dict=True, parse_as_string=text)
    return blocks


def write_star(path: str | Path, star: StarFile) -> None:
    """Write particles and optics groups as STAR, whole or not at all.

    The particles come first: RELION finds both by name in particle files, and takes the first
    table of a coordinate file.
    """
    blocks = {"particles": star.particles}
    if star.optics is not None:
        blocks["optics"] = star.optics
    with atomic_path(path) as temporary:
        starfile.write(blocks, temporary, na_rep="nan")


def pixel_sizes(star: StarFile) -> NDArray[np.float64] | None:
    """The pixel size of each particle's image in Angstrom, None where the file does not say."""
    particles, optics = star
    if optics is not None and "rlnOpticsGroup" in particles:
        for name in ("rlnImagePixelSize", "rlnMicrographPixelSize"):
            if name in optics:
                by_group = optics.set_index("rlnOpticsGroup")[name]
                return np.asarray(particles["rlnOpticsGroup"].map(by_group), np.float64)
    for name in ("rlnImagePixelSize", "rlnPixelSize"):
        if name in particles:
            return particles[name].to_numpy(np.float64)
    if {"rlnDetectorPixelSize", "rlnMagnification"} <= set(particles.columns):
        detector = particles["rlnDetectorPixelSize"] * 1e4  # from micrometres
        return np.asarray(detector / particles["rlnMagnification"], np.float64)
    return None


def common_pixel_size(path: str | Path, sizes: NDArray[np.float64] | None) -> float | None:
    """Return the one pixel size of a set of particles.

    Raises
    ------
    InputError
        If they differ by more than 2 percent: one model has one scale.
    """
    if sizes is None or not len(sizes):
        return None
    middle = float(np.median(sizes))
    if not np.isfinite(sizes).all() or middle <= 0:
        return None
    if np.abs(sizes / middle - 1).max() > 0.02:
        raise InputError(
            f"{path} mixes pixel sizes from {sizes.min():g} to {sizes.max():g} Angstrom; "
            "bring the images to one scale, or split the file by optics group."
        )
    return middle


def with_optics(
    star: StarFile, pixel_size: float, box_size: int | None, dimensions: int = 2
) -> StarFile:
    """Give particles that have no optics groups one group for each microscope setting."""
    if star.optics is not None:
        return star
    particles = star.particles.copy()
    settings = [name for name in _OPTICS if name in particles]
    if settings:
        grouped = particles.groupby(settings, sort=False, dropna=False)
        particles["rlnOpticsGroup"] = grouped.ngroup() + 1
        optics = particles[["rlnOpticsGroup", *settings]].drop_duplicates(ignore_index=True)
        particles = particles.drop(columns=settings)
    else:
        particles["rlnOpticsGroup"] = 1
        optics = pd.DataFrame({"rlnOpticsGroup": [1]})
    names = [f"opticsGroup{number}" for number in optics["rlnOpticsGroup"]]
    optics.insert(0, "rlnOpticsGroupName", names)
    if box_size is None:
        optics["rlnMicrographPixelSize"] = pixel_size
    else:
        optics["rlnImagePixelSize"] = pixel_size
        optics["rlnImageSize"] = box_size
        optics["rlnImageDimensionality"] = dimensions
    return StarFile(particles, optics)
