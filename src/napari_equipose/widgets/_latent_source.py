"""Whose latent space is shown: objects, the image they lie in, and the model that knows them."""

from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QPushButton, QSizePolicy

from ..geometry import InputError
from ..models import SavedModel
from ._forms import Choice, Form, LayerChoice, named
from ._latent_boxes import Places, places_in
from ._latent_columns import ANGLES, has_content, rotation_of, scale_of
from ._layers import pixel_length
from ._measure_job import image_of, model_file
from ._model_choice import ModelChoice, why_no_boxes
from ._models import ModelFacts, shelf
from ._object_edits import record_of

_NAME = "equipose.latent."
_BOX = 32


class LatentSource(Form):
    """Choice of objects, of the image they lie in, and of the model that knows them.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers are offered.
    """

    layer_picked = Signal()
    """Other objects are chosen, or none."""
    changed = Signal()
    """Objects, image, model or kind are others."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._matched: Any = None
        """Identity of the image that the layer's record tells of, unless a person chose another."""
        self.kind = named(
            Choice({"objects": "points", "boxes": "stack"}),
            f"{_NAME}source",
            "objects: a points layer that Detect, Align or this panel has made, or any with\n"
            "features content_0, content_1, ...\n"
            "boxes: a stack of pictures, or of subtomograms, that a model encodes first.",
        )
        self.points = named(
            LayerChoice(viewer, has_content),
            f"{_NAME}points",
            "The points layer whose objects are shown: one with features content_0, ...",
        )
        self.stack = named(
            LayerChoice(viewer, lambda layer: isinstance(layer, Image) and layer.ndim in (3, 4)),
            f"{_NAME}stack",
            "The image layer with one box after another: (n, z, y, x), (n, y, x), or\n"
            "(n, y, x, 3) in colour.",
        )
        self.image = named(
            LayerChoice(viewer, lambda layer: isinstance(layer, Image)),
            f"{_NAME}image",
            "The image layer that the objects lie in: their boxes are read from it.",
        )
        self.model = named(
            ModelChoice(self._why_not, "none"),
            f"{_NAME}model",
            "The model that inferred the content: it draws what lies at a place of the map.",
        )
        self.load = named(
            QPushButton("Load …"), f"{_NAME}load", "Load a model file (.safetensors) made by Train."
        )
        self.about = QLabel()
        self.about.setWordWrap(True)
        self.kind.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.add("Show", self.kind, self.points, self.stack)
        self._image_row = self.add("Image", self.image)
        self.add("Model", self.model, self.load)
        self._grid.addRow("", self.about)
        self.kind.currentIndexChanged.connect(self._show_rows)
        self.points.picked.connect(self._on_points)
        self.stack.picked.connect(self._on_stack)
        self.image.picked.connect(self.changed)
        self.image.activated.connect(self._on_image_chosen)
        self.model.picked.connect(self._tell)
        if self.points.layer is None and self.stack.layer is not None:
            self.kind.value = "stack"
        self._on_points()

    @property
    def of_stack(self) -> bool:
        """Whether boxes are to be encoded, rather than objects shown that have a content."""
        return bool(self.kind.value == "stack")

    @property
    def _layers(self) -> list[Any]:
        return list(self._viewer.layers)

    @property
    def layer(self) -> Any:
        """The points layer whose objects are shown, or None."""
        return self.points.layer

    def show_objects(self, layer: Any) -> None:
        """Choose a points layer."""
        self.kind.value = "points"
        self.points.value = layer.unique_id

    def _show_rows(self) -> None:
        self.points.setVisible(not self.of_stack)
        self.stack.setVisible(self.of_stack)
        self.show_row(self._image_row, not self.of_stack)
        self.model.refresh()
        named_there = None if self.of_stack else self._recorded_model()
        if named_there is not None:
            self.model.value = named_there
        self._tell()

    def _on_stack(self) -> None:
        self.model.refresh()
        self._tell()

    def _on_points(self) -> None:
        """Find the image and the model that the layer's record tells of."""
        layer = self.layer
        if layer is not None:
            image = image_of(layer, self._layers)
            self._matched = None if image is None else image.unique_id
            if image is not None:
                self.image.value = image.unique_id
            self._fetch_model(record_of(layer))
        self._show_rows()
        self.layer_picked.emit()

    def _on_image_chosen(self) -> None:
        self._matched = None
        self.changed.emit()

    def _fetch_model(self, about: dict[str, Any]) -> None:
        """Load the model of a record, where its file still is in the run folder."""
        if about.get("model") and self._recorded_model() is None:
            path = model_file(about)
            if path is not None:
                with suppress(InputError, OSError):
                    shelf.load(path)

    def _recorded_model(self) -> str | None:
        """Name of the model that the objects' record tells of, if it is at hand."""
        digest = None if self.layer is None else record_of(self.layer).get("model")
        return next((name for name in shelf if digest and shelf.facts(name).digest == digest), None)

    def _why_not(self, facts: ModelFacts) -> str:
        layer = self.stack.layer if self.of_stack else self.layer
        if layer is None or not hasattr(self, "model"):  # it is being made
            return ""
        if self.of_stack:
            sides = layer.data[0].shape if layer.multiscale else layer.data.shape
            channels = 3 if layer.rgb else 1
            return why_no_boxes(facts, layer.ndim - 1, sides[layer.ndim - 1], channels)
        digest = record_of(layer).get("model")
        if digest:
            return "" if facts.digest == digest else "The objects' content is of another model."
        in_space = set(ANGLES) <= set(layer.features)
        return why_no_boxes(facts, 3 if in_space else 2, None, facts.channels)

    def _tell(self) -> None:
        """Say what is missing."""
        layer, text = self.layer, ""
        if self.of_stack:
            if self.stack.layer is not None and self.model.value is None:
                text = "Train a model on these boxes in the panel Train, or load one."
        elif layer is not None and self.model.value is None:
            name = record_of(layer).get("model_name")
            text = (
                f"Load the model {name} to see" if name else "Load the model of the content to see"
            )
            text += " what lies between the objects."
        self.about.setText(text)
        self.about.setVisible(bool(text))
        self.changed.emit()

    @property
    def saved(self) -> SavedModel | None:
        """The model that is chosen, or None; None too where its file is gone."""
        with suppress(InputError):
            return None if self.model.value is None else shelf[self.model.value].saved
        return None

    @property
    def model_name(self) -> str:
        """Name of the model that is chosen; empty where there is none."""
        return str(self.model.value or "")

    @property
    def name(self) -> str:
        """Of the layer of objects; empty where there is none."""
        return "" if self.layer is None else str(self.layer.name)

    @property
    def dimensions(self) -> int:
        """Of an object: 2 or 3."""
        name = self.model.value
        if name is not None:
            return max(shelf.facts(name).capabilities.dimensions)
        layer = self.layer
        return 3 if layer is not None and set(ANGLES) <= set(layer.features) else 2

    @property
    def box_size(self) -> int:
        """Side of a box: of the model, or as the layer's record tells, in pixels of the image."""
        if self.model.value is not None:
            return shelf.facts(self.model.value).box_size
        about = {} if self.layer is None else record_of(self.layer)
        factor = float(np.mean(about.get("level_factor", 1.0)))
        return round(float(about.get("box_size", _BOX)) / factor)

    @property
    def voxel(self) -> tuple[float, str]:
        """Length of a pixel of a box, and its unit."""
        layer = self.image.layer if self.image.layer is not None else self.layer
        if layer is None:
            return 1.0, "pixel"
        length, unit = pixel_length(layer)
        about = {} if self.layer is None else record_of(self.layer)
        return length * float(np.mean(about.get("level_factor", 1.0))), unit

    def places(self, rows: Any) -> Places:
        """Tell where the boxes of some objects lie; they can be read in another thread.

        Raises
        ------
        InputError
            If no image is chosen, or it can't hold the objects.
        """
        layer, image = self.layer, self.image.layer
        there = self._matched is None or any(x.unique_id == self._matched for x in self._layers)
        if layer is None or image is None or not there:
            raise InputError("choose the image layer that the objects lie in.")
        found = _rows(rows, len(layer.data))
        return places_in(layer, image, self._viewer, found, self.box_size, self.dimensions)

    def boxes(self, rows: Any) -> NDArray[Any]:
        """Read the boxes of some objects, (m, [z,] y, x) or (m, y, x, 3), as the image has them.

        Each is cut about the pixel nearest to its object; beyond the image's border it is mirrored.

        Parameters
        ----------
        rows : array of int or of bool
            Rows of the points layer.

        Raises
        ------
        InputError
            If no image is chosen, or it can't hold the objects.
        """
        return self.places(rows).read()

    def translation(self, rows: Any) -> NDArray[np.float64]:
        """Where some objects lie in their boxes, ([z,] y, x) pixels from the centre, (m, d).

        Raises
        ------
        InputError
            As `boxes` does.
        """
        return self.places(rows).rest

    def rotation(self, rows: Any) -> NDArray[np.float64]:
        """How some objects are turned: radians (m,), of volumes matrices (m, 3, 3) on (z, y, x).

        Objects whose rotation is not known are not turned.
        """
        return rotation_of(self._features(rows), self.dimensions)

    def scale(self, rows: Any) -> NDArray[np.float64] | None:
        """By how much some objects are enlarged, (m,), or None where it is not known."""
        return scale_of(self._features(rows))

    def _features(self, rows: Any) -> pd.DataFrame:
        layer = self.layer
        if layer is None:
            return pd.DataFrame()
        features: pd.DataFrame = layer.features
        return features.iloc[_rows(rows, len(features))]

    def detach(self) -> None:
        """Listen to the viewer and to the models no more."""
        for choice in (self.points, self.stack, self.image, self.model):
            choice.detach()


def _rows(rows: Any, n: int) -> NDArray[np.int64]:
    return np.asarray(np.arange(n)[np.asarray(rows)], np.int64)
