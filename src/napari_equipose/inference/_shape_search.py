"""Objects of large images by their outlines: all shapes of a picture, and which of them recur."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.special import expit

from ._level_sets import Shapes, find_shapes, usual_edge
from ._scaled_tiles import ScaledTile, scaled_tiles
from ._shape_model import (
    ShapeModel,
    cover,
    first_guess,
    fit_shape_model,
    plausibility,
    shape_features,
    two_sizes,
)

SCALED_BOX = 28
"""Pixels of a box in the pictures that shapes are looked for in."""
_SAMPLED = 9
_SIZES = 2
"""How often the smaller part of likely objects may be put aside."""
_FEWEST = 8
"""Shapes that a model can be learned from."""
_CLICK = 0.15
"""How far from the center of its object a user may point, in boxes."""
_ALIKE = 0.2
"""Spread of the logarithms of length and width among objects of one kind."""
_CLOSE = 0.5
"""Distance, in spreads of all shapes, at which a shape is no more like the examples."""
_ODDS = 20.0
"""Logarithm of odds that makes as much of a difference as an outline of twice the strength."""
_SEAM = 0.5
"""Nearer to each other than this part of their width, shapes of two tiles are one."""


class TileShapes(NamedTuple):
    """All shapes of one polarity in one tile."""

    tile: ScaledTile
    shapes: Shapes
    features: NDArray[np.float64]
    plausible: NDArray[np.float64]

    def cover(self, score: NDArray[np.float64]) -> NDArray[np.int64]:
        """Take the best shapes that do not cover each other; see `cover`."""
        return cover(self.shapes, score, SCALED_BOX, self.tile.components.shape[1:])


class ShapeObjects(NamedTuple):
    """Shapes of one image that are likely objects, the likeliest first."""

    positions: NDArray[np.float64]
    """Shape (n, 2): centers (y, x) in pixels of the image."""
    rotation: NDArray[np.float64]
    """Shape (n,): of the long axis, radians."""
    length: NDArray[np.float64]
    """Shape (n,): the long axis, in boxes."""
    width: NDArray[np.float64]
    """Shape (n,): the short axis, in boxes."""
    log_odds: NDArray[np.float64]
    """Shape (n,): that each is an object."""

    def select(self, rows: NDArray[Any] | slice) -> "ShapeObjects":
        """Return those of some rows."""
        return ShapeObjects(*(column[rows] for column in self))


def join_objects(parts: Sequence[ShapeObjects]) -> ShapeObjects:
    """Put those of several images one after the other."""
    return ShapeObjects(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def all_shapes(
    image: NDArray[Any], box_size: int, signs: Sequence[int]
) -> dict[int, list[TileShapes]]:
    """Find the shapes of an image, tile by tile, for each polarity (-1 dark, 1 bright)."""
    sampled = [tile.components for tile in scaled_tiles(image, box_size, SCALED_BOX, _SAMPLED)]
    units = np.mean([usual_edge(components[0], SCALED_BOX) for components in sampled], 0).tolist()
    spread = np.mean([components.std((1, 2)) for components in sampled], 0) + 1e-6
    found: dict[int, list[TileShapes]] = {sign: [] for sign in signs}
    for tile in scaled_tiles(image, box_size, SCALED_BOX):
        for sign in signs:
            shapes = find_shapes(tile.components[0], SCALED_BOX, sign, units)
            plausible = plausibility(shapes)
            shapes = shapes.select(plausible > 0)
            features = shape_features(shapes, tile.components, spread, SCALED_BOX)
            found[sign].append(TileShapes(tile, shapes, features, plausible[plausible > 0]))
    return found


def evidence(parts: Sequence[TileShapes]) -> float:
    """Say how much of an image looks like objects of one polarity: area, well outlined."""
    total = 0.0
    for part in parts:
        kept = part.cover(part.plausible)
        total += float((part.plausible[kept] ** 2 * part.shapes.area[kept]).sum())
    return total


def learn_shapes(parts: Sequence[TileShapes]) -> ShapeModel | None:
    """Learn which shapes recur; None where there are next to no shapes."""
    kept = [part.cover(part.plausible) for part in parts]
    features, area, score = _columns(parts, kept)
    if len(features) < _FEWEST:
        return None
    model = fit_shape_model(features, first_guess(score * np.sqrt(area)))
    return _of_one_size(model, features, area, score)


def _of_one_size(
    model: ShapeModel,
    features: NDArray[np.float64],
    area: NDArray[np.float64],
    score: NDArray[np.float64],
    examples: NDArray[np.float64] | None = None,
) -> ShapeModel:
    """Where likely objects are of two sizes, keep one, unless both are kinds of objects.

    It is that of the examples, or that of which more of the image is covered.
    """
    for _ in range(_SIZES):
        likely = model.log_odds(features) > 0
        sizes = two_sizes(features[likely, :2])
        if sizes is None:
            break
        part = sizes.probabilities(features[likely, :2])
        if examples is None:
            weight = part @ (score[likely] ** 2 * area[likely])
        else:
            weight = sizes.probabilities(examples[:, :2]).sum(1)
        wanted = int(np.argmax(weight))
        objects, others = np.zeros((2, len(features)))
        objects[likely], others[likely] = part[wanted], part[1 - wanted]
        both = examples is None and sizes.are_both_objects(wanted)
        start = np.stack([objects, others, ~likely])
        model = fit_shape_model(features, start, examples, objects=1 + both)
        if both:
            break
    return model


def _columns(
    parts: Sequence[TileShapes], rows: Sequence[NDArray[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Features, area and plausibility of some rows of each tile, one tile after the other."""
    pairs = list(zip(parts, rows, strict=True))
    return (
        np.concatenate([part.features[row] for part, row in pairs]),
        np.concatenate([part.shapes.area[row] for part, row in pairs]),
        np.concatenate([part.plausible[row] for part, row in pairs]),
    )


