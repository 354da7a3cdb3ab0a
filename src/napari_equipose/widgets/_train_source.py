"""Where boxes come from: the part of the Train panel that is filled in each time."""

from typing import Any

import numpy as np
from napari.layers import Image, Points, Shapes
from napari.layers.base import ActionType
from numpy.typing import NDArray
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QLabel, QPushButton, QSpinBox

from ..geometry import InputError
from ._forms import Choice, Form, LayerChoice, named
from ._layers import (
    check_voxels,
    pixel_length,
    placement,
    places_on,
    plane_of,
    points_on,
    show_levels,
    spatial_shape,
)
from ._train_job import Source

_MARGIN = 1.25  # what is drawn on an object is mostly too tight
_DIAGONAL_MARGIN = 1.05
_SHORTEST = 4  # pixels: what is shorter was a click
_LEAST_BOX, _MOST_BOX = 8, 4096
_NAME = "equipose.train."
NO_IMAGE = "open an image first: File > Open, or File > Open Sample > Equipose."


class SourceForm(Form):
    """Choice of layers and box size.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers are offered.
    """

    hinted = Signal(str)
    """What a person should do now."""
    changed = Signal()
    """Boxes come from elsewhere now."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._takes_targets = False
        self._helper: Any = None
        """The layer that a size is drawn on, while it is."""
        self.kind = named(
            Choice({"an image": "image", "points on an image": "points", "boxes": "stack"}),
            f"{_NAME}source",
            "an image: objects are looked for in it.\n"
            "points on an image: boxes are cut around the points.\n"
            "boxes: a stack of small pictures of one object each.",
        )
        self.image = named(
            LayerChoice(viewer, lambda layer: isinstance(layer, Image)),
            f"{_NAME}image",
            "The image to learn from. Of a series, the slice that is shown.",
        )
        self.stack = named(
            LayerChoice(viewer, lambda x: isinstance(x, Image) and x.ndim in (3, 4)),
            f"{_NAME}stack",
            "The image layer with one box after another: (n, y, x), or (n, y, x, 3) in colour;\n"
            "or volumes, (n, z, y, x).",
        )
        self.targets = named(
            LayerChoice(viewer, lambda x: isinstance(x, Image) and x.ndim in (3, 4), "not known"),
            f"{_NAME}targets",
            "The same objects at rest, one for each box, where they are known: the system then\n"
            "learns to bring objects to rest as these are.",
        )
        self.points = named(
            LayerChoice(viewer, lambda layer: isinstance(layer, Points)),
            f"{_NAME}points",
            "The points layer with a point on each object; they may be rough.",
        )
        self.level = named(
            Choice(),
            f"{_NAME}level",
            "The level of the pyramid to learn from; the first is the finest.",
        )
        self.box_size = named(
            QSpinBox(),
            f"{_NAME}box_size",
            "Side of a square that holds one object at any rotation: a little more than the\n"
            "length of a typical one. This is the one number that matters.",
        )
        self.box_size.setRange(_LEAST_BOX, _MOST_BOX)
        self.box_size.setValue(32)
        self.box_size.setSuffix(" px")
        self.length = QLabel()
        self.draw = named(
            QPushButton("Draw"),
            f"{_NAME}draw_box",
            "Draw a line along one object in the image, from end to end; the box size follows\n"
            "from it. A rectangle around the object does too, in a Shapes layer that is selected.",
        )
        self.show_boxes = named(
            QPushButton("Show"),
            f"{_NAME}show_boxes",
            "Show the boxes that would be learned from, as a points layer. Wrong ones can be\n"
            "deleted there, and the rest learned from as points on an image.",
        )
        self._rows = {
            "kind": self.add("Learn from", self.kind),
            "image": self.add("Image", self.image),
            "stack": self.add("Boxes", self.stack),
            "targets": self.add("At rest", self.targets),
            "points": self.add("Points", self.points),
            "level": self.add("Level", self.level),
            "box": self.add("Box size", self.box_size, self.length, self.draw, self.show_boxes),
        }
        self.kind.currentIndexChanged.connect(self._show_rows)
        self.image.picked.connect(self._show_rows)
        self.stack.picked.connect(self.changed)
        self.level.currentIndexChanged.connect(self._limit_box)
        self.box_size.valueChanged.connect(self._show_length)
        self._show_rows()

    def _show_rows(self) -> None:
        """Show the rows that the kind of source wants."""
        kind, layer = self.kind.value, self.image.layer
        self.show_row(self._rows["image"], kind != "stack")
        self.show_row(self._rows["stack"], kind == "stack")
        self.show_row(self._rows["targets"], kind == "stack" and self._takes_targets)
        self.show_row(self._rows["points"], kind == "points")
        self.show_row(self._rows["box"], kind != "stack")
        several = show_levels(self.level, layer)
        self.show_row(self._rows["level"], kind != "stack" and several)
        self._limit_box()
        self._show_length()
        self.changed.emit()

    def offer_targets(self, offered: bool) -> None:
        """Offer to choose objects at rest, or don't."""
        self._takes_targets = offered
        self.show_row(self._rows["targets"], self.kind.value == "stack" and offered)

    def _limit_box(self) -> None:
        """Offer no box that is larger than the image."""
        layer, most = self.image.layer, _MOST_BOX
        if layer is not None:
            data = layer.data[self.level.value or 0] if layer.multiscale else layer.data
            most = min(*spatial_shape(data, layer.rgb)[-2:], _MOST_BOX)
        self.box_size.setMaximum(max(most, _LEAST_BOX))

    def _show_length(self) -> None:
        """Say how long the side of a box is in the image's own unit."""
        layer = self.image.layer
        text = ""
        if layer is not None and str(layer.units[-1]) != "pixel":
            step, unit = pixel_length(layer)
            text = f"{self.box_size.value() * step:.3g} {unit}"
        self.length.setText(text)

    @property
    def layer(self) -> Any:
        """The image layer that is learned from, or None."""
        return self.stack.layer if self.kind.value == "stack" else self.image.layer

    @property
    def targets_layer(self) -> Any:
        """The layer of the objects at rest, where it is wanted and chosen; else None."""
        wanted = self.kind.value == "stack" and self._takes_targets
        return self.targets.layer if wanted else None

    @property
    def dimensions(self) -> int:
        """Of the boxes: 3 for a stack of volumes, else 2."""
        layer = self.layer
        return 3 if self.kind.value == "stack" and layer is not None and layer.ndim == 4 else 2

    def read(self) -> Source:
        """Take a snapshot of what is chosen.

        Raises
        ------
        InputError
            If a layer is missing, or its pixels have no equal sides.
        """
        layer = self.layer
        if layer is None:
            raise InputError(NO_IMAGE)
        record: dict[str, Any] = {
            "layer": str(layer.name),
            "scale": [float(step) for step in layer.scale],
            "units": [str(unit) for unit in layer.units],
        }
        if self.kind.value == "stack":
            targets = self.targets_layer
            for stack in filter(None, (layer, targets)):
                check_voxels(stack, self.dimensions)
            if targets is not None:
                record["targets"] = str(targets.name)
            return Source(str(layer.name), record, stack=_data(layer), targets=_data(targets))
        plane = plane_of(layer, self._viewer, self.level.value or 0)
        positions = None
        if self.kind.value == "points":
            if self.points.layer is None:
                raise InputError("add a points layer with a point on each object first.")
            positions = points_on(self.points.layer, layer, self._viewer, plane)
            if not len(positions):
                raise InputError(
                    f"no point of {self.points.layer.name} lies on what is shown of {plane.name}."
                )
        record |= {"slice": list(plane.leading), "factor": list(plane.factor)}
        return Source(plane.name, record, plane=plane, positions=positions)

    def draw_box(self) -> None:
        """Take the box size from a shape that is selected, or from a line to be drawn now.

        Raises
        ------
        InputError
            If there is no image to draw on.
        """
        layer = self.image.layer
        if layer is None:
            raise InputError(NO_IMAGE)
        active = self._viewer.layers.selection.active
        if isinstance(active, Shapes) and len(active.data):
            self._take_size(active)
            return
        self._remove_helper()
        style = {"edge_color": "orange", "face_color": "transparent", "edge_width": 2}
        self._helper = self._viewer.add_shapes(
            ndim=layer.ndim, name="one object", **style, **placement(layer)
        )
        self._helper.mode = "add_line"
        self._helper.events.data.connect(self._on_drawn)
        self.hinted.emit("Draw a line along one object, from end to end.")

    def _on_drawn(self, event: Any) -> None:
        # Not before the button is released: the end of a line is moved until then.
        if event.action == ActionType.ADDED and self._take_size(event.source):
            QTimer.singleShot(0, self._remove_helper)  # napari is not done with the shape yet

    def _take_size(self, shapes: Any) -> bool:
        """Take the box size from the last shape of a layer; say whether it tells one."""
        layer = self.image.layer
        if layer is None:
            return False
        plane = plane_of(layer, self._viewer, self.level.value or 0)
        drawn = np.asarray(shapes.data[-1], float)
        corners = places_on(shapes, drawn, layer, self._viewer, plane.leading)
        length, size = box_around(plane.to_picture(corners))
        if length < _SHORTEST:
            return False
        self.box_size.setValue(size)
        self.hinted.emit(
            f"The object is {length:.0f} pixels long, so the box is {self.box_size.value()}."
        )
        return True

    def _remove_helper(self) -> None:
        """Remove the layer that a size was drawn on, and select the image again."""
        helper, self._helper = self._helper, None
        if helper is None or helper not in self._viewer.layers:
            return
        self._viewer.layers.remove(helper)
        if self.image.layer is not None:
            self._viewer.layers.selection.active = self.image.layer

    def detach(self) -> None:
        """Listen to the viewer no more."""
        self._remove_helper()
        for choice in (self.image, self.stack, self.targets, self.points):
            choice.detach()


def box_around(corners: NDArray[np.float64]) -> tuple[float, int]:
    """Length of an object that a shape was drawn on, and side of the box that holds it.

    Parameters
    ----------
    corners : array, shape (n, 2)
        Of the shape: the two ends of a line along the object, the four corners of a rectangle or
        an ellipse around it, or those of any outline.

    Returns
    -------
    (float, int)
        Of a rectangle the longer side is the length. An object may lie along its diagonal, too,
        so that the box is no smaller than that; a box holds the object at any rotation.
    """
    apart = np.linalg.norm(corners[:, None] - corners[None], axis=-1)
    diagonal = float(apart.max(initial=0.0))
    length = diagonal
    if len(corners) == 4:
        length = float(max(apart[0, 1], apart[1, 2]))
    side = max(_MARGIN * length, _DIAGONAL_MARGIN * diagonal)
    return length, 2 * round(side / 2)


def _data(layer: Any) -> Any:
    """The finest array of an image layer; None of no layer."""
    if layer is None:
        return None
    return layer.data[0] if layer.multiscale else layer.data
