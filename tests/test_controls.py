"""What holds for every panel of the manifest: names, tooltips, keys, a page of the manual."""

import os
from typing import Any

import pytest
from napari._app_model import get_app_model
from napari.utils.shortcuts import default_shortcuts
from npe2 import PluginManifest
from qtpy import QtWidgets
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices, QKeySequence, QShortcut
from qtpy.QtWidgets import QPushButton, QScrollBar, QWidget

from napari_equipose.widgets._help import ManualWindow, page_url, show_page

if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
    pytest.skip("napari's viewer draws on no offscreen platform", allow_module_level=True)

MANIFEST = PluginManifest.from_distribution("napari-equipose")
PANELS = [widget.display_name for widget in MANIFEST.contributions.widgets]
CONTROLS = (
    QtWidgets.QAbstractButton,
    QtWidgets.QAbstractItemView,
    QtWidgets.QAbstractSlider,
    QtWidgets.QAbstractSpinBox,
    QtWidgets.QApplication,
    QtWidgets.QComboBox,
    QtWidgets.QLineEdit,
    QtWidgets.QPlainTextEdit,
    QtWidgets.QTextEdit,
)


@pytest.fixture
def viewer(make_napari_viewer) -> Any:
    return make_napari_viewer()


@pytest.fixture(params=PANELS)
def panel(request, viewer) -> Any:
    return viewer.window.add_plugin_dock_widget("napari-equipose", request.param)[1]


def controls_of(panel: QWidget) -> list[QWidget]:
    """All that a person can operate, but for what Qt makes controls of: arrows, scroll bars."""
    return [
        widget
        for widget in panel.findChildren(QWidget)
        if isinstance(widget, CONTROLS)
        and not isinstance(widget, QScrollBar)
        and not widget.objectName().startswith("qt_")
        and not any(isinstance(parent, CONTROLS) for parent in parents_of(widget))
    ]


def parents_of(widget: QWidget) -> list[QWidget]:
    parents = []
    while (widget := widget.parentWidget()) is not None:
        parents.append(widget)
    return parents


def lacking(panel: QWidget) -> list[str]:
    return [
        f"{type(control).__name__} {control.objectName()!r}, tooltip {control.toolTip()!r}"
        for control in controls_of(panel)
        if not control.objectName().startswith("equipose.") or not control.toolTip().strip()
    ]


def test_every_control_has_a_name_and_a_tooltip(panel) -> None:
    assert len(controls_of(panel)) >= 5
    assert lacking(panel) == []
    names = [control.objectName() for control in controls_of(panel)]
    assert len(set(names)) == len(names)


def test_a_control_without_name_or_tooltip_is_noticed(panel) -> None:
    button = QPushButton(panel)
    assert len(lacking(panel)) == 1
    button.setObjectName("equipose.new")
    assert len(lacking(panel)) == 1
    button.setToolTip("What it does.")
    assert lacking(panel) == []


def shortcuts_of(panel: QWidget) -> list[QShortcut]:
    return panel.findChildren(QShortcut)


def test_keys_of_a_panel_are_shown_and_are_none_of_naparis(panel) -> None:
    menus = [rule.keybinding for rule in get_app_model().keybindings]
    layers = [key for keys in default_shortcuts.values() for key in keys]
    taken = {QKeySequence(str(key)).toString() for key in (*menus, *layers)}
    assert {"Ctrl+R", "Ctrl+O", "V"} <= taken
    keys = [shortcut.key() for shortcut in shortcuts_of(panel)]
    assert len(keys) >= 3
    assert not taken & {key.toString() for key in keys}
    tips = " ".join(control.toolTip() for control in controls_of(panel))
    for key in keys:
        assert f"({key.toString(QKeySequence.SequenceFormat.NativeText)})" in tips


def focus(panel: QWidget, qtbot) -> QWidget:
    """Put the focus where a person types."""
    where = next(
        control
        for control in controls_of(panel)
        if isinstance(control, QtWidgets.QAbstractSpinBox | QtWidgets.QComboBox)
        and control.isVisible()
    )
    where.setFocus()
    qtbot.waitUntil(where.hasFocus)
    return where


@pytest.mark.parametrize(
    ("modifier", "key", "button"),
    [
        (Qt.KeyboardModifier.ControlModifier, Qt.Key.Key_Return, "start"),
        (Qt.KeyboardModifier.ControlModifier, Qt.Key.Key_Period, "stop"),
        (Qt.KeyboardModifier.NoModifier, Qt.Key.Key_F1, "help"),
    ],
)
@pytest.mark.parametrize("name", PANELS)
def test_keys_press_the_buttons_of_the_panel_they_are_typed_in(
    make_napari_viewer, qtbot, name, modifier, key, button
) -> None:
    viewer = make_napari_viewer(show=True)
    open_panel = viewer.window.add_plugin_dock_widget
    docks = {title: open_panel("napari-equipose", title) for title in PANELS}
    panels = {title: panel for title, (_, panel) in docks.items()}
    pressed = []
    for title, panel in panels.items():
        widget = getattr(panel, button)
        widget.clicked.disconnect()
        widget.setEnabled(True)
        widget.clicked.connect(lambda *_, title=title: pressed.append(title))
    panel = panels[name]
    docks[name][0].raise_()
    panel.activateWindow()
    qtbot.waitUntil(panel.isVisible)
    where = focus(panel, qtbot)
    qtbot.keyClick(where, key, modifier)
    assert pressed == [name]


@pytest.mark.parametrize("name", PANELS)
def test_a_run_begun_with_a_key_can_be_ended_with_one(make_napari_viewer, qtbot, name) -> None:
    viewer = make_napari_viewer(show=True)
    _, panel = viewer.window.add_plugin_dock_widget("napari-equipose", name)
    panel.activateWindow()
    qtbot.waitUntil(panel.isVisible)
    focus(panel, qtbot)
    panel.set_running(True)  # which disables the form that has the focus
    stopped: list[bool] = []
    panel.stop.clicked.connect(stopped.append)
    qtbot.keyClick(
        QtWidgets.QApplication.focusWidget(), Qt.Key.Key_Period, Qt.KeyboardModifier.ControlModifier
    )
    assert len(stopped) == 1
    panel.set_running(False)


def test_every_panel_has_a_page_of_the_manual(panel, qtbot) -> None:
    button = panel.help
    button.click()
    (window,) = button.findChildren(ManualWindow)
    assert window.isVisible()
    url = page_url(panel.page)
    assert window.browser.source().toLocalFile() == url.toLocalFile()
    assert window.browser.toPlainText().strip()
    assert url.fragment()
    assert window.browser.heading(url.fragment()) is not None
    window.browser._follow(QUrl("index.md"))
    assert "Words" in window.browser.toPlainText()
    window.close()


def test_links_of_the_manual_to_the_web_open_in_the_browser(panel, monkeypatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    show_page("index.md#words", panel)
    (window,) = panel.findChildren(ManualWindow)
    window.browser._follow(QUrl("https://example.org/page"))
    assert opened == ["https://example.org/page"]
    assert window.browser.source().isLocalFile()
    window.close()
