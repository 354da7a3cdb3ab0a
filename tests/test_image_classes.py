"""Noisy images sorted into classes by maximum likelihood."""

from math import pi

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_equipose.evaluation import gauge_free_errors
from napari_equipose.geometry import InputError, Poses, apply_poses
from napari_equipose.inference import ClassificationConfig, Structures, classify_images, finish
from napari_equipose.inference._image_classes import _Mixture

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE, EACH = 24, 60
CONFIG = ClassificationConfig(classes=3, object_size=15, max_shift=2.0)


def shapes() -> Tensor:
    """A bar with a blob at one end, and three blobs; (2, 1, SIZE, SIZE)."""
    line = torch.arange(SIZE) - SIZE // 2
    y, x = line[:, None], line[None]
    bar = torch.exp(-((y / 1.5) ** 2) - (x / 6) ** 4)
    bar = bar + torch.exp(-((y - 3) ** 2 + (x - 4) ** 2) / 4)
    places = ((-5, 0, 1.0), (4, 4, 1.5), (3, -4, 0.7))
    blobs = [
        size * torch.exp(-((y - top) ** 2 + (x - left) ** 2) / 5) for top, left, size in places
    ]
    return torch.stack((bar, sum(blobs))).unsqueeze(1)


class Noisy:
    """Two kinds of objects at known poses in white noise, and noise alone."""

    def __init__(self, noise: float) -> None:
        torch.manual_seed(0)
        n = 2 * EACH
        self.kind = torch.arange(n) % 2
        self.poses = Poses(torch.rand(n) * 2 * pi, (torch.rand(n, 2) - 0.5) * 3)
        self.rest = shapes()
        objects = apply_poses(self.rest[self.kind], self.poses)
        self.images = torch.cat((objects, torch.zeros(EACH, 1, SIZE, SIZE)))
        self.images += noise * torch.randn_like(self.images)
        self.decoys = noise * torch.randn(3 * EACH, 1, SIZE, SIZE)

    def find(self, decoys: Tensor | None, config: ClassificationConfig = CONFIG) -> Structures:
        read = lambda rows: self.images[torch.from_numpy(rows)]  # noqa: E731
        return finish(classify_images(read, len(self.images), config, decoys))


def test_objects_in_noise_are_told_apart_and_posed_and_noise_is_left_out() -> None:
    noisy = Noisy(0.6)
    found = noisy.find(noisy.decoys)
    assert found.averages.shape == (2, 1, SIZE, SIZE)
    assert sorted(found.rows) == list(range(3 * EACH))
    kind = np.append(noisy.kind.numpy(), np.full(EACH, -1))[found.rows]
    for name in range(2):
        mine = found.label == name
        kinds, counts = np.unique(kind[mine], return_counts=True)
        assert counts.max() > 0.85 * mine.sum()
        mine &= kind == kinds[counts.argmax()]
        assert mine.sum() > 0.8 * EACH
        rotation = noisy.poses.rotation.numpy()[found.rows[mine]]
        error = found.poses.rotation.numpy()[mine] - rotation
        assert gauge_free_errors(error, 1).median < 8
        gauge = -np.angle(np.exp(1j * error).mean())
        still = apply_poses(
            torch.from_numpy(found.averages[[name]]),
            Poses(torch.tensor([-gauge]).float(), torch.zeros(1, 2)),
        )
        seen = noisy.rest[kinds[counts.argmax()]]
        both = [np.fft.fft2(one[0].numpy() - one[0].numpy().mean()) for one in (still[0], seen)]
        alike = np.fft.ifft2(both[0] * both[1].conj()).real.max()  # its middle is its own
        assert alike > 0.8 * np.prod([np.linalg.norm(one) for one in both]) / SIZE**2
    assert (found.label[kind == -1] == -1).mean() > 0.8


def test_without_decoys_nothing_is_noise_and_with_such_as_the_images_all_is() -> None:
    noisy = Noisy(0.3)
    kept = noisy.find(None)
    assert len(kept.averages) >= 2 and (kept.label >= 0).sum() >= 2 * EACH
    np.testing.assert_array_equal(noisy.find(noisy.decoys[:0]).label, kept.label)
    assert len(noisy.find(noisy.images.flip(0)).averages) == 0  # decoys that are like the images


