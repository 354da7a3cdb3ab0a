"""From the settings of a run and its images to all that `train` wants."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import ContrastTransfer, InputError
from ..inference._outlines import Outlines, single_boxes
from ..inference._power_search import PowerModel
from ..inference._shape_search import ShapeObjects
from ..models import Normalisation, TargetVAEConfig
from ._kinds import changed, check_finds_in, check_kind, check_learns_from
from ._prepare import boxes_from_images, boxes_from_stack
from ._proposals import Candidates, Search, in_noise, is_noisy, search
from ._run_file import TrainingRun
from ._training_config import TrainingConfig, lasting
from ._wake_sleep import Decoys

_LEAST_BOXES = 10
_LEAST_OF_STACK = 8
_SEEN_IN_INTENSITIES = ("scale_range", "contrast_range", "brightness_range")
_STRUCTURES, _LATER_RATE = 8, 1e-3
ENOUGH_TO_SORT = 20
_MOST_TO_SORT = 3000


class PreparedRun(NamedTuple):
    """All that `train` wants, made from a run's settings and its images."""

    boxes: Tensor
    """Shape (n, channels, box_size, box_size), of volumes with a third box_size."""
    model_config: Any
    """Of the class that the kind of the run says."""
    training_config: TrainingConfig
    normalisation: Normalisation
    positions: list[NDArray[np.float32]]
    """For each large image or volume the centres ((z,) y, x) of its boxes, in pixels; empty for a
    stack."""
    images: tuple[NDArray[Any], ...] = ()
    """Large images or volumes to look at again with what was learnt from the first boxes; none for
    a stack or for boxes around given positions."""
    ctf: ContrastTransfer | None = None
    """Of each box of a stack."""
    targets: Tensor | None = None
    """The objects of the boxes, aligned, of the same shape."""
    pixel_size: float | None = None
    """Angstrom a pixel of the images, where that is known."""
    outlines: Outlines | None = None
    """How the objects were found, where outlines tell them."""
    objects: list[ShapeObjects] | None = None
    """The same objects, in the order of the boxes, one entry an image."""
    decoys: Decoys | None = None
    """What of noise looks like an object, where classes are to be looked for in noise."""
    power: PowerModel | None = None
    """How the objects were found in noise, where their power tells them."""
    rival: "PreparedRun | None" = None
    """Another answer to where the objects are; the classes of their boxes tell which is right."""


def prepare_stack(
    run: TrainingRun, stack: NDArray[Any], targets: NDArray[Any] | None = None
) -> PreparedRun:
    """Make boxes and configurations for a run on a stack of boxes.

    Parameters
    ----------
    run : TrainingRun
    stack : array, shape (n, y, x), (n, y, x, 3) or (n, z, y, x)
    targets : array of the same shape, optional
        The same objects aligned, in the same order; scaled as the boxes are.

    Raises
    ------
    InputError
        If the stack or a setting can't be used.
    """
    if targets is not None:
        run = replace(run, settings={"invariance": "supervised", **run.settings})
    if len(stack) < _LEAST_OF_STACK:
        raise InputError(
            f"{len(stack)} boxes are too few to learn from; give at least {_LEAST_OF_STACK}."
        )
    likelihood = _likelihood(run)
    if likelihood == "auto":
        likelihood = choose_likelihood(stack)
    normalisation = _normalisation(likelihood)
    told = any(run.settings.get(name) for name in _SEEN_IN_INTENSITIES)
    if told and normalisation.kind == "standard":
        # What is to be inferred must not be taken out of each box before; and the larger an
        # object, the more of the spread of its box is its own.
        normalisation = Normalisation.shared_by(stack)
    boxes, positions = boxes_from_stack(stack, normalisation)
    prepared = _prepared(run, boxes, positions, likelihood, normalisation)
    if (targets is None) == (getattr(prepared.model_config, "invariance", None) == "supervised"):
        raise InputError("aligned targets and invariance=supervised go together; give both.")
    if targets is None:
        return prepared
    if targets.shape != stack.shape:
        raise InputError(
            f"the targets have shape {targets.shape} and the boxes {stack.shape}: give one aligned "
            "target for each box, of its size."
        )
    return prepared._replace(targets=boxes_from_stack(targets, normalisation).boxes)


