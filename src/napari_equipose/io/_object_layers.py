"""Tables of objects as layers: points, arrows, and the record of what they were found with.

The record is what a points layer holds in ``metadata["equipose"]``; beside a table it is a JSON
file. Arrows are made of the points alone, so that both always agree.
"""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._colors import class_rgba, cyclic_rgba, ramp_rgba
from .._files import write_json
from ..geometry import InputError, rotations_from_relion
from ._columns import angles_of, dimensions_of, place_of

ID, BY_HAND = "id", "by_hand"
"""Columns of an object's identity, and of whether a person put it where it is."""
NO_CLASS = -1
"""Of objects that belong to no class, in layers; in tables they have none."""
_MAKER = "napari-equipose"
_BOX = 20
_HIDDEN = 1e-6
"""By so much hidden points are smaller, as napari 0.9.2 minds ``shown`` only where axes are left
to slide along. It is a factor, so that a hidden point still knows its size."""
_OF_TABLES = ("made_by", "placement")
_WITHIN = (1.0, 99.0)  # percentiles: few objects far out would leave all others one color


def new_result() -> str:
    """Make the mark that ties the arrows of one result to its points."""
    return uuid4().hex


def with_identity(features: pd.DataFrame) -> pd.DataFrame:
    """Give rows that have none an ``id`` of their own, and say which are made by hand.

    Of several rows of one ``id`` the first keeps it.
    """
    table = features.copy()
    number = np.full(len(table), -1, np.int64)
    if ID in table:
        found = pd.to_numeric(table[ID], errors="coerce").to_numpy(np.float64, na_value=np.nan)
        number = np.where(np.isfinite(found) & (found >= 0), found, -1).astype(np.int64)
    number[pd.Series(number).duplicated().to_numpy()] = -1
    lacking = number < 0
    first = int(number.max(initial=-1)) + 1
    number[lacking] = np.arange(first, first + int(lacking.sum()))
    table[ID] = number
    by_hand = table[BY_HAND].isin([True, "True", "true", 1]) if BY_HAND in table else False
    table[BY_HAND] = by_hand
    return table.astype({ID: np.int64, BY_HAND: bool})


def is_measured(column: str) -> bool:
    """Whether a column says what a model infers of an object, and nothing else."""
    known = ("rotation", "score", "class", "scale", "contrast", "brightness", *angles_of(3))
    return column in known or column.startswith("content_")


def unmeasured(features: pd.DataFrame, rows: Any) -> pd.DataFrame:
    """Take from some rows what was inferred of them: they are of no class, all else is NaN."""
    table = features.copy()
    for name in filter(is_measured, map(str, table)):
        if name == "class":
            values = table[name].to_numpy(np.float64, na_value=np.nan)
            values[rows] = NO_CLASS
            whole = np.where(np.isfinite(values), values, NO_CLASS).astype(np.int64)
            table[name] = whole
        else:
            numbers = pd.to_numeric(table[name], errors="coerce")
            values = numbers.to_numpy(np.float64, na_value=np.nan).copy()
            values[rows] = np.nan
            table[name] = values
    return table


def defaults_of(features: pd.DataFrame) -> dict[str, Any]:
    """Features of the next point that a person adds: nothing is known of it."""
    if not len(features):
        defaults: dict[str, Any] = {str(name): np.nan for name in features}
        defaults |= {"class": NO_CLASS} if "class" in features else {}
    else:
        empty = unmeasured(features.iloc[:1], [0])
        defaults = {str(name): empty[name].iloc[0] for name in empty}
    return defaults | {name: v for name, v in ((ID, -1), (BY_HAND, True)) if name in features}


