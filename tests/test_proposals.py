"""Candidates are where the objects are, whatever the light, the file's type and the dirt."""

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from napari_equipose.geometry import InputError
from napari_equipose.inference._blobs import disc_response, find_blobs
from napari_equipose.simulation import Scene, multi_object_scene
from napari_equipose.training import propose, propose_many
from napari_equipose.training._proposals import in_noise

SAMPLES = Path(__file__).parents[1] / "sample_data"
BOX = 34  # about the shapes of 28 pixels


def recall(positions: NDArray[np.floating], truth: NDArray[np.floating], within: float) -> float:
    distance, _ = KDTree(positions).query(truth)
    return float((distance <= within).mean())


@pytest.fixture(scope="module")
def scene() -> Scene:
    return multi_object_scene(np.random.default_rng(1), shape=(320, 320), n=40, gradient=0.15)


def rings(radius: float = 13.0) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Dark rings in noise, many of which touch."""
    rng = np.random.default_rng(2)
    centres = np.empty((0, 2))
    for place in rng.uniform(20, 280, (2000, 2)):
        if (np.linalg.norm(centres - place, axis=1) > 2 * radius).all():
            centres = np.vstack([centres, place])
    y, x = np.mgrid[:300, :300]
    distance, _ = KDTree(centres).query(np.stack([y, x], -1).reshape(-1, 2))
    ring = np.exp(-(((distance - 0.8 * radius) / 2.5) ** 2)).reshape(300, 300)
    return (rng.normal(0, 0.5, ring.shape) - ring).astype(np.float32), centres


def test_objects_are_found_and_little_else(scene: Scene) -> None:
    found = propose(scene.image, BOX)
    assert found.polarity == "bright"
    assert recall(found.positions, scene.truth.positions, within=7) >= 0.95
    assert len(found.positions) <= 1.3 * len(scene.truth.positions)


def test_best_come_first_and_the_list_can_be_cut(scene: Scene) -> None:
    found = propose(scene.image, BOX)
    assert (np.diff(found.scores) <= 0).all()
    assert found.scores[-1] >= 0
    few = propose(scene.image, BOX, max_candidates=10)
    np.testing.assert_array_equal(few.positions, found.positions[:10])


def test_an_inverted_image_has_dark_objects_in_the_same_places(scene: Scene) -> None:
    found, inverted = propose(scene.image, BOX), propose(1 - scene.image, BOX)
    assert inverted.polarity == "dark"
    assert recall(inverted.positions, found.positions, within=1) >= 0.97


def test_gain_offset_and_type_change_nothing(scene: Scene) -> None:
    counts = np.round(scene.image * 60000)
    found = propose(counts.astype(np.uint16), BOX)
    scaled = propose((counts * 0.003 - 70).astype(np.float32), BOX)
    assert len(found.positions) == len(scaled.positions)
    np.testing.assert_allclose(found.positions, scaled.positions, atol=1e-6)


def test_colours_are_read_along_the_axis_on_which_they_differ() -> None:
    scene = multi_object_scene(np.random.default_rng(3), shape=(300, 300), n=30, colour=True)
    assert recall(propose(scene.image, BOX).positions, scene.truth.positions, within=7) >= 0.9


def test_strong_gradients_do_no_harm(scene: Scene) -> None:
    ramp = np.linspace(0, 5, scene.image.shape[0], dtype=np.float32)[:, None]
    found = propose(scene.image + ramp, BOX, "bright")
    assert recall(found.positions, scene.truth.positions, within=7) >= 0.85


def test_dirt_and_hot_pixels_do_not_eat_the_list(scene: Scene) -> None:
    rng = np.random.default_rng(4)
    dirty = scene.image.copy()
    dirty[tuple(rng.integers(0, 320, (2, 40)))] = 50
    centres = np.array([[60, 60], [180, 260], [260, 100]])
    y, x = np.mgrid[:320, :320]
    for cy, cx in centres:
        dirty[(y - cy) ** 2 + ((x - cx) / 1.5) ** 2 < 14**2] = 12
    clean = np.linalg.norm(scene.truth.positions[:, None] - centres, axis=-1).min(1) > 50
    found = propose(dirty, BOX, "bright")
    assert recall(found.positions, scene.truth.positions[clean], within=7) >= 0.85


def test_rings_that_touch_are_found_at_their_centres() -> None:
    image, centres = rings()
    (found,), _ = in_noise([image], 30, -1)
    best = found.positions[: len(centres) // 2]
    assert recall(centres, best, within=4) >= 0.9
    assert recall(found.positions, centres, within=4) >= 0.7


def test_touching_bacteria_are_found_as_the_dark_rods_between_bright_lines() -> None:
    image = tifffile.imread(SAMPLES / "ecoli_phase_contrast.tif")
    masks = tifffile.imread(SAMPLES / "ecoli_phase_contrast_masks.tif")
    labels = np.unique(masks[masks > 0])
    centres = np.array(ndimage.center_of_mass(masks > 0, masks, labels))
    found = propose(image, 32)
    assert found.polarity == "dark"
    assert recall(found.positions, centres, within=10) >= 0.85
    assert len(found.positions) <= 1.5 * len(centres)


def test_lazy_images_are_read_in_pieces_with_the_same_result(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = propose(scene.image, BOX)
    lazy = propose(da.from_array(scene.image, chunks=90), BOX)
    np.testing.assert_array_equal(lazy.positions, found.positions)
    np.save(tmp_path / "image.npy", scene.image)
    mapped = propose(np.load(tmp_path / "image.npy", mmap_mode="r"), BOX)
    np.testing.assert_array_equal(mapped.positions, found.positions)
    monkeypatch.setattr("napari_equipose.inference._scaled_tiles._TILE", 160)
    tiled = propose(scene.image, BOX)
    assert recall(tiled.positions, found.positions, within=4) >= 0.95
    assert len(tiled.positions) <= 1.1 * len(found.positions)


def test_a_big_box_is_looked_at_in_a_binned_image(scene: Scene) -> None:
    large = scene.image.repeat(4, axis=0).repeat(4, axis=1)
    found = propose(large, 4 * BOX)
    expected = 4 * scene.truth.positions + 1.5  # centres of the repeated pixels
    assert recall(found.positions, expected, within=28) >= 0.95


def test_images_of_one_kind_share_a_polarity(scene: Scene) -> None:
    noise = np.random.default_rng(5).normal(0, 0.05, (120, 120))
    found = propose_many([scene.image, noise], BOX)
    assert [each.polarity for each in found] == ["bright", "bright"]
    assert recall(found[0].positions, scene.truth.positions, within=7) >= 0.95
    assert len(found[1].positions) <= 5


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((100, 100), 7, np.uint8), "constant"),
        (np.full((100, 100, 3), 0.1), "constant"),
        (np.where(np.eye(100) > 0, np.nan, 1.0), "NaN"),
        (np.zeros((20, 100)), "must be from 8 to 20 pixels .* got 34"),
        (np.zeros((2, 3, 100, 100)), r"\(y, x\)"),
    ],
)
def test_refusals_say_what_came(image: NDArray[np.generic], message: str) -> None:
    with pytest.raises(InputError, match=message):
        propose(image, BOX)


def test_an_unknown_polarity_is_refused(scene: Scene) -> None:
    with pytest.raises(InputError, match="polarity must be"):
        propose(scene.image, BOX, "light")  # type: ignore[arg-type]


def test_nothing_found_says_what_to_try() -> None:
    y, x = np.mgrid[:200, :200]
    with pytest.raises(InputError, match=r"found no dark object .* polarity"):
        propose(x + 0.5 * y, 40, "dark")


def test_a_disc_answers_most_at_its_own_centre_and_not_to_a_constant() -> None:
    y, x = np.mgrid[:61, :61]
    disc = (np.hypot(y - 30, x - 27) <= 6).astype(np.float32)
    response = disc_response(disc, 6)
    assert np.unravel_index(response.argmax(), response.shape) == (30, 27)
    np.testing.assert_allclose(disc_response(np.full((40, 40), 9, np.float32), 5), 0, atol=1e-4)


def test_prominence_is_measured_down_to_the_pass() -> None:
    ridge = np.zeros((5, 30), np.float32)
    ridge[2] = np.interp(np.arange(30), [0, 5, 12, 20, 29], [0.1, 3, 1, 2, 0.1])
    blobs = find_blobs(ridge)
    np.testing.assert_array_equal(blobs.positions, [[2, 5], [2, 20]])
    np.testing.assert_allclose(blobs.prominence, [3, 1])
    assert find_blobs(np.full((10, 10), -1, np.float32)).positions.shape == (0, 2)


def test_a_rod_is_longer_than_a_disc_and_as_solid() -> None:
    y, x = np.mgrid[:80, :80]
    picture = np.where((np.abs(y - 20) <= 4) & (np.abs(x - 30) <= 14), 1.0, 0.0)
    picture = np.maximum(picture, np.hypot(y - 60, x - 60) <= 6).astype(np.float32)
    blobs = find_blobs(ndimage.gaussian_filter(picture, 1))
    assert len(blobs.positions) == 2
    rod, disc = blobs.length[np.argsort(blobs.positions[:, 0])]
    assert rod == pytest.approx(33, abs=2)  # of the ellipse with a bar's moments
    assert disc == pytest.approx(12.5, abs=1)
    assert (blobs.solidity > 0.9).all()
