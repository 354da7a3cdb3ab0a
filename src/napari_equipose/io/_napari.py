"""Readers and writers for napari's menus: layer tuples in and out, napari itself unseen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..geometry import InputError, rotations_from_relion
from ._columns import angles_of, dimensions_of, pick_table, place_of
from ._images import read_image
from ._mrc import MRC_SUFFIXES, write_mrc
from ._object_layers import (
    BY_HAND,
    ID,
    check_record,
    placement_of,
    unmeasured,
    with_identity,
    write_record,
)
from ._relion import star_to_picks
from ._stacks import ParticleStack, read_stack
from ._star import read_star
from ._tables import read_table, write_table
from ._units import in_angstrom

LayerData = tuple[Any, dict[str, Any], str]
ReaderFunction = Callable[[str | list[str]], list[LayerData]]

_PICKS = (".box", ".cbox", ".coords")


def napari_get_reader(path: str | list[str]) -> ReaderFunction | None:
    """Return a reader if this package reads the file: MRC, STAR and pickers' files by suffix."""
    first = Path(path[0] if isinstance(path, list) else path)
    if first.suffix.lower() in MRC_SUFFIXES:
        return _read_images
    if first.suffix.lower() in (".star", *_PICKS):
        return _read_particles
    return None


def _read_images(path: str | list[str]) -> list[LayerData]:
    """One image layer a file, in Angstrom where the file knows its pixel size."""
    layers: list[LayerData] = []
    for name in [path] if isinstance(path, str) else path:
        image = read_image(name)
        meta = _placed(image.axes, image.spacing or image.pixel_size) | {"name": image.path.stem}
        layers.append((image.data, meta, "image"))
    return layers


def _read_particles(path: str | list[str]) -> list[LayerData]:
    """A stack of the images a file names, else the positions it lists."""
    layers: list[LayerData] = []
    for name in [path] if isinstance(path, str) else path:
        if Path(name).suffix.lower() in _PICKS:
            layers.append(_points(Path(name), read_table(name), None))
            continue
        star = read_star(name)
        if "rlnImageName" not in star.particles:
            layers.append(_points(Path(name), *star_to_picks(star, Path(name))))
        else:
            layers.append(_stack(read_stack(name)))
    return layers


def _stack(stack: ParticleStack) -> LayerData:
    meta = _placed(stack.axes, stack.pixel_size) | {"name": stack.path.stem}
    if stack.table is not None:
        meta["metadata"] = {"table": stack.table, "optics": stack.optics}
    # napari takes contrast limits from all of a lazy array; two images tell it enough.
    few = np.asarray(stack.images[[0, -1]])
    if (low := float(few.min())) < (high := float(few.max())):
        meta["contrast_limits"] = (low, high)
    return stack.images, meta, "image"


def _points(path: Path, picks: pd.DataFrame, pixel_size: float | None) -> LayerData:
    axes = place_of("picks", dimensions_of(picks))
    features = picks.drop(columns=axes).dropna(axis="columns", how="all")
    features = features.astype({"class": np.int64} if "class" in features else {})
    meta = _placed("".join(axes), pixel_size) | {"name": path.stem, "features": features}
    style = {"face_color": "transparent", "border_color": "yellow", "size": 20}
    return picks[axes].to_numpy(np.float64), meta | style, "points"


def _placed(axes: str, pixel_size: float | tuple[float, ...] | None) -> dict[str, Any]:
    """The layer's scale, units and labels; an axis that only counts stays in pixels."""
    meta: dict[str, Any] = {"rgb": True} if axes.endswith("c") else {}
    axes = axes.removesuffix("c")
    meta["axis_labels"] = tuple(axes)
    if pixel_size is not None:
        n_sides = sum(axis != "n" for axis in axes)
        sides = pixel_size if isinstance(pixel_size, tuple) else (pixel_size,) * n_sides
        meta["scale"] = (1.0,) * (len(axes) - n_sides) + sides
        meta["units"] = tuple("pixel" if axis == "n" else "angstrom" for axis in axes)
    return meta


