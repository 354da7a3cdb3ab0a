"""Harmony on subtomograms that nothing was chosen on: other structures, boxes, shares and noise.

    python benchmarks/field_volumes.py [--maps FOLDER ...] [--case small_and_long random ...]
                                       [--seeds 5] [--align] [--output field_volumes.jsonl]
                                       [--summary]

A case and its seed say which four structures are mixed, how many subtomograms there are of each,
and in which boxes, voxels, noise and tilt range they come; a plain ``equipose train --model
harmony`` is told the tilt range and nothing else. What is measured of each structure is the error
of its particles' rotations by ``encode`` after one rotation of the whole is removed, modulo its
symmetry; and P(c|z), the part of the particles whose structure the content tells. With ``--align``
the poses are refined.

Every case and seed becomes a line of JSON in the output as soon as it is done, and what is already
there is not done again; a line holds for the commit that it names. ``--summary`` prints the table
of what is there. Maps are ``NAME.mrc`` in the folders, of which the repository has none: those
named below are templates of 10 Angstrom of PolNet (github.com/anmartinezs/polnet).
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _data import DATA, REPOSITORY
from _learn import learn
from _report import machine, print_table
from harmony_structures import symmetry_frame
from numpy.typing import NDArray

from napari_equipose.evaluation import content_scores, geodesic_errors
from napari_equipose.inference import AlignConfig, align, encode, finish
from napari_equipose.io import read_image
from napari_equipose.simulation import DensityMap, SubtomogramConfig, simulate_subtomograms
from napari_equipose.training import TrainingRun, prepare_stack

SYMMETRY = {"4cr2": "C1", "1u6g": "C1", "6qzp": "C1", "3cf3": "C1", "5mrc": "C1", "1f4a": "D2"}
"""Of the maps, by their own rotations; that of 3cf3 is a part of a molecule."""


@dataclass(frozen=True)
class Case:
    """A mixture of subtomograms."""

    names: tuple[str, ...]
    counts: tuple[int, ...]
    config: SubtomogramConfig


def small_and_long(seed: int) -> Case:
    """Mix four structures evenly, one of them small, long and nearly the same half a turn on."""
    config = SubtomogramConfig(n=200, box_size=32, pixel_size=12.0, snr=0.1)
    return Case(("4cr2", "1u6g", "6qzp", "3cf3"), (200,) * 4, config)


def random(seed: int) -> Case:
    """Mix any four structures in any shares, as the issue's target says: SNR 0.1, a wedge."""
    rng = np.random.default_rng([seed, 2026])
    names = tuple(str(name) for name in rng.permutation(list(SYMMETRY))[:4])
    counts = tuple(int(n) for n in rng.integers(150, 301, 4))
    box = int(rng.choice([24, 28, 32, 36]))
    low, high = -rng.uniform(50, 65), rng.uniform(50, 65)
    config = SubtomogramConfig(
        n=max(counts),
        box_size=box,
        pixel_size=float(LONGEST * rng.uniform(1.1, 1.4) / box),
        snr=0.1,
        max_shift=box / 16,
        tilt_min_deg=float(low),
        tilt_max_deg=float(high),
        tilt_axis=str(rng.choice(["y", "x"])),  # type: ignore[arg-type]
        defocus=float(rng.uniform(3e4, 6e4)),
    )
    return Case(names, counts, config)


CASES = {"small_and_long": small_and_long, "random": random}
LONGEST = 353.0
"""Angstrom: the largest of the structures."""
WANTED = 12.0
"""Degrees: median errors of a structure that was found."""


def read_map(folders: list[Path], name: str) -> DensityMap:
    """Read a map, its voxels of 10 Angstrom unless its file says otherwise."""
    for folder in folders:
        path = folder / f"{name}.mrc"
        if path.is_file():
            image = read_image(path)
            density = np.asarray(image.data, np.float32)
            return DensityMap(density, image.pixel_size or 10.0)
    raise FileNotFoundError(f"there is no {name}.mrc in {', '.join(map(str, folders))}")


