"""Candidate objects of a large image, given only how big an object is."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree
from skimage.filters import threshold_otsu

from ..geometry import InputError
from ..inference._blobs import disc_response, find_blobs
from ..inference._flat_tiles import flat_tiles
from ..inference._outlines import Outlines
from ..inference._power_search import PowerModel, learn_power
from ..inference._shape_model import ShapeModel
from ..inference._shape_search import (
    ShapeObjects,
    all_shapes,
    evidence,
    example_shapes,
    learn_shapes,
    learn_shapes_like,
    shape_objects,
)
from ..models import Normalisation

_WORKING_BOX = 24
"""Images are binned until a box is about this many pixels: detail beyond that only costs."""
_RADII = (0.11, 0.15, 0.2, 0.27, 0.37, 0.5)
"""Of the discs, in boxes: from half the width of a rod to an object that fills its box."""
_DISTANCE = 0.25
"""Least distance between candidates, in boxes: rods lie side by side at a third of a box."""
_NOISE_FACTOR = 1.45
"""Score that noise seldom reaches, in units of the noise."""
_CLUTTER_FACTOR = 0.08
"""Least score in units of the one that best parts strong from weak: objects differ."""
_CONTRAST_RANGE = 5.0
"""Between usual and least or largest contrast in the image: halos are below, ice is above."""
_CROWD = 6.25
"""Objects that have room in the area of a box, at most."""
_HIT = 0.15
"""How far from an object's center an example may lie, in boxes."""
_BY_CHANCE = 5
"""As many things are found again, turned, where nothing recurs: 3 to 5 in noise, drawn or with one
object in it."""
_LITTLE_NOISE = 0.5
"""Of the local contrast: the images of the field board have up to 0.28 or more than 0.8."""


class Candidates(NamedTuple):
    """Where objects may be in one image; the surest first."""

    positions: NDArray[np.float32]
    """Shape (n, 2): (y, x) in pixels."""
    scores: NDArray[np.float32]
    """Shape (n,): natural logarithm of the odds that each is an object, as far as the outlines
    tell; in noise, of how far it stands out, in units of what was just kept. Above 0."""
    polarity: Literal["dark", "bright"]
    """Of the objects against their surroundings."""
    rotation: NDArray[np.float32]
    """Shape (n,): of the long axis, radians, counter-clockwise as displayed; NaN in noise."""

    def first(self, most: int | None) -> "Candidates":
        """Return no more than so many, the surest."""
        positions, scores, polarity, rotation = self
        return Candidates(positions[:most], scores[:most], polarity, rotation[:most])


def propose(
    image: NDArray[Any],
    box_size: int,
    polarity: Literal["either", "dark", "bright"] = "either",
    *,
    max_candidates: int | None = None,
) -> Candidates:
    """Propose where the objects of an image are, from nothing but their size.

    Every connected part that stands out from its surroundings at some level, and whose outline
    has an edge all along, may be an object. Those that recur, in size, shape, contrast and
    texture, are told from the rest. In noise nothing has an outline: there, objects are where
    more of the frequencies that recur is than in noise, or else where a disc, of one of several
    sizes, differs from a narrow rim around it.

    Parameters
    ----------
    image : array, shape (y, x) or (y, x, channels)
        May be memory-mapped or lazy: it is read in tiles.
    box_size : int
        Side of a square that holds one object with a little margin, in pixels.
    polarity : {"either", "dark", "bright"}
        Of the objects against their surroundings; "either" takes that of which more of the image
        is well outlined.
    max_candidates : int, optional
        Keep no more than so many, the best.

    Raises
    ------
    InputError
        If the box is larger than the image or smaller than 8 pixels, the image is constant or
        holds NaN, or nothing stands out.
    """
    return propose_many([image], box_size, polarity, max_candidates=max_candidates)[0]


