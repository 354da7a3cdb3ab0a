"""What the Detect panel has done in its thread; nothing here knows of Qt."""

from collections.abc import Generator
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..inference import DetectionConfig, Notice, Picks, Progress, cluster, detect
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


@torch.no_grad()
def long_axis(saved: SavedModel, content: NDArray[np.floating[Any]]) -> float:
    """Angle, in radians, of the long axis of the mean object in the canonical frame.

    The frame is arbitrary, but the axis of an elongated object is a direction that an eye can
    check. It is 0 where the object is about as long as wide.
    """
    if not len(content):
        return 0.0
    assert isinstance(saved.model, torch.nn.Module)
    device = next(saved.model.parameters()).device
    few = torch.from_numpy(np.asarray(content[:200], np.float32)).to(device)
    drawn = saved.model.generate(few, None, saved.model.config.canonical_size)
    picture = drawn.mean((0, 1)).cpu().numpy().astype(np.float64)
    size = len(picture)
    y, x = np.indices(picture.shape) - size // 2
    inside = np.hypot(y, x) <= size / 2
    rim = inside & (np.hypot(y, x) > size / 2 - 2)
    weight = np.abs(picture - np.median(picture[rim])) * inside
    # What is faint is background that the model did not care about.
    weight = np.clip(weight - 0.3 * weight.max(), 0, None)
    total = weight.sum()
    if not total > 0:
        return 0.0
    y, x = y - (weight * y).sum() / total, x - (weight * x).sum() / total
    yy, xx, yx = ((weight * product).sum() / total for product in (y * y, x * x, y * x))
    spread = np.hypot(xx - yy, 2 * yx)
    if spread < 0.1 * (xx + yy):
        return 0.0
    return float(0.5 * np.arctan2(-2 * yx, xx - yy))  # y points down
