"""Objects as layers: points where they are, arrows for how they lie, and a table of them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Points, Vectors
from napari.utils.colormaps.standardize_color import transform_color
from numpy.typing import ArrayLike, NDArray

from .._files import write_json
from ..io import napari_write_points
from ._layers import unit_ratios

_CLASS_COLOURS = ["#ff9f40", "#4fc3f7", "#aed581", "#f06292", "#ffd54f", "#9575cd"]
_CLASS_COLOURS += ["#4db6ac", "#e57373", "#64ffda", "#bcaaa4", "#7986cb", "#dce775"]
_NO_CLASS_COLOUR = "#808890"


def object_points(
    positions: NDArray[np.float64],
    features: pd.DataFrame,
    name: str,
    size: float | NDArray[np.float64],
    metadata: dict[str, Any],
    **more: Any,
) -> Points:
    """Make a layer of a disc on each object; in thick slices it shrinks with its distance."""
    return Points(
        positions,
        ndim=positions.shape[1],
        name=name,
        features=features,
        symbol="disc",
        size=size,
        canvas_size_limits=(0, 10_000),
        border_color="black",
        border_width=0.1,
        projection_mode="rescale_linear",
        metadata={"equipose": metadata},
        **more,
    )


def object_arrows(
    arrows: NDArray[np.float64],
    features: pd.DataFrame,
    name: str,
    width: float,
    metadata: dict[str, Any],
    **more: Any,
) -> Vectors:
    """Make a layer of an arrow on each object, of data (n, 2, axes of the layer)."""
    return Vectors(
        arrows,
        ndim=arrows.shape[2],
        name=name,
        features=features,
        vector_style="arrow",
        edge_width=width,
        projection_mode="fade",
        metadata={"equipose": metadata},
        **more,
    )


def arrows_at(
    positions: NDArray[np.float64], rotation: NDArray[Any], length: float
) -> NDArray[np.float64]:
    """Arrows (n, 2, axes) along the z axis of each object at rest; of images, along its x axis.

    Parameters
    ----------
    positions : array, shape (n, axes)
    rotation : array, shape (n,) or (n, 3, 3)
        Radians, counter-clockwise as displayed; of volumes matrices that act on (z, y, x).
    length : float
    """
    turn = np.asarray(rotation, np.float64)
    if turn.ndim == 3:
        direction = turn[:, :, 0]
    else:
        direction = np.stack((-np.sin(turn), np.cos(turn)), 1)  # y points down
    along = np.zeros_like(positions)
    along[:, -direction.shape[1] :] = length * direction
    return np.stack((positions, along), 1)


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


def class_colours(features: pd.DataFrame) -> Any:
    """What napari takes for colours: those of the classes, or the name of the score."""
    if "class" not in features:
        return "score"
    return class_rgba(features["class"].to_numpy())


def class_rgba(labels: ArrayLike) -> NDArray[np.float32]:
    """Colours of classes, shape (n, 4), from 0 to 1; grey for negative labels, which are none."""
    labels = np.asarray(labels, np.int64)
    palette = transform_color([*_CLASS_COLOURS, _NO_CLASS_COLOUR])
    rows = np.where(labels < 0, len(_CLASS_COLOURS), labels % len(_CLASS_COLOURS))
    colours: NDArray[np.float32] = palette[rows]
    return colours


class ObjectLayers:
    """Points and arrows of what was found, and the score below which objects are hidden.

    Parameters
    ----------
    image : str
        Name of the layer they were found in.
    points : Points
        With a feature ``score``.
    vectors : Vectors
        With the same features.
    threshold : float
        Score that parts objects from chance.
    """

    def __init__(self, image: str, points: Points, vectors: Vectors, threshold: float) -> None:
        self.points, self.vectors, self.threshold = points, vectors, threshold
        self._image = image
        self.reach = 0.0
        """Of objects in a volume: how many pixels beside a slice they are shown in it."""
        self.features = points.features.copy()
        self.score: NDArray[Any] = self.features["score"].to_numpy()
        self._arrows = np.array(vectors.data)
        self._edges = np.array(vectors.edge_color)
        self._sizes = np.array(points.size, np.float64)

    def __len__(self) -> int:
        return len(self.score)

    def filter(self, threshold: float) -> int:
        """Hide objects of a lower score; return how many are left.

        Layers are left as they are once rows were added or removed, by a person or by the panel
        Latent space.
        """
        keep = self.score >= threshold
        if len(self.points.data) != len(self):
            return int(np.sum(self.points.shown))
        was = self.points.shown
        self._sizes[was] = self.points.size[was]  # a person may have changed them
        self.points.shown = keep
        # napari 0.9.2 minds `shown` only where there are sliders.
        self.points.size = np.where(keep, self._sizes, 0.0)
        self.vectors.data = self._arrows[keep]
        self.vectors.features = self.features[keep]
        if self.vectors.edge_color_mode == "direct":
            self.vectors.edge_color = self._edges[keep]
        return int(keep.sum())

    def write(self, path: Path) -> int:
        """Write the objects that are shown as a table; return how many.

        Raises
        ------
        InputError
            If the suffix is no table's.
        """
        data, meta, _ = self.points.as_layer_data_tuple()
        napari_write_points(str(path), data, meta)
        return int(np.sum(self.points.shown))

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
        while (path := folder / f"{word}-{number}.csv").exists():
            number += 1
        folder.mkdir(parents=True, exist_ok=True)
        data, meta, _ = self.points.as_layer_data_tuple()
        write_json(path.with_suffix(".json"), meta["metadata"]["equipose"])
        napari_write_points(str(path), data, meta | {"shown": np.ones(len(data), bool)})
        return path