def example_shapes(
    parts: Sequence[Sequence[TileShapes]], examples: Sequence[NDArray[Any]]
) -> NDArray[np.float64]:
    """Find the shapes, alike in size, that lie where a user pointed.

    Parameters
    ----------
    parts : sequence of sequence of TileShapes
        Of each image, of one polarity.
    examples : sequence of array, shape (n, 2)
        Of each image: (y, x) in pixels.

    Returns
    -------
    ndarray, shape (n, d)
        Features of one shape for each place that has one.
    """
    near: list[tuple[TileShapes, NDArray[np.int64]]] = []
    for tiles, places in zip(parts, examples, strict=True):
        for place in np.asarray(places, float).reshape(-1, 2):
            for part in tiles:
                if not part.tile.owns(place[None])[0] or not len(part.plausible):
                    continue
                there = (place - part.tile.start + 0.5) * part.tile.scale - 0.5
                away = np.linalg.norm(part.shapes.position - there, axis=1) / SCALED_BOX
                rows = np.flatnonzero(away < np.minimum(_CLICK, part.shapes.width / 2))
                if len(rows):
                    near.append((part, rows))
    if not near:
        return np.empty((0, 0))
    sizes = [np.log(np.stack([p.shapes.length[r], p.shapes.width[r]], 1)) for p, r in near]
    weights = [p.plausible[r] ** 2 for p, r in near]

    def agreement(size: NDArray[np.float64]) -> NDArray[np.float64]:
        """How well shapes of a size, (m, 2), agree with one at each of the places."""
        total = np.zeros(len(size))
        for other, weight in zip(sizes, weights, strict=True):
            away = ((size[:, None] - other) ** 2).sum(-1) / _ALIKE**2
            total += (weight * np.exp(-away / 2)).max(1)
        return total

    chosen = [
        rows[np.argmax(part.plausible[rows] ** 2 * agreement(size))]
        for (part, rows), size in zip(near, sizes, strict=True)
    ]
    return np.stack([part.features[row] for (part, _), row in zip(near, chosen, strict=True)])


def learn_shapes_like(
    parts: Sequence[TileShapes], examples: NDArray[np.float64]
) -> ShapeModel | None:
    """Learn which shapes are like those that a user pointed at.

    Parameters
    ----------
    parts : sequence of TileShapes
        Of one polarity.
    examples : ndarray, shape (n, d)
        Features of their shapes.
    """
    if not len(examples):
        return None
    every = np.concatenate([part.features for part in parts])
    middle, spread = np.median(examples, 0), every.std(0) + 1e-9

    def closeness(features: NDArray[np.float64]) -> NDArray[np.float64]:
        away = (((features - middle) / spread) ** 2).mean(1)
        close: NDArray[np.float64] = np.exp(-away / 2 / _CLOSE**2)
        return close

    kept = [part.cover(part.plausible * closeness(part.features)) for part in parts]
    features, area, score = _columns(parts, kept)
    if len(features) < _FEWEST:
        return None
    close = closeness(features)
    model = fit_shape_model(features, np.stack([close, 1 - close]), examples)
    return _of_one_size(model, features, area, score, examples)


def _score(part: TileShapes, model: ShapeModel) -> NDArray[np.float64]:
    """Rank shapes of which only one can be: the one with the best outline, or most like objects.

    Odds count little. Of the many shapes of one thing that is no object, one will be more like
    objects than the others, by chance.
    """
    score: NDArray[np.float64] = part.plausible * expit(model.log_odds(part.features) / _ODDS)
    return score


def shape_objects(parts: Sequence[TileShapes], model: ShapeModel) -> ShapeObjects:
    """Take the shapes of one image that do not cover each other, with their odds."""
    columns: list[ShapeObjects] = []
    for part in parts:
        if not len(part.plausible):
            continue
        kept = part.cover(_score(part, model))
        positions = part.tile.in_image(part.shapes.position[kept])
        own = part.tile.owns(positions)
        shapes = part.shapes.select(kept[own])
        odds = model.log_odds(part.features[kept[own]])
        columns.append(
            ShapeObjects(positions[own], shapes.rotation, shapes.length, shapes.width, odds)
        )
    if not columns:
        nothing = np.empty(0)
        return ShapeObjects(np.empty((0, 2)), nothing, nothing, nothing, nothing)
    joined = join_objects(columns)
    order = np.argsort(-joined.log_odds, kind="stable")
    joined = joined.select(order)
    return joined if len(columns) == 1 else _without_doubles(joined, parts[0].tile)


def _without_doubles(objects: ShapeObjects, tile: ScaledTile) -> ShapeObjects:
    """Drop what the tile on the other side of a seam has found as well."""
    reach = _SEAM * objects.width * SCALED_BOX / tile.scale.mean()
    tree = KDTree(objects.positions)
    free = np.ones(len(objects.positions), bool)
    for row, (place, radius) in enumerate(zip(objects.positions, reach, strict=True)):
        if free[row]:
            near = np.array(tree.query_ball_point(place, radius))
            free[near[near > row]] = False
    return objects.select(free)
