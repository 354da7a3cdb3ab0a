"""Learn the objects of a tomogram without labels, and find them with their poses.

    python benchmarks/tomogram.py sim_subtomograms.py [--minutes M] [--seed 0]

The simulator is independent of the package's own. It puts 60 copies of a ribosome (4v4r) and of a
chaperone (1qvr), turned at random, into a volume of 64 x 300 x 300 voxels of 12 Angstrom, with a
missing wedge, a contrast transfer function and noise. The model is trained on one tomogram and
judged on that and on another of the next seed. Matches lie within half the radius of the smaller
structure. Errors of pose are those of the matches after one rotation of each structure is removed;
neither has a symmetry. Beside it `skimage.feature.blob_log`, told the truth to choose its size and
its threshold.
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
import torch
from _learn import learn
from _report import print_json, print_table
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation
from skimage.feature import blob_log

from napari_equipose.evaluation import best_f1, geodesic_errors, match_picks, pick_scores
from napari_equipose.geometry import extract_cubes, swap_axis_order
from napari_equipose.inference import DetectionConfig, Picks3D, detect_volume, finish
from napari_equipose.io import read_image
from napari_equipose.models import SavedModel
from napari_equipose.training import TrainingRun, prepare_volumes

STRUCTURES = ("4v4r", "1qvr")
BOX = 32
SHAPE = "64,300,300"
TOLERANCE = 4.4  # voxels; the smaller structure, 1qvr, is 17.5 across


class Tomogram(NamedTuple):
    """A volume and what is in it."""

    volume: NDArray[np.float32]  # (z, y, x)
    positions: NDArray[np.float64]  # (n, 3)
    rotation: NDArray[np.float64]  # (n, 3, 3), on (z, y, x)
    name: NDArray[Any]  # (n,) of the structure


def simulated(script: Path, folder: Path, snr: float, seed: int) -> Tomogram:
    """Run the simulator."""
    prefix = folder / f"{snr:g}_{seed}"
    options = ["--classes", ",".join(STRUCTURES), "--snr", str(snr), "--seed", str(seed)]
    options += ["--box", str(BOX), "--tomogram", SHAPE, "--n-particles", "60"]
    subprocess.run([sys.executable, str(script), str(prefix), *options], check=True, stdout=2)
    table = pd.read_csv(f"{prefix}_tomogram.csv")
    turned = Rotation.from_quat(table[["qx", "qy", "qz", "qw"]].to_numpy()).as_matrix()
    return Tomogram(
        np.array(read_image(f"{prefix}_tomogram.mrc").data),
        table[["z", "y", "x"]].to_numpy(),
        swap_axis_order(turned),
        table["name"].to_numpy(),
    )


def judge(saved: SavedModel, tomogram: Tomogram) -> dict[str, Any]:
    """Find objects, and compare them with the truth."""
    began = time.perf_counter()
    config = DetectionConfig(threshold=0.0)
    found = finish(detect_volume(saved, tomogram.volume, config, device="cpu"))
    wall = time.perf_counter() - began
    kept = found.positions[found.score >= saved.record["threshold"]]
    delivered = pick_scores(kept, tomogram.positions, TOLERANCE)
    best = best_f1(found.positions, found.score, tomogram.positions, TOLERANCE)
    pairs = match_picks(kept, tomogram.positions, TOLERANCE)
    result: dict[str, Any] = {
        "n": len(kept),
        "precision": delivered.precision,
        "recall": delivered.recall,
        "f1": delivered.f1,
        "best_f1": best.f1,
        "median_px": float(np.median(pairs.distance)) if len(pairs.found) else np.nan,
    }
    kept_rows = Picks3D(*(column[found.score >= saved.record["threshold"]] for column in found))
    errors = angles(kept_rows.rotation, pairs.found, pairs.truth, tomogram)
    result |= {f"{name}_deg": value for name, value in errors.items()}
    own = own_rotations(saved, tomogram, kept)
    errors = angles(own, pairs.found, pairs.truth, tomogram)
    result |= {f"{name}_encoder_deg": value for name, value in errors.items()}
    return result | {"detect_s": wall}


def own_rotations(
    saved: SavedModel, tomogram: Tomogram, positions: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Rotations that the encoder proposes, for the comparison."""
    boxes = saved.normalisation.of_stack(extract_cubes(tomogram.volume, positions, BOX))
    parts = [saved.model.infer(part).poses.rotation for part in torch.from_numpy(boxes).split(8)]
    return torch.cat(parts).cpu().numpy()


