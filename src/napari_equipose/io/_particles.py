"""What a STAR file says of its particles beside their poses: halves, tilts, places."""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..geometry import InputError, MissingWedge
from ._stacks import ParticleStack
from ._tomograms import plain_name

_TILTS = ["tilt_min", "tilt_max"]
_PLACE = [f"rlnCoordinate{axis}" for axis in "ZYX"]


def read_halves(stack: ParticleStack) -> NDArray[np.int64] | None:
    """In which half of the data each particle is, as ``rlnRandomSubset`` says.

    Returns
    -------
    array, shape (n,), or None
        0 or 1; None where the stack does not say.

    Raises
    ------
    InputError
        If some particle is in no half.
    """
    name = "rlnRandomSubset"
    if stack.table is None or name not in stack.table:
        return None
    half = stack.table[name].to_numpy()
    if not np.isin(half, (1, 2)).all():
        raise InputError(f"{stack.path}: {name} must be 1 or 2 for each particle.")
    return half.astype(np.int64) - 1


def read_wedges(
    stack: ParticleStack, tilt_axis: Literal["y", "x"] = "y"
) -> list[MissingWedge] | None:
    """What the tilt series of each particle measured, as ``tilt_min`` and ``tilt_max`` say.

    Returns
    -------
    list, or None
        One for each particle; None where the stack has no such columns.

    Raises
    ------
    InputError
        If there is one column without the other, or a row that is no range.
    """
    return None if stack.table is None else wedges_of(stack.table, stack.path, tilt_axis)


def wedges_of(
    table: pd.DataFrame, source: object, tilt_axis: Literal["y", "x"] = "y"
) -> list[MissingWedge] | None:
    """What the tilt series of each row of a table measured, as for `read_wedges`.

    Parameters
    ----------
    table : DataFrame
    source : object
        What errors are said to be of: a file, a layer.
    tilt_axis : {"y", "x"}
    """
    if not set(_TILTS) & set(table):
        return None
    if not set(_TILTS) <= set(table):
        raise InputError(f"{source}: a tilt range has two columns, {' and '.join(_TILTS)}.")
    made: dict[tuple[float, float], MissingWedge] = {}
    columns = [pd.to_numeric(table[name], "coerce").astype(float) for name in _TILTS]
    ranges = list(zip(*columns, strict=True))
    for row, (low, high) in enumerate(ranges, 1):
        try:
            wedge = MissingWedge(tilt_min_deg=low, tilt_max_deg=high, tilt_axis=tilt_axis)
        except InputError as error:
            raise InputError(f"{source}, particle {row}: {error}") from error
        made.setdefault((low, high), wedge)
    return [made[one] for one in ranges]


def read_places(
    stack: ParticleStack, tomogram: Path
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Where the boxes of a stack were cut out of a tomogram.

    Parameters
    ----------
    stack : ParticleStack
        Read from a STAR file with ``rlnCoordinateX``, ``Y`` and ``Z``, in voxels of the tomogram.
    tomogram : Path
        If the particles are of several tomograms, ``rlnTomoName`` or ``rlnMicrographName`` tells
        which are of the one of this file name.

    Returns
    -------
    rows : array, shape (k,)
        The particles of this tomogram.
    places : array, shape (k, 3)
        Centres of their boxes, (z, y, x) in voxels, integers at voxel centres.

    Raises
    ------
    InputError
        If the stack does not say, or none is of this tomogram.
    """
    table = stack.table
    if table is None or not set(_PLACE) <= set(table):
        raise InputError(
            f"{stack.path} does not say where its boxes were cut ({', '.join(_PLACE)}), so that "
            "nothing can be placed back; give the particles as a STAR file with these columns."
        )
    rows = np.arange(len(table))
    for name in ("rlnTomoName", "rlnMicrographName"):
        if name in table and table[name].nunique() > 1:
            rows = np.flatnonzero(_is_of(table[name], tomogram))
            break
    if not len(rows):
        raise InputError(
            f"none of the particles of {stack.path} is of {tomogram.name}: {name} says "
            f"{', '.join(map(str, table[name].unique()[:3]))}."
        )
    places = table[_PLACE].to_numpy(np.float64)[rows]
    if not np.isfinite(places).all():
        raise InputError(f"{stack.path}: {', '.join(_PLACE)} must be numbers for each particle.")
    return rows, places


def _is_of(names: "pd.Series[str]", tomogram: Path) -> NDArray[np.bool_]:
    """Which names are those of a file, with or without its folder, suffix and additions."""
    known = {tomogram.stem, tomogram.name}
    given = [Path(str(name)) for name in names]
    same = np.array([bool(known & {one.stem, one.name}) for one in given], bool)
    if same.any():
        return same
    plain = plain_name(tomogram.name)
    return np.array([plain_name(one.name) == plain for one in given], bool)
