"""From layers to arrays and back: which pixels a layer shows, and where in the world they lie."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Points
from numpy.typing import NDArray

from ..geometry import InputError
from ..io import places_on as places_on
from ..io import unit_ratios as unit_ratios
from ._forms import Choice

_UNEQUAL = 0.01


class Plane(NamedTuple):
    """One picture (y, x) or (y, x, 3) of an image layer, not read yet, and where it lies.

    It is a snapshot: what happens to the layer afterwards does not matter to it.
    """

    name: str
    data: Any
    """The layer's array, of one level of a pyramid: numpy, dask, zarr."""
    at: tuple[int, ...]
    """Place of the picture on the axes of ``data`` before y and x."""
    leading: tuple[int, ...]
    """The same on the axes of the layer, which are those of a pyramid's level 0."""
    rgb: bool
    factor: tuple[float, float]
    """Layer pixels in one pixel of the picture, (y, x); 1 but for levels of a pyramid."""
    placement: dict[str, Any]
    """Keyword arguments that put another layer where this one is."""
    axis_labels: tuple[str, ...]
    path: str | None = None
    """The file the layer was read from."""

    def read(self) -> NDArray[Any]:
        """Read the picture into memory, as a copy; of RGBA, the colours."""
        picture = np.array(self.data[self.at])
        return picture[..., :3] if self.rgb else picture

    @property
    def note(self) -> str:
        """Which picture it is, where there are several; else empty."""
        return slice_note(self.axis_labels, self.leading)

    def to_layer(self, positions: NDArray[Any]) -> NDArray[np.float64]:
        """Turn (y, x) pixels of the picture, (n, 2), into the layer's data coordinates."""
        return to_finest(positions, self.factor, self.leading)

    def to_picture(self, positions: NDArray[Any]) -> NDArray[np.float64]:
        """Turn the layer's data coordinates (..., y, x) into pixels (y, x) of the picture."""
        places = np.asarray(positions, np.float64)[..., -2:]
        return np.asarray((places + 0.5) / np.array(self.factor) - 0.5, np.float64)


def plane_of(layer: Any, viewer: Any, level: int = 0) -> Plane:
    """Take the picture of an image layer that the viewer shows now.

    Raises
    ------
    InputError
        If the layer has no y and x, no slice of it is what the viewer shows, or its pixels are no
        squares.
    """
    data = layer.data[level] if layer.multiscale else layer.data
    whole = layer.data[0] if layer.multiscale else layer.data
    shape = spatial_shape(data, layer.rgb)
    if len(shape) < 2:
        raise InputError(f"{layer.name}: an image (y, x) is wanted, this has shape {data.shape}.")
    check_slices(layer, viewer)
    ratio = np.array(spatial_shape(whole, layer.rgb)) / np.array(shape)
    check_voxels(layer, 2, ratio[-2:])
    leading = slice_of(layer, viewer)
    at = np.minimum(np.array(leading) / ratio[:-2], np.array(shape[:-2]) - 1)
    return Plane(
        name=str(layer.name),
        data=data,
        at=tuple(int(i) for i in at),
        leading=leading,
        rgb=bool(layer.rgb),
        factor=(float(ratio[-2]), float(ratio[-1])),
        placement=placement(layer),
        axis_labels=tuple(map(str, layer.axis_labels)),
        path=str(layer.source.path) if layer.source.path else None,
    )


def to_finest(
    positions: NDArray[Any], factor: Sequence[float], leading: Sequence[int]
) -> NDArray[np.float64]:
    """Turn pixels (n, d) of a part of a layer's pyramid into the layer's data coordinates."""
    # The first pixel of a level covers the first pixels of level 0, not their corner.
    places = (np.asarray(positions, np.float64) + 0.5) * np.array(factor) - 0.5
    ahead = np.tile(np.array(leading, np.float64), (len(places), 1))
    return np.concatenate((ahead, places), 1)


def slice_note(axis_labels: Sequence[str], leading: Sequence[int], part: str = "plane") -> str:
    """Say where a part of a layer, a plane or a volume, lies on the axes before its own.

    ``t = 1`` where the axis has a name; the names that napari gives, "-3", are none.
    """
    places = [
        f"{part} {i} of axis {axis}" if name.startswith("-") else f"{name} = {i}"
        for axis, (name, i) in enumerate(zip(axis_labels, leading, strict=False))
    ]
    return ", ".join(places)


def spatial_shape(data: Any, rgb: bool) -> tuple[int, ...]:
    """Shape of an image layer's array without its colours."""
    shape = tuple(data.shape)
    return shape[:-1] if rgb else shape


def slice_of(layer: Any, viewer: Any, dimensions: int = 2) -> tuple[int, ...]:
    """Where the viewer's sliders stand on the layer's axes before y and x, or z, y and x."""
    ahead = layer.ndim - dimensions
    if ahead <= 0:
        return ()
    point = np.array(viewer.dims.point, float)[-layer.ndim :]
    point = point * unit_ratios(viewer.layers.units, layer.units)[-layer.ndim :]
    at = np.round(layer.world_to_data(point)[:ahead]).astype(int)
    whole = layer.data[0] if layer.multiscale else layer.data
    last = np.array(spatial_shape(whole, layer.rgb)[:ahead]) - 1
    return tuple(int(i) for i in np.clip(at, 0, last))


