"""Pick particles in micrographs, without labels and without references.

    python benchmarks/micrographs.py sim_micrograph.py [--seed 0] [--minutes 5]

The simulated ones hold 150 proteasomes each, with ice crystals and a carbon edge; the model is
trained on some of them and judged on others. Matches lie within 14.7 pixels, 0.7 of a
particle's radius; angles are of the side views, modulo 180 degrees. The real one is of
apoferritin, with human picks; there is only one, so that it is trained on as well as judged by
(the picks play no part in training); matches lie within 16 pixels. F1 is at the best threshold,
as for the peer in the same run.
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
from numpy.typing import NDArray

from napari_equipose.evaluation import (
    average_precision,
    best_f1,
    gauge_free_errors,
    match_picks,
    pick_scores,
)
from napari_equipose.inference import DetectionConfig, detect, finish
from napari_equipose.io import read_image
from napari_equipose.models import SavedModel
from napari_equipose.training import TrainingRun, prepare_images, propose_many

BOX_20S, BOX_APOFERRITIN = 48, 80
LOW = 0.01
"""A threshold of the score that leaves the choice to the curve."""


class Micrographs(NamedTuple):
    """Images of one kind of particle."""

    name: str
    training: list[NDArray[Any]]
    judged: list[tuple[NDArray[Any], pd.DataFrame]]
    """With the true positions, columns y and x, and, where known, view and theta_deg."""
    box_size: int
    tolerance: float


def simulated(script: Path, folder: Path, snr: float, seeds: range, n_judged: int) -> Micrographs:
    """Make micrographs of proteasomes by the simulator; the first are to judge by."""
    made: list[tuple[NDArray[Any], pd.DataFrame]] = []
    for seed in seeds:
        prefix = folder / f"proteasome_{snr:g}_{seed}"
        options = ["--object", "proteasome", "--n", "150", "--snr", str(snr), "--seed", str(seed)]
        subprocess.run([sys.executable, str(script), str(prefix), *options], check=True, stdout=2)
        image = np.array(read_image(prefix.with_name(f"{prefix.name}.mrc")).data)
        made.append((image, pd.read_csv(prefix.with_name(f"{prefix.name}.csv"))))
    training = [image for image, _ in made[n_judged:]]
    return Micrographs(f"20S, simulated, SNR {snr:g}", training, made[:n_judged], BOX_20S, 14.7)


def apoferritin(folder: Path) -> Micrographs:
    """Read the real one."""
    path = folder / "apoferritin_empiar10146" / "May08_03.05.02.png"
    image = np.array(read_image(path).data)
    truth = pd.read_csv(path.with_name(f"{path.stem}_gt.csv"))
    return Micrographs("apoferritin, real", [image], [(image, truth)], BOX_APOFERRITIN, 16.0)


def measure(micrographs: Micrographs, run: TrainingRun, folder: Path) -> dict[str, Any]:
    """Train, pick, and judge."""
    began = time.perf_counter()
    prepared = prepare_images(run, micrographs.training)
    saved, _ = learn(run, prepared, folder / run.output)
    trained = time.perf_counter()
    judged = [judge(saved, *pair, micrographs, run.device) for pair in micrographs.judged]
    result = {name: float(np.mean([one[name] for one in judged])) for name in judged[0]}
    return result | {
        "micrographs": [len(micrographs.training), len(judged)],
        "boxes": len(prepared.boxes),
        "train_s": round(trained - began, 1),
    }


def judge(
    saved: SavedModel,
    image: NDArray[Any],
    truth: pd.DataFrame,
    micrographs: Micrographs,
    device: str,
) -> dict[str, float]:
    """Pick in one micrograph and compare with the truth."""
    began = time.perf_counter()
    picks = finish(detect(saved, image, DetectionConfig(threshold=LOW), device=device))
    detected = time.perf_counter()
    places = truth[["y", "x"]].to_numpy(float)
    judged = (places, micrographs.tolerance)
    best = best_f1(picks.positions, picks.score, *judged)
    usual = finish(detect(saved, image, device=device))
    peer = blob_log_peer(image, micrographs.box_size, *judged)
    (candidates,) = propose_many([image], micrographs.box_size, "dark")
    side = np.nan
    if "theta_deg" in truth:
        matches = match_picks(picks.positions, *judged)
        seen = truth.iloc[matches.truth]
        error = picks.rotation[matches.found] + np.deg2rad(seen["theta_deg"].to_numpy())
        side = gauge_free_errors(error[(seen["view"] == "side").to_numpy()], fold=2).median
    return {
        "particles": len(places),
        "best_f1": best.f1,
        "precision": best.precision,
        "recall": best.recall,
        "ap": average_precision(picks.positions, picks.score, *judged),
        "default_f1": pick_scores(usual.positions, *judged).f1,
        "side_angle_deg": float(side),
        "candidates_f1": best_f1(candidates.positions, candidates.scores, *judged).f1,
        "blob_log_best_f1": peer.scores.f1,
        "blob_log_ap": peer.average_precision,
        "detect_s": round(detected - began, 1),
    }


def main() -> None:
    """Make or read the micrographs, measure, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("simulator", type=Path, help="sim_micrograph.py")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the real micrograph")
    parser.add_argument(
        "--snr", nargs="*", type=float, default=[0.3, 0.1], help="of simulated ones"
    )
    parser.add_argument("--only", help="measure those whose name holds this")
    parser.add_argument("--seed", type=int, default=0, help="of the first of them")
    parser.add_argument("--training", type=int, default=6, help="simulated micrographs to train on")
    parser.add_argument("--judged", type=int, default=2, help="others to judge by")
    parser.add_argument("--minutes", type=float, default=5.0, help="of training on each")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        seeds = range(arguments.seed, arguments.seed + arguments.judged + arguments.training)
        kinds = [
            simulated(arguments.simulator, folder, snr, seeds, arguments.judged)
            for snr in arguments.snr
        ]
        for micrographs in [*kinds, apoferritin(arguments.data)]:
            if arguments.only and arguments.only not in micrographs.name:
                continue
            run = TrainingRun(
                images=(micrographs.name,),
                output="model.safetensors",
                preset=arguments.preset,
                box_size=micrographs.box_size,
                polarity="dark",
                minutes=arguments.minutes,
                seed=arguments.seed,
                device=arguments.device,
                settings=dict(text.split("=", 1) for text in arguments.set),
            )
            results[micrographs.name] = measure(micrographs, run, folder)
    shown = ("best_f1", "default_f1", "side_angle_deg", "candidates_f1", "blob_log_best_f1")
    print_table([{"particles": n, **{k: r[k] for k in shown}} for n, r in results.items()])
    print_json("micrographs", {"seed": arguments.seed, "minutes": arguments.minutes, **results})


if __name__ == "__main__":
    main()
