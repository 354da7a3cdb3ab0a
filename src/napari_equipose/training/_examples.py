"""Examples of the objects that are meant, clicked in large images: which image each lies in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._image_names import image_keys
from ..geometry import InputError
from ..io import read_table


def read_examples(
    path: str | Path, names: Sequence[str], shapes: Mapping[str, Sequence[int]]
) -> list[NDArray[np.float64] | None]:
    """Read the centers of examples from a file of picks, and tell which image each lies in.

    Parameters
    ----------
    path : str or Path
        A table of picks, in any format that `read_table` reads. Rows go with images by name; a
        table without names goes with the one image there is.
    names : sequence of str
        All images of the run.
    shapes : mapping
        The shape (y, x, ...) of each image that can be used, by name.

    Returns
    -------
    list of array, shape (n, 2), or None
        (y, x) in pixels, for each image of ``shapes``; None for an image without examples.

    Raises
    ------
    InputError
        If the file can't be read or lists nothing, or a row lies in no image.
    """
    table = read_table(path, "picks")
    if "z" in table:
        raise InputError(f"{path} lists positions in a volume; examples are (y, x) in an image.")
    if not len(table):
        raise InputError(f"{path} lists no examples: it needs a row (y, x) for each object.")
    image = _images_of(path, table["image"], names)
    places = table[["y", "x"]].to_numpy(np.float64)
    for row, (name, place) in enumerate(zip(image, places, strict=True), 1):
        if name in shapes:
            _check_inside(f"{path}: row {row}", place, name, shapes[name])
    places = np.maximum(places, 0.0)  # the outer half of a pixel at the border is the image too
    found = {name: places[[one == name for one in image]] for name in shapes}
    if not any(map(len, found.values())):
        raise InputError(f"{path}: all of its examples lie in images that can't be used.")
    return [mine if len(mine) else None for mine in found.values()]


def _images_of(path: str | Path, column: "pd.Series[Any]", names: Sequence[str]) -> list[str]:
    """Name for each row the image of the run that it means."""
    # Some formats have no names, and their readers give that of the file in place of one.
    nameless = {"", Path(path).stem} if len(names) == 1 else {""}
    told = {name for name in map(str, column) if name not in nameless}
    if len(names) > 1 and (column == "").any():
        row = int((column == "").to_numpy().argmax()) + 1
        raise InputError(
            f"{path}: row {row} names no image, and there are {len(names)}: add a column 'image' "
            "with their file names."
        )
    try:
        known, wanted = image_keys(names, told)
    except InputError as error:
        raise InputError(f"{path} and the images of the run: {error}") from error
    by_key = {key: name for name, key in known.items()}
    for name in sorted(told):
        if wanted[name] not in by_key:
            some = ", ".join(Path(one).name for one in names[:3])
            raise InputError(
                f"{path} has examples in {name!r}, which is no image of this run "
                f"({some}{', ...' if len(names) > 3 else ''}): leave these rows out, or mend the "
                "name."
            )
    return [by_key[wanted[name]] if name in told else names[0] for name in map(str, column)]


def _check_inside(row: str, place: NDArray[np.float64], name: str, shape: Sequence[int]) -> None:
    sides = np.array(shape[:2])
    if not ((place >= -0.5) & (place < sides - 0.5)).all():
        y, x = place
        raise InputError(
            f"{row} (y = {y:g}, x = {x:g}) lies outside {name} of {sides[0]} x {sides[1]} pixels: "
            "y counts rows and x columns, both from 0."
        )
