"""Picks against true positions, matched one to one within a distance."""

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from napari_equipose.geometry import InputError

_MOST_PAIRS = 20_000_000
_MOST_CHOICES = 50_000_000  # of the matrix in which pairs are chosen


class Matches(NamedTuple):
    """Pairs of a pick and a true object."""

    found: npt.NDArray[np.int64]  # (k,) indices of picks
    truth: npt.NDArray[np.int64]  # (k,) indices of true objects
    distance: npt.NDArray[np.float64]  # (k,) pixels


class PickScores(NamedTuple):
    """How well a set of picks meets the truth."""

    precision: float
    recall: float
    f1: float
    threshold: float = -np.inf
    """Picks of at least this score were counted."""


def match_picks(found: npt.ArrayLike, truth: npt.ArrayLike, tolerance: float) -> Matches:
    """Pair picks with true objects: as many pairs as can be, then as close as can be.

    Parameters
    ----------
    found : array_like, shape (n, d)
        Positions of picks in pixels.
    truth : array_like, shape (m, d)
        Positions of the true objects in pixels.
    tolerance : float
        Largest distance of a pair, in pixels.

    Returns
    -------
    Matches
        Each pick and each object is in at most one pair; in order of the picks.

    Raises
    ------
    InputError
        If positions are no (n, d) arrays of finite numbers, or the tolerance is negative.
    """
    near, n, m = _pairs(found, truth, tolerance)
    # Picks that share no object, directly or through others, can be assigned apart.
    graph = coo_array((np.ones(len(near.found)), (near.found, n + near.truth)), (n + m, n + m))
    group = connected_components(graph, directed=False)[1][near.found]
    order = np.argsort(group, kind="stable")
    kept: list[npt.NDArray[np.int64]] = []
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        if len(members) == 1:
            kept.append(members)
        elif len(members):
            kept.append(_assign(near, members, tolerance))
    pairs = np.concatenate(kept) if kept else np.empty(0, np.int64)
    pairs = pairs[np.argsort(near.found[pairs])]
    return Matches(near.found[pairs], near.truth[pairs], near.distance[pairs])


def pick_scores(found: npt.ArrayLike, truth: npt.ArrayLike, tolerance: float) -> PickScores:
    """Precision, recall and their harmonic mean for a set of picks.

    Parameters are those of `match_picks`. Without picks, or without true objects,
    what can't be counted is 0.
    """
    return _scores(
        len(match_picks(found, truth, tolerance).found),
        len(np.asarray(found)),
        len(np.asarray(truth)),
    )


def best_f1(
    found: npt.ArrayLike, score: npt.ArrayLike, truth: npt.ArrayLike, tolerance: float
) -> PickScores:
    """Return the scores at the threshold where F1 is largest, of all thresholds there are.

    This is the score of an oracle that knows the truth when it sets the threshold; quote it
    only beside peers that were given the same oracle.

    Parameters
    ----------
    found, truth, tolerance
        As in `match_picks`.
    score : array_like, shape (n,)
        The higher, the surer.

    Returns
    -------
    PickScores
        With the threshold: picks of this score and above are counted.
    """
    near, n, m = _pairs(found, truth, tolerance)
    scores = _scores_of(score, n)
    objects = _neighbours(near, n)
    finder = np.full(m, -1)  # which pick has an object; grows by augmenting paths
    best, matched = PickScores(0.0, 0.0, 0.0, np.inf), 0
    order = np.argsort(-scores, kind="stable")
    for count, pick in enumerate(order, 1):
        matched += _augment(objects, finder, int(pick))
        last_of_its_score = count == n or scores[order[count]] < scores[pick]
        if last_of_its_score:
            here = _scores(matched, count, m, float(scores[pick]))
            best = max(best, here, key=lambda s: s.f1)
    return best


def average_precision(
    found: npt.ArrayLike, score: npt.ArrayLike, truth: npt.ArrayLike, tolerance: float
) -> float:
    """Area under the precision-recall curve.

    Picks are taken from the surest down, and each takes the nearest object that is still
    free; precision is made monotonic before it is summed, as is common in detection.

    Parameters are those of `best_f1`.
    """
    near, n, m = _pairs(found, truth, tolerance)
    scores = _scores_of(score, n)
    if not n or not m:
        return 0.0
    objects = _neighbours(near, n)
    taken: set[int] = set()
    hit = np.zeros(n)
    order = np.argsort(-scores, kind="stable")
    for place, pick in enumerate(order):
        free = next((t for t in objects[pick] if t not in taken), None)
        if free is not None:
            taken.add(free)
            hit[place] = 1
    hits = np.cumsum(hit)
    precision = np.maximum.accumulate((hits / np.arange(1, n + 1))[::-1])[::-1]
    return float((precision * hit).sum() / m)


