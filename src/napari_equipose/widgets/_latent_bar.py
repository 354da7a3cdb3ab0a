"""What is above the plot: the map, the colours, what the mouse does, undo and redo."""

from typing import Any

import pandas as pd
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QToolButton, QWidget

from ._color_wheel import ColorWheel
from ._forms import Choice, named, press_with
from ._latent_colours import Legend, LegendBar
from ._latent_state import LatentState

_NAME = "equipose.latent."
_LOOK = (
    "QToolButton { background: rgba(128, 128, 128, 70); border-radius: 3px; padding: 4px 8px; }"
    "QToolButton:hover { background: rgba(128, 128, 128, 120); }"
    "QToolButton:checked { background: #2f7ed8; color: white; }"
    "QToolButton:disabled { color: rgba(128, 128, 128, 150); }"
)
_MODES = {
    "pan": ("Move", "Drag to move the map, turn the wheel to zoom, click on a point to go to it."),
    "lasso": (
        "Lasso",
        "Draw around points to select them; with Shift to add them, with Ctrl to take them away.",
    ),
    "rectangle": ("Box", "Select the points in a rectangle; Shift adds them, Ctrl takes away."),
    "path": (
        "Path",
        "Click the corners of a path through the map; Backspace takes the last one away.",
    ),
}


class MapChoice(QWidget):
    """Choice of the map: two dimensions of the content, or all of it laid out in a plane."""

    changed = Signal()
    """Another map is wanted, by a person or since the content has other dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.method = named(
            Choice({"dimensions": "dims", "PCA": "pca", "UMAP": "umap", "t-SNE": "t-sne"}),
            f"{_NAME}map",
            "dimensions: two numbers of the content, as the model has them.\n"
            "PCA: the plane in which the content is most spread.\n"
            "UMAP, t-SNE: like lies with like; distances mean little. They take longer.",
        )
        self.x = named(
            Choice(), f"{_NAME}x", "The dimension of the content that runs to the right."
        )
        self.y = named(Choice(), f"{_NAME}y", "The dimension of the content that runs upwards.")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.method, 2)
        for choice in (self.x, self.y):
            layout.addWidget(choice, 1)
            choice.setMinimumContentsLength(3)
        self._count = -1
        for choice in (self.method, self.x, self.y):
            choice.currentIndexChanged.connect(self._tell)
        self.offer(0)

    def offer(self, count: int) -> None:
        """Offer the dimensions of a content; of more than two PCA shows more, so it comes first."""
        if count == self._count:
            return
        self._count = count
        for choice, number in ((self.x, 0), (self.y, 1)):
            choice.blockSignals(True)
            choice.clear()
            for i in range(count):
                choice.addItem(str(i), i)
            choice.value = number
            choice.blockSignals(False)
        if self.method.value in ("dims", "pca"):
            self.method.blockSignals(True)
            self.method.value = "pca" if count > 2 else "dims"
            self.method.blockSignals(False)
        self._show()

    def _show(self) -> None:
        by_dimensions = self.method.value == "dims"
        self.x.setVisible(by_dimensions and self._count > 1)
        self.y.setVisible(by_dimensions and self._count > 1)

    def _tell(self) -> None:
        self._show()
        self.changed.emit()

    @property
    def dimensions(self) -> tuple[int, int | None]:
        """Which dimensions run along x and y; of a single one none runs along y."""
        x, y = self.x.value or 0, self.y.value
        return x, None if y is None or self._count < 2 else y


class ColourChoice(QWidget):
    """Choice of the feature that colours the objects, and what its colours stand for."""

    picked = Signal()
    """A person has chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.choice = named(
            Choice(),
            f"{_NAME}colour",
            "The feature by which points are coloured, here and in the viewer.",
        )
        self.legend = LegendBar()
        self.legend.setObjectName(f"{_NAME}legend")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.choice, 2)
        layout.addWidget(self.legend, 3)
        self.wheel = named(
            ColorWheel(),
            f"{_NAME}wheel",
            "The color of objects whose arrows point in each direction.",
        )
        self.wheel.hide()
        layout.addWidget(self.wheel)
        self.choice.activated.connect(lambda: self.picked.emit())

    def offer(self, features: pd.DataFrame, anew: bool) -> None:
        """Offer the columns there are; begin anew with the class or the score, or stay."""
        names = [str(name) for name in features]
        before = None if anew else self.choice.value
        if before not in names:
            before = next((name for name in ("class", "score") if name in names), None)
        self.choice.clear()
        self.choice.addItem("one colour", None)
        for name in names:
            self.choice.addItem(name, name)
        self.choice.value = before

    def show_legend(self, legend: Legend, offset: float) -> None:
        """Say what colors stand for; of angles by a wheel, turned by ``offset`` degrees."""
        self.legend.show_legend(legend)
        cyclic = legend.fold is not None
        self.legend.setVisible(not cyclic)
        self.wheel.setVisible(cyclic)
        self.wheel.show_angles(legend.fold or 1, offset)

    @property
    def value(self) -> Any:
        """Name of the feature, or None."""
        return self.choice.value


class ToolBar(QWidget):
    """What the mouse does in the plot, undo and redo, and the figure as a file."""

    mode_picked = Signal(str)

    def __init__(self, state: LatentState) -> None:
        super().__init__()
        self._state = state
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self.modes = QButtonGroup(self)
        for name, (text, tip) in _MODES.items():
            button = _button(text, name, tip)
            button.setCheckable(True)
            button.setChecked(name == "pan")
            button.clicked.connect(lambda _, name=name: self.mode_picked.emit(name))
            self.modes.addButton(button)
            layout.addWidget(button)
        layout.addStretch(1)
        self.undo = _button("↶", "undo", "Take the last step back")
        self.redo = _button("↷", "redo", "Do again what was taken back")
        self.fit = _button("Fit", "fit", "Show all points (A, or a double click).")
        self.export = _button("Save …", "export", "Save the figure as .svg or .png.")
        for button in (self.undo, self.redo, self.fit, self.export):
            layout.addWidget(button)
        self.undo.clicked.connect(lambda: state.history.undo())
        self.redo.clicked.connect(lambda: state.history.redo())
        state.history_changed.connect(self._show_steps)

    def listen_for_keys(self, panel: QWidget) -> None:
        """Undo and redo with the keys that are usual for it, within a panel."""
        press_with("Ctrl+Z", self.undo, panel)
        press_with("Ctrl+Shift+Z", self.redo, panel)
        self._tips = self.undo.toolTip(), self.redo.toolTip()
        self._show_steps()

    def _show_steps(self) -> None:
        steps = self._state.history.next_undo, self._state.history.next_redo
        buttons = (self.undo, self.redo)
        for button, step, tip in zip(buttons, steps, self._tips, strict=True):
            button.setEnabled(bool(step))
            button.setToolTip(f"{tip}: {step}" if step else tip)


def _button(text: str, name: str, tip: str) -> QToolButton:
    button = named(QToolButton(), f"{_NAME}{name}", tip)
    button.setText(text)
    button.setStyleSheet(_LOOK)
    return button
