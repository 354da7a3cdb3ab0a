"""What the model says of single objects: their measurements anew, and whether ends are alike."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_equipose.geometry import InputError, Poses, apply_poses
from napari_equipose.inference import DetectionConfig, Picks, finish, measure
from napari_equipose.models import Capabilities, Normalisation, Posterior, SavedModel
from napari_equipose.widgets import _detect_job
from napari_equipose.widgets._detect_job import find
from napari_equipose.widgets._layers import Plane

SIDE, COLUMNS, ROWS = 32, 5, 4
RNG = np.random.default_rng(0)


def rod(head: float) -> np.ndarray:
    """A rod along x with a brighter blob at its right end."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    body = np.exp(-0.5 * (y / 2.0) ** 2 - 0.5 * (x / 6.0) ** 4)
    blob = head * np.exp(-0.5 * (np.hypot(y, x - 6) / 2.5) ** 2)
    return (body + blob).astype(np.float32)


class Rods(torch.nn.Module):
    """Draws one rod, and says of every box that the rod lies in the middle of it, at 0."""

    def __init__(self, picture: np.ndarray) -> None:
        super().__init__()
        self.picture = torch.nn.Parameter(torch.from_numpy(picture)[None])
        sizes = {"box_size": SIDE, "canonical_size": SIDE, "kernel_size": SIDE, "binning": 1}
        sizes |= {"n_rotations": 4, "object_size": SIDE, "focus": SIDE}
        self.config = SimpleNamespace(channels=1, content_dim=1, **sizes)
        self.turn = 0.0

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            dimensions=frozenset({2}),
            infers=frozenset({"rotation", "translation"}),
            fully_convolutional=True,
            clusters=False,
        )

    def hold_content(self, held: bool) -> None: ...

    def bin_images(self, images: Tensor) -> Tensor:
        raise AssertionError("no image is searched here")

    score_places = read_places = bin_images

    def generate(self, content: Tensor, poses: Any = None, box_size: Any = None) -> Tensor:
        return self.picture.expand(len(content), -1, -1, -1)

    def infer(self, images: Tensor) -> Posterior:
        n = len(images)
        poses = Poses(torch.full((n,), self.turn), torch.zeros(n, 2))
        return Posterior(poses, torch.zeros(n, 1), torch.ones(n, 1))


@pytest.fixture(params=[0.0, 2.0], ids=["ends alike", "a head"])
def scene(request) -> Iterator[tuple[SavedModel, np.ndarray, Picks, float]]:
    """Rods on a grid in a picture, at known rotations."""
    picture, n = rod(request.param), COLUMNS * ROWS
    turn = RNG.uniform(-np.pi, np.pi, n)
    objects = torch.from_numpy(picture).expand(n, 1, SIDE, SIDE)
    poses = Poses(torch.from_numpy(turn).float(), torch.zeros(n, 2))
    boxes = apply_poses(objects, poses)[:, 0].numpy().reshape(ROWS, COLUMNS, SIDE, SIDE)
    image = boxes.swapaxes(1, 2).reshape(ROWS * SIDE, COLUMNS * SIDE)
    image = image + RNG.normal(0, 0.05, image.shape)
    grid = np.stack(np.meshgrid(range(ROWS), range(COLUMNS), indexing="ij"), -1).reshape(-1, 2)
    places = grid * SIDE + SIDE // 2
    picks = Picks(
        places.astype(np.float32),
        turn.astype(np.float32),
        np.ones(n, np.float32),
        np.zeros((n, 1), np.float32),
    )
    saved = SavedModel(kind="test", model=Rods(picture), normalisation=Normalisation(kind="shared"))
    yield saved, image.astype(np.float32), picks, request.param


def test_detect_finds_out_whether_ends_are_alike(scene, monkeypatch) -> None:
    saved, image, picks, head = scene

    def found(*_: Any, **__: Any) -> Any:
        return picks
        yield

    monkeypatch.setattr(_detect_job, "detect", found)
    factor = (1.0, 1.0)
    plane = Plane("rods", image, (), (), False, factor, {}, ("y", "x"))
    assert finish(find(saved, plane, DetectionConfig(), "cpu", None)).fold == (1 if head else 2)


def test_one_object_is_measured_where_a_person_points(scene) -> None:
    saved, image, picks, _ = scene
    row = 7
    others = Picks(*(np.delete(column, row, 0) for column in picks))
    saved.model.turn = float(picks.rotation[row]) + 0.1
    found = measure(saved, image, picks.positions[[row]] + 1.0, others, device="cpu")
    turned = np.angle(np.exp(1j * (found.rotation[0] - picks.rotation[row])))
    assert abs(turned) < 0.08 and found.score[0] > 0.8
    np.testing.assert_array_equal(found.positions, picks.positions[[row]] + 1.0)
    # between the rods there is nothing
    corner = picks.positions[[row]] + SIDE / 2
    alone = measure(saved, image, corner, picks, device="cpu")
    assert alone.score[0] < 0.3
    # a neighbor that is known is none of it
    twice = measure(saved, image, picks.positions[[row]], picks, device="cpu")
    assert twice.score[0] < found.score[0] - 0.3


def test_what_does_not_fit_the_model_is_not_measured(scene) -> None:
    saved, image, picks, _ = scene
    with pytest.raises(InputError, match="in color"):
        measure(saved, np.stack([image] * 3, -1), picks.positions[:1], device="cpu")
