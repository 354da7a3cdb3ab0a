"""Which of some pictures are unlike, and their order by likeness."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial.distance import squareform


def keep_unlike(
    likeness: NDArray[np.floating], counts: Sequence[int] | NDArray[np.int64], alike: float
) -> list[int]:
    """Of those whose likeness (k, k) is above ``alike``, keep the one that counts most."""
    _, kind = connected_components(likeness > alike)
    rows = (np.flatnonzero(kind == name).tolist() for name in np.unique(kind))
    return [max(members, key=lambda row: counts[row]) for members in rows]


def neighbours(likeness: NDArray[np.floating]) -> list[tuple[int, int]]:
    """Each but the first with the likest before it."""
    order, parent = breadth_first_order(minimum_spanning_tree(_apart(likeness)), 0, directed=False)
    return [(int(child), int(parent[child])) for child in order[1:]]


def in_a_row(likeness: NDArray[np.floating]) -> list[int]:
    """Like beside like."""
    if len(likeness) < 3:
        return list(range(len(likeness)))
    apart = squareform(_apart(likeness), checks=False)
    return [int(name) for name in leaves_list(linkage(apart, "average", optimal_ordering=True))]


def _apart(likeness: NDArray[np.floating]) -> NDArray[np.floating]:
    apart: NDArray[np.floating] = np.maximum(1 - likeness, 1e-6)
    np.fill_diagonal(apart, 0)
    return apart