def propose_many(
    images: Sequence[NDArray[Any]],
    box_size: int,
    polarity: Literal["either", "dark", "bright"] = "either",
    *,
    max_candidates: int | None = None,
    examples: Sequence[NDArray[Any] | None] | None = None,
) -> list[Candidates]:
    """Propose objects in several images of one kind; they share one polarity.

    Parameters
    ----------
    images : sequence of array, shape (y, x) or (y, x, channels)
    box_size, polarity
        As for `propose`.
    max_candidates : int, optional
        For each image.
    examples : sequence of array, shape (n, 2), or None, optional
        For each image the centers (y, x) of a few of its objects, in pixels. They decide polarity
        and size, and what else the objects have in common.

    Returns
    -------
    list of Candidates
        One an image; some may be empty, but not all.

    Raises
    ------
    InputError
        As for `propose`, or if examples lie outside of their image.
    """
    found = search(images, box_size, polarity, examples)
    likelier = found.candidates
    if found.power is not None and found.hits[1] >= found.hits[0]:
        likelier = found.power.candidates
    return [each.first(max_candidates) for each in likelier]


class PowerSearch(NamedTuple):
    """What has power that recurs, in noise."""

    model: PowerModel
    candidates: list[Candidates]
    """One an image."""


class Search(NamedTuple):
    """What was found in images of one kind."""

    candidates: list[Candidates]
    """One an image; in noise, of blobs, some of which may be empty."""
    outlines: Outlines | None = None
    """How they were found; None where noise hides outlines."""
    objects: list[ShapeObjects] | None = None
    """The same objects with their outlines, one an image."""
    power: PowerSearch | None = None
    """Another answer, in noise."""
    hits: tuple[int, int] = (0, 0)
    """Examples among the blobs, and among the objects of power."""


def search(
    images: Sequence[NDArray[Any]],
    box_size: int,
    polarity: Literal["either", "dark", "bright"] = "either",
    examples: Sequence[NDArray[Any] | None] | None = None,
) -> Search:
    """Do the work of `propose_many`."""
    signs = check_search(images, box_size, polarity)
    shown = _check_examples(images, examples)
    if is_noisy(images[0], box_size):
        found = _in_noise(images, box_size, signs, shown)
    else:
        found = _by_outline(images, box_size, signs, shown)
    if not any(len(each.positions) for each in found.candidates) and found.power is None:
        raise InputError(nothing_recurs(box_size, polarity))
    return found


def nothing_recurs(box_size: int, polarity: str = "either") -> str:
    """Say that nothing was found that could be learned, and what to try."""
    return (
        f"found no {'' if polarity == 'either' else polarity + ' '}object of about "
        f"{box_size} pixels: nothing of that size recurs; try another box size or polarity, "
        "click a few objects as examples, or average frames if the image is very noisy."
    )


def check_search(images: Sequence[NDArray[Any]], box_size: int, polarity: str) -> list[int]:
    """Refuse what can't be searched; give the signs of the polarities to look for."""
    if polarity not in ("either", "dark", "bright"):
        raise InputError(f"polarity must be either, dark or bright, got {polarity!r}.")
    for image in images:
        _check(image, box_size)
    return {"dark": [-1], "bright": [1]}.get(polarity, [-1, 1])


def _check_examples(
    images: Sequence[NDArray[Any]], examples: Sequence[NDArray[Any] | None] | None
) -> list[NDArray[np.float64]]:
    """Give the examples of each image, (n, 2); none of any where nobody gave some."""
    if examples is None:
        return [np.empty((0, 2)) for _ in images]
    if len(examples) != len(images):
        raise InputError(f"examples for {len(examples)} images were given for {len(images)} images")
    shown = []
    for image, places in zip(images, examples, strict=True):
        these = np.asarray([] if places is None else places, float).reshape(-1, 2)
        outside = (these < 0) | (these >= np.array(image.shape[:2])) | ~np.isfinite(these)
        if outside.any():
            y, x = these[outside.any(1)][0]
            raise InputError(
                f"the example at y = {y:g}, x = {x:g} lies outside of its image of "
                f"{image.shape[0]} x {image.shape[1]} pixels."
            )
        shown.append(these)
    return shown


def is_noisy(image: NDArray[Any], box_size: int) -> bool:
    """Say whether noise, rather than outlines, is most of what an image shows pixel by pixel."""
    flat = Normalisation(background_sigma=0.375 * box_size).of_image(np.asarray(image))
    grey = flat.mean(-1) if flat.ndim == 3 else flat
    # A kernel blind to slopes and edges leaves the noise (Immerkaer, 1996).
    kernel = np.outer((1, -2, 1), (1, -2, 1)) / 6
    noise = float(np.median(np.abs(ndimage.convolve(grey, kernel)))) / 0.6745
    return noise >= _LITTLE_NOISE


