"""Poses and content of a stack of boxes, of images or of volumes."""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..geometry import InputError, Poses, check_array, check_type
from ..models import (
    OutOfMemory,
    SavedModel,
    can_pick,
    choose_device,
    free_memory,
    is_out_of_memory,
)
from ._drawn_pictures import DrawnPictures
from ._drawn_structures import DrawnStructures
from ._fit_in_box import fit_in_box
from ._fit_to_model import check_kind_of_boxes
from ._progress import Notice, Progress, finish
from ._refine import decode_templates, refine_poses


class Encoding(NamedTuple):
    """What a model says of each of ``n`` boxes."""

    rotation: NDArray[np.float32]
    """Shape (n,), radians, counter-clockwise as displayed; of volumes (n, 3, 3), matrices that act
    on columns (z, y, x)."""
    translation: NDArray[np.float32]
    """Shape (n, 2) or (n, 3), pixels ((z,) y, x) from the centre pixel of the box."""
    score: NDArray[np.float32]
    """Shape (n,): part of the pixels' power that the decoded object explains; at most 1."""
    content: NDArray[np.float32]
    """Shape (n, content_dim)."""
    scale: NDArray[np.float32] | None = None
    """Shape (n,), by how much each object is enlarged, where the system infers it."""
    contrast: NDArray[np.float32] | None = None
    """Shape (n,), gain of each object's intensities, where the system infers it."""
    category: NDArray[np.int64] | None = None
    """Shape (n,), the most likely category of each, where the system has its own."""
    brightness: NDArray[np.float32] | None = None
    """Shape (n,), what is added to each object's intensities, in units of the normalised pixels,
    where the system infers it."""


def encode(
    saved: SavedModel,
    stack: NDArray[np.generic],
    *,
    refine: bool = True,
    device: str = "auto",
    batch_size: int | None = None,
) -> Generator[Progress | Notice, None, Encoding]:
    """Infer pose and content of every box of a stack.

    Parameters
    ----------
    saved : SavedModel
        Its normalisation is applied to each box.
    stack : array, shape (n, y, x), (n, y, x, 3) or (n, z, y, x)
        Boxes of the size the model was trained on; may be memory-mapped.
    refine : bool
        Fit what the model draws to the pixels: for a sub-pixel pose, with a system whose encoder
        is fully convolutional; with any other model that began with structures that a search
        found, at all rotations of all of them, and the content is that of the best. Of images only
        where that fits better than what the encoder says.
    device : str
        As for `models.choose_device`.
    batch_size : int, optional
        Boxes at a time; by default 100 images or 8 volumes.

    Yields
    ------
    Progress
        After each batch.
    Notice
        Where memory runs out the work goes on with smaller batches, and this says so.

    Returns
    -------
    Encoding

    Raises
    ------
    InputError
        If the boxes do not fit the model.
    OutOfMemory
        If memory runs out with a single box.

    Notes
    -----
    Weights and images are float32 on every device. On CUDA, PyTorch lets convolutions multiply in
    TF32, with 10 bits after the point, unless ``torch.backends.cudnn.allow_tf32`` is False; scores
    and content then differ from those of the CPU in the fourth digit or so. That switch is of the
    whole process, so it is left to those whose process it is.
    """
    check_boxes(saved, stack)
    choose_device(device)
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}.")
    return _encode(saved, stack, refine, device, batch_size)


def check_boxes(saved: SavedModel, stack: NDArray[np.generic]) -> None:
    """Refuse boxes that do not fit a model.

    Raises
    ------
    InputError
    """
    check_type("saved", saved, SavedModel)
    check_array("stack", stack)
    check_kind_of_boxes(saved, stack.shape)
    if not len(stack):
        raise InputError("the stack holds no boxes.")


def _encode(
    saved: SavedModel,
    stack: NDArray[np.generic],
    refine: bool,
    device: str,
    batch_size: int | None,
) -> Generator[Progress | Notice, None, Encoding]:
    config, volumes = saved.model.config, 3 in saved.model.capabilities.dimensions
    target = choose_device(device)
    saved = saved.on(target)
    structures: DrawnStructures | DrawnPictures | None = None
    if refine and not can_pick(saved.model):
        structures = (DrawnStructures if volumes else DrawnPictures).of(saved)
    sides = (config.box_size,) * (3 if volumes else 2)

    def encoded(rows: slice) -> Encoding:
        raw = np.asarray(stack[rows])
        if config.channels == 3:
            raw = np.moveaxis(raw, -1, 1)
        images = torch.from_numpy(saved.normalisation.of_stack(raw)).to(target)
        images = images.reshape(len(images), config.channels, *sides)
        return _encode_batch(saved, images, refine, structures)

    return (
        yield from _in_batches(encoded, len(stack), target, batch_size or (8 if volumes else 100))
    )


def _in_batches(
    encoded: Callable[[slice], Encoding], n: int, target: torch.device, batch_size: int
) -> Generator[Progress | Notice, None, Encoding]:
    """Encode ``n`` boxes, as many at a time as memory holds."""
    parts: list[Encoding] = []
    first = 0
    while first < n:
        last = min(first + batch_size, n)
        try:
            parts.append(encoded(slice(first, last)))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            first = last
            yield Progress(first, n, "encoding")
            continue
        # The error is gone here, and with it the frames that held its tensors.
        free_memory(target)
        if batch_size == 1:
            raise OutOfMemory(
                f"the memory of {target} does not hold the work on a single box: try the device "
                "cpu."
            )
        batch_size = (min(batch_size, n) + 1) // 2
        yield Notice(f"memory of {target} ran out: going on with {batch_size} boxes at a time")
    whole: list[Any] = [
        None if column[0] is None else np.concatenate(column) for column in zip(*parts, strict=True)
    ]
    return Encoding(*whole)


def least_score(saved: SavedModel, boxes: torch.Tensor, device: str = "auto") -> float:
    """Score that an object in a box hardly falls below: to tell objects from chance fits.

    Parameters
    ----------
    saved : SavedModel
    boxes : Tensor, shape (n, channels, box_size, box_size)
        Normalised, each with an object; the first 500 are looked at.

    Returns
    -------
    float
        Four fifths of the first percentile, and at least 0.02.
    """
    target = choose_device(device)
    saved, few = saved.on(target), boxes[:500]

    def encoded(rows: slice) -> Encoding:
        return _encode_batch(saved, few[rows].to(target), refine=True)

    scores = finish(_in_batches(encoded, len(few), target, 100)).score
    return max(float(0.8 * np.percentile(scores, 1)), 0.02)


@torch.no_grad()
def _encode_batch(
    saved: SavedModel,
    images: torch.Tensor,
    refine: bool,
    structures: DrawnStructures | DrawnPictures | None = None,
) -> Encoding:
    posterior = saved.model.infer(images)
    if isinstance(structures, DrawnPictures):
        posterior = structures.find(saved, images, posterior)
    elif structures is not None:
        posterior = structures.find(images, posterior)
    poses = posterior.poses
    if can_pick(saved.model):
        assert isinstance(poses, Poses)
        templates = decode_templates(saved, posterior.content)
        poses, score, _ = refine_poses(images, templates, poses, iterations=8 if refine else 0)
    else:
        score = fit_in_box(saved.model, images, posterior)
    found = (poses.rotation, poses.translation, score, posterior.content)
    category = None if posterior.categories is None else posterior.categories.argmax(1)
    more = (posterior.scale, posterior.contrast, category, posterior.brightness)
    columns: list[Any] = [None if c is None else c.cpu().numpy() for c in (*found, *more)]
    return Encoding(*columns)
