"""How well an object fits when it is turned, and which symmetry that shows."""

from collections.abc import Generator
from math import pi
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from torch import Tensor

from ..geometry import (
    InputError,
    Poses,
    apply_poses,
    as_numbers,
    box_centre,
    check_array,
    check_type,
    smooth_disc_mask,
)
from ..models import SavedModel
from ._latent_drawings import checked_content
from ._progress import Progress
from ._symmetric_centre import symmetric_centre

_BATCH = 50
_MOST_OBJECTS = 500  # more would hardly change what is said
_FEWEST_ANGLES = 48  # four to each twelfth of a turn
_MOST_FOLD = 12
_ALIKE = 0.95
_LEAST_SHAPE = 0.01  # of an object's power: the grid of the pixels alone makes a part of that


class RotationProfile(NamedTuple):
    """How well the objects of a class fit after a turn, on an average."""

    angle: NDArray[np.float64]
    """Shape (n_angles,), radians from 0, counter-clockwise as displayed; 0 is how each object lies
    best."""
    likeness: NDArray[np.float64]
    """Shape (n_angles,): 1 where an object fits as well as it lies best, 0 as well as after any
    turn on an average, negative where it fits worse."""
    posterior: NDArray[np.float64]
    """Shape (n_angles,), sums to 1: the mean over the objects of what half of what is known of
    each says of its rotation."""
    fits: NDArray[np.float64]
    """Shape (n, n_angles): ``likeness`` of each object, not scaled."""
    power: float
    """The mean of the fits where objects lie best, were the means of the rings not taken out."""


class Symmetry(NamedTuple):
    """What a class of objects looks like."""

    fold: int
    """2 for twofold, and so on; 1 for none; 0 where no turn can be told from another: the objects
    are round, or their boxes show too little."""
    confidence: float
    """From a half to 1 by the noise alone; what the model never learnt it does not know."""


def rotation_profile(
    saved: SavedModel,
    boxes: Any,
    content: ArrayLike,
    translation: ArrayLike,
    *,
    rotation: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    n_angles: int = 360,
    seed: int = 0,
) -> Generator[Progress, None, RotationProfile]:
    """Turn the decoded object of each box all around, and see how well it fits.

    Parameters
    ----------
    saved : SavedModel
        Of images; it stays on the device where it is.
    boxes : array, shape (n, y, x) or (n, y, x, 3)
        Objects of one class; 500 of them, chosen at random, are read where there are more.
    content : array_like, shape (n, k)
        As the model infers it.
    translation : array_like, shape (n, 2)
        Pixels (y, x) from the centre pixel of the box to the object.
    rotation : array_like, shape (n,), optional
        Radians, as inferred. With it the objects are turned about the point that they look most
        symmetric about; without it about the model's origin, which may lie elsewhere in them.
    scale : array_like, shape (n,), optional
        By how much each object is enlarged.
    n_angles : int
        How many turns are tried, at least 48.
    seed : int
        Of the choice of boxes, and of the noise of their copies.

    Yields
    ------
    Progress
        After each batch.

    Returns
    -------
    RotationProfile

    Raises
    ------
    InputError
        If the model is of volumes, or boxes, contents and translations do not fit together.

    Notes
    -----
    The fit is the product of the box and the decoded object on rings about the object's origin,
    without the mean of each ring, which no turn changes. Where the angle 0 is, is chosen by one
    copy of each box and the fit is that of another; else noise would favour the one angle, of
    several that are equal, that was chosen for its noise. Noise like the box's own, added to one
    copy and taken from the other, makes their noise independent. The rotation that was inferred
    from the box as it is can therefore not be used, but to tell where the middle of the object is.

    References
    ----------
    J. Leiner et al., "Data fission: splitting a single data point", JASA 2023: the two copies.
    """
    check_type("saved", saved, SavedModel)
    check_array("boxes", boxes)
    if 3 in saved.model.capabilities.dimensions:
        raise InputError("symmetry is told of images; the model is of volumes.")
    if n_angles < _FEWEST_ANGLES:
        raise InputError(f"at least {_FEWEST_ANGLES} angles are wanted, got {n_angles}.")
    contents = checked_content(saved, content).astype(np.float32)
    shifts, n = as_numbers("translation", translation).astype(np.float32), len(boxes)
    sizes = np.ones(n, np.float32) if scale is None else np.asarray(scale, np.float32)
    if tuple(boxes.shape[1:]) != saved.box_shape or not n:
        raise InputError(
            f"boxes of shape {saved.box_shape} are wanted, got shape {tuple(boxes.shape)}."
        )
    if {len(contents), len(shifts), len(sizes)} != {n}:
        raise InputError(f"each of {n} boxes needs one content and one translation.")
    turns = None if rotation is None else np.asarray(rotation, np.float32)
    return _rotation_profile(saved, boxes, (contents, shifts, sizes), turns, n_angles, seed)


