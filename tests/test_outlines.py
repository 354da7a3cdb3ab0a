"""Objects are told by their outlines, whatever their polarity and shape; a few clicks decide."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from napari_equipose.evaluation import gauge_free_errors, match_picks, pick_scores
from napari_equipose.geometry import InputError
from napari_equipose.inference._level_sets import Shapes, find_shapes, usual_edge
from napari_equipose.inference._outlines import Outlines, rotations, single_boxes, turn_of
from napari_equipose.inference._shape_model import cover, fit_shape_model, two_sizes
from napari_equipose.inference._shape_search import ShapeObjects
from napari_equipose.models import Normalisation
from napari_equipose.training import hypotheses, propose, propose_many

BOX = 40


class Bars(NamedTuple):
    image: NDArray[np.float32]
    positions: NDArray[np.float64]
    rotation: NDArray[np.float64]
    specks: NDArray[np.float64]


def ellipse(
    image: NDArray[np.float32], place: NDArray[np.float64], a: float, b: float, turn: float
) -> NDArray[np.bool_]:
    """Pixels of an ellipse of semi-axes a and b, its long axis turned counter-clockwise."""
    y, x = np.indices(image.shape)
    dy, dx = y - place[0], x - place[1]
    along, across = dx * np.cos(turn) - dy * np.sin(turn), dx * np.sin(turn) + dy * np.cos(turn)
    return (along / a) ** 2 + (across / b) ** 2 <= 1


def bars(sign: float = 1.0, seed: int = 0, n: int = 24, specks: int = 12) -> Bars:
    """Bars at random rotations among discs of the same contrast and of any smaller size."""
    rng = np.random.default_rng(seed)
    image = np.zeros((320, 320), np.float32)
    places: list[NDArray[np.float64]] = []
    for place in rng.uniform(24, 296, (5000, 2)):
        if all(np.hypot(*(place - other)) > 38 for other in places) and len(places) < n + specks:
            places.append(place)
    positions = np.array(places)
    rotation = rng.uniform(0, np.pi, n)
    for place, turn in zip(positions[:n], rotation, strict=True):
        image[ellipse(image, place, 15, 6, turn)] = rng.uniform(0.7, 1.3)
    for place in positions[n:]:  # of any size
        a = rng.uniform(2.5, 7)
        image[ellipse(image, place, a, 0.8 * a, 0.0)] = rng.uniform(0.7, 1.3)
    blurred = ndimage.gaussian_filter(image, 1.0)
    noisy = sign * blurred + rng.normal(0, 0.03, image.shape)
    return Bars(noisy.astype(np.float32), positions[:n], rotation, positions[n:])


@pytest.mark.parametrize("sign", [-1, 1])
def test_an_ellipse_is_read_as_it_was_drawn(sign: int) -> None:
    picture = np.zeros((80, 80), np.float32)
    picture[ellipse(picture, np.array([38.0, 43.0]), 14, 7, 0.5)] = sign
    picture = ndimage.gaussian_filter(picture, 1)
    shapes = find_shapes(picture, BOX, sign, usual_edge(picture, BOX))
    best = int(np.argmax(shapes.rim))
    np.testing.assert_allclose(shapes.position[best], [38, 43], atol=0.3)
    assert shapes.length[best] * BOX == pytest.approx(28, abs=1.5)
    assert shapes.width[best] * BOX == pytest.approx(14, abs=1.5)
    assert shapes.rotation[best] == pytest.approx(0.5, abs=0.05)


def test_a_ring_is_one_object_and_discs_that_touch_are_two() -> None:
    y, x = np.indices((90, 160))
    ring = np.abs(np.hypot(y - 45, x - 40) - 12) < 3
    discs = (np.hypot(y - 45, x - 105) < 12.5) | (np.hypot(y - 45, x - 130) < 12.5)
    picture = ndimage.gaussian_filter((ring | discs).astype(np.float32), 1)
    shapes = find_shapes(picture, BOX, 1, usual_edge(picture, BOX))
    rows = cover(shapes, shapes.rim * shapes.solidity**2, BOX, picture.shape)
    for place in ((45, 40), (45, 105), (45, 130)):
        away = np.linalg.norm(shapes.position[rows[:3]] - place, axis=1)
        assert away.min() < 1.5


def test_what_the_border_cuts_is_left_out() -> None:
    picture = np.zeros((60, 60), np.float32)
    picture[ellipse(picture, np.array([30.0, 2.0]), 12, 8, 0.0)] = 1
    shapes = find_shapes(ndimage.gaussian_filter(picture, 1), BOX, 1, [0.01, 0.01])
    assert not len(shapes.length)


def test_shapes_that_are_taken_do_not_cover_each_other() -> None:
    position = np.array([[20.0, 20], [21, 20], [40, 40]])
    ones = np.ones(3)
    shapes = Shapes(position, 0.5 * ones, 0.4 * ones, 0 * ones, ones, ones)
    assert cover(shapes, np.array([0.5, 0.9, 0.2]), 40, (64, 64)).tolist() == [1, 2]
    assert cover(shapes, np.array([0.5, 0.0, 0.2]), 40, (64, 64)).tolist() == [0, 2]


def test_two_sizes_are_parted_and_one_is_not() -> None:
    rng = np.random.default_rng(0)
    small, large = rng.normal(-1.5, 0.1, (40, 2)), rng.normal(-0.5, 0.1, (20, 2))
    found = two_sizes(np.concatenate([small, large]))
    assert found is not None
    kinds = found.probabilities(np.array([[-1.5, -1.5], [-0.5, -0.5]])).argmax(0)
    assert kinds[0] != kinds[1]
    assert two_sizes(rng.normal(-1, 0.3, (60, 2))) is None
    assert two_sizes(small[:5]) is None


def test_mixture_finds_a_tight_group_among_scattered_ones() -> None:
    rng = np.random.default_rng(1)
    group, rest = rng.normal(2, 0.2, (30, 4)), rng.normal(0, 1, (90, 4))
    features = np.concatenate([group, rest])
    member = np.where(np.arange(120) < 40, 0.8, 0.2)
    odds = fit_shape_model(features, np.stack([member, 1 - member])).log_odds(features)
    assert (odds[:30] > 0).mean() > 0.9
    assert (odds[30:] < 0).mean() > 0.9


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_bars_are_found_with_their_rotations(sign: float) -> None:
    scene = bars(sign)
    found = propose(scene.image, BOX)
    assert found.polarity == ("dark" if sign < 0 else "bright")
    scores = pick_scores(found.positions, scene.positions, 4)
    assert scores.recall >= 0.95
    assert scores.precision >= 0.6  # specks may be objects of another kind
    pairs = match_picks(found.positions, scene.positions, 4)
    turn = found.rotation[pairs.found] - scene.rotation[pairs.truth]
    assert np.degrees(np.abs((turn + np.pi / 2) % np.pi - np.pi / 2)).max() < 6
    assert gauge_free_errors(turn, 2).median < 2


def test_examples_choose_the_polarity_and_the_size() -> None:
    dark, bright = bars(-1.0, seed=2, n=30, specks=0), bars(1.0, seed=3, n=16, specks=14)
    image = np.concatenate([dark.image, bright.image], axis=1)
    assert propose(image, BOX).polarity == "dark"
    aside = np.array([0, 320])
    bright_bars, specks = bright.positions + aside, bright.specks + aside
    (found,) = propose_many([image], BOX, examples=[bright_bars[:3]])
    assert found.polarity == "bright"
    assert pick_scores(found.positions, bright_bars, 4).f1 >= 0.8
    (found,) = propose_many([image], BOX, examples=[specks[:3] + 1.0])
    assert found.polarity == "bright"
    near, _ = KDTree(found.positions).query(specks)
    assert (near < 4).mean() >= 0.8


def test_examples_help_in_the_image_that_they_are_in_and_in_the_others() -> None:
    first, second = bars(seed=4), bars(seed=5)
    found = propose_many([first.image, second.image], BOX, examples=[None, second.positions[:2]])
    for each, scene in zip(found, (first, second), strict=True):
        assert pick_scores(each.positions, scene.positions, 4).f1 >= 0.9


@pytest.mark.parametrize("place", [(-3.0, 10.0), (10.0, 400.0), (np.nan, 5.0)])
def test_examples_outside_of_the_image_are_refused(place: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="outside"):
        propose_many([bars().image], BOX, examples=[np.array([place])])
    with pytest.raises(InputError, match="examples for 2 images"):
        propose_many([bars().image], BOX, examples=[None, None])


def test_hypotheses_are_pictures_that_can_be_chosen_as_examples() -> None:
    scene = bars()
    answers = hypotheses([scene.image], BOX)
    assert sum(each.evidence for each in answers) <= 1 + 1e-6
    assert [each.evidence for each in answers] == sorted(
        (each.evidence for each in answers), reverse=True
    )
    best = answers[0]
    assert best.polarity == "bright"
    assert best.pictures.shape == (len(best.positions), BOX, BOX)
    assert pick_scores(best.positions, scene.positions, 4).precision == 1
    assert {each.polarity for each in answers} == {"dark", "bright"}
    (again,) = propose_many([scene.image], BOX, examples=[best.positions])
    assert len(again.positions) == best.n_objects


def test_boxes_show_one_object_each() -> None:
    image = np.zeros((64, 64), np.float32)
    for x in (20.0, 40.0):
        image[ellipse(image, np.array([32.0, x]), 12, 6, np.pi / 2)] = 1
    two = np.full(2, 1.0)
    objects = ShapeObjects(
        np.array([[32.0, 20], [32, 40]]), np.pi / 2 * two, 24 / BOX * two, 12 / BOX * two, two
    )
    boxes = single_boxes(image, objects, Normalisation(kind="unit"), BOX, 48)
    assert boxes.shape == (2, 1, 48, 48)
    for box in boxes:
        _, n = ndimage.label(box[0].numpy() > 0.5)
        assert n == 1
        assert box[0, 24, 24] == 1


def test_outline_tells_the_rotation_but_for_a_half_turn() -> None:
    rng = np.random.default_rng(0)
    turn = rng.uniform(-np.pi, np.pi, 50)
    ones = np.ones(50)
    objects = ShapeObjects(np.zeros((50, 2)), turn % np.pi, 0.8 * ones, 0.4 * ones, ones)
    inferred = (turn + 0.7 + rng.normal(0, 0.3, 50)).astype(np.float32)  # right, but rough
    offset = turn_of(inferred, objects)
    assert offset is not None
    error = rotations(inferred, objects, offset) - turn
    assert gauge_free_errors(error, 1).median < 1
    round_ones = objects._replace(width=0.78 * ones)
    assert turn_of(inferred, round_ones) is None
    np.testing.assert_array_equal(rotations(inferred, round_ones, None), inferred)


def test_what_a_model_keeps_of_outlines_is_read_back() -> None:
    rng = np.random.default_rng(0)
    model = fit_shape_model(rng.normal(size=(40, 3)), np.full((2, 40), 0.5))
    kept = Outlines(40, -1, model, 0.25)
    again = Outlines.from_record(kept.to_record())
    assert again[:2] == kept[:2]
    assert again.turn == 0.25
    features = rng.normal(size=(5, 3))
    np.testing.assert_allclose(again.shapes.log_odds(features), model.log_odds(features), atol=1e-3)
    for damaged in ({}, {"box_size": 3}, kept.to_record() | {"shapes": 3}):
        with pytest.raises(InputError, match="damaged"):
            Outlines.from_record(damaged)
