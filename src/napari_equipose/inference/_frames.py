"""One frame for objects that look alike, whatever their content."""

from math import pi
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from scipy.spatial.distance import cdist
from torch import Tensor

from ..geometry import Poses, apply_poses
from ..models import SavedModel, choose_device
from ._refine import decode_templates

_ANGLES = 120
_SHARPNESS = 56
_BLUR = 1 / 18
"""Of the side of the pictures: strokes that lie beside each other count as alike, too."""
_TOLERANCE = 30
"""Degrees within which two votes for an angle support each other."""
_CONTINUITY = 0.1
"""Votes of neighbouring contents for no angle between them, in parts of those of boxes."""
_REACH = 2
"""How far neighbours are, times the distance to the nearest."""
_SWEEPS = 60
_LEAST_IMAGES = 500
_MOST_IMAGES = 5000


@torch.no_grad()
def agree_on_frames(saved: SavedModel, boxes: Tensor, device: str = "auto", seed: int = 0) -> None:
    """Turn the canonical frames of a model so that objects that look alike lie alike.

    Training settles on a canonical rotation for each content, and hardly anything binds those of
    far contents to each other: the same kind of object may be drawn upright in one corner of the
    latent space and lying in another. Here the typical contents of the boxes are drawn at rest
    and laid on each box at all rotations. Contents that explain the same box at different
    rotations say how their frames lie to each other; the rotations that agree best with what all
    boxes say go into the model, whose poses and pictures at rest all follow.

    Parameters
    ----------
    saved : SavedModel
        Its model, with ``set_frames``, is changed in place.
    boxes : Tensor, shape (n, channels, box_size, box_size)
        Normalised; up to 5,000 are looked at. With fewer than 500, which the comparison would
        add noise to rather than order, or where all have one content, nothing is changed.
    device : str
        As for `models.choose_device`.
    seed : int
        Of the choice of boxes and of typical contents.
    """
    own: Any = saved.model
    own.set_frames(None)
    target = choose_device(device)
    saved = saved.on(target)
    model: Any = saved.model
    order = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(seed))
    some = boxes[order[:_MOST_IMAGES].sort().values].to(target)
    found = [model.infer(part) for part in some.split(100)]
    content = torch.cat([posterior.content for posterior in found])
    points = content.cpu().numpy()
    if len(points) < _LEAST_IMAGES or len(np.unique(points.round(3), axis=0)) < model.n_frames:
        return
    from sklearn.cluster import KMeans  # a second, which most runs do not want

    groups = KMeans(model.n_frames, n_init=4, random_state=seed).fit(points)
    typical = torch.from_numpy(groups.cluster_centers_).to(content)
    pictures = decode_templates(saved, typical).pictures
    shift = torch.cat([posterior.poses.translation for posterior in found])
    centred = apply_poses(some, Poses(torch.zeros_like(shift[:, 0]), -shift), pictures.shape[-2:])
    fit, angle = laid_on(_blurred(centred), _blurred(pictures))
    counts = np.bincount(groups.labels_, minlength=len(typical))
    rotation = synchronise(fit, angle, groups.cluster_centers_, counts)
    where = next(own.parameters()).device
    own.set_frames(typical.to(where), torch.from_numpy(rotation).to(where))


def _blurred(pictures: Tensor) -> Tensor:
    sigma = _BLUR * pictures.shape[-1]
    return torch.from_numpy(gaussian_filter(pictures.cpu().numpy(), sigma, axes=(2, 3)))


def laid_on(
    boxes: Tensor, pictures: Tensor
) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    """Lay pictures on boxes at all rotations.

    Parameters
    ----------
    boxes : Tensor, shape (n, channels, s, s)
        Each around the middle of its object.
    pictures : Tensor, shape (k, channels, s, s)

    Returns
    -------
    fit : array, shape (n, k)
        Correlation of each box with each picture at its best rotation; 0 where it is negative.
    angle : array, shape (n, k)
        That rotation of the picture, in radians.
    """
    fit = boxes.new_full((len(boxes), len(pictures)), -torch.inf)
    angle = torch.zeros_like(fit)
    standard = _standard(boxes)
    still = pictures.new_zeros(len(pictures), 2)
    for step in range(_ANGLES):
        turn = 2 * pi * step / _ANGLES
        turned = apply_poses(pictures, Poses(torch.full_like(still[:, 0], turn), still))
        now = standard @ _standard(turned).T
        angle = torch.where(now > fit, turn, angle)
        fit = torch.maximum(fit, now)
    return fit.clamp(min=0).numpy(), angle.numpy()


