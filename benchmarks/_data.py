"""Data sets of the benchmarks: MNIST from its published files, and what the papers make of it."""

import gzip
import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from math import pi
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from napari_equipose.geometry import swap_axis_order
from napari_equipose.simulation import rotated_digits

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("EQUIPOSE_DATA") or REPOSITORY.parent / "shared" / "data")
"""Where the data of the measurements are, unless a script is told otherwise."""
CACHE = REPOSITORY / "benchmarks" / ".cache"
"""Made data, kept between runs; git ignores it."""


class PosedDigits(NamedTuple):
    """Digits of known pose; ``x_image = R x_canonical + t``, see `rotated_digits`."""

    images: npt.NDArray[np.float32]  # (n, 50, 50) in [0, 1]
    rotation: npt.NDArray[np.float64]  # (n,) radians
    translation: npt.NDArray[np.float64]  # (n, 2) pixels, (y, x)
    labels: npt.NDArray[np.uint8]  # (n,) which digit
    source: npt.NDArray[np.int64]  # (n,) index of the picture in MNIST's training split


class DigitsSplit(NamedTuple):
    """No digit's picture is in both parts."""

    train: PosedDigits
    test: PosedDigits


class Simulated(NamedTuple):
    """Subtomograms by a simulator that is independent of the package's, and their true poses."""

    volumes: npt.NDArray[np.float32]  # (n, z, y, x)
    rotation: npt.NDArray[np.float64]  # (n, 3, 3), on (z, y, x)
    translation: npt.NDArray[np.float64]  # (n, 3) voxels (z, y, x)
    classes: npt.NDArray[np.int64]  # (n,) which structure
    references: npt.NDArray[np.float32]  # (structures, z, y, x)


def simulated(
    script: Path, folder: Path, structures: Sequence[str], snr: float, n: int, seed: int
) -> Simulated:
    """Run sim_subtomograms.py, for ``n`` boxes of 32 voxels of each structure."""
    prefix = folder / f"subtomograms_{snr:g}"
    options = ["--classes", ",".join(structures), "--per-class", str(n), "--snr", str(snr)]
    command = [sys.executable, str(script), str(prefix), *options, "--seed", str(seed)]
    subprocess.run(command, check=True, stdout=2)
    with np.load(prefix.with_name(f"{prefix.name}.npz")) as made:
        return Simulated(
            made["volumes"].astype(np.float32),
            swap_axis_order(made["matrix"]),
            made["shift_xyz"][:, ::-1].copy(),
            made["classes"],
            made["references"],
        )


def load_mnist(
    folder: Path = DATA / "mnist",
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Read MNIST's 60,000 training digits (n, 28, 28) and labels (n,) from its idx.gz files."""
    return (
        _read_idx(folder / "train-images-idx3-ubyte.gz"),
        _read_idx(folder / "train-labels-idx1-ubyte.gz"),
    )


def mnist_u(
    folder: Path = DATA / "mnist",
    *,
    n_train: int = 50_000,
    n_test: int = 10_000,
    seed: int = 0,
    shuffled: bool = False,
) -> DigitsSplit:
    """Make or recall MNIST(U): 50x50 pixels, rotation uniform, translation N(0, 5 px)."""
    return _posed(folder, "mnist_u", None, n_train, n_test, seed, shuffled)


def mnist_n(
    folder: Path = DATA / "mnist",
    *,
    n_train: int = 50_000,
    n_test: int = 10_000,
    seed: int = 0,
    shuffled: bool = False,
) -> DigitsSplit:
    """Make or recall MNIST(N): as MNIST(U) with rotation N(0, pi / 4)."""
    return _posed(folder, "mnist_n", pi / 4, n_train, n_test, seed, shuffled)


def split_pictures(
    n: int, n_train: int, n_test: int, seed: int, shuffled: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Share out pictures into two groups without a common member.

    The last of the file are to judge by and the first to train on, as is the custom for
    validation on MNIST; or, ``shuffled``, both are drawn at random. The test pictures depend on
    the seed and ``n_test`` only, so that training sets of several sizes are judged on the same.
    """
    if n_train + n_test > n:
        raise ValueError(f"{n_train} + {n_test} pictures wanted, there are {n}")
    if not shuffled:
        return np.arange(n_train), np.arange(n - n_test, n)
    order = np.random.default_rng([seed, 0]).permutation(n)
    return order[n_test : n_test + n_train], order[:n_test]


def _posed(
    folder: Path,
    name: str,
    rotation_std: float | None,
    n_train: int,
    n_test: int,
    seed: int,
    shuffled: bool,
) -> DigitsSplit:
    CACHE.mkdir(exist_ok=True)
    order = "_shuffled" if shuffled else ""
    path = CACHE / f"{name}_{n_train}_{n_test}_seed{seed}{order}.npz"
    if not path.exists():
        digits, labels = load_mnist(folder)
        sources = split_pictures(len(digits), n_train, n_test, seed, shuffled)
        columns: dict[str, npt.NDArray[np.generic]] = {}
        for part, source in zip(("train", "test"), sources, strict=True):
            # a generator for each part: the test images stay when n_train changes
            rng = np.random.default_rng([seed, 1 if part == "train" else 2])
            images, rotation, translation = rotated_digits(
                digits[source], rng, rotation_std=rotation_std
            )
            columns |= {
                # 8 bits as in the published files; what float32 would add is interpolation
                f"{part}_images": np.round(images * 255).astype(np.uint8),
                f"{part}_rotation": rotation,
                f"{part}_translation": translation,
                f"{part}_labels": labels[source],
                f"{part}_source": source,
            }
        unfinished = path.with_suffix(".part.npz")
        np.savez(unfinished, **columns)
        unfinished.replace(path)
    with np.load(path, allow_pickle=False) as saved:
        return DigitsSplit(_part(saved, "train"), _part(saved, "test"))


def _part(saved: "np.lib.npyio.NpzFile", part: str) -> PosedDigits:
    return PosedDigits(
        saved[f"{part}_images"].astype(np.float32) / np.float32(255),
        saved[f"{part}_rotation"],
        saved[f"{part}_translation"],
        saved[f"{part}_labels"],
        saved[f"{part}_source"],
    )


def _read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Read an idx file of unsigned bytes: a magic number, the lengths, the values."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: give the folder of MNIST's idx.gz files")
    with gzip.open(path) as file:
        kind, dimensions = struct.unpack(">HBB", file.read(4))[1:]
        if kind != 8:
            raise ValueError(f"{path} should hold unsigned bytes (type 8), not type {kind}")
        shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
        return np.frombuffer(file.read(), np.uint8).reshape(shape)
