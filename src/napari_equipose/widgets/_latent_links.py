"""What binds the plot, the objects and the viewer together: each shows what the others do."""

from typing import Any
from weakref import ref

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from ._latent_source import LatentSource
from ._latent_state import LatentState
from ._layers import unit_ratios

_LEAST = 48.0  # pixels of the screen that the box of an object fills at least
_MANY = 2_000
"""Of so many that are selected the layer makes much more work; the plot shows them before it."""
_GENERATED = "generated object"


def go_to(viewer: Any, layer: Any, row: int, side: float) -> None:
    """Bring an object into the middle of the view, and its slice in front.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : Points
    row : int
    side : float
        Of its box, in pixels of the layer; the view is enlarged where that is hardly seen.
    """
    place = np.array(layer.data_to_world(layer.data[row]), float)
    ratios = np.ones(len(place))
    if viewer.layers.units is not None:
        ratios = unit_ratios(tuple(layer.units), tuple(viewer.layers.units)[-len(place) :])
    ahead = viewer.dims.ndim - layer.ndim
    point = np.array(viewer.dims.point, float)
    point[ahead:] = place * ratios
    shown = viewer.dims.displayed
    for axis in range(ahead, viewer.dims.ndim):
        if axis not in shown:
            viewer.dims.set_point(axis, float(point[axis]))
    centre = np.array(viewer.scene.camera.center, float)
    centre[-len(shown) :] = point[list(shown)]
    viewer.scene.camera.center = tuple(centre.tolist())
    width = side * abs(float(layer.scale[-1])) * float(ratios[-1])
    if viewer.scene.camera.zoom * width < _LEAST:
        viewer.scene.camera.zoom = _LEAST / width


class Links:
    """Hands on, between a plot and the state, what is selected and looked at.

    Parameters
    ----------
    viewer : napari.Viewer
    state : LatentState
    source : LatentSource
    plot : LatentPlot
    """

    def __init__(self, viewer: Any, state: LatentState, source: LatentSource, plot: Any) -> None:
        self._viewer, self._state, self._source, self._plot = viewer, state, source, plot
        plot.lassoed.connect(self._on_lasso)
        plot.clicked.connect(self._on_click)
        state.selection_changed.connect(self._on_selection)
        state.current_changed.connect(self._on_current)

    def _on_lasso(self, mask: NDArray[np.bool_], how: Any) -> None:
        state = self._state
        if len(mask) != len(state):  # the points are about to be others
            return
        count = int(mask.sum())
        title = f"Select {count}" if how == "replace" else f"Select: {how} {count}"
        state.select(mask & state.shown, how, title)

    def _on_click(self, row: int) -> None:
        state = self._state
        if row < 0:
            state.select(np.zeros(len(state), bool), title="Select none")
        elif state.layer is not None and row < len(state):
            state.select_current(row)
            go_to(self._viewer, state.layer, row, self._box_side())

    def _box_side(self) -> float:
        about = self._state.layer.metadata.get("equipose")
        told = about.get("box_size") if isinstance(about, dict) else None
        return float(told or self._source.box_size)

    def _on_selection(self) -> None:
        selected = self._state.selected
        self._plot.set_selected(selected)
        rows = np.flatnonzero(selected)
        if len(rows) > _MANY:
            self._plot.canvas.viewport().repaint()
        if len(rows) == 1:
            self._state.select_current(int(rows[0]))

    def _on_current(self) -> None:
        self._plot.set_current(self._state.current)


class GeneratedLayer:
    """The image layer of what the model draws under the cursor.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._layer: Any = lambda: None

    def show(self, drawn: NDArray[Any], dimensions: int, voxel: float, image: Any) -> None:
        """Show an object, in a new layer where there is none of its shape.

        Parameters
        ----------
        drawn : array, shape ([z,] y, x) or (y, x, 3)
        dimensions : int
        voxel : float
            Side of a pixel, in the units of the image.
        image : Image or None
            Beside which it comes to lie.
        """
        layer = self._layer()
        if layer is None or layer not in self._viewer.layers or layer.data.shape != drawn.shape:
            self.take_away()
            layer = self._made(drawn, dimensions, voxel, image)
            active = self._viewer.layers.selection.active
            self._viewer.add_layer(layer)
            self._viewer.layers.selection.active = active  # whose tools a person is at
            self._layer = ref(layer)
        shown = drawn
        if layer.rgb:
            shown = np.clip((drawn - drawn.min()) / max(float(np.ptp(drawn)), 1e-12), 0, 1)
        else:
            low, high = layer.contrast_limits
            low, high = min(low, float(drawn.min())), max(high, float(drawn.max()))
            if (low, high) != tuple(layer.contrast_limits):
                layer.contrast_limits_range = layer.contrast_limits = (low, high)
        layer.data = shown

    def _made(self, drawn: NDArray[Any], dimensions: int, voxel: float, image: Any) -> Image:
        place: dict[str, Any] = {"scale": (voxel,) * dimensions}
        if image is not None and image.ndim >= dimensions:
            low, high = image.extent.world
            corner = np.array(low[-dimensions:], float)
            corner[-1] = high[-1] + voxel * drawn.shape[dimensions - 1] / 8
            if dimensions == 3:  # where the middle of the tomogram is shown, it is shown too
                corner[0] = (low[-3] + high[-3]) / 2 - voxel * drawn.shape[0] / 2
            place |= {
                "translate": tuple(corner.tolist()),
                "units": tuple(image.units)[-dimensions:],
            }
            place["axis_labels"] = tuple(image.axis_labels)[-dimensions:]
        limits = (float(drawn.min()), float(drawn.max()) + 1e-6)
        if drawn.ndim > dimensions:
            return Image(np.zeros(drawn.shape), name=_GENERATED, rgb=True, **place)
        return Image(
            drawn,
            name=_GENERATED,
            contrast_limits=limits,
            interpolation2d="linear",
            **place,
        )

    def take_away(self) -> None:
        """Remove the layer, if it is there."""
        layer, self._layer = self._layer(), lambda: None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
