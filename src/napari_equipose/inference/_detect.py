"""Objects in a large image: the encoder run over all of it, its peaks explained one by one."""

from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import InputError, check_array, check_type, wrap_angle
from ..models import OutOfMemory, SavedModel, can_pick, choose_device, free_memory, is_out_of_memory
from ._detect_by_power import detect_by_power, power_of
from ._detection_config import DetectionConfig, Picks
from ._explain import Explanation
from ._fit_to_model import check_kind_of_image
from ._outlines import detect_by_outline, outlines_of
from ._peaks import Candidates, find_candidates
from ._progress import Notice, Progress
from ._refine import Templates

USUAL_THRESHOLD = 0.2
_LEAST_TILE = 16
_TILES_AT_ONCE = 256
"""Boxes fitted at a time hold as many pixels as this number of tiles."""


def detect(
    saved: SavedModel,
    image: NDArray[Any],
    config: DetectionConfig = DetectionConfig(),
    *,
    device: str = "auto",
) -> Generator[Progress | Notice, None, Picks]:
    """Find every object of an image.

    Where the model was trained on objects with outlines, those find them again, and the model
    tells rotation and content; so too where it was trained on objects that were found in noise by
    their power. Else the encoder runs fully convolutionally over the image. Each peak of its
    attention is decoded at its likeliest rotations, fitted to the pixels, and objects are taken in
    the order of how much they explain that is not explained yet; then the encoder looks at what is
    left.

    Parameters
    ----------
    saved : SavedModel
        Of a system that is fully convolutional.
    image : array, shape (y, x) or (y, x, 3)
        At the pixel size the model was trained at; normalised as the training images were.
    config : DetectionConfig
    device : str
        As for `models.choose_device`.

    Yields
    ------
    Progress or Notice
        Where memory runs out the work begins again with smaller tiles, and a `Notice` says so.

    Returns
    -------
    Picks
        Sub-pixel positions; possibly none.

    Raises
    ------
    InputError
        If the image does not fit the model or the model can't run over images.
    OutOfMemory
        If memory runs out with the smallest tiles too.
    """
    check_type("config", config, DetectionConfig)
    check_search(saved, image, device)
    return _detect(saved, image, config, device)


def _detect(
    saved: SavedModel, image: NDArray[Any], config: DetectionConfig, device: str
) -> Generator[Progress | Notice, None, Picks]:
    threshold = config.threshold
    if threshold is None:
        threshold = threshold_of(saved)
    outlines = outlines_of(saved)
    if outlines is not None:
        picks = yield from detect_by_outline(saved, outlines, image, config, threshold, device)
        return picks
    power = power_of(saved)
    if power is not None:
        picks = yield from detect_by_power(saved, power, image, config, threshold, device)
        return picks
    found, _ = yield from search(saved, image, config, threshold, device)
    return Picks(
        *(
            column.cpu().numpy().astype(np.float32)
            for column in (found.position, wrap_angle(found.rotation), found.score, found.content)
        )
    )


def threshold_of(saved: SavedModel) -> float:
    """Score that parts objects from chance fits in the images a model was trained on."""
    return float(saved.record.get("threshold", USUAL_THRESHOLD))