def test_classes_are_the_same_by_blocks_and_larger_boxes_are_shrunk() -> None:
    noisy = Noisy(0.3)
    found = noisy.find(noisy.decoys)
    large = Noisy(0.3)
    large.images = torch.nn.functional.interpolate(large.images, scale_factor=2.0)
    config = ClassificationConfig(classes=4, object_size=30, max_shift=4.0, seed=1)
    decoys = torch.nn.functional.interpolate(large.decoys, scale_factor=2.0)
    twice = large.find(decoys, config)
    assert twice.averages.shape == (2, 1, 2 * SIZE, 2 * SIZE)
    both = (found.label >= 0) & (twice.label >= 0)
    shift = np.linalg.norm(twice.poses.translation.numpy()[both], axis=1)
    assert np.median(shift) == pytest.approx(
        2 * np.median(np.linalg.norm(found.poses.translation.numpy()[both], axis=1)), rel=0.3
    )


def _mixture(images: Tensor) -> _Mixture:
    config = ClassificationConfig(object_size=5, max_shift=1.0)
    mixture = _Mixture(images, config, 1.0)
    label = torch.arange(len(images)) % 2
    mixture.begin(label, Poses(torch.zeros(len(images)), torch.zeros(len(images), 2)))
    return mixture


def test_weights_are_those_of_every_class_rotation_and_shift_tried_in_turn() -> None:
    torch.manual_seed(0)
    images = torch.randn(6, 2, 11, 11)
    mixture = _mixture(images)
    expected = mixture.expect(images)
    logs = torch.empty(6, 2, len(mixture.turns), 9)
    for name, average in enumerate(mixture.averages):
        for i, turn in enumerate(mixture.turns):
            for j, shift in enumerate(mixture.shifts):
                still = apply_poses(average[None], Poses(turn[None], torch.zeros(1, 2)))
                drawn = apply_poses(still, Poses(torch.zeros(1), shift[None]))
                error = (images - drawn).square().sum((1, 2, 3))
                logs[:, name, i, j] = -error / (2 * mixture.variance)
                logs[:, name, i, j] += mixture.log_class[name] + mixture.log_shift[j]
    weight = logs.flatten(1).softmax(1).reshape(logs.shape)
    torch.testing.assert_close(expected.classes, weight.sum((2, 3)), atol=1e-4, rtol=1e-3)
    best = logs.flatten(1).argmax(1)
    n = len(mixture.turns) * 9
    torch.testing.assert_close(expected.label, best // n)
    torch.testing.assert_close(expected.poses.rotation, mixture.turns[best // 9 % (n // 9)])
    torch.testing.assert_close(expected.poses.translation, mixture.shifts[best % 9])


def test_sums_are_brought_to_rest_by_the_opposite_of_what_turns_and_shifts_averages() -> None:
    torch.manual_seed(0)
    images = torch.randn(4, 1, 11, 11)
    mixture = _mixture(images)
    pure = torch.zeros(len(mixture.turns) * 2 * 9, 121)
    pure[0] = mixture._bank()[4]  # turned by nothing, and shifted by nothing
    middle = mixture.shifts.tolist().index([0.0, 0.0])
    assert middle == 4
    moved = torch.zeros_like(pure)
    right = mixture.shifts.tolist().index([0.0, 1.0])
    moved[right] = mixture._bank()[right]
    for sums in (pure.roll(4, 0), moved):
        rest = mixture._at_rest(sums)
        torch.testing.assert_close(rest[0], mixture.averages[0], atol=1e-5, rtol=0)
        assert rest[1].abs().max() == 0


def test_an_average_beside_the_middle_of_its_boxes_is_brought_there() -> None:
    torch.manual_seed(0)
    pose = Poses(torch.rand(80) * 2 * pi, torch.zeros(80, 2))
    bars = apply_poses(shapes()[:1].expand(80, -1, -1, -1), pose)
    mixture = _Mixture(bars, ClassificationConfig(object_size=15, max_shift=5.0), 1.0)
    beside = pose.compose(Poses(torch.zeros(80), torch.tensor([[0.0, 3.0]]).expand(80, -1)))
    mixture.begin(torch.zeros(80, dtype=torch.long), beside)
    expected = mixture.expect(bars)
    torch.testing.assert_close(expected.middles, torch.tensor([[0.0, -3.0]]), atol=0.3, rtol=0)
    mixture.maximise(expected)
    assert mixture.expect(bars).middles.norm() < 0.6


def test_too_few_images_and_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match="at least 8 images are needed, got 7"):
        next(classify_images(lambda rows: torch.zeros(len(rows), 1, 9, 9), 7, CONFIG))
    for wrong in ({"classes": 0}, {"images": 3}, {"max_shift": 0.0}, {"object_size": 0}):
        with pytest.raises(InputError):
            ClassificationConfig(**{"object_size": 9, "max_shift": 1.0} | wrong)
