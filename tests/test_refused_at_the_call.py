"""Jobs refuse wrong arguments when they are called, not when somebody begins to drive them."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import MODEL, untrained_harmony

from napari_equipose import inference, training
from napari_equipose.geometry import InputError
from napari_equipose.models import Normalisation, SavedModel, TargetVAE, load_model, save_model
from napari_equipose.training import TrainingConfig, TrainingRun, write_run

ROOMS = (inference, training)


def jobs() -> dict[str, Callable[..., Any]]:
    """All public functions that return generators, by name."""
    found = {}
    for room in ROOMS:
        for name in room.__all__:
            job = getattr(room, name)
            if inspect.isfunction(job) and not hasattr(job, "__wrapped__"):  # no context manager
                returns = str(inspect.signature(job).return_annotation)
                if "Generator" in returns or "Iterator" in returns:
                    found[f"{room.__name__.rsplit('.')[-1]}.{name}"] = job
    return found


def test_the_jobs_are_all_found() -> None:
    names = set(jobs())
    assert {"inference.detect", "inference.encode", "training.train", "training.fit"} <= names
    assert len(names) >= 20


@pytest.mark.parametrize("wrong", [None, "nonsense"])
@pytest.mark.parametrize("name", jobs())
def test_wrong_arguments_are_refused_at_the_call(name: str, wrong: Any) -> None:
    job = jobs()[name]
    assert not inspect.isgeneratorfunction(job)
    parameters = inspect.signature(job).parameters.values()
    wanted = {one.name: wrong for one in parameters if one.default is inspect.Parameter.empty}
    with pytest.raises(InputError):
        job(**wanted)


@pytest.fixture(scope="module")
def of_images(tmp_path_factory: pytest.TempPathFactory) -> SavedModel:
    path = tmp_path_factory.mktemp("model") / "M.safetensors"
    save_model(path, TargetVAE(MODEL), Normalisation())
    return load_model(path)


@pytest.fixture(scope="module")
def of_volumes(tmp_path_factory: pytest.TempPathFactory) -> SavedModel:
    path = tmp_path_factory.mktemp("model") / "M.safetensors"
    return load_model(untrained_harmony(path, box_size=16))


IMAGE = np.zeros((40, 40), np.float32)
STACK = np.zeros((8, 16, 16), np.float32)
VOLUME = np.zeros((20, 20, 20), np.float32)
VOLUMES = np.zeros((8, 16, 16, 16), np.float32)
NOWHERE = {"device": "nowhere"}

OF_IMAGES: dict[str, tuple[Any, ...]] = {
    "no array": ("detect", ("nonsense",), {}),
    "texts": ("detect", (np.array([["a"]]),), {}),
    "volume": ("detect", (VOLUME,), {}),
    "too small": ("detect", (IMAGE[:4],), {}),
    "no configuration": ("detect", (IMAGE, {"threshold": 1}), {}),
    "no device": ("detect", (IMAGE,), NOWHERE),
    "no volume": ("detect_volume", (VOLUME,), {}),
    "no box size": ("isolate", (IMAGE, 0), {}),
    "no images": ("calibrate", ([],), {}),
    "a wrong image": ("calibrate", ([IMAGE, VOLUME],), {}),
    "other boxes": ("encode", (STACK[:, :8],), {}),
    "no boxes": ("encode", (STACK[:0],), {}),
    "no batch": ("encode", (STACK,), {"batch_size": 0}),
    "too few": ("align", (STACK[:3],), {}),
    "other boxes to align": ("align", (STACK[:, :8],), {}),
    "halves": ("align", (STACK,), {"half": [0, 1]}),
    "one corner": ("draw_path", ([[0.0, 0.0]], 5), {}),
    "other content": ("draw_path", ([[0.0], [1.0]], 5), {}),
    "no content": ("rotation_profile", (STACK, "nonsense", np.zeros((8, 2))), {}),
}
OF_VOLUMES: dict[str, tuple[Any, ...]] = {
    "image": ("search_volume", (IMAGE,), {}),
    "wedge": ("search_volume", (VOLUME,), {"wedge": (-60, 60)}),
    "no volumes": ("calibrate_volumes", ([],), {}),
    "a wrong volume": ("calibrate_volumes", ([VOLUME, IMAGE],), {}),
    "large image": ("detect", (IMAGE,), {}),
    "wedges": ("align", (VOLUMES,), {"wedge": [None]}),
}


@pytest.mark.parametrize("what", OF_IMAGES)
def test_what_does_not_fit_a_model_of_images_is_refused(what: str, of_images: SavedModel) -> None:
    job, given, more = OF_IMAGES[what]
    with pytest.raises(InputError):
        getattr(inference, job)(of_images, *given, **more)


@pytest.mark.parametrize("what", OF_VOLUMES)
def test_what_does_not_fit_a_model_of_volumes_is_refused(what: str, of_volumes: SavedModel) -> None:
    job, given, more = OF_VOLUMES[what]
    with pytest.raises(InputError):
        getattr(inference, job)(of_volumes, *given, **more)


def test_a_training_that_can_not_be_is_refused(tmp_path: Path) -> None:
    boxes = torch.zeros(8, 1, 16, 16)
    how = {"normalisation": Normalisation(), "output": tmp_path / "M.safetensors"}
    config = TrainingConfig(epochs=1, learning_rate=1e-3)
    for given, more in (
        ((boxes[:3], MODEL, config), {}),
        ((boxes, MODEL, "fast"), {}),
        ((boxes, MODEL, config), {"kind": "harmony"}),
        ((boxes, MODEL, config), {"kind": "nonsense"}),
        ((boxes, MODEL, config), NOWHERE),
        ((boxes, MODEL, config), {"resume": True}),
    ):
        with pytest.raises(InputError):
            training.train(*given, **{**how, **more})
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_none_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "M.run"
    for start in (training.train_run, training.train_in_child):
        with pytest.raises(InputError, match="can't be read"):
            start(folder)
    folder.mkdir()
    write_run(folder / "run.json", TrainingRun(images=["a.npy"]))
    before = (folder / "run.json").read_text()
    training.train_run(folder).close()  # never begun
    assert [path.name for path in folder.iterdir()] == ["run.json"]
    assert (folder / "run.json").read_text() == before