def _rotation_profile(
    saved: SavedModel,
    boxes: Any,
    objects: tuple[NDArray[np.float32], ...],
    rotation: NDArray[np.float32] | None,
    n_angles: int,
    seed: int,
) -> Generator[Progress, None, RotationProfile]:
    contents, shifts, sizes = objects
    n = len(contents)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(n, min(n, _MOST_OBJECTS), replace=False))
    centre = torch.zeros(2)
    if rotation is not None:
        centre = symmetric_centre(_drawn(saved, torch.from_numpy(contents[rows[:_BATCH]])))
        poses = Poses(torch.from_numpy(rotation), torch.from_numpy(shifts))
        shifts = poses.move(torch.from_numpy(sizes)[:, None, None] * centre)[:, 0].numpy()
    parts: list[_Fits] = []
    for first in range(0, len(rows), _BATCH):
        some = rows[first : first + _BATCH]
        raw = np.stack([np.asarray(boxes[row]) for row in some.tolist()])
        told = contents[some], shifts[some], sizes[some]
        parts.append(_fits(saved, raw, told, centre, n_angles, rng))
        yield Progress(first + len(some), len(rows), "turning")
    columns: list[NDArray[np.float64]] = [np.concatenate(one) for one in zip(*parts, strict=True)]
    fits, posterior, power = columns
    mean = fits.mean(0)
    likeness = mean / mean[0] if mean[0] > 0 else np.zeros(n_angles)
    angle = np.linspace(0, 2 * pi, n_angles, endpoint=False)
    return RotationProfile(angle, likeness, posterior.mean(0), fits, float(power.mean()))


def suggest_symmetry(profile: RotationProfile) -> Symmetry:
    """Say whether objects look the same after a part of a turn.

    They look n-fold, of 2 to 12, if turns by the multiples of 360/n degrees leave on an average
    19 parts in 20 of the likeness. Of several such n the largest is meant: what is sixfold is
    twofold and threefold too. How sure that is follows from how the objects differ.

    Parameters
    ----------
    profile : RotationProfile

    Returns
    -------
    Symmetry
        Its confidence is the probability that the mean over infinitely many such objects is on
        the same side of the bound; where the objects look like no symmetry, of that which they
        look most like. A model that drew a symmetric object of an almost symmetric one, because
        it could not tell how that lies, lets it look symmetric here.
    """
    fits = profile.fits
    at_zero = fits[:, 0]
    error = max(_error(at_zero), np.finfo(float).tiny)
    bound = max(_LEAST_SHAPE * profile.power, 3 * error)
    if at_zero.mean() <= bound:
        return Symmetry(0, float(norm.cdf((bound - at_zero.mean()) / error)))
    strength = np.fft.rfft(fits, axis=1).real / fits.shape[1]
    strength[:, 1:] *= 2  # the curve at 0 is the sum of these over all orders
    likely = {fold: _probability(strength, at_zero, fold) for fold in range(2, _MOST_FOLD + 1)}
    symmetric = [fold for fold, probability in likely.items() if probability >= 0.5]
    if symmetric:
        return Symmetry(max(symmetric), likely[max(symmetric)])
    return Symmetry(1, 1 - max(likely.values()))


def _probability(strength: NDArray[np.float64], at_zero: NDArray[np.float64], fold: int) -> float:
    """Probability that turns by the multiples of 360/fold degrees leave enough of the likeness."""
    # the mean of a curve over all such turns, 0 among them, is of the orders that are multiples
    mean = strength[:, ::fold].sum(1)
    turned = (fold * mean - at_zero) / (fold - 1)
    beyond = turned - _ALIKE * at_zero
    error = max(_error(beyond), 1e-6 * float(at_zero.mean()))
    return float(norm.cdf(beyond.mean() / error))


def _error(values: NDArray[np.float64]) -> float:
    """Standard error of the mean of values (n,); of a single one it is all of it."""
    n = len(values)
    return float(values.std(ddof=1) / n**0.5) if n > 1 else float(np.abs(values).mean())


class _Fits(NamedTuple):
    """Of some boxes, as in `RotationProfile`."""

    fits: NDArray[np.float64]  # (n, n_angles)
    posterior: NDArray[np.float64]  # (n, n_angles)
    power: NDArray[np.float64]  # (n,)


