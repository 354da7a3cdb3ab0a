"""What is looked for, and where: a model, and an image or a volume; a part of the Detect panel."""

from typing import Any

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QPushButton

from ..geometry import InputError
from ..models import model_kind
from ._forms import Choice, Form, LayerChoice, named
from ._layers import Plane, pixel_length, plane_of, show_levels, spatial_shape
from ._model_choice import ModelChoice
from ._models import ModelFacts, ShelvedModel, shelf
from ._volumes import Volume, volume_of
from ._wedge_form import WedgeForm

_NAME = "equipose.detect."


class DetectSource(Form):
    """Choice of a model and of the layer that it is used on.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers are offered.
    """

    changed = Signal()
    """Another model or layer is chosen, or none."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self.model = named(
            ModelChoice(_why_not),
            f"{_NAME}model",
            "The model to use: one trained in this session, or loaded.",
        )
        self.load = named(
            QPushButton("Load …"), f"{_NAME}load", "Load a model file (.safetensors) made by Train."
        )
        self.image = named(
            LayerChoice(viewer, lambda layer: isinstance(layer, Image)),
            f"{_NAME}image",
            "The image layer to find objects in; with a model of volumes, the tomogram. Of a\n"
            "series, what is shown of it.",
        )
        self.level = named(
            Choice(),
            f"{_NAME}level",
            "The level of the pyramid; that which the model was trained on.",
        )
        self.about = QLabel()
        self.about.setWordWrap(True)
        self.wedge = WedgeForm(
            "detect",
            "as the model learnt",
            "The tilt range of the tomogram, if it is not that of the model's training data.",
        )
        self.add("Model", self.model, self.load)
        self.add("Image", self.image)
        self._level_row = self.add("Level", self.level)
        self._grid.addRow("", self.about)
        self._grid.addRow(self.wedge)
        self.model.picked.connect(self._show)
        self.image.picked.connect(self._show)
        self.level.currentIndexChanged.connect(self._tell)
        self._show()

    @property
    def of_volumes(self) -> bool:
        """Whether the model that is chosen is one of volumes."""
        name = self.model.value
        return name is not None and 3 in shelf.facts(name).capabilities.dimensions

    def _show(self) -> None:
        """Show what has a meaning for the model and the layer that are chosen."""
        level = self.level.value
        several = show_levels(self.level, self.image.layer, 3 if self.of_volumes else 2)
        self.level.value = level
        self.show_row(self._level_row, several)
        self.show_row(self.wedge, self.of_volumes)
        self._tell()
        self.changed.emit()

    def _tell(self) -> None:
        """Say how large a volume is that is chosen."""
        layer, text = self.image.layer, ""
        if self.of_volumes and layer is not None:
            data = layer.data[self.level.value or 0] if layer.multiscale else layer.data
            sides = spatial_shape(data, layer.rgb)
            if len(sides) >= 3:
                whole = spatial_shape(layer.data[0] if layer.multiscale else layer.data, layer.rgb)
                length, unit = pixel_length(layer)
                length *= whole[-1] / sides[-1]
                text = f"{' x '.join(map(str, sides[-3:]))} voxels"
                text += f" of {length:.4g} {unit}" if unit != "pixel" else ""
        self.about.setText(text)

    def read_model(self) -> ShelvedModel:
        """Take the model that is chosen.

        Raises
        ------
        InputError
            If there is none, or its file is gone.
        """
        if self.model.value is None:
            raise InputError("train a model in the panel Train first, or load one.")
        return shelf[self.model.value]

    def read_image(self) -> Plane | Volume:
        """Take what the model is to be used on.

        Raises
        ------
        InputError
            If there is none, or it is none for the model.
        """
        layer = self.image.layer
        if layer is None:
            raise InputError("open an image first.")
        level = self.level.value or 0
        if self.of_volumes:
            return volume_of(layer, self._viewer, level)
        if self._viewer.dims.ndisplay == 3 and layer.ndim > 2:
            raise InputError(
                f"{layer.name} is shown as a volume, and the model is of images: show one slice of "
                "it (Ctrl+Y), or choose a model of volumes."
            )
        return plane_of(layer, self._viewer, level)

    def detach(self) -> None:
        """Listen to the viewer and to the models no more."""
        self.image.detach()
        self.model.detach()


def _why_not(facts: ModelFacts) -> str:
    """Why a model can't look for objects."""
    of_volumes = 3 in facts.capabilities.dimensions
    if of_volumes:
        can = 3 in model_kind(facts.kind).finds_in
    else:
        can = facts.capabilities.fully_convolutional
    if can:
        return ""
    return (
        f"A model of {facts.kind} finds no objects in "
        f"{'tomograms' if of_volumes else 'large images'}: its encoder reads whole boxes. "
        "Align and Latent space use it."
    )
