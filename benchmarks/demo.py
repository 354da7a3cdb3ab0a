"""Run ``equipose demo`` and judge what it finds by the masks, beside blob_log.

    python benchmarks/demo.py [--seed 0] [--minutes 2] [--keep FOLDER]

Matches lie within 10 pixels, a cell's width. Angles are those of the masks' second moments,
modulo 180 degrees, after one rotation common to all is removed. Wall time and peak memory are
those of the command itself.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from _report import blob_log_peer, print_json, print_table

from napari_equipose.cli._demo_run import BOX_SIZE
from napari_equipose.evaluation import (
    MaskObjects,
    best_f1,
    gauge_free_errors,
    match_picks,
    objects_from_masks,
    pick_scores,
)
from napari_equipose.inference import DetectionConfig, detect, finish
from napari_equipose.io import read_table
from napari_equipose.models import load_model
from napari_equipose.simulation import sample_path

TOLERANCE = 10.0


def run_command(output: Path, options: list[str]) -> tuple[float, float]:
    """Run the command; return its wall time in seconds and its peak memory in GB."""
    command = [str(Path(sys.executable).with_name("equipose")), "demo", "--overwrite", "-o"]
    began = time.perf_counter()
    process = subprocess.Popen([*command, str(output), *options])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"equipose demo ended with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - began, usage.ru_maxrss * unit / 1e9


def median_angle_error(
    positions: np.ndarray[Any, Any], rotation: np.ndarray[Any, Any], truth: MaskObjects
) -> float:
    """Median, in degrees modulo 180, over the matched objects; 45 is what guessing gives."""
    pairs = match_picks(positions, truth.positions, TOLERANCE)
    if not len(pairs.found):
        return float("nan")
    return gauge_free_errors(rotation[pairs.found] - truth.angle[pairs.truth], fold=2).median


def main() -> None:
    """Measure, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="of training; the demo's own by default")
    parser.add_argument("--keep", type=Path, help="folder for what the demo makes")
    arguments = parser.parse_args()
    options = ["--seed", str(arguments.seed)]
    if arguments.minutes:
        options += ["--minutes", str(arguments.minutes)]
    image = tifffile.imread(sample_path("ecoli_phase_contrast.tif"))
    truth = objects_from_masks(tifffile.imread(sample_path("ecoli_phase_contrast_masks.tif")))
    with tempfile.TemporaryDirectory() as scratch:
        output = arguments.keep or Path(scratch)
        seconds, memory = run_command(output, options)
        table = read_table(output / "objects.csv")
        saved = load_model(output / "model.safetensors")
    found = table[["y", "x"]].to_numpy()
    scores = pick_scores(found, truth.positions, TOLERANCE)
    angle = median_angle_error(found, np.radians(table["rotation"].to_numpy()), truth)
    all_picks = finish(detect(saved, image, DetectionConfig(threshold=0.01)))
    best = best_f1(all_picks.positions, all_picks.score, truth.positions, TOLERANCE)
    peer = blob_log_peer(image, BOX_SIZE, truth.positions, TOLERANCE)
    columns = ("precision", "recall", "f1")
    ours = {"threshold": "as delivered", **{name: getattr(scores, name) for name in columns}}
    oracle = {"threshold": "best", **{name: getattr(best, name) for name in columns}}
    other = {"threshold": "best", **{name: getattr(peer.scores, name) for name in columns}}
    rows = [
        {"method": "equipose demo", **ours, "angle error (deg)": angle},
        {"method": "equipose demo", **oracle, "angle error (deg)": ""},
        {"method": "skimage blob_log", **other, "angle error (deg)": "none"},
    ]
    print_table(rows)
    print(f"{len(found)} objects found of {len(truth.positions)}; {seconds:.0f} s, {memory:.2f} GB")
    print_json(
        "demo",
        {
            "seed": arguments.seed,
            "f1": scores.f1,
            "best_f1": best.f1,
            "median_angle_error_deg": angle,
            "seconds": round(seconds, 1),
            "peak_memory_gb": round(memory, 3),
            "found": len(found),
            "objects": len(truth.positions),
            "blob_log_best_f1": peer.scores.f1,
            "blob_log_sigma": peer.sigma,
            "blob_log_dark": peer.dark,
        },
    )


if __name__ == "__main__":
    main()
