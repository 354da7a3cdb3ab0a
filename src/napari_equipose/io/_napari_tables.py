"""Tables of picks as napari's layers: on the image that they belong to, where that is known."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..geometry import InputError
from ._columns import angles_of, columns_of, dimensions_of, place_of
from ._csv import csv_columns
from ._mrc import MRC_SUFFIXES, open_mrc
from ._object_layers import BY_HAND, ID, object_layers, read_record
from ._relion import star_to_picks
from ._star import StarFile
from ._tables import read_table
from ._units import in_angstrom
from ._viewer import begins, image_named, open_images, place_on

LayerData = tuple[Any, dict[str, Any], str]

PICKS = (".box", ".cbox", ".coords", ".coord")
_SAME = 1.02
"""Pixel sizes that differ by less are the same."""
_MANY = 20
"""Names of images that are looked for."""
_OF_STACK = re.compile(r"^(\d{6,})@(.+)$")


def is_table(path: Path) -> bool:
    """Whether a file is a table of picks: by its suffix, or of a CSV and a text file by its names.

    A CSV file is one if it has the columns of our tables, or no columns but those of positions.
    """
    suffix = path.suffix.lower()
    if suffix in PICKS:
        return True
    names = set(csv_columns(path)) if suffix in (".csv", ".txt") else set()
    if suffix == ".txt":
        return {"image", "y", "x"} <= names  # Topaz', whose own names are known as others of ours
    ours = {*columns_of("picks", 3), *columns_of("picks", 2), ID, BY_HAND}
    others = {name for name in names - ours if not name.startswith("content_")}
    return {"y", "x"} <= names and ("image" in names or not others)


def read_points(path: Path, star: StarFile | None = None) -> list[LayerData]:
    """Read a table of picks as points, and arrows where rotations are known.

    They lie on the image that they name, if it is open and the table does not say otherwise; else
    they have the pixel size that the table, or the MRC file of that image beside it, tells.
    """
    picks = read_table(path, "picks")
    pixel_size = None if star is None else star_to_picks(star, path)[1]
    record = read_record(path)
    picks, numbers = _unstacked(picks)
    dimensions = dimensions_of(picks)
    axes = dimensions + (numbers is not None) + len((record or {}).get("slice") or ())
    place = _place(path, picks, axes, pixel_size, record)
    if record is None and picks[angles_of(dimensions)].isna().any(axis=1).all():
        layers = [_marks(path, picks)]
    else:
        if record is not None and place:
            record.pop("placement", None)
        layers = object_layers(picks, record, path.stem)
    labels = {"axis_labels": tuple("zyx"[-dimensions:])}
    if numbers is not None:
        layers = [_in_stack(layer, layers[-1], numbers) for layer in layers]
        labels = {"axis_labels": ("n", *labels["axis_labels"])}
    return [(data, labels | meta | place, kind) for data, meta, kind in layers]


def _unstacked(picks: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.intp] | None]:
    """Take the numbers out of names such as 000003@stack.mrcs, if all are of one stack."""
    parts = picks["image"].str.extract(_OF_STACK)
    if not len(picks) or parts[1].nunique() != 1 or parts[1].isna().any() or "z" in picks:
        return picks, None
    numbers = parts[0].to_numpy(str).astype(np.intp) - 1
    return picks.assign(image=parts[1]), numbers


def _in_stack(layer: LayerData, points: LayerData, numbers: NDArray[np.intp]) -> LayerData:
    """Give a layer of points, or of their arrows, an axis of the images they are in."""
    data, meta, kind = layer
    if kind == "points":
        return np.column_stack((numbers, data)), meta, kind
    rows = pd.Index(points[1]["features"][ID]).get_indexer(meta["features"][ID])
    ahead = np.zeros((*data.shape[:2], 1))
    ahead[:, 0, 0] = numbers[rows]
    return np.concatenate((ahead, data), 2), meta, kind


def _marks(path: Path, picks: pd.DataFrame) -> LayerData:
    """Rings at positions of which nothing more is known."""
    axes = place_of("picks", dimensions_of(picks))
    features = picks.drop(columns=axes).dropna(axis="columns", how="all")
    features = features.astype({"class": np.int64} if "class" in features else {})
    style = {"face_color": "transparent", "border_color": "yellow", "size": 20}
    meta = {"name": path.stem, "features": features} | style
    return picks[axes].to_numpy(np.float64), meta, "points"


def _place(
    path: Path,
    picks: pd.DataFrame,
    axes: int,
    pixel_size: float | None,
    record: dict[str, Any] | None,
) -> dict[str, Any]:
    """Keyword arguments of the layers that put them on their image; none where it is not known."""
    names = [name for name in picks["image"].unique()[:_MANY] if name]
    nameless = not names or names == [path.stem]
    if record is not None and record.get("image"):
        names.insert(0, str(record["image"]))
    if nameless:
        names.append(path.stem)
    images = open_images(axes)
    beside = [str(path.parent / name) for name in names]
    image = image_named([each for pair in zip(beside, names, strict=True) for each in pair], images)
    if image is None and nameless and len(images) == 1:
        image = images[0]
    if image is not None:
        shown = in_angstrom(abs(float(image.scale[-1])), image.units[-1])
        if record is not None or shown is None or pixel_size is None or _same(shown, pixel_size):
            return place_on(image, axes)
    if record is not None and record.get("placement"):
        return {}
    pixel_size = pixel_size or _size_beside(path, names)
    if pixel_size is None:
        return {}
    in_space = dimensions_of(picks)
    scale = (1.0,) * (axes - in_space) + (pixel_size,) * in_space
    return {"scale": scale, "units": ("pixel",) * (axes - in_space) + ("angstrom",) * in_space}


def _same(one: float, other: float) -> bool:
    return max(one, other) <= _SAME * min(one, other)


def _size_beside(path: Path, names: list[str]) -> float | None:
    """The pixel size of an MRC file that names mean: in a folder above the table, or beside it."""
    for name in names:
        given = Path(name)
        files = [] if ".." in given.parts else [folder / name for folder in path.resolve().parents]
        stems = {given.stem, given.name}
        for file in path.parent.iterdir():
            if file.stem in stems or begins(given.stem, file.stem):
                files.append(file)
        for file in files:
            if file.suffix.lower() in MRC_SUFFIXES and file.is_file():
                with suppress(InputError):
                    return open_mrc(file).sizes.get("x")
    return None
