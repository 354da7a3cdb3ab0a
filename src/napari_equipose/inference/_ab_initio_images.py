"""Averages of the structures in a mixture of images, from nothing but the images."""

from collections.abc import Callable, Generator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import InputError, Poses, check_type
from ._ab_initio import AbInitioConfig, Structures
from ._picture_search import SIDE, PictureSearch, Placed, reduced_images, windowed
from ._progress import Progress
from ._structure_search import LEAST_GROUP

_LAID_ON_EACH_OTHER = 200  # images
_AT_A_TIME = 64  # boxes


def ab_initio_images(
    read: Callable[[NDArray[np.int64]], Tensor],
    n: int,
    config: AbInitioConfig | None = None,
    most_log_scale: float = 0.0,
) -> Generator[Progress, None, Structures]:
    """Find the structures in a mixture of images, without references.

    Some two hundred images are laid on each other, at all rotations. Those that are like the same
    others, which noise changes less than how like they are to each other, are a group; they are
    averaged as they lie on the one that is likest to all. Then images choose, among all averages
    and rotations, what they correlate with best; and averages are made anew.

    Parameters
    ----------
    read : callable
        Returns some of the images, shape (m, channels, y, x), normalised alike.
    n : int
        How many images there are; at least 8.
    config : AbInitioConfig, optional
    most_log_scale : float
        Logarithm of the largest factor, either way, by which an object may be larger in one image
        than in another; 0 where all are of one size.

    Yields
    ------
    Progress

    Returns
    -------
    Structures
        Its averages are of the boxes as they came.

    Raises
    ------
    InputError
        If there are too few images.
    """
    config = config or AbInitioConfig()
    check_type("read", read, Callable)
    check_type("n", n, int)
    check_type("config", config, AbInitioConfig)
    if n < LEAST_GROUP:
        raise InputError(f"at least {LEAST_GROUP} images are needed, got {n}.")
    return _ab_initio_images(read, n, config, most_log_scale)


def _ab_initio_images(
    read: Callable[[NDArray[np.int64]], Tensor],
    n: int,
    config: AbInitioConfig,
    most_log_scale: float,
) -> Generator[Progress, None, Structures]:
    order = np.random.default_rng(config.seed).permutation(n)
    few = min(n, config.structures * config.particles)
    many = order[: max(few, config.labelled)]
    parts = np.array_split(many, -(-len(many) // _AT_A_TIME))
    size = read(many[:1]).shape[-1]
    coarse = min(SIDE / size, 1.0)
    small = torch.cat([reduced_images(read(part)) for part in parts])
    search = PictureSearch(small.shape[-1], config.max_shift * coarse, most_log_scale)
    averages = yield from _alone(small[: min(few, _LAID_ON_EACH_OTHER)], search, config)
    for number in range(config.rounds):
        message = f"sorting, round {number + 1} of {config.rounds}"
        placed, label = yield from search.compare(small[:few], averages, message)
        placed, label = _numbered(placed, label)
        averages = _averages(small[:few], placed, label)
        averages = search.join(averages, torch.bincount(label[label >= 0]).tolist(), config.alike)
    placed, label = yield from search.compare(small, averages, "sorting all")
    placed, label = _numbered(placed, label)
    placed = placed._replace(translation=placed.translation / coarse)
    return Structures(
        averages_of_boxes(read, parts, placed, label),
        many,
        label.numpy(),
        Poses(placed.rotation, placed.translation),
        placed.score.numpy(),
        placed.log_scale.exp().numpy() if search.scaled else None,
    )


def _alone(
    images: Tensor, search: PictureSearch, config: AbInitioConfig
) -> Generator[Progress, None, Tensor]:
    """Average each group of images that are like the same others."""
    k = max(1, min(config.structures, len(images) // LEAST_GROUP))
    everywhere = yield from search.every(images, windowed(images))
    likeness = torch.maximum(everywhere.score, everywhere.score.T)
    likeness.fill_diagonal_(0).fill_diagonal_(float(likeness.max()))
    profile = likeness - likeness.mean(1, keepdim=True)
    from sklearn.cluster import AgglomerativeClustering  # a second, which most runs do not want

    group = torch.from_numpy(AgglomerativeClustering(k).fit_predict(profile.numpy()))
    averages = []
    for name in range(k):
        rows = (group == name).nonzero()[:, 0]
        middle = int(rows[likeness[rows][:, rows].sum(1).argmax()])
        placed = everywhere.rows(rows, middle).about_the_mean()
        averages.append(windowed(placed.bring_to_rest(images[rows]).mean(0)))
    return torch.stack(averages)


def _numbered(placed: Placed, label: Tensor) -> tuple[Placed, Tensor]:
    """Number the pictures that enough images chose, about their means; the others' have -1."""
    new = torch.full_like(label, -1)
    count = 0
    for name in label.unique().tolist():
        rows = (label == name).nonzero()[:, 0]
        if len(rows) < min(LEAST_GROUP, len(label) // 2):
            continue
        new[rows], count = count, count + 1
        centred = placed.rows(rows).about_the_mean()
        for whole, part in zip(placed, centred, strict=True):
            whole[rows] = part
    return placed, new


def _averages(images: Tensor, placed: Placed, label: Tensor) -> Tensor:
    rest = placed.bring_to_rest(images)
    return torch.stack(
        [windowed(rest[label == name].mean(0)) for name in range(int(label.max()) + 1)]
    )


def averages_of_boxes(
    read: Callable[[NDArray[np.int64]], Tensor],
    parts: list[NDArray[np.int64]],
    placed: Placed,
    label: Tensor,
) -> NDArray[np.float32]:
    """Average boxes as they came, in all their detail."""
    first, sums = 0, list[Tensor]()
    for part in parts:
        rows = slice(first, first + len(part))
        rest = placed.rows(rows).bring_to_rest(read(part).float())
        if not sums:
            sums = [torch.zeros_like(rest[0]) for _ in range(int(label.max()) + 1)]
        for name, total in enumerate(sums):
            total += rest[label[rows] == name].sum(0)
        first += len(part)
    counts = torch.bincount(label[label >= 0]).tolist()
    return torch.stack([total / n for total, n in zip(sums, counts, strict=True)]).numpy()
