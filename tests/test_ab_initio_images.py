"""Structures found in a mixture of images, and models that begin with them."""

from dataclasses import replace
from math import log, pi
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_equipose.evaluation import gauge_free_errors
from napari_equipose.geometry import InputError, Poses, apply_poses
from napari_equipose.inference import (
    AbInitioConfig,
    Structures,
    ab_initio_images,
    encode,
    finish,
)
from napari_equipose.inference._picture_search import PictureSearch, Placed, windowed
from napari_equipose.models import Harmony, HarmonyConfig, Normalisation
from napari_equipose.models._harmony_reading import Reading
from napari_equipose.models._harmony_transforms import Transforms
from napari_equipose.training import TrainingRun, _structures, harmony_preset, train

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE, EACH, SCALE = 24, 20, 1.25
SHAPES = [
    [(0, -6, 1.0), (0, -3, 0.7), (0, 0, 1.0), (0, 3, 1.0), (0, 6, 1.4)],
    [(-5, 0, 1.0), (3, 4, 1.6), (3, -4, 0.7)],
    [(0, 0, 1.8), (1, 5, 1.2), (-4, 2, 0.5)],
]
"""Spots at (y, x) from the middle, each of its own strength."""


def shape(places: list[tuple[float, float, float]]) -> Tensor:
    line = torch.arange(SIZE) - SIZE // 2
    spots = [
        strength * torch.exp(-((line[:, None] - y) ** 2 + (line - x) ** 2) / 4)
        for y, x, strength in places
    ]
    return torch.stack(spots).sum(0)


class Mixture:
    """Shapes turned, shifted, scaled, and under noise: ``image(s R x + t) = shape(x)``."""

    def __init__(self, scale: float, noise: float) -> None:
        rng = np.random.default_rng(0)
        self.label = np.tile(np.arange(len(SHAPES)), EACH)
        n = len(self.label)
        self.rotation, self.translation = rng.uniform(-pi, pi, n), rng.uniform(-1.5, 1.5, (n, 2))
        self.log_scale = rng.uniform(-log(scale), log(scale), n)
        rest = torch.stack([shape(places) for places in SHAPES])[self.label].unsqueeze(1)
        known = (self.rotation, self.translation, np.exp(self.log_scale))
        turn, shift, factor = (torch.from_numpy(part).float() for part in known)
        seen = apply_poses(rest, Poses(turn, shift), scale=factor)
        random = torch.Generator().manual_seed(0)
        self.images = seen + noise * seen.std() * torch.randn(seen.shape, generator=random)

    def find(self, config: AbInitioConfig, scale: float) -> Structures:
        read = lambda rows: self.images[torch.from_numpy(rows)]  # noqa: E731
        return finish(ab_initio_images(read, len(self.images), config, 2 * log(scale)))


@pytest.mark.parametrize(("scale", "noise"), [(1.0, 1.0), (SCALE, 0.3)])
def test_structures_are_told_apart_and_posed_without_references(scale: float, noise: float) -> None:
    mixture = Mixture(scale, noise)
    config = AbInitioConfig(structures=5, particles=12, rounds=2, max_shift=2.0)
    found = mixture.find(config, scale)
    assert found.averages.shape[1:] == (1, SIZE, SIZE)
    true = mixture.label[found.rows]
    kinds = [set(true[found.label == name]) for name in range(len(found.averages))]
    assert all(len(kind) == 1 for kind in kinds) and set().union(*kinds) == {0, 1, 2}
    assert (found.label >= 0).all()
    assert (found.scale is None) == (scale == 1.0)
    for name in range(len(found.averages)):
        mine = found.label == name
        error = found.poses.rotation.numpy()[mine] - mixture.rotation[found.rows[mine]]
        assert gauge_free_errors(error, 1).median < 8
        if found.scale is not None:
            known = mixture.log_scale[found.rows[mine]]
            assert np.corrcoef(np.log(found.scale[mine]), known)[0, 1] > 0.9


def test_what_is_alike_is_joined_and_laid_on_what_is_likest() -> None:
    first, second, _ = (shape(places)[None, None] for places in SHAPES)
    pose = Poses(torch.tensor([1.1]), torch.tensor([[1.0, -0.5]]))
    copies = torch.cat([first, apply_poses(first, pose, scale=torch.tensor([1.1])), second])
    search = PictureSearch(SIZE, 2.0, log(1.3))
    joined = search.join(windowed(copies), [3, 2, 5], alike=0.92)
    assert len(joined) == 2
    assert min((one - windowed(first)).norm() for one in joined) < 1e-5  # the one of more images


def test_a_picture_is_found_where_it_was_put() -> None:
    picture = windowed(shape(SHAPES[1])[None, None])
    turn, shift = torch.tensor([2.4, -1.3]), torch.tensor([[1.3, -2.1], [-0.4, 0.0]])
    scale = torch.tensor([1.2, 0.85])
    images = apply_poses(picture.expand(2, -1, -1, -1), Poses(turn, shift), scale=scale)
    other = windowed(shape(SHAPES[0])[None, None])
    search = PictureSearch(SIZE, 3.0, log(1.3))
    placed, label = finish(search.compare(5 * images + 2, torch.cat((other, picture)), ""))
    assert label.tolist() == [1, 1]
    assert (placed.rotation - turn).abs().max() < np.radians(3)
    assert (placed.translation - shift).abs().max() < 0.3
    assert (placed.log_scale - scale.log()).abs().max() < 0.04
    assert placed.score.min() > 0.97


