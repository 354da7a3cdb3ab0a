"""Classes of objects from their content."""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..geometry import InputError, check_limits

ClusterMethod = Literal["ward", "k-means", "mixture", "hdbscan"]
_MOST_FOR_WARD = 10_000  # its memory grows with the square: 0.4 GB for so many
_MOST_FOR_MIXTURES = 5_000
_MOST_FOR_K_MEANS = 100_000
_MOST_FOR_HDBSCAN = 20_000
_MOST_CLASSES = 10
_FEWEST_IN_CLASS, _LEAST_PART = 10, 0.03  # below, a single cloud falls into dozens
_CLOSE = 5  # neighbours by which density is told


def cluster(
    content: NDArray[np.floating[Any]],
    k: int | Literal["auto"],
    seed: int = 0,
    method: ClusterMethod = "ward",
) -> NDArray[np.int64]:
    """Sort objects into classes by their content.

    Parameters
    ----------
    content : array, shape (n, d)
        What a model says of each object, such as `Encoding.content`.
    k : int or "auto"
        Number of classes. "auto" fits Gaussian mixtures of 1 to 10 components and takes the one of
        lowest Bayesian information criterion: its number for "k-means", and else its components.
    seed : int
        Of the choice of objects, of the mixtures and of k-means.
    method : str
        "ward", the agglomerative method of the TARGET-VAE paper (section 4.2); of more than 10,000
        objects, so many are clustered and the others join the class of their nearest neighbours.
        "k-means", round classes of like size. "mixture", Gaussians of their own width and
        direction. "hdbscan", places where objects are dense, of any shape: it finds the number
        itself, whatever ``k`` is, each class of at least 10 objects and 3 % of all; of more than
        20,000 objects as with "ward".

    Returns
    -------
    array, shape (n,)
        The class of each object, counted from 0, the largest class first; with "hdbscan" -1 of
        those that lie apart from all.

    Raises
    ------
    InputError
        If the content is not (n, d) finite numbers, the method is not known, or there are fewer
        objects than classes.

    References
    ----------
    R. J. G. B. Campello et al., "Density-based clustering based on hierarchical density
    estimates", PAKDD 2013.
    """
    values = np.asarray(content, np.float64)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise InputError(f"content must be (n, d) finite numbers, got shape {values.shape}.")
    if method not in get_args(ClusterMethod):
        known = ", ".join(get_args(ClusterMethod))
        raise InputError(f"objects are sorted by {known}; got {method!r}.")
    if method == "hdbscan":
        return _by_size(_dense(values, seed))
    if k == "auto":
        suggested = _mixture(values, seed)
        if method != "k-means":
            return _by_size(suggested)
        k = len(np.unique(suggested))
    if k < 1:
        raise InputError(f"the number of classes must be at least 1, or auto; got {k}.")
    check_limits({"classes": k})
    if k > len(values):
        raise InputError(f"{len(values)} objects can't make {k} classes; ask for fewer.")
    if k == 1:
        return np.zeros(len(values), np.int64)
    if method == "mixture":
        return _by_size(_mixture(values, seed, k))
    return _by_size((_k_means if method == "k-means" else _ward)(values, k, seed))


def _ward(values: NDArray[np.float64], k: int, seed: int) -> NDArray[np.int64]:
    from sklearn.cluster import AgglomerativeClustering  # a second, which most runs do not want

    chosen = _sample(len(values), max(_MOST_FOR_WARD, k), seed)
    labels = AgglomerativeClustering(k, linkage="ward").fit_predict(values[chosen])
    return _joined(values, chosen, labels)


def _k_means(values: NDArray[np.float64], k: int, seed: int) -> NDArray[np.int64]:
    if k > len(np.unique(values, axis=0)):
        raise InputError(f"there are fewer than {k} contents; ask for fewer classes.")
    from sklearn.cluster import KMeans

    chosen = _sample(len(values), max(_MOST_FOR_K_MEANS, k), seed)
    found = KMeans(k, n_init=10, random_state=seed).fit(values[chosen])
    return np.asarray(found.predict(values), np.int64)


def _dense(values: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Classes where objects are dense, and -1 between them."""
    chosen = _sample(len(values), _MOST_FOR_HDBSCAN, seed)
    least = max(_FEWEST_IN_CLASS, round(_LEAST_PART * len(chosen)))
    if len(chosen) < 2 * least:
        return np.full(len(values), -1, np.int64)
    from sklearn.cluster import HDBSCAN

    job = HDBSCAN(least, min_samples=_CLOSE, allow_single_cluster=True, copy=True)
    return _joined(values, chosen, job.fit_predict(values[chosen]))


def _joined(
    values: NDArray[np.float64], chosen: NDArray[np.int64], labels: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Classes of all, of those that were chosen: the others join their nearest neighbours'."""
    if len(chosen) < len(values):
        from sklearn.neighbors import KNeighborsClassifier

        nearest = KNeighborsClassifier(5).fit(values[chosen], labels)
        labels = nearest.predict(values)
    return np.asarray(labels, np.int64)


def _mixture(values: NDArray[np.float64], seed: int, k: int | None = None) -> NDArray[np.int64]:
    """Components of the mixture, of ``k`` or of any number, of lowest information criterion."""
    spread = values.std(0)
    if not spread.any():
        return np.zeros(len(values), np.int64)
    from sklearn.mixture import GaussianMixture  # a second, which most runs do not want

    values = (values - values.mean(0)) / np.where(spread > 0, spread, 1)
    chosen = values[_sample(len(values), max(_MOST_FOR_MIXTURES, k or 0), seed)]
    most = min(_MOST_CLASSES, len(chosen) // 2)
    mixtures = [
        GaussianMixture(
            n, covariance_type=shape, reg_covar=1e-4, n_init=2, max_iter=500, random_state=seed
        )
        for n in ([k] if k else range(1, most + 1))
        for shape in ("full", "diag")
    ]
    if not mixtures:
        return np.zeros(len(values), np.int64)
    best = min((mixture.fit(chosen) for mixture in mixtures), key=lambda m: m.bic(chosen))
    return np.asarray(best.predict(values), np.int64)


def _sample(n: int, most: int, seed: int) -> NDArray[np.int64]:
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def _by_size(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the classes from 0 in falling size, and of equal ones the first seen first.

    What is -1 belongs to none and stays so.
    """
    there = labels >= 0
    if not there.all():
        numbers = np.full(len(labels), -1, np.int64)
        numbers[there] = _by_size(labels[there])
        return numbers
    names, first, member, size = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -size))
    number = np.empty(len(names), np.int64)
    number[order] = np.arange(len(names))
    return number[member]
