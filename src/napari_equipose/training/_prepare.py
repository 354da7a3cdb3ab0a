"""From what a user opens to the boxes that a model is trained on."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import InputError, extract_boxes
from ..models import Normalisation


class TrainingBoxes(NamedTuple):
    """Normalised boxes and where they came from."""

    boxes: Tensor
    """Shape (n, channels, box_size, box_size), of volumes with a third box_size."""
    positions: list[NDArray[np.float32]]
    """For each image the centres (y, x) of its boxes, in pixels; empty for a stack."""


def boxes_from_stack(stack: NDArray[Any], normalisation: Normalisation) -> TrainingBoxes:
    """Normalise a stack of boxes, as the normalisation says.

    Parameters
    ----------
    stack : array, shape (n, y, x), (n, y, x, 3) or (n, z, y, x)
        Boxes of equal sides.
    normalisation : Normalisation

    Raises
    ------
    InputError
        If the sides of the boxes differ or the stack has other dimensions.
    """
    rgb = stack.ndim == 4 and stack.shape[-1] == 3
    sides = stack.shape[1:-1] if rgb else stack.shape[1:]
    if len(sides) not in (2, 3) or len(set(sides)) > 1:
        raise InputError(
            "square boxes (n, y, x) or (n, y, x, 3) are wanted, or cubes (n, z, y, x); this stack "
            f"has shape {stack.shape}. Cut boxes of equal sides."
        )
    images = np.moveaxis(stack, -1, 1) if rgb else stack[:, None]
    return TrainingBoxes(torch.from_numpy(normalisation.of_stack(np.asarray(images))), [])


def boxes_from_images(
    images: Sequence[NDArray[Any]],
    box_size: int,
    normalisation: Normalisation,
    positions: Sequence[NDArray[np.floating[Any]]],
) -> TrainingBoxes:
    """Cut boxes around positions out of large images.

    Parameters
    ----------
    images : sequence of array, shape (y, x) or (y, x, 3)
    box_size : int
        Side of the boxes in pixels.
    normalisation : Normalisation
        Applied to each image as a whole.
    positions : sequence of array, shape (n, 2)
        Centres (y, x) in pixels for each image.

    Raises
    ------
    InputError
        If a box is larger than an image.
    """
    found = [np.asarray(places, np.float32).reshape(-1, 2) for places in positions]
    boxes = [
        extract_boxes(normalisation.of_image(image), places, box_size)
        for image, places in zip(images, found, strict=True)
    ]
    return TrainingBoxes(torch.from_numpy(np.concatenate(boxes)), found)
