"""What the plot of the latent space draws of its points, and who is inside an outline."""

from typing import Any

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from numpy.typing import NDArray
from skimage.measure import points_in_poly

from napari_equipose.widgets._density import MOST_DOTS, Bounds, Layer
from napari_equipose.widgets._lasso import rows_inside
from napari_equipose.widgets._plot_points import PlotPoints

RED, GREEN, BLUE = np.eye(3, dtype=np.uint8) * 255
UNIT = Bounds(0, 1, 0, 1)


def star(corners: int) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    radius = 1 + 0.6 * np.sin(5 * angle)
    return np.stack((radius * np.cos(angle), radius * np.sin(angle)), 1)


OUTLINES = {
    "star": star(300),
    "triangle": np.array([[-1, -1], [1.5, -0.5], [0, 1.2]]),
    "crossing itself": np.random.default_rng(3).normal(size=(25, 2)),
    "thin": np.array([[-2, -2], [2, 2.001], [2, 2.0]]),
    "rectangle": np.array([[-1, -0.5], [1, -0.5], [1, 0.5], [-1, 0.5]]),
}


@pytest.mark.parametrize("outline", OUTLINES.values(), ids=OUTLINES)
@pytest.mark.parametrize(("shift", "size"), [(0.0, 1.0), (1e6, 1.0), (-3.0, 1e8)])
def test_the_rows_inside_are_those_that_other_programs_find(outline, shift, size) -> None:
    rng = np.random.default_rng(0)
    start, end = outline, np.roll(outline, -1, 0)
    part = rng.random((40, len(outline), 1))
    beside = start + part * (end - start) + rng.normal(0, 1e-5, (40, len(outline), 2))
    xy = np.concatenate((rng.normal(size=(20_000, 2)), beside.reshape(-1, 2)))
    xy, outline = xy * size + shift, outline * size + shift
    inside = rows_inside(xy, outline)
    assert 0 < inside.sum() < len(xy)
    np.testing.assert_array_equal(inside, Outline(outline, closed=False).contains_points(xy))
    np.testing.assert_array_equal(inside, points_in_poly(xy, outline))


@pytest.mark.parametrize(
    "outline", [np.zeros((0, 2)), [[0, 0], [1, 1]], [[0, 0], [1, 0], [2, 0]], [[0, 0]] * 5]
)
def test_an_outline_without_an_inside_holds_nothing(outline) -> None:
    assert not rows_inside(np.array([[0.0, 0.0], [0.5, 0.5], [1, 0]]), np.array(outline)).any()


def test_what_has_no_place_lies_outside() -> None:
    xy = np.array([[0.1, np.nan], [np.nan, 0.1], [np.inf, 0.1], [0.1, -np.inf], [0.1, 0.1]])
    np.testing.assert_array_equal(rows_inside(xy, OUTLINES["rectangle"]), [0, 0, 0, 0, 1])


def points_of(xy: NDArray[Any], rgb: NDArray[Any]) -> PlotPoints:
    points = PlotPoints()
    points.set_points(xy)
    points.set_colours(np.broadcast_to(rgb, (len(xy), 3)).astype(np.uint8))
    return points


def heap(x: float, y: float, n: int, spread: float = 1e-4) -> NDArray[np.float64]:
    return np.random.default_rng(n).normal((x, y), spread, (n, 2))


def test_few_points_are_dots_each_and_many_a_density() -> None:
    (few,) = points_of(heap(0.5, 0.5, MOST_DOTS, 0.1), RED).layers(UNIT, (200, 200))
    assert few.density is None
    assert len(few.dots.x) == MOST_DOTS
    (many,) = points_of(heap(0.5, 0.5, 2 * MOST_DOTS, 0.1), RED).layers(UNIT, (200, 200))
    assert many.density is not None
    assert 0 < len(many.dots.x) < MOST_DOTS


def density_at(layer: Layer, x: float, y: float) -> NDArray[Any]:
    """The colour, its opacity taken out, and the opacity at a place of the unit square."""
    picture = layer.density
    rows, columns = picture.shape[:2]
    pixel = picture[int((1 - y) * rows), int(x * columns)].astype(float)
    return np.append(pixel[:3] * 255 / max(pixel[3], 1), pixel[3])