def _standard(pictures: Tensor) -> Tensor:
    """Pixels of pictures, of mean 0 and length 1, (n, pixels)."""
    pixels = pictures.flatten(1)
    return torch.nn.functional.normalize(pixels - pixels.mean(1, keepdim=True), dim=1)


def synchronise(
    fit: NDArray[np.floating[Any]],
    angle: NDArray[np.floating[Any]],
    content: NDArray[np.floating[Any]],
    counts: NDArray[np.integer[Any]],
) -> NDArray[np.float32]:
    """Rotations of contents that agree best with the boxes that several of them explain.

    Each box votes for the angle between each two contents that explain it. Each content in turn
    is given the rotation that gets the most votes, until none changes. Angles are counted rather
    than averaged: the mean of two ways to lay a four on a nine fits neither. As a generator draws
    neighbouring contents alike, their frames mostly agree already, so the search begins at the
    frames as they are, and neighbours vote for no angle between them, too.

    Parameters
    ----------
    fit, angle : array, shape (n, k)
        What `laid_on` returns.
    content : array, shape (k, content_dim)
    counts : array of int, shape (k,)
        How often each content is met.

    Returns
    -------
    array, shape (k,)
        Radians by which the frame of each content is turned from the common one.
    """
    votes = _votes(fit, np.round(angle * (_ANGLES / (2 * pi))).astype(int))
    squared = cdist(content, content, "sqeuclidean")
    reach = _REACH**2 * np.median(np.sort(squared, 1)[:, 1])
    near = np.exp(-squared / (2 * reach)) * np.sqrt(np.outer(counts, counts))
    np.fill_diagonal(near, 0)
    votes[:, :, 0] += near * (_CONTINUITY * votes.sum() / near.sum())
    votes = gaussian_filter1d(votes, _TOLERANCE * (_ANGLES / 360), axis=2, mode="wrap")
    every, others = np.arange(_ANGLES)[:, None], np.arange(len(content))
    steps = np.zeros(len(content), int)
    profiles = np.empty((len(content), _ANGLES))  # of each content, at all rotations
    for _ in range(_SWEEPS):
        before = steps.copy()
        for k in others:
            profiles[k] = votes[k, others, (every - steps) % _ANGLES].sum(1)
            steps[k] = profiles[k].argmax()
        if (steps == before).all():
            break
    # The vertex of the parabola through the highest and its neighbours.
    low, top, high = (profiles[others, (steps + step) % _ANGLES] for step in (-1, 0, 1))
    bend = np.maximum(2 * top - low - high, 1e-12)
    rotation = (steps + (high - low) / (2 * bend)) * (2 * pi / _ANGLES)
    # The common frame is free: the one in which most are turned least.
    mean = np.angle((counts * np.exp(1j * rotation)).sum())
    wrapped: NDArray[np.floating[Any]] = (rotation - mean + pi) % (2 * pi) - pi
    return wrapped.astype(np.float32)


def _votes(fit: NDArray[np.floating[Any]], steps: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Votes (k, k, angles) of boxes for the angle by which one content is turned from another."""
    weight = (fit / fit.max(1, keepdims=True).clip(1e-9)) ** _SHARPNESS
    weight = weight / weight.sum(1, keepdims=True).clip(1e-9)
    k = fit.shape[1]
    votes = np.zeros((k, k, _ANGLES))
    for i in range(k):
        apart = (steps - steps[:, [i]]) % _ANGLES + np.arange(k) * _ANGLES
        both = weight * weight[:, [i]]
        votes[i] = np.bincount(apart.ravel(), both.ravel(), k * _ANGLES).reshape(k, _ANGLES)
        votes[i, i] = 0
    return votes
