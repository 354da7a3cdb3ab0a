"""The object that is looked at, and the one that the model draws under the cursor."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from ..inference import AlignedStack, draw_content
from ..models import SavedModel
from ..training import explain
from ._forms import named
from ._latent_boxes import Places
from ._latest import Latest
from ._pictures import PictureRow, grey_levels

_NAME = "equipose.latent."
_WITHIN = (0.5, 99.5)  # percentiles of what is drawn, from black to white
_TELLS = ("class", "score", "rotation", "rot", "tilt", "psi")


class Seen(NamedTuple):
    """Pictures of one object; None where they can't be had."""

    box: NDArray[Any] | None
    at_rest: NDArray[Any] | None
    drawn: NDArray[Any] | None


def look_at(
    places: Places | None,
    rotation: NDArray[np.float64],
    scale: NDArray[np.float64] | None,
    saved: SavedModel | None,
    content: NDArray[np.float64],
) -> Seen:
    """Read the box of one object, bring it to rest, and draw it.

    Parameters
    ----------
    places : Places or None
        Of one object.
    rotation, scale, content : array, shape (1, ...)
    saved : SavedModel or None
    """
    box = at_rest = drawn = None
    if places is not None:
        boxes = places.read()
        box = boxes[0]
        at_rest = AlignedStack(boxes, rotation, places.rest, scale)[0]
    if saved is not None:
        drawn = draw_content(saved, content)[0]
    return Seen(box, at_rest, drawn)


class ObjectView(QWidget):
    """Pictures of the object that is looked at, beside the one that is drawn live."""

    generated = Signal(object)
    """What the model has drawn of the content under the cursor."""

    def __init__(self) -> None:
        super().__init__()
        self._live, self._object = Latest("drawing"), Latest("looking at an object")
        self._widest = 0.0
        self.live, self.three = PictureRow(1), [PictureRow(1) for _ in range(3)]
        self.live.setMinimumHeight(96)
        self.about = QLabel()
        self.about.setWordWrap(True)
        self.in_layer = named(
            QCheckBox("in a layer"),
            f"{_NAME}in_layer",
            "Show the object that is drawn under the cursor in an image layer too, beside the\n"
            "image; a volume can be turned there.",
        )
        tips = (
            "The object that was clicked on, as it lies in the image.",
            "The same object, brought to rest: turned and moved to the model's own position.",
            "What the model draws of its content, at rest.",
        )
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(2)
        live = QVBoxLayout()
        live.setSpacing(2)
        live.addWidget(self.live)
        self.live.setToolTip("What the model draws of the place of the map under the cursor.")
        live.addWidget(_caption("generated at the cursor"))
        live.addWidget(self.in_layer, 0, Qt.AlignmentFlag.AlignHCenter)
        live.addStretch(1)
        grid.addLayout(live, 0, 0, 3, 1)
        for column, (row, text, tip) in enumerate(
            zip(self.three, ("in the image", "at rest", "generated"), tips, strict=True)
        ):
            row.setToolTip(tip)
            grid.addWidget(row, 0, column + 1)
            grid.addWidget(_caption(text), 1, column + 1)
        grid.addWidget(self.about, 2, 1, 1, 3)
        for column, stretch in enumerate((3, 2, 2, 2)):
            grid.setColumnStretch(column, stretch)
        self._live.done.connect(self._show_live)
        self._live.failed.connect(self._show_failure)
        self._object.done.connect(self._show_object)
        self._object.failed.connect(self._show_failure)
        self.clear()

    def clear(self) -> None:
        """Show no object, and nothing that is drawn: they are others now."""
        self._live.forget()
        self._object.forget()
        self._widest = 0.0
        self.live.show_pictures([])
        self.show_none()

    def show_none(self) -> None:
        """Show no object."""
        self._object.forget()
        for row in self.three:
            row.show_pictures([])
        self.about.setText("Click on a point to see its object.")

    def draw(self, saved: SavedModel, content: Callable[[], NDArray[Any]]) -> None:
        """Have the object of a content (1, k) drawn, and shown when it is."""
        self._live.ask(lambda: draw_content(saved, content())[0])

    def look(self, text: str, work: Callable[[], Seen]) -> None:
        """Show an object when its pictures are there."""
        self.about.setText(text)
        self._object.ask(work)

    @property
    def is_idle(self) -> bool:
        """Whether all that was asked for is shown, or about to be."""
        return self._live.is_idle and self._object.is_idle

    def _show_live(self, drawn: NDArray[Any]) -> None:
        picture = _flat(drawn)
        low, high = np.percentile(picture, _WITHIN)
        self._widest = max(self._widest, float(high - low))
        # What is faint beside all that was drawn before looks faint.
        scale = 255 / max(float(high - low), self._widest / 3, 1e-12)
        self.live.show_pictures([np.clip((picture - low) * scale, 0, 255).astype(np.uint8)])
        self.generated.emit(drawn)

    def _show_object(self, seen: Seen) -> None:
        for row, picture in zip(self.three, seen, strict=True):
            row.show_pictures([] if picture is None else grey_levels([_flat(picture)]))

    def _show_failure(self, error: Exception) -> None:
        failure = explain(error)
        if not failure.expected:
            raise error  # napari shows it with its traceback
        self.about.setText(failure.message[:1].upper() + failure.message[1:])

    def stop(self) -> None:
        """End the threads."""
        self._live.stop()
        self._object.stop()


def tell(features: Any, row: int, name: str) -> str:
    """Say what is known of one object."""
    words = [f"{name}, row {row}"]
    for column in _TELLS:
        if column in features:
            value = features[column].iloc[row]
            text = f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
            words.append(f"{column} {text}{'°' if column in _TELLS[2:] else ''}")
    return ", ".join(words)


def _flat(picture: NDArray[Any]) -> NDArray[Any]:
    """Mean over the middle quarter of a volume; an image as it is."""
    if picture.ndim == 2 or picture.shape[-1] == 3:
        return np.asarray(picture, np.float32)
    half = max(len(picture) // 8, 1)
    middle = len(picture) // 2
    return np.asarray(picture[middle - half : middle + half].mean(0))


def _caption(text: str) -> QLabel:
    label = QLabel(text)
    label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
    label.setStyleSheet("font-size: 10px;")
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return label
