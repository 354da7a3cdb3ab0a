"""Detection: found where they are, turned as they are, also when they touch."""

from dataclasses import replace
from math import pi

import numpy as np
import pytest
import tiny
import torch
from scipy import ndimage

from napari_equipose.evaluation import gauge_free_errors, match_picks, pick_scores
from napari_equipose.geometry import InputError, Poses, apply_poses
from napari_equipose.inference import (
    DetectionConfig,
    calibrate,
    detect,
    encode,
    finish,
    isolate,
    long_axis,
    suggest_threshold,
)
from napari_equipose.inference._refine import Templates, refine_poses
from napari_equipose.models import Normalisation, SavedModel, TargetVAE
from napari_equipose.training import TrainingConfig, fit

SIZE = 25


def key() -> torch.Tensor:
    """An object that looks different at every rotation, its centroid in the middle."""
    picture = np.zeros((SIZE, SIZE))
    picture[10:14, 5:19] = 1
    picture[6:10, 15:19] = 1
    picture[14:17, 5:8] = 1
    shift = SIZE // 2 - np.array(ndimage.center_of_mass(picture))
    smooth = ndimage.shift(ndimage.gaussian_filter(picture, 0.7), shift, order=1)
    return torch.from_numpy(smooth).float()[None, None]


def scene(places: np.ndarray, angles: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Keys at places (n, 2) from the top left pixel, added up."""
    middle = torch.tensor([side // 2 for side in shape])
    poses = Poses(torch.from_numpy(angles).float(), torch.from_numpy(places).float() - middle)
    drawn = apply_poses(key().expand(len(places), -1, -1, -1), poses, shape)
    return drawn.sum((0, 1)).numpy()


@pytest.fixture(scope="module")
def saved() -> SavedModel:
    config = replace(
        tiny.MODEL,
        box_size=32,
        object_size=SIZE,
        fields=24,
        binning=2,
        content_dim=1,
        generator_width=48,
        n_features=64,
        translation_range=6,
        translation_std=3,
        likelihood="bernoulli",
        temperature=0.6,
    )
    generator = torch.Generator().manual_seed(0)
    n = 1000
    poses = Poses(
        torch.rand(n, generator=generator) * 2 * pi, 3 * torch.randn(n, 2, generator=generator)
    )
    images = apply_poses(key().expand(n, -1, -1, -1), poses, (32, 32))
    torch.manual_seed(0)
    model = TargetVAE(config)
    training = TrainingConfig(
        epochs=25, batch_size=50, learning_rate=5e-3, schedule="cosine", warm_up_steps=50
    )
    for _ in fit(model, images, training):
        pass
    model.eval()
    return SavedModel(kind="target-vae", model=model, normalisation=Normalisation(kind="unit"))


@pytest.fixture(scope="module")
def grid() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    places = np.array([(y, x) for y in range(25, 180, 32) for x in range(25, 240, 34)], float)
    return places + rng.uniform(-2, 2, places.shape), rng.uniform(0, 2 * pi, len(places))


def test_every_object_is_found_to_a_fraction_of_a_pixel(saved, grid) -> None:
    places, angles = grid
    image = scene(places, angles, (200, 251))
    picks = finish(detect(saved, image))
    assert pick_scores(picks.positions, places, 3).f1 == 1
    matches = match_picks(picks.positions, places, 3)
    assert np.median(matches.distance) < 0.5
    error = picks.rotation[matches.found] - angles[matches.truth]
    assert gauge_free_errors(error).median < 3
    assert picks.score.min() > 0.5 and (np.diff(picks.score) <= 0).all()


def test_touching_and_overlapping_objects_are_told_apart(saved) -> None:
    places = np.array([[30, 30], [30, 43], [70, 30], [79, 36], [70, 80], [70, 94]], float)
    angles = np.array([0.3, 1.2, 2.0, 4.0, 5.0, 3.3])
    image = scene(places, angles, (110, 120)).clip(0, 1)
    picks = finish(detect(saved, image))
    assert pick_scores(picks.positions, places, 4).f1 >= 0.9


def test_gain_offset_and_type_do_not_matter(saved, grid) -> None:
    image = scene(*(column[:6] for column in grid), (80, 260)).clip(0, 1)
    plain = finish(detect(saved, image))
    for other in ((255 * image).round().astype(np.uint8), (3e4 * image + 900).astype(np.uint16)):
        again = finish(detect(saved, other))
        np.testing.assert_allclose(again.positions, plain.positions, atol=0.1)
        np.testing.assert_allclose(again.score, plain.score, atol=0.02)


def test_tiles_do_not_show(saved, grid) -> None:
    image = scene(*(column[:12] for column in grid), (110, 260))
    whole = finish(detect(saved, image, DetectionConfig(tile_size=1000)))
    tiled = finish(detect(saved, image, DetectionConfig(tile_size=37)))
    np.testing.assert_allclose(tiled.positions, whole.positions, atol=1e-3)


def test_threshold_drops_the_weak(saved, grid) -> None:
    image = scene(*(column[:6] for column in grid), (80, 260))
    assert len(finish(detect(saved, image, DetectionConfig(threshold=0.999))).score) == 0


def test_noise_scores_below_objects(saved, grid) -> None:
    noise = np.random.default_rng(0).normal(size=(120, 120))
    chance = finish(detect(saved, noise)).score
    objects = finish(detect(saved, scene(*(column[:6] for column in grid), (80, 260)))).score
    assert max(chance, default=0) < objects.min() - 0.05


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((64, 64, 3)), r"gray images, and the image, of shape \(64, 64, 3\), is in color"),
        (np.random.default_rng(0).random((20, 64)), "smaller than an object of 25 pixels"),
        (np.ones((64, 64)), "constant"),
        (np.full((64, 64), np.nan), "NaN"),
    ],
    ids=["colour", "small", "constant", "nan"],
)
def test_images_that_can_not_be_searched_are_refused(saved, image, message) -> None:
    with pytest.raises(InputError, match=message):
        finish(detect(saved, image))


def test_isolated_boxes_show_one_object_each(saved) -> None:
    places = np.array([[40, 40], [40, 56], [58, 48]], float)
    angles = np.array([0.3, 1.2, 2.0])
    found = finish(isolate(saved, scene(places, angles, (100, 100)), 32))
    assert len(found.boxes) == 3
    alone = key().sum()
    np.testing.assert_allclose(found.boxes.sum((1, 2, 3)), alone, rtol=0.15)


def test_encoding_recovers_poses_of_boxes(saved) -> None:
    generator = torch.Generator().manual_seed(9)
    truth = Poses(torch.rand(40, generator=generator) * 6, torch.randn(40, 2, generator=generator))
    boxes = apply_poses(key().expand(40, -1, -1, -1), truth, (32, 32))[:, 0].numpy()
    encoding = finish(encode(saved, boxes))
    apart = np.abs(encoding.translation - truth.translation.numpy())
    assert np.median(apart) < 0.4
    assert gauge_free_errors(encoding.rotation - truth.rotation.numpy()).median < 3
    with pytest.raises(InputError, match=r"boxes of shape \(32, 32\)"):
        finish(encode(saved, boxes[:, 1:]))


def test_refinement_recovers_a_known_pose() -> None:
    truth = Poses(torch.tensor([0.7]), torch.tensor([[1.3, -0.8]]))
    weight = torch.ones(1, 1, SIZE, SIZE)
    nothing = torch.zeros(1, 1, 1, 1)
    templates = Templates(key(), nothing, weight, nothing, nothing + 1)
    image = 1.5 * apply_poses(key(), truth, (33, 33))
    start = Poses(truth.rotation + 0.2, truth.translation + 1.5)
    poses, score, contrast = refine_poses(image, templates, start, 15)
    assert poses.rotation.item() == pytest.approx(0.7, abs=0.01)
    assert torch.allclose(poses.translation, truth.translation, atol=0.05)
    assert score.item() > 0.99
    assert contrast.item() == pytest.approx(1.5, rel=0.02)
    assert refine_poses(image / 10, templates, start, 15)[2].item() == pytest.approx(0.5)


def test_contrast_is_held_to_what_was_decoded_however_often_it_is_fitted() -> None:
    nothing, pose = torch.zeros(1, 1, 1, 1), Poses(torch.tensor([0.7]), torch.tensor([[1.3, -0.8]]))
    templates = Templates(key(), nothing, torch.ones(1, 1, SIZE, SIZE), nothing, nothing + 1)
    faint = apply_poses(key(), pose, (33, 33)) / 10
    scores = []
    for _ in range(3):
        _, score, contrast = refine_poses(faint, templates, pose)
        templates = templates.scaled(contrast)
        scores.append(score.item())
    assert templates.factor.item() == pytest.approx(0.5)
    assert max(scores) < 0  # a tenth of what was learnt is worse explained than by background


def test_of_dark_objects_only_what_is_darker_counts() -> None:
    picture = -key()
    weight = (picture.abs() > 0.02).float()
    level, pose = torch.zeros(1, 1, 1, 1), Poses(torch.tensor([0.3]), torch.tensor([[1.0, -2.0]]))
    image = apply_poses(picture, pose, (37, 37))
    bright = image + (image > -0.1).float()  # a bright gap all around the object
    templates = Templates(picture, level, weight, level, level + 1)
    scores = [
        float(refine_poses(bright, templates._replace(side=side + level), pose)[1])
        for side in (-1.0, 0.0)
    ]
    assert scores[0] > 0.97
    assert scores[1] < 0.8


@pytest.mark.parametrize("angle", [0, 30, 75, -40])
@pytest.mark.parametrize("polarity", [None, "dark"])
def test_long_axis_is_that_of_the_drawn_object(saved, angle, polarity, monkeypatch) -> None:
    y, x = torch.meshgrid(*(torch.arange(SIZE) - SIZE // 2.0,) * 2, indexing="ij")
    turned = np.radians(angle)
    along = x * np.cos(turned) - y * np.sin(turned)  # counter-clockwise, y down
    across = x * np.sin(turned) + y * np.cos(turned)
    rod = -torch.exp(-((along / 7) ** 2) - (across / 2) ** 2)
    monkeypatch.setattr(saved.model, "generate", lambda content, *_: rod.expand(1, 1, SIZE, SIZE))
    found = long_axis(
        replace(saved, normalisation=Normalisation(polarity=polarity)), np.zeros((1, 1))
    )
    assert abs(np.sin(found - turned)) < 0.02


def test_suggested_threshold_parts_two_kinds_of_scores() -> None:
    rng = np.random.default_rng(0)
    scores = np.concatenate((rng.uniform(0.03, 0.06, 300), rng.uniform(0.3, 0.7, 100)))
    assert 0.06 < suggest_threshold(scores) < 0.3


def test_suggested_threshold_keeps_objects_of_one_kind_of_score() -> None:
    rng = np.random.default_rng(0)
    objects, chance = rng.lognormal(np.log(0.08), 0.2, 200), rng.uniform(0.02, 0.05, 100)
    threshold = suggest_threshold(np.concatenate((objects, chance[:10])), chance)
    assert (objects >= threshold).mean() > 0.95
    assert suggest_threshold(objects) > np.median(objects) / 1.2  # blind to chance: halves them


def test_calibrated_threshold_parts_objects_from_noise(saved) -> None:
    rng = np.random.default_rng(1)
    places = np.stack(np.mgrid[20:260:40, 20:260:40], -1).reshape(-1, 2).astype(float)
    image = scene(places, rng.uniform(0, 6, len(places)), (260, 260))
    image = image + rng.normal(0, 0.35, image.shape)
    threshold = finish(calibrate(saved, [image]))
    picks = finish(detect(saved, image, DetectionConfig(threshold=threshold, rounds=1)))
    scores = pick_scores(picks.positions, places, 4)
    assert scores.recall > 0.9  # of 36; how many threads trained the model decides on one or two
    assert scores.precision > 0.8
    lower = finish(detect(saved, image, DetectionConfig(threshold=0.001, rounds=1)))
    assert pick_scores(lower.positions, places, 4).precision < 0.6
