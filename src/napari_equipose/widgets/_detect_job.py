"""What the Detect panel has done in its thread; nothing here knows of Qt."""

from collections.abc import Generator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import MissingWedge
from ..inference import (
    DetectionConfig,
    Notice,
    Picks,
    Picks3D,
    Progress,
    cluster,
    detect,
    long_axis,
    pixel_size_notice,
    search_volume,
)
from ..models import SavedModel
from ..training import pixel_size_of_layer
from ._layers import Plane
from ._queue import Waiting, take_turn
from ._volumes import Volume

Classes = int | Literal["auto"] | None


class Found(NamedTuple):
    """The objects of a picture."""

    picks: Picks
    classes: NDArray[np.int64] | None
    """The class of each, where classes were asked for."""
    axis: float
    """Angle of the long axis of the mean object in the model's canonical frame, radians."""
    fold: int = 1
    """2 where the objects look the same after half a turn, else 1."""


class FoundInVolume(NamedTuple):
    """The objects of a volume."""

    picks: Picks3D
    classes: NDArray[np.int64] | None
    """The class of each, where classes were asked for."""
    threshold: float
    """Score that parts objects from chance."""


def find(
    saved: SavedModel,
    plane: Plane,
    config: DetectionConfig,
    device: str,
    classes: Classes,
) -> Generator[Progress | Notice | Waiting | None, None, Found]:
    """Find the objects of a picture; sort them into classes where that is asked for.

    The picture is read first, and then the device waited for.

    Raises
    ------
    InputError
        If model and picture do not fit, or there are fewer objects than classes.
    """
    yield Progress(0, 1, "reading the image")
    picture = plane.read()
    yield _scale_notice(saved, plane)
    turn = yield from take_turn(device, f"Finding objects in {plane.name}")
    try:
        picks = yield from detect(saved, picture, config, device=device)
        labels = yield from _sorted(picks.content, classes)
        return Found(picks, labels, long_axis(saved, picks.content))
    finally:
        turn.release()


def find_in_volume(
    saved: SavedModel,
    volume: Volume,
    lowest: float | None,
    wedge: MissingWedge | None,
    device: str,
    classes: Classes,
) -> Generator[Progress | Notice | Waiting | None, None, FoundInVolume]:
    """Find the objects of a volume, which is read in pieces; sort them where that is asked for.

    Objects of a score below ``lowest`` are left out, by default below half of the one that parts
    objects from chance.

    Raises
    ------
    InputError
        If model and volume do not fit, or there are fewer objects than classes.
    """
    yield _scale_notice(saved, volume)
    turn = yield from take_turn(device, f"Finding objects in {volume.name}")
    try:
        data: Any = volume.data
        picks, threshold = yield from search_volume(saved, data, wedge=wedge, device=device)
        picks = picks.select(picks.score >= (threshold / 2 if lowest is None else lowest))
        labels = yield from _sorted(picks.content, classes)
        return FoundInVolume(picks, labels, threshold)
    finally:
        turn.release()


def _scale_notice(saved: SavedModel, source: Plane | Volume) -> Notice | None:
    """Say where the image is not at the pixel size of the model."""
    size = pixel_size_of_layer({**source.placement, "factor": source.factor})
    return pixel_size_notice(saved, size, source.name)


def _sorted(
    content: NDArray[np.float32], classes: Classes
) -> Generator[Progress, None, NDArray[np.int64] | None]:
    """Classes of objects, where they are asked for and there are any."""
    if classes is None or not len(content):
        return None
    yield Progress(0, 1, "sorting into classes")
    return cluster(content, classes)
