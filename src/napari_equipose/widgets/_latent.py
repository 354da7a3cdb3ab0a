"""The Latent space panel: what objects look like, as a map that one can walk in."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog

from ..geometry import InputError
from ..inference import LatentMap, finish, latent_dimensions, latent_map
from ._forms import Form
from ._latent_bar import ColourChoice, MapChoice, ToolBar
from ._latent_colours import Legend, colours_by
from ._latent_encode import Boxes, encode_boxes, encoded_points
from ._latent_links import GeneratedLayer, Links
from ._latent_object import ObjectView, Seen, look_at, tell
from ._latent_panel import PartsPanel
from ._latent_parts import add_parts
from ._latent_plot import LatentPlot
from ._latent_source import LatentSource
from ._latent_state import LatentState
from ._model_choice import LoadsModels
from ._object_edits import edits_of, record_of
from ._object_keeper import watch_objects
from ._panel import short

if TYPE_CHECKING:
    import napari

_BEGIN = "Detect and Align make objects to show; or choose boxes and a model, and press Encode."


class LatentWidget(PartsPanel, LoadsModels):
    """A map of what objects look like, bound to where they are.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers are offered, and which gets the new ones.
    """

    page = "latent-space.md#the-map"
    map_changed = Signal()
    """The plot shows another map, or none."""

    def __init__(self, viewer: "napari.viewer.Viewer") -> None:
        super().__init__(viewer, "latent", "The latent space")
        watch_objects(viewer)
        self.state = LatentState()
        self.source = LatentSource(viewer)
        self.model = self.source.model
        self.plot = LatentPlot()
        self.map: LatentMap | None = None
        self.maps, self.colours = MapChoice(), ColourChoice()
        self.tools = ToolBar(self.state)
        self.object = ObjectView()
        self._generated = GeneratedLayer(viewer)
        self._laid: tuple[str, int] | None = None
        """Method and version of the rows of the map that is shown."""
        self._of: Any = None
        """Identity of the layer whose map is shown."""
        self._build()
        self._links = Links(viewer, self.state, self.source, self.plot)
        self._connect()
        add_parts(self)
        self._on_layer()
        if self.state.layer is None:
            self._on_rows()
            self.status.setText(_BEGIN)

    def _build(self) -> None:
        for control, name in ((self.plot, "plot"), (self.object, "object")):
            control.setObjectName(f"equipose.latent.{name}")
        self.body.addWidget(self.source)
        self.add_controls("Encode", "Have the model say what each box looks like, and show it.")
        choices = Form()
        choices.add("Map", self.maps)
        choices.add("Colour", self.colours)
        for part in (choices, self.tools, self.plot, self.object):
            self.body.addWidget(part)
        self.tools.listen_for_keys(self)
        self.body.addStretch(1)

    def _connect(self) -> None:
        state, source, plot = self.state, self.source, self.plot
        self.start.clicked.connect(self._start)
        source.load.clicked.connect(self.ask_for_model)
        source.layer_picked.connect(self._on_layer)
        source.changed.connect(self._on_source)
        state.rows_changed.connect(self._on_rows)
        state.features_changed.connect(self._on_features)
        state.classes_changed.connect(self._on_classes)
        state.selection_changed.connect(self._count)
        state.current_changed.connect(self._look)
        self.maps.changed.connect(self._on_map_choice)
        self.colours.picked.connect(self._on_colour)
        self.tools.mode_picked.connect(plot.set_mode)
        self.tools.fit.clicked.connect(plot.fit)
        self.tools.export.clicked.connect(self._ask_where_to_save)
        plot.hovered.connect(self._on_hover)
        self.object.generated.connect(self._on_generated)
        self.object.in_layer.toggled.connect(self._on_in_layer)

    # What is shown

    def _on_layer(self) -> None:
        self.state.layer = self.source.layer

    def _on_source(self) -> None:
        self.object.clear()
        self._offer()
        self._look()

    def _on_rows(self) -> None:
        """Show other objects."""
        self.version += 1
        self.maps.offer(self.state.content.shape[1])
        self.colours.offer(self.state.features, anew=True)
        self._lay_out()
        self._on_features()
        self.plot.set_selected(self.state.selected)
        self.plot.set_current(None)
        self.object.show_none()
        self._count()

    def _count(self) -> None:
        """Say how many objects there are, and how many are selected."""
        n, selected = len(self.state), int(self.state.selected.sum())
        if n and not self.is_running:
            self.status.setText(f"{n} objects, {selected} selected" if selected else f"{n} objects")

    def _on_features(self) -> None:
        self.colours.offer(self.state.features, anew=False)
        self._colour()
        self.plot.set_shown(self.state.shown)
        self._look()

    def _on_classes(self) -> None:
        if "class" in self.state.features:
            self.colours.offer(self.state.features, anew=True)

    def _colour(self) -> None:
        rgb, legend = self._coloured()
        self.plot.set_colours(rgb)
        layer = self.state.layer
        about = {} if layer is None else record_of(layer)
        self.colours.show_legend(legend, float(about.get("arrow_offset") or 0.0))

    def _coloured(self) -> tuple[NDArray[np.uint8], Legend]:
        layer = self.state.layer
        fold = 1 if layer is None else int(record_of(layer).get("fold") or 1)
        return colours_by(self.state.features, self.colours.value, fold)

    def _on_colour(self) -> None:
        """Colour the points of the layer as those of the plot."""
        self._colour()
        layer = self.state.layer
        if layer is not None and len(self.state):
            rgb, _ = self._coloured()
            rgba = np.column_stack((rgb / 255, np.ones(len(rgb))))
            edits_of(layer).color_by(self.colours.value, rgba)

    # The map

    def _on_map_choice(self) -> None:
        if self._lay_out() and not self.is_running and len(self.state):
            self._start()

    def _lay_out(self) -> bool:
        """Show the map that is chosen, or PCA where that takes a while; say whether it does."""
        content, method = self.state.content, self.maps.method.value
        takes_long = method in ("umap", "t-sne") and content.shape[1] > 1
        if self._laid != (method, self.version):
            self._laid = None
        if not content.size:
            self._show_map(None)
        elif method == "dims":
            self._show_map(latent_dimensions(content, *self.maps.dimensions))
        elif self._laid is None:
            self._show_map(finish(latent_map(content, "pca")))
        self._offer()
        return takes_long and self._laid is None

    def _show_map(self, found: LatentMap | None) -> None:
        of = None if self.state.layer is None else self.state.layer.unique_id
        same = self.map is not None and found is not None and self.map.labels == found.labels
        same, self._of = same and of == self._of, of
        self.map = found
        nowhere = np.full((len(self.state), 2), np.nan)
        places = nowhere if found is None else found.coordinates
        self.plot.set_points(places, keep_view=same)
        self.plot.set_labels(*(("", "") if found is None else found.labels))
        self.plot.clear_path()
        self.map_changed.emit()

    def _start(self) -> None:
        """Encode the stack that is chosen, or compute the map that is."""
        if self.source.of_stack:
            self._encode()
            return
        method, version = self.maps.method.value, self.version
        if method in ("umap", "t-sne") and len(self.state):
            try:
                work = latent_map(self.state.content, method)
            except InputError as error:
                self.refuse(error)
                return

            def then(found: LatentMap) -> None:
                self._laid = (method, version)
                self._show_map(found)
                self._offer()

            self.do(f"{self.maps.method.currentText()} of {self.source.name}", work, then)

    def _encode(self) -> None:
        source = self.source
        try:
            if source.saved is None:
                raise InputError("choose the model that is to encode the boxes, or load one.")
            saved, name = source.saved, source.model_name
            boxes = Boxes.of(source.stack.layer)
            device = self.device
            work = encode_boxes(saved, boxes, device)
        except Exception as error:
            self.refuse(error)
            return

        def then(found: Any) -> None:
            layer = encoded_points(found, boxes, saved, name)
            self.viewer.add_layer(layer)
            source.show_objects(layer)
            self.show_progress(1, f"Encoded {len(found.score)} boxes of {boxes.name}.")

        self.do(f"Encoding {boxes.name}", work, then, about_rows=False)

    def _offer(self) -> None:
        """Offer what the button does for what is chosen."""
        of_stack = self.source.of_stack
        self.start.setText("Encode" if of_stack else "Compute map")
        waits = self.maps.method.value in ("umap", "t-sne") and self._laid is None
        able = self.source.stack.layer is not None if of_stack else waits and len(self.state) > 0
        self.start.setEnabled(bool(able) and not self.is_running)

    # The object that is looked at, and the one under the cursor

    def _look(self) -> None:
        state, source, row = self.state, self.source, self.state.current
        if row is None or state.layer is None or row >= len(state):
            self.object.show_none()
            return
        text = tell(state.features, row, source.name)
        places = None
        try:
            places = source.places([row])
        except InputError as error:
            text = f"{text}. {str(error)[:1].upper()}{str(error)[1:]}"
        rotation, scale, saved = source.rotation([row]), source.scale([row]), source.saved
        content = state.content[[row]]

        def work() -> Seen:
            return look_at(places, rotation, scale, saved, content)

        self.object.look(text, work)

    def _on_hover(self, x: float, y: float) -> None:
        found, saved = self.map, self.source.saved
        if found is not None and saved is not None:
            self.object.draw(saved, lambda: found.content_at([[x, y]]))

    def _on_generated(self, drawn: Any) -> None:
        if self.object.in_layer.isChecked():
            source = self.source
            self._generated.show(drawn, source.dimensions, source.voxel[0], source.image.layer)

    def _on_in_layer(self, checked: bool) -> None:
        if not checked:
            self._generated.take_away()

    # Files

    def _ask_where_to_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the figure", "", "Figures (*.svg *.png)")
        if path:
            self.save_figure(Path(path))

    def save_figure(self, path: Path) -> None:
        """Write what the plot shows, as .svg or .png."""
        try:
            self.plot.export(path)
        except Exception as error:
            self.refuse(error)
            return
        self.say(f"The figure is in {short(path)}")

    def offer(self) -> None:
        """Offer what can be done now."""
        self._offer()

    def set_running(self, running: bool) -> None:
        """Let only one job at a time be started."""
        super().set_running(running)
        for form in (self.source, self.maps):
            form.setEnabled(not running)
        self._offer()

    def detach(self) -> None:
        """Let go of the viewer, of the layer and of the models: the panel was closed."""
        super().detach()
        self.object.stop()
        self.state.detach()
        self.source.detach()
