"""Content and pose beside the number of images: a hinge by spatial-VAE, digits by TARGET-VAE.

    python benchmarks/field_content.py [--only hinge digits] [--sizes N ...] [--seeds 0 1 2]
                                       [--set NAME=VALUE ...] [--output content.jsonl] [--summary]

The hinge is that of hinge_path.py: half an IgG1 in 20 conformations, turned at random, SNR 1; one
number of content is judged by its correlation with the conformation of 2,000 other images. The
digits are MNIST(U) of digits.py, judged on 2,000 others, drawn at random. Preset *fast*, nothing
told but the images; ``--set`` changes settings, for ablations.

Every size and seed becomes a line of JSON in the output as soon as it is done, and what is already
there with the same settings is not done again; ``--summary`` prints the table of what is there.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _data import PosedDigits, mnist_u
from _learn import learn
from _papers_data import DATA_SETS
from _report import machine, print_table
from digits import judge
from field import commit, read_lines
from numpy.typing import NDArray
from scipy.stats import pearsonr

from napari_equipose.evaluation import rotation_resultant
from napari_equipose.inference import encode, finish
from napari_equipose.models import SavedModel
from napari_equipose.training import TrainingRun, prepare_stack

SIZES = {"hinge": (1_000, 2_000, 5_000, 16_000), "digits": (500, 1_000, 5_000, 10_000, 20_000)}
"""Of the training sets; the simulated hinge has 20,000 images, of which 4,000 are to judge by."""
JUDGED = 2_000


def hinge(n: int, seed: int) -> tuple[NDArray[Any], Callable[[SavedModel], dict[str, float]]]:
    """Images of a hinge to train on, and what judges a model of them."""
    data = DATA_SETS["hinge"](seed)
    truth = data.truth.iloc[:JUDGED]

    def judged(saved: SavedModel) -> dict[str, float]:
        found = finish(encode(saved, data.test[:JUDGED], device="cpu"))
        error = found.rotation - np.radians(truth["rotation"].to_numpy())
        return {
            "content": abs(float(pearsonr(found.content[:, 0], truth["conformation"]).statistic)),
            "full_turn": rotation_resultant(error, 1).overall,
            "half_turn": rotation_resultant(error, 2).overall,
        }

    return data.train[:n], judged


def digits(n: int, seed: int) -> tuple[NDArray[Any], Callable[[SavedModel], dict[str, float]]]:
    """Digits to train on, and what judges a model of them."""
    split = mnist_u(n_train=n, seed=seed, shuffled=True)
    few = PosedDigits(*(column[:JUDGED] for column in split.test))

    def judged(saved: SavedModel) -> dict[str, float]:
        result = judge(finish(encode(saved, few.images, device="cpu")), few)
        return {
            "content": result["ward"],
            "full_turn": result["full_turn_3679"],
            "half_turn": result["half_turn_1235789"],
            "translation": min(result["translation_y"], result["translation_x"]),
        }

    return split.train.images, judged


CASES: dict[str, Any] = {"hinge": (hinge, "spatial-vae", 1), "digits": (digits, "target-vae", 2)}


def measure(name: str, n: int, seed: int, settings: dict[str, str]) -> dict[str, Any]:
    """Train on so many images, and judge."""
    make, model, content_dim = CASES[name]
    images, judged = make(n, seed)
    run = TrainingRun(
        images=(name,),
        output="m.safetensors",
        model=model,
        content_dim=content_dim,
        seed=seed,
        device="cpu",
        settings=settings,
    )
    began = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        saved, _ = learn(run, prepare_stack(run, images), Path(scratch) / run.output)
        seconds = time.process_time() - began
        measures = {key: round(float(value), 4) for key, value in judged(saved).items()}
    return {
        **measures,
        "epochs": saved.record["epochs"],
        "best_epoch": saved.record["best_epoch"],
        "processor_s": round(seconds),
    }


def summarize(lines: list[dict[str, Any]]) -> None:
    """Print a row for each size and settings: the median over seeds, and all the seeds."""
    rows = []
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault(tuple(str(line[name]) for name in ("data", "n", "settings")), []).append(
            line
        )
    for mine in groups.values():
        row = {name: mine[0][name] for name in ("data", "n")}
        row["settings"] = " ".join(f"{k}={v}" for k, v in mine[0]["settings"].items())
        row["seeds"] = len(mine)
        for name in ("content", "full_turn", "half_turn", "translation", "processor_s"):
            values = [line[name] for line in mine if name in line]
            row[name] = float(np.median(values)) if values else None
            if name == "content":
                row["of each seed"] = " ".join(f"{value:.3f}" for value in values)
        rows.append(row)
    rows.sort(key=lambda row: (row["data"], row["n"]))
    print_table(rows)


def main() -> None:
    """Measure what is not measured yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=CASES, default=[*CASES])
    parser.add_argument("--sizes", nargs="*", type=int, help="numbers of images")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("content.jsonl"))
    parser.add_argument("--summary", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = dict(text.split("=", 1) for text in arguments.set)
    done = [_key(line) for line in read_lines(arguments.output)]
    wanted = [
        {"data": name, "n": n, "seed": seed, "settings": settings}
        for seed in arguments.seeds
        for name in arguments.only
        for n in arguments.sizes or SIZES[name]
    ]
    for line in [] if arguments.summary else wanted:
        if _key(line) in done:
            continue
        print(line, file=sys.stderr)
        line |= measure(line["data"], line["n"], line["seed"], settings)
        line |= {"commit": commit(), "machine": machine()}
        with arguments.output.open("a") as file:
            file.write(json.dumps(line) + "\n")
    summarize(read_lines(arguments.output))


def _key(line: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(line[name]) for name in ("data", "n", "seed", "settings"))


if __name__ == "__main__":
    main()
