"""What is aligned: a stack of boxes, or boxes around points; the first part of the Align panel."""

import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Image, Points
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QSpinBox

from ..geometry import InputError
from ..inference import Progress
from ._forms import Choice, Form, LayerChoice, named
from ._layers import pixel_length, placement, places_on, spatial_shape

_NAME = "equipose.align."
_IN_MEMORY = 2**28
"""Bytes of boxes that are kept in memory; more of them go to a file."""
_SELDOM = 20  # boxes: a report of each would keep the viewer busy with nothing else
_UNEQUAL = 0.01


class Particles(NamedTuple):
    """Boxes to align, not read yet: a snapshot, whatever becomes of form and layers."""

    name: str
    record: dict[str, Any]
    """What files say of them; plain JSON."""
    data: Any
    """A stack of boxes (n, [z,] y, x) or (n, y, x, 3), or a large image of [z,] y, x [, 3],"""
    positions: NDArray[np.float64] | None
    """with places ([z,] y, x) in its pixels that boxes are cut around."""
    shape: tuple[int, ...]
    """Of all boxes together, such as (n, z, y, x)."""
    dimensions: int
    left_out: int
    """Points too near to the edge for a box around them."""
    place: dict[str, Any]
    """Keyword arguments that put a layer where the source is."""
    path: str | None
    """The file of a stack."""
    unique_id: Any
    """Of the source layer, which may be deleted."""

    @property
    def rgb(self) -> bool:
        """Whether the boxes are in colour."""
        return len(self.shape) == self.dimensions + 2

    @property
    def voxel(self) -> tuple[float, str]:
        """Length of a pixel and its unit."""
        return float(self.place["scale"][-1]), f"{self.place['units'][-1]:~P}"

    @property
    def stack_place(self) -> dict[str, Any]:
        """Keyword arguments of a layer of boxes; those that were cut begin at the origin."""
        if self.positions is None:
            return self.place
        return {
            "scale": (1.0, *self.place["scale"]),
            "units": ("pixel", *map(str, self.place["units"])),
            "axis_labels": ("n", *self.place["axis_labels"]),
        }

    @property
    def corners(self) -> NDArray[np.int64]:
        """First pixel of each box that is cut, shape (n, d)."""
        assert self.positions is not None
        return corners_of(self.positions, self.shape[1])


def corners_of(positions: NDArray[np.float64], box_size: int) -> NDArray[np.int64]:
    """First pixels of boxes whose centre pixels are nearest to positions."""
    return np.floor(positions + 0.5).astype(np.int64) - box_size // 2


def gather(particles: Particles, folder: Path) -> Generator[Progress, None, NDArray[Any]]:
    """Copy all boxes, into a nameless file of a folder where they are many.

    Yields
    ------
    Progress

    Returns
    -------
    array, shape ``particles.shape``

    Raises
    ------
    OSError
        If the folder can't be written.
    """
    dtype, n = np.dtype(particles.data.dtype), particles.shape[0]
    if np.prod(particles.shape, dtype=float) * dtype.itemsize <= _IN_MEMORY:
        boxes = np.empty(particles.shape, dtype)
        for row in range(n):
            boxes[row] = _box(particles, row)
            if row % _SELDOM == 0:
                yield Progress(row + 1, n, "reading the boxes")
        return boxes
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        for row in range(n):
            file.write(np.ascontiguousarray(_box(particles, row)).tobytes())
            if row % _SELDOM == 0:
                yield Progress(row + 1, n, "reading the boxes")
        file.flush()
        return np.memmap(file, dtype, "r", shape=particles.shape)


def _box(particles: Particles, row: int) -> NDArray[Any]:
    if particles.positions is None:
        box = np.asarray(particles.data[row])
        return box[..., :3] if particles.rgb else box
    corner = particles.corners[row].tolist()
    sides = particles.shape[1 : 1 + particles.dimensions]
    there = (slice(first, first + side) for first, side in zip(corner, sides, strict=True))
    box = np.asarray(particles.data[tuple(there)])
    return box[..., :3] if particles.rgb else box


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
        self.stack.picked.connect(self._tell)
        self.image.picked.connect(self._tell)
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
        sides, positions, left_out = _sides(layer), None, 0
        if self.kind.value == "points":
            dimensions, size = len(sides), self.box_size.value()
            positions, left_out = self._positions(layer, size)
            shape = (len(positions), *(size,) * dimensions)
        else:
            dimensions, shape = len(sides) - 1, sides
            if len(set(sides[1:])) > 1:
                text = " x ".join(map(str, sides[1:]))
                raise InputError(
                    f"{layer.name}: boxes of equal sides are wanted, these have {text} pixels; "
                    "cut them anew."
                )
        _check_voxels(layer, dimensions)
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
        )

    def _positions(self, layer: Any, size: int) -> tuple[NDArray[np.float64], int]:
        """Places of the points in pixels of the image, and how many are left out."""
        points = self.points.layer
        if points is None:
            raise InputError("add a points layer with a point on each object first.")
        if points.ndim != layer.ndim:
            raise InputError(
                f"{points.name} has {points.ndim} axes and {layer.name} {layer.ndim}: points "
                f"({', '.join('zyx'[-layer.ndim :])}) are wanted."
            )
        data = np.asarray(points.data, float)[np.asarray(points.shown, bool)]
        places = places_on(points, data, layer, self._viewer, (0,) * (layer.ndim - 2))
        first = corners_of(places, size)
        inside = ((first >= 0) & (first + size <= _sides(layer))).all(1)
        if not inside.any():
            raise InputError(
                f"no box of {size} pixels around a point of {points.name} lies within "
                f"{layer.name}; choose other layers, or a smaller box size."
            )
        return places[inside], int((~inside).sum())

    def detach(self) -> None:
        """Listen to the viewer no more."""
        for choice in (self.stack, self.image, self.points):
            choice.detach()


def _sides(layer: Any) -> tuple[int, ...]:
    return spatial_shape(layer.data[0] if layer.multiscale else layer.data, layer.rgb)


def _check_voxels(layer: Any, dimensions: int) -> None:
    steps = np.abs(np.array(layer.scale, float)[-dimensions:])
    if steps.max() > (1 + _UNEQUAL) * steps.min():
        text = " x ".join(f"{step:.4g}" for step in steps)
        raise InputError(
            f"{layer.name}: the sides of its pixels are {text}, and objects turn only in pixels of "
            "equal sides; resample it, or mend the layer's scale."
        )
