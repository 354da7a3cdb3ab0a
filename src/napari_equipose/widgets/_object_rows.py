"""Rows of a layer of points or of vectors, taken and set all at once; nothing here knows of Qt."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakSet

import numpy as np
import pandas as pd
from napari.layers import Points, Vectors
from numpy.typing import NDArray

from ..io import ROW_ID, defaults_of

_OF_EACH_ROW = {Points: ("shown", "size", "symbol", "border_width"), Vectors: ()}
_COLORS = {Points: ("face_color", "border_color"), Vectors: ("edge_color",)}
_being_set: "WeakSet[Any]" = WeakSet()


@dataclass(frozen=True)
class Rows:
    """Rows of a layer: a copy, whatever becomes of the layer."""

    data: NDArray[Any]
    """Shape (n, axes), of vectors (n, 2, axes)."""
    features: pd.DataFrame
    columns: dict[str, NDArray[Any]]
    """What else napari has of each row. Colors are left out where a feature gives them."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.data)

    def take(self, rows: Any) -> "Rows":
        """Take some rows, in an order."""
        index = np.arange(len(self))[rows]
        columns = {name: column[index] for name, column in self.columns.items()}
        return Rows(self.data[index], _rows_of_table(self.features, index), columns)

    def with_rows(self, others: "Rows", at: NDArray[np.intp]) -> "Rows":
        """Put other rows between these, so that they have the places ``at`` in the result."""
        if not len(self):
            return others
        is_other = np.zeros(len(self) + len(others), bool)
        is_other[at] = True
        order = np.empty(len(is_other), np.intp)
        order[~is_other] = np.arange(len(self))
        order[at] = len(self) + np.arange(len(others))
        both = Rows(
            np.concatenate((self.data, others.data)),
            pd.concat([self.features, others.features], ignore_index=True),
            {
                name: np.concatenate((column, others.columns[name]))
                for name, column in self.columns.items()
                if name in others.columns
            },
        )
        return both.take(order)

    def equals(self, other: "Rows") -> bool:
        """Whether all is the same."""
        return (
            np.array_equal(self.data, other.data)
            and self.features.equals(other.features)
            and self.columns.keys() == other.columns.keys()
            and all(np.array_equal(self.columns[k], other.columns[k]) for k in self.columns)
        )

    def having(self, **columns: Any) -> "Rows":
        """Return them with other features, or other columns."""
        features = columns.pop("features", self.features)
        data = columns.pop("data", self.data)
        return replace(self, data=data, features=features, columns=self.columns | columns)


def _rows_of_table(table: pd.DataFrame, index: NDArray[np.intp]) -> pd.DataFrame:
    return table.iloc[index].reset_index(drop=True)


def rows_of(layer: Points | Vectors) -> Rows:
    """Take a copy of all rows of a layer."""
    kind = Points if isinstance(layer, Points) else Vectors
    colors = [c for c in _COLORS[kind] if str(getattr(layer, f"{c}_mode")) == "direct"]
    names = (*_OF_EACH_ROW[kind], *colors)
    columns = {name: np.array(getattr(layer, name)) for name in names}
    return Rows(np.array(layer.data), layer.features.copy(), columns)


def set_rows(layer: Points | Vectors, rows: Rows) -> None:
    """Give a layer other rows, with all that belongs to them, and have it drawn anew.

    All is set or nothing. It does not matter whether the layer is shown. Points that are selected
    stay so where they are still there. The one way in which this package changes rows: napari
    draws new data with the colors of the old ones, and does not draw again when these change.
    """
    before, selected = rows_of(layer), _selected_ids(layer)
    with setting(layer):
        try:
            _put(layer, rows)
        except BaseException:
            _put(layer, before)
            _select(layer, selected)
            layer.refresh()
            raise
        _select(layer, selected)
        layer.refresh()


@contextmanager
def setting(layer: Any) -> Iterator[None]:
    """Let those who listen to a layer know that it is not a person who changes it."""
    outer = layer in _being_set
    _being_set.add(layer)
    try:
        yield
    finally:
        if not outer:
            _being_set.discard(layer)


def is_being_set(layer: Any) -> bool:
    """Whether rows of a layer are being set at this moment."""
    return layer in _being_set


def _put(layer: Points | Vectors, rows: Rows) -> None:
    is_points = isinstance(layer, Points)
    if is_points:
        layer.selected_data = set()  # napari does not mind rows that are gone
    if not np.array_equal(layer.data, rows.data):
        layer.data = rows.data
        # A hidden layer is not sliced, and what is drawn would be rows that are gone.
        layer.set_view_slice()
    if not layer.features.equals(rows.features):
        layer.features = rows.features
    if is_points:
        layer.feature_defaults = defaults_of(rows.features)
    for name, column in rows.columns.items():
        # No colors at all are none that napari takes.
        if len(column) and not np.array_equal(np.asarray(getattr(layer, name)), column):
            setattr(layer, name, column)
    if set(_COLORS[type(layer)]) - set(rows.columns):
        layer.refresh_colors()


def _selected_ids(layer: Any) -> tuple[int, set[int]] | None:
    """Selected points: by their id where they have one, else by their row, if none goes."""
    if not isinstance(layer, Points):
        return None
    rows = [row for row in layer.selected_data if row < len(layer.data)]
    if ROW_ID in layer.features:
        return -1, set(layer.features[ROW_ID].to_numpy()[rows].tolist())
    return len(layer.data), set(rows)


def _select(layer: Any, selected: tuple[int, set[int]] | None) -> None:
    if selected is None:
        return
    n, chosen = selected
    if n < 0 and ROW_ID in layer.features:
        ids = layer.features[ROW_ID].to_numpy()
        chosen = set(np.flatnonzero(np.isin(ids, list(chosen))).tolist())
    elif n != len(layer.data):
        chosen = set()
    layer.selected_data = chosen
