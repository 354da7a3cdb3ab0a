"""What can be done with some objects of a points layer; nothing here knows of Qt.

Layers that are made are new. What takes rows out of a layer can be taken back.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Image, Points
from numpy.typing import NDArray

from ..geometry import InputError
from ..inference import ClassAverage
from ..io import napari_write_points, new_result, pose_table, read_stack, write_table
from ._history import Step
from ._latent_columns import ANGLES, NO_CLASS, classes_of, content_of, rotation_of, scale_of
from ._latent_state import LatentState
from ._object_edits import Exchange, record_of, tie_arrows

Mask = NDArray[np.bool_]
_OF_EACH_ROW = ("size", "symbol", "border_width", "shown", "face_color", "border_color")
_FEW = 16  # boxes from which the range of intensities is taken


def remove_objects(state: LatentState, layers: Iterable[Any], gone: Mask, title: str) -> None:
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
    tie_arrows(layers)
    step = Exchange(layer, np.flatnonzero(gone))
    step()
    state.history.add(Step(title, step, step))


def points_of(layer: Points, rows: Mask, name: str) -> Points:
    """Make a new points layer of some of the points, with their features and their looks."""
    data, meta, _ = layer.as_layer_data_tuple()
    some = {key: np.asarray(meta[key])[rows] for key in _OF_EACH_ROW}
    some["features"] = meta["features"][rows].reset_index(drop=True)
    for key in ("properties", "property_choices", "feature_defaults"):  # of the features
        meta.pop(key, None)
    record = dict(layer.metadata)
    if record_of(layer):  # the arrows stay with the layer that they came with
        record["equipose"] = record_of(layer) | {"result": new_result()}
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
