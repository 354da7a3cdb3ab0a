"""Two tables, of what was found and of what is true, to all that their columns can measure."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_equipose.geometry import InputError, symmetry_group

from .._image_names import image_keys
from ._picks import average_precision, best_f1, match_picks, pick_scores
from ._table_measures import AXES, MEASURES, PICK_MEASURES, Measured, filled, measure_objects
from ._truth_columns import is_of_objects, with_our_names


def evaluate_tables(
    found: pd.DataFrame, truth: pd.DataFrame, *, symmetry: str = "C1", tolerance: float = 10.0
) -> dict[str, Any]:
    """Measure poses or picks against the truth: all that both tables have columns for.

    Parameters
    ----------
    found : DataFrame
        Poses (``index, translation_y, ..., content_0, ...``), whose rows meet those of the truth
        by ``index``, or picks (``image, y, x, ...``), matched by position, image by image.
    truth : DataFrame
        The same columns as far as they are known; other simulators' names are understood.
        Classes are in ``class``, or failing that in ``label``, ``digit``, ``view`` or ``name``;
        what further columns hold numbers are factors that the content may tell.
    symmetry : str
        Of the objects: C1, C2, ..., D2, ..., T, O, I. In the plane Cn and Dn look alike after
        each n-th of a turn.
    tolerance : float
        Largest distance in pixels of a pick from its object.

    Returns
    -------
    dict
        Plain numbers by the keys of `MEASURES`; ``kind``, ``dimensions``, ``n``, ``n_truth``,
        ``symmetry`` and, of picks, ``tolerance`` and ``matched``; and ``not_measured``, with the
        reason for each key of `MEASURES` that is not there.

    Raises
    ------
    InputError
        If the tables do not belong together, a column of numbers holds something else, or there is
        no such symmetry.
    """
    symmetry_group(symmetry)
    if not (np.isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"the tolerance must be a number of pixels, at least 0, got {tolerance}.")
    found, truth = with_our_names(found, "TABLE"), with_our_names(truth, "TRUTH")
    if not is_of_objects(found):
        raise InputError(
            "TABLE has nothing in common with a table of poses or picks: its columns are "
            f"{', '.join(map(str, found))}."
        )
    picks = {"y", "x"} <= set(found) and "translation_y" not in found
    dimensions = 3 if {"z", "translation_z", "tilt"} & set(found) else 2
    if dimensions == 2 and {"z", "translation_z", "tilt"} & set(truth):
        raise InputError("TABLE is of images and TRUTH of volumes: give the tables of one stack.")
    report: dict[str, Any] = {
        "kind": "picks" if picks else "poses",
        "dimensions": dimensions,
        "n": len(found),
        "n_truth": len(truth),
        "symmetry": symmetry,
    }
    measured = Measured()
    if picks:
        found, truth = _matched(measured, found, truth, tolerance, dimensions)
        report |= {"tolerance": tolerance, "matched": len(found)}
    else:
        found, truth = _by_index(found, truth)
        measured.without(PICK_MEASURES, "TABLE is of poses, not of picks")
    measure_objects(
        *(measured, found, truth),
        kind=report["kind"],
        dimensions=dimensions,
        symmetry=symmetry,
    )
    values = {name: measured.values[name] for name in MEASURES if name in measured.values}
    if not values:
        raise InputError(
            f"TABLE and TRUTH have nothing in common that can be measured: TABLE has the columns "
            f"{', '.join(map(str, found))}, TRUTH has {', '.join(map(str, truth))}."
        )
    reasons = {name: measured.reasons[name] for name in MEASURES if name not in values}
    return report | values | {"not_measured": reasons}


def _by_index(found: pd.DataFrame, truth: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put the rows of the truth into the order of what was found."""
    if len(found) != len(truth):
        raise InputError(
            f"TABLE has {len(found)} rows and TRUTH has {len(truth)}: give the tables of one stack."
        )
    if not len(found):
        raise InputError("TABLE and TRUTH have no rows.")
    if "index" not in found or "index" not in truth:
        return found, truth
    for name, table in (("TABLE", found), ("TRUTH", truth)):
        if table["index"].duplicated().any() or table["index"].isna().any():
            raise InputError(f"{name} must have every index once, to tell which row is which.")
    if set(found["index"]) != set(truth["index"]):
        raise InputError("TABLE and TRUTH have different indices: give the tables of one stack.")
    row = pd.Series(truth.index, index=truth["index"])
    return found, truth.loc[row.loc[found["index"]]]


def _matched(
    measured: Measured,
    found: pd.DataFrame,
    truth: pd.DataFrame,
    tolerance: float,
    dimensions: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score picks, and return the rows that match."""
    axes = AXES[-dimensions:]
    if missing := [axis for axis in axes if axis not in truth]:
        raise InputError(
            f"TABLE is of picks, and TRUTH has no column {' and no '.join(missing)}; it has "
            f"{', '.join(map(str, truth))}."
        )
    places, objects = _places(found, axes, "TABLE"), _places(truth, axes, "TRUTH")
    near = (*_told_apart(found, truth, places, objects, tolerance), tolerance)
    pairs, scores = match_picks(*near), pick_scores(*near)
    values = {"precision": scores.precision, "recall": scores.recall, "f1": scores.f1}
    if len(pairs.distance):
        values["position_error_px"] = float(np.median(pairs.distance))
    measured.without(["position_error_px"], "no pick is near an object")
    measured.values |= values

    def ranked() -> dict[str, Any]:
        score = filled(found, "score", "TABLE").to_numpy(float)
        best = best_f1(near[0], score, near[1], tolerance)
        ranking = average_precision(near[0], score, near[1], tolerance)
        threshold = {"best_f1_threshold": best.threshold} if np.isfinite(best.threshold) else {}
        return {"best_f1": best.f1, "average_precision": ranking, **threshold}

    measured.without(["best_f1_threshold"], "no pick is near an object")
    measured.add(["best_f1", "best_f1_threshold", "average_precision"], ranked)
    return found.iloc[pairs.found], truth.iloc[pairs.truth]


def _places(table: pd.DataFrame, axes: tuple[str, ...], which: str) -> npt.NDArray[np.float64]:
    """Return the coordinates of all rows, which all must have."""
    places = table[[*axes]].to_numpy(float)
    bad = ~np.isfinite(places).all(1)
    if bad.any():
        raise InputError(
            f"{which}, row {int(bad.argmax()) + 1} of {len(table)}: no place ({', '.join(axes)} "
            f"empty or infinite), as in {int(bad.sum())} of its rows; remove or fill them."
        )
    return places


def _told_apart(
    found: pd.DataFrame,
    truth: pd.DataFrame,
    places: npt.NDArray[np.float64],
    objects: npt.NDArray[np.float64],
    tolerance: float,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Add a coordinate that keeps images apart, where both tables are of several."""
    if any("image" not in t or t["image"].isin(["", np.nan]).all() for t in (found, truth)):
        return places, objects
    names = [table["image"].astype("str") for table in (found, truth)]
    keys = image_keys(names[0].unique(), names[1].unique())
    if max(len(set(mine.values())) for mine in keys) < 2:
        return places, objects
    joined = [name.map(mine) for name, mine in zip(names, keys, strict=True)]
    codes, _ = pd.factorize(pd.concat(joined, ignore_index=True))
    level = codes * 10.0 * (tolerance + 1)
    return (
        np.column_stack((places, level[: len(found)])),
        np.column_stack((objects, level[len(found) :])),
    )
