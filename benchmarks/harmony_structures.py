"""Harmony on subtomograms of five structures: the paper's Table 1.

    python benchmarks/harmony_structures.py sim_subtomograms.py [--snr 100 0.1]
        [--minutes 40] [--seed 0] [--set NAME=VALUE ...]

The simulator is independent of the package's own: 32 voxels of 12 Angstrom, a missing wedge
outside +-60 degrees, a contrast transfer function, shifts of up to two voxels. 1,000 subtomograms
are learnt from without labels, content has one dimension, and the scores are those of the same
subtomograms. Poses are the coarse ones of the model; their error is that of each structure after
one rotation of the whole is removed, and modulo the structure's symmetry, whose axes are found in
the simulator's own maps.
"""

import argparse
import tempfile
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
from _data import CACHE, Simulated, simulated
from _learn import learn
from _report import print_json, print_table
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from napari_equipose.evaluation import content_scores, geodesic_errors
from napari_equipose.inference import Encoding, encode, finish
from napari_equipose.training import TrainingRun, prepare_stack

SYMMETRY = {"4v4r": "C1", "3j9i": "D7", "1bxn": "C4", "1qvr": "C1", "2cg9": "C2"}
"""Of the simulator's maps; that of 1bxn is half a molecule."""
PAPER = {
    100: {"SAP": 0.494, "P(c|z)": 0.996},
    0.1: {"SAP": 0.384, "P(c|z)": 0.861},
    0.05: {"SAP": 0.169, "P(c|z)": 0.63},
    0.03: {"SAP": 0.064, "P(c|z)": 0.527},
    0.01: {"SAP": 0.003, "P(c|z)": 0.47},
}
WEDGE = {"tilt_min_deg": -60, "tilt_max_deg": 60}


def symmetry_frame(reference: NDArray[np.float32], symmetry: str) -> NDArray[np.float64]:
    """Find the rotation (3, 3), on (z, y, x), that takes the usual axes to a map's own.

    An axis of symmetry is one of inertia; of a dihedral group, half a turn about x is looked for.
    """
    order = int(symmetry[1:])
    if order == 1:
        return np.eye(3)
    centre = np.array(ndimage.center_of_mass(reference))
    around = np.stack(np.indices(reference.shape), -1) - centre
    weight = reference.clip(0).reshape(-1, 1)
    points = around.reshape(-1, 3)
    _, axes = np.linalg.eigh((weight * points).T @ points)

    def likeness(turn: NDArray[np.float64]) -> float:
        moved = ndimage.affine_transform(reference, turn, centre - turn @ centre, order=1)
        return float(np.corrcoef(moved.ravel(), reference.ravel())[0, 1])

    def about(axis: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
        return Rotation.from_rotvec(axis * angle).as_matrix()

    best = max(range(3), key=lambda i: likeness(about(axes[:, i], 2 * pi / order)))
    z, y = axes[:, best], axes[:, best - 1]
    if symmetry[0] == "D":
        phases = np.linspace(0, pi / order, 4 * 15, endpoint=False)
        y = max((about(z, p) @ y for p in phases), key=lambda axis: likeness(about(axis, pi)))
    return np.stack((z, y, np.cross(z, y)), 1)


def judge(found: Encoding, truth: Simulated) -> dict[str, Any]:
    """Measure what the paper does, and the poses of each structure."""
    turn = Rotation.from_matrix(found.rotation.astype(float)).as_rotvec()
    scores = content_scores(
        found.content, truth.classes, np.concatenate((turn, found.translation), 1)
    )
    degrees = {}
    for number, (name, symmetry) in enumerate(SYMMETRY.items()):
        rows = truth.classes == number
        true = truth.rotation[rows] @ symmetry_frame(truth.references[number], symmetry)
        degrees[f"{name}_deg"] = geodesic_errors(found.rotation[rows], true, symmetry).median
    return {
        "SAP": scores.sap,
        "P(c|z)": scores.predictability,
        **degrees,
        "P_by_latent": scores.by_latent,
    }


def main() -> None:
    """Make subtomograms of each signal-to-noise ratio, train, judge, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("simulator", type=Path, help="sim_subtomograms.py")
    parser.add_argument("--snr", type=float, nargs="+", default=[100.0, 0.1])
    parser.add_argument("--n", type=int, default=200, help="subtomograms of each structure")
    parser.add_argument("--minutes", type=float, default=40.0, help="of each training, at most")
    parser.add_argument("--epochs", type=int, help="the preset's by default")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, default=CACHE / "harmony_structures")
    arguments = parser.parse_args()
    settings = WEDGE | dict(text.split("=", 1) for text in arguments.set)
    arguments.output.parent.mkdir(exist_ok=True)
    results: dict[str, Any] = {}
    for snr in arguments.snr:
        with tempfile.TemporaryDirectory() as scratch:
            truth = simulated(
                *(arguments.simulator, Path(scratch), list(SYMMETRY)),
                *(snr, arguments.n, arguments.seed),
            )
        output = arguments.output.with_name(f"{arguments.output.name}_{snr:g}.safetensors")
        run = TrainingRun(
            images=(f"five structures at SNR {snr:g}",),
            output=output.name,
            model="harmony",
            preset=arguments.preset,
            minutes=arguments.minutes,
            epochs=arguments.epochs,
            seed=arguments.seed,
            device=arguments.device,
            settings=settings,
        )
        saved, _ = learn(run, prepare_stack(run, truth.volumes), output)
        result = judge(finish(encode(saved, truth.volumes, device=arguments.device)), truth)
        by_latent = result.pop("P_by_latent")
        result |= {"minutes": saved.record["seconds"] / 60, "epochs": saved.record["epochs"]}
        blank = dict.fromkeys(result, "")
        print_table(
            [
                {"SNR": f"{snr:g}, the paper's", **blank, **PAPER.get(snr, {})},
                {"SNR": f"{snr:g}, ours", **result},
            ]
        )
        results[f"SNR {snr:g}"] = {**result, "P_by_latent": by_latent}
    print_json(
        "harmony_structures",
        {"seed": arguments.seed, "n": arguments.n, "settings": settings, **results},
    )


if __name__ == "__main__":
    main()
