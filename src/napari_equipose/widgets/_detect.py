"""The Detect panel: choose a model and an image, press Detect, set the score."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDoubleSpinBox, QFileDialog, QLabel, QPushButton
from superqt import QLabeledDoubleSlider

from ..geometry import InputError
from ..inference import DetectionConfig, Progress, threshold_of
from ..models import choose_device
from ._detect_job import Found, find
from ._detect_layers import FoundLayers
from ._forms import Choice, Fold, Form, LayerChoice
from ._layers import Plane, plane_of, show_levels
from ._models import ShelvedModel, shelf
from ._panel import Panel, short, user_folder
from ._preferences import read_preferences
from ._train_settings import device_choice
from ._worker import Ending

if TYPE_CHECKING:
    import napari


class DetectWidget(Panel):
    """Find the objects of an image with a trained model.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers are offered, and which gets the new ones.
    """

    page = "tutorial-first-objects.md#4-press-detect"

    def __init__(self, viewer: "napari.viewer.Viewer") -> None:
        super().__init__(viewer, "detect", "Finding objects")
        self._order: tuple[ShelvedModel, Plane, DetectionConfig] | None = None
        self._source: Any = None
        """Identity of the layer that is looked at; not the layer, which may be deleted."""
        self.layers: FoundLayers | None = None
        self._build_source()
        self.add_controls("Detect", "Find every object of the image.")
        self._build_result()
        self._build_settings()
        self.body.addStretch(1)
        self.start.clicked.connect(self._begin)
        shelf.added.connect(self._offer_models)
        self._offer_models()
        self._show_level()

    def _build_source(self) -> None:
        self.form = Form()
        self.model = self.named(
            Choice(), "model", "The model to use: one trained in this session, or loaded."
        )
        self.load = self.named(
            QPushButton("Load …"), "load", "Load a model file (.safetensors) made by Train."
        )
        self.image = self.named(
            LayerChoice(self.viewer, lambda layer: isinstance(layer, Image)),
            "image",
            "The image layer to find objects in. Of a series, the slice that is shown.",
        )
        self.level = self.named(
            Choice(), "level", "The level of the pyramid; that which the model was trained on."
        )
        self.form.add("Model", self.model, self.load)
        self.form.add("Image", self.image)
        self._level_row = self.form.add("Level", self.level)
        self.body.addWidget(self.form)
        self.load.clicked.connect(self._ask_for_model)
        self.image.picked.connect(self._show_level)

    def _build_result(self) -> None:
        self.threshold = self.named(
            QLabeledDoubleSlider(Qt.Orientation.Horizontal),
            "threshold",
            "Objects of a lower score are hidden; move it and see. The score says how much\n"
            "better the object explains the pixels than background does; 1 is perfect.",
        )
        self.threshold.setDecimals(3)
        self.threshold.setRange(0.0, 1.0)
        self.count = self.named(QLabel(), "count", "How many objects are shown.")
        self.save = self.named(
            QPushButton("Save table …"),
            "save",
            "Write the objects that are shown: .csv, .star (RELION), .box (EMAN), .txt (Topaz).",
        )
        self.result = Form()
        self.result.add("Least score", self.threshold)
        self.result.add("Shown", self.count, self.save)
        self.result.setEnabled(False)
        self.body.addWidget(self.result)
        self.threshold.valueChanged.connect(self._filter)
        self.save.clicked.connect(self._ask_where_to_save)

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
        self.device = device_choice("equipose.detect.device")
        self.settings.add("Classes", self.classes)
        self.settings.add("Lowest score", self.lowest)
        self.settings.add("Arrows", self.arrows)
        self.settings.add("Device", self.device)
        tip = "Settings that are good as they are for most images."
        self.body.addWidget(Fold("More settings", self.settings, "equipose.detect.more", tip))

    def _offer_models(self, newest: str | None = None) -> None:
        if not isalive(self):  # the window was closed, which tells no one but Qt
            shelf.added.disconnect(self._offer_models, missing_ok=True)
            return
        chosen = newest or self.model.value
        self.model.clear()
        for name in reversed(list(shelf)):
            self.model.addItem(name, name)
        self.model.value = chosen
        if not len(shelf):
            self.status.setText("Train a model in the panel Train, or load one.")
        elif not self.is_running and self.layers is None:
            self.status.clear()

    def _show_level(self) -> None:
        several = show_levels(self.level, self.image.layer)
        self.form.show_row(self._level_row, several)

    def _ask_for_model(self) -> None:
        folder = user_folder()
        start = str(folder) if folder.is_dir() else ""
        path, _ = QFileDialog.getOpenFileName(self, "Load a model", start, "Models (*.safetensors)")
        if path:
            self.load_model(Path(path))

    def load_model(self, path: Path) -> None:
        """Load a model file and choose it."""
        try:
            self.model.value = shelf.load(path)
        except Exception as error:
            self.refuse(error)

    def _begin(self) -> None:
        try:
            if self.model.value is None:
                raise InputError("train a model in the panel Train first, or load one.")
            layer = self.image.layer
            if layer is None:
                raise InputError("open an image first.")
            shelved = shelf[self.model.value]
            plane = plane_of(layer, self.viewer, self.level.value or 0)
            lowest = self.lowest.value() or threshold_of(shelved.saved) / 2
            config = DetectionConfig(threshold=lowest)
        except Exception as error:
            self.refuse(error)
            return
        self._order, self._source = (shelved, plane, config), layer.unique_id
        work = find(shelved.saved, plane, config, self.device.value, self.classes.value)
        self.run_job(f"Finding objects in {plane.name}", work)

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
        if not isinstance(ending.result, Found) or self._order is None:
            return
        shelved, plane, config = self._order
        score = ending.result.picks.score
        if not len(score):
            self.show_progress(1, "")
            self.say(f"No object of a score of {config.threshold:.3f} or more in {plane.name}.")
            return
        along = bool(self.arrows.value)
        layers = FoundLayers(ending.result, plane, shelved.saved, shelved.name, config, along=along)
        self.layers = layers
        kept = self._keep(layers)  # first, so that it is there whatever the viewer does
        self.viewer.add_layer(layers.vectors)
        self.viewer.add_layer(layers.points)
        self.result.setEnabled(True)
        low, high = float(score.min()), float(score.max())
        self.threshold.setRange(low, max(high, low + 1e-3))
        self.threshold.setSingleStep((high - low) / 100)
        self.threshold.setValue(threshold_of(shelved.saved))
        self._filter()
        where = f"{plane.name}, {plane.note}" if plane.note else plane.name
        lines = [f"Found {len(layers)} objects in {where}."]
        if kept is not None:
            self.log(f"written to {kept}")
            lines += [f"Its layer is gone; a table is in {short(kept)}"] if self._is_gone() else []
        self.show_progress(1, "\n".join(lines))

    def _is_gone(self) -> bool:
        """Whether the layer that was looked at was deleted."""
        there = {layer.unique_id for layer in self.viewer.layers}
        return self._source is not None and self._source not in there

    def _keep(self, layers: FoundLayers) -> Path | None:
        """Write what was found where the preferences say so, or its image is gone."""
        if read_preferences().autosave or self._is_gone():
            try:
                return layers.keep(user_folder() / "found")
            except Exception as error:  # the layers are there all the same
                self.refuse(error)
        return None

    def _filter(self) -> None:
        if self.layers is not None:
            shown = self.layers.filter(self.threshold.value())
            self.count.setText(f"{shown} of {len(self.layers)} objects")

    def _ask_where_to_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the objects", "", "Tables (*.csv *.star *.box *.txt)"
        )
        if path:
            self.save_table(Path(path))

    def save_table(self, path: Path) -> None:
        """Write the objects that are shown."""
        if self.layers is None:
            return
        try:
            n = self.layers.write(path)
        except Exception as error:
            self.refuse(error)
            return
        self.say(f"{n} objects written to {short(path)}")

    def set_running(self, running: bool) -> None:
        """Let only one run at a time be started."""
        super().set_running(running)
        self.form.setEnabled(not running)

    def detach(self) -> None:
        """Let go of the viewer and of the models: the panel was closed."""
        super().detach()
        self.image.detach()
        shelf.added.disconnect(self._offer_models, missing_ok=True)