class Mixture:
    """The subtomograms of a case, their true poses, and the axes of each structure's symmetry."""

    def __init__(self, case: Case, folders: list[Path], seed: int) -> None:
        self.case = case
        maps = [read_map(folders, name) for name in case.names]
        made = simulate_subtomograms(maps, np.random.default_rng(seed), case.config)
        rows = [
            np.flatnonzero(made.truth.label == number)[:n] for number, n in enumerate(case.counts)
        ]
        kept = np.random.default_rng(seed).permutation(np.concatenate(rows))
        self.volumes = made.volumes[kept]
        self.label = made.truth.label[kept]
        self.frames = [
            symmetry_frame(one.density, SYMMETRY[name])
            for one, name in zip(maps, case.names, strict=True)
        ]
        self.rotation = made.truth.rotation[kept]

    def degrees(self, rotation: NDArray[Any]) -> dict[str, float]:
        """Median errors of rotation, structure by structure."""
        found = {}
        for number, name in enumerate(self.case.names):
            rows = self.label == number
            true = self.rotation[rows] @ self.frames[number]
            found[name] = geodesic_errors(rotation[rows], true, SYMMETRY[name]).median
        return found


def measure(case_name: str, seed: int, folders: list[Path], aligned: bool) -> dict[str, Any]:
    """Simulate, train, judge."""
    case = CASES[case_name](seed)
    mixture = Mixture(case, folders, seed)
    config = case.config
    settings = {"tilt_min_deg": config.tilt_min_deg, "tilt_max_deg": config.tilt_max_deg}
    run = TrainingRun(
        images=(case_name,),
        output="m.safetensors",
        model="harmony",
        seed=seed,
        settings={**settings, "tilt_axis": config.tilt_axis},
    )
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        saved, _ = learn(run, prepare_stack(run, mixture.volumes), Path(scratch) / run.output)
    trained = time.perf_counter()
    found = finish(encode(saved, mixture.volumes))
    line: dict[str, Any] = {"case": case_name, "seed": seed, "box": config.box_size}
    line["voxel"], line["snr"] = config.pixel_size, config.snr
    line["counts"] = dict(zip(case.names, case.counts, strict=True))
    scores = content_scores(found.content, mixture.label)
    line["P(c|z)"] = scores.predictability
    line["degrees"] = mixture.degrees(found.rotation)
    line["structures"] = len(saved.record.get("structures") or [])
    line["train_s"] = trained - began
    if aligned:
        settled = finish(align(saved, mixture.volumes, AlignConfig(classes=len(case.names))))
        line["align_degrees"] = mixture.degrees(settled.encoding.rotation)
        line["align_s"] = time.perf_counter() - trained
    return _plain(line)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        value = value.item()
    return round(value, 4) if isinstance(value, float) else value


def commit() -> str:
    """Name the code that is measured."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read what was measured before."""
    if not path.exists():
        return []
    return [json.loads(text) for text in path.read_text().splitlines() if text.strip()]


def summarize(lines: list[dict[str, Any]]) -> None:
    """Print a row a structure of each case, and of how many the rotations are wrong."""
    rows, wrong = [], 0
    for line in lines:
        for name, degrees in line["degrees"].items():
            wrong += degrees > WANTED
            row = {"case": line["case"], "seed": line["seed"], "structure": name}
            row |= {"n": line["counts"][name], "P(c|z)": line["P(c|z)"], "encode deg": degrees}
            row["align deg"] = line.get("align_degrees", {}).get(name)
            rows.append(row)
    print_table(rows)
    print(f"{len(rows)} structures, {wrong} with a median of more than {WANTED:g} degrees")


def main() -> None:
    """Measure what is not measured yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--maps", type=Path, nargs="+", default=[DATA / "maps_other", DATA / "maps_polnet_10A"]
    )
    parser.add_argument("--case", nargs="+", choices=CASES, default=[*CASES])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--align", action="store_true", help="refine the poses, too")
    parser.add_argument("--output", type=Path, default=Path("field_volumes.jsonl"))
    parser.add_argument("--summary", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    done = {(line["case"], line["seed"]) for line in read_lines(arguments.output)}
    todo = [(case, seed) for seed in range(arguments.seeds) for case in arguments.case]
    todo = [pair for pair in todo if pair not in done and not arguments.summary]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for case, seed in todo:
            print(f"{case}, seed {seed}", file=sys.stderr)
            line = pool.submit(measure, case, seed, arguments.maps, arguments.align).result()
            line |= {"commit": commit(), "machine": machine()}
            with arguments.output.open("a") as file:
                file.write(json.dumps(line) + "\n")
    summarize(read_lines(arguments.output))


if __name__ == "__main__":
    main()
