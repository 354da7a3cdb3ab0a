"""One frame for objects that look alike, whatever their content."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ..geometry import Poses, apply_poses
from ..models import SavedModel, choose_device
from ._refine import decode_templates

_ANGLES = 120
_SHARPNESS = 16
_BLUR = 1 / 33
"""Of the side of the pictures: strokes that lie beside each other count as alike, too."""
_SWEEPS = 20
_LEAST_IMAGES = 500
_MOST_IMAGES = 2000


@torch.no_grad()
def agree_on_frames(saved: SavedModel, boxes: Tensor, device: str = "auto", seed: int = 0) -> None:
    """Turn the canonical frames of a model so that objects that look alike lie alike.

    Training settles on a canonical rotation for each content, and nothing binds those of far
    contents to each other: the same kind of object may be drawn upright in one corner of the
    latent space and lying in another. Here the typical contents of the boxes are drawn at rest,
    each pair is compared at all rotations, and the rotations that bring the most pairs of like
    objects into agreement are found: at first by angular synchronisation, which knows one rotation
    of each pair, then by turning each to where it is most like all others. They go into the model,
    whose poses and pictures at rest all follow.

    Parameters
    ----------
    saved : SavedModel
        Its model, with ``set_frames``, is changed in place.
    boxes : Tensor, shape (n, channels, box_size, box_size)
        Normalised; up to 2,000 are looked at. With fewer than 500, which the comparison would
        add noise to rather than order, or where all have one content, nothing is changed.
    device : str
        As for `models.choose_device`.
    seed : int
        Of the choice of boxes and of typical contents.

    References
    ----------
    A. Singer, "Angular synchronization by eigenvectors and semidefinite programming", Applied
    and Computational Harmonic Analysis 2011.
    """
    model: Any = saved.model
    model.to(choose_device(device))
    model.set_frames(None)
    order = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(seed))
    some = boxes[order[:_MOST_IMAGES].sort().values].to(choose_device(device))
    content = torch.cat([model.infer(part).content for part in some.split(100)])
    points = content.cpu().numpy()
    if len(points) < _LEAST_IMAGES or len(np.unique(points.round(3), axis=0)) < model.n_frames:
        return
    from sklearn.cluster import KMeans  # a second, which most runs do not want

    groups = KMeans(model.n_frames, n_init=4, random_state=seed).fit(points)
    typical = torch.from_numpy(groups.cluster_centers_).to(content)
    counts = np.bincount(groups.labels_, minlength=len(typical))
    pictures = decode_templates(saved, typical).pictures.cpu().numpy()
    blurred = gaussian_filter(pictures, _BLUR * pictures.shape[-1], axes=(2, 3))
    alike = likeness(torch.from_numpy(blurred))
    rotation = torch.from_numpy(synchronise(alike, counts)).to(content)
    model.set_frames(typical, rotation)


def likeness(pictures: Tensor) -> NDArray[np.float32]:
    """Correlation of pictures (n, channels, y, x) with each other turned: (n, n, angles)."""
    zero = pictures.new_zeros(len(pictures), 2)
    turned = []
    for step in range(_ANGLES):
        angle = torch.full_like(zero[:, 0], 2 * np.pi * step / _ANGLES)
        turned.append(apply_poses(pictures, Poses(angle, zero)).flatten(1))
    columns = torch.stack(turned, 1)  # (n, angles, pixels)
    columns = columns - columns.mean(2, keepdim=True)
    columns = columns / columns.norm(dim=2, keepdim=True).clamp(min=1e-9)
    alike: NDArray[np.float32] = torch.einsum("kp,lap->kla", columns[:, 0], columns).cpu().numpy()
    return alike


def synchronise(likeness: NDArray[np.floating], counts: NDArray[np.integer]) -> NDArray[np.float32]:
    """Rotations that bring like pictures into agreement.

    Parameters
    ----------
    likeness : array, shape (n, n, angles)
        ``likeness[k, l, a]`` is the correlation of picture ``k`` with picture ``l`` turned by
        ``2 pi a / angles``.
    counts : array of int, shape (n,)
        How often each is met.

    Returns
    -------
    array, shape (n,)
        Radians by which each picture, as it is, is turned from the common frame.
    """
    angle = likeness.argmax(2) * (2 * np.pi / likeness.shape[2])
    weight = np.clip(likeness.max(2), 0, None) ** _SHARPNESS
    weight = weight * np.sqrt(np.outer(counts, counts))
    hermitian = weight * np.exp(1j * angle)
    hermitian = (hermitian + hermitian.conj().T) / 2
    degree = np.abs(hermitian).sum(1)
    _, vectors = np.linalg.eigh(hermitian / np.sqrt(np.outer(degree, degree)))
    rotation = _settled(likeness, counts, np.angle(vectors[:, -1]))
    # The common frame is free: the one in which most are turned least.
    mean = np.angle((counts * np.exp(1j * rotation)).sum())
    wrapped: NDArray[np.floating] = (rotation - mean + np.pi) % (2 * np.pi) - np.pi
    return wrapped.astype(np.float32)


def _settled(
    likeness: NDArray[np.floating], counts: NDArray[np.integer], rotation: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Turn each picture in turn to where it is most like all others, until none moves."""
    n, _, angles = likeness.shape
    weight = np.clip(likeness, 0, None) ** _SHARPNESS * counts[:, None]
    weight[np.arange(n), np.arange(n)] = 0
    steps = np.round(rotation / (2 * np.pi) * angles).astype(int) % angles
    every, others = np.arange(angles)[:, None], np.arange(n)
    profiles = np.empty((n, angles))  # of each picture, at all its rotations
    for _ in range(_SWEEPS):
        before = steps.copy()
        for k in range(n):
            profiles[k] = weight[k, others, (every - steps) % angles].sum(1)
            steps[k] = profiles[k].argmax()
        if (steps == before).all():
            break
    # The vertex of the parabola through the highest and its neighbours.
    low, top, high = (profiles[others, (steps + step) % angles] for step in (-1, 0, 1))
    bend = np.maximum(2 * top - low - high, 1e-12)
    settled: NDArray[np.floating] = (steps + (high - low) / (2 * bend)) * (2 * np.pi / angles)
    return settled
