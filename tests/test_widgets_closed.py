"""Docks and windows that are closed while a job goes on. Needs a screen, real or virtual (Xvfb)."""

import os
import re
import threading
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QMainWindow, QWidget
from tiny import typed

from napari_equipose.models import load_model
from napari_equipose.simulation import sample_ecoli
from napari_equipose.training import EpochReport, Started, unfinished_runs
from napari_equipose.widgets import _closed
from napari_equipose.widgets._learning import LearningView
from napari_equipose.widgets._models import shelf
from napari_equipose.widgets._train_job import Pictures

if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
    pytest.skip("napari's viewer draws on no offscreen platform", allow_module_level=True)

NAMES = ("Train", "Detect", "Align", "Latent space")
pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def viewer(make_napari_viewer) -> Any:
    return make_napari_viewer()


def open_panel(viewer: Any, name: str) -> Any:
    return viewer.window.add_plugin_dock_widget("napari-equipose", name)[1]


def messages() -> list[str]:
    return [record.message for record in notification_manager.records]


def training(viewer: Any, qtbot: Any, epochs: int) -> Any:
    """Open Train on a corner of the sample, and learn until an epoch is done."""
    viewer.add_image(sample_ecoli()[0][0][:128, :128], name="cells")
    panel = open_panel(viewer, "Train")
    panel.settings.others.setText(typed(steps_per_epoch=3, validation_images=8))
    panel.settings.epochs.setValue(epochs)
    panel.source.box_size.setValue(24)
    panel.start.click()
    qtbot.waitUntil(lambda: panel.curve.last_epoch >= 1, timeout=300_000)
    return panel


def test_a_training_goes_on_when_its_panel_is_closed_and_is_there_when_it_is_opened_again(
    viewer, qtbot, home
) -> None:
    first = training(viewer, qtbot, 10_000)
    done, curve = first.curve.last_epoch, first.curve
    viewer.window.remove_dock_widget(first)
    assert "Learning from cells goes on" in messages()[-1]
    assert "Train (napari-equipose)" not in viewer.window.dock_widgets
    qtbot.waitUntil(lambda: curve.last_epoch >= done + 3, timeout=300_000)
    again = open_panel(viewer, "Train")
    assert again.is_running and again.stop.isEnabled() and not again.start.isEnabled()
    assert again.curve.last_epoch >= done + 3
    assert again.curve.isVisibleTo(again) and again.source.box_size.value() == 24
    assert "of 10000" in again.status.text() and "epoch 1 of" in again._log.text
    again.stop.click()
    qtbot.waitUntil(lambda: not again.is_running, timeout=10_000)
    assert again.status.text().startswith("Stopped after epoch")
    assert again.resume.isEnabled()
    assert list(shelf) == ["cells-1"] and len(messages()) == 1


def test_a_training_that_ends_while_its_panel_is_closed_is_said_and_its_model_is_there(
    viewer, qtbot, home
) -> None:
    panel = training(viewer, qtbot, 4)
    viewer.window.remove_dock_widget(panel)
    qtbot.waitUntil(lambda: bool(shelf), timeout=300_000)
    assert "the model cells-1 is ready" in messages()[-1]
    qtbot.waitUntil(lambda: not _closed._waiting, timeout=60_000)
    fresh = open_panel(viewer, "Train")
    assert not fresh.is_running and fresh is not panel
    viewer.layers.clear()  # nothing listens any more


def test_what_a_closed_panel_was_to_find_arrives(viewer, qtbot, home) -> None:
    """Of every kind of panel: the layers of a job are added though nobody looks."""
    panel = open_panel(viewer, "Align")

    def work() -> Generator[int, None, np.ndarray]:
        while not _closed.is_waiting(panel):
            yield 0
        return np.zeros((4, 4))

    shown: list[Any] = []
    panel.show_report = lambda report: None
    panel.show_end = lambda ending: shown.append(viewer.add_image(ending.result))
    panel.run_job("Aligning", work())
    viewer.window.remove_dock_widget(panel)
    qtbot.waitUntil(lambda: not _closed._waiting, timeout=60_000)
    assert list(viewer.layers) == shown


