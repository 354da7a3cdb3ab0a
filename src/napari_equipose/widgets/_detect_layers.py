"""From objects to layers: where they are in an image or a volume, and how they are turned."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import __version__
from ..geometry import MissingWedge, rotations_to_relion
from ..inference import DetectionConfig, threshold_of
from ..models import SavedModel, missing_wedge
from ._detect_job import Found, FoundInVolume
from ._layers import Plane
from ._object_layers import ObjectLayers, class_or_score, object_pair
from ._volumes import Volume


class FoundLayers(ObjectLayers):
    """The two layers of one run on an image.

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
        picks, size = found.picks, saved.model.config.canonical_size * float(np.mean(plane.factor))
        degrees: NDArray[np.float64] = np.degrees(np.asarray(picks.rotation, np.float64))
        angles = {"rotation": (np.round(degrees, 4) + 180) % 360 - 180}
        features = _features(angles, picks.score, picks.content, found.classes)
        threshold = threshold_of(saved)
        record = _metadata(plane, saved, model_name, config) | {
            "threshold": threshold,
            "min_score": threshold,
            "arrow_offset": float(np.degrees(found.axis)) if along else 0.0,
            "arrow_length": 0.5 * size,
            "arrow_width": max(size / 12, 1.0),
            "point_size": size / 8,  # hides little of the arrow
            "color": "rotation",
            "fold": found.fold,
        }
        names = (f"{plane.name} objects", f"{plane.name} rotations")
        positions = plane.to_layer(picks.positions)
        pair = object_pair(positions, features, names, record, plane.placement)
        super().__init__(plane.name, *pair, threshold)


class FoundVolumeLayers(ObjectLayers):
    """The two layers of one run on a volume; arrows lie along the z axis of objects at rest.

    Parameters
    ----------
    found : FoundInVolume
    volume : Volume
        That the objects were found in.
    saved : SavedModel
    model_name : str
    config : DetectionConfig
        As it was used.
    wedge : MissingWedge or None
        That the volume was taken with, where it was told.
    """

    def __init__(
        self,
        found: FoundInVolume,
        volume: Volume,
        saved: SavedModel,
        model_name: str,
        config: DetectionConfig,
        wedge: MissingWedge | None,
    ) -> None:
        picks = found.picks
        size = saved.model.config.box_size * float(np.mean(volume.factor))
        positions = volume.to_layer(picks.positions)
        turned = rotations_to_relion(picks.rotation.astype(np.float64))
        angles = dict(zip(("rot", "tilt", "psi"), np.round(turned, 4).T, strict=True))
        features = _features(angles, picks.score, picks.content, found.classes)
        record = _metadata(volume, saved, model_name, config) | {
            "threshold": found.threshold,
            "min_score": found.threshold,
            "arrow_length": size / 3,
            "arrow_width": max(size / 24, 0.5),
            "point_size": size / 5,
            "color": class_or_score(features),
        }
        wedge = wedge or missing_wedge(saved.model.config)
        if wedge is not None:  # as Align reads it
            record |= {"tilt_min": wedge.tilt_min_deg, "tilt_max": wedge.tilt_max_deg}
            record["tilt_axis"] = wedge.tilt_axis
        names = (f"{volume.name} objects", f"{volume.name} orientations")
        pair = object_pair(positions, features, names, record, volume.placement)
        super().__init__(volume.name, *pair, found.threshold)
        self.reach = size / 8


def _metadata(
    part: Plane | Volume, saved: SavedModel, model_name: str, config: DetectionConfig
) -> dict[str, Any]:
    """With what objects were found, and where."""
    return {
        "model": saved.digest,
        "model_name": model_name,
        "model_kind": saved.kind,
        "model_config": asdict(saved.model.config),
        "config": asdict(config),
        "version": __version__,
        "image": part.path or part.name,
        "slice": list(part.leading),
        "level_factor": list(part.factor),
        "box_size": round(saved.model.config.box_size * float(np.mean(part.factor))),
    }


def _features(
    angles: dict[str, NDArray[np.float64]],
    score: NDArray[Any],
    content: NDArray[Any],
    classes: NDArray[np.int64] | None,
) -> pd.DataFrame:
    """Columns as in tables, in degrees."""
    columns: dict[str, Any] = {**angles, "score": score}
    if classes is not None:
        columns["class"] = classes
    columns |= {f"content_{i}": content[:, i] for i in range(content.shape[1])}
    return pd.DataFrame(columns)
