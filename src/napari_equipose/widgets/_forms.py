"""Parts of forms: rows with tooltips and names, choices of layers, a part that folds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QSize, Qt, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

W = TypeVar("W", bound=QWidget)


def named(widget: W, name: str, tip: str) -> W:
    """Give a control the name that tests and screenshots use, and its tooltip."""
    widget.setObjectName(name)
    widget.setToolTip(tip)
    return widget


def press_with(keys: str, button: QAbstractButton, panel: QWidget) -> None:
    """Let keys press a button while the focus is in its panel; say so in its tooltip."""
    sequence = QKeySequence(keys)
    shortcut = QShortcut(sequence, panel)
    shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
    shortcut.activated.connect(button.click)
    text = sequence.toString(QKeySequence.SequenceFormat.NativeText)
    button.setToolTip(f"{button.toolTip()} ({text})")


def primary(button: QPushButton) -> QPushButton:
    """Make a button stand out as the one to press."""
    button.setStyleSheet(
        "QPushButton { background: #2f7ed8; color: white; font-weight: bold; padding: 6px; }"
        "QPushButton:hover { background: #4a94e8; }"
        "QPushButton:disabled { background: rgba(128, 128, 128, 70);"
        " color: rgba(128, 128, 128, 220); }"
    )
    return button


class Form(QWidget):
    """Labels on the left, controls on the right; a control's label shares its tooltip."""

    def __init__(self) -> None:
        super().__init__()
        self._grid = QFormLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._grid.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)

    def add(self, label: str, *controls: QWidget) -> QWidget:
        """Add a row of one control, or of several side by side; return what holds them.

        A row that goes on with the one above has an empty label.
        """
        field = controls[0] if len(controls) == 1 else _side_by_side(controls)
        self._grid.addRow(label, field)
        if label:
            self._grid.labelForField(field).setToolTip(controls[0].toolTip())
        return field

    def show_row(self, field: QWidget, shown: bool) -> None:
        """Show or hide the row of what `add` returned."""
        self._grid.setRowVisible(field, shown)


def _side_by_side(controls: tuple[QWidget, ...]) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for index, control in enumerate(controls):
        layout.addWidget(control, 1 if index == 0 else 0)
    return row


class Fold(QWidget):
    """A title that shows and hides what stands below it."""

    def __init__(self, title: str, content: QWidget, name: str, tip: str) -> None:
        super().__init__()
        self.content = content
        self.button = named(QToolButton(), name, tip)
        self.button.setText(title)
        self.button.setCheckable(True)
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.button.setStyleSheet("QToolButton { border: none; background: transparent; }")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.button)
        layout.addWidget(content)
        self.button.toggled.connect(self._toggle)
        self._toggle(False)

    def _toggle(self, opened: bool) -> None:
        arrow = Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow
        self.button.setArrowType(arrow)
        self.content.setVisible(opened)


class Choice(QComboBox):
    """A choice that may be narrower than its longest entry."""

    def __init__(self, entries: dict[str, Any] | None = None) -> None:
        super().__init__()
        policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        self.setSizeAdjustPolicy(policy)
        self.setMinimumContentsLength(8)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        for text, value in (entries or {}).items():
            self.addItem(text, value)

    @property
    def value(self) -> Any:
        """What stands behind the entry that is chosen."""
        return self.currentData()

    @value.setter
    def value(self, value: Any) -> None:
        self.setCurrentIndex(max(self.findData(value), 0))

    def offer(self, index: int, reason: str) -> None:
        """Offer an entry or, where there is a reason against it, grey it and say why."""
        self.model().item(index).setEnabled(not reason)
        self.setItemData(index, reason, Qt.ItemDataRole.ToolTipRole)

    def can_choose(self, value: Any) -> bool:
        """Whether there is an entry of a value that is not greyed."""
        index = self.findData(value)
        return index >= 0 and bool(self.model().item(index).isEnabled())


class LayerChoice(Choice):
    """A choice among the layers of a viewer that suit.

    Parameters
    ----------
    viewer : napari.Viewer
    suits : callable
        Says of a layer whether it is offered.
    none : str, optional
        Text of an entry above them that chooses no layer; by default there is none.
    """

    picked = Signal()
    """Another layer is chosen, or none."""

    def __init__(self, viewer: Any, suits: Callable[[Any], bool], none: str | None = None) -> None:
        super().__init__()
        self._viewer, self._suits, self._none = viewer, suits, none
        self._last: Any = None
        self._events = viewer.layers.events
        for name in ("inserted", "removed", "reordered", "renamed"):
            getattr(self._events, name).connect(self.refresh)
        self.currentIndexChanged.connect(self._tell)
        self.refresh()
        active = viewer.layers.selection.active
        if none is None and active is not None and suits(active):
            self.value = active.unique_id

    def refresh(self, event: Any = None) -> None:
        """Offer the layers there are now; keep to the one chosen where it still is."""
        if not isalive(self):  # the window was closed, which tells no one but Qt
            self.detach()
            return
        chosen = self.value
        self.blockSignals(True)
        self.clear()
        if self._none is not None:
            self.addItem(self._none, None)
        for layer in reversed(list(self._viewer.layers)):
            if self._suits(layer):
                self.addItem(str(layer.name), layer.unique_id)
        self.value = chosen
        self.blockSignals(False)
        self._tell()

    def _tell(self) -> None:
        if self.value != self._last:
            self._last = self.value
            self.picked.emit()

    @property
    def layer(self) -> Any:
        """The layer chosen, or None."""
        return next((x for x in self._viewer.layers if x.unique_id == self.value), None)

    def detach(self) -> None:
        """Listen to the viewer no more."""
        for name in ("inserted", "removed", "reordered", "renamed"):
            getattr(self._events, name).disconnect(self.refresh)


class PathField(QWidget):
    """A file to write: typed, or chosen with a button."""

    def __init__(self, name: str, tip: str, title: str, filters: str) -> None:
        super().__init__()
        self._title, self._filters = title, filters
        self.setToolTip(tip)
        self.line = named(QLineEdit(), name, tip)
        self.line.setClearButtonEnabled(True)
        browse = named(QPushButton("…"), f"{name}_browse", "Choose the file.")
        browse.setMaximumSize(QSize(32, 32))
        browse.clicked.connect(self._browse)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line, 1)
        layout.addWidget(browse)

    @property
    def path(self) -> Path | None:
        """What is typed, or None."""
        text = self.line.text().strip()
        return Path(text).expanduser() if text else None

    def _browse(self) -> None:
        start = self.line.text() or self.line.placeholderText()
        path, _ = QFileDialog.getSaveFileName(self, self._title, start, self._filters)
        if path:
            self.line.setText(path)


class VerticalScroll(QScrollArea):
    """Scrolls up and down; as wide as what is in it."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(content)
        content.installEventFilter(self)

    def eventFilter(self, watched: Any, event: QEvent) -> bool:
        """Become wider where what is in it does, because something is shown that was hidden."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))

    def minimumSizeHint(self) -> QSize:
        return QSize(self.sizeHint().width(), 200)

    def sizeHint(self) -> QSize:
        content = self.widget().minimumSizeHint()
        bar = self.verticalScrollBar().sizeHint().width()
        return QSize(max(content.width(), 330) + max(bar, 12), content.height())
