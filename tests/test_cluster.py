"""Classes from content."""

from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_equipose.geometry import InputError
from napari_equipose.inference import ClusterMethod, cluster


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


@pytest.mark.parametrize("method", ["k-means", "mixture", "hdbscan"])
@pytest.mark.parametrize("k", [3, "auto"])
def test_every_method_finds_separate_clouds(k: Any, method: Any) -> None:
    content, label = _blobs([60, 90, 30])
    by_size = np.array([1, 0, 2])
    found = cluster(content, k, method=method)
    there = found >= 0
    assert there.mean() > (0.9 if method == "hdbscan" else 0.999)
    np.testing.assert_array_equal(found[there], by_size[label][there])


def test_a_mixture_follows_long_clouds_where_k_means_cuts_them() -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], [110, 90])
    content = rng.normal(size=(200, 2)) * (10, 0.3) + label[:, None] * (0, 3)
    np.testing.assert_array_equal(cluster(content, 2, method="mixture"), label)
    cut = cluster(content, 2, method="k-means")
    assert 0.4 < (cut == label).mean() < 0.6


def test_density_finds_rings_and_leaves_out_what_lies_apart() -> None:
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 400)
    radius = np.where(np.arange(400) < 250, 10.0, 3.0) + rng.normal(0, 0.1, 400)
    ring = np.stack((radius * np.cos(angle), radius * np.sin(angle)), 1)
    apart = np.array([[0, 18], [18, 0], [-18, -9], [30, 30]])
    found = cluster(np.concatenate((ring, apart)), 7, method="hdbscan")
    np.testing.assert_array_equal(found, np.repeat([0, 1, -1], [250, 150, 4]))


def test_density_of_too_few_objects_makes_no_class() -> None:
    np.testing.assert_array_equal(cluster(np.zeros((6, 2)), 1, method="hdbscan"), [-1] * 6)


@pytest.mark.parametrize(
    ("method", "name"),
    [("k-means", "K_MEANS"), ("mixture", "MIXTURES"), ("hdbscan", "HDBSCAN")],
)
def test_more_objects_than_a_method_takes_join_its_classes(
    method: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"napari_equipose.inference._cluster._MOST_FOR_{name}", 60)
    content, label = _blobs([200, 150])
    found = cluster(content, 2, method=method)
    there = found >= 0
    assert there.mean() > 0.9
    np.testing.assert_array_equal(found[there], label[there])


def test_auto_finds_one_class_in_one_cloud() -> None:
    content, _ = _blobs([200])
    assert cluster(content, "auto").max() == 0


def test_auto_takes_content_of_32_dimensions() -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], [80, 70])
    content = rng.normal(size=(150, 32)) + 6.0 * label[:, None]
    np.testing.assert_array_equal(cluster(content, "auto"), label)


def test_equal_content_is_one_class() -> None:
    for method in get_args(ClusterMethod):
        found = cluster(np.ones((40, 2)), "auto", method=method)
        np.testing.assert_array_equal(found, np.zeros(40))


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
    for method in ("ward", "k-means", "mixture"):
        with pytest.raises(InputError, match=message):
            cluster(content, k, method=method)  # type: ignore[arg-type]


def test_what_no_method_can_do_is_refused() -> None:
    with pytest.raises(InputError, match="ward, k-means, mixture, hdbscan; got 'spectral'"):
        cluster(np.zeros((9, 2)), 2, method="spectral")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="fewer than 3 contents"):
        cluster(np.ones((9, 2)), 3, method="k-means")
