"""Refine the poses of simulated subtomograms against their own average.

    python benchmarks/subtomograms.py sim_subtomograms.py [--n 100] [--peers]

The simulator is independent of the package's own. It makes ribosomes (4v4r) in boxes of 32 voxels
of 12 Angstrom, with a missing wedge, a contrast transfer function and noise. Refinement starts from
the true poses, each turned to another side by about ``--off`` degrees (median) and shifted by a
voxel along each axis; or, with ``--everywhere``, from random rotations, without shifts. Errors are
those of all particles after one rotation and one shift of the whole are removed.

With ``--peers``, other programs work on the same volumes, as far as they are installed: acryo,
which refines from the same start, beside ours; and RELION's `relion_refine`, from no reference,
beside ours from random rotations, in so many rounds as ``--everywhere`` says or three. None is told
the true structure.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _data import Simulated, simulated
from _peers import NotInstalled, acryo_poses, relion_poses
from _report import print_json, print_table
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from napari_equipose.evaluation import geodesic_errors
from napari_equipose.geometry import MissingWedge, Poses3D
from napari_equipose.inference import RefinementConfig, finish, refine

STRUCTURE = "4v4r"
PIXEL_SIZE = 12.0  # Angstrom, the simulator's at 32 voxels
MEDIAN_LENGTH = 1.538  # of a vector of three numbers from N(0, 1)


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


def judged(poses: Poses3D, truth: Simulated) -> dict[str, float]:
    """Compare with the truth."""
    degrees, voxels = errors(poses, truth)
    return {
        "median_deg": float(np.median(degrees)),
        "p90_deg": float(np.percentile(degrees, 90)),
        "below_10_deg": float(np.mean(degrees < 10)),
        "median_px": float(np.median(voxels)),
    }


def timed(work: Callable[[], Poses3D], truth: Simulated) -> dict[str, Any]:
    """Judge poses, and how long they took; processor time is of all threads and programs."""
    began, busy = time.perf_counter(), processor_seconds()
    poses = work()
    wall, cpu = time.perf_counter() - began, processor_seconds() - busy
    n = len(truth.volumes)
    return {**judged(poses, truth), "s_a_particle": wall / n, "cpu_s_a_particle": cpu / n}


def processor_seconds() -> float:
    """Of this process and of those that it started and saw end."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def measure(truth: Simulated, poses: Poses3D | None, config: RefinementConfig) -> dict[str, Any]:
    """Refine, and compare with the truth."""
    more: dict[str, float] = {}

    def work() -> Poses3D:
        found = finish(refine(truth.volumes, poses, MissingWedge(), config))
        more["resolution_A"] = found.correlation.resolution() * PIXEL_SIZE
        return found.poses

    return timed(work, truth) | more


def peer(work: Callable[[], Poses3D], truth: Simulated) -> dict[str, Any]:
    """Measure another program, or say that it is not there."""
    try:
        return timed(work, truth)
    except NotInstalled as missing:
        return {"median_deg": str(missing)}


def main() -> None:
    """Make the subtomograms, refine them, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("simulator", type=Path, help="sim_subtomograms.py")
    parser.add_argument("--n", type=int, default=100, help="particles")
    parser.add_argument("--snr", type=float, nargs="+", default=[100.0, 0.1])
    parser.add_argument("--off", type=float, default=17.0, help="median degrees at the start")
    parser.add_argument("--everywhere", type=int, default=0, help="from nothing, by so many rounds")
    parser.add_argument("--iterations", type=int, default=6, help="further ones")
    parser.add_argument("--peers", nargs="*", choices=["acryo", "relion"], help="all by default")
    parser.add_argument("--relion-iterations", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    peers = arguments.peers
    if peers is not None and not peers:
        peers = ["acryo", "relion"]
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for snr in arguments.snr:
            truth = simulated(
                *(arguments.simulator, Path(scratch), [STRUCTURE]),
                *(snr, arguments.n, arguments.seed),
            )
            folder = Path(scratch) / f"relion_{snr:g}"
            for name, result in compare(truth, arguments, peers or [], folder).items():
                results[f"SNR {snr:g}, {name}"] = result
                print_table([{"particles": f"SNR {snr:g}, {name}", **result}])
    columns = {name: "" for result in results.values() for name in result}
    print_table([{"particles": name, **columns, **result} for name, result in results.items()])
    print_json("subtomograms", {**vars(arguments), **results})


def compare(
    truth: Simulated, arguments: argparse.Namespace, peers: list[str], folder: Path
) -> dict[str, dict[str, Any]]:
    """Refine from a start, or from nothing, beside the peers that do the same."""
    poses = start(truth, arguments.off, arguments.seed)
    results: dict[str, dict[str, Any]] = {}
    if not arguments.everywhere or "acryo" in peers:
        config = RefinementConfig(iterations=arguments.iterations, seed=arguments.seed)
        results["the start"] = judged(poses, truth)
        results["ours from the start"] = measure(truth, poses, config)
    if "acryo" in peers:
        results["acryo from the start"] = peer(lambda: acryo_poses(truth.volumes, poses), truth)
    if arguments.everywhere or "relion" in peers:
        rounds = arguments.everywhere or 3
        config = RefinementConfig(
            iterations=arguments.iterations + rounds, everywhere=rounds, seed=arguments.seed
        )
        results["ours from nothing"] = measure(truth, None, config)
    if "relion" in peers:
        results["RELION from nothing"] = peer(
            lambda: relion_poses(
                truth.volumes,
                folder,
                pixel_size=PIXEL_SIZE,
                iterations=arguments.relion_iterations,
                threads=torch.get_num_threads(),
                seed=arguments.seed,
            ),
            truth,
        )
    return results


if __name__ == "__main__":
    main()
