"""Our poses and picks in RELION's columns, and back.

RELION's origin is what must be added to a particle to centre it, so it is our translation with
the other sign; its ``rlnAnglePsi`` turns the way our rotations do. Its classes and its halves
count from 1. Of volumes its three angles are ours.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..geometry import InputError
from ._columns import angles_of, dimensions_of, place_of
from ._stacks import ParticleStack
from ._star import StarFile, pixel_sizes, with_optics

_log = logging.getLogger(__name__)
_ORIGINS = {f"translation_{axis.lower()}": f"rlnOrigin{axis}Angst" for axis in "XYZ"}
_ANGLES = {
    "rot": "rlnAngleRot",
    "tilt": "rlnAngleTilt",
    "psi": "rlnAnglePsi",
    "rotation": "rlnAnglePsi",
}


def poses_to_star(
    poses: pd.DataFrame, stack: ParticleStack, pixel_size: float | None = None
) -> StarFile:
    """Write poses into the particles of their stack, keeping all else those say.

    With poses in the plane ``rlnAngleRot`` and ``rlnAngleTilt``, where there, become 0 as after a
    2D classification: angles to another reference do not go with a rotation to ours.
    """
    chosen = poses["index"].to_numpy(np.intp)
    if len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(stack.images):
        raise InputError(f"{stack.path} has {len(stack.images)} images; a pose names another.")
    pixel_size = _known(pixel_size or stack.pixel_size, stack.path)
    if stack.table is None:
        names = [f"{number + 1:06d}@{stack.path}" for number in chosen]
        star = StarFile(pd.DataFrame({"rlnImageName": pd.array(names, dtype="str")}), None)
    else:
        star = StarFile(stack.table.iloc[chosen].reset_index(drop=True), stack.optics)
    sizes = pixel_sizes(star)
    if sizes is None:
        sizes = np.full(len(poses), pixel_size)
    dimensions = dimensions_of(poses)
    particles, optics = with_optics(star, pixel_size, stack.images.shape[-1], dimensions)
    in_pixels = [name.removesuffix("Angst") for name in _ORIGINS.values()]
    particles = particles.drop(columns=in_pixels, errors="ignore")
    particles = particles.assign(
        **{
            rln: -poses[name].to_numpy(np.float64) * sizes
            for name, rln in _ORIGINS.items()
            if name in poses
        },
        **{name: 0.0 for name in ("rlnAngleRot", "rlnAngleTilt") if name in particles},
    )
    return StarFile(_with_results(particles, poses), optics)


def picks_to_star(picks: pd.DataFrame, pixel_size: float | None = None) -> StarFile:
    """Picks as RELION's particle coordinates."""
    columns = {"rlnMicrographName": picks["image"].to_numpy()}
    for axis in reversed(place_of("picks", dimensions_of(picks))):
        columns[f"rlnCoordinate{axis.upper()}"] = picks[axis].to_numpy(np.float64)
    particles = pd.DataFrame(columns)
    star = StarFile(_with_results(particles, picks), None)
    return with_optics(star, _known(pixel_size, "the image"), None)


def _with_results(particles: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Add what was found of rotation, score and class."""
    found: dict[str, NDArray[np.generic]] = {}
    for name in angles_of(dimensions_of(table)):
        if table[name].notna().any():
            found[_ANGLES[name]] = table[name].to_numpy(np.float64)
    if table["score"].notna().any():
        found["rlnAutopickFigureOfMerit"] = table["score"].to_numpy(np.float64)
    if table["class"].notna().any():
        found["rlnClassNumber"] = (table["class"].fillna(-1) + 1).to_numpy(np.int64)
    if "half" in table:
        found["rlnRandomSubset"] = table["half"].to_numpy(np.int64) + 1
    return particles.assign(**found)


def _known(pixel_size: float | None, source: object) -> float:
    if pixel_size is not None:
        return pixel_size
    _log.warning("%s has no pixel size; 1 Angstrom is written to the STAR file.", source)
    return 1.0


def star_to_poses(star: StarFile, path: Path) -> pd.DataFrame:
    """Poses of particles: where RELION has no origin, the translation is 0.

    They are in space where the particles are volumes, by their optics or their origins.
    """
    particles = star.particles
    columns: dict[str, NDArray[np.generic]] = {"index": np.arange(len(particles))}
    dimensions = 3 if _are_volumes(star) else 2
    for name, rln in list(_ORIGINS.items())[:dimensions]:
        in_pixels = rln.removesuffix("Angst")
        if rln in particles:
            sizes = pixel_sizes(star)
            if sizes is None:
                raise InputError(f"{path} has {rln} but no pixel size to make pixels of it.")
            columns[name] = -particles[rln].to_numpy(np.float64) / sizes
        elif in_pixels in particles:
            columns[name] = -particles[in_pixels].to_numpy(np.float64)
        else:
            columns[name] = np.zeros(len(particles))
    return pd.DataFrame(columns).assign(**_results(particles, dimensions))


def _are_volumes(star: StarFile) -> bool:
    name = "rlnImageDimensionality"
    if star.optics is not None and name in star.optics:
        return bool((star.optics[name] == 3).all())
    return bool({"rlnOriginZ", "rlnOriginZAngst"} & set(star.particles.columns))


def star_to_picks(star: StarFile, path: Path) -> pd.DataFrame:
    """Positions in micrographs, or with a ``rlnCoordinateZ`` in tomograms, in their pixels."""
    particles = star.particles
    if not {"rlnCoordinateX", "rlnCoordinateY"} <= set(particles.columns):
        raise InputError(f"{path} has no rlnCoordinateX and rlnCoordinateY: it lists no positions.")
    dimensions = 3 if "rlnCoordinateZ" in particles else 2
    axes = place_of("picks", dimensions)
    places = {axis: particles[f"rlnCoordinate{axis.upper()}"] for axis in axes}
    images = particles.get("rlnMicrographName", pd.Series("", particles.index))
    found = pd.DataFrame({"image": images.astype("str"), **places})
    return found.assign(**_results(particles, dimensions))


def _results(particles: pd.DataFrame, dimensions: int = 2) -> "dict[str, pd.Series[float]]":
    """What RELION has of rotation, score and class, under our names."""
    found = {}
    names = {name: _ANGLES[name] for name in angles_of(dimensions)}
    for name, rln in {**names, "score": "rlnAutopickFigureOfMerit"}.items():
        if rln in particles:
            found[name] = particles[rln].reset_index(drop=True)
    if "rlnClassNumber" in particles:
        number = particles["rlnClassNumber"].reset_index(drop=True)
        found["class"] = (number - 1).where(number > 0)
    return found
