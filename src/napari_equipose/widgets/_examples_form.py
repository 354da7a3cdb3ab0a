"""Show me one: a few objects that a person points out, as points, shapes or labels."""

from typing import Any

import numpy as np
from napari.layers import Labels, Points, Shapes
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QPushButton
from skimage.measure import regionprops

from ..geometry import InputError
from ._forms import Form, LayerChoice, named
from ._layers import Plane, inside, on_plane, plane_of, points_on, slice_of
from ._train_source import NO_IMAGE, SourceForm, box_around

_NAME = "equipose.train."


class ExamplesForm(Form):
    """Choice of the layer that shows examples, and a way to click them.

    Parameters
    ----------
    viewer : napari.Viewer
    source : SourceForm
        Says in which image they lie, and how large they are.
    """

    hinted = Signal(str)
    """What a person should do now."""

    def __init__(self, viewer: Any, source: SourceForm) -> None:
        super().__init__()
        self._viewer, self._source = viewer, source
        self._rings: list[Any] = []
        """Layers made here, whose points are as large as a box."""
        self._filled: tuple[Any, NDArray[Any]] | None = None
        """The layer of a hypothesis that was chosen, and its points as they were then."""
        self._followed: Any = None
        self._suggesting = self._touched = False
        self.choice = named(
            LayerChoice(viewer, lambda x: isinstance(x, Points | Shapes | Labels), "none"),
            f"{_NAME}examples",
            "A layer that shows 1 to 5 of your objects, or more: a point on each, a shape around\n"
            "each, or a label of each. The others are found by what these have in common.",
        )
        self.count = QLabel()
        self.click = named(
            QPushButton("Click examples"),
            f"{_NAME}click_examples",
            "Add a points layer to the image, and click the centers of 1 to 5 objects.",
        )
        self.add("Examples", self.choice, self.count, self.click)
        self.choice.picked.connect(self._follow)
        self.click.clicked.connect(self._add_layer)
        source.box_size.valueChanged.connect(self._on_box_size)

    def read(self, plane: Plane) -> NDArray[np.float64] | None:
        """Centers (y, x) of the examples in pixels of a picture, (n, 2); None without a layer.

        Raises
        ------
        InputError
            If the layer that is chosen shows none.
        """
        layer = self.choice.layer
        if layer is None:
            return None
        found = centers_on(layer, self._source.image.layer, self._viewer, plane)
        if not len(found):
            raise InputError(
                f"no example of {layer.name} lies on what is shown of {plane.name}: click some, or "
                "choose none."
            )
        return np.maximum(found, 0.0)  # the outer half of a pixel at the border is the image too

    def fill(self, plane: Plane, positions: NDArray[Any]) -> None:
        """Show (y, x) pixels of a picture, (n, 2), as the examples.

        What a person has clicked stays in its own layer.
        """
        if self._filled is not None:
            layer, before = self._filled
            if layer in self._viewer.layers and np.array_equal(layer.data, before):
                self._viewer.layers.remove(layer)
        layer = self._new_layer(plane.to_layer(positions), plane.placement, plane.factor)
        self._filled = (layer, np.array(layer.data))

    def _add_layer(self) -> None:
        """Let a person click examples, in the layer that is there for it or in a new one."""
        image = self._source.image.layer
        if image is None:
            self.hinted.emit(NO_IMAGE)
            return
        layer = self.choice.layer
        if layer is None or layer not in self._rings:
            try:
                plane = self._plane()
            except InputError as error:
                self.hinted.emit(str(error))
                return
            layer = self._new_layer(np.empty((0, image.ndim)), plane.placement, plane.factor)
        self._viewer.layers.selection.active = layer
        layer.mode = "add"
        self.hinted.emit("Click the centers of 1 to 5 objects in the image, then press Learn.")

    def _new_layer(
        self, places: NDArray[Any], placement: dict[str, Any], factor: tuple[float, float]
    ) -> Any:
        layer = self._viewer.add_points(
            places,
            ndim=places.shape[1],
            name="Examples",
            size=self._source.box_size.value() * float(np.mean(factor)),
            face_color="transparent",
            border_color="orange",
            border_width=0.04,
            **placement,
        )
        self._rings.append(layer)
        self.choice.value = layer.unique_id
        return layer

    def _plane(self) -> Plane:
        source = self._source
        return plane_of(source.image.layer, self._viewer, source.level.value or 0)

    def _follow(self) -> None:
        """Mind what is clicked or drawn in the layer that is chosen."""
        if self._followed is not None:
            self._followed.events.data.disconnect(self._on_data)
        layer = self.choice.layer
        self._followed = layer if isinstance(layer, Points | Shapes) else None
        if self._followed is not None:
            self._followed.events.data.connect(self._on_data)
        self._on_data()

    def _on_data(self, event: Any = None) -> None:
        layer = self._followed
        self.count.setText("" if layer is None else str(len(layer.data)))
        if isinstance(layer, Shapes) and len(layer.data) and not self._touched:
            self._suggest_box(layer)

    def _suggest_box(self, shapes: Any) -> None:
        """Take the box size from what is drawn, where nobody has said one."""
        image = self._source.image.layer
        if image is None:
            return
        try:
            plane = self._plane()
        except InputError:  # said when it is wanted
            return
        drawn = [on_plane(shapes, data, image, self._viewer, plane) for data in shapes.data]
        size = max(box_around(corners)[1] for corners in drawn)
        if size < self._source.box_size.minimum():
            return
        self._suggesting = True
        self._source.box_size.setValue(size)
        self._suggesting = False
        self.hinted.emit(f"The box is {size} pixels, from the shapes.")

    def _on_box_size(self, size: int) -> None:
        self._touched = self._touched or not self._suggesting
        self._rings = [layer for layer in self._rings if layer in self._viewer.layers]
        for layer in self._rings:
            try:
                factor = float(np.mean(self._plane().factor))
            except (InputError, AttributeError):  # there is no image now
                return
            layer.size = layer.current_size = size * factor

    def detach(self) -> None:
        """Listen to the viewer no more."""
        self.choice.detach()
        if self._followed is not None:
            self._followed.events.data.disconnect(self._on_data)
            self._followed = None


def centers_on(layer: Any, image: Any, viewer: Any, plane: Plane) -> NDArray[np.float64]:
    """Pixels (y, x) of a picture at which the objects of a layer have their centers, (n, 2).

    Of points themselves, of shapes the middles of their bounding boxes, of labels the centroids;
    those on the picture's slice.
    """
    if isinstance(layer, Points):
        return points_on(layer, image, viewer, plane)
    if isinstance(layer, Shapes):
        corners = [np.asarray(data, float) for data in layer.data]
        middles = [(each.min(0) + each.max(0)) / 2 for each in corners]
        places = np.array(middles).reshape(-1, layer.ndim)
    else:
        leading = slice_of(layer, viewer)
        data = layer.data[0] if layer.multiscale else layer.data
        regions = regionprops(np.asarray(data[leading]))
        places = np.array([(*leading, *region.centroid) for region in regions])
        places = places.reshape(-1, layer.ndim)
    return inside(on_plane(layer, places, image, viewer, plane), plane)
