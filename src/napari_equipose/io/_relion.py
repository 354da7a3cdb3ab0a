"""Our poses and picks in RELION's columns, and back.

RELION's origin is what must be added to a particle to centre it, so it is our translation with
the other sign; its ``rlnAnglePsi`` turns the way our rotations do. Its classes and its halves
count from 1. Of volumes its three angles are ours.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..geometry import InputError, rotations_from_relion, rotations_to_relion
from ._columns import angles_of, dimensions_of, place_of
from ._stacks import ParticleStack
from ._star import CENTRED, StarFile, common_pixel_size, pixel_sizes, with_optics
from ._tomograms import from_corner

_ORIGINS = {f"translation_{axis.lower()}": f"rlnOrigin{axis}Angst" for axis in "XYZ"}
_ANGLES = {
    "rot": "rlnAngleRot",
    "tilt": "rlnAngleTilt",
    "psi": "rlnAnglePsi",
    "rotation": "rlnAnglePsi",
}
_SUBTOMOGRAM = [f"rlnTomoSubtomogram{angle}" for angle in ("Rot", "Tilt", "Psi")]
_SCORE = "rlnAutopickFigureOfMerit"
_NOT_KNOWN = -999
"""What RELION writes for angles, scores and classes of objects that a person picked."""


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
    pixel_size = pixel_size or stack.pixel_size
    if stack.table is None:
        names = [f"{number + 1:06d}@{stack.path}" for number in chosen]
        star = StarFile(pd.DataFrame({"rlnImageName": pd.array(names, dtype="str")}), None)
    else:
        star = StarFile(stack.table.iloc[chosen].reset_index(drop=True), stack.optics)
    sizes = pixel_sizes(star)
    if sizes is None and pixel_size is not None:
        sizes = np.full(len(poses), pixel_size)
    dimensions = dimensions_of(poses)
    star = with_optics(star, pixel_size, stack.images.shape[-1], dimensions)
    particles, optics = star.particles, star.optics
    both = [each for name in _ORIGINS.values() for each in (name, name.removesuffix("Angst"))]
    particles = particles.drop(columns=both, errors="ignore")
    # Where no pixel size is known, origins are in pixels, as they were up to RELION 3.0.
    particles = particles.assign(
        **{
            rln if sizes is not None else rln.removesuffix("Angst"): (
                -poses[name].to_numpy(np.float64) * (1.0 if sizes is None else sizes)
            )
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
    particles = _with_results(particles, picks)
    unknown = particles.columns.intersection([*_ANGLES.values(), _SCORE])
    star = StarFile(particles.fillna(dict.fromkeys(unknown, _NOT_KNOWN)), None)
    return with_optics(star, pixel_size, None)


def _with_results(particles: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Add what was found of rotation, score and class."""
    found: dict[str, NDArray[np.generic]] = {}
    for name in angles_of(dimensions_of(table)):
        if table[name].notna().any():
            found[_ANGLES[name]] = table[name].to_numpy(np.float64)
    if table["score"].notna().any():
        found[_SCORE] = table["score"].to_numpy(np.float64)
    if table["class"].notna().any():
        found["rlnClassNumber"] = (table["class"].fillna(-1) + 1).to_numpy(np.int64)
    if "half" in table:
        found["rlnRandomSubset"] = table["half"].to_numpy(np.int64) + 1
    return particles.assign(**found)


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


def star_to_picks(star: StarFile, path: Path) -> tuple[pd.DataFrame, float | None]:
    """Positions in micrographs, or with a z in tomograms, in pixels of a size in Angstrom.

    Raises
    ------
    InputError
        If there are no positions, or they are measured from the middle of tomograms of unknown
        size.
    """
    particles = star.particles
    if {"rlnCoordinateX", "rlnCoordinateY"} <= set(particles.columns):
        pixel_size = common_pixel_size(path, pixel_sizes(star, "micrographs"))
        axes = place_of("picks", 3 if "rlnCoordinateZ" in particles else 2)
        places = {axis: particles[f"rlnCoordinate{axis.upper()}"] for axis in axes}
    elif set(CENTRED) <= set(particles.columns):
        axes = place_of("picks", 3)
        corner, pixel_size = from_corner(star, path)
        places = {axis: pd.Series(corner[:, i], particles.index) for i, axis in enumerate(axes)}
    else:
        raise InputError(f"{path} has no rlnCoordinateX and rlnCoordinateY: it lists no positions.")
    names = ["rlnTomoName", "rlnMicrographName"]
    if len(axes) == 2:
        names.reverse()
    named = next((name for name in names if name in particles), None)
    images = pd.Series("", particles.index) if named is None else particles[named].fillna("")
    found = pd.DataFrame({"image": images.astype("str"), **places})
    if len(axes) == 3:
        particles = _in_tomogram(particles)
    return found.assign(**_results(particles, len(axes))), pixel_size


def _in_tomogram(particles: pd.DataFrame) -> pd.DataFrame:
    """Angles in the tomogram of particles whose angles are those in a rotated subtomogram."""
    names = [_ANGLES[name] for name in angles_of(3)]
    if not set(_SUBTOMOGRAM) <= set(particles) or not particles[_SUBTOMOGRAM].to_numpy().any():
        return particles
    if not set(names) <= set(particles):
        return particles.assign(
            **dict(zip(names, particles[_SUBTOMOGRAM].to_numpy().T, strict=True))
        )
    boxes = rotations_from_relion(particles[_SUBTOMOGRAM].to_numpy(np.float64))
    within = rotations_from_relion(particles[names].to_numpy(np.float64))
    angles = rotations_to_relion(within @ boxes)
    return particles.assign(**dict(zip(names, angles.T, strict=True)))


def _results(particles: pd.DataFrame, dimensions: int = 2) -> "dict[str, pd.Series[float]]":
    """What RELION has of rotation, score and class, under our names."""
    found = {}
    names = {name: _ANGLES[name] for name in angles_of(dimensions)}
    for name, rln in {**names, "score": _SCORE}.items():
        if rln in particles:
            column = particles[rln].reset_index(drop=True)
            found[name] = column.mask(column == _NOT_KNOWN)
    if "rlnClassNumber" in particles:
        number = particles["rlnClassNumber"].reset_index(drop=True)
        found["class"] = (number - 1).where(number > 0)
    return found