class Explained(NamedTuple):
    """A way to explain images by outlines."""

    sign: int
    model: ShapeModel
    objects: list[ShapeObjects]
    """One an image."""
    shown: int
    """Examples that are among the objects."""
    evidence: float


def explain_by_outline(
    images: Sequence[NDArray[Any]],
    box_size: int,
    signs: Sequence[int],
    shown: Sequence[NDArray[np.float64]] | None = None,
    every_size: bool = False,
) -> list[Explained]:
    """Explain images by outlines in several ways, the best first."""
    found = [all_shapes(image, box_size, signs) for image in images]
    shown = shown or [np.empty((0, 2)) for _ in images]
    ways = []
    for sign in signs:
        by_image = [each[sign] for each in found]
        parts = [part for each in by_image for part in each]
        models = [learn_shapes(parts)]
        if any(map(len, shown)):
            models.append(learn_shapes_like(parts, example_shapes(by_image, shown)))
        weight = evidence(parts)
        for model in models:
            if model is None:
                continue
            for number in range(model.kinds_of_objects if every_size else 1):
                kind = model.of_kind(number)
                objects = [shape_objects(each, kind) for each in by_image]
                likely = [each.select(each.log_odds > 0) for each in objects]
                hits = sum(map(partial(_hits, box_size=box_size), likely, shown))
                ways.append(Explained(sign, kind, likely, hits, weight / (1 + number)))
    # What finds the examples unaided is surer than what was fitted to them.
    return sorted(ways, key=lambda way: (-way.shown, -way.evidence))


def _hits(objects: ShapeObjects, shown: NDArray[np.float64], box_size: int) -> int:
    """Count the examples that are among the objects."""
    if not len(objects.positions) or not len(shown):
        return 0
    away, _ = KDTree(objects.positions).query(shown)
    return int((away < _HIT * box_size).sum())


def _by_outline(
    images: Sequence[NDArray[Any]],
    box_size: int,
    signs: Sequence[int],
    shown: Sequence[NDArray[np.float64]],
) -> Search:
    ways = explain_by_outline(images, box_size, signs, shown)
    if not ways:
        nothing = np.empty(0, np.float32)
        none = Candidates(np.empty((0, 2), np.float32), nothing, "dark", nothing)
        return Search([none for _ in images])
    best = ways[0]
    polarity: Literal["dark", "bright"] = "dark" if best.sign < 0 else "bright"
    candidates = [
        Candidates(
            each.positions.astype(np.float32),
            each.log_odds.astype(np.float32),
            polarity,
            each.rotation.astype(np.float32),
        )
        for each in best.objects
    ]
    return Search(candidates, Outlines(box_size, best.sign, best.model), best.objects)


def in_noise(
    images: Sequence[NDArray[Any]], box_size: int, sign: int
) -> tuple[list[Candidates], float]:
    """Find what stands out of noise, of one polarity; and how much there is of it."""
    found = [_find(image, box_size, [sign]) for image in images]
    return [_choose(each, sign) for each in found], sum(_evidence(each, sign) for each in found)


def by_power(images: Sequence[NDArray[Any]], box_size: int) -> PowerSearch | None:
    """Find what has power that recurs in noisy images; None where nothing does."""
    ways = [way for way in learn_power(images, box_size) if way.recurrences > _BY_CHANCE]
    if not ways:
        return None
    model = ways[0].model
    candidates = []
    for image in images:
        found = model.find(image)
        found = found.select(found.log_odds > 0)
        candidates.append(
            Candidates(
                found.positions.astype(np.float32),
                found.log_odds.astype(np.float32),
                _polarity_at(image, found.positions, box_size),
                np.full(len(found.positions), np.nan, np.float32),
            )
        )
    if sum(len(each.positions) for each in candidates) <= _BY_CHANCE:
        return None
    return PowerSearch(model, candidates)


