"""Objects as layers: points where they are, arrows for how they lie, and a table of them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Points, Vectors
from numpy.typing import NDArray

from ..geometry import InputError
from ..io import (
    arrow_arguments,
    arrow_rows,
    layer_arguments,
    napari_write_points,
    new_result,
    with_identity,
)
from ._layers import unit_ratios
from ._object_edits import show_from, tie_arrows


def object_points(
    positions: NDArray[np.float64],
    features: pd.DataFrame,
    name: str,
    record: dict[str, Any],
    placement: dict[str, Any],
) -> Points:
    """Make a layer of a disc on each object; in thick slices it shrinks with its distance.

    Parameters
    ----------
    positions : array, shape (n, axes)
    features : DataFrame
        Columns as in tables.
    name : str
    record : dict
        With what the objects were found, plain JSON; ``point_size`` and ``color`` tell the look.
    placement : dict
        Keyword arguments that say where the layer lies.
    """
    shown = np.ones(len(features), bool)
    looks = layer_arguments(with_identity(features), record, name, shown)
    points = Points(positions, ndim=positions.shape[1], **looks, **placement)
    points.current_size = float(points.size[0]) if len(features) else points.current_size
    return points


def object_arrows(points: Points, name: str, placement: dict[str, Any]) -> Vectors:
    """Make the layer of the arrows of points, as the record of these says."""
    record = points.metadata["equipose"]
    arrows, rows = arrow_rows(np.asarray(points.data), points.features, record)
    features = points.features.iloc[rows].reset_index(drop=True)
    looks = arrow_arguments(features, np.array(points.face_color)[rows], record, name)
    return Vectors(arrows, ndim=arrows.shape[2], **looks, **placement)


def object_pair(
    positions: NDArray[np.float64],
    features: pd.DataFrame,
    names: tuple[str, str],
    record: dict[str, Any],
    placement: dict[str, Any],
) -> tuple[Points, Vectors]:
    """Make points and arrows that follow them; names and parameters as of `object_points`."""
    record = record | {"result": new_result()}
    points = object_points(positions, features, names[0], record, placement)
    return points, object_arrows(points, names[1], placement)


def thicken_slices(viewer: Any, layer: Any, reach: float) -> None:
    """Let slices through a volume show objects whose middles lie so many pixels beside them.

    Images are then averaged over as many slices, as napari does with thick ones. Those that a
    person has made thick stay as they are.
    """
    steps = reach * np.abs(np.array(layer.scale, float)[-3:])
    if viewer.layers.units is not None:
        steps = steps * unit_ratios(tuple(layer.units)[-3:], tuple(viewer.layers.units)[-3:])
    for name in ("margin_left", "margin_right"):
        margins = np.array(getattr(viewer.dims, name), float)
        margins[-3:] = np.where(margins[-3:] == 0, steps, margins[-3:])
        setattr(viewer.dims, name, tuple(margins.tolist()))


def class_or_score(features: pd.DataFrame) -> str:
    """By which of their columns objects are colored that have no angle in a plane."""
    return "class" if "class" in features else "score"


class ObjectLayers:
    """Points and arrows of what was found.

    Parameters
    ----------
    image : str
        Name of the layer they were found in.
    points : Points
        With a feature ``score``.
    vectors : Vectors
    threshold : float
        Score that parts objects from chance.
    """

    def __init__(self, image: str, points: Points, vectors: Vectors, threshold: float) -> None:
        self.points, self.vectors, self.threshold = points, vectors, threshold
        self._image = image
        self.reach = 0.0
        """Of objects in a volume: how many pixels beside a slice they are shown in it."""
        tie_arrows((vectors, points))

    def __len__(self) -> int:
        return len(self.points.data)

    def filter(self, threshold: float) -> int:
        """Hide objects of a lower score; return how many are left."""
        return show_from(self.points, threshold)

    def keep(self, folder: Path) -> Path:
        """Write all objects, hidden ones too, as a table of a new name; return where it is.

        Beside it, as ``.json``, stands with what they were found.

        Raises
        ------
        OSError
            If the folder can't be written to.
        """
        word = re.sub(r"[^\w]+", "-", self._image.lower()).strip("-") or "image"
        number = 1
        while any((folder / f"{word}-{number}{end}").exists() for end in (".csv", ".json")):
            number += 1
        path = folder / f"{word}-{number}.csv"
        folder.mkdir(parents=True, exist_ok=True)
        data, meta, _ = self.points.as_layer_data_tuple()
        napari_write_points(str(path), data, meta | {"shown": np.ones(len(data), bool)})
        return path


def write_shown(points: Points, path: Path) -> int:
    """Write the objects of a layer that are shown as a table; return how many.

    Raises
    ------
    InputError
        If the suffix is no table's, or no object is shown.
    """
    shown = int(np.sum(points.shown))
    if not shown:
        raise InputError(f"{path.name}: no object is shown, so there is none to write.")
    data, meta, _ = points.as_layer_data_tuple()
    napari_write_points(str(path), data, meta)
    return shown
