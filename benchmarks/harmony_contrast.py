"""Harmony on faces in more or less light: contrast apart from content, as in the paper's Figure 6.

    python benchmarks/harmony_contrast.py [--seed 0] [--set NAME=VALUE ...]

The paper has ten photographed people. Ours are drawn: ten faces of random colours and features,
each in 300 pictures of 32 x 32 RGB pixels under a gain of 0.5 to 2 (uniform in its logarithm) and
an offset of -0.25 to 0.25, with noise of standard deviation 0.05; and, as a second set, faces
between two people, mixed by a uniform share, so that there is a number that the content should
follow. Content has one dimension. All is judged on pictures that were not trained on.

A face at rest may be as bright as it likes: gains are known but for a factor of each face's own.
"""

import argparse
from math import log
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _data import CACHE
from _learn import learn
from _report import print_json, print_table
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsRegressor

from napari_equipose.evaluation import content_scores
from napari_equipose.inference import Encoding, encode, finish
from napari_equipose.training import TrainingRun, prepare_stack

SIDE = 32
PEOPLE = 10
GAIN = 2.0
OFFSET = 0.25
NOISE = 0.05
SETTINGS = {
    "rotation_range": None,
    "translation_range": None,
    "contrast_range": GAIN,
    # Of a picture whose mean is taken out, a gain alone is an offset too.
    "brightness_range": 2.0,
}


class Lit(NamedTuple):
    """Pictures of known contrast: ``image = gain * face + offset + noise``."""

    images: NDArray[np.float32]  # (n, SIDE, SIDE, 3)
    content: NDArray[Any]  # (n,) who it is, or how much of the second face
    log_gain: NDArray[np.float64]  # (n,)


def face(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a face of random colours and features, (SIDE, SIDE, 3) in [0, 1]."""
    y, x = (np.indices((SIDE, SIDE)) + 0.5) / SIDE * 2 - 1
    wide, high = rng.uniform(0.45, 0.65), rng.uniform(0.6, 0.8)
    eyes, mouth = rng.uniform(0.15, 0.28), rng.uniform(0.12, 0.3)
    picture = np.ones((SIDE, SIDE, 3)) * rng.uniform(0.2, 0.8, 3)
    hair, skin, iris, lips = rng.uniform(0.05, 0.95, (4, 3))
    skin = 0.5 + skin / 2

    def ellipse(at_y: float, at_x: float, tall: float, broad: float, colour: Any) -> None:
        distance = np.hypot((y - at_y) / tall, (x - at_x) / broad)
        inside = np.clip((1 - distance) * min(tall, broad) * SIDE / 2, 0, 1)[..., None]
        picture[:] = picture * (1 - inside) + colour * inside

    ellipse(-0.15, 0, high + 0.1, wide + 0.15, hair)
    ellipse(0.1, 0, high, wide, skin)
    for side in (-eyes, eyes):
        ellipse(0.0, side, 0.12, 0.15, np.ones(3))
        ellipse(0.0, side, 0.08, 0.08, iris)
    ellipse(0.5, 0, 0.1, mouth, lips)
    return picture


def lit(faces: NDArray[np.float64], content: NDArray[Any], rng: np.random.Generator) -> Lit:
    """Show each of some faces (n, SIDE, SIDE, 3) in a light of its own."""
    n = len(faces)
    log_gain, offset = rng.uniform(-log(GAIN), log(GAIN), n), rng.uniform(-OFFSET, OFFSET, n)
    images = np.exp(log_gain)[:, None, None, None] * faces + offset[:, None, None, None]
    images += NOISE * rng.standard_normal(images.shape)
    return Lit(images.astype(np.float32), content, log_gain)


def people(n: int, seed: int, part: int) -> Lit:
    """Ten people, ``n`` pictures of each."""
    drawn = np.random.default_rng(seed)
    album = np.stack([face(drawn) for _ in range(PEOPLE)])
    who = np.repeat(np.arange(PEOPLE), n)
    return lit(album[who], who, np.random.default_rng([seed, part]))


def between(n: int, seed: int, part: int) -> Lit:
    """``n`` pictures of faces between two."""
    drawn, rng = np.random.default_rng(seed), np.random.default_rng([seed, part])
    first, second = face(drawn), face(drawn)
    share = rng.uniform(0, 1, n)
    mixed = first + share[:, None, None, None] * (second - first)
    return lit(mixed, share, rng)


def predicted(values: NDArray[Any], target: NDArray[np.float64]) -> float:
    """R^2, on held-out fifths, of a number by the 20 nearest neighbours in another."""
    guess = cross_val_predict(KNeighborsRegressor(20), values.reshape(len(values), -1), target)
    return float(1 - np.mean((target - guess) ** 2) / np.var(target))


def judge(found: Encoding, truth: Lit) -> dict[str, Any]:
    """How well each factor is told, and how little each tells of the other."""
    assert found.contrast is not None
    log_gain, content = np.log(found.contrast), found.content[:, 0]
    order = np.random.default_rng(0).permutation(len(content))  # folds are of neighbouring rows
    log_gain, content, kind, true = (
        value[order] for value in (log_gain, content, truth.content, truth.log_gain)
    )
    result = {
        "contrast_correlation": float(np.corrcoef(log_gain, true)[0, 1]),
        "content_tells_contrast_R2": predicted(content, true),
        "content_tells_found_contrast_R2": predicted(content, log_gain),
    }
    if kind.dtype.kind == "f":
        return result | {
            "content_correlation": abs(float(spearmanr(content, kind).statistic)),
            "contrast_tells_content_R2": predicted(log_gain, kind),
        }
    scores = content_scores(content[:, None], kind, log_gain[:, None])
    within = [
        np.corrcoef(log_gain[kind == one], true[kind == one])[0, 1] for one in np.unique(kind)
    ]
    return result | {
        "contrast_correlation_of_a_face": float(np.mean(within)),
        "P(c|z)": scores.predictability,
        "SAP": scores.sap,
        "P(c|contrast)": float(scores.by_latent[1]),
    }


def trained(known: Lit, new: Lit, name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train on some pictures and judge on others."""
    output = arguments.output.with_name(f"{arguments.output.name}_{name}.safetensors")
    run = TrainingRun(
        images=(name,),
        output=output.name,
        model="harmony",
        minutes=arguments.minutes,
        seed=arguments.seed,
        device=arguments.device,
        settings=SETTINGS | dict(text.split("=", 1) for text in arguments.set),
    )
    output.parent.mkdir(exist_ok=True)
    saved, _ = learn(run, prepare_stack(run, known.images), output)
    result = judge(finish(encode(saved, new.images, device=arguments.device)), new)
    epochs, minutes = saved.record["epochs"], saved.record["seconds"] / 60
    return result | {"epochs": epochs, "minutes": minutes}


def main() -> None:
    """Train on both sets, judge, and print tables and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=300, help="pictures of each person")
    parser.add_argument("--minutes", type=float, help="of each training, at most")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, default=CACHE / "harmony_contrast")
    arguments = parser.parse_args()
    n, seed = arguments.instances, arguments.seed
    results = {
        "ten people": trained(people(n, seed, 1), people(100, seed, 2), "people", arguments),
        "between two": trained(
            between(n * PEOPLE, seed, 1), between(1000, seed, 2), "between", arguments
        ),
    }
    for name, result in results.items():
        print_table([{"faces": name, **result}])
    settings = SETTINGS | dict(text.split("=", 1) for text in arguments.set)
    print_json("harmony_contrast", {"seed": seed, "instances": n, "settings": settings, **results})


if __name__ == "__main__":
    main()