def napari_write_points(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a Points layer as .star, .csv, .box or .txt; its features go along.

    Positions are in the layer's own pixels, which are those of the image it was made from. Points
    that are hidden are left out; of points found in one slice of a series, the place in that slice.
    Points in space are those of a volume where their features are its angles, or its record says.
    Beside a .csv or a .star file what the points were found with is written as .json, if the layer
    knows it. Of a point that carries the ``id`` of another nothing is known: it was added by hand.
    """
    if recorded := Path(path).suffix.lower() in (".csv", ".star"):
        recorded = bool(meta.get("metadata", {}).get("equipose"))
    if recorded:
        check_record(path)
    record = meta.get("metadata", {}).get("equipose", {})
    positions = np.asarray(data, np.float64)
    features = pd.DataFrame(meta.get("features"))
    if ID in features:
        copies = features[ID].duplicated().to_numpy()
        features = with_identity(unmeasured(features, copies))
        features[BY_HAND] |= copies
    shown = np.broadcast_to(np.asarray(meta.get("shown", True), bool), len(positions))
    positions, features = positions[shown], features[shown] if len(features) else features
    ahead = len(record.get("slice", ()))
    in_space = set(angles_of(3)) <= set(features) and positions.shape[-1] == 3 + ahead
    dimensions = 2 + in_space
    if positions.ndim == 2 and positions.shape[1] == dimensions + ahead:
        positions = positions[:, -dimensions:]
    if positions.ndim != 2 or positions.shape[1] != dimensions:
        raise InputError(
            f"{path}: points in {positions.shape[-1]} dimensions can't be written; wanted (y, x), "
            "or (z, y, x) with the features rot, tilt and psi."
        )
    contents = [name for name in features if str(name).startswith("content_")]
    table = pick_table(
        str(record.get("image", meta.get("name", ""))),
        positions,
        _rotation(features, in_space),
        features.get("score"),
        features[contents] if contents else None,
        _classes(features),
    )
    if "image" in features:
        table["image"] = features["image"].astype("str").to_numpy()
    for name in (ID, BY_HAND):
        if name in features:
            table[name] = features[name].to_numpy()
    box_size = record.get("box_size") or round(float(np.median(meta.get("size", 0.0))))
    write_table(path, table, pixel_size=_pixel_size(meta), box_size=box_size or None)
    if recorded:
        write_record(path, record, placement_of(meta))
    return [path]


def _classes(features: pd.DataFrame) -> Any:
    """Classes of points: what belongs to none has none in a table."""
    if "class" not in features:
        return None
    numbers = pd.to_numeric(features["class"], errors="coerce").astype("Float64")
    return numbers.where(numbers >= 0).astype("Int64")


def _rotation(features: pd.DataFrame, in_space: bool) -> NDArray[np.float64] | None:
    """Rotations of points, of whose features some are angles in degrees."""
    if in_space:
        angles = features[angles_of(3)].to_numpy(np.float64)
        known = np.isfinite(angles).all(1)
        matrices = np.full((len(angles), 3, 3), np.nan)
        matrices[known] = rotations_from_relion(angles[known])
        return matrices
    if "rotation" not in features:
        return None
    radians: NDArray[np.float64] = np.radians(features["rotation"].to_numpy(np.float64))
    return radians


def napari_write_image(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an Image layer as MRC with its pixel size."""
    if meta.get("rgb"):
        raise InputError(f"{path}: MRC files have no colour; save {meta.get('name')} as TIFF.")
    level = data[0] if meta.get("multiscale") else data
    labels = tuple(meta.get("axis_labels", ()))
    axes = "nyx" if labels[:1] == ("n",) and level.ndim == 3 else None
    sides = _sides(meta)[-(2 if axes == "nyx" else 3) :]
    known = [side for side in sides if side is not None]
    write_mrc(path, np.asarray(level), known if len(known) == len(sides) else None, axes=axes)
    return [path]


def _sides(meta: dict[str, Any]) -> list[float | None]:
    """Angstrom of a pixel along each axis of a layer, None where its unit is no length.

    A scale may be negative: the layer is mirrored, its pixels are as long as without.
    """
    units, scale = meta.get("units"), meta.get("scale")
    if units is None or scale is None or not len(scale):
        return [None]
    named = [units] * len(scale) if isinstance(units, str) else units
    # napari hands over pint units, whose str is the long name.
    return [in_angstrom(abs(float(size)), unit) for size, unit in zip(scale, named, strict=True)]


def _pixel_size(meta: dict[str, Any]) -> float | None:
    """The pixel size of a layer along x, in Angstrom, if its units are lengths."""
    return _sides(meta)[-1]