def _polarity_at(
    image: NDArray[Any], positions: NDArray[np.float64], box_size: int
) -> Literal["dark", "bright"]:
    """Polarity by the level of the middles of objects."""
    flat = Normalisation(background_sigma=float(box_size)).of_image(np.asarray(image))
    gray = ndimage.gaussian_filter(flat.mean(-1) if flat.ndim == 3 else flat, box_size / 8)
    level = gray[tuple(np.round(positions).astype(int).T)]
    return "dark" if not len(level) or np.median(level) < 0 else "bright"


def _in_noise(
    images: Sequence[NDArray[Any]],
    box_size: int,
    signs: Sequence[int],
    shown: Sequence[NDArray[np.float64]],
) -> Search:
    ways = [in_noise(images, box_size, sign) for sign in signs]

    def hits(found: Sequence[Candidates]) -> int:
        return sum(
            int((KDTree(each.positions).query(places)[0] < _HIT * box_size).sum())
            for each, places in zip(found, shown, strict=True)
            if len(each.positions) and len(places)
        )

    blobs, _ = max(ways, key=lambda way: (hits(way[0]), way[1]))
    power = by_power(images, box_size)
    return Search(blobs, power=power, hits=(hits(blobs), hits(power.candidates) if power else 0))


class _Blobs(NamedTuple):
    """Blobs of one polarity in one image."""

    positions: NDArray[np.float64]  # (n, 2) pixels (y, x)
    prominence: NDArray[np.float64]  # (n,) in units of the local contrast
    contrast: NDArray[np.float64]  # (n,) the same in units of the image
    length: NDArray[np.float64]  # (n,) in boxes
    solidity: NDArray[np.float64]  # (n,)
    radius: NDArray[np.float64]  # (n,) of the disc that answered, in boxes


class _Found(NamedTuple):
    """All blobs of one image."""

    blobs: dict[int, _Blobs]  # by sign: -1 dark, 1 bright
    noise: float  # standard deviation of a binned pixel, in units of the local contrast
    box_size: int  # pixels
    box: float  # binned pixels
    shape: tuple[int, int]  # of the image

    @property
    def area(self) -> float:
        """Of the image, in boxes."""
        return self.shape[0] * self.shape[1] / self.box_size**2


def _find(image: NDArray[Any], box_size: int, signs: Sequence[int]) -> _Found:
    """Read an image tile by tile, and measure its blobs of all sizes."""
    binning = max(1, round(box_size / _WORKING_BOX))
    box = box_size / binning
    parts: dict[int, list[_Blobs]] = {sign: [] for sign in signs}
    noise: list[NDArray[np.float32]] = []
    for tile in flat_tiles(image, binning, box):
        for radius in _RADII:
            response = disc_response(tile.flat, radius * box)
            if radius == _RADII[0]:
                noise.append(_noise(tile.flat, response, radius * box, box))
            for sign in signs:
                blobs = find_blobs(sign * response)
                inner = (blobs.positions >= tile.core[0]) & (blobs.positions < tile.core[1])
                places, prominence, length, solidity = (field[inner.all(1)] for field in blobs)
                parts[sign].append(
                    _Blobs(
                        positions=(places + tile.start) * binning + (binning - 1) / 2,
                        prominence=prominence,
                        contrast=prominence * tile.contrast[tuple(places.astype(int).T)],
                        length=length / box,
                        solidity=solidity,
                        radius=np.full(len(places), radius),
                    )
                )
    joined = {
        sign: _Blobs(*(np.concatenate(field) for field in zip(*part, strict=True)))
        for sign, part in parts.items()
    }
    level = float(np.quantile(np.concatenate(noise), 0.2))
    return _Found(joined, level, box_size, box, (image.shape[0], image.shape[1]))


def _check(image: NDArray[Any], box_size: int) -> None:
    if image.ndim not in (2, 3):
        raise InputError(f"an image (y, x) or (y, x, channels) is wanted, got shape {image.shape}.")
    height, width = image.shape[:2]
    if not 8 <= box_size <= min(height, width):
        raise InputError(
            f"the box size must be from 8 to {min(height, width)} pixels for an image of "
            f"{height} x {width} pixels, got {box_size}."
        )


