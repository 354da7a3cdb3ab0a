"""Objects added or moved by hand are measured by their model, in a thread."""

from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..geometry import InputError, rotations_to_relion
from ..inference import Picks, encode, measure
from ..io import ROW_ID
from ..models import SavedModel, can_pick, load_model, read_metadata
from ._latent_boxes import Places, places_in
from ._latent_columns import ANGLES, content_of
from ._models import shelf
from ._object_edits import record_of
from ._panel import user_folder
from ._queue import Waiting, take_turn


class Measured(NamedTuple):
    """What is to be measured, a snapshot of the layer, and of the image that it lies in."""

    title: str
    ids: list[int]
    where: NDArray[np.float64]
    """Data coordinates of the layer, shape (n, axes)."""
    places: Places
    """In the image: first of the objects to measure, then of others that are known."""
    known: pd.DataFrame
    """Features of those others."""
    model: SavedModel | Path
    in_space: bool


def plan(points: Any, layers: Any, viewer: Any, ids: list[int]) -> Measured | None:
    """Gather what is needed to measure some objects; None where model or image are not at hand."""
    record = record_of(points)
    image = image_of(points, layers)
    model = _model_of(record)
    if image is None or model is None:
        return None
    features, data = points.features, np.asarray(points.data, np.float64)
    numbers = features[ROW_ID].to_numpy()
    rows = np.flatnonzero(np.isin(numbers, ids))
    known = np.isfinite(content_of(features)).all(1) & ~np.isin(numbers, ids)
    in_space = set(ANGLES) <= set(features)
    if in_space or "rotation" not in features:
        known[:] = False
    else:
        known &= features["rotation"].notna().to_numpy() & np.asarray(points.shown, bool)
    of_others = np.flatnonzero(known)
    factor = float(np.mean(record.get("level_factor", 1.0)))
    side = round(float(record.get("box_size", 0)) / factor)
    dimensions = 3 if in_space else 2
    every = np.concatenate((rows, of_others))
    places = places_in(points, image, viewer, every, side, dimensions)
    return Measured(
        f"Measuring objects of {points.name}",
        numbers[rows].tolist(),
        data[rows].copy(),
        places,
        features.iloc[of_others].reset_index(drop=True),
        model,
        in_space,
    )


def image_of(points: Any, layers: Any) -> Any:
    """Find the image layer that the record of points names, or None."""
    name = record_of(points).get("image")
    for one in layers:
        if getattr(one, "_type_string", "") == "image" and name:
            if name in (str(one.name), str(one.source.path)):
                return one
    return None


def _model_of(record: dict[str, Any]) -> SavedModel | Path | None:
    digest = record.get("model")
    for name in shelf:
        if digest and shelf.facts(name).digest == digest:
            return shelf[name].saved
    return model_file(record)


def model_file(record: dict[str, Any]) -> Path | None:
    """Find the file of the model that a record tells of, where it was or in the run folder."""
    digest = record.get("model")
    paths = [record.get("model_path"), user_folder() / f"{record.get('model_name')}.safetensors"]
    for path in (Path(str(path)) for path in paths if path):
        with suppress(InputError, OSError):
            if digest and path.is_file() and read_metadata(path)["digest"] == digest:
                return path
    return None


def measure_rows(planned: Measured, device: str) -> Generator[Waiting | None, None, pd.DataFrame]:
    """Measure objects when the device is free.

    Returns
    -------
    DataFrame
        A row for each, columns as in the layer's features.

    Raises
    ------
    InputError
        If model and image do not fit.
    """
    saved = planned.model
    if not isinstance(saved, SavedModel):
        saved = load_model(saved)
    turn = yield from take_turn(device, planned.title)
    try:
        if can_pick(saved.model) and not planned.in_space:
            return _measure_in_images(planned, saved, device)
        n = len(planned.ids)
        names = ("leading", "corners", "rest")
        few = {name: getattr(planned.places, name)[:n] for name in names}
        boxes = planned.places._replace(**few).read()
        work = encode(saved, boxes, device=device)
        while True:
            try:
                next(work)
                yield None
            except StopIteration as end:
                found = end.value
                break
        return _table(found.rotation, found.score, found.content)
    finally:
        turn.release()


def _measure_in_images(planned: Measured, saved: SavedModel, device: str) -> pd.DataFrame:
    """Measure objects in the pictures that they lie in, one picture after another."""
    places, n = planned.places, len(planned.ids)
    pixels = places.corners + places.side // 2 + places.rest
    tables: list[pd.DataFrame] = []
    rows: list[int] = []
    for at in np.unique(places.leading[:n], axis=0):
        here = (places.leading == at).all(1)
        new, old = np.flatnonzero(here[:n]), np.flatnonzero(here[n:])
        picture = np.asarray(places.data[tuple(at.tolist())])
        picture = picture[..., :3] if places.rgb else picture
        table = planned.known.iloc[old]
        others = Picks(
            pixels[n + old].astype(np.float32),
            np.radians(table["rotation"].to_numpy(np.float64)).astype(np.float32),
            np.ones(len(old), np.float32),
            content_of(table).astype(np.float32),
        )
        found = measure(saved, picture, pixels[new], others, device=device)
        tables.append(_table(found.rotation, found.score, found.content))
        rows += new.tolist()
    table = pd.concat(tables, ignore_index=True)
    table.index = pd.Index(rows)
    return table.sort_index()


def _table(rotation: NDArray[Any], score: NDArray[Any], content: NDArray[Any]) -> pd.DataFrame:
    columns: dict[str, Any] = {"score": score.astype(np.float64)}
    if rotation.ndim == 3:
        angles = rotations_to_relion(rotation.astype(np.float64))
        columns |= dict(zip(ANGLES, angles.T, strict=True))
    else:
        degrees = np.degrees(rotation.astype(np.float64))
        columns["rotation"] = (np.round(degrees, 4) + 180) % 360 - 180
    columns |= {f"content_{i}": content[:, i].astype(np.float64) for i in range(content.shape[1])}
    return pd.DataFrame(columns)
