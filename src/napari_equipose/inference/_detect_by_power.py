"""Objects found in noise by their power, and what a trained model says of each."""

from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from ..geometry import extract_boxes, wrap_angle
from ..models import SavedModel
from ._detection_config import DetectionConfig, Picks
from ._outlines import far_apart, read_boxes
from ._power_search import PowerModel
from ._progress import Progress


def power_of(saved: SavedModel) -> PowerModel | None:
    """Power that a model was trained with; None if it was trained without."""
    record = saved.record.get("power")
    return None if record is None else PowerModel.from_record(record)


def detect_by_power(
    saved: SavedModel,
    power: PowerModel,
    image: NDArray[Any],
    config: DetectionConfig,
    threshold: float,
    device: str = "auto",
) -> Generator[Progress, None, Picks]:
    """Find every object of an image by its power; the model tells the rest.

    The score of an object is the probability that it is one.
    """
    yield Progress(0, 2, "looking for power that recurs")
    objects = power.find(image)
    objects = objects.select(expit(objects.log_odds) >= threshold)
    if config.min_distance is not None:
        objects = objects.select(far_apart(objects.positions, config.min_distance))
    yield Progress(1, 2, "reading poses")
    flat = saved.normalisation.of_image(image)
    boxes = extract_boxes(flat, objects.positions, saved.model.config.box_size)
    rotation, content = read_boxes(saved, torch.from_numpy(boxes), device)
    return Picks(
        objects.positions.astype(np.float32),
        wrap_angle(rotation).numpy(),
        expit(objects.log_odds).astype(np.float32),
        content.numpy(),
    )
