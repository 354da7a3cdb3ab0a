"""A stack of boxes becomes objects with a content; nothing here knows of Qt."""

from collections.abc import Generator
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Image, Points

from .. import __version__
from ..geometry import InputError
from ..inference import Encoding, Notice, Progress, encode, pixel_size_notice
from ..io import pose_table
from ..models import SavedModel
from ..training import pixel_size_of_layer
from ._layers import placement
from ._object_layers import class_or_score, object_points
from ._queue import Waiting, take_turn

_NOT_FEATURES = ["index", "translation_z", "translation_y", "translation_x"]


class Boxes(NamedTuple):
    """A stack that is to be encoded: a snapshot, whatever becomes of its layer."""

    name: str
    data: Any
    """Shape (n, [z,] y, x) or (n, y, x, 3): numpy, Dask, Zarr."""
    place: dict[str, Any]
    """Keyword arguments that put a layer where the stack is."""
    path: str | None

    @classmethod
    def of(cls, layer: Image | None) -> "Boxes":
        """Take the stack of an image layer.

        Raises
        ------
        InputError
            If there is none.
        """
        if layer is None:
            raise InputError("open a stack of boxes first, one object in each.")
        data = layer.data[0] if layer.multiscale else layer.data
        path = str(layer.source.path) if layer.source.path else None
        colours = data[..., :3] if layer.rgb and data.shape[-1] > 3 else data
        return cls(str(layer.name), colours, placement(layer), path)


def encode_boxes(
    saved: SavedModel, boxes: Boxes, device: str
) -> Generator[Progress | Notice | Waiting | None, None, Encoding]:
    """Encode a stack when the device is free.

    Raises
    ------
    InputError
        If model and boxes do not fit.
    """
    yield pixel_size_notice(saved, pixel_size_of_layer(boxes.place), boxes.name)
    turn = yield from take_turn(device, f"Encoding {boxes.name}")
    try:
        found = yield from encode(saved, boxes.data, device=device)
        return found
    finally:
        turn.release()


def encoded_points(found: Encoding, boxes: Boxes, saved: SavedModel, model_name: str) -> Points:
    """Make the layer of encoded objects: a point on each, in its box of the stack."""
    n, side = len(found.score), saved.model.config.box_size
    centres = np.full(found.translation.shape, side // 2) + found.translation
    positions = np.concatenate((np.arange(n)[:, None], centres), 1).astype(np.float64)
    table = pose_table(
        found.rotation,
        found.translation,
        found.score,
        found.content,
        classes=found.category,
        scale=found.scale,
        contrast=found.contrast,
        brightness=found.brightness,
    ).drop(columns=_NOT_FEATURES, errors="ignore")
    if found.category is None:
        table = table.drop(columns="class")
    else:
        table = table.astype({"class": np.int64})
    record = {
        "model": saved.digest,
        "model_name": model_name,
        "model_kind": saved.kind,
        "model_config": asdict(saved.model.config),
        "version": __version__,
        "image": boxes.path or boxes.name,
        "box_size": side,
        "color": class_or_score(table),
    }
    return object_points(positions, table, f"{boxes.name} particles", record, boxes.place)
