"""What the columns of a points layer say of objects; nothing here knows of Qt."""

from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Points
from numpy.typing import NDArray

from ..geometry import rotations_from_relion

NO_CLASS = -1
"""Of objects that belong to no class; in the layer too."""
ANGLES = ["rot", "tilt", "psi"]
"""Of objects in space, as RELION has them, in degrees."""


def has_content(layer: Any) -> bool:
    """Whether a layer is one of points that know their content."""
    return isinstance(layer, Points) and "content_0" in layer.features


def content_of(features: pd.DataFrame) -> NDArray[np.float64]:
    """Columns ``content_0``, ``content_1``, ... of a table, shape (n, k); k may be 0."""
    names: list[str] = []
    while (name := f"content_{len(names)}") in features:
        names.append(name)
    columns = features[names].apply(pd.to_numeric, errors="coerce")
    return np.asarray(columns.to_numpy(np.float64), np.float64)


def classes_of(features: pd.DataFrame, n: int) -> NDArray[np.int64]:
    """Column ``class`` of a table, `NO_CLASS` where there is no whole number; shape (n,)."""
    if "class" not in features:
        return np.full(n, NO_CLASS, np.int64)
    values = _numbers(features["class"])
    whole = np.isfinite(values) & (values >= 0) & (values == np.floor(values))
    return np.where(whole, values, NO_CLASS).astype(np.int64)


def rotation_of(features: pd.DataFrame, dimensions: int) -> NDArray[np.float64]:
    """Rotations of objects: radians (n,), of volumes matrices (n, 3, 3) that act on (z, y, x).

    Objects whose rotation is not known are not turned.
    """
    if dimensions == 2:
        if "rotation" not in features:
            return np.zeros(len(features))
        return np.asarray(np.radians(np.nan_to_num(_numbers(features["rotation"]))))
    if not set(ANGLES) <= set(features):
        return np.tile(np.eye(3), (len(features), 1, 1))
    angles = np.stack([_numbers(features[name]) for name in ANGLES], 1)
    return rotations_from_relion(np.nan_to_num(angles))


def scale_of(features: pd.DataFrame) -> NDArray[np.float64] | None:
    """By how much objects are enlarged, (n,), or None where it is not known."""
    if "scale" not in features:
        return None
    return np.asarray(np.nan_to_num(_numbers(features["scale"]), nan=1.0), np.float64)


def _numbers(column: "pd.Series[Any]") -> NDArray[np.float64]:
    """Values of a column as numbers, NaN where they are none."""
    if not pd.api.types.is_numeric_dtype(column):
        column = pd.to_numeric(column.astype(object), errors="coerce")
    return np.asarray(column.to_numpy(np.float64, na_value=np.nan), np.float64)
