"""Measure how often a second an object can be drawn live, as the cursor moves over a map.

    python benchmarks/latent_models.py [--times 50] [--threads 1] [--objects 2000]

Each system draws one object at a time, of 64 x 64 pixels or 32 x 32 x 32 voxels, at contents read
from a t-SNE map of so many objects; the two together are what a move of the cursor costs. Networks
are untrained: their weights don't matter here. The aims are 20 images and 8 volumes a second. A
grid of 12 x 12 images is timed too, with the preset fast. Beside the median stand the least time
and the processor's time, which other work on the machine changes less; of one thread, the latter
says what a quiet machine takes, and the aims are held against it.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from _report import print_json, print_table
from numpy.typing import NDArray

from napari_equipose.inference import LatentMap, draw_content, draw_grid, finish, latent_map
from napari_equipose.models import Normalisation, SavedModel, model_kind
from napari_equipose.training import TrainingRun

SYSTEMS = [
    *(("target-vae", preset, 2) for preset in ("fast", "balanced", "paper")),
    *(("spatial-vae", preset, 2) for preset in ("fast", "paper")),
    ("mce-vae", "fast", 2),
    ("harmony", "fast", 2),
    ("vae", "fast", 2),
    *(("harmony", preset, 3) for preset in ("fast", "paper")),
    *(("spatial-vae", preset, 3) for preset in ("fast", "paper")),
]
AIMS = {2: 20, 3: 8}
SIDES = {2: 64, 3: 32}
_MOST_DIMENSIONS = 32
Row = dict[str, Any]


def untrained(kind: str, preset: str, dimensions: int) -> SavedModel:
    """Make a model as the preset has it."""
    run = TrainingRun(images=("none",), output="none.safetensors", model=kind, preset=preset)
    config, _ = run.configurations(
        box_size=SIDES[dimensions],
        channels=1,
        n_images=60_000,
        likelihood="gaussian",
        dimensions=dimensions,
    )
    model: Any = model_kind(kind).model(config)
    return SavedModel(kind=kind, model=model.eval(), normalisation=Normalisation())


class Times(NamedTuple):
    """Milliseconds that something takes."""

    median: float
    least: float
    processor: float


def timed(draw: Callable[[], object], times: int) -> Times:
    """Time a function, after three calls that do not count."""
    wall, busy = [], []
    for _ in range(times + 3):
        began, before = time.perf_counter(), time.process_time()
        draw()
        wall.append(1000 * (time.perf_counter() - began))
        busy.append(1000 * (time.process_time() - before))
    return Times(float(np.median(wall[3:])), float(min(wall[3:])), float(np.median(busy[3:])))


def part_of(whole: LatentMap, k: int) -> LatentMap:
    """Take the first dimensions of the content of a map."""

    def back(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return whole.way_back(points)[:, :k]

    return replace(whole, way_back=back)


def measured(kind: str, preset: str, dimensions: int, times: int, whole: LatentMap) -> Row:
    """Draw as a cursor does."""
    saved = untrained(kind, preset, dimensions)
    config: Any = saved.model.config
    k = config.content_dim + (config.categories if saved.model.capabilities.clusters else 0)
    made, rng = part_of(whole, k), np.random.default_rng(1)

    def draw() -> object:
        return draw_content(saved, made.content_at(rng.uniform(-20, 20, (1, 2))))

    taken, grid = timed(draw, times), None
    if dimensions == 2 and preset == "fast":
        grid = timed(lambda: draw_grid(saved, made, 12), 3).median
    return {
        "system": f"{kind}, {preset}",
        "object": "x".join([str(SIDES[dimensions])] * dimensions),
        "median_ms": taken.median,
        "least_ms": taken.least,
        "cpu_ms": taken.processor,
        "per_second": 1000 / taken.median,
        "per_second_quiet": 1000 / taken.processor,
        "aim": AIMS[dimensions],
        "reached": "yes" if 1000 / taken.processor >= AIMS[dimensions] else "no",
        "grid_ms": grid,
    }


def main() -> None:
    """Time all, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--objects", type=int, default=2_000)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    content = np.random.default_rng(0).normal(size=(arguments.objects, _MOST_DIMENSIONS))
    whole = finish(latent_map(content, "t-sne"))
    rows = []
    for system in SYSTEMS:
        rows.append(measured(*system, arguments.times, whole))
        print(rows[-1], file=sys.stderr)
    print_table(rows)
    print_json("latent_models", {"objects": arguments.objects, "rows": rows})


if __name__ == "__main__":
    main()
