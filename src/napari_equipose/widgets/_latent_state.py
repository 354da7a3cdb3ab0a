"""What the Latent space panel is about: the objects of one points layer, and what was done to them.

Objects are the rows of the layer. What is known of them lies in its ``features``, where other
plugins find it too: the content in ``content_0``, ``content_1``, ..., the class in ``class``. Which
are selected is the layer's own selection. Nothing is kept here that could differ from the layer.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Literal
from weakref import ref

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from psygnal import Signal

from .._colors import class_rgba
from ._history import History, Step
from ._latent_columns import NO_CLASS, classes_of, content_of
from ._object_edits import ObjectEdits, edits_of
from ._object_rows import rows_of

How = Literal["replace", "add", "remove"]
__all__ = ["NO_CLASS", "History", "How", "LatentState", "Step"]


class LatentState:
    """The objects of one points layer as the panel sees them, and every change that it makes.

    What is done to the layer comes in through its `ObjectEdits`, whose history is the layer's own.
    The panel's changes go to the layer and into that history, and are told once.
    """

    rows_changed = Signal()
    """Another layer, or none; rows came or went, or have other contents."""
    selection_changed = Signal()
    classes_changed = Signal()
    features_changed = Signal()
    """A column has other values, objects moved, or others are shown."""
    current_changed = Signal()
    """Another object is looked at, or none."""
    history_changed = Signal()
    """What can be taken back is something else."""

    def __init__(self) -> None:
        self._no_history = History()
        self._edits: ObjectEdits | None = None
        self._layer: Callable[[], Any] = lambda: None
        self._own = False
        self._forget()

    def _forget(self) -> None:
        self._current: int | None = None
        self._table = pd.DataFrame()
        self._content: NDArray[np.float64] = np.zeros((0, 0))
        self._classes: NDArray[np.int64] = np.zeros(0, np.int64)
        self._shown: NDArray[np.bool_] = np.zeros(0, bool)
        self._selected: NDArray[np.bool_] = np.zeros(0, bool)

    @property
    def history(self) -> History:
        """What was done to the objects of the layer, here or elsewhere."""
        return self._no_history if self._edits is None else self._edits.history

    @property
    def layer(self) -> Any:
        """The points layer, or None: none is chosen, or it was let go of."""
        return self._layer()

    @layer.setter
    def layer(self, layer: Any) -> None:
        if layer is self.layer:
            return
        self.detach()
        self._forget()
        if layer is not None:
            self._layer, self._edits = ref(layer), edits_of(layer)
            self._edits.changed.connect(self._look)
            self._edits.history.changed.connect(self.history_changed.emit)
            layer.selected_data.events.items_changed.connect(self._look_at_selection)
            self._take(layer)
            self._shown = np.array(layer.shown, bool)
            self._selected = self._selected_in(layer)
        self.history_changed.emit()
        for signal in (self.rows_changed, self.selection_changed, self.current_changed):
            signal.emit()

    def detach(self) -> None:
        """Listen to the layer no more."""
        layer = self.layer
        if layer is not None:
            layer.selected_data.events.items_changed.disconnect(self._look_at_selection)
        if self._edits is not None:
            self._edits.changed.disconnect(self._look, missing_ok=True)
            self._edits.history.changed.disconnect(self.history_changed.emit, missing_ok=True)
        self._layer, self._edits = lambda: None, None

    def __len__(self) -> int:
        return len(self._content)

    @property
    def features(self) -> pd.DataFrame:
        """What is known of the objects, a row each: the layer's own, to be read only."""
        return self._table

    @property
    def positions(self) -> NDArray[np.float64]:
        """Where the objects are, in data coordinates of the layer, shape (n, axes)."""
        layer = self.layer
        return np.zeros((0, 2)) if layer is None else np.asarray(layer.data, np.float64)

    @property
    def content(self) -> NDArray[np.float64]:
        """Columns ``content_0``, ``content_1``, ..., shape (n, k); to be read only."""
        return self._content

    @property
    def classes(self) -> NDArray[np.int64]:
        """Class of each object, shape (n,); `NO_CLASS` where there is none; to be read only."""
        return self._classes

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Which objects the layer shows, shape (n,); to be read only."""
        return self._shown

    @property
    def selected(self) -> NDArray[np.bool_]:
        """Which objects are selected, shape (n,); to be read only."""
        return self._selected

    @property
    def current(self) -> int | None:
        """Row of the object that is looked at."""
        return self._current

    def select_current(self, row: int | None) -> None:
        """Look at an object."""
        if row != self._current:
            self._current = row
            self.current_changed.emit()

    def select(self, mask: ArrayLike, how: How = "replace", title: str = "Select") -> None:
        """Select objects, in the layer too.

        Parameters
        ----------
        mask : array of bool, shape (n,)
        how : "replace", "add" or "remove"
            What becomes of those that are selected already.
        title : str
            Of the step in the history.
        """
        given, before = np.asarray(mask, bool), self._selected
        if how != "replace":
            given = before | given if how == "add" else before & ~given
        if self.layer is None or np.array_equal(given, before):
            return
        self._write_selection(given)
        self.history.add(
            Step(
                title,
                lambda: self._write_selection(before),
                lambda: self._write_selection(given),
            )
        )

    def set_classes(self, labels: ArrayLike, title: str = "Sort") -> None:
        """Write the classes of all objects to the layer, which takes on their colours.

        Parameters
        ----------
        labels : array of int, shape (n,)
            `NO_CLASS` for those that belong to none.
        title : str
            Of the step in the history.
        """
        layer, new = self.layer, np.asarray(labels, np.int64)
        if layer is None:
            return
        before = layer.features.get("class")
        column = None if before is None else before.copy()
        colours = np.array(layer.face_color)
        self._write_classes(new, class_rgba(new))
        self.history.add(
            Step(
                title,
                lambda: self._write_classes(column, colours),
                lambda: self._write_classes(new, class_rgba(new)),
            )
        )

    @contextmanager
    def editing(self) -> Generator[None, None, None]:
        """Change rows of the layer, and tell of it once, when all is done."""
        was, self._own = self._own, True
        try:
            yield
        finally:
            self._own = was
            self._look()

    def _write_selection(self, mask: NDArray[np.bool_]) -> None:
        layer = self.layer
        if layer is not None:
            self._selected = mask
            self.selection_changed.emit()  # first: with very many, napari takes its time
            with self.editing():
                layer.selected_data = set(np.flatnonzero(mask).tolist())

    def _write_classes(self, labels: Any, colours: NDArray[Any]) -> None:
        layer = self.layer
        if layer is None:
            return
        rest = layer.features.drop(columns="class", errors="ignore")
        table = rest if labels is None else rest.assign(**{"class": labels})
        rows = rows_of(layer)
        with self.editing():
            edits_of(layer).write(rows.having(features=table, face_color=colours), recolor=True)

    def _look(self, what: str = "rows") -> None:
        """See what is different in the layer, and tell it."""
        layer = self.layer
        if layer is None or self._own:
            return
        content, classes, shown, table = self._content, self._classes, self._shown, self._table
        only_drawn = what == "drawn"
        if not (only_drawn and table is layer.features and len(layer.data) == len(self)):
            self._take(layer)
        self._shown = np.array(layer.shown, bool)
        rows = content.shape != self._content.shape
        rows = rows or not np.array_equal(content, self._content, equal_nan=True)
        if rows:
            self._current = None
            self._selected = self._selected_in(layer)
            self.rows_changed.emit()
        if rows or not np.array_equal(classes, self._classes):
            self.classes_changed.emit()
        if rows or not only_drawn or not np.array_equal(shown, self._shown):
            self.features_changed.emit()
        if rows:
            self.selection_changed.emit()
        else:
            self._look_at_selection()

    def _look_at_selection(self) -> None:
        layer = self.layer
        if layer is None or self._own:
            return
        if len(layer.data) != len(self):
            return  # rows are about to be told of
        before, self._selected = self._selected, self._selected_in(layer)
        if not np.array_equal(before, self._selected):
            self.selection_changed.emit()

    def _take(self, layer: Any) -> None:
        features = self._table = layer.features
        content = content_of(features)
        self._content = content.reshape(len(layer.data), content.size // max(len(content), 1))
        self._classes = classes_of(features, len(layer.data))

    @staticmethod
    def _selected_in(layer: Any) -> NDArray[np.bool_]:
        mask = np.zeros(len(layer.data), bool)
        rows = np.fromiter(layer.selected_data, np.int64, len(layer.selected_data))
        mask[rows[rows < len(mask)]] = True
        return mask
