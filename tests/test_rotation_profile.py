"""The symmetry of objects, from how well they fit when they are turned."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_equipose.geometry import InputError, Poses, apply_poses
from napari_equipose.inference import (
    Progress,
    RotationProfile,
    Symmetry,
    finish,
    rotation_profile,
    suggest_symmetry,
)
from napari_equipose.inference._symmetric_centre import symmetric_centre
from napari_equipose.models import Capabilities, Normalisation, SavedModel

SIDE = 32


class Drawn(torch.nn.Module):
    """A model that draws one picture (channels, y, x), whatever the content."""

    def __init__(self, picture: NDArray[Any], dimensions: int = 2) -> None:
        super().__init__()
        self.picture = torch.nn.Parameter(torch.from_numpy(picture).float())
        self.config = SimpleNamespace(box_size=SIDE, channels=len(picture), content_dim=1)
        self.dimensions = dimensions

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            dimensions=frozenset({self.dimensions}),
            infers=frozenset(),
            fully_convolutional=False,
            clusters=False,
        )

    def generate(self, content: Tensor, poses: Any = None, box_size: Any = None) -> Tensor:
        return self.picture.expand(len(content), -1, -1, -1)


def ring(weights: list[float], width: float = 2.0) -> NDArray[np.float64]:
    """Blobs on a ring, of these weights."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    picture = np.zeros((SIDE, SIDE))
    for number, weight in enumerate(weights):
        angle = 2 * np.pi * number / len(weights) + 0.3
        apart = np.hypot(y + 9 * np.sin(angle), x - 9 * np.cos(angle))
        picture += weight * np.exp(-0.5 * (apart / width) ** 2)
    return picture


class Scene(NamedTuple):
    boxes: NDArray[Any]
    translation: NDArray[Any]
    scale: NDArray[Any]
    rotation: NDArray[Any]


def scene(picture: NDArray[Any], *, n: int = 120, snr: float = 1.0, blur: float = 0.0) -> Scene:
    """Copies of a picture at random poses, in noise."""
    rng = np.random.default_rng(1)
    rotation = torch.from_numpy(rng.uniform(-np.pi, np.pi, n)).float()
    shift = torch.from_numpy(rng.normal(0, 1, (n, 2))).float()
    scale = torch.from_numpy(rng.uniform(0.9, 1.1, n)).float()
    objects = torch.from_numpy(picture).float().expand(n, 1, SIDE, SIDE)
    images = apply_poses(objects, Poses(rotation, shift), scale=scale)[:, 0].numpy()
    noise = rng.normal(size=images.shape)
    if blur:
        noise = ndimage.gaussian_filter(noise, (0, blur, blur))
    noise *= picture.std() / snr**0.5 / noise.std()
    return Scene(
        (images + noise).astype(np.float32), shift.numpy(), scale.numpy(), rotation.numpy()
    )


def saved(picture: NDArray[Any], **more: Any) -> SavedModel:
    stacked = picture if picture.ndim == 3 else picture[None]
    return SavedModel(kind="test", model=Drawn(stacked, **more), normalisation=Normalisation())


def profile(drawn: NDArray[Any], made: Scene, **more: Any) -> RotationProfile:
    content = np.zeros((len(made.boxes), 1))
    job = rotation_profile(
        saved(drawn), made.boxes, content, made.translation, scale=made.scale, **more
    )
    return finish(job)


def misdrawn(picture: NDArray[Any]) -> NDArray[Any]:
    """Add what a model learnt of noise, which is not symmetric."""
    junk = np.random.default_rng(7).normal(size=picture.shape)
    return picture + 0.1 * picture.std() * ndimage.gaussian_filter(junk, 1) * 3


@pytest.mark.parametrize("snr", [10.0, 1.0, 0.1])
@pytest.mark.parametrize(
    ("weights", "fold"),
    [
        ([1, 0.4, 0], 1),
        ([1, 1], 2),
        ([1, 1, 1], 3),
        ([1, 0.5, 1, 0.5], 2),
        ([1] * 6, 6),
        ([1] * 7, 7),
    ],
    ids=["C1", "C2", "C3", "C2 of four", "C6", "C7"],
)
def test_the_symmetry_of_objects_in_noise_is_told(
    weights: list[float], fold: int, snr: float
) -> None:
    picture = ring(weights)
    for drawn in (picture, misdrawn(picture)):
        found = suggest_symmetry(profile(drawn, scene(picture, snr=snr)))
        assert found.fold == fold
        assert found.confidence > 0.9


@pytest.mark.parametrize(
    ("weights", "fold"), [([1, 0.4, 0], 1), ([1, 1], 2), ([1, 1, 1], 3), ([1] * 7, 7)]
)
def test_the_middle_of_an_object_need_not_be_the_origin_of_the_model(
    weights: list[float], fold: int
) -> None:
    picture = ndimage.shift(ring(weights), (2.3, -2.6))
    made = scene(picture, snr=1.0)
    assert suggest_symmetry(profile(picture, made)).fold == 1  # about the origin it is not alike
    found = suggest_symmetry(profile(misdrawn(picture), made, rotation=made.rotation))
    assert found.fold == fold and found.confidence > 0.9


def test_the_middle_is_found_where_the_object_was_put() -> None:
    at = np.array([2.3, -2.6])
    for weights in ([1, 1], [1, 1, 1], [1] * 7):
        drawn = torch.from_numpy(ndimage.shift(ring(weights), at)).float()
        found = symmetric_centre(drawn[None, None])
        np.testing.assert_allclose(found, at, atol=0.15)
    assert symmetric_centre(torch.zeros(2, 3, SIDE, SIDE)).tolist() == [0, 0]


