"""Positions that are measured from the middle of tomograms (RELION 5), and what that takes."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..geometry import InputError
from ._mrc import open_mrc
from ._star import CENTRED, StarFile, common_pixel_size, pixel_sizes, read_blocks

_SUFFIXES = (".mrc", ".rec", ".map")
_ADDED = re.compile(r"^rec_|(?:_vol|_rec|\.rec|_tomo)$", re.IGNORECASE)
_SIZE = ["rlnTomoSizeX", "rlnTomoSizeY", "rlnTomoSizeZ"]


def plain_name(name: str) -> str:
    """Name of a tilt series without its folder, suffix, and what programs add for its tomogram.

    AreTomo writes ``TS_1_Vol.mrc`` and RELION ``rec_TS_1.mrc`` of ``TS_1``.
    """
    path = Path(name)
    stem = path.stem if path.suffix.lower() in _SUFFIXES else path.name
    return _ADDED.sub("", stem)


def from_corner(star: StarFile, path: Path) -> tuple[NDArray[np.float64], float]:
    """Turn positions in Angstrom from the middle of each tomogram into its pixels.

    The size of the tomograms is that of their files beside the STAR file, or else is in a
    ``tomograms.star`` there; the pixels are those of the files or of the tilt series.

    Returns
    -------
    array, shape (n, 3)
        (z, y, x), 0-based, integers at pixel centres.
    float
        Pixel size in Angstrom.

    Raises
    ------
    InputError
        If a size is not known.
    """
    particles = star.particles
    sizes = pixel_sizes(star, "tilt series")
    names = particles.get("rlnTomoName", pd.Series("", particles.index)).fillna("").astype(str)
    listed = _listed(path)
    places = particles[CENTRED].to_numpy(np.float64)
    pixel_size = np.ones(len(particles))
    for name in names.unique():
        rows = (names == name).to_numpy()
        of_series = None if sizes is None else float(sizes[rows][0])
        found = _of_file(path, name, of_series) or _of_list(listed, name, of_series)
        if found is None:
            raise InputError(
                f"{path} has positions from the middle of tomograms ({', '.join(CENTRED)}), and "
                f"the size of {name or 'the tomogram'} is not known; put {name or 'it'}.mrc or a "
                f"tomograms.star with {', '.join(_SIZE)} and the pixel size beside it."
            )
        shape, pixel_size[rows] = found
        places[rows] = places[rows] / found[1] + np.array(shape) / 2
    common = common_pixel_size(path, pixel_size)
    return places[:, ::-1], 1.0 if common is None else common


def _of_file(
    star: Path, name: str, pixel_size: float | None
) -> tuple[tuple[float, ...], float] | None:
    """Shape (x, y, z) and pixel size of the tomogram of a name beside a STAR file."""
    beside = [p for p in star.parent.iterdir() if p.suffix.lower() in _SUFFIXES] if name else []
    beside = sorted(p for p in beside if plain_name(p.name) == plain_name(name))
    for file in beside:
        data, _, sides = open_mrc(file)
        size = sides.get("x", pixel_size)
        if data.ndim == 3 and size is not None:
            return data.shape[::-1], size
    return None


def _listed(star: Path) -> pd.DataFrame | None:
    """The table of tomograms beside a STAR file."""
    file = star.parent / "tomograms.star"
    if not file.exists():
        return None
    blocks = read_blocks(file, ["rlnTomoName"]).values()
    return next((one for one in blocks if {"rlnTomoName", *_SIZE} <= set(one)), None)


def _of_list(
    listed: pd.DataFrame | None, name: str, pixel_size: float | None
) -> tuple[tuple[float, ...], float] | None:
    if listed is None:
        return None
    row = listed[listed["rlnTomoName"] == name]
    if "rlnTomoTiltSeriesPixelSize" in row and len(row):
        pixel_size = float(row["rlnTomoTiltSeriesPixelSize"].iloc[0])
    if not len(row) or pixel_size is None:
        return None
    return tuple(row[_SIZE].to_numpy(np.float64)[0].tolist()), pixel_size
