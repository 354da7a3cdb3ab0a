"""Looking for the symmetry of classes, in a thread; nothing here knows of Qt."""

from collections.abc import Generator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..inference import (
    Progress,
    RotationProfile,
    Symmetry,
    Watched,
    rotation_profile,
    suggest_symmetry,
)
from ..models import SavedModel
from ._latent_job import Lying


class ClassSymmetry(NamedTuple):
    """What was found about the symmetry of a class."""

    label: int
    n: int
    profile: RotationProfile
    symmetry: Symmetry


def look_for_symmetry(
    saved: SavedModel,
    lying: Lying,
    content: NDArray[np.float64],
    labels: NDArray[np.int64],
) -> Generator[Progress, None, list[ClassSymmetry]]:
    """Say of each class of objects whether it looks symmetric.

    Yields
    ------
    Progress

    Raises
    ------
    InputError
        If the model is of volumes, or the content not of this model.
    """
    found = []
    for name in np.unique(labels).tolist():
        some = lying.take(np.flatnonzero(labels == name))
        job = Watched(
            rotation_profile(
                saved,
                some.boxes,
                content[labels == name],
                some.translation,
                rotation=some.rotation,
                scale=some.scale,
            )
        )
        yield from job
        profile = job.result
        found.append(ClassSymmetry(name, len(some.boxes), profile, suggest_symmetry(profile)))
    return found
