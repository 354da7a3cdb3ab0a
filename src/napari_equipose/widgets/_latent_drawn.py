"""Layers and pictures of what a model draws over the map; nothing here knows of Qt."""

from typing import Any, NamedTuple

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from ..inference import LatentMap
from ._density import Bounds
from ._latent_actions import limits_of, stack_of
from ._layers import unit_ratios
from ._pictures import grey_levels, sections

_WITHIN = (1.0, 99.0)  # percentiles
_FILLED = 0.9  # of the view, by the layer that is brought into it
_GAP = 0.02  # of the width of an image, between it and what lies beside it


class Grid(NamedTuple):
    """Objects drawn at the places of a grid of the map."""

    objects: NDArray[np.float32]
    """Shape (rows, columns, [z,] y, x) or (rows, columns, y, x, 3); the first row is the top."""
    bounds: Bounds
    """Of the map that they cover."""
    dimensions: int
    """Of an object."""


def pictures_of(objects: NDArray[Any], dimensions: int) -> NDArray[np.uint8]:
    """Pictures (rows, columns, y, x) or (rows, columns, y, x, 3) of a grid of objects.

    Of volumes their middle sections across z.
    """
    flat = objects.reshape(-1, *objects.shape[2:])
    pictures = [sections(one)[0] if dimensions == 3 else one for one in flat]
    return np.stack(grey_levels(pictures)).reshape(*objects.shape[:2], *pictures[0].shape)


def mosaic(objects: NDArray[Any], dimensions: int) -> NDArray[Any]:
    """Lay a grid of objects side by side, their rows along y and their columns along x."""
    first = objects.ndim - 2 - (objects.ndim == dimensions + 3)  # of the axes y and x
    lying = np.moveaxis(objects, (0, 1), (first - 2, first))  # (..., rows, y, columns, x, ...)
    lead, tail = lying.shape[: first - 2], lying.shape[first + 2 :]
    rows, high, columns, wide = lying.shape[first - 2 : first + 2]
    return lying.reshape(*lead, rows * high, columns * wide, *tail)


def covering(latent_map: LatentMap, view: Bounds) -> Bounds:
    """The part of a view of the map where objects are, from the first to the 99th percentile.

    A view of none of them is taken as it is.
    """
    x, y = latent_map.coordinates[np.isfinite(latent_map.coordinates).all(1)].T
    seen = (x >= view.x0) & (x <= view.x1) & (y >= view.y0) & (y <= view.y1)
    if seen.sum() < 2:
        return view
    x0, x1 = np.percentile(x[seen], _WITHIN).tolist()
    y0, y1 = np.percentile(y[seen], _WITHIN).tolist()
    return Bounds(x0, x1, y0, y1) if x0 < x1 and y0 < y1 else view


def lay_beside(layer: Image, image: Image | None) -> Image:
    """Lay a new layer to the right of the image that its objects come from, if it can be."""
    if image is None or tuple(image.units)[-2:] != tuple(layer.units)[-2:]:
        return layer
    low, high = image.extent.world
    translate = np.array(layer.translate, float)
    translate[-2] = low[-2]
    translate[-1] = high[-1] + _GAP * (high[-1] - low[-1])
    layer.translate = translate
    return layer


def show_layer(viewer: Any, layer: Image, dimensions: int) -> None:
    """Bring a layer into the middle of the view, as large as it fits, its first frame in front.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : Image
    dimensions : int
        Of an object; axes before those count frames.
    """
    ratios = np.ones(layer.ndim)
    if viewer.layers.units is not None:
        ratios = unit_ratios(tuple(layer.units), tuple(viewer.layers.units)[-layer.ndim :])
    low, high = (np.array(corner, float) * ratios for corner in layer.extent.world)
    middle = (low + high) / 2
    middle[: layer.ndim - dimensions] = 0.0
    ahead, shown = viewer.dims.ndim - layer.ndim, viewer.dims.ndisplay
    for axis in range(layer.ndim - shown):
        viewer.dims.set_point(ahead + axis, float(middle[axis]))
    centre = np.zeros(3)
    centre[-shown:] = middle[-shown:]
    viewer.scene.camera.center = tuple(centre.tolist())
    widest = float((high - low)[-shown:].max())
    viewer.scene.camera.zoom = _FILLED * min(viewer.canvas.size) / max(widest, 1e-12)


def grid_layer(grid: Grid, voxel: tuple[float, str], name: str, about: dict[str, Any]) -> Image:
    """Make an image layer of a grid, its objects side by side."""
    length, unit = voxel
    data = mosaic(grid.objects, grid.dimensions)
    colour = grid.objects.ndim == grid.dimensions + 3
    return Image(
        _shown(data, colour),
        name=name,
        rgb=colour,
        scale=(length,) * grid.dimensions,
        units=(unit,) * grid.dimensions,
        axis_labels=tuple("zyx"[-grid.dimensions :]),
        contrast_limits=None if colour else limits_of(data),
        interpolation2d="linear",
        metadata={"equipose": about | {"bounds": list(grid.bounds)}},
    )


def movie_layer(
    frames: NDArray[np.float32],
    voxel: tuple[float, str],
    dimensions: int,
    name: str,
    about: dict[str, Any],
) -> Image:
    """Make an image layer of what an object becomes along a path, its first axis the time."""
    colour = frames.ndim == dimensions + 2
    layer = stack_of(_shown(frames, colour), voxel, dimensions, name, about)
    layer.axis_labels = ("frame", *layer.axis_labels[1:])
    layer.interpolation2d = "linear"
    return layer


def _shown(data: NDArray[Any], colour: bool) -> NDArray[Any]:
    """What napari shows: colours between 0 and 1."""
    if not colour:
        return data
    low, high = limits_of(data)
    return np.clip((data - low) / (high - low), 0, 1)