def prepare_images(
    run: TrainingRun,
    images: Sequence[NDArray[Any]],
    positions: Sequence[NDArray[np.floating[Any]]] | None = None,
    *,
    examples: Sequence[NDArray[Any] | None] | None = None,
) -> PreparedRun:
    """Make boxes and configurations for a run on large images (y, x) or (y, x, 3).

    Parameters
    ----------
    run : TrainingRun
        With a box size.
    images : sequence of array
    positions : sequence of array, shape (n, 2), optional
        Centres (y, x) of the boxes in each image, in pixels; proposed when not given.
    examples : sequence of array, shape (n, 2), or None, optional
        Centers of a few objects in each image, to propose others like them.

    Raises
    ------
    InputError
        If an image or a setting can't be used, or no candidate is found.
    """
    if positions is None:
        check_finds_in(run.model, 2)
    check_learns_from(run.model, 2)
    if run.box_size is None:
        raise InputError("a box size is wanted to find objects in large images.")
    if len({image.ndim for image in images}) > 1:
        raise InputError("some of the images are grey and some in colour; train on one kind.")
    likelihood = _likelihood(run)
    if likelihood == "auto":
        likelihood = "gaussian"
    # The box of the model has room around the object for what a rough position misses.
    model_box = 2 * round(0.625 * run.box_size)
    if positions is None:
        found = search(images, run.box_size, run.polarity, examples)
        if found.outlines is not None and likelihood == "gaussian":
            _check_count(sum(len(each.positions) for each in found.candidates), run.box_size)
            return _outlined(run, images, found, model_box)
        return _one_of(run, images, found, likelihood, model_box)
    if examples is not None:
        raise InputError("examples help to find objects: give them, or the positions of all.")
    normalisation = _image_normalisation(run, images, likelihood, _polarity(images, positions, run))
    boxes, places = boxes_from_images(images, model_box, normalisation, positions)
    follow = _for_images(run, normalisation)
    return _prepared(run, boxes, places, likelihood, normalisation, follow)


def _one_of(
    run: TrainingRun,
    images: Sequence[NDArray[Any]],
    found: Search,
    likelihood: str,
    model_box: int,
) -> PreparedRun:
    """Make boxes of what examples speak for; or of blobs, with those of power as their rival."""
    assert run.box_size is not None
    answers: list[tuple[Sequence[Candidates], PowerModel | None, int]] = [
        (found.candidates, None, found.hits[0])
    ]
    if found.power is not None and likelihood == "gaussian":
        answers.append((found.power.candidates, found.power.model, found.hits[1]))
    counts = [sum(len(each.positions) for each in candidates) for candidates, *_ in answers]
    sortable = run.preset != "paper" and run.settings.get("structures") != 0
    noisy = sortable and likelihood == "gaussian"  # or else there were outlines
    least = ENOUGH_TO_SORT if noisy else _LEAST_BOXES
    _check_count(max(counts), run.box_size, least)
    enough = [each for each, n in zip(answers, counts, strict=True) if n >= least]
    most = max(hits for *_, hits in enough)
    first, *others = [
        _found(run, images, candidates, likelihood, model_box, power)
        for candidates, power, hits in enough
        if hits == most
    ]
    sorted_ = first.training_config.structures and first.power is None
    return first._replace(rival=others[0]) if others and sorted_ else first


def _image_normalisation(
    run: TrainingRun,
    images: Sequence[NDArray[Any]],
    likelihood: str,
    polarity: Literal["dark", "bright"],
) -> Normalisation:
    assert run.box_size is not None
    if likelihood == "gaussian":
        return _flattening(images, run.box_size, polarity)
    return Normalisation(kind="unit")


def _found(
    run: TrainingRun,
    images: Sequence[NDArray[Any]],
    candidates: Sequence[Candidates],
    likelihood: str,
    model_box: int,
    power: PowerModel | None,
) -> PreparedRun:
    """Make boxes of candidates; of what their power does not tell, also of decoys."""
    assert run.box_size is not None
    polarity = candidates[0].polarity
    normalisation = _image_normalisation(run, images, likelihood, polarity)
    positions = [each.positions for each in candidates]
    boxes, places = boxes_from_images(images, model_box, normalisation, positions)
    follow = _for_images(run, normalisation)
    prepared = _prepared(run, boxes, places, likelihood, normalisation, follow)
    prepared = prepared._replace(images=tuple(images), power=power)
    if prepared.training_config.structures and power is None:
        decoys = _decoys(images, run.box_size, polarity, places, normalisation, model_box)
        return prepared._replace(decoys=decoys)
    return prepared


def _outlined(
    run: TrainingRun, images: Sequence[NDArray[Any]], found: Search, model_box: int
) -> PreparedRun:
    """Make boxes of objects whose outlines are known, each without the others."""
    assert found.outlines is not None and found.objects is not None and run.box_size is not None
    normalisation = _flattening(images, run.box_size, found.candidates[0].polarity)
    boxes = torch.cat(
        [
            single_boxes(image, objects, normalisation, run.box_size, model_box)
            for image, objects in zip(images, found.objects, strict=True)
        ]
    )
    places = [candidates.positions for candidates in found.candidates]
    follow = _for_images(run, normalisation)
    prepared = _prepared(run, boxes, places, "gaussian", normalisation, follow)
    return prepared._replace(outlines=found.outlines, objects=found.objects)