def _pairs(
    found: npt.ArrayLike, truth: npt.ArrayLike, tolerance: float
) -> tuple[Matches, int, int]:
    """Return all pairs within the tolerance, in order of the picks, and both numbers."""
    picks, objects = np.asarray(found, float), np.asarray(truth, float)
    if picks.size and objects.size and picks.shape[1:] != objects.shape[1:]:
        raise InputError(
            f"picks and truth must be (n, d) and (m, d), got {picks.shape} and {objects.shape}"
        )
    for name, positions in (("picks", picks), ("truth", objects)):
        if positions.size and (positions.ndim != 2 or not np.isfinite(positions).all()):
            raise InputError(f"{name} must be (n, d) finite numbers, got shape {positions.shape}")
    if tolerance < 0:
        raise InputError(f"tolerance must not be negative, got {tolerance}")
    n, m = len(picks), len(objects)
    empty = Matches(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    if not n or not m:
        return empty, n, m
    tree = KDTree(objects)
    n_pairs = tree.count_neighbors(KDTree(picks), tolerance)
    if n_pairs > _MOST_PAIRS:
        raise InputError(
            f"within a tolerance of {tolerance:g} pixels each pick is near {n_pairs / n:.0f} "
            "objects: give a tolerance smaller than the objects."
        )
    close = tree.query_ball_point(picks, tolerance)
    first = np.repeat(np.arange(n), [len(c) for c in close])
    if not len(first):
        return empty, n, m
    second = np.concatenate([np.array(c, np.int64) for c in close])
    distance = np.linalg.norm(picks[first] - objects[second], axis=1)
    return Matches(first, second, distance), n, m


def _assign(
    near: Matches, members: npt.NDArray[np.int64], tolerance: float
) -> npt.NDArray[np.int64]:
    """Choose pairs among ``members``, indices of ``near``, by the Hungarian algorithm."""
    _, row = np.unique(near.found[members], return_inverse=True)
    _, column = np.unique(near.truth[members], return_inverse=True)
    shape = (row.max() + 1, column.max() + 1)
    if shape[0] * shape[1] > _MOST_CHOICES:
        raise InputError(
            f"a tolerance of {tolerance:g} pixels joins {shape[0]} picks and {shape[1]} objects: "
            "give a tolerance smaller than the objects."
        )
    # No sum of distances outweighs one pair more.
    apart = (tolerance + 1) * (min(shape) + 1)
    cost = np.full(shape, apart, float)
    cost[row, column] = near.distance[members]
    where = np.full(shape, -1)
    where[row, column] = members
    chosen = where[linear_sum_assignment(cost)]
    return np.asarray(chosen[chosen >= 0])


def _neighbours(near: Matches, n: int) -> list[list[int]]:
    """List the objects near each pick, the nearest first."""
    objects: list[list[int]] = [[] for _ in range(n)]
    for i in np.argsort(near.distance, kind="stable"):
        objects[near.found[i]].append(int(near.truth[i]))
    return objects


def _augment(objects: list[list[int]], finder: npt.NDArray[np.int64], pick: int) -> bool:
    """Give ``pick`` an object, passing others on to further objects where that is needed."""
    came_from: dict[int, int] = {}  # object: the pick that asks for it
    holds = {pick: -1}  # pick: the object it would give up
    waiting = deque([pick])
    while waiting:
        asking = waiting.popleft()
        for thing in objects[asking]:
            if thing in came_from:
                continue
            came_from[thing] = asking
            holder = int(finder[thing])
            if holder < 0:
                while thing >= 0:
                    asking = came_from[thing]
                    finder[thing] = asking
                    thing = holds[asking]
                return True
            holds[holder] = thing
            waiting.append(holder)
    return False


def _scores_of(score: npt.ArrayLike, n: int) -> npt.NDArray[np.float64]:
    scores = np.asarray(score, float)
    if scores.shape != (n,) or np.isnan(scores).any():
        raise InputError(f"each of {n} picks needs a score, got {scores.shape} numbers")
    return scores


def _scores(matched: int, found: int, truth: int, threshold: float = -np.inf) -> PickScores:
    precision = matched / found if found else 0.0
    recall = matched / truth if truth else 0.0
    f1 = 2 * matched / (found + truth) if found + truth else 0.0
    return PickScores(precision, recall, f1, threshold)
