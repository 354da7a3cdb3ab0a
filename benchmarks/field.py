"""The field board: images that nothing was tuned on, told nothing but the size of their objects.

    python benchmarks/field.py [--candidates | --quick] [--only NAME ...] [--seeds 3]
                               [--output field.jsonl] [--summary]

Each image is trained on by a plain ``equipose train`` with the box size that a user would type,
and the objects are detected at the model's own threshold. Beside it stand the candidates that
training began from, and blob_log, told its best size, polarity and threshold by the truth (one
scale at a time).
``--candidates`` trains nothing and takes minutes, ``--quick`` is one seed of eight small images.

Every image and seed becomes a line of JSON in the output as soon as it is done, and what is
already there is not done again, so that a full run may take several sittings; a line holds for
the commit that it names. ``--summary`` prints the table of what is there.

The images' folder is ``--data``; provenance and licences stand beside them. Most may not be
passed on, so that the repository does not have them: docs/results.md tells where they come from.
"""

import argparse
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from _data import DATA, REPOSITORY
from _field_images import FieldImage, Truth, field_images, small_images
from _learn import learn
from _report import blob_log_peer, machine, print_table
from numpy.typing import NDArray

from napari_equipose.evaluation import best_f1, gauge_free_errors, match_picks, pick_scores
from napari_equipose.inference import DetectionConfig, detect, finish
from napari_equipose.training import TrainingRun, prepare_images, propose_many

LOW = 0.01
"""A threshold of the score that leaves the choice to the curve."""
_APART = 1e6
"""Pixels between images that are judged as one; farther than any match."""


class Judge:
    """Picks of all images of a case against their truth, without the objects that do not count."""

    def __init__(self, case: FieldImage) -> None:
        self.case = case
        rows = [_beside(t.positions, number) for number, t in enumerate(case.truths)]
        whole = Truth(
            np.concatenate(rows),
            np.concatenate([t.rotation for t in case.truths]),
            np.concatenate([t.ignore for t in case.truths]),
        )
        self.places = whole.positions[~whole.ignore]
        self.rotation = whole.rotation[~whole.ignore]
        self.ignored = whole.positions[whole.ignore]

    def counted(self, found: NDArray[Any]) -> NDArray[np.bool_]:
        """Say which picks count: not those that match only an object which is ignored."""
        counts = np.ones(len(found), bool)
        if len(found) and len(self.ignored):
            matched = match_picks(found, self.places, self.case.tolerance).found
            near = match_picks(found, self.ignored, 2 * self.case.tolerance).found
            counts[np.setdiff1d(near, matched)] = False
        return counts

    def scores(self, found: NDArray[Any]) -> dict[str, float]:
        """Precision, recall and F1."""
        scores = pick_scores(found[self.counted(found)], self.places, self.case.tolerance)
        return {"precision": scores.precision, "recall": scores.recall, "f1": scores.f1}

    def best_f1(self, found: NDArray[Any], score: NDArray[Any]) -> float:
        """F1 at the threshold that the truth chooses."""
        counts = self.counted(found)
        return best_f1(found[counts], score[counts], self.places, self.case.tolerance).f1

    def angles(self, found: NDArray[Any], rotation: NDArray[Any]) -> dict[str, float]:
        """Median angle error in degrees beside that of one angle for all; NaN if unknown."""
        pairs = match_picks(found, self.places, self.case.tolerance)
        known = np.isfinite(self.rotation[pairs.truth])
        true = self.rotation[pairs.truth][known]
        if len(true) < 3:
            return {"angle_deg": np.nan, "angle_no_guess_deg": np.nan}
        ours = gauge_free_errors(rotation[pairs.found][known] - true, self.case.fold).median
        none = gauge_free_errors(-true, self.case.fold).median
        return {"angle_deg": ours, "angle_no_guess_deg": none}


def _beside(positions: NDArray[Any], number: int) -> NDArray[np.float64]:
    """Move positions of one of several images out of the others' way."""
    return np.asarray(positions, float).reshape(-1, 2) + np.array([0.0, number * _APART])


def measure_candidates(case: FieldImage, judge: Judge) -> dict[str, Any]:
    """Judge what training begins from."""
    began = time.perf_counter()
    try:
        proposed = propose_many(case.images, case.box_size)
    except ValueError as error:
        return {"candidates_error": str(error)}
    seconds = time.perf_counter() - began
    found = np.concatenate([_beside(p.positions, n) for n, p in enumerate(proposed)])
    scores = judge.scores(found)
    return {
        "candidates": len(found),
        "candidates_recall": scores["recall"],
        "candidates_precision": scores["precision"],
        "candidates_f1": scores["f1"],
        "polarity": proposed[0].polarity,
        "candidates_s": seconds,
    }


def measure_blob_log(case: FieldImage, judge: Judge) -> dict[str, Any]:
    """Judge blob_log; where there are several images, by their mean."""
    peers = []
    for image, truth in zip(case.images, case.truths, strict=True):
        grey = image.mean(-1) if image.ndim == 3 else image
        places = truth.positions[~truth.ignore]
        peers.append(blob_log_peer(grey, case.box_size, places, case.tolerance))
    return {
        "blob_log_f1": float(np.mean([peer.scores.f1 for peer in peers])),
        "blob_log_polarity": "dark" if peers[0].dark else "bright",
    }


