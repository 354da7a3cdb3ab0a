"""Which shapes recur: the objects of an image told from everything else that has an outline."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.linalg import solve_triangular
from scipy.special import expit, logsumexp
from skimage.filters import threshold_otsu
from sklearn.mixture import GaussianMixture

from ._level_sets import Shapes

_SAMPLES = 60
_RING = 0.06
"""How far outside of its outline the surroundings of an object are looked at, in boxes."""
_SMOOTH = 1 / 36
_LONG = (0.25, 0.5)
_SHORT = (1.25, 0.2)
"""A box holds one object with a little margin: lengths at which a shape counts in full."""
_OVERLAP = 0.25
"""Largest part of a shape that better ones may cover."""
_FREEDOM = 6.0
"""Of the t distributions: outliers move them little."""
_ROUNDS = 40
_RIDGE = 0.05
_SIZE_RIDGE = 0.01
_SCATTERED = 2.0
"""How much more the sizes of other things differ than those of objects."""
_SMALL = 1 / 3
"""Area of what is too small to be an object as well, in areas of an object."""
_EXAMPLE_COUNTS = 5.0
"""Shapes that weigh as much as one that a user pointed at."""


def plausibility(shapes: Shapes) -> NDArray[np.float64]:
    """Say of each shape, from 0 to 1, how much it is like an object, whatever the others are."""
    short, rise = _LONG[0], _LONG[1] - _LONG[0]
    fits = np.clip((shapes.length - short) / rise, 0, 1)
    fits *= np.clip((_SHORT[0] - shapes.length) / _SHORT[1], 0, 1)
    value: NDArray[np.float64] = shapes.rim * shapes.solidity**2 * fits
    return value


def cover(
    shapes: Shapes, score: NDArray[np.float64], box: float, size: tuple[int, int]
) -> NDArray[np.int64]:
    """Take the best shapes that do not cover each other.

    Parameters
    ----------
    shapes : Shapes
    score : ndarray, shape (n,)
        Those of zero are left out.
    box : float
        In pixels.
    size : (int, int)
        Of the picture.

    Returns
    -------
    ndarray of int
        Rows, best first.
    """
    order = np.argsort(-score, kind="stable")
    order = order[score[order] > 0]
    y, x = _inside(shapes.select(order), box)
    y = np.clip(np.round(y).astype(np.int32), 0, size[0] - 1)
    x = np.clip(np.round(x).astype(np.int32), 0, size[1] - 1)
    taken = np.zeros(size, bool)
    kept = []
    for place, row in enumerate(order):
        if taken[y[place], x[place]].mean() <= _OVERLAP:
            kept.append(row)
            _fill(taken, shapes, row, box)
    return np.array(kept, np.int64)


def _fill(taken: NDArray[np.bool_], shapes: Shapes, row: int, box: float) -> None:
    """Mark the pixels of an ellipse."""
    (cy, cx), turn = shapes.position[row], shapes.rotation[row]
    a, b = shapes.length[row] * box / 2, max(shapes.width[row] * box / 2, 1.0)
    reach = int(np.ceil(a)) + 1
    window = tuple(slice(max(int(c) - reach, 0), int(c) + reach + 2) for c in (cy, cx))
    part = taken[window]
    y, x = np.ogrid[: part.shape[0], : part.shape[1]]
    dy, dx = y + window[0].start - cy, x + window[1].start - cx
    along = dx * np.cos(turn) - dy * np.sin(turn)
    across = -dx * np.sin(turn) - dy * np.cos(turn)
    part |= (along / a) ** 2 + (across / b) ** 2 <= 1


def _placed(
    shapes: Shapes, along: NDArray[np.float64], across: NDArray[np.float64], box: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points (n, m) of each shape's own axes, in boxes, as y and x of the picture."""
    cos, sin = np.cos(shapes.rotation)[:, None], np.sin(shapes.rotation)[:, None]
    y = shapes.position[:, 0, None] - box * (along * sin + across * cos)
    x = shapes.position[:, 1, None] + box * (along * cos - across * sin)
    return y, x


