"""The Align panel: choose boxes and a model, press Align, and see them aligned."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QPushButton

from ..inference import Progress
from ..models import choose_device
from ..training import RunFolder
from ._align_forms import AlignForms
from ._align_job import Aligned, AlignOrder, AlignRun, Clock, Learned, place
from ._align_layers import AlignedLayers
from ._align_settings import record_of
from ._align_training import resumed_training, training_to_resume
from ._align_view import AlignView, Stage
from ._forms import Fold
from ._learning import LearningView
from ._model_choice import LoadsModels
from ._models import shelf
from ._panel import Panel, short
from ._train_job import time_left
from ._worker import Ending

if TYPE_CHECKING:
    import napari


class AlignWidget(Panel, LoadsModels):
    """Bring the boxes of a stack to rest, and average them.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers are offered, and which gets the new ones.
    """

    page = "tutorial-subtomograms.md#2-press-align"

    def __init__(self, viewer: "napari.viewer.Viewer") -> None:
        super().__init__(viewer, "align", "Aligning")
        self._order: AlignOrder | None = None
        self._placing = False
        self._clock = Clock()
        self.layers: AlignedLayers | None = None
        self.forms = AlignForms(viewer)
        self.model, self.training = self.forms.model, self.forms.training
        self.wedge, self.settings = self.forms.wedge, self.forms.settings
        self.learning = LearningView("align")
        self.view = AlignView()
        self._build()
        self.start.clicked.connect(self._align)
        self.resume.clicked.connect(self._resume)
        self.in_3d.clicked.connect(self._show_in_3d)
        self.place.clicked.connect(self._place_back)
        self.forms.load.clicked.connect(self.ask_for_model)
        self.status.setText("Choose boxes, or points on a tomogram, then press Align.")
        self.offer()

    def _build(self) -> None:
        self.resume = self.named(
            QPushButton("Resume"),
            "resume",
            "Go on with the learning that was stopped last, and align then.",
        )
        self.place = self.named(
            QPushButton("Place back"),
            "place_back",
            "Put the averages at the poses of their particles into a volume like the tomogram.",
        )
        self.in_3d = self.named(
            QPushButton("Show average in 3D"),
            "show_3d",
            "Show the average of a class as a surface, and no other image. The slider goes over\n"
            "the classes; the button with the square below the layers goes back to slices.",
        )
        for part in self.forms.shown:
            self.body.addWidget(part)
        self.add_controls("Align", "Align the boxes and average them.", self.resume)
        tip = "Settings that are good as they are for most particles."
        fold = Fold("More settings", self.settings, "equipose.align.more", tip)
        for part in (self.in_3d, self.place, self.view, self.learning, fold):
            self.body.addWidget(part)
        self.body.addStretch(1)
        self.in_3d.hide()
        self.place.hide()

    def _align(self) -> None:
        try:
            order = self.forms.read()
        except Exception as error:
            self.refuse(error)
            return
        self.learning.clear_curve()
        self._begin(order)

    def _resume(self) -> None:
        folder = self._run_to_resume()
        if folder is None:
            return
        try:
            order = self._order
            if order is not None and order.training and order.training.output == folder.model:
                order = replace(
                    order,
                    training=resumed_training(folder, self.forms.device),
                    device=self.forms.device,
                )
            else:
                order = self.forms.read(folder)
        except Exception as error:
            self.refuse(error)
            return
        self._begin(order)

    def _run_to_resume(self) -> RunFolder | None:
        return training_to_resume(None if self._order is None else self._order.training)

    def _begin(self, order: AlignOrder) -> None:
        self._order, self._clock = order, Clock()
        self.layers = None
        self.in_3d.hide()
        self.place.hide()
        self.view.begin(order.particles.voxel)
        if order.training is not None:
            self.learning.begin()
        else:
            self.learning.hide()
        run = AlignRun(order, self.learning.pictures.COLUMNS)
        self.run_job(order.title, run.work(), run.so_far)
        if order.particles.left_out:
            self.say(
                f"{order.particles.left_out} points are left out: a box around them does not lie "
                f"within {order.particles.name}."
            )

    def run_on_cpu(self) -> None:
        """Do it again, on the processor, with the training it had begun."""
        self.settings.device.value = "cpu"
        if self._run_to_resume() is not None:
            self._resume()
        else:
            self._align()

    @property
    def is_on_gpu(self) -> bool:
        """Whether the run is on another device than the processor."""
        return choose_device(self.forms.device).type != "cpu"

    def show_report(self, report: Any) -> None:
        """Show how far the run is, and what it looks like."""
        if isinstance(report, Stage):
            self.learning.hide()
            self.view.show_stage(report)
        elif isinstance(report, Learned):
            shelf.put(report.saved, report.path)
            self._clock = Clock()
        else:
            shown = self.learning.take(report)
            if shown is not None:
                self.show_progress(*shown)
            elif isinstance(report, Progress):
                left = time_left(self._clock.seconds_left(report))
                lines = [f"{report.message.capitalize()} …", left]
                text = "\n".join(filter(None, lines))
                self.show_progress(report.done / max(report.total, 1), text)

    def show_end(self, ending: Ending) -> None:
        """Add the layers of what there is, and say so."""
        if self._placing:
            self._placing = False
            self._show_placed(ending)
            return
        found = ending.result
        if not isinstance(found, Aligned) or self._order is None:
            if ending.state == "stopped":
                self.show_progress(0, "Stopped; nothing was changed.")
            return
        if found.alignment is None:
            self._show_no_alignment(found, ending)
            return
        order = self._order
        record = record_of(order.config, order.wedge)
        self.layers = AlignedLayers(found, order.particles, order.model_name, record)
        self.layers.show_in(self.viewer)
        self.view.show_particles(found.boxes, found.stack)
        self.place.setVisible(self.layers.can_be_placed)
        self.in_3d.setVisible(self.layers.has_volumes)
        n = len(found.alignment.half)
        if ending.state == "done":
            self.show_progress(1, f"Done: {n} particles are aligned.")
        else:
            words = "Stopped" if ending.state == "stopped" else self.status.text()
            self.status.setText(
                f"{words}. The layers show {n} particles as they stood after iteration "
                f"{found.iteration}. Press Align to do all of it."
            )

    def _show_no_alignment(self, found: Aligned, ending: Ending) -> None:
        """Say what is left of a run that ended before anything was aligned."""
        assert self._order is not None
        training = self._order.training
        if found.saved is not None and training is not None:
            name = shelf.put(found.saved, training.output)
            text = f"The best model so far, {name}, is ready.\nSaved as {short(training.output)}"
        else:
            text = "Nothing was changed."
        if ending.state == "stopped":
            words = " ".join(filter(None, ("Stopped", self.learning.stopped)))
            self.show_progress(0, f"{words}. {text}")
        elif found.saved is not None and training is not None:
            self.status.setText(f"{self.status.text()}\n{text}")
        self.offer()

    def _show_in_3d(self) -> None:
        if self.layers is not None:
            self.layers.show_in_3d(self.viewer)

    def _place_back(self) -> None:
        if self.layers is not None and not self.is_running:
            self._placing = True
            self.run_job("Placing back", place(self.layers.placing()))

    def _show_placed(self, ending: Ending) -> None:
        if isinstance(ending.result, np.ndarray) and self.layers is not None:
            self.viewer.add_layer(self.layers.placed(ending.result))
            self.show_progress(1, "The averages are in a volume like the tomogram.")
        elif ending.state == "stopped":
            self.show_progress(0, "Stopped; nothing was changed.")

    def offer(self) -> None:
        """Offer to resume where there is a training that is not done."""
        self.resume.setEnabled(not self.is_running and self._run_to_resume() is not None)

    def set_running(self, running: bool) -> None:
        """Let only one run at a time be started."""
        super().set_running(running)
        self.forms.set_running(running)
        self.place.setEnabled(not running)
        self.offer()

    def detach(self) -> None:
        """Let go of the viewer and of the models: the panel was closed."""
        super().detach()
        self.forms.detach()
