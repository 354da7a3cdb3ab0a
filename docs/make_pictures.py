"""Make the pictures of the tutorials: the real viewer, driven by clicks.

Run it with a screen, or on a virtual one:

    xvfb-run -s "-screen 0 1600x1000x24" python docs/make_pictures.py

It trains on the sample data with the settings a new user finds, which takes some minutes.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.utils.notifications import notification_manager
from PIL import Image
from qtpy.QtWidgets import QApplication, QWidget

IMAGES = Path(__file__).parent / "images"
SIZE = (1400, 880)


def wait(until: Callable[[], bool] = lambda: False, seconds: float = 0.7) -> None:
    """Let napari work until something is so, or for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        QApplication.processEvents()
        time.sleep(0.01)


def click(panel: QWidget, name: str) -> None:
    """Press a button of a panel."""
    panel.findChild(QWidget, name).click()
    wait()


def shoot(viewer: Any, name: str) -> None:
    """Take a picture of the whole window."""
    wait()
    IMAGES.mkdir(exist_ok=True)
    path = IMAGES / f"{name}.png"
    picture = Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path)


def first_objects(minutes: float | None) -> None:
    """Make the pictures of docs/tutorial-first-objects.md."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    viewer.open_sample("napari-equipose", "ecoli")
    image = viewer.layers[0]
    _, train = viewer.window.add_plugin_dock_widget("napari-equipose", "Train")
    if minutes is not None:
        train.settings.minutes.setValue(minutes)
    wait(seconds=2)

    # A line in a layer of its own stays for the picture; the one that Draw adds goes by itself.
    line = {"shape_type": "line", "edge_color": "orange", "edge_width": 2, "name": "one object"}
    shapes = viewer.add_shapes([np.array([[137.5, 161], [142.1, 184]])], **line)
    click(train, "equipose.train.draw_box")
    shoot(viewer, "first-objects-1-size")
    train.source.box_size.setValue(32)
    viewer.layers.remove(shapes)

    click(train, "equipose.train.show_boxes")
    wait(lambda: not train.is_running, 120)
    shoot(viewer, "first-objects-2-boxes")
    viewer.layers.remove(viewer.layers[-1])
    viewer.layers.selection.active = image

    click(train, "equipose.train.start")
    wait(lambda: train.curve.last_epoch >= 14 or not train.is_running, 1200)
    assert train.is_running, "training was done before its picture could be taken"
    shoot(viewer, "first-objects-3-learning")
    wait(lambda: not train.is_running, 3600)
    shoot(viewer, "first-objects-4-learned")

    click(train, "equipose.train.detect")
    detect = viewer.window.dock_widgets["Detect (napari-equipose)"]
    click(detect, "equipose.detect.start")
    wait(lambda: not detect.is_running, 1200)
    shoot(viewer, "first-objects-5-detected")
    viewer.scene.camera.zoom *= 2.2
    shoot(viewer, "first-objects-6-close")
    detect.threshold.setValue((detect.threshold.value() + detect.threshold.maximum()) / 2)
    shoot(viewer, "first-objects-7-score")
    for record in notification_manager.records:
        print("notification:", record.message)
    print(train.status.text(), detect.status.text(), detect.count.text(), sep="\n")
    viewer.close()


def subtomograms(minutes: float | None) -> None:
    """Make the pictures of docs/tutorial-subtomograms.md."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    viewer.open_sample("napari-equipose", "subtomograms")
    _, panel = viewer.window.add_plugin_dock_widget("napari-equipose", "Align")
    panel.training.minutes.setValue(minutes or 5)
    panel.settings.classes.value = 2
    click(panel, "equipose.align.start")
    wait(lambda: not panel.is_running, 3600)
    viewer.layers.remove("truth")
    viewer.grid.enabled = True  # averages, aligned boxes and boxes side by side
    viewer.grid.shape = (1, 3)
    viewer.dims.set_point(0, 0)
    viewer.dims.set_point(1, 128)  # the middle, in Angstrom
    viewer.reset_view()
    shoot(viewer, "subtomograms-1-aligned")
    for record in notification_manager.records:
        print("notification:", record.message)
    print(panel.status.text(), panel.view.resolution.text(), sep="\n")
    viewer.close()


TUTORIALS = {"first-objects": first_objects, "subtomograms": subtomograms}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, help="of training, at most")
    parser.add_argument("--only", choices=TUTORIALS, help="the pictures of one tutorial")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["HOME"] = home  # so that the model goes there, and its path is short
        for name, make in TUTORIALS.items():
            if options.only in (None, name):
                make(options.minutes)
