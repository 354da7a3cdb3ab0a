"""Boxes around objects, read from an image layer when they are wanted; nothing here knows of Qt."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import InputError
from ._layers import places_on, spatial_shape
from ._object_edits import record_of


class Places(NamedTuple):
    """Where objects lie in the array of an image layer."""

    data: Any
    """The array, of one level of a pyramid: numpy, Dask, Zarr."""
    leading: NDArray[np.int64]
    """Place of each object on the axes before those of a box, shape (n, axes)."""
    corners: NDArray[np.int64]
    """First pixel of the box of each, shape (n, d)."""
    rest: NDArray[np.float64]
    """From the centre pixel of the box to the object, in pixels, shape (n, d)."""
    side: int
    rgb: bool

    def read(self) -> NDArray[Any]:
        """Read the boxes, (n, [z,] y, x) or (n, y, x, 3); what lies outside is a reflection."""
        shape = spatial_shape(self.data, self.rgb)[-self.corners.shape[1] :]
        sides = (self.side,) * len(shape)
        tail = (3,) if self.rgb else ()
        boxes = np.empty((len(self.corners), *sides, *tail), np.dtype(self.data.dtype))
        for row, (ahead, corner) in enumerate(zip(self.leading, self.corners, strict=True)):
            wanted = [
                _reflected(first, self.side, size)
                for first, size in zip(corner.tolist(), shape, strict=True)
            ]
            window = tuple(slice(int(rows.min()), int(rows.max()) + 1) for rows in wanted)
            part = np.asarray(self.data[(*ahead.tolist(), *window)])
            inside = [rows - rows.min() for rows in wanted]
            boxes[row] = part[np.ix_(*inside)][..., :3] if self.rgb else part[np.ix_(*inside)]
        return boxes


def places_in(
    points: Any,
    image: Any,
    viewer: Any,
    rows: NDArray[np.int64],
    side: int,
    dimensions: int,
) -> Places:
    """Find where the boxes of some points of a layer lie in an image layer.

    Parameters
    ----------
    points, image : Points, Image
    viewer : napari.Viewer
    rows : array of int, shape (n,)
        Points of the layer.
    side : int
        Of the boxes, in pixels of the level of the pyramid that the objects were found in.
    dimensions : int
        Of a box: 2 or 3.

    Raises
    ------
    InputError
        If the image has fewer axes than a box.
    """
    about = record_of(points)
    data, factor = _level(image, about, dimensions)
    ahead = len(spatial_shape(data, image.rgb)) - dimensions
    if ahead < 0:
        raise InputError(
            f"{image.name} is an image, and the objects of {points.name} are volumes: choose the "
            "tomogram they lie in."
        )
    told = [int(i) for i in about.get("slice", [])][:ahead]
    slices = (*told, *[0] * (image.ndim - 2 - len(told)))
    found = places_on(points, np.asarray(points.data, float)[rows], image, viewer, slices)
    whole = spatial_shape(image.data[0] if image.multiscale else image.data, image.rgb)
    shape = spatial_shape(data, image.rgb)
    ratio = np.array(whole) / np.array(shape)
    leading = np.floor((np.round(found[:, :ahead]) + 0.5) / ratio[:ahead]).astype(np.int64)
    places = (found[:, ahead:] + 0.5) / factor - 0.5
    size = np.array(shape[ahead:])
    corners = np.floor(places + 0.5).astype(np.int64) - side // 2
    # A box that is all the image has is that of a stack, however the object lies in it.
    corners = np.where(size == side, 0, corners)
    return Places(
        data,
        np.clip(leading, 0, np.array(shape[:ahead], np.int64) - 1),
        corners,
        places - (corners + side // 2),
        side,
        bool(image.rgb),
    )


def _level(
    image: Any, about: dict[str, Any], dimensions: int
) -> tuple[Any, NDArray[np.float64] | float]:
    """Level of a pyramid that objects were found in, and layer pixels in one pixel of it."""
    if not image.multiscale:
        return image.data, 1.0
    wanted = float(np.mean(about.get("level_factor", 1.0)))
    whole = np.array(spatial_shape(image.data[0], image.rgb)[-dimensions:])
    factors = [
        whole / np.array(spatial_shape(level, image.rgb)[-dimensions:]) for level in image.data
    ]
    best = int(np.argmin([abs(np.log(factor.mean() / wanted)) for factor in factors]))
    return image.data[best], factors[best]


def _reflected(first: int, side: int, size: int) -> NDArray[np.int64]:
    """Pixels of a line of ``size`` that a box shows, mirrored at both ends."""
    period = max(2 * (size - 1), 1)
    rows = np.abs(np.arange(first, first + side)) % period
    return np.minimum(rows, period - rows) if size > 1 else np.zeros(side, np.int64)
