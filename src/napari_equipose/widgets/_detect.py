"""The Detect panel: choose a model and an image or a tomogram, press Detect, set the score."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QFileDialog

from ..inference import Progress
from ..models import choose_device
from ._detect_job import Found, FoundInVolume
from ._detect_order import DetectOrder
from ._detect_result import DetectResult
from ._detect_source import DetectSource
from ._forms import Choice, Fold, Form
from ._model_choice import LoadsModels
from ._models import shelf
from ._object_keeper import watch_objects
from ._object_layers import ObjectLayers, thicken_slices, write_shown
from ._panel import Panel, short, user_folder
from ._preferences import read_preferences
from ._train_settings import device_choice
from ._worker import Ending

if TYPE_CHECKING:
    import napari

_NO_MODEL = "Train a model in the panel Train, or load one."


class DetectWidget(Panel, LoadsModels):
    """Find the objects of an image or a volume with a trained model.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers are offered, and which gets the new ones.
    """

    page = "tutorial-first-objects.md#4-press-detect"

    def __init__(self, viewer: "napari.viewer.Viewer") -> None:
        super().__init__(viewer, "detect", "Finding objects")
        self._order: DetectOrder | None = None
        self._source: Any = None
        """Identity of the layer that is looked at; not the layer, which may be deleted."""
        watch_objects(viewer)
        self.source, self.result = DetectSource(viewer), DetectResult(viewer)
        self.model, self.image = self.source.model, self.source.image
        self.threshold, self.count = self.result.threshold, self.result.count
        self.body.addWidget(self.source)
        self.add_controls("Detect", "Find every object of the image, or of the tomogram.")
        self.body.addWidget(self.result)
        self._build_settings()
        self.body.addStretch(1)
        self.start.clicked.connect(self._begin)
        self.source.load.clicked.connect(self.ask_for_model)
        self.source.changed.connect(self._on_source)
        self.result.save.clicked.connect(self._ask_where_to_save)
        self._on_source()

    def _build_settings(self) -> None:
        self.settings = Form()
        numbers: dict[str, Any] = {str(k): k for k in range(2, 21)}
        self.classes = self.named(
            Choice({"none": None, "automatic": "auto", **numbers}),
            "classes",
            "Sort the objects into so many classes by what they look like.",
        )
        self.lowest = self.named(
            QDoubleSpinBox(),
            "lowest",
            "Objects of a lower score are not looked for at all: the slider begins here.\n"
            "Automatic is half of what parts objects from chance in the training images.",
        )
        self.lowest.setRange(0.0, 0.99)
        self.lowest.setDecimals(3)
        self.lowest.setSingleStep(0.01)
        self.lowest.setSpecialValueText("automatic")
        self.arrows = self.named(
            Choice({"along the objects": True, "along the model's x axis": False}),
            "arrows",
            "The rotation of an object is that from the model's own upright position, which is\n"
            "arbitrary. Arrows along the objects add the angle of its long axis there.",
        )
        self.thick = self.named(
            QCheckBox("show objects beside them"),
            "thick",
            "Make the slices of the viewer thick, an eighth of a box to either side, so that\n"
            "those beside an object's middle show it too. napari then averages the image over\n"
            "them; a right click on the viewer's slider sets how thick they are.",
        )
        self.thick.setChecked(True)
        self.device = device_choice("equipose.detect.device")
        self.settings.add("Classes", self.classes)
        self.settings.add("Lowest score", self.lowest)
        self._arrows_row = self.settings.add("Arrows", self.arrows)
        self._slices_row = self.settings.add("Slices", self.thick)
        self.settings.add("Device", self.device)
        tip = "Settings that are good as they are for most images."
        self.body.addWidget(Fold("More settings", self.settings, "equipose.detect.more", tip))

    def _on_source(self) -> None:
        """Show what has a meaning for the model that is chosen."""
        self.settings.show_row(self._arrows_row, not self.source.of_volumes)
        self.settings.show_row(self._slices_row, self.source.of_volumes)
        if not len(shelf):
            self.status.setText(_NO_MODEL)
        elif not self.is_running and self.status.text() == _NO_MODEL:
            self.status.clear()

    def _begin(self) -> None:
        try:
            shelved = self.source.read_model()
            order = DetectOrder(
                shelved=shelved,
                part=self.source.read_image(),
                lowest=self.lowest.value() or None,
                wedge=self.source.wedge.read() if self.source.of_volumes else None,
                device=self.device.value,
                classes=self.classes.value,
                along=bool(self.arrows.value),
            )
        except Exception as error:
            self.refuse(error)
            return
        self._order, self._source = order, self.image.layer.unique_id
        self.run_job(f"Finding objects in {order.part.name}", order.work())

    def run_on_cpu(self) -> None:
        """Look again, on the processor."""
        self.device.value = "cpu"
        self._begin()

    @property
    def is_on_gpu(self) -> bool:
        """Whether objects are looked for on another device than the processor."""
        return choose_device(self.device.value).type != "cpu"

    def show_report(self, report: Progress) -> None:
        """Show how far detection is."""
        fraction = report.done / max(report.total, 1)
        self.show_progress(fraction, f"{report.message.capitalize()} …")

    def show_end(self, ending: Ending) -> None:
        """Add the layers of what was found."""
        if ending.state == "stopped":
            self.show_progress(0, "Stopped; nothing was changed.")
        found, order = ending.result, self._order
        if not isinstance(found, Found | FoundInVolume) or order is None:
            return
        if not len(found.picks.score):
            self.show_progress(1, "")
            least = order.least(found)
            self.say(f"No object of a score of {least:.3f} or more in {order.part.name}.")
            return
        layers = order.layers(found)
        score = layers.points.features["score"].to_numpy(np.float64)
        layers.filter(float(np.clip(layers.threshold, score.min(), score.max())))
        kept = self._keep(layers)  # first, so that it is there whatever the viewer does
        self.viewer.add_layer(layers.vectors)
        self.viewer.add_layer(layers.points)
        if layers.reach and self.thick.isChecked():
            thicken_slices(self.viewer, layers.points, layers.reach)
        self.result.objects.value = layers.points.unique_id
        where = ", ".join(filter(None, (order.part.name, order.part.note)))
        lines = [f"Found {len(layers)} objects in {where}."]
        if kept is not None:
            self.log(f"written to {kept}")
            lines += [f"Its layer is gone; a table is in {short(kept)}"] if self._is_gone() else []
        self.show_progress(1, "\n".join(lines))

    def _is_gone(self) -> bool:
        """Whether the layer that was looked at was deleted."""
        there = {layer.unique_id for layer in self.viewer.layers}
        return self._source is not None and self._source not in there

    def _keep(self, layers: ObjectLayers) -> Path | None:
        """Write what was found where the preferences say so, or its image is gone."""
        if read_preferences().autosave or self._is_gone():
            try:
                return layers.keep(user_folder() / "found")
            except Exception as error:  # the layers are there all the same
                self.refuse(error)
        return None

    def _ask_where_to_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the objects", "", "Tables (*.csv *.star *.box *.txt)"
        )
        if path:
            self.save_table(Path(path))

    def save_table(self, path: Path) -> None:
        """Write the objects that are shown."""
        points = self.result.points
        if points is None:
            return
        try:
            n = write_shown(points, path)
        except Exception as error:
            self.refuse(error)
            return
        self.say(f"{n} objects written to {short(path)}")

    def set_running(self, running: bool) -> None:
        """Let only one run at a time be started."""
        super().set_running(running)
        self.source.setEnabled(not running)

    def detach(self) -> None:
        """Let go of the viewer and of the models: the panel was closed."""
        super().detach()
        self.source.detach()
        self.result.detach()
