"""Classes of objects from their content."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..geometry import InputError

_MOST_FOR_WARD = 10_000  # its memory grows with the square: 0.4 GB for so many
_MOST_FOR_AUTO = 5_000
_MOST_CLASSES = 10


def cluster(
    content: NDArray[np.floating[Any]], k: int | Literal["auto"], seed: int = 0
) -> NDArray[np.int64]:
    """Sort objects into classes by their content.

    Parameters
    ----------
    content : array, shape (n, d)
        What a model says of each object, such as `Encoding.content`.
    k : int or "auto"
        Number of classes, made by Ward's agglomerative method as in the TARGET-VAE paper
        (section 4.2); of more than 10,000 objects, so many are clustered and the others join
        the class of their nearest neighbours. "auto" fits Gaussian mixtures of 1 to 10
        components and takes the one of lowest Bayesian information criterion.
    seed : int
        Of the choice of objects and of the mixtures.

    Returns
    -------
    array, shape (n,)
        The class of each object, counted from 0, the largest class first.

    Raises
    ------
    InputError
        If the content is not (n, d) finite numbers, or there are fewer objects than classes.
    """
    values = np.asarray(content, np.float64)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise InputError(f"content must be (n, d) finite numbers, got shape {values.shape}.")
    if k == "auto":
        return _by_size(_mixture(values, seed))
    if k < 1:
        raise InputError(f"the number of classes must be at least 1, or auto; got {k}.")
    if k > len(values):
        raise InputError(f"{len(values)} objects can't make {k} classes; ask for fewer.")
    return _by_size(_ward(values, k, seed))


def _ward(values: NDArray[np.float64], k: int, seed: int) -> NDArray[np.int64]:
    if k == 1:
        return np.zeros(len(values), np.int64)
    from sklearn.cluster import AgglomerativeClustering  # a second, which most runs do not want
    from sklearn.neighbors import KNeighborsClassifier

    chosen = _sample(len(values), max(_MOST_FOR_WARD, k), seed)
    labels = AgglomerativeClustering(k, linkage="ward").fit_predict(values[chosen])
    if len(chosen) < len(values):
        nearest = KNeighborsClassifier(5).fit(values[chosen], labels)
        labels = nearest.predict(values)
    return np.asarray(labels, np.int64)


def _mixture(values: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Components of the mixture that explains the content with the fewest numbers."""
    spread = values.std(0)
    if not spread.any():
        return np.zeros(len(values), np.int64)
    from sklearn.mixture import GaussianMixture  # a second, which most runs do not want

    values = (values - values.mean(0)) / np.where(spread > 0, spread, 1)
    chosen = values[_sample(len(values), _MOST_FOR_AUTO, seed)]
    most = min(_MOST_CLASSES, len(chosen) // 2)
    mixtures = [
        GaussianMixture(
            n, covariance_type=shape, reg_covar=1e-4, n_init=2, max_iter=500, random_state=seed
        )
        for n in range(1, most + 1)
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
    """Number the classes from 0 in falling size, and of equal ones the first seen first."""
    names, first, member, size = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -size))
    number = np.empty(len(names), np.int64)
    number[order] = np.arange(len(names))
    return number[member]
