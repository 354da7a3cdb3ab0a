"""Files of poses and of picks."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from ..geometry import InputError
from ._columns import (
    Kind,
    angles_of,
    columns_of,
    dimensions_of,
    kind_of,
    numbers_of,
    place_of,
    wrap_degrees,
)
from ._csv import read_csv, write_csv
from ._pick_files import read_box, read_cbox, read_coords, read_topaz, write_box, write_topaz
from ._relion import picks_to_star, poses_to_star, star_to_picks, star_to_poses
from ._stacks import ParticleStack
from ._star import StarFile, pixel_sizes, read_star, write_star
from ._star_text import check_names

_log = logging.getLogger(__name__)
TABLE_SUFFIXES = (".csv", ".star", ".box", ".txt")


def write_table(
    path: str | Path,
    table: pd.DataFrame,
    *,
    stack: ParticleStack | None = None,
    pixel_size: float | None = None,
    box_size: int | None = None,
) -> list[str]:
    """Write poses or picks, whole or not at all; the suffix says as what.

    Parameters
    ----------
    path : str or Path
        .csv, .star (RELION 3.1 and later); picks also .box (EMAN) and .txt (Topaz).
    table : DataFrame
        As `pose_table` and `pick_table` make it.
    stack : ParticleStack, optional
        What the poses belong to; wanted for .star. Of a stack read from a STAR file every
        column and the order of the rows are kept.
    pixel_size : float, optional
        Angstrom, for .star. By default the stack's; where neither is known the file has none, and
        origins are in pixels.
    box_size : int, optional
        Pixels, wanted for .box.

    Returns
    -------
    list of str
        What a person should know of the file, in sentences. They are logged too.

    Raises
    ------
    InputError
        If the suffix is another, does not hold this kind of table, or wants what is not given.
    """
    path = Path(path)
    suffix, kind = path.suffix.lower(), kind_of(table)
    if suffix == ".csv":
        write_csv(path, table)
    elif suffix == ".star" and kind == "picks":
        return _write_star(path, picks_to_star(table, pixel_size))
    elif suffix == ".star":
        if stack is None:
            raise InputError(f"{path}: poses in a STAR file need the stack they belong to.")
        return _write_star(path, poses_to_star(table, stack, pixel_size))
    elif suffix in (".box", ".txt") and kind == "poses":
        raise InputError(f"{path}: {suffix} files hold picks; write poses as .csv or .star.")
    elif suffix in (".box", ".txt") and dimensions_of(table) == 3:
        raise InputError(f"{path}: {suffix} files hold picks in a plane; write .csv or .star.")
    elif suffix == ".box":
        if box_size is None:
            raise InputError(f"{path}: a .box file needs the box size in pixels.")
        write_box(path, table, box_size)
    elif suffix == ".txt":
        write_topaz(path, table)
    else:
        raise InputError(f"{path}: tables are written as {', '.join(TABLE_SUFFIXES)}.")
    return []


def _write_star(path: Path, star: StarFile) -> list[str]:
    write_star(path, star)
    if pixel_sizes(star) is not None:
        return []
    note = (
        f"{path.name} has no pixel size, as none is known of the image; give it to RELION when you "
        "import the file."
    )
    _log.warning(note)
    return [note]


def check_writable(path: str | Path, names: Iterable[str]) -> None:
    """Refuse names of images that a table of this suffix can't hold: for before the work.

    Raises
    ------
    InputError
    """
    if Path(path).suffix.lower() == ".star":
        check_names(names)


def read_table(path: str | Path, kind: Kind | None = None) -> pd.DataFrame:
    """Read poses or picks from any file `write_table` writes, or another program wrote.

    Parameters
    ----------
    path : str or Path
        .csv, .star, .box (EMAN), .cbox, .coords and .coord (crYOLO), .txt (Topaz).
    kind : "poses" or "picks", optional
        Which to take from a file that has both: by default poses where a STAR file names
        images of particles, and picks where it does not.

    Returns
    -------
    DataFrame
        The columns of `pose_table` or `pick_table`, of poses in space where the file has them;
        what is not known empty; a CSV file's further columns after them.

    Raises
    ------
    InputError
        If the file is missing, damaged, or holds no such table.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".star":
        star = read_star(path)
        if kind is None:
            kind = "poses" if "rlnImageName" in star.particles else "picks"
        raw = star_to_poses(star, path) if kind == "poses" else star_to_picks(star, path)[0]
    elif suffix in _PLAIN_READERS:
        raw = _PLAIN_READERS[suffix](path)
        if kind is None:
            kind = "poses" if "translation_y" in raw else "picks"
    else:
        raise InputError(f"{path}: tables are read from {', '.join((*_PLAIN_READERS, '.star'))}.")
    return _checked(path, raw, kind)


def read_columns(path: str | Path, kind: Kind | None = None) -> pd.DataFrame:
    """Read a table as it stands: a CSV file with whatever columns it has, others as `read_table`.

    For tables of which only some columns are known, such as truths.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    path = Path(path)
    return read_csv(path) if path.suffix.lower() == ".csv" else read_table(path, kind)


_PLAIN_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": read_csv,
    ".box": read_box,
    ".cbox": read_cbox,
    ".coords": read_coords,
    ".coord": read_coords,
    ".txt": read_topaz,
}


def _checked(path: Path, raw: pd.DataFrame, kind: Kind) -> pd.DataFrame:
    """Bring a table into the order and the types of its kind."""
    dimensions = dimensions_of(raw)
    place, angles = place_of(kind, dimensions), angles_of(dimensions)
    columns = columns_of(kind, dimensions)
    missing = [name for name in place if name not in raw]
    if missing:
        raise InputError(
            f"{path} has no column {' and no '.join(missing)}, so it is no table of {kind}; "
            f"it has {', '.join(map(str, raw.columns))}."
        )
    table = raw.copy()
    if kind == "poses" and "index" not in table:
        table["index"] = np.arange(len(table))
    if kind == "picks":
        table["image"] = table["image"].fillna("").astype("str") if "image" in table else ""
    for name in (*angles, "score", "class"):
        if name not in table:
            table[name] = np.nan
    numeric = [name for name in map(str, table) if name.startswith("content_")]
    numeric += [name for name in columns if name != "image"]
    for name in numeric:
        table[name] = numbers_of(path, table[name])
    try:
        table = table.astype({"class": "Int64", **({"index": int} if kind == "poses" else {})})
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}, column {name}: {error}.") from error
    unplaced = ~np.isfinite(table[place].to_numpy(np.float64)).all(axis=1)
    if unplaced.any():
        raise InputError(f"{path}: row {int(unplaced.argmax()) + 1} has no place ({place}).")
    for name in angles:
        table[name] = wrap_degrees(table[name].to_numpy(np.float64))
    return table[[*columns, *(name for name in table if name not in columns)]]
