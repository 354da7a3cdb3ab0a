"""Objects drawn at places of the latent space: one by one, on a grid of a map, along a path."""

from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..geometry import InputError, as_numbers, check_type
from ..models import SavedModel
from ._latent_map import LatentMap
from ._progress import Progress

Bounds = tuple[float, float, float, float]
"""Of a rectangle of a map: least and largest x, least and largest y."""
_BATCH = 2**16  # pixels drawn at a time: bounds the memory, not the result
_WITHIN = (1.0, 99.0)  # percentiles: where objects are


def draw_content(saved: SavedModel, content: ArrayLike) -> NDArray[np.float32]:
    """Draw objects at rest, on the device where the model is.

    Parameters
    ----------
    saved : SavedModel
    content : array_like, shape (m, k)
        As the model infers it.

    Returns
    -------
    array of float32, shape (m, y, x), (m, y, x, 3) or (m, z, y, x)
        In units of the normalised pixels.

    Raises
    ------
    InputError
        If the content is not that of this model.
    """
    wanted = checked_content(saved, content)
    return np.concatenate([np.zeros((0, *saved.box_shape), np.float32), *_drawn(saved, wanted)])


def draw_grid(
    saved: SavedModel, latent_map: LatentMap, n: int, bounds: Bounds | None = None
) -> tuple[NDArray[np.float32], Bounds]:
    """Draw objects on a square grid of a map: the manifold figures of the papers.

    Parameters
    ----------
    saved : SavedModel
    latent_map : LatentMap
        Of content that this model inferred.
    n : int
        Objects along each side.
    bounds : tuple of float, optional
        Least and largest x, least and largest y of what the grid covers; each object is that of
        the middle of its cell. By default from the first to the 99th percentile of the objects.

    Returns
    -------
    array of float32, shape (n, n, y, x), (n, n, y, x, 3) or (n, n, z, y, x)
        As of `draw_content`, in rows of falling y, as a plot shows them.
    tuple of float
        The bounds.

    Raises
    ------
    InputError
        If the grid is empty, or the map is none of this model's content.
    """
    if n < 1:
        raise InputError(f"a grid has at least one object along its sides, got {n}.")
    bounds = bounds or _bounds(latent_map)
    steps = (np.arange(n) + 0.5) / n
    x = bounds[0] + steps * (bounds[1] - bounds[0])
    y = bounds[3] - steps * (bounds[3] - bounds[2])
    points = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    drawn = draw_content(saved, latent_map.content_at(points))
    return drawn.reshape(n, n, *drawn.shape[1:]), bounds


def draw_path(
    saved: SavedModel, contents: ArrayLike, frames: int
) -> Generator[Progress, None, NDArray[np.float32]]:
    """Draw what objects become along a path: the conformational movies of the papers.

    Parameters
    ----------
    saved : SavedModel
    contents : array_like, shape (m, k)
        Corners of the path, joined by straight lines.
    frames : int
        Pictures, at equal steps of content from the first corner to the last.

    Yields
    ------
    Progress
        After each batch.

    Returns
    -------
    array of float32, shape (frames, y, x), (frames, y, x, 3) or (frames, z, y, x)
        As of `draw_content`.

    Raises
    ------
    InputError
        If the path has no two corners or no two frames, or is none of this model's content.
    """
    corners = checked_content(saved, contents)
    if len(corners) < 2 or frames < 2:
        raise InputError(
            f"a path needs two corners and two frames, got {len(corners)} and {frames}."
        )
    return _draw_path(saved, corners, frames)


def _draw_path(
    saved: SavedModel, corners: NDArray[np.float64], frames: int
) -> Generator[Progress, None, NDArray[np.float32]]:
    length = np.r_[0.0, np.linalg.norm(np.diff(corners, axis=0), axis=1).cumsum()]
    steps = np.linspace(0, length[-1], frames)
    along = np.stack([np.interp(steps, length, column) for column in corners.T], 1)
    parts: list[NDArray[np.float32]] = []
    for part in _drawn(saved, along):
        parts.append(part)
        yield Progress(sum(map(len, parts)), frames, "drawing")
    return np.concatenate(parts)


def checked_content(saved: SavedModel, content: ArrayLike) -> NDArray[np.float64]:
    """Content (m, k) as numbers, refused where it is not that of this model."""
    check_type("saved", saved, SavedModel)
    values, config = as_numbers("content", content), saved.model.config
    k = config.content_dim + (config.categories if saved.model.capabilities.clusters else 0)
    if values.ndim != 2 or values.shape[1] != k or not np.isfinite(values).all():
        raise InputError(
            f"the model draws content of (m, {k}) finite numbers, got shape {values.shape}; "
            "choose the model that the objects were found with."
        )
    return values


def _drawn(
    saved: SavedModel, content: NDArray[np.float64]
) -> Generator[NDArray[np.float32], None, None]:
    """Draw contents (m, k), a batch at a time."""
    model: Any = saved.model
    device, shape = next(model.parameters()).device, saved.box_shape
    if not len(content):
        return
    batch = max(1, _BATCH // int(np.prod(shape)))
    for part in torch.from_numpy(content).float().to(device).split(batch):
        with torch.no_grad():
            drawn = model.generate(part)
        drawn = drawn.movedim(1, -1) if model.config.channels > 1 else drawn
        yield drawn.cpu().numpy().reshape(len(part), *shape)


def _bounds(latent_map: LatentMap) -> Bounds:
    """Where the objects of a map are; of a width, also where they are all at one place."""
    there = np.isfinite(latent_map.coordinates).all(1)
    if not there.any():
        raise InputError("there are no objects on the map, so there is no grid of it.")
    low, high = np.percentile(latent_map.coordinates[there], _WITHIN, axis=0)
    margin = np.where(high > low, 0.0, 0.5)
    (x0, y0), (x1, y1) = (low - margin).tolist(), (high + margin).tolist()
    return x0, x1, y0, y1