def check_slices(layer: Any, viewer: Any, dimensions: int = 2) -> None:
    """Refuse a layer of which the viewer shows no picture, or volume, as it lies in the array.

    Raises
    ------
    InputError
    """
    ahead = layer.ndim - dimensions
    origin = np.array(layer.data_to_world((0.0,) * layer.ndim), float)
    slopes = np.array([layer.data_to_world(axis) - origin for axis in np.eye(layer.ndim)])
    if np.abs(slopes[ahead:, :ahead]).max(initial=0.0) > 1e-6 * np.abs(slopes).max():
        raise InputError(
            f"{layer.name} is turned out of its plane, so that what is shown runs through several "
            "of its slices. Take that from its transform, or make a layer of the slices wanted."
        )
    last, shown = viewer.dims.ndim - dimensions, viewer.dims.order[-2:]
    if ahead and min(shown) < last:
        names = "y and x, the last two" if dimensions == 2 else "those of its volumes, the last"
        raise InputError(
            f"{layer.name}: the viewer shows other axes than {names}; roll the axes "
            "(Ctrl+E) until it shows them."
        )


def check_voxels(layer: Any, dimensions: int, factor: Any = 1.0) -> None:
    """Refuse a layer whose pixels have no equal sides along its last axes.

    Parameters
    ----------
    layer : Image
    dimensions : int
        How many axes are those of an object.
    factor : array, optional
        Layer pixels in a pixel, of a level of a pyramid.

    Raises
    ------
    InputError
    """
    units = layer.units[-dimensions:]
    if not all(unit.is_compatible_with(units[-1]) for unit in units):
        text = ", ".join(f"{unit:~P}" for unit in units)
        raise InputError(
            f"{layer.name}: its last {dimensions} axes are in {text}, which can't be the sides of "
            "one object; choose another layer, or mend the layer's units."
        )
    steps = np.abs(np.array(layer.scale, float)[-dimensions:])  # an affine is no size of a voxel
    sides = steps * unit_ratios(units, [units[-1]] * dimensions) * factor
    if sides.max() > (1 + _UNEQUAL) * sides.min():
        text = " x ".join(f"{side:.4g}" for side in sides)
        raise InputError(
            f"{layer.name}: the sides of its pixels are {text}, and objects turn only in pixels of "
            "equal sides; resample it, or mend the layer's scale."
        )


def placement(layer: Any) -> dict[str, Any]:
    """Keyword arguments of a new layer that put its data where a layer's data are."""
    return {
        "scale": np.array(layer.scale),
        "translate": np.array(layer.translate),
        "rotate": np.array(layer.rotate),
        "shear": np.array(layer.shear),
        "affine": np.array(layer.affine.affine_matrix),
        "units": tuple(layer.units),
        "axis_labels": tuple(layer.axis_labels),
    }


def points_on(points: Any, image: Any, viewer: Any, plane: Plane) -> NDArray[np.float64]:
    """Pixels (y, x) of a picture at which the points of a layer lie, (n, 2).

    Of points with more axes, those on the picture's slice are taken; hidden ones and those beside
    the picture are not.
    """
    data = np.asarray(points.data, float)[np.asarray(points.shown, bool)]
    return inside(on_plane(points, data, image, viewer, plane), plane)


def on_plane(
    layer: Any, data: NDArray[Any], image: Any, viewer: Any, plane: Plane
) -> NDArray[np.float64]:
    """Pixels (y, x) of a picture, (m, 2), of a layer's coordinates (n, d) on its slice."""
    places = places_on(layer, data, image, viewer, plane.leading)
    on = np.round(places[:, : image.ndim - 2]).astype(int) == np.array(plane.leading, int)
    return plane.to_picture(places[on.all(1)])


def inside(places: NDArray[np.float64], plane: Plane) -> NDArray[np.float64]:
    """Those of (y, x) pixels, (n, 2), that lie on a picture."""
    size = np.array(spatial_shape(plane.data, plane.rgb)[-2:])
    return places[((places >= -0.5) & (places < size - 0.5)).all(1)]


def box_points(plane: Plane, positions: NDArray[Any], box_size: int) -> Points:
    """Make a points layer of boxes around (y, x) pixels of a picture, (n, 2).

    A few are drawn as boxes and tell the size; all of them would hide what they hold.
    """
    size = box_size * float(np.mean(plane.factor))
    places = plane.to_layer(positions)
    whole = np.arange(len(places)) % (len(places) // 6 + 1) == 0
    return Points(
        places,
        ndim=places.shape[1],
        name=f"{plane.name} boxes",
        symbol=np.where(whole, "square", "cross"),
        size=np.where(whole, size, size / 6),
        face_color=np.where(whole[:, None], (0, 0, 0, 0), (1, 0.65, 0, 1)),
        border_color="orange",
        border_width=0.04,
        metadata={"equipose": {"image": plane.name, "box_size": round(size)}},
        **plane.placement,
    )


def show_levels(choice: Choice, layer: Any, dimensions: int = 2) -> bool:
    """Offer the levels of a layer's pyramid; say whether there are several."""
    several = layer is not None and bool(layer.multiscale)
    choice.clear()
    for index, data in enumerate(layer.data if several else []):
        sides = spatial_shape(data, layer.rgb)[-dimensions:]
        choice.addItem(f"{index}: {' x '.join(map(str, sides))} pixels", index)
    return several


def pixel_length(layer: Any) -> tuple[float, str]:
    """Length of a pixel along x, and its unit as napari writes it."""
    return float(layer.scale[-1]), f"{layer.units[-1]:~P}"
