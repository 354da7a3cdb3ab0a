"""The plot of the latent space with a million points, beside plain pyqtgraph in the same run.

    xvfb-run -a python benchmarks/latent_plot.py [--points 1000000] [--repeats 21]

A redraw is timed from the call that asks for it until the widget has painted itself. While the view
moves, all is counted and drawn anew for each frame. A lasso is timed from the end of the drag until
the mask of those inside is there, and once more with the redraw of what it selects. The baseline is
`pyqtgraph.ScatterPlotItem` of all points, and `matplotlib.path.Path` for the lasso. Medians of wall
time, and of the processor time of the whole process, which other work on the machine changes less.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import numpy as np
import pyqtgraph as pg
from _report import print_json, print_table
from matplotlib.path import Path
from numpy.typing import NDArray
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

from napari_equipose.widgets._latent_plot import LatentPlot

AIMS = {"pan": 30, "zoom": 30, "zoomed in, pan": 30, "lasso": 100, "recolour": 150}
SIZE = (600, 500)
COLOURS = np.random.default_rng(1).integers(60, 256, (10, 3)).astype(np.uint8)


def clusters(n: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Ten clouds of points, with tails, and the class of each point."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 10, n)
    spread = rng.uniform(0.3, 1, (10, 1))[label] * rng.gamma(3, 0.4, (n, 1))
    return rng.normal(0, 3, (10, 2))[label] + spread * rng.normal(size=(n, 2)), label


def outline(corners: int = 200) -> NDArray[np.float64]:
    """A lasso as a hand draws it, about a good part of the points."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    radius = 2.5 + 0.8 * np.sin(5 * angle) + 0.05 * np.random.default_rng(2).normal(size=corners)
    return np.stack((radius * np.cos(angle), radius * np.sin(angle)), 1)


def median_ms(step: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median wall and processor time of a step, in milliseconds; the first is not counted."""
    wall, processor = [], []
    for _ in range(repeats + 1):
        began, busy = time.perf_counter(), time.process_time()
        step()
        wall.append(1e3 * (time.perf_counter() - began))
        processor.append(1e3 * (time.process_time() - busy))
    return float(np.median(wall[1:])), float(np.median(processor[1:]))


def show(widget: QWidget) -> None:
    """Show a widget and let it settle."""
    widget.resize(*SIZE)
    widget.show()
    if not QTest.qWaitForWindowExposed(widget):
        raise SystemExit("no window: run it under a display, as xvfb-run gives one")
    QTest.qWait(100)


def views(fraction: float, zoom: bool, xy: NDArray[np.float64]) -> Iterator[tuple[Any, Any]]:
    """Ranges that move to and fro about the middle, or become larger and smaller."""
    low, high = np.quantile(xy, (0.001, 0.999), axis=0)
    middle, half = (low + high) / 2, (high - low) / 2 * fraction
    for turn in cycle(np.linspace(0, 2 * np.pi, 40, endpoint=False)):
        shift = 0 if zoom else 0.1 * half * np.array([np.cos(turn), np.sin(turn)])
        size = half * (1 + 0.3 * np.sin(turn)) if zoom else half
        yield tuple(zip(middle + shift - size, middle + shift + size, strict=True))


def mover(
    canvas: pg.PlotWidget, xy: NDArray[np.float64], fraction: float, zoom: bool
) -> Callable[[], None]:
    """Make a step that moves the view and paints it."""
    ranges = views(fraction, zoom, xy)

    def step() -> None:
        x, y = next(ranges)
        canvas.getViewBox().setRange(xRange=x, yRange=y, padding=0)
        canvas.viewport().repaint()

    return step


def ours(n: int, repeats: int) -> dict[str, tuple[float, float]]:
    """Time the plot."""
    xy, label = clusters(n)
    plot = LatentPlot()
    show(plot)
    canvas = plot.canvas
    colours = cycle((COLOURS[label], COLOURS[9 - label]))
    found: dict[str, tuple[float, float]] = {}

    def place() -> None:
        plot.set_points(xy)
        canvas.viewport().repaint()

    def recolour() -> None:
        plot.set_colours(next(colours))
        canvas.viewport().repaint()

    found["points"] = median_ms(place, repeats)
    found["recolour"] = median_ms(recolour, repeats)
    found["pan"] = median_ms(mover(canvas, xy, 1, False), repeats)
    found["zoom"] = median_ms(mover(canvas, xy, 1, True), repeats)
    found["zoomed in, pan"] = median_ms(mover(canvas, xy, 0.1, False), repeats)
    plot.fit()
    canvas.viewport().repaint()
    found["drag of an outline"] = median_ms(lambda: canvas.viewport().repaint(), repeats)
    found["lasso"] = median_ms(lambda: plot.view.outlined.emit(outline(), "replace"), repeats)

    def select(mask: NDArray[np.bool_], _: str) -> None:
        plot.set_selected(mask)
        canvas.viewport().repaint()

    plot.lassoed.connect(select)
    found["lasso and redraw"] = median_ms(
        lambda: plot.view.outlined.emit(outline(), "replace"), repeats
    )
    found["pan, some selected"] = median_ms(mover(canvas, xy, 1, False), repeats)
    found["click"] = median_ms(lambda: plot.view.tapped.emit(0.0, 0.0), repeats)
    plot.close()
    return found


def baseline(n: int, repeats: int) -> dict[str, tuple[float, float]]:
    """Time a scatter plot of all points."""
    xy, label = clusters(n)
    canvas = pg.PlotWidget()
    show(canvas)
    brushes = np.array([pg.mkBrush(*colour) for colour in COLOURS])
    colours = cycle((brushes[label], brushes[9 - label]))
    scatter = pg.ScatterPlotItem(size=3, pen=None)
    canvas.addItem(scatter)

    def place() -> None:
        scatter.setData(pos=xy)
        canvas.viewport().repaint()

    def recolour() -> None:
        scatter.setBrush(next(colours))
        canvas.viewport().repaint()

    found = {"points": median_ms(place, repeats), "recolour": median_ms(recolour, repeats)}
    found["pan"] = median_ms(mover(canvas, xy, 1, False), repeats)
    found["zoom"] = median_ms(mover(canvas, xy, 1, True), repeats)
    found["zoomed in, pan"] = median_ms(mover(canvas, xy, 0.1, False), repeats)
    path = Path(outline(), closed=False)
    found["lasso"] = median_ms(lambda: path.contains_points(xy), repeats)
    canvas.close()
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--baseline-repeats", type=int, default=7, help="it is slow; 0: none")
    options = parser.parse_args()
    app = QApplication([])
    found = ours(options.points, options.repeats)
    few = options.baseline_repeats
    plain = baseline(options.points, few) if few else {}
    app.quit()
    rows = [
        {
            "step": name,
            "ms": times[0],
            "processor ms": times[1],
            "aim ms": AIMS.get(name),
            "pyqtgraph ms": plain[name][0] if name in plain else None,
            "pyqtgraph processor ms": plain[name][1] if name in plain else None,
        }
        for name, times in found.items()
    ]
    print_table(rows)
    print_json("latent_plot", {**vars(options), "steps": rows})


if __name__ == "__main__":
    main()
