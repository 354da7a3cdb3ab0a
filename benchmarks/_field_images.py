"""Images of the field board, each with the truth and with what a user would type."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from _data import load_mnist
from numpy.typing import NDArray
from scipy import ndimage
from skimage import data as skimage_data

from napari_equipose.evaluation import MaskObjects, objects_from_masks
from napari_equipose.io import read_image
from napari_equipose.simulation import digit_scene, draw_micrograph, simulate_micrograph


class Truth(NamedTuple):
    """True objects of one image."""

    positions: NDArray[np.float64]
    """Shape (n, 2): centers (y, x) in pixels."""
    rotation: NDArray[np.float64]
    """Shape (n,): radians, counter-clockwise as displayed; NaN where it is not known."""
    ignore: NDArray[np.bool_]
    """Shape (n,): cut by the border or fused; neither a hit nor a miss."""


class FieldImage(NamedTuple):
    """Images of one kind, which are trained on and judged by together."""

    images: list[NDArray[Any]]
    """Shapes (y, x) or (y, x, 3)."""
    truths: list[Truth]
    box_size: int
    """What a user would type: pixels."""
    tolerance: float
    """Largest distance of a match, in pixels."""
    fold: int
    """Rotations by 360 / fold degrees can't be told apart."""
    tier: str
    """"main", "hard", or the kind of micrograph."""
    polarity: str | None = None
    """Of the objects against their surroundings: "dark", "bright", or None where they are
    mixed."""
    particle_diameter: float | None = None
    """Pixels; of simulated micrographs, which the picker of particles is told."""


_HARD = ("longrods_tem", "mitochondria_sstem", "planes_aerial_b_rgb")
_SMALL = (
    "coins",
    "cubes_sem",
    "ecoli_5I",
    "nanocubes_tem",
    "nuclei_histo_rgb",
    "nuclei_stardist_u16",
    "planes_aerial_b_rgb",
    "yeast_phase",
)
"""What ``--quick`` takes: eight images of up to 0.4 megapixels."""
FRESH = ("digits", "micrograph_snr03", "micrograph_snr01")
"""Images that each seed makes anew."""
_MARGIN = 1.15
"""Side of the right box, in diameters of a particle."""


def small_images() -> tuple[str, ...]:
    """Names of the images that are quick to learn from."""
    return _SMALL


def field_images(data: Path) -> dict[str, Callable[[int], FieldImage]]:
    """Name each image of the board, with the function that reads it, or makes it of a seed.

    Parameters
    ----------
    data : Path
        Folder that holds ``field``, ``ecoli_phase_contrast``, ``apoferritin_empiar10146``,
        ``blood_cells_bccd`` and ``mnist``.
    """
    cases: dict[str, Callable[[int], FieldImage]] = {
        folder.name: partial(_published, folder)
        for folder in sorted((data / "field").iterdir())
        if folder.is_dir()
    }
    ecoli = data / "ecoli_phase_contrast"
    cases["ecoli_5I"] = partial(_masks, ecoli / "ec_5I.tif", 32, 10.0)
    cases["ecoli_193"] = partial(_masks, ecoli / "Sample000193.png", 56, 15.0)
    cases["apoferritin"] = partial(_apoferritin, data / "apoferritin_empiar10146")
    cases["red_cells"] = partial(_red_cells, data / "blood_cells_bccd")
    cases["digits"] = partial(_digits, data / "mnist")
    cases["micrograph_snr03"] = partial(_micrograph, 0.3)
    cases["micrograph_snr01"] = partial(_micrograph, 0.1)
    return cases


def nonsense_images() -> dict[str, Callable[[int], tuple[NDArray[Any], int]]]:
    """Name images in which nothing recurs, with what makes each of a seed, and a box size."""
    return {
        "noise": lambda seed: (_noise(seed), 32),
        "brick_wall": lambda seed: (skimage_data.brick(), 48),
        "one_object": lambda seed: (_one_object(seed), 48),
        "gradient": lambda seed: (np.add.outer(np.arange(400.0), 2 * np.arange(400.0)), 40),
    }


def _read(path: Path) -> NDArray[Any]:
    return np.array(read_image(path).data)


def _published(folder: Path, seed: int) -> FieldImage:
    about = json.loads((folder / "meta.json").read_text())
    table = pd.read_csv(folder / "truth.csv")
    truth = Truth(
        table[["y", "x"]].to_numpy(float),
        np.radians(table["rotation"].to_numpy(float)),
        table["ignore"].to_numpy() == 1,
    )
    return FieldImage(
        [_read(folder / about["image"])],
        [truth],
        int(about["box_px"]),
        float(about["tolerance_px"]),
        round(360 / about["rotation_period_deg"]),
        "hard" if folder.name in _HARD else "main",
        polarity_of(about["polarity"]),
    )


