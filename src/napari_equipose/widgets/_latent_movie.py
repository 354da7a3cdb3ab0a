"""Objects drawn over the map, on a grid or along a path; a part of the Latent space panel."""

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtWidgets import QCheckBox, QLabel, QPushButton, QSpinBox

from ..geometry import InputError
from ..inference import LatentMap
from ..models import SavedModel
from ._forms import Form, named
from ._latent_drawn import (
    Grid,
    covering,
    grid_layer,
    lay_beside,
    movie_layer,
    pictures_of,
    show_layer,
)
from ._latent_job import draw_map, draw_movie
from ._object_edits import record_of

_NAME = "equipose.latent."


class MoviePart(Form):
    """A grid of drawn objects behind the points, and a movie along a path of clicked places.

    Parameters
    ----------
    panel : LatentWidget
        Whose plot, map, source and jobs are used.
    """

    def __init__(self, panel: Any) -> None:
        super().__init__()
        self._panel, self._source, self._plot = panel, panel.source, panel.plot
        self._grid_drawn: Grid | None = None
        self._of: tuple[Any, Any] = (None, None)
        self._path: NDArray[np.float64] = np.zeros((0, 2))
        self.side = named(
            QSpinBox(), f"{_NAME}grid", "How many objects the grid has along each side."
        )
        self.side.setRange(2, 40)
        self.side.setValue(12)
        self.behind = named(
            QCheckBox("behind the points"),
            f"{_NAME}behind",
            "Draw what the model makes of each place of the map behind the points, of the part\n"
            "that is in view: zoom in and press it again for a finer one.",
        )
        self.grid_layer = named(
            QPushButton("As layer"),
            f"{_NAME}grid_layer",
            "Add the grid of drawn objects as an image layer; that of volumes is a volume.",
        )
        self.clear = named(
            QPushButton("Clear path"), f"{_NAME}clear_path", "Forget the path; a new one can begin."
        )
        self.about = QLabel()
        self.about.setWordWrap(True)
        self.frames = named(
            QSpinBox(), f"{_NAME}frames", "Pictures along the path, at equal steps of content."
        )
        self.frames.setRange(2, 1000)
        self.frames.setValue(40)
        self.make = named(
            QPushButton("Make a movie"),
            f"{_NAME}movie",
            "Add an image layer of the object as it changes along the path: one picture after\n"
            "another on its first axis, which the viewer's slider plays.",
        )
        self.add("Grid", self.side, self.behind, self.grid_layer)
        self.add("Path", self.about, self.clear)
        self.add("Frames", self.frames, self.make)
        self.behind.toggled.connect(self._show_or_hide)
        self.side.valueChanged.connect(self._on_side)
        self.grid_layer.clicked.connect(lambda: self._with_grid(self._add_grid))
        self.clear.clicked.connect(self._plot.clear_path)
        self.make.clicked.connect(self._make)
        self._plot.path_changed.connect(self._on_path)
        self._source.changed.connect(self.refresh)
        panel.map_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Forget a grid that another model drew, or of another map."""
        if self._of != self._now:
            self._forget()
        for control in (self.behind, self.grid_layer):
            control.setEnabled(self._source.saved is not None)
        self._on_path(self._path)

    @property
    def _now(self) -> tuple[Any, Any]:
        """What a grid is of."""
        saved = self._source.saved
        return None if saved is None else saved.digest, self._panel.map

    def _forget(self) -> None:
        self._grid_drawn = None
        self._plot.set_background(None, None)
        self.behind.blockSignals(True)
        self.behind.setChecked(False)
        self.behind.blockSignals(False)

    def _on_side(self) -> None:
        if self.behind.isChecked():
            self._show_or_hide(True)

    def _show_or_hide(self, shown: bool) -> None:
        if shown:
            self._with_grid(self._show_grid)
        else:
            self._plot.set_background(None, None)

    def _with_grid(self, use: Callable[[Grid], None]) -> None:
        """Use the grid that is drawn, or draw one of what is in view."""
        try:
            saved, latent_map = self._model(), self._map()
        except Exception as error:
            self._forget()
            self._panel.refuse(error)
            return
        of, side = self._now, self.side.value()
        bounds = covering(latent_map, self._plot.bounds())
        there = self._grid_drawn
        if there is not None and len(there.objects) == side and there.bounds == bounds:
            use(there)
            return

        def take(grid: Grid) -> None:
            if of == self._now:
                self._of, self._grid_drawn = of, grid
                use(grid)

        work = draw_map(saved, latent_map, side, bounds)
        self._panel.do("Drawing the grid", work, take, about_rows=False)

    def _show_grid(self, grid: Grid) -> None:
        self._plot.set_background(pictures_of(grid.objects, grid.dimensions), grid.bounds)

    def _add_grid(self, grid: Grid) -> None:
        self._add(grid_layer(grid, self._source.voxel, self._title("grid"), self._record()))

    def _add(self, layer: Image) -> None:
        """Add a layer beside the image, and look at it."""
        viewer = self._panel.viewer
        viewer.add_layer(lay_beside(layer, self._source.image.layer))
        show_layer(viewer, layer, self._source.dimensions)
        self._panel.show_progress(1, f"It is in the layer {layer.name}, beside the image.")

    def _on_path(self, path: NDArray[np.float64]) -> None:
        self._path = np.asarray(path, np.float64).reshape(-1, 2)
        corners = f"of {len(self._path)} corners"
        self.about.setText(corners if len(self._path) else "press Path above, and click corners")
        self.clear.setEnabled(len(self._path) > 0)
        self.make.setEnabled(len(self._path) > 1 and self._source.saved is not None)

    def _make(self) -> None:
        """Draw the objects along the path."""
        try:
            saved, latent_map = self._model(), self._map()
            contents = latent_map.content_at(self._path)
            work = draw_movie(saved, contents, self.frames.value())
        except Exception as error:
            self._panel.refuse(error)
            return
        voxel, dimensions = self._source.voxel, self._source.dimensions
        about = self._record() | {"path": contents.tolist()}
        title = self._title("path")

        def add(frames: NDArray[np.float32]) -> None:
            self._add(movie_layer(frames, voxel, dimensions, title, about))

        self._panel.do("Drawing the path", work, add, about_rows=False)

    def _model(self) -> SavedModel:
        saved: SavedModel | None = self._source.saved
        if saved is None:
            raise InputError("choose the model that the content is of: it draws the objects.")
        return saved

    def _map(self) -> LatentMap:
        found: LatentMap | None = self._panel.map
        if found is None:
            raise InputError("choose objects first: there is no map yet.")
        return found

    def _title(self, what: str) -> str:
        return ", ".join(filter(None, (self._source.name, what)))

    def _record(self) -> dict[str, Any]:
        layer = self._source.layer
        return {} if layer is None else record_of(layer)
