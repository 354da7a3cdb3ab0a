"""Maps of the latent space: where the content of each object lies in a plane, and the way back."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from ..geometry import InputError, as_numbers
from ._progress import Progress

MapMethod = Literal["pca", "umap", "t-sne"]
_NAMES = {"umap": "UMAP", "t-sne": "t-SNE"}
_MOST = {"umap": 50_000, "t-sne": 10_000}  # objects: more take minutes that nothing can stop
_FEWEST = 5
_NEIGHBOURS = 8  # whose content is mixed between objects
_JOINED = 5  # neighbours in content, between which an object is put that was left out
_BATCH = 10_000
_GOLDEN = (5**0.5 - 1) / 2


class _WayBack(Protocol):
    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]: ...


@dataclass(frozen=True, eq=False)
class LatentMap:
    """Objects in a plane."""

    coordinates: NDArray[np.float32]
    """Shape (n, 2), (x, y) of each object; NaN where its content is not finite."""
    labels: tuple[str, str]
    """What the axes are."""
    way_back: _WayBack
    """Points (m, 2) of the plane to contents (m, k)."""

    def content_at(self, points: ArrayLike) -> NDArray[np.float32]:
        """Content (m, k) at points (m, 2) of the map, where there need be no object.

        Raises
        ------
        InputError
            If the points are not (m, 2) finite numbers.
        """
        places = np.asarray(points, np.float64)
        if places.ndim != 2 or places.shape[1] != 2 or not np.isfinite(places).all():
            raise InputError(f"points of a map are (m, 2) finite numbers, got {places.shape}.")
        return np.asarray(self.way_back(places), np.float32)


def latent_dimensions(content: ArrayLike, i: int, j: int | None = None) -> LatentMap:
    """Lay two dimensions of the content along the axes, as they are.

    Parameters
    ----------
    content : array_like, shape (n, k)
        What a model says of each object, such as `Encoding.content`.
    i, j : int
        Which dimension runs along x, and which along y. Without the second, or where it is the
        first again, objects of nearly equal content are spread along y, evenly and as far as the
        objects are dense there, so that the cloud has the shape of its distribution.

    Returns
    -------
    LatentMap
        Its way back has the other dimensions at their median.

    Raises
    ------
    InputError
        If the content is not (n, k), or has no such dimension.
    """
    values, there = _checked(content)
    k = values.shape[1]
    for one in (i, i if j is None else j):
        if not 0 <= one < k:
            raise InputError(f"the content has dimensions 0 to {k - 1}, got {one}.")
    found = values[there]
    origin = np.median(found, 0) if len(found) else np.zeros(k)
    axes = np.zeros((2, k))
    axes[0, i], origin[i] = 1, 0
    if j is None or j == i:
        places = np.stack((found[:, i], _spread(found[:, i])), 1)
        labels = (f"content_{i}", "density")
    else:
        axes[1, j], origin[j] = 1, 0
        places, labels = found[:, [i, j]], (f"content_{i}", f"content_{j}")
    return LatentMap(_in_place(places, there), labels, _Plane(origin, axes))


def latent_map(
    content: ArrayLike, method: MapMethod, *, dims: Sequence[int] | None = None, seed: int = 0
) -> Generator[Progress, None, LatentMap]:
    """Lay all of the content out in a plane.

    Parameters
    ----------
    content : array_like, shape (n, k)
        What a model says of each object, such as `Encoding.content`. Of a single dimension the
        map is that of `latent_dimensions`, by every method.
    method : str
        "pca", the plane in which the content is most spread; "umap" or "t-sne", which keep
        neighbours together. t-SNE lays out at most 10,000 objects and UMAP 50,000, chosen at
        random; the others are put between those whose content is most like theirs.
    dims : sequence of int, optional
        The dimensions that count; all by default.
    seed : int
        Of the choice of objects and of the methods.

    Yields
    ------
    Progress
        Between the steps; t-SNE and UMAP are one step, during which nothing can be stopped.

    Returns
    -------
    LatentMap
        Its way back is exact in the plane of "pca", with the other dimensions at their median.
        Else it is the mean of the contents of the 8 nearest objects on the map, weighted by the
        inverse square of their distance.

    Raises
    ------
    InputError
        If the content is not (n, k), the method is not known, umap-learn is not there, or
        there are too few objects.

    References
    ----------
    L. van der Maaten and G. Hinton, "Visualizing Data using t-SNE", JMLR 2008. L. McInnes et al.,
    "UMAP", arXiv:1802.03426.
    """
    values, there = _checked(content)
    chosen = _columns(dims, values.shape[1])
    if method not in get_args(MapMethod):
        raise InputError(f"a map is made by pca, umap or t-sne; got {method!r}.")
    if len(chosen) > 1 and method != "pca":
        name, n = _NAMES[method], int(there.sum())
        if method == "umap" and not umap_is_there():
            raise InputError('UMAP needs umap-learn: pip install "napari-equipose[umap]".')
        if n < _FEWEST:
            raise InputError(f"{name} needs at least {_FEWEST} objects, got {n}; take pca.")
    return _latent_map(values, there, method, chosen, seed)


def _latent_map(
    values: NDArray[np.float64],
    there: NDArray[np.bool_],
    method: MapMethod,
    chosen: list[int],
    seed: int,
) -> Generator[Progress, None, LatentMap]:
    if len(chosen) == 1:
        return latent_dimensions(values, chosen[0])
    found = values[there]
    if method == "pca":
        return _principal_plane(found, chosen, there)
    name = _NAMES[method]
    wanted = found[:, chosen]
    rows = np.arange(len(wanted))
    if len(rows) > _MOST[method]:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _MOST[method], replace=False))
    yield Progress(0, 3, f"{name} of {len(rows)} objects")
    places = (_umap if method == "umap" else _t_sne)(wanted[rows], seed)
    yield Progress(1, 3, "objects that were left out")
    if len(rows) < len(wanted):
        join = _Neighbours(wanted[rows], places, _JOINED)
        batches = np.array_split(wanted, -(-len(wanted) // _BATCH))
        laid, places = places, np.concatenate([join(part) for part in batches])
        places[rows] = laid  # an object is where it was laid, also beside its equals
    yield Progress(2, 3, "the way back")
    back = _Neighbours(places, found, _NEIGHBOURS)
    return LatentMap(_in_place(places, there), (f"{name} 1", f"{name} 2"), back)


def umap_is_there() -> bool:
    """Whether umap-learn is installed, the extra ``umap``; told without loading it."""
    return find_spec("umap") is not None


class _Plane:
    """Contents of a plane, ``origin + x axes[0] + y axes[1]``."""

    def __init__(self, origin: NDArray[np.float64], axes: NDArray[np.float64]) -> None:
        self.origin, self.axes = origin, axes  # (k,), (2, k)

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        contents: NDArray[np.float64] = self.origin + points @ self.axes
        return contents


class _Neighbours:
    """What lies at a point, of the values of the nearest that are known."""

    def __init__(self, points: NDArray[Any], values: NDArray[Any], most: int) -> None:
        self.tree, self.values = cKDTree(points), values
        self.most = min(most, len(points))

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        distance, row = self.tree.query(points, [*range(1, self.most + 1)])
        nearest = distance[:, :1]
        # against the nearest one, so that no distance is too small to divide by
        ratio = np.divide(nearest, distance, out=np.ones_like(distance), where=distance > 0)
        weight = ratio**2 / (ratio**2).sum(1, keepdims=True)
        mean: NDArray[np.float64] = np.einsum("nm,nmk->nk", weight, self.values[row])
        return mean


def _principal_plane(
    found: NDArray[np.float64], chosen: list[int], there: NDArray[np.bool_]
) -> LatentMap:
    """Plane of the two directions in which the content is most spread."""
    k = found.shape[1]
    origin = np.median(found, 0) if len(found) else np.zeros(k)
    centred = found[:, chosen]
    if len(found):
        origin[chosen] = centred.mean(0)
    centred = centred - origin[chosen]
    spread, directions = np.linalg.eigh(centred.T @ centred)
    first_two = directions[:, :-3:-1].T
    # a direction has no sign: its largest number is positive
    largest = np.abs(first_two).argmax(1)
    first_two *= np.sign(first_two[[0, 1], largest])[:, None]
    axes = np.zeros((2, k))
    axes[:, chosen] = first_two
    part = spread[:-3:-1] / max(float(spread.sum()), np.finfo(float).tiny)
    labels = tuple(f"component {n} ({100 * x:.0f} %)" for n, x in enumerate(part, 1))
    places = centred @ first_two.T
    return LatentMap(_in_place(places, there), (labels[0], labels[1]), _Plane(origin, axes))


def _t_sne(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    from sklearn.manifold import TSNE  # a second, which most runs do not want

    perplexity = min(30.0, (len(values) - 1) / 3)
    job = TSNE(perplexity=perplexity, init=_begin_with(values), random_state=seed)
    return np.asarray(job.fit_transform(values), np.float64)


def _umap(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    from umap import UMAP  # numba compiles for seconds

    neighbours = min(15, len(values) - 1)
    # a seed repeats the map with one thread only
    job = UMAP(neighbours, init=_begin_with(values), random_state=seed, n_jobs=1)
    return np.asarray(job.fit_transform(values), np.float64)


def _begin_with(values: NDArray[np.float64]) -> str:
    """Where objects are laid first; of equal contents there is no principal plane."""
    return "pca" if values.std(0).any() else "random"


def _spread(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Heights from -1 to 1 for numbers (n,), where they are dense farther apart than elsewhere.

    In the order of the numbers the heights follow the golden ratio, so that neighbours are evenly
    spread and the same numbers have the same heights again: no chance is in them.
    """
    n = len(x)
    if n == 0:
        return x
    order = np.argsort(x, kind="stable")
    bins = int(np.clip(np.sqrt(n), 1, 100))
    count, edges = np.histogram(x, bins)
    middle = (edges[1:] + edges[:-1]) / 2
    density: NDArray[np.float64] = np.interp(x, middle, count / count.max())
    height = np.empty(n)
    height[order] = 2 * ((np.arange(n) + 0.5) * _GOLDEN % 1) - 1
    return height * density


def _checked(content: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Content as numbers (n, k), and which rows are finite."""
    values = as_numbers("content", content)
    if values.ndim != 2 or not values.shape[1]:
        raise InputError(f"content must be (n, k) numbers, got shape {values.shape}.")
    return values, np.asarray(np.isfinite(values).all(1))


def _columns(dims: Sequence[int] | None, k: int) -> list[int]:
    chosen = list(range(k)) if dims is None else list(dict.fromkeys(dims))
    if not chosen or not all(0 <= one < k for one in chosen):
        raise InputError(f"the content has dimensions 0 to {k - 1}, got {dims}.")
    return chosen


def _in_place(places: NDArray[Any], there: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Put the places of the rows that are finite among those of all rows (n, 2)."""
    coordinates = np.full((len(there), 2), np.nan, np.float32)
    coordinates[there] = places
    return coordinates
