"""From the settings of a run and its images to all that `train` wants."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import InputError
from ..models import Normalisation, TargetVAEConfig
from ._fit import TrainingConfig
from ._prepare import boxes_from_images, boxes_from_stack
from ._run_file import TrainingRun

_LEAST_BOXES = 10


class PreparedRun(NamedTuple):
    """All that `train` wants, made from a run's settings and its images."""

    boxes: Tensor
    """Shape (n, channels, box_size, box_size)."""
    model_config: TargetVAEConfig
    training_config: TrainingConfig
    normalisation: Normalisation
    positions: list[NDArray[np.float32]]
    """For each large image the centres (y, x) of its boxes, in pixels; empty for a stack."""


def prepare_stack(run: TrainingRun, stack: NDArray[Any]) -> PreparedRun:
    """Make boxes and configurations for a run on a stack of boxes (n, y, x) or (n, y, x, 3).

    Raises
    ------
    InputError
        If the stack or a setting can't be used.
    """
    likelihood = _likelihood(run)
    if likelihood == "auto":
        likelihood = choose_likelihood(stack)
    normalisation = _normalisation(likelihood)
    boxes, positions = boxes_from_stack(stack, normalisation)
    return _prepared(run, boxes, positions, likelihood, normalisation)


def prepare_images(
    run: TrainingRun,
    images: Sequence[NDArray[Any]],
    positions: Sequence[NDArray[np.floating[Any]]] | None = None,
) -> PreparedRun:
    """Make boxes and configurations for a run on large images (y, x) or (y, x, 3).

    Parameters
    ----------
    run : TrainingRun
        With a box size.
    images : sequence of array
    positions : sequence of array, shape (n, 2), optional
        Centres (y, x) of the boxes in each image, in pixels; proposed when not given.

    Raises
    ------
    InputError
        If an image or a setting can't be used, or no candidate is found.
    """
    if run.box_size is None:
        raise InputError("a box size is wanted to find objects in large images.")
    if len({image.ndim for image in images}) > 1:
        raise InputError("some of the images are grey and some in colour; train on one kind.")
    likelihood = _likelihood(run)
    if likelihood == "auto":
        likelihood = "gaussian"
    normalisation = _normalisation(likelihood, float(run.box_size))
    boxes, places = boxes_from_images(
        images, run.box_size, normalisation, polarity=run.polarity, positions=positions
    )
    if positions is None and len(boxes) < _LEAST_BOXES:
        raise InputError(
            f"only {len(boxes)} candidates for objects in boxes of {run.box_size} pixels were "
            f"found, and training needs at least {_LEAST_BOXES}: check the box size and the "
            "polarity, or give more images."
        )
    return _prepared(run, boxes, places, likelihood, normalisation)


def choose_likelihood(stack: NDArray[Any]) -> Literal["bernoulli", "gaussian"]:
    """Tell pixels that are off or on, such as a digit's, from real-valued ones.

    Up to 500 boxes are looked at. Bernoulli is chosen when four of five pixels lie within a
    tenth of the range from its ends, and enough of them at the upper one: a dark picture with
    a few bright pixels is not off or on.
    """
    some = np.asarray(stack[:: max(1, len(stack) // 500)], np.float32)
    low, high = np.quantile(some, 1e-3), some.max(initial=-np.inf)
    if not low < high:
        return "gaussian"
    level = (some - low) / (high - low)
    on, between = (level > 0.9).mean(), ((level > 0.1) & (level <= 0.9)).mean()
    return "bernoulli" if between <= 0.2 and on >= 0.25 * between else "gaussian"


def _likelihood(run: TrainingRun) -> str:
    return str(run.settings.get("likelihood", run.likelihood))


def _normalisation(likelihood: str, background_sigma: float | None = None) -> Normalisation:
    if likelihood == "bernoulli":
        return Normalisation(kind="unit")
    return Normalisation(kind="standard", background_sigma=background_sigma)


def _prepared(
    run: TrainingRun,
    boxes: Tensor,
    positions: list[NDArray[np.float32]],
    likelihood: str,
    normalisation: Normalisation,
) -> PreparedRun:
    n, channels, box_size = boxes.shape[:3]
    model, training = run.configurations(
        box_size=box_size, channels=channels, n_images=n, likelihood=likelihood
    )
    return PreparedRun(boxes, model, training, normalisation, positions)
