"""Train on turned and shifted digits, and judge poses and clusters on digits held out.

    python benchmarks/digits.py [--minutes 20] [--preset fast] [--content-dim 2] [-o MODEL]

The set is MNIST(U) of the TARGET-VAE paper: 50 x 50 pixels, rotation uniform, translation
N(0, 5 px); the first 50,000 digits of MNIST's training file are learnt from, and the last 10,000
are to judge by (2,000 of them on the way). Rotation is judged by the mean resultant length of its
error, digit by digit, so that a digit's own frame does not count; modulo 180 degrees too, for 1
and 8 look alike upside down.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from _data import CACHE, PosedDigits, mnist_u
from _learn import learn
from _report import print_json, print_table

from napari_equipose.evaluation import (
    circular_correlation,
    clustering_accuracy,
    rotation_resultant,
    translation_correlation,
)
from napari_equipose.inference import Encoding, encode, finish
from napari_equipose.models import SavedModel, load_model
from napari_equipose.training import TrainingRun, prepare_stack

FULL_TURN = (3, 6, 7, 9)
HALF_TURN = (1, 2, 3, 5, 7, 8, 9)


def judge(found: Encoding, truth: PosedDigits, ward: bool = True) -> dict[str, Any]:
    """Measure what the papers do, and what is sound."""
    error = found.rotation - truth.rotation
    full = rotation_resultant(error, 1, truth.labels).by_group
    half = rotation_resultant(error, 2, truth.labels).by_group
    along_y, along_x = translation_correlation(found.translation, truth.translation)
    result: dict[str, Any] = {
        "translation_y": float(along_y),
        "translation_x": float(along_x),
        "full_turn_3679": float(np.mean([full[d] for d in FULL_TURN])),
        "half_turn_1235789": float(np.mean([half[d] for d in HALF_TURN])),
        "full_turn": {d: round(full[d], 3) for d in FULL_TURN},
        "half_turn": {d: round(half[d], 3) for d in HALF_TURN},
        "circular_correlation": circular_correlation(found.rotation, truth.rotation),
    }
    if ward:
        result["ward"] = clustering_accuracy(found.content, truth.labels)
    return result


def encoded(saved: SavedModel, truth: PosedDigits, device: str) -> dict[str, Any]:
    """Judge a model."""
    return judge(finish(encode(saved, truth.images, device=device)), truth)


def main() -> None:
    """Train, judge, and print a table over time and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--epochs", type=int, help="the preset's by default")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--content-dim", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--train", type=int, default=50_000, help="digits to train on")
    parser.add_argument("--test", type=int, default=10_000, help="digits to judge by")
    parser.add_argument("--shuffled", action="store_true", help="test on digits drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--marks", type=float, nargs="*", default=[1, 2, 5, 10, 15])
    parser.add_argument("-o", "--output", type=Path, default=CACHE / "digits.safetensors")
    arguments = parser.parse_args()
    split = mnist_u(n_train=arguments.train, shuffled=arguments.shuffled)
    test = PosedDigits(*(column[: arguments.test] for column in split.test))
    few = PosedDigits(*(column[:2_000] for column in test))
    run = TrainingRun(
        images=("MNIST(U)",),
        output=arguments.output.name,
        preset=arguments.preset,
        content_dim=arguments.content_dim,
        minutes=arguments.minutes,
        epochs=arguments.epochs,
        seed=arguments.seed,
        device=arguments.device,
        settings=dict(text.split("=", 1) for text in arguments.set),
    )
    prepared = prepare_stack(run, split.train.images)
    saved, copies = learn(run, prepared, arguments.output, arguments.marks)
    curve = {}
    for mark, path in copies.items():
        curve[mark] = encoded(load_model(path), few, arguments.device)
        path.unlink()
    minutes = round(saved.record["seconds"] / 60, 1)
    final = encoded(saved, test, arguments.device)
    shown = ("translation_y", "translation_x", "full_turn_3679", "half_turn_1235789", "ward")
    rows = [
        {"minutes": mark, **{name: result[name] for name in shown}}
        for mark, result in [*curve.items(), (minutes, final)]
    ]
    print_table(rows)
    print(f"full turn {final['full_turn']}, modulo 180 degrees {final['half_turn']}")
    print_json(
        "digits",
        {
            "run": {"preset": run.preset, "content_dim": run.content_dim, "seed": run.seed},
            "settings": run.settings,
            "shuffled": arguments.shuffled,
            "likelihood": prepared.model_config.likelihood,
            "images": len(prepared.boxes),
            "test_images": len(test.images),
            "epochs": saved.record["epochs"],
            "minutes": minutes,
            "curve": curve,
            **final,
        },
    )


if __name__ == "__main__":
    main()
