"""What the columns of objects that stand for each other can measure."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_equipose.geometry import InputError, rotations_from_relion

from ._clusters import clustering_accuracy, label_accuracy
from ._content import content_scores, factor_correlation
from ._poses import (
    circular_correlation,
    gauge_free_errors,
    rotation_resultant,
    translation_correlation,
)
from ._rotations import geodesic_errors
from ._truth_columns import factors_of, labels_of

MEASURES = {
    "precision": "part of the picks that are true",
    "recall": "part of the true objects that are found",
    "f1": "harmonic mean of the two",
    "best_f1": "the same at the best threshold of the score, chosen with the truth",
    "best_f1_threshold": "that threshold",
    "average_precision": "area under precision against recall",
    "position_error_px": "median distance of a pick from its object, pixels",
    "translation_correlation_z": "Pearson correlation of translations, axis by axis",
    "translation_correlation_y": "the same along y",
    "translation_correlation_x": "the same along x",
    "rotation_resultant": "mean resultant length of rotation errors, 1 is best, a frame a class",
    "rotation_error_deg": "median rotation error, degrees, a frame a class",
    "rotation_resultant_one_frame": "mean resultant length, one frame for all",
    "rotation_error_deg_one_frame": "median rotation error, one frame for all",
    "circular_correlation": "of rotations, as the papers have it; unsound if they are uniform",
    "circular_correlation_uniform": "the same in its form for uniform rotations; one frame for all",
    "angular_error_deg": "median angle between 3D rotations, degrees, a frame a class",
    "angular_error_deg_one_frame": "the same, one frame for all",
    "scale_correlation": "Pearson correlation of the logarithms of scales",
    "contrast_correlation": "the same of contrasts",
    "clustering_accuracy": "Ward's clusters of the content against the true classes",
    "class_accuracy": "the column class against the true classes, at the best naming",
    "predictability": "P(c|z): true class told from the content by its nearest neighbours",
    "sap": "P(c|z_i) of the best single latent less that of the second best",
    "factor_correlation": "of each further column of numbers in TRUTH with the content, largest",
}
"""What `evaluate_tables` may find, by key."""

AXES = ("z", "y", "x")
PICK_MEASURES = list(MEASURES)[:7]
_SHIFTS = [f"translation_correlation_{axis}" for axis in AXES]
_PLANE = [name for name in MEASURES if name.startswith(("rotation_", "circular_"))]
_SPACE = [name for name in MEASURES if name.startswith("angular_")]
_MOST_CLUSTERED = 10_000
_Values = dict[str, Any]
_Labels = pd.Series | None


class Measured:
    """What could be measured, and why the rest could not."""

    def __init__(self) -> None:
        self.values: _Values = {}
        self.reasons: dict[str, str] = {}

    def without(self, names: list[str], reason: str) -> None:
        """Say why some measures can't be taken."""
        self.reasons |= dict.fromkeys(names, reason)

    def add(self, names: list[str], measure: Callable[[], _Values]) -> None:
        """Take measures, or keep the reason why not."""
        try:
            values = measure()
        except InputError as error:
            self.without(names, str(error).rstrip("."))
        else:
            self.without(names, "no finite number comes of it")
            self.values |= {n: v for n, v in values.items() if np.isfinite(_numbers(v)).all()}


def _numbers(value: float | dict[str, float]) -> list[float]:
    return [*value.values()] if isinstance(value, dict) else [value]


def measure_objects(
    measured: Measured,
    found: pd.DataFrame,
    truth: pd.DataFrame,
    *,
    kind: str,
    dimensions: int,
    symmetry: str,
) -> None:
    """Measure poses and content of objects, the rows of both tables in one order."""
    labels = labels_of(truth)
    if kind == "poses":
        _translations(measured, found, truth, dimensions)
    else:
        measured.without(_SHIFTS, "TABLE is of picks, not of poses")
    if dimensions == 2:
        _rotations(measured, found, truth, labels, symmetry)
        measured.without(_SPACE, "of volumes only")
    else:
        _rotations_3d(measured, found, truth, labels, symmetry)
        measured.without(_PLANE, "of images only")
    _content(measured, found, truth, labels)
    _sizes(measured, found, truth)


def _translations(
    measured: Measured, found: pd.DataFrame, truth: pd.DataFrame, dimensions: int
) -> None:
    for axis in AXES:
        key, column = f"translation_correlation_{axis}", f"translation_{axis}"
        if axis == "z" and dimensions == 2:
            measured.without([key], "of volumes only")
            continue

        def along(column: str = column, key: str = key) -> _Values:
            both = [_both(found, truth, column)[i].to_numpy(float)[:, None] for i in (0, 1)]
            return {key: float(translation_correlation(*both)[0])}

        measured.add([key], along)