def measure_model(case: FieldImage, judge: Judge, name: str, seed: int) -> dict[str, Any]:
    """Train, detect and judge."""
    run = TrainingRun(images=(name,), output="m.safetensors", box_size=case.box_size, seed=seed)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            prepared = prepare_images(run, case.images)
            saved, _ = learn(run, prepared, Path(scratch) / run.output)
        except ValueError as error:  # the product says that it can't
            return {"error": str(error), "f1": 0.0}
    trained = time.perf_counter()
    delivered = [finish(detect(saved, image)) for image in case.images]
    detected = time.perf_counter()
    low = DetectionConfig(threshold=LOW)
    everything = [finish(detect(saved, image, low)) for image in case.images]
    found = np.concatenate([_beside(p.positions, n) for n, p in enumerate(delivered)])
    every = np.concatenate([_beside(p.positions, n) for n, p in enumerate(everything)])
    return {
        "picks": len(found),
        **judge.scores(found),
        "best_f1": judge.best_f1(every, np.concatenate([p.score for p in everything])),
        **judge.angles(found, np.concatenate([p.rotation for p in delivered])),
        "train_s": trained - began,
        "detect_s": detected - trained,
    }


def measure(data: Path, name: str, seed: int, mode: str) -> dict[str, Any]:
    """Do one image and seed; runs in a process of its own, whose peak memory it tells."""
    case = field_images(data)[name](seed)
    judge = Judge(case)
    line: dict[str, Any] = {"image": name, "seed": seed, "mode": mode, "tier": case.tier}
    line["objects"] = len(judge.places)
    line |= measure_candidates(case, judge)
    if mode == "candidates":
        line |= measure_blob_log(case, judge)
    else:
        line |= measure_model(case, judge, name, seed)
    unit = 1 if sys.platform == "darwin" else 1024
    line["memory_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    return {key: _plain(value) for key, value in line.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value


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
    """Print a row an image, the medians over its seeds, and the board's own figures."""
    oracle = {line["image"]: line for line in lines if "blob_log_f1" in line}
    trained = [line for line in lines if line["mode"] == "model"]
    rows = []
    for name in dict.fromkeys(line["image"] for line in lines):
        mine = [line for line in trained if line["image"] == name]
        first = next(line for line in lines if line["image"] == name)
        row: dict[str, Any] = {"image": name, "n": first["objects"]}
        row["cand. recall"] = first.get("candidates_recall")
        row["cand. precision"] = first.get("candidates_precision")
        row["polarity"] = first.get("polarity")
        if trained:
            row["F1"] = _median(mine, "f1")
            row["spread"] = _spread(mine, "f1")
            row["best F1"] = _median(mine, "best_f1")
            row["angle"] = _median(mine, "angle_deg")
            row["no guess"] = _median(mine, "angle_no_guess_deg")
            row["train s"] = _median(mine, "train_s")
            row["detect s"] = _median(mine, "detect_s")
            row["GB"] = _median(mine, "memory_gb")
        row["blob_log"] = oracle.get(name, {}).get("blob_log_f1")
        rows.append(row)
    print_table(rows)
    for tier in ("main", "hard"):
        names = dict.fromkeys(line["image"] for line in trained if line["tier"] == tier)
        medians = [_median([x for x in trained if x["image"] == name], "f1") for name in names]
        scores = sorted(value for value in medians if value is not None)
        if scores:
            worst = ", ".join(f"{value:.2f}" for value in scores[:3])
            print(f"{tier}: median F1 {np.median(scores):.3f}, worst three {worst}")


def _median(lines: list[dict[str, Any]], name: str) -> float | None:
    values = [line[name] for line in lines if line.get(name) is not None]
    return float(np.median(values)) if values else None


def _spread(lines: list[dict[str, Any]], name: str) -> float | None:
    values = [line[name] for line in lines if line.get(name) is not None]
    return max(values) - min(values) if values else None


def main() -> None:
    """Measure what is not measured yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the images")
    parser.add_argument("--only", nargs="*", help="names of images")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--candidates", action="store_true", help="train nothing")
    parser.add_argument("--quick", action="store_true", help="one seed of eight small images")
    parser.add_argument("--output", type=Path, default=Path("field.jsonl"))
    parser.add_argument("--summary", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    names = [*field_images(arguments.data)]
    wanted = arguments.only or (small_images() if arguments.quick else names)
    if unknown := set(wanted) - set(names):
        parser.error(f"no image named {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    mode = "candidates" if arguments.candidates else "model"
    seeds = 1 if arguments.quick or arguments.candidates else arguments.seeds
    done = {(line["image"], line["seed"], line["mode"]) for line in read_lines(arguments.output)}
    todo = [(name, seed) for seed in range(seeds) for name in names if name in wanted]
    todo = [pair for pair in todo if (*pair, mode) not in done]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for name, seed in [] if arguments.summary else todo:
            print(f"{name}, seed {seed}", file=sys.stderr)
            line = pool.submit(measure, arguments.data, name, seed, mode).result()
            line |= {"commit": commit(), "machine": machine()}
            with arguments.output.open("a") as file:
                file.write(json.dumps(line) + "\n")
    summarize(read_lines(arguments.output))


if __name__ == "__main__":
    main()
