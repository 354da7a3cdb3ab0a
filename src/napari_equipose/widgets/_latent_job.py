"""What the Latent space panel has done in its thread; nothing here knows of Qt."""

from collections.abc import Generator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import InputError
from ..inference import (
    ClassAverage,
    ClusterMethod,
    LatentMap,
    Progress,
    Watched,
    categories_of,
    cluster,
    draw_grid,
    draw_path,
    summarise_classes,
)
from ..models import SavedModel
from ._density import Bounds
from ._latent_boxes import Places
from ._latent_drawn import Grid
from ._latent_state import NO_CLASS

_AT_ONCE = 32  # boxes: a report of each would keep the viewer busy with nothing else
Method = ClusterMethod | Literal["own"]
"""How objects are sorted; "own" is by the categories of a system that has some."""


class BoxesAt:
    """The boxes of some places as an array that holds none of them.

    Parameters
    ----------
    places : Places
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        sides = (places.side,) * places.corners.shape[1]
        self.shape = (len(places.corners), *sides, *((3,) if places.rgb else ()))
        self.ndim, self.dtype = len(self.shape), np.dtype(places.data.dtype)

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self._places.corners)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """Read the box of a row, or the boxes of several."""
        chosen = np.arange(len(self))[rows]
        boxes = self._at(np.atleast_1d(chosen)).read()
        return boxes[0] if chosen.ndim == 0 else boxes

    def take(self, rows: NDArray[np.int64]) -> "BoxesAt":
        """Take some of them, unread."""
        return BoxesAt(self._at(rows))

    def _at(self, rows: NDArray[np.int64]) -> Places:
        names = ("leading", "corners", "rest")
        return self._places._replace(**{name: getattr(self._places, name)[rows] for name in names})


class Lying(NamedTuple):
    """Boxes of objects, and how the objects lie in them: a snapshot of some rows."""

    boxes: BoxesAt
    rotation: NDArray[np.float64]
    """Shape (m,) or (m, 3, 3)."""
    translation: NDArray[np.float64]
    scale: NDArray[np.float64] | None

    @classmethod
    def of(cls, source: Any, rows: NDArray[np.int64]) -> "Lying":
        """Take the boxes of some rows of a `LatentSource`.

        Raises
        ------
        InputError
            If no image is chosen, or it can't hold the objects.
        """
        places = source.places(rows)
        return cls(BoxesAt(places), source.rotation(rows), places.rest, source.scale(rows))

    def take(self, rows: NDArray[np.int64]) -> "Lying":
        """Take some of them."""
        scale = None if self.scale is None else self.scale[rows]
        return Lying(self.boxes.take(rows), self.rotation[rows], self.translation[rows], scale)


def read_boxes(places: Places) -> Generator[Progress, None, NDArray[Any]]:
    """Read boxes.

    Yields
    ------
    Progress

    Returns
    -------
    array, shape (n, [z,] y, x) or (n, y, x, 3)
    """
    boxes = BoxesAt(places)
    found = np.empty(boxes.shape, boxes.dtype)
    for first in range(0, len(boxes), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        found[part] = boxes[part]
        yield Progress(min(first + _AT_ONCE, len(boxes)), len(boxes), "reading the boxes")
    return found


def sort(
    content: NDArray[np.float64],
    k: int | Literal["auto"],
    method: Method,
    saved: SavedModel | None,
) -> Generator[Progress, None, NDArray[np.int64]]:
    """Sort objects into classes; one whose content is not known belongs to none.

    Yields
    ------
    Progress

    Returns
    -------
    array of int, shape (n,)

    Raises
    ------
    InputError
        If there are too few objects, or the model has no categories of its own.
    """
    yield Progress(0, 1, "sorting into classes")
    there = np.isfinite(content).all(1)
    labels = np.full(len(content), NO_CLASS, np.int64)
    if not there.any():
        raise InputError("there are no objects of known content to sort.")
    if method == "own":
        if saved is None:
            raise InputError("choose the model whose own categories the classes are to be.")
        labels[there] = categories_of(saved, content[there])
    else:
        labels[there] = cluster(content[there], k, method=method)
    return labels


def average_classes(
    lying: Lying, labels: NDArray[np.int64]
) -> Generator[Progress, None, list[ClassAverage]]:
    """Average the classes of some objects; those that belong to none are left out.

    Yields
    ------
    Progress

    Returns
    -------
    list of ClassAverage
    """
    job = Watched(
        summarise_classes(lying.boxes, lying.rotation, lying.translation, labels, scale=lying.scale)
    )
    for step in job:
        yield step._replace(message="averages")  # numbers of classes are shown as they are
    return job.result


def draw_map(
    saved: SavedModel, latent_map: LatentMap, side: int, bounds: Bounds
) -> Generator[Progress, None, Grid]:
    """Draw objects on a square grid over a part of the map.

    Yields
    ------
    Progress

    Raises
    ------
    InputError
        If the map is none of this model's content.
    """
    yield Progress(0, 1, "drawing the grid")
    objects, _ = draw_grid(saved, latent_map, side, bounds)
    return Grid(objects, bounds, max(saved.model.capabilities.dimensions))


def draw_movie(
    saved: SavedModel, contents: NDArray[np.float32], frames: int
) -> Generator[Progress, None, NDArray[np.float32]]:
    """Draw what objects become along a path, as `inference.draw_path` does."""
    return draw_path(saved, contents, frames)
