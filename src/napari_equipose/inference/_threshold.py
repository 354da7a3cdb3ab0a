"""The score that parts objects from chance fits, without labels."""

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from ..geometry import InputError, check_type
from ..models import SavedModel
from ._detect import USUAL_THRESHOLD, check_search, search
from ._detection_config import DetectionConfig
from ._progress import Notice, Progress

_LEAST, _MOST = 0.01, 0.5
_FEWEST = 20
"""Scores that a threshold can be read from."""
_CHANCE_PART = 1 / 3


def calibrate(
    saved: SavedModel, images: Sequence[NDArray[Any]], device: str = "auto"
) -> Generator[Progress | Notice, None, float]:
    """Look for objects in images and in their negatives, and set the threshold between.

    A negative has the noise and the size of the image but no objects, so what is found in it
    shows how well chance fits: the method of decoys of mass spectrometry.

    Parameters
    ----------
    saved : SavedModel
        Of a system that is fully convolutional.
    images : sequence of array, shape (y, x) or (y, x, 3)
        Such as the model was trained on.
    device : str
        As for `models.choose_device`.

    Yields
    ------
    Progress or Notice

    Returns
    -------
    float
        As `suggest_threshold` says.

    Raises
    ------
    InputError
        If there are no images, or as for `detect`.

    References
    ----------
    J. E. Elias and S. P. Gygi, "Target-decoy search strategy for increased confidence in
    large-scale protein identifications by mass spectrometry", Nature Methods 2007.
    """
    check_type("images", images, Sequence)
    if not len(images):
        raise InputError("there are no images to set the threshold by.")
    for image in images:
        check_search(saved, image, device)
    return _calibrate(saved, images, device)


def _calibrate(
    saved: SavedModel, images: Sequence[NDArray[Any]], device: str
) -> Generator[Progress | Notice, None, float]:
    config = DetectionConfig(rounds=1)
    scores: dict[bool, list[NDArray[np.floating[Any]]]] = {False: [], True: []}
    for image in images:
        for negative, column in scores.items():
            found, _ = yield from search(saved, image, config, _LEAST, device, negative)
            column.append(found.score.cpu().numpy())
    return suggest_threshold(np.concatenate(scores[False]), np.concatenate(scores[True]))


def suggest_threshold(
    scores: NDArray[np.floating[Any]], chance: NDArray[np.floating[Any]] | None = None
) -> float:
    """Part true objects from chance fits.

    Parameters
    ----------
    scores : array, shape (n,)
        Of all that a search with a low threshold found.
    chance : array, shape (m,), optional
        Of all that the same search found where there are no objects.

    Returns
    -------
    float
        Where at least 20 chance fits are known: the least score that at most a third as many of
        them as of the objects reach. Among the objects they are fewer than that, for those
        leave chance less room. Else Otsu's threshold on the logarithm, for chance fits crowd at
        low scores, by factors rather than by differences, and at most a half.
    """
    found = np.sort(scores[scores > _LEAST])
    if len(found) < _FEWEST:
        return USUAL_THRESHOLD
    if chance is None or (chance > _LEAST).sum() < _FEWEST:
        return float(min(np.exp(threshold_otsu(np.log(found))), _MOST))
    above = np.arange(len(found), 0, -1)
    by_chance = len(chance) - np.searchsorted(np.sort(chance), found)
    enough = found[by_chance <= _CHANCE_PART * above]
    return float(enough[0] if len(enough) else found[-1])