def _noise(
    flat: NDArray[np.float32], response: NDArray[np.float32], radius: float, box: float
) -> NDArray[np.float32]:
    """Estimate the noise of a pixel in many places, the quietest of which are noise alone.

    The response of a small disc sees coloured noise too, but takes texture for noise; the
    second difference along both axes sees only what changes from pixel to pixel.
    """
    second = np.diff(np.diff(flat, 2, axis=0), 2, axis=1) / 6
    fine, coarse = (
        np.sqrt(ndimage.gaussian_filter(part**2, box)) for part in (second, response[1:-1, 1:-1])
    )
    # The response to white noise has 0.52 times its standard deviation over the radius.
    noise: NDArray[np.float32] = np.minimum(2.2 * fine, coarse * radius / 0.52)
    step = max(1, int(box) // 2)
    return noise[::step, ::step].ravel()


def _between(length: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Weight of a length in boxes: 1 from ``high`` to a box, 0 below ``low`` and above 1.5."""
    return np.clip((length - low) / (high - low), 0, 1) * np.clip((1.5 - length) / 0.5, 0, 1)


def _capped(blobs: _Blobs) -> NDArray[np.float64]:
    """Prominence, the strongest of each size alike: dirt must not head the list."""
    capped = blobs.prominence.copy()
    for radius in _RADII:
        mine = blobs.radius == radius
        if mine.any():
            capped[mine] = np.minimum(capped[mine], np.quantile(capped[mine], 0.99))
    return capped


def _evidence(found: _Found, sign: int) -> float:
    """Say how much the blobs of this polarity look like objects that fill their box."""
    blobs = found.blobs[sign]
    score = _capped(blobs) * _between(blobs.length, 0.35, 0.7) * blobs.solidity**2
    kept = _far_apart(blobs, score, found.box_size)
    return float(score[kept[: int(found.area) + 1]].sum())


def _choose(found: _Found, sign: int) -> Candidates:
    """Take the blobs of this polarity that are likely objects, each object once."""
    blobs = found.blobs[sign]
    # A disc of unit norm answers to white noise alike, whatever its radius.
    score = _capped(blobs) * blobs.radius * found.box
    score *= _between(blobs.length, 0.05, 0.3) * blobs.solidity**2
    score[_near_border(blobs, found)] = 0
    kept = _far_apart(blobs, score, found.box_size)[: int(_CROWD * found.area) + 1]
    least = max(_NOISE_FACTOR * found.noise, _CLUTTER_FACTOR * _otsu(score[kept]))
    kept = kept[score[kept] >= least]
    if len(kept):
        usual = np.median(np.log(blobs.contrast[kept[: len(kept) // 2 + 1]]))
        alike = np.abs(np.log(blobs.contrast[kept]) - usual) <= np.log(_CONTRAST_RANGE)
        kept = kept[alike]
    return Candidates(
        blobs.positions[kept].astype(np.float32),
        np.log(score[kept] / least).astype(np.float32),
        "dark" if sign < 0 else "bright",
        np.full(len(kept), np.nan, np.float32),
    )


def _far_apart(blobs: _Blobs, score: NDArray[np.float64], box_size: int) -> NDArray[np.int64]:
    """Indices of blobs, best first, each farther from all better ones than those reach."""
    order = np.argsort(-score, kind="stable")
    order = order[score[order] > 0]
    if not len(order):
        return order
    reach = np.maximum(_DISTANCE, 0.83 * blobs.radius) * box_size
    tree = KDTree(blobs.positions[order])
    free = np.ones(len(order), bool)
    kept = []
    for rank, index in enumerate(order):
        if free[rank]:
            kept.append(index)
            free[tree.query_ball_point(blobs.positions[index], reach[index])] = False
    return np.array(kept)


def _near_border(blobs: _Blobs, found: _Found) -> NDArray[np.bool_]:
    """Blobs of which a good part lies outside; the mirror at the border makes up many of them."""
    least = found.box_size / 6
    inner = (blobs.positions >= least) & (blobs.positions < np.array(found.shape) - least)
    return np.logical_not(inner.all(1))


def _otsu(score: NDArray[np.float64]) -> float:
    return float(threshold_otsu(score)) if len(np.unique(score)) > 1 else 0.0
