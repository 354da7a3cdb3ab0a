"""Picks as other pickers write them: EMAN's .box, crYOLO's .cbox and .coords, Topaz' .txt.

Those of EMAN and .cbox say where the corner of a box is, the others its centre.
"""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..geometry import InputError, box_centre
from ._csv import read_csv
from ._files import atomic_path, existing_file, reading
from ._star import read_blocks

_TOPAZ = ("image_name", "x_coord", "y_coord", "score")


def read_box(path: str | Path) -> pd.DataFrame:
    """Read an EMAN .box file: each line the box's corner x, y, then its width and height.

    Returns
    -------
    DataFrame
        ``image`` (the file's stem), ``y``, ``x``: the centre pixels.
    """
    boxes = _numbers(path, "an EMAN .box file", 4)
    return _places(path, boxes[:, :2] + boxes[:, 2:] // 2)


def read_cbox(path: str | Path) -> pd.DataFrame:
    """Read a .cbox file of crYOLO: a STAR file of corners, of every box it considered.

    Returns
    -------
    DataFrame
        ``image`` (the file's stem), ``y``, ``x``: the centres, as crYOLO reckons them half a box
        from the corner; ``score``: the confidence. crYOLO itself shows those above 0.3.
    """
    boxes = read_blocks(path, []).get("cryolo")
    names = ["CoordinateX", "CoordinateY", "Width", "Height"]
    if boxes is None or not set(names) <= set(boxes.columns):
        raise InputError(f"{path} is not a .cbox file: it has no table data_cryolo of boxes.")
    if "CoordinateZ" in boxes and pd.to_numeric(boxes["CoordinateZ"], "coerce").nunique() > 1:
        raise InputError(f"{path} lists positions in a volume; wanted those in an image.")
    with reading(path, "a .cbox file of numbers"):
        numbers = boxes[names].astype(np.float64).to_numpy()
    table = _places(path, numbers[:, :2] + numbers[:, 2:] / 2)
    if "Confidence" in boxes:
        table["score"] = pd.to_numeric(boxes["Confidence"], "coerce")
    return table


def read_coords(path: str | Path) -> pd.DataFrame:
    """Read a .coords file: a centre x, y (, z) a line, or a table of Topaz.

    Returns
    -------
    DataFrame
        ``image`` (the file's stem, where the file has none), (``z``,) ``y``, ``x``.
    """
    path = existing_file(path)
    with path.open("rb") as file:
        if file.read(10) == b"image_name":
            return read_topaz(path)
    centres = _numbers(path, "a .coords file")
    if centres.shape[1] not in (2, 3):
        raise InputError(f"{path} has {centres.shape[1]} numbers a line; wanted x, y (, z).")
    return _places(path, centres)


def _numbers(path: str | Path, kind: str, columns: int | None = None) -> NDArray[np.float64]:
    """Lines of numbers, of which only the first columns are wanted, if it is said how many."""
    path = existing_file(path)
    with reading(path, kind), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # where there are no lines
        wanted = None if columns is None else range(columns)
        numbers = np.loadtxt(path, np.float64, ndmin=2, usecols=wanted)
    return numbers if numbers.size else np.empty((0, columns or 2))


def _places(path: str | Path, centres: NDArray[np.float64]) -> pd.DataFrame:
    image = pd.array([Path(path).stem] * len(centres), dtype="str")
    places = dict(zip("xyz", centres.T, strict=False))
    return pd.DataFrame({"image": image, **dict(reversed(places.items()))})


def write_box(path: str | Path, picks: pd.DataFrame, box_size: int) -> None:
    """Write picks of one image as an EMAN .box file, to whole pixels."""
    images = picks["image"].unique()
    if len(images) > 1:
        raise InputError(f"{path}: a .box file is of one image; these picks are of {len(images)}.")
    corners = np.rint(picks[["x", "y"]].to_numpy(np.float64)) - box_centre(box_size)
    with atomic_path(path) as temporary:
        sizes = np.full_like(corners, box_size)
        np.savetxt(temporary, np.hstack((corners, sizes)), fmt="%d", delimiter="\t")
        if not len(picks):
            temporary.write_text("\n")  # a file of no bytes was not copied to its end


def read_topaz(path: str | Path) -> pd.DataFrame:
    """Read a Topaz table: tabs between image_name, x_coord, y_coord and, if known, score.

    Returns
    -------
    DataFrame
        ``image``, ``y``, ``x`` and, where the file has it, ``score``.
    """
    table = read_csv(path)
    if not {"image", "x", "y"} <= set(table.columns):
        raise InputError(
            f"{path} is not a Topaz table: its first line must be image_name, x_coord, y_coord, "
            f"score with tabs between; it is {', '.join(map(str, table.columns))}."
        )
    return table


def write_topaz(path: str | Path, picks: pd.DataFrame) -> None:
    """Write picks as a Topaz table, to whole pixels, images by their stems."""
    stems = [Path(name).stem for name in picks["image"]]
    places = np.rint(picks[["x", "y"]].to_numpy(np.float64)).astype(int)
    columns = (stems, places[:, 0], places[:, 1], picks["score"].fillna(0.0))
    with atomic_path(path) as temporary:
        pd.DataFrame(dict(zip(_TOPAZ, columns, strict=True))).to_csv(
            temporary, sep="\t", index=False, float_format="%.8g"
        )
