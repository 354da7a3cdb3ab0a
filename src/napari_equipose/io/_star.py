"""STAR files of particles: RELION 3.0, 3.1 to 5, and what both call a pixel size."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..geometry import InputError
from ._columns import numbers_of
from ._files import atomic_path, existing_file, reading
from ._star_text import format_star, parse_star

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
    *(f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"),
    *("rlnTomoSizeX", "rlnTomoSizeY", "rlnTomoSizeZ", "rlnTomoTiltSeriesPixelSize"),
    *("rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi"),
    *("rlnTomoSubTomosAre2DStacks", "rlnMicrographOriginalPixelSize"),
    *("rlnClassNumber", "rlnOpticsGroup", "rlnRandomSubset", "tilt_min", "tilt_max"),
    *("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"),
    *("rlnOriginX", "rlnOriginY", "rlnOriginZ"),
    *("rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst"),
    *("rlnImagePixelSize", "rlnMicrographPixelSize", "rlnPixelSize", "rlnAutopickFigureOfMerit"),
    *("rlnDetectorPixelSize", "rlnMagnification", "rlnVoltage", "rlnSphericalAberration"),
    *("rlnAmplitudeContrast", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnPhaseShift"),
]
Of = Literal["images", "micrographs", "tilt series"]
CENTRED = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
"""Positions from the middle of a tomogram (RELION 5)."""
_SIZES: dict[Of, tuple[str, ...]] = {
    "tilt series": ("rlnTomoTiltSeriesPixelSize", "rlnMicrographPixelSize"),
    "images": ("rlnImagePixelSize", "rlnMicrographPixelSize", "rlnPixelSize"),
    # Where MotionCor binned the frames the original pixel size is another, so it comes later.
    "micrographs": (
        *("rlnMicrographPixelSize", "rlnTomoTiltSeriesPixelSize"),
        *("rlnMicrographOriginalPixelSize", "rlnPixelSize", "rlnImagePixelSize"),
    ),
}
# What RELION 3.1 moved from each particle to its optics group.
_OPTICS = ["rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"]


class StarFile(NamedTuple):
    """The particles of a STAR file, every column in its order, and their optics groups."""

    particles: pd.DataFrame
    optics: pd.DataFrame | None
    tilt_stacks: bool = False
    """Whether the images of particles are stacks of tilts (RELION 5), and no volumes."""


def read_star(path: str | Path) -> StarFile:
    """Read the particles of a STAR file.

    Raises
    ------
    InputError
        If the file is missing or has no table of particles, or one of them is in an optics group
        that is not there.
    """
    tables = read_blocks(path, _TEXT)
    for table in tables.values():
        for name in table.columns.intersection(_NUMBERS):
            table[name] = numbers_of(path, table[name])
    general = tables.get("general", pd.DataFrame())
    tilt_stacks = bool(general.get("rlnTomoSubTomosAre2DStacks", pd.Series([0])).eq(1).any())
    optics = tables.pop("optics", None)
    if optics is not None and not optics.get("rlnOpticsGroup", pd.Series([0, 0])).is_unique:
        raise InputError(f"{path}: each row of its optics must have an rlnOpticsGroup of its own.")
    particles = tables.get("particles")
    if particles is None:  # RELION 3.0 and others: one table, by any name
        marks = {"rlnImageName", "rlnCoordinateX", CENTRED[0]}
        particles = next((t for t in tables.values() if marks & set(t.columns)), None)
    if particles is None:
        raise InputError(
            f"{path} has no table of particles: none of its blocks "
            f"({', '.join(map(repr, tables)) or 'none'}) has rlnImageName or rlnCoordinateX."
        )
    if optics is not None and "rlnOpticsGroup" in particles:
        known = particles["rlnOpticsGroup"].isin(optics["rlnOpticsGroup"])
        if not known.all():
            row = int(known.to_numpy().argmin())
            raise InputError(
                f"{path}, row {row + 1}: its rlnOpticsGroup {particles['rlnOpticsGroup'].iloc[row]}"
                " is not in the block data_optics; add it there, or leave both out."
            )
    return StarFile(particles, optics, tilt_stacks)


def read_blocks(path: str | Path, text: list[str]) -> dict[str, pd.DataFrame]:
    """Read the blocks of a STAR file, the columns ``text`` as text; one without a loop is a row."""
    path = existing_file(path)
    with reading(path, "a STAR file"):
        return parse_star(path.read_bytes(), text)


def write_star(path: str | Path, star: StarFile) -> None:
    """Write particles and optics groups as STAR, whole or not at all.

    The particles come first: RELION finds both by name in particle files, and takes the first
    table of a coordinate file.
    """
    blocks = {"particles": star.particles}
    if star.optics is not None:
        blocks["optics"] = star.optics
    try:
        text = format_star(blocks)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def pixel_sizes(star: StarFile, of: Of = "images") -> NDArray[np.float64] | None:
    """The pixel size that belongs to each particle in Angstrom; None where the file does not say.

    Parameters
    ----------
    star : StarFile
    of : "images", "micrographs" or "tilt series"
        Of the images of the particles, which may be binned, or of what they were found in.
    """
    particles, optics = star.particles, star.optics
    grouped = optics is not None and ("rlnOpticsGroup" in particles or len(optics) == 1)
    for name in _SIZES[of]:
        if optics is not None and grouped and name in optics:
            if "rlnOpticsGroup" in particles:
                by_group = optics.set_index("rlnOpticsGroup")[name]
                return _lengths(particles["rlnOpticsGroup"].map(by_group))
            return _lengths(pd.Series(optics[name].iloc[0], particles.index))
        if name in particles:
            return _lengths(particles[name])
    if {"rlnDetectorPixelSize", "rlnMagnification"} <= set(particles.columns):
        detector = particles["rlnDetectorPixelSize"] * 1e4  # from micrometres
        return _lengths(detector / particles["rlnMagnification"])
    return None


def _lengths(column: "pd.Series[Any]") -> NDArray[np.float64] | None:
    """Pixel sizes that are lengths; None if one of them is not."""
    sizes = column.to_numpy(np.float64)
    return sizes if np.isfinite(sizes).all() and (sizes > 0).all() else None


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
    if np.abs(sizes / middle - 1).max() > 0.02:
        raise InputError(
            f"{path} mixes pixel sizes from {sizes.min():g} to {sizes.max():g} Angstrom; "
            "bring the images to one scale, or split the file by optics group."
        )
    return middle


def with_optics(
    star: StarFile, pixel_size: float | None, box_size: int | None, dimensions: int = 2
) -> StarFile:
    """Give particles that have no optics groups one group for each microscope setting.

    A pixel size that is not known is left out.
    """
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
    if pixel_size is not None:
        of_picks = box_size is None
        optics["rlnMicrographPixelSize" if of_picks else "rlnImagePixelSize"] = pixel_size
    if box_size is not None:
        optics["rlnImageSize"] = box_size
        optics["rlnImageDimensionality"] = dimensions
    return StarFile(particles, optics)
