"""Refine the poses of simulated subtomograms against their own average.

    python benchmarks/subtomograms.py ../shared/tools/sim_subtomograms.py [--n 100] [--seed 0]

The simulator is independent of the package's own. It makes ribosomes (4v4r) in boxes of 32 voxels
of 12 Angstrom, with a missing wedge, a contrast transfer function and noise. Refinement starts from
the true poses, each turned to another side by about ``--off`` degrees (median) and shifted by a
voxel along each axis; or, with ``--everywhere``, from random rotations, without shifts. Errors are
those of all particles after one rotation and one shift of the whole are removed.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from _report import print_json, print_table
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from napari_equipose.evaluation import geodesic_errors
from napari_equipose.geometry import MissingWedge, Poses3D, swap_axis_order
from napari_equipose.inference import RefinementConfig, finish, refine

STRUCTURE = "4v4r"
PIXEL_SIZE = 12.0  # Angstrom, the simulator's at 32 voxels
MEDIAN_LENGTH = 1.538  # of a vector of three numbers from N(0, 1)


class Simulated(NamedTuple):
    """Volumes and their true poses."""

    volumes: NDArray[np.float32]  # (n, z, y, x)
    rotation: NDArray[np.float64]  # (n, 3, 3), on (z, y, x)
    translation: NDArray[np.float64]  # (n, 3) voxels (z, y, x)


def simulated(script: Path, folder: Path, snr: float, n: int, seed: int) -> Simulated:
    """Run the simulator."""
    prefix = folder / f"subtomograms_{snr:g}"
    options = ["--classes", STRUCTURE, "--per-class", str(n), "--snr", str(snr)]
    command = [sys.executable, str(script), str(prefix), *options, "--seed", str(seed)]
    subprocess.run(command, check=True, stdout=2)
    with np.load(prefix.with_name(f"{prefix.name}.npz")) as made:
        return Simulated(
            made["volumes"].astype(np.float32),
            swap_axis_order(made["matrix"]),
            made["shift_xyz"][:, ::-1].copy(),
        )


def start(truth: Simulated, off: float, seed: int) -> Poses3D:
    """Poses near the true ones."""
    rng = np.random.default_rng(seed)
    aside = rng.standard_normal(truth.translation.shape) * np.radians(off) / MEDIAN_LENGTH
    rotation = truth.rotation @ Rotation.from_rotvec(aside).as_matrix()
    translation = truth.translation + rng.standard_normal(truth.translation.shape)
    return Poses3D(torch.from_numpy(rotation).float(), torch.from_numpy(translation).float())


def errors(poses: Poses3D, truth: Simulated) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Degrees and voxels between found and true poses."""
    rotation = poses.rotation.double().numpy()
    between = poses.translation.double().numpy() - truth.translation
    in_frame = np.einsum("nji,nj->ni", rotation, between)
    voxels = np.linalg.norm(in_frame - np.median(in_frame, 0), axis=1)
    return geodesic_errors(rotation, truth.rotation).degrees, voxels


def measure(truth: Simulated, poses: Poses3D | None, config: RefinementConfig) -> dict[str, Any]:
    """Refine, and compare with the truth."""
    began, busy = time.perf_counter(), time.process_time()
    found = finish(refine(truth.volumes, poses, MissingWedge(), config))
    wall, cpu = time.perf_counter() - began, time.process_time() - busy
    before = np.full(1, np.nan) if poses is None else errors(poses, truth)[0]
    degrees, voxels = errors(found.poses, truth)
    return {
        "start_deg": float(np.median(before)),
        "median_deg": float(np.median(degrees)),
        "p90_deg": float(np.percentile(degrees, 90)),
        "below_10_deg": float(np.mean(degrees < 10)),
        "median_px": float(np.median(voxels)),
        "resolution_A": found.correlation.resolution() * PIXEL_SIZE,
        "s_a_particle": wall / len(degrees),
        "cpu_s_a_particle": cpu / len(degrees),
    }


def main() -> None:
    """Make the subtomograms, refine them, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("simulator", type=Path, help="sim_subtomograms.py")
    parser.add_argument("--n", type=int, default=100, help="particles")
    parser.add_argument("--snr", type=float, nargs="+", default=[100.0, 0.1])
    parser.add_argument("--off", type=float, default=17.0, help="median degrees at the start")
    parser.add_argument("--everywhere", type=int, default=0, help="from nothing, by so many rounds")
    parser.add_argument("--iterations", type=int, default=6, help="further ones")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    config = RefinementConfig(
        iterations=arguments.iterations + arguments.everywhere,
        everywhere=arguments.everywhere,
        seed=arguments.seed,
    )
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for snr in arguments.snr:
            truth = simulated(arguments.simulator, Path(scratch), snr, arguments.n, arguments.seed)
            poses = None if arguments.everywhere else start(truth, arguments.off, arguments.seed)
            results[f"SNR {snr:g}"] = measure(truth, poses, config)
    print_table([{"particles": name, **result} for name, result in results.items()])
    print_json("subtomograms", {**vars(arguments), **results})


if __name__ == "__main__":
    main()
