"""What the Detect panel has done in its thread; nothing here knows of Qt."""

from collections.abc import Generator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import InputError, MissingWedge
from ..inference import (
    DetectionConfig,
    Notice,
    Picks,
    Picks3D,
    Progress,
    Watched,
    cluster,
    detect,
    long_axis,
    pixel_size_notice,
    rotation_profile,
    search_volume,
    suggest_symmetry,
)
from ..models import SavedModel
from ..training import pixel_size_of_layer
from ._layers import Plane
from ._queue import Waiting, take_turn
from ._volumes import Volume

_MIN_TURNED, _MAX_TURNED = 12, 80
"""Of objects that are turned to see whether they are symmetric; their number bounds the time."""
_ANGLES = 72
_SURE = 0.9
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
        fold = yield from _fold(saved, picture, picks)
        return Found(picks, labels, long_axis(saved, picks.content), fold)
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


def _fold(saved: SavedModel, picture: NDArray[Any], picks: Picks) -> Generator[Progress, None, int]:
    """Say whether objects look the same after half a turn, 2, or not, 1, by a few of the best."""
    side, n = saved.model.config.box_size, _MAX_TURNED
    nearest = np.floor(picks.positions + 0.5).astype(np.int64)
    corners = nearest - side // 2
    inside = (corners >= 0).all(1) & (corners + side <= picture.shape[:2]).all(1)
    rows = np.flatnonzero(inside)[:n]
    if len(rows) < _MIN_TURNED:
        return 1
    boxes = np.stack([picture[y : y + side, x : x + side] for y, x in corners[rows]])
    yield Progress(0, 1, "looking for symmetry")
    try:
        job = Watched(
            rotation_profile(
                saved,
                boxes,
                picks.content[rows],
                picks.positions[rows] - nearest[rows],
                rotation=picks.rotation[rows],
                n_angles=_ANGLES,
            )
        )
        yield from job
    except InputError:  # a box without contrast, say: then nothing is known
        return 1
    symmetry = suggest_symmetry(job.result)
    sure = symmetry.fold > 0 and symmetry.fold % 2 == 0 and symmetry.confidence > _SURE
    return 2 if sure else 1


def _sorted(
    content: NDArray[np.float32], classes: Classes
) -> Generator[Progress, None, NDArray[np.int64] | None]:
    """Classes of objects, where they are asked for and there are any."""
    if classes is None or not len(content):
        return None
    yield Progress(0, 1, "sorting into classes")
    return cluster(content, classes)