def _disc() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Spread points evenly over the unit disc."""
    k = np.arange(_SAMPLES)
    radius, turn = np.sqrt((k + 0.5) / _SAMPLES), k * np.pi * (3 - np.sqrt(5))
    return radius * np.cos(turn), radius * np.sin(turn)


def _inside(
    shapes: Shapes, box: float, part: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    u, v = _disc()
    half_long, half_short = part * shapes.length[:, None] / 2, part * shapes.width[:, None] / 2
    return _placed(shapes, u * half_long, v * half_short, box)


def _around(shapes: Shapes, box: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    half_long, half_short = shapes.length[:, None] / 2, shapes.width[:, None] / 2
    return _placed(
        shapes, np.cos(turn) * (half_long + 2 * _RING), np.sin(turn) * (half_short + 2 * _RING), box
    )


def shape_features(
    shapes: Shapes, components: NDArray[np.float32], spread: NDArray[np.floating], box: float
) -> NDArray[np.float64]:
    """Describe shapes by numbers of which each is about normal among objects of one kind.

    Parameters
    ----------
    shapes : Shapes
        n of them.
    components : ndarray of float32, shape (c, y, x)
        The picture.
    spread : ndarray, shape (c,)
        Unit of each component: its standard deviation in the whole image.
    box : float
        In its pixels.

    Returns
    -------
    ndarray, shape (n, 6 + 3 c)
        Logarithms of length, width, solidity and rim; of each component the contrast to the
        surroundings, the level, and the middle against the margin; of the first the logarithms
        of the spread inside and around. Levels are in units of the spread.
    """
    columns = [
        np.log(shapes.length),
        np.log(shapes.width),
        np.log(shapes.solidity),
        np.log(shapes.rim + 0.02),
    ]
    u, v = _disc()
    radius = np.hypot(u, v)
    inside, around = _inside(shapes, box, 0.9), _around(shapes, box)
    for number, (component, unit) in enumerate(zip(components, spread, strict=True)):
        smooth = ndimage.gaussian_filter(component, _SMOOTH * box) / unit
        value = ndimage.map_coordinates(smooth, inside, order=1, mode="nearest")
        rim = ndimage.map_coordinates(smooth, around, order=1, mode="nearest")
        level = value.mean(1)
        columns += [level - np.median(rim, 1), level]
        columns.append(value[:, radius < 0.5].mean(1) - value[:, radius > 0.7].mean(1))
        if number == 0:
            columns += [np.log(value.std(1) + 0.03), np.log(rim.std(1) + 0.03)]
    return np.stack(columns, 1)


class ShapeModel(NamedTuple):
    """Distributions (multivariate t) over features: of the objects, and of other kinds."""

    center: NDArray[np.float64]
    """Shape (d,): taken from features before anything else."""
    scale: NDArray[np.float64]
    """Shape (d,): that they are then divided by."""
    mean: NDArray[np.float64]
    """Shape (k, d): kinds of objects first."""
    root: NDArray[np.float64]
    """Shape (k, d, d): lower triangular, its square is the covariance."""
    share: NDArray[np.float64]
    """Shape (k,): of all shapes."""
    objects: int = 1
    """Kinds of objects; the others are of other things."""

    def log_odds(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logarithm of the odds, (n,), that shapes of these features (n, d) are objects."""
        density = self._log_densities((features - self.center) / self.scale)
        first = self.objects
        odds: NDArray[np.float64] = logsumexp(density[:first], axis=0)
        odds -= logsumexp(density[first:], axis=0)
        return odds

    @property
    def kinds_of_objects(self) -> int:
        """Kinds that may be objects: all but the last, which is everything else."""
        return max(len(self.share) - 1, 1)

    def of_kind(self, number: int) -> "ShapeModel":
        """Return the same with another kind as the objects."""
        order = [number, *(kind for kind in range(len(self.share)) if kind != number)]
        mean, root, share = (column[order] for column in (self.mean, self.root, self.share))
        return self._replace(mean=mean, root=root, share=share, objects=1)

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of each kind, (k, n)."""
        density = self._log_densities((features - self.center) / self.scale)
        probability: NDArray[np.float64] = np.exp(density - logsumexp(density, axis=0))
        return probability

    def _log_densities(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        d, rows = z.shape[1], []
        for mean, root, share in zip(self.mean, self.root, self.share, strict=True):
            white = solve_triangular(root, (z - mean).T, lower=True)
            row = np.log(share) - np.log(np.diag(root)).sum()
            rows.append(row - (_FREEDOM + d) / 2 * np.log1p((white**2).sum(0) / _FREEDOM))
        return np.stack(rows)


def fit_shape_model(
    features: NDArray[np.float64],
    member: NDArray[np.float64],
    examples: NDArray[np.float64] | None = None,
    objects: int = 1,
) -> ShapeModel:
    """Part shapes into objects and other kinds by expectation maximization.

    Parameters
    ----------
    features : ndarray, shape (n, d)
    member : ndarray, shape (k, n)
        Probabilities to begin with that each shape is of each kind, objects first.
    examples : ndarray, shape (m, d), optional
        Of shapes that are known to be objects; each counts as much as several.
    objects : int
        Kinds of objects.
    """
    center, scale = features.mean(0), features.std(0) + 1e-9
    z = (features - center) / scale
    known = np.empty((0, z.shape[1])) if examples is None else (examples - center) / scale
    both = np.concatenate([known, z])
    certain = np.full(len(known), _EXAMPLE_COUNTS)
    for _ in range(_ROUNDS):
        kinds = [_moments(both, np.concatenate([certain, member[0]]))]
        kinds += [_moments(z, other) for other in member[1:]]
        mean, root, share = (np.stack(column) for column in zip(*kinds, strict=True))
        model = ShapeModel(center, scale, mean, root, share / share.sum(), objects)
        member = model.probabilities(features)
    return model


class TwoSizes(NamedTuple):
    """Two kinds of objects by their lengths and widths."""

    mixture: GaussianMixture
    center: NDArray[np.float64]
    scale: NDArray[np.float64]

    def probabilities(self, size: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of each kind, (2, n), for logarithms of length and width (n, 2)."""
        kinds: NDArray[np.float64] = self.mixture.predict_proba((size - self.center) / self.scale).T
        return kinds

    def are_both_objects(self, wanted: int) -> bool:
        """Say whether the kind that is not wanted may be another kind of objects.

        Other things are of many sizes, or much smaller than what was asked for.
        """
        spread = np.sqrt([np.linalg.det(each) for each in self.mixture.covariances_])
        area = np.exp((self.mixture.means_ * self.scale + self.center).sum(1))
        other = 1 - wanted
        alike = spread[other] < _SCATTERED * spread[wanted]
        return bool(alike and area[other] > _SMALL * area[wanted])


