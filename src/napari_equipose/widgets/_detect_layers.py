"""From objects to layers: points for where they are, vectors for how they are turned."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Points, Vectors
from numpy.typing import NDArray

from .. import __version__
from .._files import write_json
from ..inference import DetectionConfig
from ..io import napari_write_points
from ..models import SavedModel
from ._detect_job import Found
from ._layers import Plane

_COLOURS = {"colormap": "hsv", "contrast_limits": (-180.0, 180.0)}  # the same at both ends


class FoundLayers:
    """The two layers of one run, and the score below which their objects are hidden.

    Parameters
    ----------
    found : Found
    plane : Plane
        The picture the objects were found in.
    saved : SavedModel
    model_name : str
    config : DetectionConfig
        As it was used.
    along : bool
        Whether arrows lie along the objects, rather than along the model's own x axis.
    """

    def __init__(
        self,
        found: Found,
        plane: Plane,
        saved: SavedModel,
        model_name: str,
        config: DetectionConfig,
        *,
        along: bool,
    ) -> None:
        picks = found.picks
        offset = found.axis if along else 0.0
        size = saved.model.config.canonical_size * float(np.mean(plane.factor))
        positions = plane.to_layer(picks.positions)
        self.features = _features(found)
        self.score = picks.score
        self._image = plane.name
        self._arrows = _arrows(positions, picks.rotation + offset, 0.5 * size)
        self._sizes = np.full(len(positions), size / 5)
        metadata = {
            "model": saved.digest,
            "model_name": model_name,
            "model_kind": saved.kind,
            "model_config": asdict(saved.model.config),
            "config": asdict(config),
            "version": __version__,
            "image": plane.path or plane.name,
            "slice": list(plane.leading),
            "level_factor": list(plane.factor),
            "box_size": round(saved.model.config.box_size * float(np.mean(plane.factor))),
            "arrow_offset": float(np.degrees(offset)),
        }
        self.points = Points(
            positions,
            ndim=positions.shape[1],
            name=f"{plane.name} objects",
            features=self.features,
            symbol="disc",
            size=self._sizes,
            canvas_size_limits=(0, 10_000),
            border_color="black",
            border_width=0.1,
            face_color="rotation",
            face_colormap=_COLOURS["colormap"],
            face_contrast_limits=_COLOURS["contrast_limits"],
            metadata={"equipose": metadata},
            **plane.placement,
        )
        self.points.current_size = size / 5
        self.vectors = Vectors(
            self._arrows,
            ndim=positions.shape[1],
            name=f"{plane.name} rotations",
            features=self.features,
            vector_style="arrow",
            edge_color="rotation",
            edge_colormap=_COLOURS["colormap"],
            edge_contrast_limits=_COLOURS["contrast_limits"],
            edge_width=max(size / 12, 1.0),
            opacity=0.9,
            metadata={"equipose": dict(metadata)},
            **plane.placement,
        )

    def __len__(self) -> int:
        return len(self.score)

    def filter(self, threshold: float) -> int:
        """Hide objects of a lower score; return how many are left.

        A layer whose rows a person has added or removed is left as it is.
        """
        keep = self.score >= threshold
        if len(self.points.data) == len(self):
            was = self.points.shown
            self._sizes[was] = self.points.size[was]  # a person may have changed them
            self.points.shown = keep
            # napari 0.9.2 minds `shown` only where there are sliders.
            self.points.size = np.where(keep, self._sizes, 0.0)
        self.vectors.data = self._arrows[keep]
        self.vectors.features = self.features[keep]
        return int(keep.sum())

    def write(self, path: Path) -> int:
        """Write the objects that are shown as a table; return how many.

        Raises
        ------
        InputError
            If the suffix is no table's.
        """
        data, meta, _ = self.points.as_layer_data_tuple()
        napari_write_points(str(path), data, meta)
        return int(np.sum(self.points.shown))

    def keep(self, folder: Path) -> Path:
        """Write all objects, hidden ones too, as a table of a new name; return where it is.

        Beside it, as ``.json``, stands with what they were found.

        Raises
        ------
        OSError
            If the folder can't be written to.
        """
        word = re.sub(r"[^\w]+", "-", self._image.lower()).strip("-") or "image"
        number = 1
        while (path := folder / f"{word}-{number}.csv").exists():
            number += 1
        folder.mkdir(parents=True, exist_ok=True)
        data, meta, _ = self.points.as_layer_data_tuple()
        write_json(path.with_suffix(".json"), meta["metadata"]["equipose"])
        napari_write_points(str(path), data, meta | {"shown": np.ones(len(data), bool)})
        return path


def _features(found: Found) -> pd.DataFrame:
    """Columns as in tables, in degrees."""
    rotation, score, content = found.picks.rotation, found.picks.score, found.picks.content
    degrees = np.round(np.degrees(np.asarray(rotation, np.float64)), 4)
    columns: dict[str, Any] = {
        "rotation": (degrees + 180) % 360 - 180,
        "score": score,
    }
    if found.classes is not None:
        columns["class"] = found.classes
    columns |= {f"content_{i}": content[:, i] for i in range(content.shape[1])}
    return pd.DataFrame(columns)


def _arrows(
    positions: NDArray[np.float64], angle: NDArray[Any], length: float
) -> NDArray[np.float64]:
    """Vectors (n, 2, ndim) from each position along an angle, counter-clockwise as displayed."""
    along = np.zeros_like(positions)
    along[:, -2] = -np.sin(angle) * length  # y points down
    along[:, -1] = np.cos(angle) * length
    return np.stack((positions, along), 1)
