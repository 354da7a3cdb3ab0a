"""What the benchmarks of reliability share: a real viewer, and its panels driven by clicks.

Needs a screen, real or virtual (``xvfb-run -a python benchmarks/reliability/...``). Settings and
home folder are of their own, so that nobody's are read or changed.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _report import machine, print_table

TINY = (
    "fields=4 n_rotations=4 generator_width=8 n_features=8 steps_per_epoch=3 batch_size=8 "
    "validation_images=8"
)
"""Settings of a network that learns nothing, quickly."""


def write_report(path: str | None, name: str, results: dict[str, Any]) -> None:
    """Write all figures, with the machine they are of, as JSON."""
    text = json.dumps({"benchmark": name, "machine": machine(), **results}, indent=1)
    if path:
        Path(path).write_text(text + "\n", encoding="utf-8")


@contextmanager
def home() -> Iterator[Path]:
    """Live in an empty home with default settings; to be entered before napari is imported."""
    with tempfile.TemporaryDirectory(prefix="equipose-", ignore_cleanup_errors=True) as name:
        os.environ |= {"HOME": name, "USERPROFILE": name}
        os.environ["NAPARI_CONFIG"] = str(Path(name) / "napari" / "settings.yaml")
        yield Path(name)


class Session:
    """A viewer with the sample image of E. coli, and the two panels."""

    def __init__(self) -> None:
        import napari

        self.viewer = napari.Viewer()
        from napari.utils.notifications import notification_manager

        self.notifications = notification_manager
        self.train: Any = None
        self.detect: Any = None
        self.open_panels()

    def open_panels(self) -> None:
        """Open both panels, as from the menu Plugins."""
        window = self.viewer.window
        self.train = window.add_plugin_dock_widget("napari-equipose", "Train")[1]
        self.detect = window.add_plugin_dock_widget("napari-equipose", "Detect", tabify=True)[1]

    def close_panels(self) -> None:
        """Close both, as with the cross of a dock."""
        for panel in (self.train, self.detect):
            self.viewer.window.remove_dock_widget(panel)

    def open_sample(self) -> None:
        """Open the sample image."""
        self.viewer.open_sample("napari-equipose", "ecoli")

    def settings(self, *, own_process: bool) -> None:
        """Choose where training runs, as in File > Preferences."""
        from napari.settings import get_plugin_settings

        get_plugin_settings("napari-equipose").jobs.own_process = own_process

    def set(self, *, settings: str, epochs: int, box_size: int = 24) -> None:
        """Fill in the form of the panel Train."""
        child(self.train, "equipose.train.settings").setText(settings)
        child(self.train, "equipose.train.epochs").setValue(epochs)
        child(self.train, "equipose.train.box_size").setValue(box_size)

    def click(self, panel: Any, name: str) -> None:
        """Press a button of a panel."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        button = child(panel, name)
        assert button.isEnabled(), f"{name} can't be pressed"
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def messages(self) -> list[str]:
        """Take what napari has said since the last time."""
        said = [record.message for record in self.notifications.records]
        self.notifications.records.clear()
        return said

    def close(self) -> None:
        """Close the viewer without being asked."""
        self.viewer.window._qt_window.close(quit_app=False, confirm_need=False)


def child(panel: Any, name: str) -> Any:
    """A control of a panel."""
    from qtpy.QtWidgets import QWidget

    found = panel.findChild(QWidget, name)
    assert found is not None, name
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 3600, poll: int = 20) -> float:
    """Run the event loop until something is so; return the seconds it took.

    Raises
    ------
    TimeoutError
    """
    from qtpy.QtCore import QEventLoop, QTimer

    began = time.perf_counter()
    loop, timer = QEventLoop(), QTimer()

    def look() -> None:
        if condition() or time.perf_counter() - began > seconds:
            loop.quit()

    timer.timeout.connect(look)
    timer.start(poll)
    if not condition():
        loop.exec()
    timer.stop()
    took = time.perf_counter() - began
    if not condition():
        raise TimeoutError(f"still waiting after {took:.0f} s")
    return took


__all__ = ["TINY", "Session", "child", "home", "machine", "print_table", "wait_until"]
