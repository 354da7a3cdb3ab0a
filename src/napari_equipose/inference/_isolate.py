"""Boxes with one object each, the neighbours explained away."""

from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import InputError, box_centre, check_type
from ..models import SavedModel
from ._detect import check_search, search
from ._detection_config import DetectionConfig
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
    middle = torch.floor(found.position + 0.5).long() + explanation.pad
    start = middle - box_centre(box_size)
    boxes = _windows(explanation.residual, start, box_size) + _placed(own, start - corner, box_size)
    boxes = boxes.cpu()
    return IsolatedBoxes(boxes, found.position.cpu().numpy().astype(np.float32))


def _windows(image: Tensor, start: Tensor, size: int) -> Tensor:
    """Cut windows (n, channels, y, x) from an image (channels, y, x); zero outside of it."""
    image = torch.nn.functional.pad(image, (size,) * 4)
    line = torch.arange(size, device=image.device)
    y, x = (start.T[..., None] + size + line).unbind()
    return image[:, y[:, :, None], x[:, None, :]].transpose(0, 1)


def _placed(pictures: Tensor, start: Tensor, size: int) -> Tensor:
    """Cut a window from each picture (n, channels, y, x); zero outside of it."""
    side = pictures.shape[-1]
    line = torch.arange(size, device=pictures.device)
    places = start.T[..., None] + line  # (2, n, size)
    y, x = places.clamp(0, side - 1).unbind()
    row = torch.arange(len(pictures), device=pictures.device)[:, None, None]
    windows = pictures[row, :, y[:, :, None], x[:, None, :]].movedim(-1, 1)
    (in_y, in_x) = ((places >= 0) & (places < side)).unbind()
    return windows * (in_y[:, None, :, None] & in_x[:, None, None, :])
