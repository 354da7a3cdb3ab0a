"""Tables of poses and of picks, and their columns."""

from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..geometry import InputError, rotations_to_relion

Kind = Literal["poses", "picks"]


def dimensions_of(table: pd.DataFrame) -> int:
    """Tell poses and picks in space, 3, from those in the plane, 2."""
    return 3 if {"translation_z", "z"} & set(table.columns) else 2


def place_of(kind: Kind, dimensions: int) -> list[str]:
    """Names of the columns that say where: of a pose from the centre of its box."""
    axes = "zyx"[-dimensions:]
    return [f"translation_{axis}" if kind == "poses" else axis for axis in axes]


def angles_of(dimensions: int) -> list[str]:
    """Names of the columns of angles, in degrees."""
    return ["rot", "tilt", "psi"] if dimensions == 3 else ["rotation"]


def columns_of(kind: Kind, dimensions: int) -> list[str]:
    """Names of the columns that every table of a kind has."""
    first = "index" if kind == "poses" else "image"
    return [first, *place_of(kind, dimensions), *angles_of(dimensions), "score", "class"]


def pose_table(
    rotation: ArrayLike,
    translation: ArrayLike,
    score: ArrayLike | None = None,
    content: ArrayLike | None = None,
    classes: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    contrast: ArrayLike | None = None,
    half: ArrayLike | None = None,
    brightness: ArrayLike | None = None,
) -> pd.DataFrame:
    """Make the table of an encoded stack, one row an image or a volume.

    Parameters
    ----------
    rotation : array, shape (n,) or (n, 3, 3)
        Radians, counter-clockwise as displayed; of volumes matrices that act on (z, y, x).
    translation : array, shape (n, 2) or (n, 3)
        Pixels ((z,) y, x).
    score : array, shape (n,), optional
    content : array, shape (n, d), optional
    classes : array of int, shape (n,), optional
    scale, contrast : array, shape (n,), optional
        Columns of these names come last, where given.
    half : array of int, shape (n,), optional
        0 or 1: in which half of the data each is; a column of this name, the very last.
    brightness : array, shape (n,), optional
        A column of this name beside ``contrast``.

    Returns
    -------
    DataFrame
        ``index, translation_y, translation_x, rotation, score, class, content_0, ...``;
        ``rotation`` in degrees in [-180, 180), what is not known empty. Of volumes
        ``translation_z`` comes before, and RELION's angles ``rot, tilt, psi`` in degrees stand in
        place of ``rotation``.
    """
    rotation, translation = np.asarray(rotation, np.float64), np.asarray(translation, np.float64)
    dimensions = 3 if rotation.ndim == 3 else 2
    translation = translation.reshape(-1, dimensions)
    columns: dict[str, Any] = {"index": np.arange(len(translation))}
    columns |= dict(zip(place_of("poses", dimensions), translation.T, strict=True))
    shared = _shared(len(translation), None, score, content, classes)
    if dimensions == 3:
        columns |= dict(zip(angles_of(3), rotations_to_relion(rotation).T, strict=True))
        del shared["rotation"]
    else:
        shared["rotation"] = wrap_degrees(np.degrees(rotation))
    last = {"scale": scale, "contrast": contrast, "brightness": brightness}
    last = {name: np.asarray(v, np.float64) for name, v in last.items() if v is not None}
    halves = {} if half is None else {"half": np.asarray(half, np.int64)}
    return pd.DataFrame(columns | shared | last | halves)


def pick_table(
    image: str,
    positions: ArrayLike,
    rotation: ArrayLike | None = None,
    score: ArrayLike | None = None,
    content: ArrayLike | None = None,
    classes: ArrayLike | None = None,
) -> pd.DataFrame:
    """Make the table of the objects found in an image, one row an object.

    Parameters
    ----------
    image : str
        Name of the image; RELION wants the path from its project's folder.
    positions : array, shape (n, 2) or (n, 3)
        ((z,) y, x) pixel indices, 0-based, integer at pixel centres.
    rotation : array, shape (n,) or (n, 3, 3), optional
        Radians, counter-clockwise as displayed; in volumes matrices that act on (z, y, x).
    score : array, shape (n,), optional
    content : array, shape (n, d), optional
    classes : array of int, shape (n,), optional

    Returns
    -------
    DataFrame
        ``image, y, x, rotation, score, class, content_0, ...``; ``rotation`` in degrees in
        [-180, 180), what is not known empty. In volumes ``z`` comes before, and RELION's angles
        ``rot, tilt, psi`` in degrees stand in place of ``rotation``.
    """
    positions = np.asarray(positions, np.float64)
    dimensions = 3 if positions.shape[1:] == (3,) else 2
    positions = positions.reshape(-1, dimensions)
    n = len(positions)
    columns: dict[str, Any] = {"image": pd.array([image] * n, dtype="str")}
    columns |= dict(zip(place_of("picks", dimensions), positions.T, strict=True))
    if dimensions == 2:
        return pd.DataFrame(columns | _shared(n, rotation, score, content, classes))
    angles = np.full((n, 3), np.nan)
    if rotation is not None:
        matrices = np.asarray(rotation, np.float64)
        known = np.isfinite(matrices).all((1, 2))
        angles[known] = rotations_to_relion(matrices[known])
    shared = _shared(n, None, score, content, classes)
    del shared["rotation"]
    return pd.DataFrame(columns | dict(zip(angles_of(3), angles.T, strict=True)) | shared)


def _shared(
    n: int,
    rotation: ArrayLike | None,
    score: ArrayLike | None,
    content: ArrayLike | None,
    classes: ArrayLike | None,
) -> dict[str, Any]:
    """The columns that both kinds of table end with."""
    unknown = np.full(n, np.nan)
    degrees = unknown if rotation is None else np.degrees(np.asarray(rotation, np.float64))
    columns: dict[str, Any] = {
        "rotation": wrap_degrees(degrees.reshape(n)),
        "score": unknown if score is None else np.asarray(score, np.float64).reshape(n),
        "class": pd.array([pd.NA] * n if classes is None else np.asarray(classes), dtype="Int64"),
    }
    if content is not None:
        content = np.asarray(content, np.float64).reshape(n, -1 if n else np.shape(content)[-1])
        columns |= {f"content_{i}": content[:, i] for i in range(content.shape[1])}
    return columns


def wrap_degrees(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring degrees into [-180, 180), to a millionth, so that no file says 180."""
    return (np.round(angle, 6) + 180) % 360 - 180


def kind_of(table: pd.DataFrame) -> Kind:
    """Tell poses from picks by their columns.

    Raises
    ------
    ValueError
        If the table is neither.
    """
    kinds: tuple[Kind, ...] = ("poses", "picks")
    for kind in kinds:
        if set(columns_of(kind, dimensions_of(table))) <= set(table.columns):
            return kind
    raise ValueError(
        f"a table has the columns {columns_of('poses', 2)} (poses) or {columns_of('picks', 2)} "
        f"(picks), this one has {list(table.columns)}"
    )


def numbers_of(path: object, column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Take a column of a file for numbers.

    Raises
    ------
    InputError
        Naming the row of what is none.
    """
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = (numbers.isna() & column.notna()).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"{path}, row {row + 1}: {column.iloc[row]!r} in column {column.name} is no number."
        )
    return numbers
