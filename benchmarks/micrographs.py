"""Pick particles in micrographs, trained on the micrograph itself without labels.

    python benchmarks/micrographs.py ../shared/tools/sim_micrograph.py [--seed 0] [--minutes 5]

The simulated ones hold 150 proteasomes with ice crystals and a carbon edge; matches lie
within 14.7 pixels, 0.7 of a particle's radius. The real one is of apoferritin, with human
picks; matches lie within 16 pixels. F1 is at the best threshold, as for the peer in the same run.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from _data import DATA
from _learn import learn
from _report import blob_log_peer, print_json, print_table

from napari_equipose.evaluation import average_precision, best_f1, pick_scores
from napari_equipose.inference import DetectionConfig, detect, finish
from napari_equipose.io import read_image
from napari_equipose.training import TrainingRun, prepare_images

LOW = 0.01
"""A threshold of the score that leaves the choice to the curve."""


class Micrograph(NamedTuple):
    """An image and the positions of its particles."""

    name: str
    image: np.ndarray[Any, Any]
    truth: np.ndarray[Any, Any]  # (n, 2) pixels, (y, x)
    box_size: int
    tolerance: float


def simulated(script: Path, folder: Path, snr: float, seed: int) -> Micrograph:
    """Make a micrograph of proteasomes by the simulator."""
    prefix = folder / f"proteasome_{snr:g}"
    options = ["--object", "proteasome", "--n", "150", "--snr", str(snr), "--seed", str(seed)]
    subprocess.run([sys.executable, str(script), str(prefix), *options], check=True, stdout=2)
    truth = pd.read_csv(prefix.with_name(f"{prefix.name}.csv"))
    image = read_image(prefix.with_name(f"{prefix.name}.mrc")).data
    name = f"20S, simulated, SNR {snr:g}"
    return Micrograph(name, np.array(image), truth[["y", "x"]].to_numpy(), 60, 14.7)


def apoferritin(folder: Path) -> Micrograph:
    """Read the real one."""
    path = folder / "apoferritin_empiar10146" / "May08_03.05.02.png"
    truth = pd.read_csv(path.with_name(f"{path.stem}_gt.csv"))
    image = np.array(read_image(path).data)
    return Micrograph("apoferritin, real", image, truth[["y", "x"]].to_numpy(), 96, 16.0)


def measure(micrograph: Micrograph, run: TrainingRun, folder: Path) -> dict[str, Any]:
    """Train on one micrograph, pick in it, and judge."""
    began = time.perf_counter()
    prepared = prepare_images(run, [micrograph.image])
    saved, _ = learn(run, prepared, folder / run.output)
    trained = time.perf_counter()
    low = DetectionConfig(threshold=LOW)
    picks = finish(detect(saved, micrograph.image, low, device=run.device))
    detected = time.perf_counter()
    judged = (micrograph.truth, micrograph.tolerance)
    best = best_f1(picks.positions, picks.score, *judged)
    usual = finish(detect(saved, micrograph.image, device=run.device))
    peer = blob_log_peer(micrograph.image, micrograph.box_size, *judged)
    candidates = pick_scores(prepared.positions[0], *judged)
    return {
        "particles": len(micrograph.truth),
        "best_f1": best.f1,
        "precision": best.precision,
        "recall": best.recall,
        "threshold": best.threshold,
        "ap": average_precision(picks.positions, picks.score, *judged),
        "default_f1": pick_scores(usual.positions, *judged).f1,
        "candidates_f1": candidates.f1,
        "candidates_recall": candidates.recall,
        "blob_log_best_f1": peer.scores.f1,
        "blob_log_ap": peer.average_precision,
        "train_s": round(trained - began, 1),
        "detect_s": round(detected - trained, 1),
    }


def main() -> None:
    """Make or read the micrographs, measure, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("simulator", type=Path, help="sim_micrograph.py")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the real micrograph")
    parser.add_argument("--only", help="measure those whose name holds this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=5.0, help="of training on each")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        micrographs = [
            simulated(arguments.simulator, folder, snr, arguments.seed) for snr in (0.3, 0.1)
        ]
        for micrograph in [*micrographs, apoferritin(arguments.data)]:
            if arguments.only and arguments.only not in micrograph.name:
                continue
            run = TrainingRun(
                images=(micrograph.name,),
                output="model.safetensors",
                preset=arguments.preset,
                box_size=micrograph.box_size,
                polarity="dark",
                minutes=arguments.minutes,
                seed=arguments.seed,
                device=arguments.device,
                settings=dict(text.split("=", 1) for text in arguments.set),
            )
            results[micrograph.name] = measure(micrograph, run, folder)
    shown = ("particles", "best_f1", "ap", "default_f1", "candidates_recall", "blob_log_best_f1")
    print_table([{"micrograph": n, **{k: r[k] for k in shown}} for n, r in results.items()])
    print_json("micrographs", {"seed": arguments.seed, "minutes": arguments.minutes, **results})


if __name__ == "__main__":
    main()
