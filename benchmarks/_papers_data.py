"""Data sets of the papers' tables: images to learn from, images to judge by, and their truth."""

import subprocess
import sys
from collections.abc import Callable
from math import pi
from typing import NamedTuple

import numpy as np
import pandas as pd
from _data import CACHE, DATA, PosedDigits, load_mnist, mnist_n, mnist_u, simulated, split_pictures
from harmony_digits import Instances, one_of_each
from harmony_structures import SYMMETRY
from numpy.typing import NDArray

from napari_equipose.io import pose_table
from napari_equipose.models import Normalisation
from napari_equipose.simulation import turn_pictures

TOOLS = DATA.parent / "tools"


class Turns(NamedTuple):
    """Some pictures, each as it stands and in many turns."""

    images: NDArray[np.float32]  # (pictures, 1 + turns, y, x), the first as it stands
    turned: NDArray[np.float64]  # (pictures, turns) radians
    labels: NDArray[np.uint8]  # (pictures,)


class DataSet(NamedTuple):
    """What a system learns from and is judged by."""

    train: NDArray[np.float32]
    test: NDArray[np.float32]
    truth: pd.DataFrame
    """Of the test images, as `evaluate_tables` reads it."""
    at_rest: NDArray[np.float32] | None = None
    """The training images without their poses, for systems that may be told them."""
    normalisation: Normalisation | None = None
    """Where pixels must stay as they are."""
    turns: Callable[[], Turns] | None = None
    test_at_rest: Callable[[], NDArray[np.float32]] | None = None
    """The test images without their poses."""


def _posed(rotation: NDArray[np.float64], translation: NDArray[np.float64]) -> pd.DataFrame:
    return pose_table(rotation, translation).drop(columns=["score", "class"])


def _digits(train: PosedDigits, test: PosedDigits) -> DataSet:
    truth = _posed(test.rotation, test.translation)
    truth["class"] = test.labels

    def turns(of_each: int = 10, n: int = 160) -> Turns:
        """Turn the first ten of each digit as the paper's appendix A.3 does all of them."""
        rows = np.concatenate([np.flatnonzero(test.labels == d)[:of_each] for d in range(10)])
        digits, _ = load_mnist()
        turned = np.random.default_rng(0).uniform(0, 2 * pi, (len(rows), n))
        angle = np.concatenate((np.zeros((len(rows), 1)), turned), 1)
        # about the middle of the box: y points down, and angles are counter-clockwise
        y, x = test.translation[rows].T[:, :, None]
        moved = (y * np.cos(angle) - x * np.sin(angle), y * np.sin(angle) + x * np.cos(angle))
        images = turn_pictures(
            np.repeat(digits[test.source[rows]], n + 1, 0),
            (test.rotation[rows, None] + angle).ravel(),
            np.stack(moved, -1).reshape(-1, 2),
            test.images.shape[-1],
        )
        return Turns(images.reshape(len(rows), n + 1, *images.shape[1:]), turned, test.labels[rows])

    def at_rest() -> NDArray[np.float32]:
        digits, _ = load_mnist()
        still = np.zeros(len(test.source)), np.zeros((len(test.source), 2))
        return turn_pictures(digits[test.source], *still, test.images.shape[-1])

    return DataSet(train.images, test.images, truth, turns=turns, test_at_rest=at_rest)


def _mce_digits(shift: float, seed: int) -> DataSet:
    """Digits of 28 pixels turned by up to 90 degrees either way, shifted by up to ``shift``."""
    digits, labels = load_mnist()
    parts = split_pictures(len(digits), 50_000, 10_000, seed, False)
    rng = np.random.default_rng([seed, 3])
    posed = []
    for rows in parts:
        rotation = rng.uniform(-pi / 2, pi / 2, len(rows))
        translation = rng.uniform(-shift, shift, (len(rows), 2))
        images = turn_pictures(digits[rows], rotation, translation, 28)
        posed.append((images, rotation, translation))
    # the middle of a picture of 28 pixels lies between pixels; so it does at rest
    still = turn_pictures(digits[parts[0]], *(0 * value for value in posed[0][1:]), 28)
    truth = _posed(*posed[1][1:])
    truth["class"] = labels[parts[1]]
    return DataSet(posed[0][0], posed[1][0], truth, at_rest=still)


def _hinge(seed: int) -> DataSet:
    """20,000 images of a hinge in 20 conformations, turned uniformly, 40 pixels."""
    path = CACHE / f"hinge_seed{seed}.npz"
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        script = str(TOOLS / "sim_conformations.py")
        command = [sys.executable, script, str(path), "--n", "20000", "--seed", str(seed)]
        subprocess.run(command, check=True, stdout=2)
    with np.load(path) as made:
        images, conformation, clockwise = made["images"], made["conformation"], made["theta"]
    cut = 16_000
    rotation = -clockwise[cut:]
    truth = _posed(rotation, np.zeros((len(rotation), 2)))
    truth["conformation"] = conformation[cut:]
    return DataSet(images[:cut], images[cut:], truth)


def _sprites(seed: int) -> DataSet:
    """20,000 of the images of dSprites: squares, ellipses and hearts of six sizes, 64 pixels."""
    path = CACHE / f"dsprites_20000_seed{seed}.npz"
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        script = str(TOOLS / "gen_dsprites.py")
        command = [sys.executable, script, str(path), "--subset", "20000", "--seed", str(seed)]
        subprocess.run(command, check=True, stdout=2)
    with np.load(path) as made:
        images, values = made["imgs"].astype(np.float32), made["latents_values"]
    order = np.random.default_rng([seed, 4]).permutation(len(images))  # they lie by shape
    known, new = order[:18_000], order[18_000:]
    shape, size, clockwise, x, y = values[new, 1:].T
    centre = 15.5 + 32 * np.stack((y, x), 1) - images.shape[1] // 2
    truth = _posed(-clockwise, centre)
    truth["class"], truth["size"] = shape.astype(int) - 1, size
    return DataSet(images[known], images[new], truth)


def _ten_digits(seed: int) -> DataSet:
    digits = one_of_each(DATA / "mnist", seed)
    known, new = Instances(digits, 3000, 2 * seed), Instances(digits, 300, 2 * seed + 1)
    truth = _posed(new.rotation, new.translation)
    truth["class"], truth["scale"] = new.labels, np.exp(new.log_scale)
    return DataSet(known.images, new.images, truth, normalisation=Normalisation(kind="shared"))


def _subtomograms(snr: float, seed: int) -> DataSet:
    script = TOOLS / "sim_subtomograms.py"
    CACHE.mkdir(exist_ok=True)
    made = simulated(script, CACHE, list(SYMMETRY), snr, 200, seed)
    truth = _posed(made.rotation, made.translation)
    truth["class"] = made.classes
    return DataSet(made.volumes, made.volumes, truth)


def _of_split(make: Callable[..., tuple[PosedDigits, PosedDigits]]) -> Callable[[int], DataSet]:
    return lambda seed: _digits(*make(seed=seed))


DATA_SETS: dict[str, Callable[[int], DataSet]] = {
    "MNIST(N)": _of_split(mnist_n),
    "MNIST(U)": _of_split(mnist_u),
    "SE(2) MNIST": lambda seed: _mce_digits(7.0, seed),
    "SO(2) MNIST": lambda seed: _mce_digits(0.0, seed),
    "hinge": _hinge,
    "dSprites": _sprites,
    "ten digits": _ten_digits,
    **{
        f"SNR {snr:g}": (lambda seed, snr=snr: _subtomograms(snr, seed))
        for snr in (100, 0.1, 0.05, 0.03, 0.01)
    },
}
