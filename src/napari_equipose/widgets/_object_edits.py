"""The objects of a points layer as a person edits them; nothing here knows of Qt.

The layer is the truth: what is known of an object stands in its row, under its ``id``, and arrows
are made of the points alone. Of points that are added or moved nothing is believed that was
measured elsewhere; a model may measure them anew. Each edit is a step that can be taken back.
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal
from weakref import WeakKeyDictionary, ref

import numpy as np
import pandas as pd
from napari.layers import Points, Vectors
from numpy.typing import NDArray
from psygnal import Signal

from ..io import (
    BY_HAND_COLUMN,
    ROW_ID,
    arrow_rows,
    hidden_size,
    object_colors,
    unmeasured,
    with_identity,
)
from ._history import History, Step
from ._object_rows import Rows, is_being_set, rows_of, set_rows

What = Literal["rows", "features", "drawn"]
_SAME_PLACE = 0.25
"""Of a box: a point that is moved by less is still on the object that was measured."""
_edits: "WeakKeyDictionary[Any, ObjectEdits]" = WeakKeyDictionary()


def record_of(layer: Any) -> dict[str, Any]:
    """What this package has written about a layer; empty where it has not."""
    about = layer.metadata.get("equipose")
    return about if isinstance(about, dict) else {}


def edits_of(points: Points) -> "ObjectEdits":
    """Follow what is done to a points layer; there is one follower for each."""
    if points not in _edits:
        _edits[points] = ObjectEdits(points)
    return _edits[points]


def tie_arrows(layers: Iterable[Any]) -> None:
    """Tie the arrows among some layers to the points of the same result."""
    there = list(layers)
    free = {
        record_of(layer)["result"]: layer
        for layer in reversed(there)
        if isinstance(layer, Vectors) and record_of(layer).get("result")
    }
    for layer in there:
        mark = record_of(layer).get("result")
        if isinstance(layer, Points) and mark:
            edits_of(layer).tie(free.pop(mark, None))


def write_rows(points: Points, rows: Rows) -> None:
    """Give a points layer other rows, and its arrows those that belong to them."""
    edits_of(points).write(rows)


def show_from(points: Points, least: float) -> int:
    """Hide the objects of a lower score; return how many are left.

    Objects whose score is not known stay.
    """
    rows = rows_of(points)
    score = pd.to_numeric(rows.features["score"], errors="coerce").to_numpy(np.float64)
    was, now = rows.columns["shown"].astype(bool), ~(score < least)
    if record_of(points):
        points.metadata["equipose"]["min_score"] = float(least)
    if not np.array_equal(was, now):
        size = hidden_size(rows.columns["size"], was, now)
        write_rows(points, rows.having(shown=now, size=size))
    return int(now.sum())


class Exchange:
    """Rows of a layer that take the place of others; done again, those are back.

    Parameters
    ----------
    points : Points
        Held weakly: it may be deleted.
    out : array of int
        Rows of the layer as it is that go.
    rows : Rows or None
        Those that come.
    at : array of int
        Their places in the layer as it is then.
    selected : set of int, optional
        Rows to select then; by default those that are selected now and stay. What was selected
        before is selected again when the rows are exchanged back.
    """

    def __init__(
        self,
        points: Points,
        out: NDArray[np.intp],
        rows: Rows | None = None,
        at: NDArray[np.intp] | None = None,
        selected: set[int] | None = None,
    ) -> None:
        self._points = ref(points)
        self._out, self._rows, self._selected = out, rows, selected
        self._at = np.zeros(0, np.intp) if at is None else at

    def __call__(self) -> None:
        """Exchange them."""
        points = self._points()
        if points is None:
            return
        selected, self._selected = self._selected, set(points.selected_data)
        now = rows_of(points)
        gone, left = now.take(self._out), now.take(np.delete(np.arange(len(now)), self._out))
        coming = self._rows
        if coming is not None and len(coming) == len(gone):  # they moved: what is new is kept
            more = gone.features.columns.difference(coming.features.columns)
            coming = coming.having(features=coming.features.join(gone.features[more]))
        new = left if coming is None else left.with_rows(coming, self._at)
        write_rows(points, new)
        if selected is not None:
            points.selected_data = {row for row in selected if row < len(points.data)}
        self._out, self._rows, self._at = self._at, gone, self._out


class ObjectEdits:
    """Keeps the rows of a points layer true while a person edits it; see `edits_of`.

    Parameters
    ----------
    points : Points
        Held weakly.
    """

    changed = Signal(str)
    """Rows came, went or moved (``rows``); a column has other values (``features``); others are
    shown (``drawn``). All is settled by then."""
    unmeasured = Signal(object)
    """The ids of objects that a model should measure: they were added or moved by hand."""

    def __init__(self, points: Points) -> None:
        self.history = History()
        self._points = ref(points)
        self._arrows: Callable[[], Any] = lambda: None
        self._before: Rows | None = None
        self._changing = False
        if record_of(points):
            self._give_ids(points)
            points.bind_key("Control-Z", lambda _: self.history.undo(), overwrite=True)
            points.bind_key("Control-Shift-Z", lambda _: self.history.redo(), overwrite=True)
        self._n, self._table = len(points.data), points.features
        points.events.data.connect(self._on_data)
        points.events.features.connect(self._on_features)
        points.events.set_data.connect(self._on_drawn)

    def _give_ids(self, points: Points) -> None:
        if not {ROW_ID, BY_HAND_COLUMN} <= set(points.features):
            rows = rows_of(points)
            set_rows(points, rows.having(features=with_identity(rows.features)))

    @property
    def arrows(self) -> Vectors | None:
        """The layer of the objects' arrows, if there is one."""
        found: Vectors | None = self._arrows()
        return found

    def tie(self, arrows: Vectors | None) -> None:
        """Have a layer of arrows follow the points."""
        if arrows is not None and arrows is not self.arrows:
            self._arrows = ref(arrows)
            self._draw_arrows()

    def write(self, rows: Rows, *, recolor: bool = False) -> None:
        """Give the layer other rows, and its arrows those that belong to them.

        Arrows that a person has given one color, or colors by a feature, keep them, unless
        ``recolor`` gives them those of their points.
        """
        points = self._points()
        if points is None:
            return
        before = rows_of(points)
        set_rows(points, rows)
        try:
            self._draw_arrows(recolor=recolor)
        except BaseException:
            set_rows(points, before)
            raise
        self._settle("rows")

    def _settle(self, what: What) -> None:
        self._mark()
        self.changed.emit(what)

    def _mark(self) -> None:
        """Remember of the layer what tells whether another has changed it."""
        points = self._points()
        if points is not None:
            self._n, self._table = len(points.data), points.features

    def _draw_arrows(self, *, recolor: bool = False) -> None:
        """Make the arrows of the points that are shown."""
        self._mark()  # other arrows have the viewer slice all layers anew
        points, arrows = self._points(), self.arrows
        if points is None or arrows is None:
            return
        shown = np.flatnonzero(np.asarray(points.shown, bool))
        table = points.features.iloc[shown]
        data, rows = arrow_rows(np.asarray(points.data)[shown], table, record_of(points))
        of = shown[rows]
        new = Rows(data, points.features.iloc[of].reset_index(drop=True), {})
        if recolor or str(arrows.edge_color_mode) == "direct":
            colors = np.array(points.face_color)[of]
            own = np.unique(arrows.edge_color, axis=0) if len(arrows.data) > 1 else colors
            if len(own) == 1 and not recolor:
                colors = np.repeat(own, len(of), 0)
            new = new.having(edge_color=colors)
        if not rows_of(arrows).equals(new):
            set_rows(arrows, new)

    # What a person, or another plugin, does to the layer

    def _on_data(self, event: Any) -> None:
        points, action = self._points(), str(getattr(event, "action", ""))
        if points is None or is_being_set(points):
            return
        index = np.array([i for i in event.data_indices if isinstance(i, int | np.integer)], int)
        if action.endswith("ing"):
            self._changing = True
            if action != "adding":
                self._before = rows_of(points).take(np.sort(index))
            return
        self._changing = False
        before, self._before = self._before, None
        n, was = len(points.data), self._n
        if n > was:
            self._added(points, np.arange(was, n), "Add")
        elif n < was and before is not None and len(before) == was - n:
            at = np.sort(index) if len(index) else np.arange(was)
            step = Exchange(points, np.zeros(0, np.intp), before, at, set(at.tolist()))
            self.history.add(Step(_title("Delete", len(before)), step, step))
        elif n < was:
            self.history.clear()  # which of them went is not told
        elif before is not None and len(before) == len(index):
            self._moved(points, np.sort(index), before)
        self._draw_arrows()
        self._settle("rows")

    def _on_features(self, event: Any) -> None:
        points = self._points()
        if points is None or is_being_set(points) or self._changing:
            return
        if points.features is not self._table:
            if not _same_objects(self._table, points.features):
                self.history.clear()
            if record_of(points):
                self._give_ids(points)
            self._draw_arrows()
        self._settle("features")

    def _on_drawn(self, event: Any) -> None:
        points = self._points()
        if points is None or is_being_set(points) or self._changing:
            return
        if len(points.data) > self._n:  # napari tells of no points that are pasted
            self._added(points, np.arange(self._n, len(points.data)), "Paste")
            self._draw_arrows()
            self._settle("rows")
        else:
            self.changed.emit("drawn")

    def _added(self, points: Points, new: NDArray[np.intp], title: str) -> None:
        """Blank what napari has copied to new points from others."""
        rows = rows_of(points)
        features = unmeasured(rows.features, new)
        if record_of(points):
            features.loc[new, ROW_ID] = -1
            features = with_identity(features)
            features.loc[new, BY_HAND_COLUMN] = True
        sizes, usual = rows.columns["size"].copy(), self._usual_size(points, new)
        if (record_of(points) and title == "Add") or sizes[new].max() < usual / 100:
            sizes[new] = usual  # napari takes that of what was selected last, or its own
        shown = rows.columns["shown"].copy()
        shown[new] = True
        rows = rows.having(features=features, size=sizes, shown=shown)
        set_rows(points, self._colored(points, rows, new))
        step = Exchange(points, new)
        self.history.add(Step(_title(title, len(new)), step, step))
        self._ask(points, new)

    def _moved(self, points: Points, index: NDArray[np.intp], before: Rows) -> None:
        far = np.linalg.norm(np.asarray(points.data)[index] - before.data, axis=1)
        if not far.any():
            return
        moved, record = index[far > 0], record_of(points)
        step = Exchange(points, moved, before.take(far > 0), moved)
        self.history.add(Step(_title("Move", len(moved)), step, step))
        if not record:
            return
        rows = rows_of(points)
        elsewhere = index[far > _SAME_PLACE * float(record.get("box_size") or 0)]
        features = unmeasured(rows.features, elsewhere)
        features.loc[moved, BY_HAND_COLUMN] = True
        set_rows(points, self._colored(points, rows.having(features=features), elsewhere))
        self._ask(points, moved)

    def _ask(self, points: Points, rows: NDArray[np.intp]) -> None:
        if ROW_ID in points.features:
            self.unmeasured.emit(points.features[ROW_ID].to_numpy()[rows].tolist())

    def _usual_size(self, points: Points, new: NDArray[np.intp]) -> float:
        there = np.asarray(points.shown, bool).copy()
        there[new] = False
        sizes = np.asarray(points.size)[there]
        record = record_of(points)
        usual = record.get("point_size") or (record.get("box_size") or 0) / 5
        return float(np.median(sizes)) if len(sizes) else float(usual)

    @staticmethod
    def _colored(points: Points, rows: Rows, some: NDArray[np.intp]) -> Rows:
        """Give rows the colors of what is known of them."""
        record = record_of(points)
        if "face_color" not in rows.columns or not record or not len(some):
            return rows
        colors = rows.columns["face_color"].copy()
        by = record.get("color")
        if by is not None and by in rows.features:
            every = object_colors(rows.features, by, int(record.get("fold") or 1))
            colors[some] = every[some]
        return rows.having(face_color=colors)

    def measure(self, ids: list[int], places: NDArray[Any], found: pd.DataFrame) -> int:
        """Write what a model says of objects that are still where it looked; return how many.

        Parameters
        ----------
        ids : list of int
        places : array, shape (n, axes)
            Where each was, in data coordinates of the layer.
        found : DataFrame
            A row for each; columns as in the layer's features.
        """
        points = self._points()
        if points is None:
            return 0
        rows = rows_of(points)
        where = {number: row for row, number in enumerate(rows.features[ROW_ID].tolist())}
        pairs = [
            (where[number], k)
            for k, number in enumerate(ids)
            if number in where and np.array_equal(rows.data[where[number]], places[k])
        ]
        if not pairs:
            return 0
        at, of = np.array(pairs, np.intp).T
        features = rows.features.copy()
        for name in features.columns.intersection(found.columns):
            values = features[name].to_numpy().copy()
            values[at] = found[name].to_numpy()[of]
            features[name] = values
        self.write(self._colored(points, rows.having(features=features), at))
        return len(pairs)

    def color_by(self, name: str | None, colors: NDArray[Any] | None = None) -> None:
        """Color all objects by a feature, or as given (n, 4), and their arrows alike."""
        points = self._points()
        if points is None:
            return
        record = record_of(points)
        if record:
            record["color"] = name
        if colors is None:
            colors = object_colors(points.features, name, int(record.get("fold") or 1))
        if len(colors):
            self.write(rows_of(points).having(face_color=colors), recolor=True)


def _title(verb: str, n: int) -> str:
    return f"{verb} {n} object{'s' if n != 1 else ''}"


def _same_objects(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Whether two tables are of the same objects, with the same content."""
    names = [name for name in map(str, first) if name.startswith("content_") or name == ROW_ID]
    if len(first) != len(second) or not set(names) <= set(second):
        return False
    return bool(first[names].reset_index(drop=True).equals(second[names].reset_index(drop=True)))
