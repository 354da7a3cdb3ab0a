"""What is aligned: a stack of boxes, or boxes around points; the first part of the Align panel."""

from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Image, Points
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QSpinBox

from ..geometry import InputError
from ._align_particles import Particles, corners_of
from ._forms import Choice, Form, LayerChoice, named
from ._layers import check_voxels, pixel_length, placement, places_on, spatial_shape
from ._wedge_form import tilts_of

_NAME = "equipose.align."


class AlignSourceForm(Form):
    """Choice of layers to align.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers are offered.
    """

    changed = Signal()
    """Other boxes are chosen, or none."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self.kind = named(
            Choice({"boxes": "stack", "points on an image or tomogram": "points"}),
            f"{_NAME}source",
            "boxes: a stack of pictures, or of subtomograms, of one object each.\n"
            "points on an image or tomogram: boxes are cut around the points.",
        )
        self.stack = named(
            LayerChoice(viewer, lambda x: isinstance(x, Image) and x.ndim in (3, 4)),
            f"{_NAME}stack",
            "The image layer with one box after another: (n, z, y, x), (n, y, x), or\n"
            "(n, y, x, 3) in colour.",
        )
        self.image = named(
            LayerChoice(viewer, lambda x: isinstance(x, Image) and x.ndim in (2, 3)),
            f"{_NAME}image",
            "The image (y, x), or the tomogram (z, y, x), that boxes are cut from; of a pyramid\n"
            "its finest level.",
        )
        self.points = named(
            LayerChoice(viewer, lambda layer: isinstance(layer, Points)),
            f"{_NAME}points",
            "The points layer with a point on each object; they may be rough. Hidden points and\n"
            "those too near to the edge for a box around them are left out.",
        )
        self.box_size = named(
            QSpinBox(),
            f"{_NAME}box_size",
            "Side of the boxes: about one and a half times the length of an object, so that it\n"
            "can turn in them. A model that is chosen tells its own.",
        )
        self.box_size.setRange(8, 512)
        self.box_size.setValue(32)
        self.box_size.setSuffix(" px")
        self.about = QLabel()
        self.about.setWordWrap(True)
        self.add("Align", self.kind)
        self._rows = {
            "stack": self.add("Boxes", self.stack),
            "image": self.add("Image", self.image),
            "points": self.add("Points", self.points),
            "box": self.add("Box size", self.box_size),
        }
        self._grid.addRow("", self.about)
        self.kind.currentIndexChanged.connect(self._show_rows)
        for choice in (self.stack, self.image, self.points):
            choice.picked.connect(self._tell)
        self.box_size.valueChanged.connect(self._tell)
        self._show_rows()

    def _show_rows(self) -> None:
        from_points = self.kind.value == "points"
        for name, row in self._rows.items():
            self.show_row(row, (name == "stack") != from_points)
        self._tell()

    def _tell(self) -> None:
        """Say what boxes are chosen, and how large their pixels are."""
        wanted, text = self.wanted, ""
        if wanted is not None:
            dimensions, side, _ = wanted
            length, unit = pixel_length(self.layer)
            size = side or self.box_size.value()
            text = " x ".join([str(size)] * dimensions)
            text += f" pixels of {length:.4g} {unit}" if unit != "pixel" else " pixels"
        self.about.setText(text)
        self.changed.emit()

    @property
    def layer(self) -> Any:
        """The image layer that boxes come from, or None."""
        return self.stack.layer if self.kind.value == "stack" else self.image.layer

    @property
    def tilts(self) -> pd.DataFrame | None:
        """Tilt ranges of the boxes, or of all points, where they have some of their own."""
        if self.kind.value == "stack":
            layer = self.stack.layer
            return None if layer is None else tilts_of(layer.metadata.get("table"))
        points = self.points.layer
        return None if points is None else tilts_of(points.features)

    @property
    def about_tilts(self) -> dict[str, Any]:
        """What the layers' metadata say of the tilt series."""
        chosen = [self.stack] if self.kind.value == "stack" else [self.points, self.image]
        found = (one.layer.metadata.get("equipose") for one in chosen if one.layer is not None)
        told = [about for about in found if isinstance(about, dict) and "tilt_min" in about]
        return told[0] if told else {}

    @property
    def wanted(self) -> tuple[int, int | None, int] | None:
        """Dimensions of a box, its side where the layer tells it, and its channels."""
        layer = self.layer
        if layer is None:
            return None
        sides = _sides(layer)
        channels = 3 if layer.rgb else 1
        if self.kind.value == "points":
            return len(sides), None, channels
        return len(sides) - 1, sides[-1], channels

    def read(self) -> Particles:
        """Take a snapshot of what is chosen.

        Raises
        ------
        InputError
            If a layer is missing, or its boxes or voxels have no equal sides.
        """
        layer = self.layer
        if layer is None:
            raise InputError(
                "open a stack of boxes first, or choose to align points on an image or tomogram."
            )
        sides, positions, left_out, tilts = _sides(layer), None, 0, self.tilts
        if self.kind.value == "points":
            dimensions, size = len(sides), self.box_size.value()
            rows, positions, left_out = self._positions(layer, size)
            shape = (len(positions), *(size,) * dimensions)
            tilts = None if tilts is None else tilts.iloc[rows]
        else:
            dimensions, shape = len(sides) - 1, sides
            if len(set(sides[1:])) > 1:
                text = " x ".join(map(str, sides[1:]))
                raise InputError(
                    f"{layer.name}: boxes of equal sides are wanted, these have {text} pixels; "
                    "cut them anew."
                )
        check_voxels(layer, dimensions)
        return Particles(
            name=str(layer.name),
            record={
                "layer": str(layer.name),
                "scale": [float(step) for step in layer.scale],
                "units": [str(unit) for unit in layer.units],
            },
            data=layer.data[0] if layer.multiscale else layer.data,
            positions=positions,
            shape=(*shape, 3) if layer.rgb else shape,
            dimensions=dimensions,
            left_out=left_out,
            place=placement(layer),
            path=str(layer.source.path) if positions is None and layer.source.path else None,
            unique_id=layer.unique_id,
            tilts=tilts,
        )

    def _positions(
        self, layer: Any, size: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
        """Which points have a box, where they are in the image, and how many are left out."""
        points = self.points.layer
        if points is None:
            raise InputError("add a points layer with a point on each object first.")
        if points.ndim != layer.ndim:
            raise InputError(
                f"{points.name} has {points.ndim} axes and {layer.name} {layer.ndim}: points "
                f"({', '.join('zyx'[-layer.ndim :])}) are wanted."
            )
        shown = np.flatnonzero(np.asarray(points.shown, bool))
        data = np.asarray(points.data, float)[shown]
        places = places_on(points, data, layer, self._viewer, (0,) * (layer.ndim - 2))
        first = corners_of(places, size)
        inside = ((first >= 0) & (first + size <= _sides(layer))).all(1)
        if not inside.any():
            raise InputError(
                f"no box of {size} pixels around a point of {points.name} lies within "
                f"{layer.name}; choose other layers, or a smaller box size."
            )
        return shown[inside], places[inside], int((~inside).sum())

    def detach(self) -> None:
        """Listen to the viewer no more."""
        for choice in (self.stack, self.image, self.points):
            choice.detach()


def _sides(layer: Any) -> tuple[int, ...]:
    return spatial_shape(layer.data[0] if layer.multiscale else layer.data, layer.rgb)
