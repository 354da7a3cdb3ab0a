"""What is done with the objects that are selected: a part of the Latent space panel."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QFileDialog, QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ..inference import ClassAverage
from ._align_view import resolution_text
from ._forms import named
from ._latent_actions import averages_of, points_of, remove_objects, stack_of, write_objects
from ._latent_job import Lying, average_classes, read_boxes
from ._object_edits import record_of
from ._panel import short

_NAME = "equipose.latent."


class SelectionPart(QWidget):
    """Buttons that act on the selection.

    Parameters
    ----------
    panel : LatentWidget
        Whose state, source and jobs are used.
    """

    def __init__(self, panel: Any) -> None:
        super().__init__()
        self._panel, self._state, self._source = panel, panel.state, panel.source
        self.count = named(QLabel(), f"{_NAME}count", "How many objects are selected.")
        self.count.setWordWrap(True)
        self.keep = self._button(
            "Keep only these",
            "keep",
            "Remove all other objects from the layer, and their arrows. Undo brings them back.",
            lambda: self._remove(~self._state.selected, "Keep only {} objects"),
        )
        self.remove = self._button(
            "Remove these",
            "remove",
            "Remove these objects from the layer, and their arrows. Undo brings them back.",
            lambda: self._remove(self._state.selected, "Remove {} objects"),
        )
        self.as_points = self._button(
            "New points layer",
            "as_points",
            "Copy these objects, with all that is known of them, to a points layer of their own.",
            self._add_points,
        )
        self.as_stack = self._button(
            "New stack of boxes",
            "as_stack",
            "Cut the boxes of these objects from the image, into a layer of one after another.",
            self._add_stack,
        )
        self.average = self._button(
            "Average these",
            "average",
            "Add a layer of their average at rest, and say up to which detail its halves agree.",
            self._add_average,
        )
        self.retrain = self._button(
            "Learn from these …",
            "retrain",
            "Cut the boxes of these objects and choose them in the panel Train, to learn a model\n"
            "of these objects alone.",
            self._learn_from,
        )
        self.write = self._button(
            "Save table …",
            "write",
            "Write these objects: .csv, .star (RELION); of an image also .box (EMAN) and .txt\n"
            "(Topaz).",
            self._ask_where_to_write,
        )
        making = (self.as_points, self.as_stack, self.average, self.retrain, self.write)
        self.buttons = (self.keep, self.remove, *making)
        grid = QGridLayout()
        for place, button in enumerate(self.buttons):
            grid.addWidget(button, place // 2, place % 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.count)
        layout.addLayout(grid)
        for signal in (self._state.rows_changed, self._state.selection_changed):
            signal.connect(self.refresh)
        self.refresh()

    def _button(self, text: str, name: str, tip: str, act: Callable[[], None]) -> QPushButton:
        button = named(QPushButton(text), f"{_NAME}{name}", tip)
        button.clicked.connect(lambda: self._try(act))
        return button

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            self._panel.refuse(error)

    def refresh(self) -> None:
        """Say how many are selected, and offer what can be done with them."""
        n, some = len(self._state), int(self._state.selected.sum())
        self.count.setText(f"{some} of {n} objects are selected." if n else "There are no objects.")
        for button in self.buttons:
            button.setEnabled(some > 0)

    def _remove(self, gone: NDArray[np.bool_], title: str) -> None:
        some = int(self._state.selected.sum())
        remove_objects(self._state, self._panel.viewer.layers, gone, title.format(some))
        n = int(gone.sum())
        self._panel.show_progress(0, f"{n} objects removed, {len(gone) - n} left.")

    def _add_points(self) -> None:
        layer = self._state.layer
        name = f"{layer.name}, {int(self._state.selected.sum())} of them"
        self._panel.viewer.add_layer(points_of(layer, self._state.selected, name))

    def _record(self) -> dict[str, Any]:
        """What new layers say of where they came from."""
        rows = np.flatnonzero(self._state.selected).tolist()
        return record_of(self._state.layer) | {"objects": str(self._state.layer.name), "rows": rows}

    def _add_stack(self) -> None:
        self._cut(lambda layer: None)

    def _learn_from(self) -> None:
        self._cut(self._show_in_train)

    def _cut(self, then: Callable[[Any], None]) -> None:
        """Cut the boxes of the selection, add them as a layer, and go on with it."""
        places = self._source.places(np.flatnonzero(self._state.selected))
        about = self._record()
        voxel, dimensions = self._source.voxel, self._source.dimensions
        name = f"{self._state.layer.name}, boxes"

        def add(boxes: NDArray[Any]) -> None:
            layer = stack_of(boxes, voxel, dimensions, name, about)
            self._panel.viewer.add_layer(layer)
            self._panel.show_progress(1, f"{len(boxes)} boxes are in the layer {layer.name}.")
            then(layer)

        self._panel.do("Cutting boxes", read_boxes(places), add, about_rows=False)

    def _show_in_train(self, layer: Any) -> None:
        if not hasattr(self._panel.viewer, "window"):
            return
        open_panel = self._panel.viewer.window.add_plugin_dock_widget
        _, train = open_panel("napari-equipose", "Train", tabify=True)
        train.source.kind.value = "stack"
        train.source.stack.value = layer.unique_id

    def _add_average(self) -> None:
        rows = np.flatnonzero(self._state.selected)
        lying, voxel = Lying.of(self._source, rows), self._source.voxel
        name, about = f"{self._state.layer.name}, average", self._record()

        def add(found: list[ClassAverage]) -> None:
            layer = averages_of(found, voxel, name, about)
            self._panel.viewer.add_layer(layer)
            text = resolution_text(found[0], voxel)
            self._panel.show_progress(1, f"The average of {found[0].n} objects; {text}.")

        work = average_classes(lying, np.zeros(len(rows), np.int64))
        self._panel.do("Averaging", work, add, about_rows=False)

    def _ask_where_to_write(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save these objects", "", "Tables (*.csv *.star *.box *.txt)"
        )
        if path:
            self.save_table(Path(path))

    def save_table(self, path: Path) -> None:
        """Write the objects that are selected."""
        n = write_objects(self._state.layer, self._state.selected, path)
        self._panel.say(f"{n} objects written to {short(path)}")
