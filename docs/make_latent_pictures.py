"""Make the pictures of docs/latent-space.md: the real viewer, driven by clicks.

Run it with a screen, or on a virtual one:

    xvfb-run -s "-screen 0 1600x1100x24" python docs/make_latent_pictures.py

It trains a model on a scene of digits and one on the sample micrograph, which takes some minutes;
``--home FOLDER`` keeps them, and uses those that it has.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import napari
import numpy as np
from make_pictures import IMAGES, wait
from napari.utils.notifications import notification_manager
from PIL import Image
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QDockWidget, QScrollArea, QToolButton, QWidget

from napari_equipose.simulation import digit_scene, sample_path

SIZE, WIDTH = (1560, 1070), 560
KINDS = (0, 1, 3, 4)
_GREY = 12  # least difference between red, green and blue of what is no grey


def shoot(viewer: Any, name: str) -> None:
    """Take a picture of the whole window, in few colours: half of them greys, for the image."""
    wait()
    picture = Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)).convert("RGB")
    pixels = np.asarray(picture).reshape(-1, 3)
    coloured = pixels[np.ptp(pixels.astype(int), axis=1) > _GREY]
    some = Image.fromarray(coloured[None]).quantize(128, dither=Image.Dither.NONE)
    colours = np.array(some.getpalette()[: 3 * 128]).reshape(-1, 3)
    greys = np.repeat(np.linspace(0, 255, 256 - len(colours)), 3).reshape(-1, 3)
    few = Image.new("P", (1, 1))
    few.putpalette(np.concatenate((colours, greys)).round().astype(np.uint8).ravel().tolist())
    path = IMAGES / f"{name}.png"
    picture.quantize(palette=few, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path)


def child(panel: QWidget, name: str) -> Any:
    """Find a control by its name within a panel."""
    return panel.findChild(QWidget, f"{panel.objectName()}.{name}")


def press(panel: Any, name: str, seconds: float = 1200) -> None:
    """Press a button, and wait for the job that it may begin."""
    child(panel, name).click()
    wait(seconds=0.3)
    wait(lambda: not panel.is_running, seconds)
    wait()


def open_panel(viewer: Any, name: str) -> Any:
    """Open a panel beside the viewer."""
    return viewer.window.add_plugin_dock_widget("napari-equipose", name, tabify=True)[1]


def new_viewer() -> Any:
    """Open the window that all pictures are of."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    return viewer


def learn_and_detect(
    viewer: Any, name: str, box_size: int, polarity: str, minutes: float, epochs: int = 0
) -> None:
    """Train on the image that is open, unless that was done, and find its objects."""
    model = Path.home() / f"{name}.safetensors"
    if not model.is_file():
        train = open_panel(viewer, "Train")
        train.source.box_size.setValue(box_size)
        train.settings.polarity.value = polarity
        if epochs:
            train.settings.epochs.setValue(epochs)
        train.settings.minutes.setValue(minutes)
        train.settings.output.line.setText(str(model))
        press(train, "start", 60 * minutes + 1200)
        print(train.status.text())
    detect = open_panel(viewer, "Detect")
    detect.load_model(model)
    press(detect, "start")
    print(detect.status.text())
    for title in list(viewer.window.dock_widgets):
        viewer.window.remove_dock_widget(viewer.window.dock_widgets[title])


def open_latent(viewer: Any, *opened: str) -> Any:
    """Open the panel, broad, with some of its parts unfolded."""
    panel = open_panel(viewer, "Latent space")
    dock = panel.parentWidget()
    while not isinstance(dock, QDockWidget):
        dock = dock.parentWidget()
    dock.parentWidget().resizeDocks([dock], [WIDTH], Qt.Orientation.Horizontal)
    unfold(panel, *opened)
    wait(seconds=1)
    panel.plot.fit()
    return panel


def unfold(panel: Any, *opened: str) -> None:
    """Unfold some parts of the panel and fold the others."""
    for button in panel.findChildren(QToolButton):
        if ".fold_" in button.objectName():
            button.setChecked(button.text() in opened)
    wait()


def scroll_to(panel: Any, widget: QWidget) -> None:
    """Show as much of the panel as there is room for, a widget at the end of it."""
    wait(seconds=1.5)
    area = panel.findChild(QScrollArea)
    end = widget.mapTo(area.widget(), QPoint(0, widget.height() + 8)).y()
    area.verticalScrollBar().setValue(end - area.viewport().height())
    wait()