def search(
    saved: SavedModel,
    image: NDArray[Any],
    config: DetectionConfig,
    threshold: float,
    device: str = "auto",
    negative: bool = False,
) -> Generator[Progress | Notice, None, tuple["Objects", Explanation]]:
    """Do the work of `detect`; return the objects with all that was used to draw them.

    The explanation's residual is the normalised image without the objects. With ``negative``
    the image is mirrored about its median first, so that what is found are chance fits.
    """
    check_search(saved, image, device)
    target, tile = choose_device(device), config.tile_size
    normalised = np.moveaxis(np.atleast_3d(saved.normalisation.of_image(image)), -1, 0)
    if negative:
        normalised = 2 * np.median(normalised, (1, 2), keepdims=True) - normalised
    pixels = torch.from_numpy(np.ascontiguousarray(normalised, np.float32))[None]
    while True:
        try:
            result = yield from _search(saved, pixels.to(target), config, threshold, tile)
            return result
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # The error is gone here, and with it the frames that held its tensors.
        free_memory(target)
        if tile <= _LEAST_TILE:
            raise OutOfMemory(
                f"the memory of {target} does not hold the work on this image: try the device "
                "cpu, or a part of the image."
            )
        tile = max(tile // 2, _LEAST_TILE)
        yield Notice(f"memory of {target} ran out: beginning again in tiles of {tile} pixels")


def _search(
    saved: SavedModel,
    pixels: Tensor,
    config: DetectionConfig,
    threshold: float,
    tile_size: int,
) -> Generator[Progress, None, tuple["Objects", Explanation]]:
    saved = saved.on(pixels.device)
    size = saved.model.config.canonical_size
    min_distance = config.min_distance or size / 8
    explanation = Explanation(pixels, size, _TILES_AT_ONCE * tile_size**2)
    found: Objects | None = None
    for round_ in range(config.rounds):
        seen = explanation.residual[None, :, explanation.pad :, explanation.pad :]
        seen = seen[..., : pixels.shape[-2], : pixels.shape[-1]]
        candidates = yield from find_candidates(saved, seen, tile_size, min_distance)
        yield Progress(round_, config.rounds, "fitting poses")
        new = _take(explanation, candidates, threshold)
        found = new if found is None else found.join(new)
        if len(new.score) == 0:
            break
        found = yield from _settle(explanation, found)
    assert found is not None
    score = explanation.score(found.position, found.rotation, found.templates)
    found = found._replace(score=score)
    keep = (found.score >= threshold) & _inside(found.position, pixels)
    found = found.select(keep.nonzero().squeeze(1))
    found = found.select(found.score.argsort(descending=True))
    found = found.select(explanation.uncovered(found.position, found.rotation, found.templates))
    explanation.redraw(found.position, found.rotation, found.templates)
    return found, explanation


def _inside(position: Tensor, pixels: Tensor) -> Tensor:
    """Which positions (n, 2) lie in an image (..., y, x)."""
    (y, x), (height, width) = position.unbind(1), pixels.shape[-2:]
    return (y >= -0.5) & (y < height - 0.5) & (x >= -0.5) & (x < width - 0.5)


def check_search(saved: SavedModel, image: NDArray[Any], device: str) -> None:
    """Refuse what no search can be done with, before it begins.

    Raises
    ------
    InputError
    """
    check_type("saved", saved, SavedModel)
    config = saved.model.config
    if not saved.model.capabilities.fully_convolutional:
        raise InputError(
            f"a {saved.kind} model has no encoder that runs over a large image; cut boxes and "
            "use 'encode', or train a TARGET-VAE."
        )
    if not can_pick(saved.model):
        raise InputError(
            f"a {saved.kind} model says that it runs over large images, but its package does not "
            "do what models.SupportsPicking and models.PickingConfig ask for that; cut boxes and "
            "use 'encode'."
        )
    check_array("image", image)
    shape = image.shape
    check_kind_of_image(saved, shape)
    if min(shape[:2]) < config.canonical_size:
        raise InputError(
            f"the image of {shape[0]} x {shape[1]} pixels is smaller than an object of "
            f"{config.canonical_size} pixels."
        )
    choose_device(device)


class Objects(NamedTuple):
    """Objects of an image with their pictures."""

    position: Tensor
    rotation: Tensor
    score: Tensor
    content: Tensor
    templates: Templates

    def select(self, rows: Tensor) -> "Objects":
        """Return those of some rows."""
        position, rotation, score, content, templates = self
        return Objects(
            position[rows], rotation[rows], score[rows], content[rows], templates.select(rows)
        )

    def join(self, other: "Objects") -> "Objects":
        """Return both, one after the other."""
        return Objects(
            torch.cat((self.position, other.position)),
            torch.cat((self.rotation, other.rotation)),
            torch.cat((self.score, other.score)),
            torch.cat((self.content, other.content)),
            self.templates.join(other.templates),
        )


def _take(explanation: Explanation, candidates: Candidates, threshold: float) -> Objects:
    """Fit candidates to what is left of the image and take those that explain enough of it."""
    empty = candidates.position.new_zeros(len(candidates.position))
    objects = Objects(
        candidates.position, candidates.rotation, empty, candidates.content, candidates.templates
    )
    for steps, least in ((2, threshold / 4), (5, threshold / 2)):  # most are dropped early
        position, rotation, score, templates = explanation.refine(
            *objects[:2], objects.templates, None, steps
        )
        objects = Objects(position, rotation, score, objects.content, templates)
        objects = objects.select((score > least).nonzero().squeeze(1))
    taken = explanation.accept(*objects[:2], objects.templates, threshold / 2)
    return objects.select(torch.from_numpy(taken).to(position.device))


def _settle(
    explanation: Explanation, objects: Objects, sweeps: int = 2
) -> Generator[Progress, None, Objects]:
    """Fit all objects again, each to the image without the others; score them so."""
    for sweep in range(sweeps):
        own = explanation.draw(*objects[:2], objects.templates)[0]
        position, rotation, score, templates = explanation.refine(
            *objects[:2], objects.templates, own, steps=4
        )
        objects = Objects(position, rotation, score, objects.content, templates)
        explanation.redraw(*objects[:2], objects.templates)
        yield Progress(sweep + 1, sweeps, "fitting poses")
    return objects