@torch.no_grad()
def _fits(
    saved: SavedModel,
    raw: NDArray[Any],
    told: tuple[NDArray[np.float32], ...],
    centre: Tensor,
    n_angles: int,
    rng: np.random.Generator,
) -> _Fits:
    """Turn the decoded objects of boxes, of a content, a place of the centre and a scale each."""
    content, shift, scale = (torch.from_numpy(values) for values in told)
    if saved.model.config.channels == 3:
        raw = np.moveaxis(raw, -1, 1)
    images = torch.from_numpy(saved.normalisation.of_stack(raw))
    n, side = len(images), images.shape[-1]
    images = images.reshape(n, -1, side, side)
    drawn = _drawn(saved, content)
    still = Poses(torch.zeros(n), shift)
    at_rest = Poses(torch.zeros(n), centre.expand(n, 2))
    object_ = _polar(drawn, at_rest, torch.ones(n), n_angles)
    seen = _polar(images, still, scale, n_angles)
    # an area each, so that sums over rings are those over pixels
    weight = torch.arange(1, object_.shape[2] + 1)[:, None] * (2 * pi / n_angles)
    fits = _products(seen, object_, weight)
    turn = fits.argmax(1) * (2 * pi / n_angles)
    power = fits.amax(1) + (weight * seen.mean(-1, True) * object_).sum((1, 2, 3))
    contrast = power / (weight * object_.square()).sum((1, 2, 3)).clamp(min=1e-9)
    aim = still._replace(rotation=turn)
    origin = aim.move(-scale[:, None, None] * centre)[:, 0]
    placed = apply_poses(drawn, aim._replace(translation=origin), scale=scale)
    noise = images - contrast[:, None, None, None] * placed
    aside = _polar(_like(noise, rng), still, scale, n_angles)
    products = [_products(part, object_, weight) for part in (seen + aside, seen - aside)]
    laid = torch.stack([_from_best(*products), _from_best(*products[::-1])], 1)
    variance = noise.square().mean((1, 2, 3)).clamp(min=1e-3)
    posterior = (laid * (contrast / (2 * variance))[:, None, None]).softmax(2).mean(1)
    numbers = (laid.mean(1), posterior, power)
    return _Fits(*(value.double().numpy() for value in numbers))


@torch.no_grad()
def _drawn(saved: SavedModel, content: Tensor) -> Tensor:
    """Objects at rest (n, c, y, x), without the corners of their boxes."""
    model: Any = saved.model
    drawn: Tensor = model.generate(content.to(next(model.parameters()).device)).cpu()
    return drawn * smooth_disc_mask(drawn.shape[-1])


def _like(noise: Tensor, rng: np.random.Generator) -> Tensor:
    """Other noise (n, c, y, x) of the same mean power at each frequency."""
    white = torch.from_numpy(rng.standard_normal(noise.shape, np.float32))
    strength = torch.fft.rfft2(noise).abs().square().mean(0, True).sqrt()
    made = torch.fft.rfft2(white) * strength / (noise.shape[-2] * noise.shape[-1]) ** 0.5
    other: Tensor = torch.fft.irfft2(made, s=noise.shape[-2:])
    return other


def _from_best(chooses: Tensor, fits: Tensor) -> Tensor:
    """Fits (n, n_angles) from the angle on that others say is the best."""
    n_angles = fits.shape[1]
    turns = (chooses.argmax(1, True) + torch.arange(n_angles)) % n_angles
    return fits.gather(1, turns)


def _polar(images: Tensor, poses: Poses, scale: Tensor, n_angles: int) -> Tensor:
    """Read images (n, c, y, x) on rings of 1, 2, ... pixels about the objects' origins.

    Returns (n, c, rings, n_angles), counter-clockwise as displayed from the right.
    """
    side = images.shape[-1]
    radius = torch.arange(1, (side - 1) // 2 + 1)[:, None]
    angle = torch.arange(n_angles) * (2 * pi / n_angles)
    points = torch.stack((-radius * angle.sin(), radius * angle.cos()), -1).reshape(1, -1, 2)
    places = poses.move(scale[:, None, None] * points) + box_centre(side)
    grid = ((2 * places + 1) / side - 1).flip(-1).unsqueeze(1)
    read = F.grid_sample(images, grid, align_corners=False)
    return read.reshape(*images.shape[:2], len(radius), n_angles)


def _products(images: Tensor, drawn: Tensor, weight: Tensor) -> Tensor:
    """Sum of images times what is drawn, turned by each angle, without the means of the rings."""
    spectrum = torch.fft.rfft(images) * torch.fft.rfft(drawn).conj()
    spectrum[..., 0] = 0
    products: Tensor = torch.fft.irfft((weight * spectrum).sum((1, 2)), n=images.shape[-1])
    return products