def test_the_density_has_the_mean_colour_and_is_stronger_where_there_are_more() -> None:
    xy = np.concatenate((heap(0.255, 0.755, 30_000), heap(0.755, 0.255, 3000)))
    rgb = np.where(np.arange(33_000)[:, None] % 3 < 1, RED, BLUE)
    (layer,) = points_of(xy, rgb).layers(UNIT, (100, 100))
    much, little = density_at(layer, 0.255, 0.755), density_at(layer, 0.755, 0.255)
    np.testing.assert_allclose(much[:3], [85, 0, 170], atol=3)
    np.testing.assert_allclose(little[:3], [85, 0, 170], atol=4)
    assert much[3] > little[3] > 100
    assert density_at(layer, 0.5, 0.5)[3] == 0
    assert len(layer.dots.x) < 10  # they would hide it


def test_each_point_that_stands_alone_is_a_dot_over_the_density() -> None:
    lonely = np.stack(np.meshgrid([0.1, 0.5, 0.9], [0.1, 0.5, 0.9]), -1).reshape(-1, 2)
    xy = np.concatenate((heap(0.3, 0.3, 2 * MOST_DOTS, 0.01), lonely))
    (layer,) = points_of(xy, RED).layers(UNIT, (300, 300))
    dots = np.stack((layer.dots.x, layer.dots.y), 1) + xy.mean(0)
    away = np.linalg.norm(dots[:, None] - lonely, axis=2).min(0)
    assert (away < 1e-5).all()


def test_dots_become_rarer_where_points_have_many_neighbours() -> None:
    numbers = []
    for n in (2, 3, 6):
        xy = np.random.default_rng(n).random((n * MOST_DOTS, 2))
        (layer,) = points_of(xy, RED).layers(UNIT, (500, 500))
        numbers.append(len(layer.dots.x))
    assert MOST_DOTS / 4 > numbers[0] > 1.5 * numbers[1] > 3 * numbers[2] > 0


@pytest.mark.parametrize("share", [0.9, 0.2])
def test_points_out_of_view_leave_no_trace(share: float) -> None:
    n = 3 * MOST_DOTS
    inside = heap(0.5, 0.5, int(share * n) + MOST_DOTS, 0.02)
    angle = np.linspace(0, 2 * np.pi, n - int(share * n))
    around = 0.5 + 3 * np.stack((np.cos(angle), np.sin(angle)), 1)
    (layer,) = points_of(np.concatenate((inside, around)), RED).layers(UNIT, (100, 100))
    opacity = layer.density[..., 3]
    edge = max(len(opacity) // 5, 1)
    assert opacity.max() == 255
    for side in (opacity[:edge], opacity[-edge:], opacity[:, :edge], opacity[:, -edge:]):
        assert not side.any()


def test_those_that_stand_out_are_counted_apart_and_lie_above() -> None:
    xy = np.concatenate((heap(0.305, 0.305, 30_000), heap(0.705, 0.705, 50_000)))
    points = points_of(xy, np.repeat([RED, GREEN], [30_000, 50_000], 0))
    points.set_selected(np.arange(80_000) >= 50_000)
    below, above = points.layers(UNIT, (100, 100))
    assert (below.chosen, above.chosen) == (False, True)
    np.testing.assert_allclose(density_at(below, 0.305, 0.305)[:3], RED, atol=2)
    np.testing.assert_allclose(density_at(below, 0.705, 0.705)[:3], GREEN, atol=2)
    np.testing.assert_allclose(density_at(above, 0.705, 0.705)[:3], GREEN, atol=2)
    assert density_at(above, 0.305, 0.305)[3] == 0


def test_other_places_keep_the_colours_and_other_rows_do_not() -> None:
    points = points_of(heap(0.5, 0.5, 100), RED)
    points.set_selected(np.ones(100, bool))
    points.set_points(heap(0.2, 0.2, 100))
    (layer,) = points.layers(UNIT, (100, 100))
    assert layer.chosen
    assert (layer.dots.rgb == RED[:, None]).all()
    points.set_points(heap(0.2, 0.2, 99))
    (layer,) = points.layers(UNIT, (100, 100))
    assert not layer.chosen
    assert (layer.dots.rgb != RED[:, None]).any()


def test_entries_that_are_not_one_a_point_are_refused() -> None:
    points = points_of(heap(0, 0, 10), RED)
    with pytest.raises(ValueError, match=r"\(n, 2\)"):
        points.set_points(np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"\(10, 3\).*\(9, 3\)"):
        points.set_colours(np.zeros((9, 3), np.uint8))
    for set_mask in (points.set_selected, points.set_shown):
        with pytest.raises(ValueError, match=r"\(10,\).*\(11,\)"):
            set_mask(np.zeros(11, bool))