@pytest.mark.parametrize("odd", [0.0, 0.5], ids=["one of seven missing", "one of seven faint"])
def test_what_is_almost_symmetric_is_not(odd: float) -> None:
    picture = ring([odd, 1, 1, 1, 1, 1, 1])
    for snr in (10.0, 1.0):
        found = suggest_symmetry(profile(picture, scene(picture, snr=snr)))
        assert found.fold == 1
        assert found.confidence > 0.9


def test_noise_that_is_coloured_makes_no_angle_better() -> None:
    picture = ring([1] * 7)
    drawn = misdrawn(picture)
    made = profile(drawn, scene(picture, snr=0.3, blur=1.5))
    assert suggest_symmetry(made).fold == 7
    sevenths = np.interp(np.arange(7) * 2 * np.pi / 7, made.angle, made.likeness, period=2 * np.pi)
    np.testing.assert_allclose(sevenths, 1, atol=0.05)


def test_no_turn_can_be_told_of_round_objects_nor_of_noise() -> None:
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    disc = np.exp(-0.5 * (y**2 + x**2) / 25)
    made = scene(disc)
    for drawn in (disc, misdrawn(disc)):
        found = suggest_symmetry(profile(drawn, made))
        assert found.fold == 0
        assert found.confidence > 0.7
    noise = np.random.default_rng(0).normal(size=made.boxes.shape).astype(np.float32)
    found = suggest_symmetry(profile(ring([1, 0.4, 0]), made._replace(boxes=noise)))
    assert found.fold == 0
    assert found.confidence > 0.7


def test_the_profile_is_the_likeness_of_the_object_to_itself_turned() -> None:
    picture = ring([1, 0.6, 0.2])
    made = profile(picture, scene(picture, snr=30.0), n_angles=72)
    assert made.likeness.shape == made.posterior.shape == made.angle.shape == (72,)
    assert made.likeness[0] == 1
    np.testing.assert_allclose(made.posterior.sum(), 1)
    np.testing.assert_allclose(made.likeness.mean(), 0, atol=1e-6)
    middle = np.full(2, SIDE // 2)
    alike = np.empty(72)
    for number, angle in enumerate(made.angle):
        matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        offset = middle - matrix @ middle
        alike[number] = (picture * ndimage.affine_transform(picture, matrix, offset)).sum()
    expected = (alike - alike.mean()) / (alike[0] - alike.mean())
    np.testing.assert_allclose(made.likeness, expected, atol=0.05)  # the best angles are noisy


def test_the_posterior_has_a_peak_for_each_turn_that_fits() -> None:
    near = np.cos(np.arange(360) * np.pi / 60) > 0.5  # within a sixth of a period of each third
    thirds = (np.arange(360) + 60) // 120 % 3
    for weights, equal in (([1, 1, 1], True), ([1, 0.4, 0], False)):
        picture = ring(weights)
        made = profile(picture, scene(picture, n=400, snr=1.0))
        parts = np.bincount(thirds[near], made.posterior[near], 3)
        expected = [1 / 3, 1 / 3, 1 / 3] if equal else [1, 0, 0]
        np.testing.assert_allclose(parts, expected, atol=0.1)


def test_colours_tell_apart_what_grey_does_not() -> None:
    red, green = ring([1, 0, 1, 0]), ring([0, 1, 0, 1])
    colours = np.stack([red, green, 0 * red])
    made = [scene(one, snr=5.0) for one in colours[:2]]  # at the same poses
    boxes = np.stack([made[0].boxes, made[1].boxes, 0.01 * made[0].boxes], -1)
    assert suggest_symmetry(profile(colours, made[0]._replace(boxes=boxes))).fold == 2
    grey = boxes[..., :2].sum(-1)
    assert suggest_symmetry(profile(red + green, made[0]._replace(boxes=grey))).fold == 4


def test_a_seed_repeats_it_and_no_more_boxes_are_read_than_are_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = "napari_equipose.inference._rotation_profile"
    monkeypatch.setattr(f"{module}._MOST_OBJECTS", 20)
    monkeypatch.setattr(f"{module}._BATCH", 8)
    picture = ring([1, 0.4, 0])
    made = scene(picture)
    content, seen = np.zeros((120, 1)), list[Progress]()
    job = rotation_profile(saved(picture), made.boxes, content, made.translation, seed=3)
    first = finish(job, seen.append)
    assert [step[:2] for step in seen] == [(8, 20), (16, 20), (20, 20)]
    assert first.fits.shape == (20, 360)
    again = rotation_profile(saved(picture), made.boxes, content, made.translation, seed=3)
    np.testing.assert_array_equal(finish(again).fits, first.fits)


def test_one_object_says_too_little() -> None:
    picture = ring([1, 0.4, 0])
    found = suggest_symmetry(profile(picture, scene(picture, n=1)))
    assert found == Symmetry(0, found.confidence)


def test_what_has_no_profile_is_refused() -> None:
    picture, made = ring([1, 1]), scene(ring([1, 1]), n=10)
    content = np.zeros((10, 1))

    def refused(message: str, model: SavedModel, *more: Any, **options: Any) -> None:
        with pytest.raises(InputError, match=message):
            finish(rotation_profile(model, *more, **options))

    boxes, shift = made.boxes, made.translation
    refused("model is of volumes", saved(picture, dimensions=3), boxes, content, shift)
    refused("at least 48 angles", saved(picture), boxes, content, shift, n_angles=36)
    refused(r"boxes of shape \(32, 32\)", saved(picture), boxes[:, :16], content, shift)
    refused("one content and one translation", saved(picture), boxes, content[1:], shift)
    refused(r"content of \(m, 1\)", saved(picture), boxes, np.zeros((10, 2)), shift)