def polarity_of(text: str) -> str | None:
    """Read the polarity from how an image was described."""
    first = text.split()[0]
    return first if first in ("dark", "bright") and "mixed" not in text else None


def _masks(path: Path, box_size: int, tolerance: float, seed: int) -> FieldImage:
    """Read an image with instance masks beside it."""
    image = _read(path)
    objects = objects_from_masks(_read(path.with_name(f"{path.stem}_masks.tif")))
    truth = Truth(objects.positions, objects.angle, _cut(objects))
    grey = image.mean(-1) if image.ndim == 3 else image
    return FieldImage([grey], [truth], box_size, tolerance, 2, "main", "dark")


def _cut(objects: MaskObjects) -> NDArray[np.bool_]:
    return np.asarray(objects.touches_border, bool)


def _apoferritin(folder: Path, seed: int) -> FieldImage:
    path = folder / "May08_03.05.02.png"
    places = pd.read_csv(path.with_name(f"{path.stem}_gt.csv"))[["y", "x"]].to_numpy(float)
    return FieldImage([_read(path)], [_round(places)], 80, 16.0, 1, "main", "dark")


def _red_cells(folder: Path, seed: int) -> FieldImage:
    """Read blood smears; white cells, and whatever the border cuts, do not count.

    Whoever marked them left out some and marked others twice, so that nobody reaches 1.
    """
    images, truths = [], []
    for path in sorted(folder.glob("*.jpg")):
        image = _read(path)
        boxes, kinds = [], []
        for one in ElementTree.parse(path.with_suffix(".xml")).getroot().iter("object"):
            corners = [float(one.findtext(f"bndbox/{name}", "nan")) for name in _CORNERS]
            boxes.append(corners)
            kinds.append(one.findtext("name"))
        box = np.array(boxes)
        last = np.array(image.shape[:2]) - 1
        cut = (box[:, :2] <= 1).any(1) | (box[:, 2:] >= last).any(1)
        places = (box[:, :2] + box[:, 2:]) / 2
        truth = _round(places)
        images.append(image)
        truths.append(truth._replace(ignore=cut | (np.array(kinds) != "RBC")))
    return FieldImage(images, truths, 120, 25.0, 1, "hard", "dark")


_CORNERS = ("ymin", "xmin", "ymax", "xmax")


def _digits(folder: Path, seed: int) -> FieldImage:
    """Strew 100 digits over an image; which they are, and where, follows the seed."""
    rng = np.random.default_rng([seed, 7])
    scene = digit_scene(*load_mnist(folder), rng, shape=(700, 700), n=100)
    truth = _round(np.asarray(scene.truth.positions, float))
    return FieldImage([scene.image], [truth], 32, 6.0, 1, "main", "bright")


def _micrograph(snr: float, seed: int) -> FieldImage:
    """Make a micrograph of which the seed chooses all but the SNR.

    The box that a user types is 0.8 to 1.3 of the right one. Angles are judged of the view that
    most particles show, where it tells one. What ice, carbon or an aggregate hides does not count.
    """
    rng = np.random.default_rng([seed, round(1000 * snr)])
    drawn = draw_micrograph(rng, snr=snr)
    made = simulate_micrograph(drawn.structure, rng, drawn.config)
    positions, rotation, view, fold, hidden = made.truth
    known = np.isfinite(rotation)
    names, counts = np.unique(view[known], return_counts=True)
    shown = view == names[counts.argmax()] if len(names) else known
    truth = Truth(positions, np.where(shown, rotation, np.nan), hidden)
    diameter = 2 * made.particle_radius
    box_size = round(_MARGIN * diameter * rng.uniform(0.8, 1.3))
    tolerance = 0.35 * diameter
    one_fold = int(fold[shown][0]) if shown.any() else 1
    tier = f"micrographs, SNR {snr:g}"
    return FieldImage([made.image], [truth], box_size, tolerance, one_fold, tier, "dark", diameter)


def _noise(seed: int) -> NDArray[np.float64]:
    return np.random.default_rng([seed, 11]).normal(size=(512, 512))


def _one_object(seed: int) -> NDArray[np.float64]:
    """Put one disc of some texture on noise."""
    rng = np.random.default_rng([seed, 12])
    image = rng.normal(size=(400, 400))
    middle = rng.uniform(60, 340, 2)
    y, x = (np.indices(image.shape).T - middle).T
    texture = ndimage.gaussian_filter(rng.normal(size=image.shape), 4)
    inside = np.hypot(y, x) < 18
    image[inside] += 3 + 2 * (texture / texture.std())[inside]
    return image


def _round(positions: NDArray[np.float64]) -> Truth:
    """Positions alone are known."""
    n = len(positions)
    return Truth(positions, np.full(n, np.nan), np.zeros(n, bool))
