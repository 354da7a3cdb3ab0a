"""Classes of objects, averaged at the poses that they have."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from oracle import told
from test_align import PLANE, SPACE, letters
from test_subtomogram_refinement import WEDGE, subtomograms, true_poses

from napari_equipose.geometry import InputError
from napari_equipose.inference import (
    AlignConfig,
    ClassAverage,
    Progress,
    align,
    average,
    bring_to_rest,
    finish,
    summarise_classes,
)


class Read:
    """Boxes that remember which of them were read."""

    def __init__(self, boxes: NDArray[Any]) -> None:
        self.boxes, self.shape, self.ndim, self.dtype = boxes, boxes.shape, boxes.ndim, boxes.dtype
        self.rows: set[int] = set()

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        self.rows |= set(np.atleast_1d(np.arange(len(self))[index]).tolist())
        return self.boxes[index]


def _same(one: ClassAverage, other: ClassAverage) -> None:
    np.testing.assert_allclose(one.average, other.average, atol=1e-6)
    np.testing.assert_allclose(one.halves, other.halves, atol=1e-6)
    np.testing.assert_allclose(one.correlation.correlation, other.correlation.correlation)


def test_images_are_averaged_as_align_does() -> None:
    images, truth = letters()
    (expected,) = finish(align(told(PLANE, truth), images)).averages
    (found,) = finish(summarise_classes(images, *truth, np.zeros(len(images), int)))
    assert (found.label, found.n) == (0, len(images))
    _same(found, expected)


def test_volumes_are_averaged_as_align_does_of_what_was_measured() -> None:
    made = subtomograms(8, 3.0)
    truth = true_poses(made)
    settings = AlignConfig(refine=False)
    (expected,) = finish(align(told(SPACE, truth), made.volumes, settings)).averages
    seen: list[Progress] = []
    labels = np.zeros(8, int)
    job = summarise_classes(made.volumes, *truth, labels, wedge=WEDGE)
    (found,) = finish(job, seen.append)
    _same(found, expected)
    assert seen[-1][:2] == (8, 8)


def test_each_class_has_its_own_average_and_what_has_no_class_is_not_read() -> None:
    images, (rotation, translation) = letters()
    labels = np.full(len(images), -1)
    labels[5:15], labels[20:23] = 4, 2
    boxes, seen = Read(images), []
    job = summarise_classes(boxes, rotation, translation, labels)
    found = finish(job, seen.append)
    assert [(one.label, one.n) for one in found] == [(2, 3), (4, 10)]
    assert boxes.rows == {*range(5, 15), *range(20, 23)}
    assert [step[:2] for step in seen] == [(3, 13), (13, 13)]
    aligned = bring_to_rest(images, rotation, translation)
    for one in found:
        np.testing.assert_allclose(one.average, average(aligned[labels == one.label]), atol=1e-6)


def test_a_size_is_undone() -> None:
    images, (rotation, translation) = letters()
    large = np.full(len(images), 1.5)
    labels = np.zeros(len(images), int)
    (found,) = finish(summarise_classes(images, rotation, translation, labels, scale=large))
    aligned = bring_to_rest(images, rotation, translation, large)
    np.testing.assert_allclose(found.average, average(aligned), atol=1e-6)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_class_of_one_has_an_average_and_no_resolution(dimensions: int) -> None:
    if dimensions == 2:
        boxes, poses = letters()
    else:
        made = subtomograms(8, 3.0)
        boxes, poses = made.volumes, true_poses(made)
    labels = np.full(len(boxes), -1)
    labels[3] = 0
    (found,) = finish(summarise_classes(boxes, *poses, labels))
    assert np.isfinite(found.average).all() and found.average.std() > 0
    assert found.n == 1 and found.correlation.resolution() == np.inf


def test_no_classes_have_no_averages() -> None:
    images, truth = letters()
    assert finish(summarise_classes(images, *truth, np.full(len(images), -1))) == []


def test_what_does_not_fit_together_is_refused() -> None:
    images, (rotation, translation) = letters()
    labels = np.zeros(len(images), int)
    with pytest.raises(InputError, match="needs the number of a class"):
        finish(summarise_classes(images, rotation, translation, labels[1:]))
    with pytest.raises(InputError, match="needs the number of a class"):
        finish(summarise_classes(images, rotation, translation, labels / 2))
    with pytest.raises(InputError, match="needs one pose"):
        finish(summarise_classes(images, rotation[1:], translation[1:], labels))