def object_colors(features: pd.DataFrame, by: str | None, fold: int = 1) -> NDArray[np.float32]:
    """Color objects by one of their columns, RGBA (n, 4); gray where it is not known.

    Parameters
    ----------
    features : DataFrame
    by : str or None
        ``rotation`` or another angle in degrees, ``class``, or any column of numbers.
    fold : int
        Angles that differ by a ``fold``-th of a turn have the same color.
    """
    if by is None or by not in features:
        return np.tile(class_rgba([0]), (len(features), 1))
    numbers = pd.to_numeric(features[by], errors="coerce")
    values = numbers.to_numpy(np.float64, na_value=np.nan)
    if by == "class":
        return class_rgba(np.where(np.isfinite(values), values, NO_CLASS).astype(np.int64))
    if by in ("rotation", "rot", "psi"):
        return cyclic_rgba(values * fold / 360)
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, _WITHIN) if len(known) else (0.0, 1.0)
    return ramp_rgba((values - low) / ((high - low) or 1.0))


def arrow_rows(
    positions: NDArray[np.floating[Any]], features: pd.DataFrame, record: dict[str, Any]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Make the arrows of objects, and say of which object each is.

    In a plane an arrow is centered on its object; where the record says that objects are twofold
    symmetric, two arrows leave it in opposite directions. In space it starts at the object and
    lies along the z axis that this has in the canonical frame.

    Returns
    -------
    array, shape (n, 2, axes)
        Starts and directions. Objects whose rotation is not known have none.
    array of int, shape (n,)
    """
    places = np.asarray(positions, np.float64)
    length = float(record.get("arrow_length") or record.get("box_size") or _BOX) or 1.0
    in_space = set(angles_of(3)) <= set(features)
    names = angles_of(3 if in_space else 2)
    if not set(names) <= set(features):
        return np.zeros((0, 2, places.shape[1])), np.zeros(0, np.intp)
    angles = features[names].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    rows = np.flatnonzero(np.isfinite(angles).all(1))
    along = np.zeros((len(rows), places.shape[1]))
    if in_space:
        along[:, -3:] = length * rotations_from_relion(angles[rows])[:, :, 0]
        return np.stack((places[rows], along), 1), rows
    turn = np.radians(angles[rows, 0] + float(record.get("arrow_offset", 0.0)))
    along[:, -2], along[:, -1] = -length * np.sin(turn), length * np.cos(turn)  # y points down
    if record.get("fold") == 2:
        twice = np.repeat(rows, 2)
        halves = np.repeat(along, 2, 0) * np.tile([[0.5], [-0.5]], (len(rows), 1))
        return np.stack((places[twice], halves), 1), twice
    return np.stack((places[rows] - along / 2, along), 1), rows


def hidden_size(size: NDArray[Any], was: NDArray[Any], now: NDArray[Any]) -> NDArray[np.float64]:
    """Sizes of points of which others are shown than were."""
    sizes = np.asarray(size, np.float64)
    return sizes * np.where(now & ~was, 1 / _HIDDEN, np.where(was & ~now, _HIDDEN, 1.0))


def layer_arguments(
    features: pd.DataFrame, record: dict[str, Any], name: str, shown: NDArray[np.bool_]
) -> dict[str, Any]:
    """Keyword arguments of the points layer of objects."""
    size = float(record.get("point_size") or (record.get("box_size") or _BOX) / 5)
    fold = int(record.get("fold") or 1)
    every = np.ones(len(features), bool)
    return {
        "name": name,
        "features": features,
        "feature_defaults": defaults_of(features),
        "symbol": "disc",
        "size": hidden_size(np.full(len(features), size), every, shown),
        "shown": shown,
        "canvas_size_limits": (0, 10_000),
        "face_color": object_colors(features, record.get("color"), fold),
        "border_color": "black",
        "border_width": 0.1,
        "projection_mode": "rescale_linear",
        "metadata": {"equipose": dict(record)},
    }


def arrow_arguments(
    features: pd.DataFrame, colors: NDArray[Any], record: dict[str, Any], name: str
) -> dict[str, Any]:
    """Keyword arguments of the vectors layer of arrows, each a row of ``features``."""
    length = float(record.get("arrow_length") or _BOX)
    return {
        "name": name,
        "features": features,
        "edge_color": colors,
        "vector_style": "arrow",
        "edge_width": float(record.get("arrow_width") or max(length / 6, 0.5)),
        "opacity": 0.9,
        "projection_mode": "fade",
        "metadata": {"equipose": dict(record)},
    }


def object_layers(
    picks: pd.DataFrame,
    record: dict[str, Any] | None,
    name: str,
    placement: dict[str, Any] | None = None,
) -> list[tuple[Any, dict[str, Any], str]]:
    """Make napari's layer tuples of a table of picks: arrows, where there are any, and points.

    Parameters
    ----------
    picks : DataFrame
        As `read_table` gives it.
    record : dict or None
        As `read_record` gives it.
    name : str
        Of the points layer.
    placement : dict, optional
        Keyword arguments that say where the layers lie, where the record does not.
    """
    record = dict(record or {})
    place = record.pop("placement", None) or placement or {}
    axes = place_of("picks", dimensions_of(picks))
    record |= {"result": new_result()}
    positions = picks[axes].to_numpy(np.float64)
    ahead = record.get("slice") or []
    positions = np.concatenate((np.tile(np.array(ahead, float), (len(picks), 1)), positions), 1)
    features = picks.drop(columns=axes).dropna(axis="columns", how="all")
    if "image" in features and features["image"].nunique() <= 1:
        if features["image"].any():
            record.setdefault("image", str(features["image"].iloc[0]))
        features = features.drop(columns="image")
    if "class" in features:
        features["class"] = features["class"].fillna(NO_CLASS).astype(np.int64)
    features = with_identity(features.reset_index(drop=True))
    if "color" not in record:
        known = [n for n in ("rotation", "class", "score") if n in features]
        record["color"] = known[0] if known else None
    shown = np.ones(len(features), bool)
    if "score" in features and record.get("min_score") is not None:
        score = features["score"].to_numpy(np.float64)
        shown = ~(score < float(record["min_score"]))
    arrows, rows = arrow_rows(positions[shown], features[shown], record)
    points = layer_arguments(features, record, name, shown)
    layers: list[tuple[Any, dict[str, Any], str]] = [(positions, points | place, "points")]
    if len(rows):
        of = np.flatnonzero(shown)[rows]
        few = features.iloc[of].reset_index(drop=True)
        about = arrow_arguments(few, points["face_color"][of], record, f"{name}, arrows")
        layers.insert(0, (arrows, about | place, "vectors"))
    return layers


def read_record(table: str | Path) -> dict[str, Any] | None:
    """Read the record beside a table; None where there is none of this package."""
    path = Path(table).with_suffix(".json")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.pop("made_by", None) != _MAKER:
        return None
    return record


def check_record(table: str | Path) -> None:
    """Refuse a table whose record would take the place of another program's file.

    Raises
    ------
    InputError
    """
    path = Path(table).with_suffix(".json")
    if path.exists() and read_record(table) is None:
        raise InputError(
            f"{path.name} is there already and is no record of objects; beside {Path(table).name} "
            "it would be overwritten. Choose another name for the table."
        )


def write_record(
    table: str | Path, record: dict[str, Any], placement: dict[str, Any] | None = None
) -> None:
    """Write the record of the objects in a table beside it, as ``.json``.

    Raises
    ------
    InputError
        If a file of this name is none of this package.
    """
    check_record(table)
    about = {name: value for name, value in record.items() if name not in ("result", *_OF_TABLES)}
    about = {"made_by": _MAKER} | about | ({"placement": placement} if placement else {})
    write_json(Path(table).with_suffix(".json"), about)


def placement_of(meta: dict[str, Any]) -> dict[str, Any]:
    """Take from a layer's keyword arguments those that say where it lies, as plain JSON."""
    place: dict[str, Any] = {}
    for name in ("scale", "translate", "rotate", "shear"):
        if name in meta:
            place[name] = np.asarray(meta[name], np.float64).tolist()
    if "affine" in meta:
        affine = meta["affine"]
        place["affine"] = np.asarray(getattr(affine, "affine_matrix", affine), float).tolist()
    for name in ("units", "axis_labels"):
        if meta.get(name) is not None:
            place[name] = [str(one) for one in meta[name]]
    return place
