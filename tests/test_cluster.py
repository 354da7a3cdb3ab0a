"""Classes from content."""

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_equipose.geometry import InputError
from napari_equipose.inference import cluster


def _blobs(sizes: list[int], seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Round clouds of unit spread, 10 apart, in random order; and which is which."""
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = 10.0 * np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    return rng.normal(size=(len(label), 2)) + centres[label], label


@pytest.mark.parametrize("k", [3, "auto"])
def test_separate_clouds_are_the_classes_numbered_by_size(k: int | str) -> None:
    content, label = _blobs([60, 90, 30])
    by_size = np.array([1, 0, 2])
    np.testing.assert_array_equal(cluster(content, k), by_size[label])  # type: ignore[arg-type]


def test_auto_finds_one_class_in_one_cloud() -> None:
    content, _ = _blobs([200])
    assert cluster(content, "auto").max() == 0


def test_auto_takes_content_of_32_dimensions() -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], [80, 70])
    content = rng.normal(size=(150, 32)) + 6.0 * label[:, None]
    np.testing.assert_array_equal(cluster(content, "auto"), label)


def test_equal_content_is_one_class() -> None:
    np.testing.assert_array_equal(cluster(np.ones((5, 2)), "auto"), np.zeros(5))


def test_more_objects_than_ward_holds_join_their_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_equipose.inference._cluster._MOST_FOR_WARD", 50)
    content, label = _blobs([200, 150])
    np.testing.assert_array_equal(cluster(content, 2), label)


def test_a_seed_repeats_the_classes() -> None:
    content = np.random.default_rng(0).normal(size=(100, 3))
    np.testing.assert_array_equal(cluster(content, "auto", 7), cluster(content, "auto", 7))


def test_one_object_is_one_class() -> None:
    np.testing.assert_array_equal(cluster(np.zeros((1, 2)), 1), [0])
    np.testing.assert_array_equal(cluster(np.zeros((1, 2)), "auto"), [0])


@pytest.mark.parametrize(
    ("content", "k", "message"),
    [
        (np.zeros((3, 2)), 4, "3 objects can't make 4 classes"),
        (np.zeros((3, 2)), 0, "at least 1"),
        (np.zeros(3), 2, r"must be \(n, d\)"),
        (np.zeros((0, 2)), "auto", r"must be \(n, d\)"),
        (np.full((3, 2), np.nan), 2, "finite"),
    ],
)
def test_what_can_not_be_clustered_is_refused(
    content: NDArray[np.float64], k: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        cluster(content, k)