def digits(minutes: float) -> None:
    """Digits, turned: a map with its classes, their symmetry, what lies between them, a movie."""
    viewer = new_viewer()
    with np.load(sample_path("digits.npz"), allow_pickle=False) as file:
        pictures, labels = file["digits"], file["labels"]
    kept = np.isin(labels, KINDS)
    rng = np.random.default_rng(1)
    options = {"shape": (1800, 1800), "n": 600, "diameter": 44.0, "margin": 28.0}
    scene = digit_scene(pictures[kept], labels[kept], rng, **options)
    viewer.add_image(scene.image, name="digits")
    learn_and_detect(viewer, "digits", 30, "bright", minutes, epochs=60)
    panel = open_latent(viewer, "Classes")
    child(panel, "classes").value = len(KINDS) + 1  # and pieces of them
    press(panel, "sort")
    press(panel, "averages")
    go_near_the_middle(viewer, panel)
    shoot(viewer, "latent-1-map")
    table = child(panel, "table")
    table.selectRow(1)
    scroll_to(panel, child(panel, "merge"))
    shoot(viewer, "latent-2-classes")
    unfold(panel, "Symmetry")
    child(panel, "symmetry_of").value = "classes"
    press(panel, "symmetry")
    scroll_to(panel, child(panel, "polar"))
    shoot(viewer, "latent-6-symmetry")
    panel.state.select(np.zeros(len(panel.state), bool))
    unfold(panel, "Grid and path")
    child(panel, "grid").setValue(8)
    child(panel, "behind").setChecked(True)
    wait(lambda: not panel.is_running, 600)
    scroll_to(panel, child(panel, "movie"))
    shoot(viewer, "latent-3-grid")
    walk(panel)
    press(panel, "movie")
    viewer.dims.set_current_step(0, 21)
    shoot(viewer, "latent-4-movie")
    finish(viewer, panel)


def go_near_the_middle(viewer: Any, panel: Any) -> None:
    """Click on the object that lies next to the middle of the image."""
    middle = np.array(viewer.layers[0].data.shape[-2:]) / 2
    apart = np.linalg.norm(panel.state.positions - middle, axis=1)
    row = int(np.where(panel.state.shown, apart, np.inf).argmin())
    panel.plot.clicked.emit(row)
    viewer.scene.camera.zoom *= 1.5
    panel.plot.hovered.emit(*np.median(panel.map.coordinates[panel.state.shown], 0).tolist())
    wait(seconds=2)


def walk(panel: Any) -> None:
    """Click a path through the middles of the classes."""
    classes, places = panel.state.classes, panel.map.coordinates
    middles = [np.median(places[classes == name], 0) for name in np.unique(classes[classes >= 0])]
    child(panel, "path").click()
    canvas = panel.plot.canvas
    for x, y in sorted(map(tuple, middles)):
        place = canvas.mapFromScene(panel.plot.view.mapViewToScene(QPointF(x, y)))
        QTest.mouseClick(canvas.viewport(), Qt.MouseButton.LeftButton, pos=place)
        wait(seconds=0.8)  # or it would be a double click


def micrograph(minutes: float) -> None:
    """A micrograph with two views of a particle, and ice: sorted and averaged."""
    viewer = new_viewer()
    viewer.open_sample("napari-equipose", "micrograph")
    viewer.layers.remove("truth")
    learn_and_detect(viewer, "micrograph", 48, "dark", minutes)
    panel = open_latent(viewer, "Classes")
    child(panel, "classes").value = 4
    press(panel, "sort")
    press(panel, "averages")
    go_near_the_middle(viewer, panel)
    child(panel, "table").selectRow(0)
    scroll_to(panel, child(panel, "merge"))
    shoot(viewer, "latent-5-micrograph")
    finish(viewer, panel)


def finish(viewer: Any, panel: Any) -> None:
    """Say what was said, and close."""
    for record in notification_manager.records:
        print("notification:", record.message)
    print(panel.status.text())
    viewer.close()


SCENES = {"digits": digits, "micrograph": micrograph}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0, help="of each training, at most")
    parser.add_argument("--only", choices=SCENES, help="the pictures of one scene")
    parser.add_argument("--home", type=Path, help="folder of the models, to use them again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        home = options.home or Path(made)
        home.mkdir(parents=True, exist_ok=True)
        os.environ["HOME"] = str(home.resolve())  # so that all goes there, and paths are short
        for name, make in SCENES.items():
            if options.only in (None, name):
                make(options.minutes)
