"""The forms of the Align panel together: what they show of each other, and what they order."""

from typing import Any

from qtpy.QtWidgets import QPushButton

from ..training import RunFolder
from ._align_job import AlignOrder
from ._align_settings import AlignSettings, ModelForm
from ._align_source import AlignSourceForm
from ._align_training import new_training, resumed_training
from ._forms import Form, named
from ._model_choice import ModelChoice, why_no_boxes
from ._models import ModelFacts, shelf
from ._panel import user_folder
from ._wedge_form import WedgeForm, measured_of_all

_NAME = "equipose.align."


class AlignForms:
    """Forms for boxes, model, training, tilt series, and what is seldom changed.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers are offered.
    """

    def __init__(self, viewer: Any) -> None:
        self.source = AlignSourceForm(viewer)
        self.training = ModelForm()
        self.settings = AlignSettings()
        self.wedge = WedgeForm(
            "align",
            "not told",
            "Tomograms of a tilt series lack a wedge of their Fourier transform; what was not\n"
            "measured is then neither compared nor averaged. Where points, or the STAR file of a\n"
            "stack, have columns tilt_min and tilt_max, each particle has its own range.\n"
            "Where the range is not told and a wedge is plainly missing, you are asked for it.",
        )
        self.model = named(
            ModelChoice(self._why_not, "train one here"),
            f"{_NAME}model",
            "The model that infers poses and contents: one trained here first, or one that was\n"
            "trained or loaded in this session and fits the boxes.",
        )
        self.load = named(
            QPushButton("Load …"),
            f"{_NAME}load",
            "Load a model file (.safetensors) made here or by Train.",
        )
        choice = Form()
        choice.add("Model", self.model, self.load)
        self.shown = (self.source, choice, self.training, self.wedge)
        """Those that are always in sight, in their order."""
        self.source.changed.connect(self._on_source)
        self.model.picked.connect(self._on_model)
        self._told: dict[str, Any] = {}
        self._on_source()

    def _why_not(self, facts: ModelFacts) -> str:
        wanted = self.source.wanted
        return "" if wanted is None else why_no_boxes(facts, *wanted)

    def _on_source(self) -> None:
        self.model.refresh()
        self._on_model()
        self.wedge.show_own(self.source.tilts)
        told = self.source.about_tilts
        if told != self._told:  # what a person sets stays until other layers say otherwise
            self.wedge.show_range(told)
            self._told = told

    def _on_model(self) -> None:
        """Show what has a meaning for the boxes and the model that are chosen."""
        wanted, name = self.source.wanted, self.model.value
        volumes = wanted is None or wanted[0] == 3
        self.training.setVisible(name is None)
        self.wedge.setVisible(volumes)
        self.settings.show_rows(volumes=volumes, training=name is None)
        self.source.box_size.setEnabled(name is None)
        if name is not None and self.source.kind.value == "points":
            self.source.box_size.setValue(shelf.facts(name).box_size)

    @property
    def device(self) -> str:
        """Where to compute."""
        return str(self.settings.device.value)

    def read(self, resumed: RunFolder | None = None) -> AlignOrder:
        """All that is in the forms; with a training to go on with, where there is one.

        Raises
        ------
        InputError
            If something is missing or can't be.
        """
        particles = self.source.read()
        volumes, wedge = particles.dimensions == 3, None
        if volumes:
            wedge = self.wedge.read_each(particles.tilts, particles.shape[0], particles.name)
        name = None if resumed else self.model.value
        shelved = None if name is None else shelf[name]
        training = None
        if resumed is not None:
            training = resumed_training(resumed, self.device)
        elif shelved is None:
            shared = measured_of_all(wedge)
            training = new_training(self.settings, self.training, particles, shared)
        return AlignOrder(
            particles=particles,
            config=self.settings.read(volumes=volumes),
            wedge=wedge,
            device=self.device,
            folder=user_folder(),
            saved=None if shelved is None else shelved.saved,
            model_name=name or (training.output.stem if training else ""),
            training=training,
        )

    def set_running(self, running: bool) -> None:
        """Let nothing be changed while a run goes on."""
        for form in (*self.shown, self.settings):
            form.setEnabled(not running)

    def detach(self) -> None:
        """Listen to the viewer and to the models no more."""
        self.source.detach()
        self.model.detach()
