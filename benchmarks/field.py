"""The field board: images that nothing was tuned on, told nothing but the size of their objects.

    python benchmarks/field.py [--candidates | --quick | --nonsense] [--only NAME ...]
                               [--seeds 3] [--first-seed 0] [--examples N] [--apple PYTHON]
                               [--output field.jsonl] [--summary] [--markdown PAGE.md]
                               [--json FILE.json]

Each image is trained on by a plain ``equipose train`` with the box size that a user would type,
and the objects are detected at the model's own threshold. Beside it stand the candidates that
training began from, and blob_log, told its best size, polarity and threshold by the truth (one
scale at a time). Published images are the same for every seed; the micrographs and the scene of
digits are made anew, and the box that is told of a micrograph is 0.8 to 1.3 of the right one.
``--first-seed 100`` judges on micrographs that nobody has seen.

``--candidates`` trains nothing and takes minutes, ``--quick`` is one seed of eight small images.
``--examples N`` gives N true objects as examples, with an error of 3 % of the box: what a user
clicks. They count as found, as they do for the user. ``--nonsense`` shows it images in which
nothing recurs, and expects a refusal. ``--apple`` names the Python of an environment with
``aspire``, whose APPLE picker then joins ``--candidates`` on micrographs, at the best of eight
settings.

Every image and seed becomes a line of JSON in the output as soon as it is done, and what is
already there is not done again, so that a full run may take several sittings; a line holds for
the commit that it names. The peers stay as they are and are taken from the lines of ``--peers``,
by default the committed baseline. ``--summary`` prints the tables of what is there: medians over
seeds, spread, and for each tier the worst three, wrong polarities, images below blob_log, and the
rate of false picks beside the rate that thresholds were set at.

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
from typing import Any, NamedTuple

import numpy as np
from _apple import apple_picks
from _data import DATA, REPOSITORY
from _field_images import (
    FRESH,
    FieldImage,
    Truth,
    field_images,
    nonsense_images,
    small_images,
)
from _field_summary import sections, write_markdown
from _learn import learn
from _report import blob_log_peer, machine, print_table
from numpy.typing import NDArray

from napari_equipose.evaluation import best_f1, gauge_free_errors, match_picks, pick_scores
from napari_equipose.geometry import InputError
from napari_equipose.inference import DetectionConfig, detect, finish
from napari_equipose.training import (
    StepReport,
    TrainingRun,
    prepare_images,
    propose_many,
    train_prepared,
)

BASELINE = REPOSITORY / "docs" / "results" / "field-baseline.json"
"""What the board said before it judged any change."""
LOW = 0.01
"""A threshold of the score that leaves the choice to the curve."""
_PEERS = (
    *("box_size", "objects"),
    *("blob_log_f1", "blob_log_polarity", "apple_f1", "apple_s"),
)
CLICK = 0.03
"""Standard deviation of a click, in boxes."""
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


def choose_examples(case: FieldImage, n: int, seed: int) -> list[NDArray[np.float64] | None]:
    """Click on ``n`` true objects, each off by 3 % of the box; for each image None or (n, 2)."""
    rng = np.random.default_rng([seed, 3])
    places = [truth.positions[~truth.ignore] for truth in case.truths]
    image = np.repeat(np.arange(len(places)), [len(each) for each in places])
    chosen = rng.permutation(len(image))[:n]
    clicks = np.concatenate(places)[chosen] + rng.normal(0, CLICK * case.box_size, (len(chosen), 2))
    each = [clicks[image[chosen] == number] for number in range(len(places))]
    return [clicked if len(clicked) else None for clicked in each]


def measure_candidates(case: FieldImage, judge: Judge, examples: dict[str, Any]) -> dict[str, Any]:
    """Judge what training begins from."""
    began = time.perf_counter()
    try:
        proposed = propose_many(case.images, case.box_size, **examples)
    except ValueError as error:
        return {"candidates_error": str(error)}
    seconds = time.perf_counter() - began
    found = np.concatenate([_beside(p.positions, n) for n, p in enumerate(proposed)])
    scores = judge.scores(found)
    scores["best_f1"] = judge.best_f1(found, np.concatenate([p.scores for p in proposed]))
    rotation = np.concatenate([p.rotation for p in proposed])
    if np.isfinite(rotation).all():  # in noise nothing tells it yet
        scores |= judge.angles(found, rotation)
    return {
        "candidates": len(found),
        **{f"candidates_{name}": value for name, value in scores.items()},
        "polarity": proposed[0].polarity,
        "candidates_s": seconds,
    }


def measure_peers(case: FieldImage, judge: Judge, apple: str | None) -> dict[str, Any]:
    """Judge blob_log; where there are several images, by their mean. And APPLE of micrographs."""
    peers = []
    for image, truth in zip(case.images, case.truths, strict=True):
        grey = image.mean(-1) if image.ndim == 3 else image
        own = Judge(case._replace(truths=[truth]))
        peer = blob_log_peer(grey, case.box_size, own.places, case.tolerance, own.counted)
        peers.append(peer)
    result = {
        "blob_log_f1": float(np.mean([peer.scores.f1 for peer in peers])),
        "blob_log_polarity": "dark" if peers[0].dark else "bright",
    }
    if case.particle_diameter is not None:
        result["apple_f1"] = np.nan
        began = time.perf_counter()
        if apple and (picks := apple_picks(apple, case.images[0], case.particle_diameter)):
            result["apple_f1"] = max(judge.scores(found)["f1"] for found in picks)
            result["apple_s"] = time.perf_counter() - began
    return result


def measure_model(
    case: FieldImage, judge: Judge, name: str, seed: int, examples: dict[str, Any]
) -> dict[str, Any]:
    """Train, detect and judge."""
    run = TrainingRun(images=(name,), output="m.safetensors", box_size=case.box_size, seed=seed)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            prepared = prepare_images(run, case.images, **examples)
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
    result = {
        "picks": len(found),
        **judge.scores(found),
        "best_f1": judge.best_f1(every, np.concatenate([p.score for p in everything])),
        **judge.angles(found, np.concatenate([p.rotation for p in delivered])),
        "false_discovery_rate_set": saved.record.get("false_discovery_rate"),
        "train_s": trained - began,
        "detect_s": detected - trained,
    }
    if polarity := saved.record.get("polarity") or saved.normalisation.polarity:
        result["polarity"] = polarity
    return result


def measure_nonsense(name: str, seed: int) -> dict[str, Any]:
    """Ask for objects where there are none; to be told so before any step of training is right."""
    image, box_size = nonsense_images()[name](seed)
    run = TrainingRun(images=(name,), output="m.safetensors", box_size=box_size, seed=seed)
    line = {"image": name, "seed": seed, "mode": "nonsense"}
    began = time.perf_counter()
    try:
        prepared = prepare_images(run, [image])
        with tempfile.TemporaryDirectory() as scratch:
            job = train_prepared(prepared, output=Path(scratch) / run.output)
            next(report for report in job if isinstance(report, StepReport))
            job.close()
        verdict = {"refused": False, "said": f"would train on {len(prepared.boxes)} boxes"}
    except InputError as error:
        verdict = {"refused": True, "said": str(error)}
    return line | verdict | {"seconds": round(time.perf_counter() - began, 1)}


class Task(NamedTuple):
    """One line to be."""

    image: str
    seed: int
    mode: str
    """"model", "candidates" or "nonsense"."""
    examples: int = 0


def known_peers(task: Task, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Find what the peers made of an image; they don't change as we do."""
    for line in lines:
        if (line["image"], line["seed"]) == task[:2] and "blob_log_f1" in line:
            return {name: line[name] for name in _PEERS if name in line}
    return {}


