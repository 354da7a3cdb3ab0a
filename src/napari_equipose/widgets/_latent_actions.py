"""What can be done with some objects of a points layer; nothing here knows of Qt.

Layers that are made are new. What takes rows out of a layer can be taken back.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol
from weakref import ref

import numpy as np
import pandas as pd
from napari.layers import Image, Points, Vectors
from numpy.typing import NDArray

from ..geometry import InputError
from ..inference import ClassAverage
from ..io import napari_write_points, pose_table, read_stack, write_table
from ._latent_boxes import record_of
from ._latent_columns import ANGLES, NO_CLASS, classes_of, content_of, rotation_of, scale_of
from ._latent_state import History, Step

Mask = NDArray[np.bool_]
_OF_EACH_ROW = {
    Points: ("size", "symbol", "border_width", "shown"),
    Vectors: (),
}
_COLOURS = {Points: ("face_color", "border_color"), Vectors: ("edge_color",)}
_FEW = 16  # boxes from which the range of intensities is taken


class Edited(Protocol):
    """What an action needs to know of `LatentState`."""

    history: History

    @property
    def layer(self) -> Any:
        """The points layer, or None."""

    def editing(self) -> AbstractContextManager[None]:
        """Change rows of the layer without the history being cleared for it."""


class LayerRows:
    """All rows of a layer of points or of vectors as they are now, to show some of them.

    Parameters
    ----------
    layer : Points or Vectors
        Held weakly: it may be deleted.
    """

    def __init__(self, layer: Points | Vectors) -> None:
        kind = Points if isinstance(layer, Points) else Vectors
        self._layer = ref(layer)
        self._data, self._features = np.array(layer.data), layer.features.copy()
        colours = [c for c in _COLOURS[kind] if str(getattr(layer, f"{c}_mode")) == "direct"]
        names = (*_OF_EACH_ROW[kind], *colours)
        self._columns = {name: np.array(getattr(layer, name)) for name in names}
        self._selected = set(layer.selected_data) if isinstance(layer, Points) else None

    def show(self, rows: Mask) -> None:
        """Give the layer these of the rows, and no others."""
        layer = self._layer()
        if layer is None:
            return
        if self._selected is not None:
            layer.selected_data = set()  # napari does not mind rows that are gone
        layer.data = self._data[rows]
        layer.features = self._features[rows].reset_index(drop=True)
        for name, column in self._columns.items():
            if rows.any():  # no colours at all are none that napari takes
                setattr(layer, name, column[rows])
        if self._selected is not None and rows.all():
            layer.selected_data = set(self._selected)


def arrows_of(points: Points, layers: Iterable[Any]) -> tuple[Vectors, NDArray[np.int64]] | None:
    """Find the arrows that a run made with its points, and the point that each is of.

    They are of the same model, and their features are those of all points or of those that are
    shown; but the class, which may have been given since.
    """
    shown = np.flatnonzero(np.asarray(points.shown, bool))
    for layer in layers:
        if not isinstance(layer, Vectors) or _run(layer) is None or _run(layer) != _run(points):
            continue
        for rows in (np.arange(len(points.data)), shown):
            if _alike(layer.features, points.features.iloc[rows]):
                return layer, rows
    return None


def _run(layer: Any) -> tuple[Any, ...] | None:
    """Which run made a layer, as far as its record tells."""
    record = layer.metadata.get("equipose")
    if not isinstance(record, dict) or "model" not in record:
        return None
    return tuple(str(record.get(name)) for name in ("model", "image", "slice"))


def _alike(some: pd.DataFrame, others: pd.DataFrame) -> bool:
    names = [name for name in some if name in others and name != "class"]
    first, second = (table[names].reset_index(drop=True) for table in (some, others))
    return bool(names) and first.equals(second)


def remove_objects(state: Edited, layers: Iterable[Any], gone: Mask, title: str) -> None:
    """Take objects out of their layer, and their arrows out of theirs; it can be taken back.

    Parameters
    ----------
    state : LatentState
    layers : iterable of Layer
        Of the viewer, among which the arrows may be.
    gone : array of bool, shape (n,)
    title : str
        What is said of it by undo and redo.

    Raises
    ------
    InputError
        If nothing would go, or all.
    """
    layer = state.layer
    if layer is None or not gone.any():
        raise InputError("there is no object to remove; select some of them in the plot first.")
    if gone.all():
        raise InputError(f"no object of {layer.name} would be left; delete the layer instead.")
    parts = [(LayerRows(layer), ~gone)]
    found = arrows_of(layer, layers)
    if found is not None:
        parts.append((LayerRows(found[0]), ~gone[found[1]]))

    def redo() -> None:
        with state.editing():
            for part, rows in parts:
                part.show(rows)

    def undo() -> None:
        with state.editing():
            for part, rows in parts:
                part.show(np.ones(len(rows), bool))

    redo()
    state.history.add(Step(title, undo, redo))


def points_of(layer: Points, rows: Mask, name: str) -> Points:
    """Make a new points layer of some of the points, with their features and their looks."""
    data, meta, _ = layer.as_layer_data_tuple()
    of_rows = (*_OF_EACH_ROW[Points], *_COLOURS[Points])
    some = {key: np.asarray(meta[key])[rows] for key in of_rows}
    some["features"] = meta["features"][rows].reset_index(drop=True)
    for key in ("properties", "property_choices", "feature_defaults"):  # of the features
        meta.pop(key, None)
    record = dict(layer.metadata)
    return Points(data[rows], **(meta | some | {"name": name, "metadata": record}))


def stack_of(
    boxes: NDArray[Any], voxel: tuple[float, str], dimensions: int, name: str, about: dict[str, Any]
) -> Image:
    """Make an image layer of boxes (n, [z,] y, x) or (n, y, x, 3).

    Parameters
    ----------
    boxes : array
    voxel : (float, str)
        Length of a pixel and its unit.
    dimensions : int
        Of a box.
    name : str
    about : dict
        What the layer's metadata say; plain JSON.
    """
    length, unit = voxel
    labels = "zyx"[-dimensions:]
    few = np.unique(np.linspace(0, len(boxes) - 1, _FEW).astype(int))
    colour = boxes.ndim == dimensions + 2
    return Image(
        boxes,
        name=name,
        rgb=colour,
        scale=(1.0, *(length,) * dimensions),
        units=("pixel", *(unit,) * dimensions),
        axis_labels=("n", *labels),
        contrast_limits=None if colour else limits_of(boxes[few]),
        metadata={"equipose": about},
    )


def averages_of(
    found: Sequence[ClassAverage], voxel: tuple[float, str], name: str, about: dict[str, Any]
) -> Image:
    """Make an image layer of the averages of classes, one after another."""
    data = np.stack([one.average for one in found])
    dimensions = data.ndim - 2 if data.shape[-1] == 3 and data.ndim == 4 else data.ndim - 1
    classes = {
        "classes": [one.label for one in found],
        "particles": [one.n for one in found],
        "resolution_pixels": [one.correlation.resolution() for one in found],
        "independent_halves": [one.independent for one in found],
    }
    return stack_of(data, voxel, dimensions, name, about | classes)


def write_objects(layer: Points, rows: Mask, path: Path) -> int:
    """Write some of the objects as a table; return how many, hidden ones left out.

    Objects in the boxes of a stack are written as poses, others as picks.

    Raises
    ------
    InputError
        If the suffix is no such table's, or there are none.
    """
    shown = np.asarray(layer.shown, bool) & rows
    if not shown.any():
        raise InputError(f"{path.name}: no object is selected; select some in the plot first.")
    data, meta, _ = layer.as_layer_data_tuple()
    features = meta["features"]
    if "class" in features:  # in tables what belongs to no class has none
        labels = classes_of(features, len(data))
        known = pd.arrays.IntegerArray(labels, labels == NO_CLASS)
        features = features.assign(**{"class": known})
    dimensions, record = 3 if set(ANGLES) <= set(features) else 2, record_of(layer)
    if layer.ndim == dimensions + 1 and "box_size" in record and not record.get("slice"):
        _write_poses(data[shown], features[shown], dimensions, record, path)
    else:
        napari_write_points(str(path), data, meta | {"shown": shown, "features": features})
    return int(shown.sum())


def _write_poses(
    places: NDArray[Any],
    features: pd.DataFrame,
    dimensions: int,
    record: dict[str, Any],
    path: Path,
) -> None:
    """Write objects at (n, [z,] y, x) of a stack; a STAR file names the images of the stack's."""
    poses = pose_table(
        rotation_of(features, dimensions),
        places[:, 1:] - record["box_size"] // 2,
        features.get("score"),
        content_of(features),
        features.get("class"),
        scale_of(features),
    )
    poses["index"] = np.round(places[:, 0]).astype(np.int64)
    of_file = path.suffix.lower() == ".star" and Path(str(record.get("image"))).is_file()
    write_table(path, poses, stack=read_stack(Path(record["image"])) if of_file else None)


def limits_of(data: NDArray[Any]) -> tuple[float, float]:
    """Range of intensities to show, without the rarest."""
    low, high = np.percentile(data, (0.2, 99.8)) if data.size else (0.0, 1.0)
    return float(low), float(max(high, low + 1e-6))
