"""What the Detect panel has done in its thread; nothing here knows of Qt."""

from collections.abc import Generator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import InputError
from ..inference import DetectionConfig, Notice, Picks, Progress, cluster, detect, long_axis
from ..models import SavedModel
from ._layers import Plane
from ._queue import Waiting, take_turn


class Found(NamedTuple):
    """The objects of a picture."""

    picks: Picks
    classes: NDArray[np.int64] | None
    """The class of each, where classes were asked for."""
    axis: float
    """Angle of the long axis of the mean object in the model's canonical frame, radians."""


def find(
    saved: SavedModel,
    plane: Plane,
    config: DetectionConfig,
    device: str,
    classes: int | Literal["auto"] | None,
) -> Generator[Progress | Notice | Waiting | None, None, Found]:
    """Find the objects of a picture; sort them into classes where that is asked for.

    The picture is read first, and then the device waited for.

    Raises
    ------
    InputError
        If model and picture do not fit, or there are fewer objects than classes.
    """
    if 2 not in saved.model.capabilities.dimensions:
        raise InputError(
            "this model is of volumes: 'equipose detect' finds the objects of a tomogram, and the "
            ".star that it writes opens here as points."
        )
    yield Progress(0, 1, "reading the image")
    picture = plane.read()
    turn = yield from take_turn(device, f"Finding objects in {plane.name}")
    try:
        picks = yield from detect(saved, picture, config, device=device)
        labels = None
        if classes is not None and len(picks.content):
            yield Progress(0, 1, "sorting into classes")
            labels = cluster(picks.content, classes)
        return Found(picks, labels, long_axis(saved, picks.content))
    finally:
        turn.release()
