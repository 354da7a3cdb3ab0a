"""Walk along the content of a hinge, and see whether its conformations come in order.

    python benchmarks/hinge_path.py [--steps 3500] [--frames 40] [--seed 0] [--gif FILE]

spatial-VAE learns from 16,000 images of half an IgG1 in 20 conformations, 2 degrees apart, turned
at random, with noise (SNR 1), and is told nothing of either. Its content is one number, so a path
through the latent space is a walk from its least to its largest. The walk is judged twice: by the
content of 4,000 other images, whose conformation is known, and by the movie that is drawn along it,
each frame by the true conformation that it looks most like in any rotation. The trained model is
kept in benchmarks/.cache.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from _data import CACHE
from _learn import learn
from _papers_data import DATA_SETS
from _report import print_json, print_table
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage
from scipy.stats import pearsonr, spearmanr

from napari_equipose.inference import draw_path, encode, finish
from napari_equipose.models import SavedModel, load_model
from napari_equipose.training import TrainingRun, checkpoint_path, prepare_stack

_STEP_DEG = 2.0
_TURN_DEG = 2.0
_FINE = 2  # steps to a pixel
_FARTHEST = 8  # steps
_ENDS = (2.5, 97.5)  # percentiles of the content, where the walk begins and ends
_OVERSAMPLED = 3
_ZOOM, _GREYS = 2, 30


def learned(train: NDArray[np.float32], steps: int, seed: int) -> SavedModel:
    """Train, or recall what was trained."""
    output = CACHE / f"hinge_path_{steps}_seed{seed}.safetensors"
    if output.exists() and not checkpoint_path(output).exists():
        return load_model(output)
    run = TrainingRun(
        images=("hinge",),
        output=output.name,
        model="spatial-vae",
        preset="fast",
        content_dim=1,
        seed=seed,
        device="cpu",
        settings={"steps_per_epoch": 100, "epochs": -(-steps // 100), "content_delay": 10},
    )
    return learn(run, prepare_stack(run, train), output)[0]


class Alike(NamedTuple):
    """The true conformation that each frame of a movie looks most like."""

    conformation: NDArray[np.int64]  # (frames,)
    correlation: NDArray[np.float64]  # (frames,) with it
    pairs: NDArray[np.float64]  # (frames, y, x), the frame and the truth side by side


def most_alike(film: NDArray[np.float32], templates: NDArray[np.float32]) -> Alike:
    """Compare frames with all conformations in all turns.

    A model's frame is arbitrary: shifts of a few pixels are tried as well, in steps of a half.
    """
    fine = np.stack([ndimage.zoom(one, _FINE, grid_mode=True, mode="nearest") for one in film])
    step = _FINE / _OVERSAMPLED
    true = np.stack([ndimage.zoom(one, step, grid_mode=True, mode="nearest") for one in templates])
    turns = np.arange(0, 360, _TURN_DEG)
    turned = np.stack([_turned(true, turn) for turn in turns], 1).reshape(-1, *true.shape[1:])
    known = np.fft.rfft2(_standard(turned)).conj().astype(np.complex64)
    near = np.r_[0 : _FARTHEST + 1, -_FARTHEST:0]
    label, alike, pairs = [], [], []
    for frame in _standard(fine):
        spectrum = np.fft.rfft2(frame).astype(np.complex64)
        fits = fft.irfft2(spectrum * known, s=frame.shape)[:, near][:, :, near]
        row, y, x = np.unravel_index(fits.argmax(), fits.shape)
        label.append(row // len(turns))
        alike.append(fits.max())
        beside = np.roll(turned[row], (near[y], near[x]), (0, 1))
        pairs.append(np.concatenate((frame, _standard(beside[None])[0]), 1))
    return Alike(np.array(label), np.array(alike), np.stack(pairs))


def _turned(pictures: NDArray[np.float32], degrees: float) -> NDArray[np.float64]:
    """Turn pictures about their centre pixel."""
    angle, middle = np.radians(degrees), np.full(2, pictures.shape[-1] // 2)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    offset = middle - matrix @ middle
    return np.stack([ndimage.affine_transform(one, matrix, offset, order=1) for one in pictures])


def _standard(pictures: NDArray[Any]) -> NDArray[np.float64]:
    centred = pictures - pictures.mean((1, 2), keepdims=True)
    return centred / np.linalg.norm(centred, axis=(1, 2), keepdims=True)


def write_movie(path: Path, pairs: NDArray[np.float64]) -> None:
    """Show what is drawn along the path, there and back, beside the truth it looks most like."""
    low, high = np.percentile(pairs, (1, 99.9))
    levels = np.round(_GREYS * np.clip((pairs - low) / (high - low), 0, 1)) * (255 // _GREYS)
    size = (pairs.shape[2] * _ZOOM, pairs.shape[1] * _ZOOM)
    grey = [Image.fromarray(frame).resize(size) for frame in levels.astype(np.uint8)]
    there = [frame.quantize(_GREYS + 1) for frame in grey]
    frames = there + there[-2:0:-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=120, loop=0)


def main() -> None:
    """Train, walk, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3500)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--gif", type=Path, help="where to write the movie")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = DATA_SETS["hinge"](arguments.seed)
    with np.load(CACHE / f"hinge_seed{arguments.seed}.npz") as made:
        templates = made["templates"]
    saved = learned(data.train, arguments.steps, arguments.seed)
    found = finish(encode(saved, data.test, device="cpu"))
    content, angle = found.content[:, 0], _STEP_DEG * data.truth["conformation"].to_numpy()
    ends = np.percentile(content, _ENDS)
    film = finish(draw_path(saved, ends[:, None], arguments.frames))
    alike = most_alike(film, templates)
    place = np.arange(arguments.frames)
    rows = [
        {
            "judged by": name,
            "n": len(one),
            "rank correlation": abs(float(spearmanr(one, other).statistic)),
            "correlation": abs(float(pearsonr(one, other).statistic)),
        }
        for name, one, other in (
            ("content of other images", content, angle),
            ("frames of the movie", place, alike.conformation),
        )
    ]
    print_table(rows)
    spanned = float(_STEP_DEG * np.ptp(alike.conformation))
    print(f"the movie spans {spanned:g} of {_STEP_DEG * 19:g} degrees")
    if arguments.gif:
        write_movie(arguments.gif, alike.pairs[::2])  # every other frame: a small file
    print_json(
        "hinge_path",
        {
            "steps": arguments.steps,
            "seed": arguments.seed,
            "rows": rows,
            "conformation_of_frames": alike.conformation,
            "alike": float(alike.correlation.mean()),
            "spanned_deg": spanned,
            "minutes": saved.record.get("seconds", 0.0) / 60,
        },
    )


if __name__ == "__main__":
    main()
