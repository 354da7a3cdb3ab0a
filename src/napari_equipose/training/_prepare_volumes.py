"""From the settings of a run and its volumes to all that `train` wants."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..geometry import InputError, extract_cubes, refuse_untold_wedge
from ..inference import propose_in_volumes
from ..models import Normalisation
from ._kinds import wedge_is_untold
from ._prepare_run import PreparedRun
from ._run_file import TrainingRun

_LEAST_BOXES = 10
_MOST_BYTES = 2**31
"""Of boxes; more would not fit into the memory of many machines, nor be learnt in minutes."""


def prepare_volumes(run: TrainingRun, volumes: Sequence[NDArray[Any]]) -> PreparedRun:
    """Make boxes and configurations for a run on volumes, such as tomograms.

    Parameters
    ----------
    run : TrainingRun
        With a box size; of a kind of model that sees volumes.
    volumes : sequence of array, shape (z, y, x)
        May be memory-mapped: only what the boxes cover is kept.

    Raises
    ------
    InputError
        If a volume or a setting can't be used, too few candidates are found, or a volume misses a
        wedge of which nobody told.
    """
    if run.box_size is None:
        raise InputError("a box size is wanted to find objects in volumes.")
    if wedge_is_untold(run.model, run.settings):
        for volume in volumes:
            refuse_untold_wedge(volume)
    most = max(_MOST_BYTES // (4 * run.box_size**3 * len(volumes)), _LEAST_BOXES)
    found = propose_in_volumes(volumes, run.box_size, run.polarity, max_candidates=most)
    n = sum(len(candidates.positions) for candidates in found)
    if n < _LEAST_BOXES:
        raise InputError(
            f"only {n} candidates for objects in boxes of {run.box_size} pixels were found, and "
            f"training needs at least {_LEAST_BOXES}: check the box size and the polarity, or "
            "give more volumes."
        )
    normalisation = Normalisation()
    cut = [
        extract_cubes(volume, candidates.positions, run.box_size)
        for volume, candidates in zip(volumes, found, strict=True)
    ]
    boxes = torch.from_numpy(normalisation.of_stack(np.concatenate(cut)))
    model, training = run.configurations(
        dimensions=3, box_size=run.box_size, channels=1, n_images=n, likelihood="gaussian"
    )
    positions = [candidates.positions for candidates in found]
    return PreparedRun(boxes, model, training, normalisation, positions, tuple(volumes))
