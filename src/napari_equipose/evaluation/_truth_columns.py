"""Names of columns: ours, and those of simulators that say the same otherwise."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from napari_equipose.geometry import InputError

_NUMBERS = [
    *("index", "z", "y", "x", "translation_z", "translation_y", "translation_x"),
    *("rotation", "rot", "tilt", "psi", "score", "scale", "contrast", "brightness"),
]
_SYNONYMS = {"id": "index", "psi_relion": "rotation"}
_SYNONYMS |= {f"shift_{axis}{end}": f"translation_{axis}" for axis in "zyx" for end in ("", "_px")}
_LABELS = ("class", "label", "digit", "view", "name")
# What else stands in tables of truth, and is nothing that an object's content would tell.
_NO_FACTORS = {"half", "image", "qx", "qy", "qz", "qw", "tilt_min", "tilt_max", "sym_fold"}
_NO_FACTORS |= {"on_contaminant", *_LABELS, *_NUMBERS}
_TURNED: dict[str, Callable[["pd.Series[Any]"], "pd.Series[Any]"]] = {
    # these are clockwise as displayed
    "theta_deg": lambda angle: -angle,
    "theta_rad": lambda angle: -angle * (180 / 3.141592653589793),
}


def with_our_names(table: pd.DataFrame, which: str) -> pd.DataFrame:
    """Name columns as our tables do, and make numbers of what must be.

    Raises
    ------
    InputError
        If such a column holds something else.
    """
    table = table.reset_index(drop=True)  # rows are numbered as in their file from here on
    table = table.rename(columns={old: new for old, new in _SYNONYMS.items() if new not in table})
    for name, turn in _TURNED.items():
        if name in table and "rotation" not in table:
            table = table.assign(rotation=turn(_numbers(table, name, which)))
    contents = [name for name in map(str, table) if name.startswith("content_")]
    for name in (*_NUMBERS, *contents):
        if name in table:
            table[name] = _numbers(table, name, which)
    return table.drop(columns=[name for name in _TURNED if name in table])


def is_of_objects(table: pd.DataFrame) -> bool:
    """Whether any column is one that poses, picks, their classes or their content have."""
    names = list(map(str, table))
    return any(name in (*_NUMBERS, *_LABELS) or name.startswith("content_") for name in names)


def labels_of(truth: pd.DataFrame) -> "pd.Series[Any] | None":
    """Return the column of true classes, if there is one without empty cells."""
    full = [name for name in _LABELS if name in truth and truth[name].notna().all()]
    return truth[full[0]] if full and len(truth) else None


def factors_of(truth: pd.DataFrame) -> list[str]:
    """Names of the columns of numbers that an object's content may tell."""
    names = [str(name) for name in truth if name not in _NO_FACTORS]
    names = [name for name in names if not name.startswith("content_")]
    return [
        name
        for name in names
        if pd.api.types.is_numeric_dtype(truth[name])
        and truth[name].notna().all()
        and truth[name].nunique() > 1
    ]


def _numbers(table: pd.DataFrame, name: str, which: str) -> "pd.Series[Any]":
    try:
        return pd.to_numeric(table[name])
    except (ValueError, TypeError) as error:
        bad = (pd.to_numeric(table[name], errors="coerce").isna() & table[name].notna()).to_numpy()
        row = int(bad.argmax())
        raise InputError(
            f"{which}, row {row + 1}, column {name}: {table[name].iloc[row]!r} is no number."
        ) from error
