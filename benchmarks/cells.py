"""Find the cells of any image that comes with masks, without labels, and judge by the masks.

    python benchmarks/cells.py IMAGE MASKS --box-size 56 [--tolerance 15] [--seed 0]

For images that nothing was chosen on: all settings are those of a plain ``equipose train`` with
the box size, and the threshold is the model's own. Matches lie within the tolerance, a cell's
width; angles are those of the masks' second moments, modulo 180 degrees. blob_log is given its
best size, polarity and threshold.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from _learn import learn
from _report import blob_log_peer, print_json, print_table

from napari_equipose.evaluation import (
    gauge_free_errors,
    match_picks,
    objects_from_masks,
    pick_scores,
)
from napari_equipose.inference import detect, finish
from napari_equipose.io import read_image
from napari_equipose.training import TrainingRun, prepare_images


def main() -> None:
    """Train on the image, find, judge; print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("masks", type=Path, help="an image of labels, 0 is background")
    parser.add_argument("--box-size", type=int, required=True)
    parser.add_argument("--tolerance", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    image = np.asarray(read_image(arguments.image).data)
    grey = image.mean(-1) if image.ndim == 3 else image
    truth = objects_from_masks(np.asarray(read_image(arguments.masks).data))
    run = TrainingRun(
        images=(arguments.image.name,),
        output="model.safetensors",
        box_size=arguments.box_size,
        seed=arguments.seed,
    )
    with tempfile.TemporaryDirectory() as scratch:
        saved, _ = learn(run, prepare_images(run, [grey]), Path(scratch) / run.output)
    picks = finish(detect(saved, grey))
    scores = pick_scores(picks.positions, truth.positions, arguments.tolerance)
    pairs = match_picks(picks.positions, truth.positions, arguments.tolerance)
    error = picks.rotation[pairs.found] - truth.angle[pairs.truth]
    angle = gauge_free_errors(error, fold=2).median
    peer = blob_log_peer(grey, arguments.box_size, truth.positions, arguments.tolerance).scores
    columns = ("precision", "recall", "f1")
    rows = [
        {"method": "ours, as delivered", **{name: getattr(scores, name) for name in columns}},
        {"method": "blob_log, best", **{name: getattr(peer, name) for name in columns}},
    ]
    print_table(rows)
    print(
        f"{len(picks.score)} objects found of {len(truth.positions)}, angle error {angle:.1f} deg"
    )
    results = {"f1": scores.f1, "blob_log_best_f1": peer.f1, "median_angle_error_deg": angle}
    print_json("cells", {"image": arguments.image.name, "seed": arguments.seed, **results})


if __name__ == "__main__":
    main()
