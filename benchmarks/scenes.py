"""Find digits in scenes of many with a model that was trained on single ones.

    python benchmarks/scenes.py [MODEL]

MODEL is what benchmarks/digits.py wrote. Scenes are made, as in appendix A.4 of the TARGET-VAE
paper, from digits that the model was not trained on. Matches lie within 4 pixels; errors of
rotation are those of the matched 3, 6, 7 and 9, each digit's mean removed.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from _data import CACHE, load_mnist, split_pictures
from _report import print_json, print_table

from napari_equipose.evaluation import best_f1, gauge_free_errors, match_picks, pick_scores
from napari_equipose.inference import DetectionConfig, Picks, detect, finish
from napari_equipose.models import load_model
from napari_equipose.simulation import Scene, digit_scene

TOLERANCE = 4.0
TURNED = (3, 6, 7, 9)
SCENES: dict[str, dict[str, Any]] = {
    "no overlap": {"shape": (150, 150), "n": (4, 8)},
    "overlap up to a third": {"shape": (150, 150), "n": (4, 8), "overlap": 1 / 3},
    "200 digits in 2048 x 2048": {"shape": (2048, 2048), "n": 200},
}


def judge(scenes: list[Scene], picks: list[Picks]) -> dict[str, float]:
    """Measure all scenes of a kind as one, so that each object counts the same."""
    apart = 1e5  # scenes side by side, farther than any match
    truth = np.concatenate(
        [s.truth.positions + np.array([0, i * apart]) for i, s in enumerate(scenes)]
    )
    found = np.concatenate([p.positions + np.array([0, i * apart]) for i, p in enumerate(picks)])
    label, rotation = (
        np.concatenate([getattr(s.truth, name) for s in scenes]) for name in ("label", "rotation")
    )
    score, turn = (
        np.concatenate([getattr(p, name) for p in picks]) for name in ("score", "rotation")
    )
    pairs = match_picks(found, truth, TOLERANCE)
    kept = np.isin(label[pairs.truth], TURNED)
    first, second = pairs.found[kept], pairs.truth[kept]
    scores = pick_scores(found, truth, TOLERANCE)
    error = (
        gauge_free_errors(turn[first] - rotation[second], 1, label[second]) if kept.any() else None
    )
    return {
        "f1": scores.f1,
        "precision": scores.precision,
        "recall": scores.recall,
        "best_f1": best_f1(found, score, truth, TOLERANCE).f1,
        "angle_error_deg": error.median if error else float("nan"),
        "distance_px": float(np.median(pairs.distance)) if len(pairs.distance) else float("nan"),
    }


def main() -> None:
    """Make scenes, detect, judge, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?", default=CACHE / "digits.safetensors")
    parser.add_argument("--scenes", type=int, default=40, help="small scenes of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threshold", type=float, help="of the score; the default when not given")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    saved = load_model(arguments.model)
    config = DetectionConfig(threshold=arguments.threshold)
    digits, labels = load_mnist()
    # The test part of MNIST(U), which depends on these two numbers only.
    _, held_out = split_pictures(len(digits), 0, 10_000, seed=0, shuffled=False)
    results: dict[str, Any] = {}
    for kind, settings in SCENES.items():
        rng = np.random.default_rng(arguments.seed)
        count = 1 if settings["shape"][0] > 1000 else arguments.scenes
        scenes = [
            digit_scene(digits[held_out], labels[held_out], rng, **settings) for _ in range(count)
        ]
        began = time.perf_counter()
        picks = [finish(detect(saved, s.image, config, device=arguments.device)) for s in scenes]
        seconds = time.perf_counter() - began
        n = sum(len(s.truth.positions) for s in scenes)
        results[kind] = {"objects": n, **judge(scenes, picks), "seconds": round(seconds, 1)}
    print_table([{"scenes": kind, **result} for kind, result in results.items()])
    print_json(
        "scenes", {"model": saved.digest, "threshold": config.threshold or "the default", **results}
    )


if __name__ == "__main__":
    main()