def test_the_mean_of_shift_and_scale_is_taken_out_in_the_frame_of_the_picture() -> None:
    torch.manual_seed(0)
    placed = Placed(torch.rand(30) * 6, torch.randn(30, 2), torch.rand(30), torch.ones(30))
    still = placed.about_the_mean()
    assert still.log_scale.mean().abs() < 1e-5
    matrix = Poses(still.rotation, still.translation).matrix * placed.log_scale.exp()[:, None, None]
    middles = torch.linalg.solve(matrix, still.translation)
    assert middles.mean(0).norm() < 1e-5
    images = torch.rand(30, 1, SIZE, SIZE)
    moved = torch.linalg.solve(matrix, placed.translation - still.translation)
    assert moved.std(0).norm() < 1e-4  # all by the same, at rest
    assert placed.bring_to_rest(images).shape == images.shape


def test_guidance_knows_of_scale() -> None:
    config = HarmonyConfig(box_size=16, scale_range=1.3, width=4, n_pictures=4)
    model = Harmony(config)
    eye, zero = torch.eye(2)[None], torch.zeros(1)
    still = Transforms(eye, torch.zeros(1, 2), zero, zero, zero)
    model.ranges.random = lambda n, like: still  # type: ignore[method-assign]
    found = still._replace(log_scale=torch.tensor([0.2]))
    content = torch.ones(1, 1)
    reading = Reading(found, content, content.log() + log(0.1))
    model._read = lambda images: reading  # type: ignore[method-assign]

    def loss(scale: float) -> float:
        pose = Poses(zero, torch.zeros(1, 2))
        seen = torch.rand(1, 1, 16, 16)
        return float(model.guided_loss(seen, content, 0.1, pose, torch.tensor([scale]).exp()))

    assert loss(0.2) == pytest.approx(0, abs=1e-9)
    # 0.1 of half the way to the edge, 4 pixels, in two dimensions
    assert loss(0.3) == pytest.approx(0.4**2 / 2, rel=1e-4)


def test_a_model_begins_with_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_structures, "_READING_STEPS", {2: 100})
    mixture = Mixture(SCALE, 0.1)
    config, training = harmony_preset(
        "fast",
        box_size=SIZE,
        n_images=200,
        transformations=["rotation", "translation", "scale"],
    )
    assert training.structures > 1
    config = replace(config, width=8, n_pictures=8, translation_range=2.0, scale_range=SCALE)
    training = replace(
        training, epochs=1, steps_per_epoch=1, learning_rate=1e-5, batch_size=16, structures=4
    )
    normalisation = Normalisation(kind="shared")
    saved = finish(
        train(
            mixture.images, config, training, normalisation=normalisation,
            output=tmp_path / "m.safetensors", kind="harmony", device="cpu",
        )
    )  # fmt: skip
    found = finish(encode(saved, mixture.images[:, 0].numpy(), device="cpu"))
    kinds = np.array(saved.record["structures"])[:, 0]
    nearest = abs(found.content - kinds).argmin(1)
    assert all(len(set(mixture.label[nearest == name])) <= 1 for name in range(len(kinds)))
    assert found.scale is not None and np.median(found.score) > 0.7
    error = found.rotation - mixture.rotation
    assert gauge_free_errors(error, 1, nearest).median < 8
    for name in set(nearest):
        mine = nearest == name
        known = mixture.log_scale[mine]
        assert np.corrcoef(np.log(found.scale[mine]), known)[0, 1] > 0.9
    alone = finish(encode(saved, mixture.images[:, 0].numpy(), refine=False, device="cpu"))
    assert (found.score >= alone.score - 1e-6).all()  # the search only makes it better


def test_few_images_or_contrast_are_not_searched(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 8 images are needed, got 7"):
        next(ab_initio_images(lambda rows: torch.zeros(len(rows), 1, 16, 16), 7))
    kind: dict[str, int] = {"box_size": 16, "channels": 1}
    for n, settings, searched in (
        (1000, {}, True),
        (50, {}, False),
        (1000, {"contrast_range": 2.0}, False),
        (1000, {"rotation_range": 1.0}, False),
    ):
        run = TrainingRun(model="harmony", settings=settings)
        _, training = run.configurations(n_images=n, likelihood="gaussian", **kind)
        assert (training.structures > 1) == searched
    config, training = harmony_preset("fast", box_size=16, transformations=["rotation", "contrast"])
    assert training.structures == 0
    job = train(
        torch.randn(30, 1, 16, 16), config, replace(training, structures=4),
        normalisation=Normalisation(), output=tmp_path / "m.safetensors", kind="harmony",
        device="cpu",
    )  # fmt: skip
    with pytest.raises(InputError, match="of images no contrast; set structures to 0"):
        finish(job)


def test_what_is_drawn_of_several_structures_is_kept() -> None:
    for found, kept in (([[-1.0], [1.0]], True), ([[0.0]], False)):
        model = Harmony(HarmonyConfig(box_size=16, width=4, n_pictures=4))
        _structures.keep_structures(model, found)
        assert all(weights.requires_grad != kept for weights in model.decoder.parameters())
        assert all(weights.requires_grad for weights in model.encoder.parameters())