def two_sizes(size: NDArray[np.float64]) -> TwoSizes | None:
    """Part sizes into two kinds where they plainly are of two.

    Parameters
    ----------
    size : ndarray, shape (n, 2)
        Logarithms of length and width.

    Returns
    -------
    TwoSizes or None
        None if there is no very strong evidence against one kind (a difference of 10 in the
        Bayesian information criterion: Kass and Raftery, Journal of the American Statistical
        Association 1995), or if the two would not be parted (by the measure of Ashman et al.,
        Astronomical Journal 1994, which is 2 where they are).
    """
    if len(size) < 8:
        return None
    center, scale = size.mean(0), size.std(0) + 1e-9
    z = (size - center) / scale

    def mixture(count: int, **begin: Any) -> GaussianMixture:
        return GaussianMixture(count, reg_covar=_SIZE_RIDGE, random_state=0, **begin).fit(z)

    one, twos = mixture(1), []
    for column in z.T:
        large = column > threshold_otsu(column)
        if 2 < large.sum() < len(z) - 2:
            groups = z[large], z[~large]
            begin = {
                "weights_init": [len(group) / len(z) for group in groups],
                "means_init": [group.mean(0) for group in groups],
                "precisions_init": [
                    np.linalg.inv(np.cov(group.T) + _SIZE_RIDGE * np.eye(2)) for group in groups
                ],
            }
            twos.append(mixture(2, **begin))
    if not twos:
        return None
    two = min(twos, key=lambda each: each.bic(z))
    parted = _parted(two) > 2 and one.bic(z) - two.bic(z) > 10
    return TwoSizes(two, center, scale) if parted else None


def _parted(two: GaussianMixture) -> float:
    """Distance of two normal distributions along their discriminant, by their widths there."""
    apart = two.means_[0] - two.means_[1]
    axis = np.linalg.solve(two.covariances_.mean(0), apart)
    widths = np.sqrt(np.einsum("i,kij,j->k", axis, two.covariances_, axis))
    return float(np.sqrt(2) * abs(axis @ apart) / np.hypot(*widths))


def _moments(
    z: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean, root of the covariance, and count; of few shapes the covariance is shrunk."""
    d = z.shape[1]
    weight = weight + 1e-9
    total = weight.sum()
    mean = weight @ z / total
    covariance = ((z - mean) * weight[:, None]).T @ (z - mean) / total
    shrink = d / (total + d)
    covariance = (1 - shrink) * covariance + shrink * np.diag(np.diag(covariance) + _RIDGE)
    covariance += 0.02 * np.eye(d)
    return mean, np.linalg.cholesky(covariance), np.asarray(total)


def first_guess(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn scores into probabilities to begin with: Otsu's threshold, softened."""
    if len(np.unique(score)) < 2:
        return np.full((2, len(score)), 0.5)
    level, width = threshold_otsu(score), 0.1 * score.std()
    guess = expit((score - level) / width)
    return np.stack([guess, 1 - guess])