def measure(task: Task, data: Path, apple: str | None, peers: dict[str, Any]) -> dict[str, Any]:
    """Do one image and seed; runs in a process of its own, whose peak memory it tells."""
    name, seed, mode, n_examples = task
    if mode == "nonsense":
        return measure_nonsense(name, seed)
    case = field_images(data)[name](seed)
    judge = Judge(case)
    line: dict[str, Any] = {"image": name, "seed": seed, "mode": mode, "examples": n_examples}
    line |= {"tier": case.tier, "fresh": name in FRESH, "box_size": case.box_size}
    line |= {"objects": len(judge.places), "true_polarity": case.polarity}
    examples = {"examples": choose_examples(case, n_examples, seed)} if n_examples else {}
    line |= measure_candidates(case, judge, examples)
    if mode == "model":
        line |= measure_model(case, judge, name, seed, examples)
    unit = 1 if sys.platform == "darwin" else 1024
    line["memory_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    same = all(peers.get(name) == line[name] for name in ("box_size", "objects"))
    if same and not (apple and case.particle_diameter and peers.get("apple_f1") is None):
        line |= peers
    elif mode == "candidates":
        line |= measure_peers(case, judge, apple)
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
    """Read what was measured before, a line each, or all in the one object of ``--json``."""
    if not path.exists():
        return []
    if path.suffix == ".json":
        lines: list[dict[str, Any]] = json.loads(path.read_text())["lines"]
        return lines
    return [json.loads(text) for text in path.read_text().splitlines() if text.strip()]


def summarize(lines: list[dict[str, Any]]) -> None:
    """Print the tables of what is there."""
    for title, rows in sections(lines):
        print(f"\n{title}")
        print_table(rows)


def tasks(arguments: argparse.Namespace, names: list[str]) -> list[Task]:
    """List what is asked for; a published image's candidates are the same for every seed."""
    first = arguments.first_seed
    seeds = range(first, first + (1 if arguments.quick else arguments.seeds))
    if arguments.nonsense:
        return [Task(name, seed, "nonsense") for seed in seeds for name in names]
    mode = "candidates" if arguments.candidates else "model"
    return [
        Task(name, seed, mode, arguments.examples)
        for seed in seeds
        for name in names
        if seed == first or mode == "model" or name in FRESH or arguments.examples
    ]


def main() -> None:
    """Measure what is not measured yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the images")
    parser.add_argument("--only", nargs="*", help="names of images")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first-seed", type=int, default=0, help="others make other micrographs")
    parser.add_argument("--examples", type=int, default=0, help="true objects that are told")
    parser.add_argument("--candidates", action="store_true", help="train nothing")
    parser.add_argument("--quick", action="store_true", help="one seed of eight small images")
    parser.add_argument("--nonsense", action="store_true", help="images in which nothing recurs")
    parser.add_argument("--apple", metavar="PYTHON", help="of an environment with aspire")
    parser.add_argument(
        "--peers", type=Path, default=BASELINE, help="lines whose figures of peers are taken over"
    )
    parser.add_argument("--output", type=Path, default=Path("field.jsonl"))
    parser.add_argument("--summary", action="store_true", help="measure nothing")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file")
    parser.add_argument("--json", type=Path, help="write the lines to this file")
    arguments = parser.parse_args()
    known = [*(nonsense_images() if arguments.nonsense else field_images(arguments.data))]
    wanted = arguments.only or (small_images() if arguments.quick else known)
    if unknown := set(wanted) - set(known):
        parser.error(f"no image named {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    lines = read_lines(arguments.output)
    peers = [*lines, *read_lines(arguments.peers)]
    done = {(x["image"], x["seed"], x["mode"], x.get("examples", 0)) for x in lines}
    todo = [
        task for task in tasks(arguments, [n for n in known if n in wanted]) if task not in done
    ]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for task in [] if arguments.summary else todo:
            print(f"{task.image}, seed {task.seed}", file=sys.stderr)
            known_of_task = known_peers(task, peers)
            job = pool.submit(measure, task, arguments.data, arguments.apple, known_of_task)
            line = job.result()
            line |= {"commit": commit(), "machine": machine()}
            with arguments.output.open("a") as file:
                file.write(json.dumps(line) + "\n")
    lines = read_lines(arguments.output)
    summarize(lines)
    if arguments.markdown:
        write_markdown(arguments.markdown, lines)
    if arguments.json:
        with arguments.json.open("w") as file:
            json.dump({"benchmark": "field", "lines": lines}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
