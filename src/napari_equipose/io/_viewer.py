"""What is open in napari, where files are opened or saved there: layers, never napari itself."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import InputError

_NEAR = 0.01
"""Pixels that make no difference."""


def open_viewer() -> Any:
    """The viewer that was shown last; None where napari is not in use."""
    napari = sys.modules.get("napari")
    return None if napari is None else napari.current_viewer()


def tell(notes: Iterable[str]) -> None:
    """Show a person what they should know of a file that was written."""
    if open_viewer() is not None:
        for note in notes:
            sys.modules["napari"].utils.notifications.show_info(note)


def open_images(dimensions: int) -> list[Any]:
    """The open image layers with at least this number of axes."""
    viewer = open_viewer()
    if viewer is None:
        return []
    image = sys.modules["napari"].layers.Image
    return [one for one in viewer.layers if isinstance(one, image) and one.ndim >= dimensions]


def image_named(names: Iterable[str], images: Sequence[Any]) -> Any:
    """The one layer of an image that goes by one of some names; None if there is none, or several.

    A name may be a path, or end in a word that says what was found (``a_autopick`` of ``a``).
    """
    for name in names:
        for same in (_is_file, _is_called, _begins):
            found = [one for one in images if same(name, one)]
            if len(found) == 1:
                return found[0]
            if found:
                break
    return None


def _is_file(name: str, layer: Any) -> bool:
    source = layer.source.path
    return bool(name) and bool(source) and Path(source).resolve() == Path(name).resolve()


def _is_called(name: str, layer: Any) -> bool:
    called = {Path(name).name, Path(name).stem, name} - {""}
    return bool(called & _names(layer))


def _begins(name: str, layer: Any) -> bool:
    return any(begins(Path(name).stem, one) for one in _names(layer))


def begins(name: str, image: str) -> bool:
    """Whether a name is that of an image and a word after it."""
    rest = name.removeprefix(image)
    return bool(image) and rest != name and rest[0] in "_-. "


def _names(layer: Any) -> set[str]:
    source = Path(layer.source.path).name if layer.source.path else ""
    return {layer.name, source, Path(source).stem} - {""}


def place_on(layer: Any, dimensions: int) -> dict[str, Any]:
    """Keyword arguments that put a layer of the last axes of an image where these are."""
    units, labels = tuple(layer.units)[-dimensions:], tuple(layer.axis_labels)[-dimensions:]
    place: dict[str, Any] = {
        "scale": np.array(layer.scale)[-dimensions:],
        "translate": np.array(layer.translate)[-dimensions:],
        "units": units,
        "axis_labels": labels,
    }
    if layer.ndim == dimensions:
        place |= {"rotate": np.array(layer.rotate), "shear": np.array(layer.shear)}
        place["affine"] = np.array(layer.affine.affine_matrix)
    return place


def unit_ratios(given: Sequence[Any] | None, wanted: Sequence[Any]) -> NDArray[np.float64]:
    """Factors that turn world coordinates in the units ``given`` into those ``wanted``.

    napari leaves the units out of a layer's transforms, and draws layers of unlike units as if
    they had none; then ``given`` is None, and the factors are 1.
    """
    ratios = np.ones(len(given or wanted))
    if given is not None:
        n = min(len(given), len(wanted))
        for axis in range(-n, 0):
            if given[axis].is_compatible_with(wanted[axis]):
                ratios[axis] = (1 * given[axis]).to(wanted[axis]).magnitude
    return ratios


def places_on(
    layer: Any, data: NDArray[Any], image: Any, viewer: Any, leading: tuple[int, ...]
) -> NDArray[np.float64]:
    """Turn data coordinates (n, d) of a layer into those of an image; through the world of both.

    Axes that the layer lacks are at ``leading``, the place of a picture on the image's axes before
    y and x.
    """
    ndim = min(layer.ndim, image.ndim)
    ratios = np.ones(ndim)
    if viewer.layers.units is not None:
        ratios = unit_ratios(tuple(layer.units)[-ndim:], tuple(image.units)[-ndim:])
    place = np.array(image.data_to_world((*leading, 0.0, 0.0)), float)

    def moved(point: NDArray[Any]) -> NDArray[np.float64]:
        place[-ndim:] = np.array(layer.data_to_world(point), float)[-ndim:] * ratios
        return np.array(image.world_to_data(place), float)

    # Both transforms are affine, so that where the corners of a simplex go says all.
    base = moved(np.zeros(layer.ndim))
    slopes = np.array([moved(row) - base for row in np.eye(layer.ndim)])
    return np.asarray(base + data @ slopes, np.float64)


def image_under(name: str, positions: NDArray[np.float64]) -> tuple[NDArray[np.float64], Any]:
    """Find the image that the points of a layer lie on, and where on it they are.

    Parameters
    ----------
    name : str
        Of the points layer in the viewer that is open.
    positions : array, shape (n, d)
        Some of its data.

    Returns
    -------
    array, shape (n, d)
        Pixels of the image.
    layer or None
        The image; None if there is none, and positions are as they were.

    Raises
    ------
    InputError
        If the points lie on several images that are not at one place.
    """
    viewer = open_viewer()
    if viewer is None or name not in viewer.layers:
        return positions, None
    points, dimensions = viewer.layers[name], positions.shape[1]
    if points.ndim != dimensions:
        return positions, None
    found: list[tuple[NDArray[np.float64], Any]] = []
    images = [image for image in open_images(dimensions) if image.visible]
    for image in images:
        leading = (0,) * (image.ndim - 2)
        found.append((places_on(points, positions, image, viewer, leading)[:, -dimensions:], image))
    on = [one for one in found if _lie_on(*one)] or found
    if not on:
        return positions, None
    places, image = on[0]
    apart = [other for there, other in on[1:] if np.abs(there - places).max(initial=0) > _NEAR]
    if apart:
        raise InputError(
            f"{name} lies on {image.name} and on {apart[0].name}, which are not at one place; hide "
            "all images but the one whose pixels are to be written."
        )
    return places, image


def _lie_on(places: NDArray[np.float64], image: Any) -> bool:
    """Whether points lie within an image."""
    level = image.data[0] if image.multiscale else image.data
    size = np.array(level.shape[: level.ndim - bool(image.rgb)])[-places.shape[1] :]
    return bool(((places > -1) & (places < size)).all())