def _rotations(
    measured: Measured,
    found: pd.DataFrame,
    truth: pd.DataFrame,
    labels: _Labels,
    symmetry: str,
) -> None:
    def turned() -> _Values:
        if symmetry[0].upper() not in "CD":
            raise InputError(f"{symmetry} is no symmetry of images; in the plane give C2, C3, ...")
        a, b = (np.radians(c.to_numpy(float)) for c in _both(found, truth, "rotation"))
        fold = int(symmetry[1:])
        values = {
            "circular_correlation": circular_correlation(a, b),
            "circular_correlation_uniform": circular_correlation(a, b, uniform=True),
        }
        error = a - b
        for end, groups in (("", _codes(labels)), ("_one_frame", None)):
            values[f"rotation_resultant{end}"] = rotation_resultant(error, fold, groups).overall
            values[f"rotation_error_deg{end}"] = gauge_free_errors(error, fold, groups).median
        return values

    measured.add(_PLANE, turned)


def _rotations_3d(
    measured: Measured,
    found: pd.DataFrame,
    truth: pd.DataFrame,
    labels: _Labels,
    symmetry: str,
) -> None:
    def turned() -> _Values:
        angles = [_both(found, truth, name) for name in ("rot", "tilt", "psi")]
        a, b = (
            rotations_from_relion(np.column_stack([pair[i] for pair in angles])) for i in (0, 1)
        )
        return {
            "angular_error_deg": geodesic_errors(a, b, symmetry, _codes(labels)).median,
            "angular_error_deg_one_frame": geodesic_errors(a, b, symmetry).median,
        }

    measured.add(_SPACE, turned)


def _content(
    measured: Measured,
    found: pd.DataFrame,
    truth: pd.DataFrame,
    labels: _Labels,
) -> None:
    """Measure what the content, the classes and what else was inferred tell."""

    def classes() -> npt.NDArray[np.intp]:
        codes = _codes(labels)
        if codes is None:
            raise InputError("TRUTH has no column of classes")
        return codes

    def content() -> npt.NDArray[np.float64]:
        names = [name for name in map(str, found) if name.startswith("content_")]
        if not names:
            raise InputError("TABLE has no column content_0")
        return np.column_stack([filled(found, name, "TABLE") for name in names])

    def clustered() -> _Values:
        rows: Any = slice(None)
        if len(found) > _MOST_CLUSTERED:  # memory grows with the square
            rows = np.random.default_rng(0).choice(len(found), _MOST_CLUSTERED, replace=False)
        return {"clustering_accuracy": clustering_accuracy(content()[rows], classes()[rows])}

    def named() -> _Values:
        return {"class_accuracy": label_accuracy(filled(found, "class", "TABLE"), classes())}

    def told() -> _Values:
        scores = content_scores(content(), classes(), _others(found))
        return {"predictability": scores.predictability, "sap": scores.sap}

    def correlated() -> _Values:
        factors = factors_of(truth)
        if not factors:
            raise InputError("TRUTH has no further column of numbers that vary")
        latents = content()
        largest = {n: float(np.abs(factor_correlation(latents, truth[n])).max()) for n in factors}
        return {"factor_correlation": largest}

    measured.add(["clustering_accuracy"], clustered)
    measured.add(["class_accuracy"], named)
    measured.add(["predictability", "sap"], told)
    measured.add(["factor_correlation"], correlated)


def _sizes(measured: Measured, found: pd.DataFrame, truth: pd.DataFrame) -> None:
    for name in ("scale", "contrast"):

        def sized(name: str = name) -> _Values:
            pair = [column.to_numpy(float) for column in _both(found, truth, name)]
            if min(map(np.min, pair)) <= 0:
                raise InputError(f"{name} must be positive")
            a, b = map(np.log, pair)
            return {f"{name}_correlation": float(factor_correlation(a[:, None], b)[0])}

        measured.add([f"{name}_correlation"], sized)


def _others(found: pd.DataFrame) -> npt.NDArray[np.float64]:
    """What is inferred of each object beside its content."""
    names = [*(f"translation_{axis}" for axis in AXES), "rotation", "rot", "tilt", "psi"]
    names = [name for name in (*names, "scale", "contrast") if name in found]
    values = found[names].to_numpy(float)
    return values[:, np.isfinite(values).all(0)]


def _both(
    found: pd.DataFrame, truth: pd.DataFrame, name: str
) -> "tuple[pd.Series[float], pd.Series[float]]":
    return filled(found, name, "TABLE"), filled(truth, name, "TRUTH")


def filled(table: pd.DataFrame, name: str, which: str) -> "pd.Series[Any]":
    """Return a column that must be there, and have no empty cell."""
    if not len(table):
        raise InputError("no pick is near an object")
    if name not in table or not table[name].notna().any():
        raise InputError(f"{which} has no {name}")
    bad = (table[name].isin([np.inf, -np.inf]) | table[name].isna()).to_numpy()
    if bad.any():
        row = table.index[bad][0] + 1
        raise InputError(f"{which} has empty or infinite cells in {name}, one in row {row}")
    return table[name]


def _codes(labels: _Labels) -> npt.NDArray[np.intp] | None:
    return None if labels is None else pd.factorize(labels)[0]
