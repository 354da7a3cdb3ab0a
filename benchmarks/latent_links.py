"""How fast a selection goes from the viewer to the plot of the latent space and back.

    xvfb-run -a python benchmarks/latent_links.py [--points 200000] [--selected 20000]

The real viewer shows an image and a points layer with four numbers of content; the panel floats in
a window of its own. From the viewer: the time from when the layer is told of its selection until
the plot has painted it, and until all that napari does about it is done. From the plot: from when
the outline is drawn until both are done. The baseline is napari alone, before the panel is opened:
what the same selection costs the layer itself, which is in all that follows; and what its canvas
then takes to draw, which is not: without a GPU that is far more than all else. Medians of wall
time, and of the processor time of the whole process.
"""

import argparse
import time
from collections.abc import Callable
from itertools import cycle
from typing import Any

import napari
import numpy as np
from _report import print_json, print_table
from latent_plot import median_ms
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_equipose.widgets._plot_item import PointsItem

AIM = 150.0


def objects(n: int) -> tuple[Any, dict[str, Any]]:
    """Places in an image of 4096 pixels, and what is known of the objects."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 10, n)
    content = rng.normal(0, 3, (10, 4))[label] + rng.normal(size=(n, 4))
    features: dict[str, Any] = {"rotation": rng.uniform(-180, 180, n), "score": rng.uniform(size=n)}
    features |= {f"content_{i}": content[:, i] for i in range(4)} | {"class": label}
    return rng.uniform(0, 4096, (n, 2)), features


def until_painted(step: Callable[[], None], repeats: int) -> tuple[float, float]:
    """Median wall and processor time from the begin of a step until the plot has been painted."""
    painted: list[tuple[float, float]] = []
    plain = PointsItem.paint

    def paint(*given: Any) -> None:
        plain(*given)
        painted.append((time.perf_counter(), time.process_time()))

    PointsItem.paint = paint
    times = []
    for _ in range(repeats + 1):
        QTest.qWait(20)
        began = time.perf_counter(), time.process_time()
        painted.clear()
        step()
        while not painted:
            QApplication.processEvents()
        times.append(np.subtract(painted[-1], began))  # napari changes a selection in two steps
    PointsItem.paint = plain
    wall, processor = 1e3 * np.median(times[1:], 0)
    return float(wall), float(processor)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=200_000)
    parser.add_argument("--selected", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=21)
    options = parser.parse_args()
    n = options.points
    viewer = napari.Viewer(show=True)
    viewer.add_image(np.zeros((4096, 4096), np.uint8), name="image")
    places, features = objects(n)
    layer = viewer.add_points(places, features=features, size=8, name="objects")
    rng = np.random.default_rng(1)
    sets = [set(rng.choice(n, options.selected, replace=False).tolist()) for _ in range(2)]
    QTest.qWait(500)
    found: dict[str, tuple[float, float]] = {}

    def select(then: Callable[[], object] = lambda: None) -> Callable[[], None]:
        chosen = cycle(sets)

        def step() -> None:
            layer.selected_data = next(chosen)
            then()

        return step

    found["napari alone"] = median_ms(select(), options.repeats)
    change = select()

    def draw() -> None:
        QApplication.processEvents()
        change()

    found["napari alone, with its canvas"] = median_ms(draw, options.repeats)
    dock, panel = viewer.window.add_plugin_dock_widget("napari-equipose", "Latent space")
    dock.setFloating(True)
    QTest.qWait(500)
    paint = panel.plot.canvas.viewport().repaint
    found["viewer to plot"] = until_painted(select(), options.repeats)
    found["viewer to plot, all done"] = median_ms(select(paint), options.repeats)
    masks = [np.isin(np.arange(n), list(one)) for one in sets]
    chosen = cycle(masks)

    def lasso() -> None:
        panel.plot.lassoed.emit(next(chosen), "replace")
        paint()

    found["plot to viewer"] = median_ms(lasso, options.repeats)
    undo = cycle((panel.state.history.undo, panel.state.history.redo))

    def back() -> None:
        next(undo)()
        paint()

    found["undo, redo"] = median_ms(back, options.repeats)
    rows = [
        {
            "step": name,
            "ms": times[0],
            "processor ms": times[1],
            "aim ms": AIM if name == "viewer to plot" else None,
        }
        for name, times in found.items()
    ]
    print_table(rows)
    print_json("latent_links", {**vars(options), "steps": rows})
    viewer.close()


if __name__ == "__main__":
    main()
