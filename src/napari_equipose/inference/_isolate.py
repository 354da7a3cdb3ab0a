"""Boxes with one object each, the neighbours explained away."""

from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import InputError, box_centre, check_type
from ..models import SavedModel
from ._detect import DetectionConfig, check_search, search
from ._progress import Notice, Progress
from ._threshold import suggest_threshold

_LEAST_SCORE = 0.02


class IsolatedBoxes(NamedTuple):
    """Boxes cut out of one image, around what a model found in it."""

    boxes: Tensor
    """Shape (n, channels, box_size, box_size), normalised."""
    positions: NDArray[np.float32]
    """Shape (n, 2), (y, x) in pixels."""


def isolate(
    saved: SavedModel, image: NDArray[Any], box_size: int, device: str = "auto"
) -> Generator[Progress | Notice, None, IsolatedBoxes]:
    """Find the objects of an image and cut each out of the image without the others.

    Parameters
    ----------
    saved : SavedModel
    image : array, shape (y, x) or (y, x, 3)
    box_size : int
        Side of the boxes in pixels.
    device : str
        As for `models.choose_device`.

    Yields
    ------
    Progress or Notice

    Returns
    -------
    IsolatedBoxes

    Raises
    ------
    InputError
        As for `detect`.
    """
    check_search(saved, image, device)
    check_type("box_size", box_size, int)
    if box_size < 1:
        raise InputError(f"box_size must be at least 1, got {box_size}.")
    return _isolate(saved, image, box_size, device)


def _isolate(
    saved: SavedModel, image: NDArray[Any], box_size: int, device: str
) -> Generator[Progress | Notice, None, IsolatedBoxes]:
    config = DetectionConfig(rounds=1)
    found, explanation = yield from search(saved, image, config, _LEAST_SCORE, device)
    threshold = suggest_threshold(found.score.cpu().numpy())
    found = found.select((found.score >= threshold).nonzero().squeeze(1))
    explanation.redraw(found.position, found.rotation, found.templates)
    own, _, corner = explanation.draw(found.position, found.rotation, found.templates)
    channels = explanation.residual.shape[0]
    margin, side = box_size, explanation.side
    residual = torch.nn.functional.pad(explanation.residual, (margin,) * 4)
    boxes = torch.empty(len(own), channels, box_size, box_size)
    middle = torch.floor(found.position + 0.5).long() + explanation.pad + margin
    starts = (middle - box_centre(box_size)).tolist()
    for i, ((top, left), (y, x)) in enumerate(zip(starts, (corner + margin).tolist(), strict=True)):
        view = residual[:, y : y + side, x : x + side]
        view += own[i]
        boxes[i] = residual[:, top : top + box_size, left : left + box_size]
        view -= own[i]
    return IsolatedBoxes(boxes, found.position.cpu().numpy().astype(np.float32))
