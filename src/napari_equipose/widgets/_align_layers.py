"""From poses to layers: aligned boxes, averages, and objects at their places."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
from napari.layers import Image, Layer, Points, Vectors
from numpy.typing import NDArray

from .. import __version__
from ..inference import Alignment
from ..io import pose_table
from ..models import SavedModel
from ._align_job import Aligned, Placing
from ._align_particles import Particles
from ._object_layers import class_or_score, object_pair

_NOT_FEATURES = ("index", "translation_z", "translation_y", "translation_x")
_SURFACE = 2.0  # standard deviations above the edge of the boxes
_FEW = 16  # boxes from which the range of intensities is taken


class AlignedLayers:
    """The layers of one run.

    Parameters
    ----------
    aligned : Aligned
        With boxes and their alignment.
    particles : Particles
        What was aligned.
    model_name : str
    record : dict
        Settings of the run, for the metadata.
    """

    def __init__(
        self, aligned: Aligned, particles: Particles, model_name: str, record: dict[str, Any]
    ) -> None:
        assert aligned.alignment is not None and aligned.saved is not None
        self._particles, self._alignment = particles, aligned.alignment
        self._metadata = _metadata(aligned, aligned.saved, particles, model_name) | record
        self.stack = self._stack(aligned)
        self.averages = self._averages()
        self.points: Points | None = None
        self.vectors: Vectors | None = None
        if particles.positions is not None:
            self.points, self.vectors = self._objects(particles.tilts)

    def __iter__(self) -> Iterator[Layer]:
        """Layers in the order in which they are added; points come to lie on top."""
        layers = (self.stack, self.averages, self.vectors, self.points)
        return (layer for layer in layers if layer is not None)

    def show_in(self, viewer: Any) -> None:
        """Add the layers, and let the first average be what one sees of the boxes."""
        for layer in self:
            viewer.add_layer(layer)
        self.stack.visible = False  # it lies where the averages do
        axis = viewer.dims.ndim - self.averages.ndim
        first = self.averages.data_to_world((0.0,) * self.averages.ndim)[0]
        viewer.dims.set_point(axis, float(first))

    @property
    def has_volumes(self) -> bool:
        """Whether there is something to see in three dimensions."""
        return self._particles.dimensions == 3

    def show_in_3d(self, viewer: Any) -> None:
        """Show the averages as surfaces, and no other image; dark ones as their darkest."""
        for layer in viewer.layers:
            if isinstance(layer, Image) and layer is not self.averages:
                layer.visible = False
        if self.averages not in viewer.layers:
            viewer.add_layer(self.averages)
        averages, data = self.averages, np.asarray(self.averages.data)
        edge = np.concatenate(
            [data.take(end, axis).ravel() for axis in (1, 2, 3) for end in (0, -1)]
        )
        background, spread = float(np.median(edge)), float(data.std())
        low, high = (float(end) for end in np.percentile(data, (0.2, 99.8)))
        if high - background >= background - low:
            averages.rendering = "iso"
            averages.iso_threshold = min(background + _SURFACE * spread, (background + high) / 2)
        else:
            averages.rendering = "minip"
        averages.visible = True
        viewer.layers.selection.active = averages
        viewer.dims.ndisplay = 3
        viewer.reset_view()

    @property
    def can_be_placed(self) -> bool:
        """Whether there is a tomogram that the averages can be put into."""
        return self._particles.positions is not None and self._particles.dimensions == 3

    @property
    def positions(self) -> NDArray[np.float64]:
        """Where the objects are, ([z,] y, x) in pixels of the source, shape (n, d)."""
        corners, found = self._particles.corners, self._alignment.encoding
        centres = (corners + self._particles.shape[1] // 2).astype(np.float64)
        return centres + found.translation

    def placing(self) -> Placing:
        """What `place` is to do."""
        found, label = self._alignment, self._alignment.label
        there = {one.label: number for number, one in enumerate(found.averages)}
        labels = np.zeros(len(found.half), np.int64) if label is None else label
        rows = np.isin(labels, list(there))
        return Placing(
            averages=[one.average for one in found.averages],
            positions=self.positions[rows],
            rotations=found.encoding.rotation[rows],
            labels=np.array([there[name] for name in labels[rows].tolist()], np.int64),
            shape=tuple(self._particles.data.shape),
        )

    def placed(self, volume: NDArray[np.float32]) -> Image:
        """Make the layer of averages at their places in the tomogram."""
        low, high = _limits(volume[volume != 0])
        return Image(
            volume,
            name=f"{self._particles.name} placed back",
            colormap="green",
            blending="additive",
            contrast_limits=(low, high),
            metadata={"equipose": dict(self._metadata)},
            **self._particles.place,
        )

    def _stack(self, aligned: Aligned) -> Image:
        lazy = aligned.stack
        # A name by its content would have dask read all of it.
        chunks = ((1,) * len(lazy), *((side,) for side in lazy.shape[1:]))
        meta = np.empty((0,) * lazy.ndim, np.float32)
        data = da.from_array(lazy, chunks=chunks, name=False, meta=meta)
        rows = np.unique(np.linspace(0, len(lazy) - 1, _FEW).astype(int))
        return Image(
            data,
            name=f"{self._particles.name} aligned",
            rgb=self._particles.rgb,
            contrast_limits=_limits(np.stack([lazy[row] for row in rows])),
            metadata={"equipose": dict(self._metadata)},
            **self._particles.stack_place,
        )

    def _averages(self) -> Image:
        found = self._alignment.averages
        data = np.stack([one.average for one in found])
        place = self._particles.stack_place
        about = {
            "classes": [one.label for one in found],
            "particles": [one.n for one in found],
            "resolution_pixels": [one.correlation.resolution() for one in found],
            "independent_halves": [one.independent for one in found],
        }
        return Image(
            data,
            name=f"{self._particles.name} averages",
            rgb=self._particles.rgb,
            contrast_limits=_limits(data),
            metadata={"equipose": self._metadata | about},
            **place | {"axis_labels": ("class", *place["axis_labels"][1:])},
        )

    def _objects(self, tilts: pd.DataFrame | None) -> tuple[Points, Vectors]:
        side, name = self._particles.shape[1], self._particles.name
        features = _features(self._alignment, tilts)
        record = self._metadata | {
            "box_size": side,
            "point_size": side / 5,
            "arrow_length": side / 3,
            "arrow_width": max(side / 24, 0.5),
            "color": class_or_score(features),
        }
        names = (f"{name} objects", f"{name} orientations")
        return object_pair(self.positions, features, names, record, self._particles.place)


def _features(found: Alignment, tilts: pd.DataFrame | None) -> pd.DataFrame:
    """What is known of each particle but its place; columns as in tables, in degrees."""
    one = found.encoding
    table = pose_table(
        one.rotation,
        one.translation,
        one.score,
        one.content,
        classes=found.label,
        scale=one.scale,
        contrast=one.contrast,
        brightness=one.brightness,
        half=found.half,
    )
    table = table.drop(columns=[name for name in _NOT_FEATURES if name in table])
    if tilts is not None:
        table = table.assign(**{str(name): tilts[name].to_numpy() for name in tilts})
    if found.label is None:
        return table.drop(columns="class")
    return table.astype({"class": np.int64})


def _metadata(
    aligned: Aligned, saved: SavedModel, particles: Particles, model_name: str
) -> dict[str, Any]:
    return {
        "model": saved.digest,
        "model_name": model_name,
        "model_kind": saved.kind,
        "model_config": asdict(saved.model.config),
        "version": __version__,
        "image": particles.path or particles.name,
        "stopped_at_iteration": aligned.iteration,
    }


def _limits(data: NDArray[Any]) -> tuple[float, float]:
    low, high = np.percentile(data, (0.2, 99.8)) if data.size else (0.0, 1.0)
    return float(low), float(max(high, low + 1e-6))
