"""Structures found in a mixture of volumes, and models that begin with them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from napari_equipose.evaluation import geodesic_errors
from napari_equipose.geometry import InputError, MissingWedge, Poses3D, resample
from napari_equipose.inference import (
    AbInitioConfig,
    Progress,
    Structures,
    ab_initio,
    average_volumes,
    encode,
    finish,
)
from napari_equipose.inference._structure_search import StructureSearch
from napari_equipose.models import Normalisation
from napari_equipose.simulation import (
    DensityMap,
    SubtomogramConfig,
    Subtomograms,
    simulate_subtomograms,
)
from napari_equipose.training import _structures, harmony_preset, train

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE, EACH = 16, 16
STAR = [(0, 0, 0, 3.0), (0, 0, 4.5, 2.0), (0, -4, -2, 1.8), (4, 2, 0, 1.6)]
ROD = [(0, 0, -5, 2.0), (0, 0, -2.5, 1.5), (0, 0, 0, 1.5), (3, 0, 2.5, 2.0), (0, 4, 4, 3.0)]
"""Balls at (z, y, x) from the centre, each of its own strength."""


def balls(places: list[tuple[float, ...]]) -> np.ndarray:
    grid = np.indices((SIZE,) * 3) - SIZE // 2
    density = np.zeros((SIZE,) * 3)
    for *at, strength in places:
        away = sum((axis - place) ** 2 for axis, place in zip(grid, at, strict=True))
        density += strength * np.exp(-away / (2 * 1.3**2))
    return density


@pytest.fixture(scope="module")
def mixture() -> Subtomograms:
    config = SubtomogramConfig(
        n=EACH, box_size=SIZE, pixel_size=8.0, snr=5.0, max_shift=1.0, defocus=0.0, b_factor=0.0
    )
    maps = [DensityMap(balls(places), 8.0) for places in (STAR, ROD)]
    return simulate_subtomograms(maps, np.random.default_rng(0), config)


@pytest.fixture(scope="module")
def boxes(mixture: Subtomograms) -> Tensor:
    volumes = Normalisation(kind="standard").of_stack(mixture.volumes)
    return torch.from_numpy(volumes).unsqueeze(1)


@pytest.fixture(scope="module")
def found(boxes: Tensor) -> Structures:
    config = AbInitioConfig(structures=2, particles=EACH, rounds=1, max_shift=1.5)
    return finish(
        ab_initio(lambda rows: boxes[torch.from_numpy(rows), 0], len(boxes), MissingWedge(), config)
    )


def test_structures_are_told_apart_and_posed_without_references(
    mixture: Subtomograms, found: Structures
) -> None:
    true_label = mixture.truth.label[found.rows]
    assert sorted(found.rows) == list(range(2 * EACH)) and len(found.averages) == 2
    same = found.label == true_label
    assert same.all() or not same.any()
    for name in range(2):
        rows = found.label == name
        truth = mixture.truth.rotation[found.rows[rows]]
        errors = geodesic_errors(found.poses.rotation[rows].numpy(), truth)
        assert errors.median < 15


def test_a_random_label_would_not_pass(mixture: Subtomograms, found: Structures) -> None:
    one = mixture.truth.label[found.rows] == 0
    mixed = geodesic_errors(
        np.random.default_rng(0).permutation(found.poses.rotation[one].numpy()),
        mixture.truth.rotation[found.rows[one]],
    )
    assert mixed.median > 40


def test_averages_look_like_the_structures(mixture: Subtomograms, found: Structures) -> None:
    first = int(found.label[np.flatnonzero(found.rows == 0)[0]])
    power = [np.sort(balls(places).ravel())[::-1][:50] for places in (STAR, ROD)]
    for name, other in ((0, 1), (1, 0)):
        average = found.averages[first if name == 0 else 1 - first]
        profile = np.sort(average.ravel())[::-1][:50]
        own, wrong = (np.corrcoef(profile, power[k])[0, 1] for k in (name, other))
        assert own > 0.9 and own >= wrong - 0.05


NEARLY_TWOFOLD = [
    (0, 0, -5, 2.0),
    (0, 0, 5, 2.2),
    (0, 0, 0, 2.0),
    (0, 2.5, -4, 1.2),
    (0, 0, 2.5, 1),
]


def test_particles_that_are_nearly_the_same_half_a_turn_on_are_not_left_the_wrong_way_round() -> (
    None
):
    """A coarse grid of rotations takes one way for the other; the finer search must see both."""
    density = balls(NEARLY_TWOFOLD)
    config = SubtomogramConfig(
        n=40, box_size=SIZE, pixel_size=8.0, snr=1.0, max_shift=1.0, defocus=0.0, b_factor=0.0
    )
    made = simulate_subtomograms([DensityMap(density, 8.0)], np.random.default_rng(0), config)
    job = StructureSearch(MissingWedge(), 1.5).compare(
        torch.from_numpy(made.volumes), [torch.from_numpy(density).float()], "sorting"
    )
    poses, _, _ = finish(job)
    errors = geodesic_errors(poses.rotation.numpy(), made.truth.rotation)
    assert np.mean(errors.degrees < 25) > 0.8  # 0.6 where only the best of the grid goes on
    assert errors.median < 13


def test_twice_the_same_structure_is_joined() -> None:
    star, rod = (torch.from_numpy(balls(places)).float() for places in (STAR, ROD))
    turn = torch.from_numpy(Rotation.from_rotvec([0.3, 1.0, -0.5]).as_matrix()).float()
    turned = resample(star[None, None], turn[None], torch.zeros(1, 3))[0, 0]
    joined = StructureSearch(None, 1.5).join([star, turned, rod], np.array([1, 2, 1]), alike=0.92)
    assert len(joined) == 2
    likeness = [float((turned * one).sum() / (turned.norm() * one.norm())) for one in joined]
    assert max(likeness) > 0.98  # the one of more volumes stayed, and where it was


def test_too_few_volumes_and_odd_settings_are_refused(boxes: Tensor) -> None:
    with pytest.raises(InputError, match="at least 8 volumes"):
        next(ab_initio(lambda rows: boxes[torch.from_numpy(rows), 0], 7))
    for setting in ({"structures": 0}, {"particles": 2}, {"rounds": 0}, {"max_shift": 0.0}):
        with pytest.raises(InputError, match=next(iter(setting))):
            AbInitioConfig(**setting)


def test_a_model_begins_with_what_was_found(
    boxes: Tensor, mixture: Subtomograms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = mixture.truth

    def known(read: object, n: int, wedge: MissingWedge, config: AbInitioConfig):
        yield Progress(1, 1, "looking for structures")
        poses = Poses3D(*(torch.from_numpy(part[:n]).float() for part in truth[1:]))
        averages = [
            average_volumes(boxes[rows, 0].numpy(), Poses3D(*(part[rows] for part in poses)), wedge)
            for rows in (np.flatnonzero(truth.label[:n] == name) for name in range(2))
        ]
        return Structures(
            np.stack(averages), np.arange(n), truth.label[:n], poses, np.ones(n, np.float32)
        )

    monkeypatch.setattr(_structures, "ab_initio", known)
    monkeypatch.setattr(_structures, "split", lambda n, config: (torch.arange(n), torch.arange(2)))
    config, training = harmony_preset("fast", box_size=SIZE, dimensions=3, n_images=len(boxes))
    config = replace(
        config, width=8, hypotheses=24, translation_range=1.5, tilt_min_deg=-60, tilt_max_deg=60
    )
    training = replace(
        training, epochs=1, steps_per_epoch=1, learning_rate=3e-3, warm_up_steps=1000, batch_size=8
    )
    job = train(
        boxes, config, training, normalisation=Normalisation(kind="standard"),
        output=tmp_path / "m.safetensors", kind="harmony", device="cpu",
    )  # fmt: skip
    saved = finish(job)
    label = truth.label
    inferred = finish(encode(saved, mixture.volumes, refine=False, device="cpu"))
    content = inferred.content[:, 0]
    apart = abs(content[label == 0].mean() - content[label == 1].mean())
    assert apart > 2 * max(content[label == name].std() for name in range(2))
    looked_for = finish(encode(saved, mixture.volumes, device="cpu"))
    structures = np.array(saved.record["structures"])
    assert np.allclose(looked_for.content, structures[label], atol=1e-6)
    for name in range(2):
        rows = label == name
        assert geodesic_errors(looked_for.rotation[rows], truth.rotation[rows]).median < 15
        between = looked_for.translation[rows] - truth.translation[rows]
        moved = np.einsum("nji,nj->ni", looked_for.rotation[rows], between)
        assert np.median(np.linalg.norm(moved - np.median(moved, 0), axis=1)) < 1


@pytest.mark.parametrize("change", [{"dimensions": 2}, {"rotation_range": 1.0}])
def test_structures_are_only_for_boxes_that_turn(change: dict[str, float], tmp_path: Path) -> None:
    config, training = harmony_preset(
        "fast", box_size=SIZE, dimensions=3, transformations=["translation"]
    )
    assert training.structures == 0
    config = replace(config, **change)
    shape = (24, 1, *[SIZE] * config.dimensions)
    job = train(
        torch.randn(shape), config, replace(training, structures=4),
        normalisation=Normalisation(kind="standard"), output=tmp_path / "m.safetensors",
        kind="harmony", device="cpu",
    )  # fmt: skip
    with pytest.raises(InputError, match="set structures to 0"):
        finish(job)


def test_a_handful_of_volumes_is_not_searched() -> None:
    _, few = harmony_preset("fast", box_size=SIZE, dimensions=3, n_images=20)
    _, many = harmony_preset("fast", box_size=SIZE, dimensions=3, n_images=200)
    assert few.structures == 0 and many.structures > 1