def _decoys(
    images: Sequence[NDArray[Any]],
    box_size: int,
    polarity: Literal["dark", "bright"],
    places: Sequence[NDArray[np.float32]],
    normalisation: Normalisation,
    model_box: int,
) -> Decoys:
    """Boxes of the negatives of images, which hold the same noise and no objects."""
    parts, among = list[Tensor](), 0
    for image, mine in zip(images, places, strict=True):
        negative = -np.asarray(image, np.float32)
        among += len(mine)
        (found,), _ = in_noise([negative], box_size, -1 if polarity == "dark" else 1)
        if len(found.positions):
            job = boxes_from_images([negative], model_box, normalisation, [found.positions])
            parts.append(job.boxes)
        if among >= _MOST_TO_SORT:
            break
    channels = 3 if images[0].ndim == 3 else 1
    return Decoys(torch.cat([torch.empty(0, channels, model_box, model_box), *parts]), among)


def _check_count(n: int, box_size: int, least: int = _LEAST_BOXES) -> None:
    if n < least:
        raise InputError(
            f"only {n} candidates for objects in boxes of {box_size} pixels were found, and "
            f"training needs at least {least}: check the box size and the polarity, or "
            "give more images."
        )


def _polarity(
    images: Sequence[NDArray[Any]],
    positions: Sequence[NDArray[np.floating[Any]]],
    run: TrainingRun,
) -> Literal["dark", "bright"]:
    """Polarity of the objects at given positions: by the level of their middles."""
    assert run.box_size is not None
    if run.polarity != "either":
        return run.polarity
    flat = Normalisation(background_sigma=float(run.box_size))
    size = max(run.box_size // 4, 1)
    boxes = boxes_from_images(images, size, flat, positions).boxes
    return "dark" if float(boxes.median()) < 0 else "bright"


def _flattening(
    images: Sequence[NDArray[Any]], box_size: int, polarity: Literal["dark", "bright"]
) -> Normalisation:
    """Choose how to flatten images: sharply where there is little noise, gently else."""
    if is_noisy(images[0], box_size):
        return Normalisation(background_sigma=float(box_size), clip=4.0)
    return Normalisation(background_sigma=0.375 * box_size, polarity=polarity)


def _for_images(run: TrainingRun, normalisation: Normalisation) -> dict[str, Any]:
    """Give the settings of the model that follow from the size of an object in a large image."""
    size = run.box_size
    assert size is not None
    follow = {
        "object_size": size + 1 - size % 2,
        "translation_range": size / 6,
        "translation_std": size / 12,
        "focus": 0.32 * size,
        "binning": max(1, round(size / 16)),
    }
    if _is_noisy(normalisation):
        # Finer detail would be noise: some hundred boxes do not average it out.
        follow["feature_length"] = size / 10
    return {name: value for name, value in follow.items() if name not in run.settings}


def _noisy_start(run: TrainingRun, training: TrainingConfig) -> dict[str, Any]:
    """Give the settings of training that begins with classes: what was found is soon improved."""
    follow: dict[str, Any] = {"structures": _STRUCTURES, "learning_rate": _LATER_RATE}
    if run.epochs is None:
        follow["epochs"] = max(training.epochs // 2, 1)
    return {name: value for name, value in follow.items() if name not in run.settings}


def _is_noisy(normalisation: Normalisation) -> bool:
    """Whether `_flattening` found so much noise."""
    return normalisation.kind == "standard" and normalisation.polarity is None


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
    if "likelihood" in check_kind(run.model).without:
        return "gaussian"
    return str(run.settings.get("likelihood", run.likelihood))


def _normalisation(likelihood: str) -> Normalisation:
    return Normalisation(kind="unit" if likelihood == "bernoulli" else "standard")


def _prepared(
    run: TrainingRun,
    boxes: Tensor,
    positions: list[NDArray[np.float32]],
    likelihood: str,
    normalisation: Normalisation,
    follow: dict[str, Any] | None = None,
) -> PreparedRun:
    n, channels, box_size = boxes.shape[:3]
    model, training = run.configurations(
        dimensions=boxes.ndim - 2,
        box_size=box_size,
        channels=channels,
        n_images=n,
        likelihood=likelihood,
    )
    if follow and run.preset != "paper":
        model = changed(model, follow)
        if run.epochs is None and "epochs" not in run.settings:
            # Boxes of one image are few and show neighbours: long training learns those by heart.
            training = lasting(training, max(training.epochs * 3 // 5, 1))
        sortable = isinstance(model, TargetVAEConfig) and n >= ENOUGH_TO_SORT
        wanted = run.settings.get("structures") != 0
        if sortable and wanted and _is_noisy(normalisation):
            training = replace(training, **_noisy_start(run, training))
    return PreparedRun(boxes, model, training, normalisation, positions)
