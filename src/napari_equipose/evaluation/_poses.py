"""Poses against true poses, whose common frame is unknown."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from napari_equipose.geometry import InputError

Array = npt.NDArray[np.float64]


class Resultant(NamedTuple):
    """Mean resultant lengths, in [0, 1]: 0 for errors all round, 1 for a constant one."""

    overall: float
    """Of all objects, each group's gauge removed: the mean of ``by_group``, weighted by size."""
    by_group: dict[int, float]


class GaugeFreeErrors(NamedTuple):
    """Errors of rotation without their group's mean."""

    degrees: Array  # (n,) signed, in [-180 / fold, 180 / fold)
    median: float
    """Median of the magnitudes, in degrees; 90 / fold is what guessing gives."""


def translation_correlation(predicted: npt.ArrayLike, true: npt.ArrayLike) -> Array:
    """Pearson correlation of translations, axis by axis.

    Parameters
    ----------
    predicted, true : array_like, shape (n, d)
        Pixels.

    Returns
    -------
    ndarray, shape (d,)
        In the order of the axes; 0 where the prediction is a constant, which tells nothing.

    Raises
    ------
    InputError
        If the shapes differ or a true coordinate is the same for all objects.
    """
    a, b = np.asarray(predicted, float), np.asarray(true, float)
    if a.shape != b.shape or a.ndim != 2 or len(a) < 2:
        raise InputError(f"translations must be two (n, d) arrays, got {a.shape} and {b.shape}")
    a, b = a - a.mean(0), b - b.mean(0)
    spread = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    if (np.ptp(b, axis=0) == 0).any():
        raise InputError("the true translation is constant along an axis: no correlation exists")
    product: Array = (a * b).sum(0)
    product[spread > 0] /= spread[spread > 0]
    return product


def rotation_resultant(
    error: npt.ArrayLike, fold: int = 1, groups: npt.ArrayLike | None = None
) -> Resultant:
    """Mean resultant length ``|mean exp(i fold error)|``, group by group.

    It does not depend on a constant offset, so a group's gauge need not be known. By chance it
    is about ``0.9 / sqrt(n)`` for a group of ``n``.

    Parameters
    ----------
    error : array_like, shape (n,)
        Predicted minus true rotation in radians.
    fold : int
        Number of rotations in a full turn that look alike.
    groups : array_like of int, shape (n,), optional
        Objects of one canonical frame share a number (a digit's class, say).

    Returns
    -------
    Resultant
        Overall, and for each group.
    """
    phasors, member, names = _phasors(error, fold, groups)
    means = _group_means(phasors, member, len(names))
    size = np.bincount(member, minlength=len(names))
    overall = float((np.abs(means) * size).sum() / size.sum())
    return Resultant(
        overall, {int(name): float(abs(m)) for name, m in zip(names, means, strict=True)}
    )


def gauge_free_errors(
    error: npt.ArrayLike, fold: int = 1, groups: npt.ArrayLike | None = None
) -> GaugeFreeErrors:
    """Remove each group's circular mean from errors of rotation.

    Parameters are those of `rotation_resultant`.

    Returns
    -------
    GaugeFreeErrors
        Errors in degrees, modulo ``360 / fold``, and the median of their magnitudes.
    """
    phasors, member, names = _phasors(error, fold, groups)
    means = _group_means(phasors, member, len(names))
    degrees = np.degrees(np.angle(phasors * np.conj(means)[member])) / fold
    half = 180.0 / fold
    degrees = (degrees + half) % (2 * half) - half
    return GaugeFreeErrors(degrees, float(np.median(np.abs(degrees))))


def circular_correlation(a: npt.ArrayLike, b: npt.ArrayLike, *, uniform: bool = False) -> float:
    """Circular correlation of two samples of angles, as the papers report it.

    It centres each sample on its own mean direction. Uniform angles have none: its estimate is
    noise, so the same almost perfect prediction can come out near 1, near 0 or negative. Judge by
    `rotation_resultant` and `gauge_free_errors`; this is for comparison with published tables.

    Parameters
    ----------
    a, b : array_like, shape (n,)
        Radians.
    uniform : bool
        Take the form for angles that lie all round: ``R(a - b) - R(a + b)``, of mean resultant
        lengths ``R``. It needs no mean directions, so a constant offset does not change it.

    Returns
    -------
    float
        In [-1, 1]; 0 where one of the samples is constant.

    References
    ----------
    S. R. Jammalamadaka and A. SenGupta, Topics in Circular Statistics, 2001, section 8.2.
    """
    x, y = np.asarray(a, float), np.asarray(b, float)
    if x.shape != y.shape or x.ndim != 1 or not len(x):
        raise InputError(f"angles must be two (n,) arrays, got {x.shape} and {y.shape}")
    if uniform:
        along, against = (float(np.abs(np.exp(1j * z).mean())) for z in (x - y, x + y))
        return along - against
    x = np.sin(x - np.angle(np.exp(1j * x).mean()))
    y = np.sin(y - np.angle(np.exp(1j * y).mean()))
    spread = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum() / spread) if spread > 1e-12 * len(x) else 0.0


def _phasors(
    error: npt.ArrayLike, fold: int, groups: npt.ArrayLike | None
) -> tuple[npt.NDArray[np.complex128], npt.NDArray[np.intp], npt.NDArray[np.integer]]:
    """Return unit numbers (n,), each object's group as an index, and the groups' names."""
    errors = np.asarray(error, float)
    if errors.ndim != 1 or not len(errors) or not np.isfinite(errors).all():
        raise InputError(f"errors must be (n,) finite angles, n > 0, got shape {errors.shape}")
    if fold < 1:
        raise InputError(f"fold counts the rotations that look alike, at least 1, got {fold}")
    group = np.zeros(len(errors), int) if groups is None else np.asarray(groups)
    if group.shape != errors.shape:
        raise InputError(f"each of {len(errors)} errors needs a group, got {group.shape}")
    names, member = np.unique(group, return_inverse=True)
    return np.exp(1j * fold * errors), member, names


def _group_means(
    phasors: npt.NDArray[np.complex128], member: npt.NDArray[np.intp], n_groups: int
) -> npt.NDArray[np.complex128]:
    sums = np.zeros(n_groups, np.complex128)
    np.add.at(sums, member, phasors)
    sums /= np.bincount(member, minlength=n_groups)
    return sums
