"""Readers and writers for napari's menus: layer tuples in and out, napari itself unseen."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..geometry import InputError, rotations_from_relion
from ._columns import angles_of, pick_table
from ._images import read_image
from ._mrc import MRC_SUFFIXES, write_mrc
from ._napari_tables import LayerData, is_table, read_points
from ._object_layers import (
    BY_HAND,
    ID,
    check_record,
    placement_of,
    unmeasured,
    with_identity,
    write_record,
)
from ._stacks import ParticleStack, read_stack
from ._star import read_star
from ._tables import write_table
from ._units import in_angstrom
from ._viewer import image_under, tell

ReaderFunction = Callable[[str | list[str]], list[LayerData]]


def napari_get_reader(path: str | list[str]) -> ReaderFunction | None:
    """Return a reader if this package reads all of the files: MRC, STAR, and tables of picks.

    CSV and text files of others are left to others.
    """
    paths = [Path(one) for one in ([path] if isinstance(path, str) else path)]
    return _read if all(map(_is_ours, paths)) else None


def _is_ours(path: Path) -> bool:
    return path.suffix.lower() in (*MRC_SUFFIXES, ".star") or is_table(path)


def _read(path: str | list[str]) -> list[LayerData]:
    """Images in Angstrom where their file knows its pixel size, stacks, and tables of picks."""
    layers: list[LayerData] = []
    for one in [Path(path)] if isinstance(path, str) else map(Path, path):
        suffix = one.suffix.lower()
        star = read_star(one) if suffix == ".star" else None
        if suffix in MRC_SUFFIXES:
            image = read_image(one)
            meta = _placed(image.axes, image.spacing or image.pixel_size) | {"name": one.stem}
            layers.append((image.data, meta, "image"))
        elif star is not None and "rlnImageName" in star.particles:
            layers.append(_stack(read_stack(one)))
        else:
            layers += read_points(one, star)
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

    Positions are in pixels of the image that the layer was made from, or of the one that it lies on
    in the viewer. Points that are hidden are left out; of points found in one slice of a series,
    the place in that slice. Points in a stack of images are told apart by the name of the image,
    ``000003@stack.mrcs`` for the third. Further features go into .csv only.
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
    name, sides = str(record.get("image", meta.get("name", ""))), _sides(meta)
    labels = [str(label) for label in meta.get("axis_labels") or ()]
    if "image" not in record:
        positions, image = image_under(str(meta.get("name")), positions)
        if image is not None:
            name = str(image.source.path or image.name)
            sides = _sides({"scale": image.scale, "units": image.units})
            labels = list(image.axis_labels)
    ahead = len(record.get("slice", ()))
    count = positions.shape[1] - ahead if positions.ndim == 2 else 0
    in_space = count == 3 and _is_volume(features, sides, labels)
    names = pd.Series(name, range(len(positions)), dtype="str")
    if "image" in features:
        names = features["image"].fillna(name).astype("str").reset_index(drop=True)
    if count == 3 and not in_space:
        numbers = np.rint(positions[:, ahead]).astype(int) + 1
        names = pd.Series([f"{i:06d}@{one}" for i, one in zip(numbers, names, strict=True)])
    elif count not in (2, 3):
        raise InputError(
            f"{path}: points in {positions.shape[-1]} dimensions can't be written; wanted (y, x), "
            "(z, y, x) in a volume, or (n, y, x) in a stack of images."
        )
    dimensions = 2 + in_space
    contents = [column for column in features if str(column).startswith("content_")]
    table = pick_table(
        name,
        positions[:, -dimensions:],
        _rotation(features, in_space),
        features.get("score"),
        features[contents] if contents else None,
        _classes(path, features),
    )
    table["image"] = names.to_numpy()
    further = [
        column for column in features if column not in (*table, *angles_of(2), *angles_of(3))
    ]
    for column in further:
        table[column] = features[column].to_numpy()
    sizes = np.asarray(meta.get("size", 0.0), np.float64)
    box_size = record.get("box_size") or round(float(np.median(sizes)) if sizes.size else 1.0)
    tell(write_table(path, table, pixel_size=sides[-1], box_size=box_size or None))
    if recorded:
        write_record(path, record, placement_of(meta))
    return [path]


def _is_volume(features: pd.DataFrame, sides: list[float | None], labels: list[str]) -> bool:
    """Whether points of three axes lie in a volume, and not in a stack of images or a series.

    Angles in space tell it, or one in a plane; else the first of three axes counts images if its
    name says so, or if the other two are lengths and it is none.
    """
    if set(angles_of(3)) <= set(features):
        return True
    if "rotation" in features or (labels and labels[-3:][0] in ("n", "t", "time", "frame", "c")):
        return False
    return len(sides) < 3 or sides[-3] is not None or sides[-1] is None


def _classes(path: str, features: pd.DataFrame) -> Any:
    """Classes of points: what belongs to none has none in a table."""
    if "class" not in features:
        return None
    given = features["class"]
    numbers = pd.to_numeric(given, errors="coerce").astype("Float64")
    words = (numbers.isna() & given.notna() & (given.astype(str) != "")).to_numpy()
    if words.any() or (numbers.dropna() % 1 != 0).any():
        word = given[words].iloc[0] if words.any() else numbers.dropna().iloc[0]
        raise InputError(
            f"{path}: the feature class numbers classes from 0, and {word!r} is no such number; "
            "name the feature otherwise to write it as it is."
        )
    return numbers.where(numbers >= 0).astype("Int64")


def _rotation(features: pd.DataFrame, in_space: bool) -> NDArray[np.float64] | None:
    """Rotations of points, of whose features some are angles in degrees."""
    if in_space:
        if not set(angles_of(3)) <= set(features):
            return None
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


def napari_save_points(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a Points layer for napari's menus, as `napari_write_points` does.

    Raises
    ------
    OSError
        Where that refuses.
    """
    with _said_aloud():
        return napari_write_points(path, data, meta)


def napari_save_image(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an Image layer for napari's menus, as `napari_write_image` does.

    Raises
    ------
    OSError
        Where that refuses.
    """
    with _said_aloud():
        return napari_write_image(path, data, meta)


@contextmanager
def _said_aloud() -> Iterator[None]:
    """Let a refusal reach the person who saves: napari drops every ValueError of a writer."""
    try:
        yield
    except InputError as error:
        raise OSError(str(error)) from error
