"""A picture gives the same numbers whatever its type, gain and offset, and little else counts."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_equipose.geometry import InputError
from napari_equipose.models import Normalisation
from napari_equipose.simulation import multi_object_scene

KINDS = [
    Normalisation(kind="unit"),
    Normalisation(kind="standard"),
    Normalisation(kind="standard", background_sigma=30),
]


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    scene = multi_object_scene(np.random.default_rng(0), shape=(200, 240), n=20)
    return np.round(scene.image * 200 + 20).astype(np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_type_gain_and_offset_of_an_image_do_not_matter(
    kind: Normalisation, image: NDArray[np.uint8]
) -> None:
    expected = kind.of_image(image)
    assert expected.dtype == np.float32
    for same in (
        image.astype(np.uint16) * 250,
        image.astype(np.int16) - 300,
        image.astype(np.float64) * 1e-4 - 7,
        image.astype(np.float32) * 3e4 + 1e5,
    ):
        np.testing.assert_allclose(kind.of_image(same), expected, atol=5e-3)  # single precision


@pytest.mark.parametrize("kind", KINDS)
def test_type_gain_and_offset_of_a_box_do_not_matter(
    kind: Normalisation, image: NDArray[np.uint8]
) -> None:
    stack = np.stack([image[:40, :40], image[100:140, 90:130]])
    gains = np.array([200, 31]).reshape(2, 1, 1)
    expected = kind.of_stack(stack)
    assert expected.dtype == np.float32
    np.testing.assert_allclose(kind.of_stack(stack * gains - 4000.0), expected, atol=5e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_each_box_is_scaled_on_its_own(kind: Normalisation, image: NDArray[np.uint8]) -> None:
    stack = np.stack([image[:40, :40], image[100:140, 90:130] // 3])
    together = kind.of_stack(stack)
    np.testing.assert_allclose(together[:1], kind.of_stack(stack[:1]), atol=1e-6)
    np.testing.assert_allclose(together[1:], kind.of_stack(stack[1:]), atol=1e-6)


def test_unit_fills_the_range_from_zero_to_one(image: NDArray[np.uint8]) -> None:
    for scaled in (KINDS[0].of_image(image), KINDS[0].of_stack(image[None])):
        assert scaled.min() == 0
        assert scaled.max() == 1


def test_standard_has_the_background_at_zero_and_bounded_values(image: NDArray[np.uint8]) -> None:
    scaled = Normalisation(kind="standard", clip=3).of_image(image)
    assert abs(float(np.median(scaled))) < 0.05
    assert np.abs(scaled).max() <= 3


@pytest.mark.parametrize("kind", KINDS)
def test_grey_stays_grey_and_hues_keep_their_order(
    kind: Normalisation, image: NDArray[np.uint8]
) -> None:
    grey = np.repeat(image[..., None], 3, -1)
    scaled = kind.of_image(grey)
    np.testing.assert_allclose(scaled[..., 0], scaled[..., 1], atol=1e-6)
    reddish = np.stack([image, image // 2, image // 4], -1)
    scaled = kind.of_image(reddish)
    assert (scaled[..., 0] >= scaled[..., 1] - 1e-6).all()
    boxes = kind.of_stack(np.moveaxis(reddish[None], -1, 1))  # (n, channels, y, x)
    assert (boxes[:, 0] >= boxes[:, 1] - 1e-6).all()


def test_a_slow_background_is_taken_out(image: NDArray[np.uint8]) -> None:
    ramp = np.linspace(0, 300, image.shape[1])
    kind = KINDS[2]
    inner = (slice(40, -40), slice(40, -40))
    with_ramp, without = kind.of_image(image + ramp)[inner], kind.of_image(image)[inner]
    assert np.corrcoef(with_ramp.ravel(), without.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_hot_pixels_do_not_set_the_scale(kind: Normalisation, image: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(1)
    hot = image.astype(np.float32)
    places = tuple(rng.integers(0, 200, (2, 8)))
    hot[places] = 30_000
    cold = np.ones(image.shape, bool)
    y, x = places
    for row, column in zip(y, x, strict=True):
        cold[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = False
    spread = np.abs(kind.of_image(hot) - kind.of_image(image))[cold]
    assert np.quantile(spread, 0.99) < 0.25 * kind.of_image(image).std()


def test_an_empty_stretch_is_not_blown_up(image: NDArray[np.uint8]) -> None:
    empty = np.random.default_rng(2).normal(50, 1, (200, 400))
    scaled = KINDS[2].of_image(np.hstack([image.astype(float), empty]))
    assert scaled[:, -250:].std() < 0.2 * scaled[:, :240].std()


@pytest.mark.parametrize("kind", KINDS)
def test_the_input_is_left_alone(kind: Normalisation, image: NDArray[np.uint8]) -> None:
    before = image.astype(np.float32)
    given = before.copy()
    kind.of_image(given)
    kind.of_stack(given[None])
    np.testing.assert_array_equal(given, before)


@pytest.mark.parametrize("kind", KINDS)
def test_constant_and_nan_are_refused(kind: Normalisation, image: NDArray[np.uint8]) -> None:
    broken = image.astype(np.float32)
    broken[3, 4] = np.nan
    with pytest.raises(InputError, match="NaN"):
        kind.of_image(broken)
    with pytest.raises(InputError, match="constant"):
        kind.of_image(np.full((50, 50), 3, np.uint8))
    boxes = np.stack([image[:20, :20].astype(np.float32)] * 3)
    boxes[1] = 7
    with pytest.raises(InputError, match=r"box 1 .* constant"):
        kind.of_stack(boxes)
    boxes[2, 0, 0] = np.inf
    with pytest.raises(InputError, match=r"box 2 .* NaN"):
        kind.of_stack(boxes)


@pytest.mark.parametrize("kind", KINDS)
def test_it_survives_a_file(kind: Normalisation) -> None:
    assert Normalisation(**json.loads(json.dumps(asdict(kind)))) == kind


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="got 'percentile'"):
        Normalisation(kind="percentile")  # type: ignore[arg-type]
