"""What people do with models, on any device: each flow returns numbers that no device changes.

A flow is a function of the name of a device and of an empty folder, and returns arrays by name.
Boxes, networks and trainings are as small as they can be, so the numbers mean nothing; that they
are those of the CPU means that a device does the same work.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from napari_equipose.evaluation import elbo_per_pixel, reconstruct, reconstruction_error
from napari_equipose.geometry import Poses, Poses3D
from napari_equipose.inference import (
    AlignConfig,
    DetectionConfig,
    Progress,
    RefinementConfig,
    Structures,
    agree_on_frames,
    align,
    calibrate,
    calibrate_volumes,
    categories_of,
    detect,
    detect_volume,
    draw_content,
    draw_grid,
    draw_path,
    encode,
    finish,
    isolate,
    latent_map,
    least_score,
    rotation_profile,
)
from napari_equipose.models import SavedModel
from napari_equipose.simulation import multi_object_scene
from napari_equipose.training import (
    EpochReport,
    TrainingRun,
    _prepare_run,
    _structures,
    _wake_sleep,
    prepare_images,
    train_prepared,
)

from .recipes import RECIPES, SIZE, TARGET, Recipe, boxes, own, scene

Results = dict[str, NDArray[Any]]
Flow = Callable[[str, Path], Results]


def apart(name: str, got: Results, expected: Results) -> dict[str, str]:
    """Say where results of a flow are not the same, but for the last digits of float32.

    Of weights that were trained, a tenth may differ: what hardly has a gradient goes either way.
    """
    trained = name.split()[0] in ("train", "resume")
    different = dict.fromkeys(got.keys() ^ expected.keys(), "missing")
    for key in got.keys() & expected.keys():
        if got[key].shape != expected[key].shape:
            different[key] = f"shape {got[key].shape}, expected {expected[key].shape}"
        elif not got[key].size:
            continue
        else:
            close = np.isclose(got[key], expected[key], rtol=2e-3, atol=2e-4)
            if close.mean() < (0.9 if trained else 1.0):
                most = np.abs(np.asarray(got[key], float) - expected[key]).max()
                different[key] = f"{(~close).sum()} of {close.size} differ, by {most:.3g} at most"
    return different


# Flows of every model


def weights(model: SavedModel) -> Results:
    """Weights of a model, by name."""
    assert isinstance(model.model, torch.nn.Module)
    return {name: value.cpu().numpy() for name, value in model.model.state_dict().items()}


def training(recipe: Recipe, device: str, folder: Path) -> Results:
    """Train, with all that follows training."""
    trained = finish(recipe.train(folder / "m.safetensors", device))
    return weights(trained) | {"threshold": np.array(trained.record.get("threshold", 0.0))}


def resuming(recipe: Recipe, device: str, folder: Path) -> Results:
    """Stop after an epoch and go on: on the device, away from it, and on it again."""
    results: Results = {}
    for begun, resumed in ((device, device), (device, "cpu"), ("cpu", device)):
        output = folder / f"{begun}-{resumed}.safetensors"
        _stop_after_an_epoch(recipe.train(output, begun))
        trained = finish(recipe.train(output, resumed, resume=True))
        results |= {f"{len(results)} {name}": value for name, value in weights(trained).items()}
    return results


def _stop_after_an_epoch(job: Generator[Any, None, Any]) -> None:
    for report in job:
        if isinstance(report, EpochReport):
            job.close()


def encoding(name: str, device: str, folder: Path) -> Results:
    """Infer poses and content, refined and not."""
    model, results = own(name), Results()
    stack = boxes(RECIPES[name].n, RECIPES[name].dimensions, RECIPES[name].colored)
    for refine in (False, True):
        found = finish(encode(model, stack, refine=refine, device=device))._asdict()
        results |= {f"{key} {refine}": value for key, value in found.items() if value is not None}
    return results


def drawing(name: str, device: str, folder: Path) -> Results:
    """Draw what the Latent space panel shows, where the model is after it has encoded."""
    model, recipe = own(name), RECIPES[name]
    stack = boxes(recipe.n, recipe.dimensions, recipe.colored)
    found = finish(encode(model, stack, device=device))
    model = model.on(torch.device(device))
    results = {
        "content": draw_content(model, found.content),
        "path": finish(draw_path(model, found.content[:3], 5)),
    }
    if found.content.shape[1] > 1:
        plane = finish(latent_map(found.content, "pca"))
        results["grid"] = draw_grid(model, plane, 2)[0]
    if model.model.capabilities.clusters:
        results["categories"] = categories_of(model, found.content)
    if recipe.dimensions == 2 and model.model.capabilities.infers and not recipe.colored:
        job = rotation_profile(model, stack, found.content, found.translation, n_angles=48)
        results["profile"] = finish(job).likeness
    return results


def aligning(name: str, device: str, folder: Path) -> Results:
    """Align a stack and average it."""
    model, recipe = own(name), RECIPES[name]
    refinement = RefinementConfig(iterations=1, angular_step_deg=20.0)
    search = "local" if recipe.dimensions == 3 else "auto"
    config = AlignConfig(search=search, refinement=refinement)
    stack = boxes(recipe.n, recipe.dimensions, recipe.colored)
    found = finish(align(model, stack, config, device=device))
    results = {"rotation": found.encoding.rotation, "translation": found.encoding.translation}
    return results | {f"average {c.label}": c.average for c in found.averages}


def evaluating(name: str, device: str, folder: Path) -> Results:
    """Reconstruct images on the device, and judge the model by them."""
    model, prepared = own(name).model, RECIPES[name].prepared()
    assert isinstance(model, torch.nn.Module)
    model.to(device)
    images = prepared.boxes.to(device)
    drawn = reconstruct(model, images)
    shares = drawn.sigmoid(), images.sigmoid()
    numbers = {
        "error": reconstruction_error(drawn, images),
        "entropy": reconstruction_error(*shares, "cross-entropy"),
    }
    if not RECIPES[name].targets:  # whose bound would need them
        numbers["bound"] = elbo_per_pixel(model, images)
    return {key: np.array(value) for key, value in numbers.items()}


def sharing(name: str, device: str, folder: Path) -> Results:
    """Let two jobs on two devices, and a panel that draws, share a model: a step each in turn."""
    model, recipe = own(name), RECIPES[name]
    stack = boxes(recipe.n, recipe.dimensions, recipe.colored)
    of_which = {"device": device, "other": "cpu"}
    jobs = {key: encode(model, stack, device=on, batch_size=2) for key, on in of_which.items()}
    k = model.model.config.content_dim
    content = np.zeros((1, k + (model.model.config.categories if recipe.kind == "mce-vae" else 0)))
    results: Results = {}
    while jobs:
        for key, job in list(jobs.items()):
            try:
                next(job)
            except StopIteration as done:
                results |= {f"{key} {field}": getattr(done.value, field) for field in _POSES}
                del jobs[key]
            results["drawn"] = draw_content(model, content)
    assert next(model.model.parameters()).device.type == "cpu", "the model was moved"
    return results


_POSES = ("rotation", "translation", "score", "content")


# Flows of large images and volumes


def large_image(device: str, folder: Path) -> Results:
    """Train on a large image: two rounds, between which boxes are isolated; then calibrate."""
    settings = TARGET | {"batch_size": 8, "steps_per_epoch": 2}
    run = TrainingRun(box_size=SIZE, epochs=3, settings=settings, polarity="bright")
    output = folder / "m.safetensors"
    trained = finish(train_prepared(prepare_images(run, [scene()]), output=output, device=device))
    return weights(trained) | {"threshold": np.array(trained.record["threshold"])}


def noisy_image(device: str, folder: Path) -> Results:
    """Train on a noisy image: from classes, which the encoder learns from what is drawn of them."""
    noise = np.random.default_rng(0)
    clean = multi_object_scene(noise, shape=(150, 150), n=16, size=20, noise=0.0).image
    image = (clean + 0.5 * noise.normal(size=clean.shape)).astype(np.float32)
    settings = TARGET | {"batch_size": 8, "steps_per_epoch": 2}
    run = TrainingRun(box_size=20, epochs=1, settings=settings, polarity="bright")
    output = folder / "m.safetensors"
    trained = finish(train_prepared(prepare_images(run, [image]), output=output, device=device))
    assert trained.record["structures"], "there were no classes to begin with"
    return weights(trained) | {"threshold": np.array(trained.record["threshold"])}


def detecting(device: str, folder: Path) -> Results:
    """Find objects in a large image."""
    config = DetectionConfig(threshold=0.01, tile_size=64)
    found = finish(detect(own("target-vae"), scene(), config, device=device))
    assert len(found.score) > 3, "there is too little to compare"
    return found._asdict()


def isolating(device: str, folder: Path) -> Results:
    """Cut out the objects of a large image, each without the others."""
    found = finish(isolate(own("target-vae"), scene(), SIZE, device))
    assert len(found.boxes), "there is nothing to compare"
    return {"boxes": found.boxes.numpy(), "positions": found.positions}


def calibrating(device: str, folder: Path) -> Results:
    """Find the scores that tell objects from chance, in a large image and in boxes."""
    model, prepared = own("target-vae"), RECIPES["target-vae"].prepared()
    return {
        "image": np.array(finish(calibrate(model, [scene()], device))),
        "boxes": np.array(least_score(model, prepared.boxes, device)),
    }


def agreeing_on_frames(device: str, folder: Path) -> Results:
    """Turn the frames of a model so that like objects lie alike."""
    model = own("target-vae")
    many = torch.from_numpy(boxes(520))[:, None]
    agree_on_frames(model, many / many.std(), device)
    return weights(model)


def detecting_in_a_volume(device: str, folder: Path) -> Results:
    """Find objects in a volume, and the score that tells them from chance."""
    volume = 0.1 * np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    for corner in ((4, 4, 4), (20, 20, 4), (4, 20, 20), (20, 4, 20)):
        volume[tuple(slice(c, c + SIZE) for c in corner)] += 3 * _blob()
    model = own("harmony 3D wedge")
    found = finish(detect_volume(model, volume, DetectionConfig(threshold=0.0), device=device))
    assert len(found.score), "there is nothing to compare"
    threshold = finish(calibrate_volumes(model, [volume], device))
    return found._asdict() | {"threshold": np.array(threshold)}


def _blob() -> NDArray[np.float32]:
    distance = np.linalg.norm(np.indices((SIZE,) * 3) - SIZE // 2, axis=0)
    return np.exp(-((distance / 4) ** 2)).astype(np.float32)


@contextmanager
def quickly() -> Iterator[None]:
    """Find structures and classes in no time, and begin with them in next to none."""
    few: list[tuple[Any, str, Any]] = [
        (_structures, "ab_initio", _found),
        (_structures, "ab_initio_images", _found),
        (_wake_sleep, "classify_images", _found),
        (_structures, "_STEPS", 2),
        (_structures, "_READING_STEPS", {2: 2, 3: 2}),
        (_wake_sleep, "_DRAWING_STEPS", 2),
        (_wake_sleep, "_READING_STEPS", 2),
        (_prepare_run, "ENOUGH_TO_SORT", 10),
    ]
    with ExitStack() as around:
        for module, name, value in few:
            around.enter_context(patch.object(module, name, value))
        yield


def _found(read: Callable[[NDArray[np.int64]], torch.Tensor], n: int, *rest: Any) -> Any:
    """Take two boxes for the structures of all, without the search, which is of the CPU."""
    yield Progress(1, 1, "searching")
    averages = read(np.arange(2)).numpy()
    volumes = averages.shape[1] == averages.shape[2]
    rotation = torch.eye(3).expand(n, 3, 3) if volumes else torch.linspace(0, 1, n)
    poses: Any = Poses3D if volumes else Poses
    return Structures(
        averages=averages,
        rows=np.arange(n),
        label=np.arange(n) % 2,
        poses=poses(rotation, torch.zeros(n, 3 if volumes else 2)),
        score=np.ones(n, np.float32),
    )


def kinds_of(name: str) -> tuple[str, ...]:
    """Kinds of devices that a flow is tried on.

    What resumes, draws or aligns does no operation that training, encoding and evaluating don't.
    """
    return ("cuda",) if name.split()[0] in ("resume", "draw", "align", "share") else ("cuda", "mps")


def flows() -> dict[str, Flow]:
    """All flows, by name."""
    every: dict[str, Flow] = {}
    for name, recipe in RECIPES.items():
        every[f"train {name}"] = partial(training, recipe)
        every[f"encode {name}"] = partial(encoding, name)
        every[f"draw {name}"] = partial(drawing, name)
        every[f"evaluate {name}"] = partial(evaluating, name)
        if recipe.kind not in ("vae", "beta-vae"):
            every[f"align {name}"] = partial(aligning, name)
        if name in _RESUMED:
            every[f"share {name}"] = partial(sharing, name)
            every[f"resume {name}"] = partial(resuming, recipe)
    return every | {
        "train large image": large_image,
        "train noisy image": noisy_image,
        "detect": detecting,
        "isolate": isolating,
        "calibrate": calibrating,
        "agree on frames": agreeing_on_frames,
        "detect in a volume": detecting_in_a_volume,
    }


_RESUMED = (
    "target-vae",
    "harmony 2D",
    "harmony 3D",
    "spatial-vae 2D",
    "mce-vae",
    "vae",
    "beta-vae",
)
"""One of each kind: what they keep does not depend on more."""
