"""Picks as other pickers write them: EMAN's .box, Topaz' .txt."""

from pathlib import Path

import numpy as np
import pandas as pd

from ..geometry import InputError, box_centre
from ._files import atomic_path, existing_file

_TOPAZ = {"image_name": "image", "x_coord": "x", "y_coord": "y", "score": "score"}


def read_box(path: str | Path) -> pd.DataFrame:
    """Read an EMAN .box file: each line the box's corner x, y, then its width and height.

    Returns
    -------
    DataFrame
        ``image`` (the file's stem), ``y``, ``x``: the centre pixels.
    """
    path = existing_file(path)
    try:
        boxes = np.loadtxt(path, ndmin=2, usecols=(0, 1, 2, 3))
    except (ValueError, IndexError) as error:
        raise InputError(f"{path} is not an EMAN .box file: {error}.") from error
    centres = boxes[:, :2] + boxes[:, 2:] // 2
    return pd.DataFrame({"image": path.stem, "y": centres[:, 1], "x": centres[:, 0]})


def write_box(path: str | Path, picks: pd.DataFrame, box_size: int) -> None:
    """Write picks of one image as an EMAN .box file, to whole pixels."""
    images = picks["image"].unique()
    if len(images) > 1:
        raise InputError(f"{path}: a .box file is of one image; these picks are of {len(images)}.")
    corners = np.rint(picks[["x", "y"]].to_numpy(np.float64)) - box_centre(box_size)
    with atomic_path(path) as temporary:
        sizes = np.full_like(corners, box_size)
        np.savetxt(temporary, np.hstack((corners, sizes)), fmt="%d", delimiter="\t")


def read_topaz(path: str | Path) -> pd.DataFrame:
    """Read a Topaz table: tabs between image_name, x_coord, y_coord and, if known, score.

    Returns
    -------
    DataFrame
        ``image``, ``y``, ``x`` and, where the file has it, ``score``.
    """
    path = existing_file(path)
    try:
        table = pd.read_csv(path, sep="\t", dtype={"image_name": "str"})
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path} is not a Topaz table: {error}.") from error
    if not {"image_name", "x_coord", "y_coord"} <= set(table.columns):
        raise InputError(
            f"{path} is not a Topaz table: its first line must be image_name, x_coord, y_coord, "
            f"score with tabs between; it is {', '.join(map(str, table.columns))}."
        )
    return table.rename(columns=_TOPAZ)


def write_topaz(path: str | Path, picks: pd.DataFrame) -> None:
    """Write picks as a Topaz table, to whole pixels, images by their stems."""
    stems = [Path(name).stem for name in picks["image"]]
    places = np.rint(picks[["x", "y"]].to_numpy(np.float64)).astype(int)
    columns = (stems, places[:, 0], places[:, 1], picks["score"].fillna(0.0))
    with atomic_path(path) as temporary:
        pd.DataFrame(dict(zip(_TOPAZ, columns, strict=True))).to_csv(
            temporary, sep="\t", index=False, float_format="%.8g"
        )