def test_a_panel_comes_back_only_in_its_own_viewer(make_napari_viewer, qtbot, home) -> None:
    one, other = make_napari_viewer(), make_napari_viewer()
    panel = open_panel(one, "Align")
    panel.show_report = panel.show_end = lambda _: None

    def work() -> Generator[int, None, None]:
        while True:
            yield 0

    panel.run_job("Aligning", work())
    one.window.remove_dock_widget(panel)
    assert open_panel(other, "Align") is not panel
    assert open_panel(one, "Detect") is not panel
    assert open_panel(one, "Align") is panel
    panel.stop.click()
    qtbot.waitUntil(lambda: not panel.is_running, timeout=60_000)


def job_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("Equipose")]


@pytest.mark.parametrize("closed", [False, True])
def test_closing_the_window_asks_and_then_stops_and_keeps_the_run(
    make_napari_viewer, qtbot, home, monkeypatch, closed
) -> None:
    viewer = make_napari_viewer(show=True)
    panel = training(viewer, qtbot, 10_000)
    window = panel.window()
    if closed:
        viewer.window.remove_dock_widget(panel)
    asked: list[str] = []
    monkeypatch.setattr(_closed, "ask_whether_to_close", lambda _, titles: asked.extend(titles))
    window.close()
    assert window.isVisible() and panel.is_running
    assert asked == ["Learning from cells"]
    monkeypatch.setattr(_closed, "ask_whether_to_close", lambda *_: True)
    viewer.close()
    qtbot.waitUntil(lambda: not job_threads(), timeout=60_000)
    qtbot.waitUntil(lambda: not _closed._waiting, timeout=60_000)
    (run,) = unfinished_runs(home / "equipose")
    assert (run.state, run.can_resume) == ("stopped", True)
    load_model(run.folder.model)


def test_the_question_names_the_jobs(viewer, qtbot, home, monkeypatch) -> None:
    said: list[str] = []

    def answer(box: Any) -> int:
        said.append(f"{box.text()} {box.informativeText()}")
        box.buttons()[0].click()
        return 0

    monkeypatch.undo()
    monkeypatch.setattr(_closed.QMessageBox, "exec", answer)
    window = QMainWindow()
    qtbot.addWidget(window)
    assert _closed.ask_whether_to_close(window, ["Learning from cells"])
    assert "Learning from cells" in said[0] and "resumed" in said[0]


def test_boxes_are_shown_at_once_and_the_curve_when_there_is_one(qtbot) -> None:
    view = LearningView("train")
    qtbot.addWidget(view)
    view.begin()
    view.show()
    rows, box = view.pictures.rows, np.zeros((8, 8), np.uint8)
    assert not any(part.isVisibleTo(view) for part in (*rows, view.curve))
    view.take(Started(20, 8, 2))
    view.take(Pictures([box] * 6, [], []))
    assert [row.isVisibleTo(view) for row in rows] == [True, False, False]
    assert not view.curve.isVisibleTo(view)
    view.take(EpochReport(1, 2, 3.0, 4.0, {}, 1e-3, 1.0, 1.0, True))
    view.take(Pictures([box] * 6, [box] * 6, [box] * 6))
    assert all(part.isVisibleTo(view) for part in (*rows, view.curve))


def test_plots_take_the_colors_of_the_theme(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer(show=True)
    panel = open_panel(viewer, "Train")
    panel.learning.show()
    curve = panel.learning.curve
    curve.show()
    for theme, inks in (("dark", range(150, 256)), ("light", range(100))):
        viewer.theme = theme
        item = curve.getPlotItem()

        def colors(item=item) -> list[Any]:
            axes = [item.getAxis(side).textPen().color() for side in ("left", "bottom")]
            written = [label.item.toHtml() for _, label in item.legend.items]
            names = [re.findall(r"color:(#\w{6})", html)[-1] for html in written]
            return [*axes, *map(QColor, names)]

        qtbot.waitUntil(
            lambda colors=colors, inks=inks: all(c.lightness() in inks for c in colors()),
            timeout=10_000,
        )


def test_panels_become_tabs_however_they_are_opened(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer(show=True)
    other = viewer.window.add_dock_widget(QWidget(), name="another plugin", area="right")
    for name in NAMES:
        open_panel(viewer, name)
    panels = [viewer.window.dock_widgets[f"{name} (napari-equipose)"] for name in NAMES]
    docks = [panel.parent() for panel in panels]
    window = panels[0].window()
    qtbot.waitUntil(lambda: len(window.tabifiedDockWidgets(docks[0])) == 3, timeout=60_000)
    assert docks[-1].isVisible() and not docks[-1].visibleRegion().isEmpty()
    assert other not in window.tabifiedDockWidgets(docks[0])
