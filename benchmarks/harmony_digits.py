"""Harmony on ten digits, turned, shifted and scaled: the paper's section C.

    python benchmarks/harmony_digits.py [--seed 0] [--set NAME=VALUE ...]

One picture of each digit of MNIST, drawn by the seed, in 3,000 instances each: turned uniformly,
shifted by up to 3 pixels along each axis and scaled by up to 1.25 either way, in boxes of 32
pixels. Content has one dimension. All is judged on 300 further instances of each digit. Every
digit has a frame of its own, a rotation, a shift and a scale, which are removed; 0, 1 and 8 look
alike upside down, so rotation is judged modulo 180 degrees too.
"""

import argparse
from math import log, pi
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _data import CACHE, DATA, load_mnist
from _learn import learn
from _report import print_json, print_table
from numpy.typing import NDArray

from napari_equipose.evaluation import content_scores, gauge_free_errors, rotation_resultant
from napari_equipose.geometry import Poses, apply_poses
from napari_equipose.inference import Encoding, encode, finish
from napari_equipose.models import Normalisation
from napari_equipose.training import PreparedRun, TrainingRun, boxes_from_stack

BOX = 32
SHIFT = 3.0  # pixels
SCALE = 1.25
SMALLER = 0.8  # so that the largest instance fits into its box
PAPER = {"P(c|z)": 0.944, "SAP": 0.55}
SETTINGS = {"scale_range": 1.35, "epochs": 50, "validation_images": 1000}


class Instances:
    """Digits of known pose and scale: ``x_image = s R x_digit + t``."""

    def __init__(self, digits: NDArray[np.uint8], n: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.labels = np.repeat(np.arange(len(digits)), n)
        self.rotation = rng.uniform(-pi, pi, len(self.labels))
        self.translation = rng.uniform(-SHIFT, SHIFT, (len(self.labels), 2))
        self.log_scale = rng.uniform(-log(SCALE), log(SCALE), len(self.labels))
        still = torch.from_numpy(digits[self.labels] / np.float32(255)).unsqueeze(1)
        poses = Poses(
            torch.from_numpy(self.rotation).float(), torch.from_numpy(self.translation).float()
        )
        scale = torch.from_numpy(SMALLER * np.exp(self.log_scale)).float()
        self.images = apply_poses(still, poses, (BOX, BOX), scale).squeeze(1).numpy()


def one_of_each(folder: Path, seed: int) -> NDArray[np.uint8]:
    """Pick one picture of each digit."""
    digits, labels = load_mnist(folder)
    rng = np.random.default_rng([seed, 1])
    return digits[[rng.choice(np.flatnonzero(labels == digit)) for digit in range(10)]]


def judge(found: Encoding, truth: Instances) -> dict[str, Any]:
    """Measure what the paper does, and each transformation against the truth."""
    assert found.scale is not None
    log_scale = np.log(found.scale)
    others = np.column_stack((found.rotation, found.translation, log_scale))
    scores = content_scores(found.content, truth.labels, others)
    error = found.rotation - truth.rotation
    full = rotation_resultant(error, 1, truth.labels)
    half = rotation_resultant(error, 2, truth.labels)
    by_digit = [truth.labels == digit for digit in np.unique(truth.labels)]
    along = [np.corrcoef(log_scale[rows], truth.log_scale[rows])[0, 1] for rows in by_digit]
    return {
        "P(c|z)": scores.predictability,
        "SAP": scores.sap,
        "P_by_latent": scores.by_latent,
        "scale_correlation": float(np.mean(along)),
        "scale_correlation_least": float(np.min(along)),
        "rotation_full_turn": full.overall,
        "rotation_modulo_180": half.overall,
        "median_deg": gauge_free_errors(error, 1, truth.labels).median,
        "median_deg_modulo_180": gauge_free_errors(error, 2, truth.labels).median,
        "full_turn": {digit: round(value, 3) for digit, value in full.by_group.items()},
        "modulo_180": {digit: round(value, 3) for digit, value in half.by_group.items()},
        "scale": {digit: round(float(value), 3) for digit, value in enumerate(along)},
    }


def main() -> None:
    """Train, judge, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, default=DATA / "mnist", help="folder of idx.gz files")
    parser.add_argument("--instances", type=int, default=3000, help="of each digit, to learn from")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--minutes", type=float, help="at most")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, default=CACHE / "harmony_digits.safetensors")
    arguments = parser.parse_args()
    digits = one_of_each(arguments.mnist, arguments.seed)
    known = Instances(digits, arguments.instances, seed=2 * arguments.seed)
    new = Instances(digits, 300, seed=2 * arguments.seed + 1)
    run = TrainingRun(
        images=("ten digits",),
        output=arguments.output.name,
        model="harmony",
        preset=arguments.preset,
        minutes=arguments.minutes,
        seed=arguments.seed,
        device=arguments.device,
        settings=SETTINGS | dict(text.split("=", 1) for text in arguments.set),
    )
    # An instance's own contrast would depend on its size, and a background that is not zero would
    # end at the edge of the box: pixels stay from 0 to 1, as the digits have them.
    as_they_are = Normalisation(kind="shared")
    boxes, positions = boxes_from_stack(known.images, as_they_are)
    model, training = run.configurations(
        box_size=BOX, channels=1, n_images=len(boxes), likelihood="gaussian"
    )
    prepared = PreparedRun(boxes, model, training, as_they_are, positions)
    arguments.output.parent.mkdir(exist_ok=True)
    saved, _ = learn(run, prepared, arguments.output)
    result = judge(finish(encode(saved, new.images, device=arguments.device)), new)
    shown = ("P(c|z)", "SAP", "scale_correlation", "rotation_full_turn", "rotation_modulo_180")
    shown += ("median_deg", "median_deg_modulo_180")
    minutes = saved.record["seconds"] / 60
    print_table(
        [
            {"": "the paper's", **{name: PAPER.get(name, "") for name in shown}, "minutes": ""},
            {"": "ours", **{name: result[name] for name in shown}, "minutes": minutes},
        ]
    )
    print(f"full turn {result['full_turn']}, modulo 180 degrees {result['modulo_180']}")
    print(f"scale {result['scale']}")
    print_json(
        "harmony_digits",
        {
            "seed": arguments.seed,
            "settings": run.settings,
            "instances": arguments.instances,
            "epochs": saved.record["epochs"],
            "minutes": minutes,
            **result,
        },
    )


if __name__ == "__main__":
    main()
