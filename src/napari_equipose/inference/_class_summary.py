"""What the objects of each class look like at rest, at the poses that they have."""

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..geometry import InputError, as_numbers, check_array
from ._align import split_in_halves
from ._align_class import Stand, average_images
from ._aligned_stack import AlignedStack
from ._alignment import AlignConfig, ClassAverage
from ._averages import Wedges, check_volumes
from ._encode import Encoding
from ._progress import Progress, Watched
from ._refinement_plan import RefinementConfig

_EVERY = 32  # boxes between reports


def summarise_classes(
    boxes: Any,
    rotation: ArrayLike,
    translation: ArrayLike,
    labels: ArrayLike,
    *,
    scale: ArrayLike | None = None,
    wedge: Wedges = None,
    seed: int = 0,
) -> Generator[Progress, None, list[ClassAverage]]:
    """Average each class of objects, and its halves, as `align` does of poses it does not refine.

    Parameters
    ----------
    boxes : array, shape (n, y, x), (n, y, x, 3) or (n, z, y, x)
        Read one or a few at a time, so that they may lie in files.
    rotation : array_like, shape (n,), or (n, 3, 3) for volumes
        As in `Encoding`, and so is the translation.
    translation : array_like, shape (n, 2), or (n, 3) for volumes
        Pixels.
    labels : array_like of int, shape (n,)
        The class of each; objects with a negative one belong to none, and are not read.
    scale : array_like, shape (n,), optional
        Of images: by how much each object is enlarged, which is undone.
    wedge : MissingWedge, or a sequence of one for each volume, optional
        What was measured of volumes; all, by default.
    seed : int
        Of the halves.

    Yields
    ------
    Progress
        Over the objects of all classes.

    Returns
    -------
    list of ClassAverage
        One for each class that has objects, by number.

    Raises
    ------
    InputError
        If boxes, poses and labels do not fit together.
    """
    check_array("boxes", boxes, 3, 4)
    label = np.asarray(labels)
    n = len(boxes)
    if label.shape != (n,) or not np.issubdtype(label.dtype, np.integer):
        raise InputError(f"each of {n} boxes needs the number of a class, got {label.shape}.")
    turn = as_numbers("rotation", rotation).astype(np.float32)
    shift = as_numbers("translation", translation).astype(np.float32)
    AlignedStack(boxes, turn, shift, scale)  # refuses what does not fit before any work
    volumes = turn.ndim == 3
    if volumes:
        check_volumes(boxes, wedge)
    size = None if scale is None else np.asarray(scale, np.float32)
    nothing = np.zeros((n, 0), np.float32)
    found = Encoding(turn, shift, np.zeros(n, np.float32), nothing, size)
    stand = Stand(found, label, split_in_halves(n, None, label, seed))
    return _summarise(boxes, stand, label, (wedge,) if volumes else None)


def _summarise(
    boxes: Any, stand: Stand, label: NDArray[np.integer], of_volumes: tuple[Wedges] | None
) -> Generator[Progress, None, list[ClassAverage]]:
    before, total = 0, int((label >= 0).sum())
    for name in np.unique(label[label >= 0]).tolist():
        jobs: Any = average_images if of_volumes is None else _of_volumes
        more: Any = of_volumes or (AlignConfig(),)
        for step in jobs(boxes, stand, name, *more):
            last = isinstance(step, Progress) and step.done == step.total
            if isinstance(step, Progress) and (last or step.done % _EVERY == 0):
                yield Progress(before + step.done, total, f"average of class {name}")
        before += len(stand.rows(name))
    return list(stand.alignment().averages)


def _of_volumes(
    boxes: Any, stand: Stand, name: int, wedge: Wedges
) -> Generator[Progress, None, None]:
    job = Watched(stand.volumes(boxes, wedge, name).average(RefinementConfig()))
    for step in job:
        if isinstance(step, Progress):
            yield step
    stand.take(name, job.result, 0)
