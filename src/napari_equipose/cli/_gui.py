"""Showing a result in napari, where it is installed."""

from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..geometry import InputError
from ..inference import Picks
from ..io import object_colors


def load_napari() -> Any:
    """Import napari by name: the command line stands without it.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        return import_module("napari")
    except ImportError as error:
        raise InputError(
            f"--gui needs napari with a Qt binding ({error}): "
            'pip install "napari-equipose[all]", or leave out --gui.'
        ) from error


def layers_of(
    image: NDArray[Any], picks: Picks, name: str, metadata: dict[str, Any], axis: float = 0.0
) -> list[tuple[Any, dict[str, Any], str]]:
    """Make the layers of an image and its objects: data, keyword arguments, kind.

    Arrows lie at the rotation of the objects plus ``axis``, radians.
    """
    length = 12.0
    angle = picks.rotation + axis
    # y points down: counter-clockwise is towards -y.
    direction = np.stack((-np.sin(angle), np.cos(angle)), -1) * length
    degrees = np.degrees(picks.rotation)
    features = {"rotation": degrees, "score": picks.score}
    features |= {f"content_{i}": column for i, column in enumerate(picks.content.T)}
    shared: dict[str, Any] = {"metadata": metadata, "features": features}
    colors = object_colors(pd.DataFrame(features), "rotation")
    points = {"name": f"{name}: objects", "size": 6, "face_color": colors, **shared}
    vectors = {
        "name": f"{name}: rotations",
        "edge_color": colors,
        "vector_style": "arrow",
        "edge_width": 2,
        **shared,
    }
    return [
        (image, {"name": name, "metadata": metadata}, "image"),
        (np.stack((picks.positions, direction), 1), vectors, "vectors"),
        (picks.positions, points, "points"),
    ]


def show_objects(
    image: NDArray[Any], picks: Picks, name: str, metadata: dict[str, Any], axis: float
) -> None:
    """Open napari with an image and its objects, until the window is closed."""
    napari = load_napari()
    viewer = napari.Viewer(title="napari-equipose: demo")
    for layer in layers_of(image, picks, name, metadata, axis):
        viewer.add_layer(napari.layers.Layer.create(*layer))
    napari.run()
