"""How well content tells what an object is, and how little the poses do."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from napari_equipose.geometry import InputError

_FOLDS = 5


class ContentScores(NamedTuple):
    """Predictabilities of the class, each the part of held-out objects named rightly."""

    predictability: float
    """From the whole content: the paper's P(c|z)."""
    sap: float
    """Best single latent less the second best, over the content and all else that is inferred."""
    by_latent: npt.NDArray[np.float64]
    """Of each dimension of the content, then of each other latent."""


def content_scores(
    content: npt.ArrayLike,
    labels: npt.ArrayLike,
    others: npt.ArrayLike | None = None,
    neighbours: int = 5,
) -> ContentScores:
    """Predict classes from content, and from each latent alone, by the nearest neighbours.

    Each object is named by others: in five folds, so that none is its own neighbour.

    Parameters
    ----------
    content : array_like, shape (n, d)
    labels : array_like, shape (n,)
        True classes.
    others : array_like, shape (n, m), optional
        What else is inferred of each object: rotation, translation, scale.
    neighbours : int
        How many vote; 5 as in the paper's comparison.

    Raises
    ------
    InputError
        If the arrays do not fit together, or a class has fewer than five objects.

    References
    ----------
    M. R. Uddin et al., Harmony, CVPR 2022, section 4.1; A. Kumar et al., "Variational Inference
    of Disentangled Latent Concepts", ICLR 2018, for the SAP score.
    """
    values, truth = np.asarray(content, float), np.asarray(labels)
    rest = np.empty((len(values), 0)) if others is None else np.asarray(others, float)
    if values.ndim != 2 or rest.ndim != 2 or not len(values) == len(truth) == len(rest):
        raise InputError(
            f"content must be (n, d), labels (n,) and others (n, m), got {values.shape}, "
            f"{truth.shape} and {rest.shape}."
        )
    _, counts = np.unique(truth, return_counts=True)
    if len(counts) < 2 or counts.min() < _FOLDS:
        raise InputError(
            f"there must be two classes or more, each of {_FOLDS} objects or more, got "
            f"{counts.tolist()}."
        )

    def predictability(latents: npt.NDArray[np.float64]) -> float:
        folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
        vote = KNeighborsClassifier(neighbours)
        return float(cross_val_score(vote, latents, truth, cv=folds).mean())

    latents = np.concatenate((values, rest), 1)
    alone = np.array([predictability(latents[:, i : i + 1]) for i in range(latents.shape[1])])
    best = np.sort(alone)[::-1]
    sap = float(best[0] - best[1]) if len(best) > 1 else float(best[0])
    whole = float(alone[0]) if values.shape[1] == 1 else predictability(values)
    return ContentScores(whole, sap, alone)


def factor_correlation(content: npt.ArrayLike, factor: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Pearson correlation of each dimension of the content with a known factor.

    The sign of a latent means nothing, so judge by the magnitudes, as the spatial-VAE paper does
    (section 4.3, Table 1).

    Parameters
    ----------
    content : array_like, shape (n, d)
    factor : array_like, shape (n,)
        What was varied when the objects were made: a conformation, an opening angle.

    Returns
    -------
    ndarray, shape (d,)
        In [-1, 1]; 0 of a dimension that is constant.

    Raises
    ------
    InputError
        If the arrays do not fit together, or the factor is the same for all objects.
    """
    values, truth = np.asarray(content, float), np.asarray(factor, float)
    if values.ndim != 2 or truth.shape != values.shape[:1] or len(truth) < 2:
        raise InputError(
            f"content must be (n, d) and a factor (n,), got {values.shape} and {truth.shape}."
        )
    if np.ptp(truth) == 0:
        raise InputError("the factor is the same for all objects: no correlation exists.")
    values, truth = values - values.mean(0), truth - truth.mean()
    spread = np.sqrt((values**2).sum(0) * (truth**2).sum())
    varied = np.ptp(values, axis=0) > 0
    product: npt.NDArray[np.float64] = truth @ values
    product[varied] /= spread[varied]
    product[~varied] = 0
    return product