def angles(
    rotation: NDArray[np.floating[Any]],
    rows: NDArray[np.int64],
    true_rows: NDArray[np.int64],
    tomogram: Tomogram,
) -> dict[str, float]:
    """Median error of each structure, in degrees."""
    medians = {}
    for name in STRUCTURES:
        mine = tomogram.name[true_rows] == name
        pair = rotation[rows[mine]], tomogram.rotation[true_rows[mine]]
        medians[name] = geodesic_errors(*pair).median if mine.any() else np.nan
    return medians


def peer(tomogram: Tomogram) -> dict[str, Any]:
    """The best that blob_log can do, told the truth to choose its size and threshold."""
    began = time.perf_counter()
    volume = tomogram.volume.astype(np.float64) / tomogram.volume.std()
    best: dict[str, Any] = {"best_f1": 0.0}
    for sigma in (2.0, 3.0, 4.0, 5.0, 6.0):
        places = blob_log(volume, sigma, sigma, 1, threshold=0, overlap=0.5)[:, :3]
        score = -ndimage.gaussian_laplace(volume, sigma)[tuple(places.astype(int).T)]
        f1 = best_f1(places, score, tomogram.positions, TOLERANCE).f1
        if f1 > best["best_f1"]:
            best = {"best_f1": f1, "sigma": sigma}
    return best | {"detect_s": time.perf_counter() - began}


def measure(
    script: Path, folder: Path, snr: float, minutes: float | None, seed: int
) -> dict[str, Any]:
    """Train on one tomogram, and judge it and the next."""
    first, second = (simulated(script, folder, snr, seed + k) for k in range(2))
    run = TrainingRun(
        model="harmony",
        box_size=BOX,
        minutes=minutes,
        seed=seed,
        device="cpu",
        output=f"{snr:g}.safetensors",
        settings={"tilt_min_deg": -60, "tilt_max_deg": 60},
    )
    began, busy = time.perf_counter(), time.process_time()
    prepared = prepare_volumes(run, [first.volume])
    saved, _ = learn(run, prepared, folder / run.output)
    training = {
        "boxes": len(prepared.boxes),
        "epochs": saved.record["epochs"],
        "threshold": saved.record["threshold"],
        "train_s": time.perf_counter() - began,
        "train_cpu_s": time.process_time() - busy,
    }
    rows = {"training": first, "unseen": second}
    judged = {name: judge(saved, tomogram) for name, tomogram in rows.items()}
    peers = {f"{name}, blob_log": peer(tomogram) for name, tomogram in rows.items()}
    return training | judged | peers


def main() -> None:
    """Make the tomograms, learn and find, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("simulator", type=Path, help="sim_subtomograms.py")
    parser.add_argument("--snr", type=float, nargs="+", default=[100.0, 0.1])
    parser.add_argument(
        "--minutes", type=float, help="of training, each; the preset's epochs by default"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for snr in arguments.snr:
            options = (snr, arguments.minutes, arguments.seed)
            results[f"SNR {snr:g}"] = measure(arguments.simulator, Path(scratch), *options)
    for snr_name, result in results.items():
        plain = {name: value for name, value in result.items() if not isinstance(value, dict)}
        print(snr_name, ", ".join(f"{name} {value:.4g}" for name, value in plain.items()))
        judged = {name: value for name, value in result.items() if isinstance(value, dict)}
        columns = list(judged["training"])
        print_table(
            [
                {"tomogram": name, **{column: value.get(column, "") for column in columns}}
                for name, value in judged.items()
            ]
        )
    print_json("tomogram", {**vars(arguments), **results})


if __name__ == "__main__":
    main()
