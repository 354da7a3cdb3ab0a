"""Stacks aligned as a whole: poses, classes, averages, what is told on the way."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from oracle import OracleConfig, told
from scipy.spatial.transform import Rotation
from scipy.special import j0
from test_subtomogram_refinement import (
    BLOBS,
    SIZE,
    WEDGE,
    alike,
    blobs,
    centred_truth,
    in_frame_of,
    off,
    subtomograms,
    true_poses,
)

from napari_equipose.evaluation import geodesic_errors
from napari_equipose.geometry import InputError, MissingWedge, Poses, Poses3D
from napari_equipose.inference import (
    AlignConfig,
    AlignedStack,
    Alignment,
    AlignmentUpdate,
    Notice,
    Progress,
    RefinementConfig,
    ShellCorrelation,
    align,
    average,
    average_volumes,
    bring_to_rest,
    finish,
    fourier_shell_correlation,
)
from napari_equipose.inference._refinement_plan import plan_iteration
from napari_equipose.simulation import (
    DensityMap,
    SubtomogramConfig,
    Subtomograms,
    rotated_digits,
    simulate_subtomograms,
)

PLANE = OracleConfig(box_size=28, dimensions=2)
SPACE = OracleConfig(box_size=SIZE, wedge=WEDGE)
SHORT = RefinementConfig(iterations=2, angular_step_deg=6.0)


@pytest.fixture(scope="module")
def made() -> Subtomograms:
    return subtomograms(16, 3.0)


def final(found: Alignment) -> Poses3D:
    return Poses3D(*(torch.from_numpy(part) for part in found.encoding[:2]))


def part_of(poses: Poses3D, rows: Any) -> Poses3D:
    return Poses3D(poses.rotation[rows], poses.translation[rows])


# Volumes


def test_rotations_are_found_from_nothing(made: Subtomograms) -> None:
    """The poses of the model are off by 90 degrees; by default they are not started from."""
    truth = true_poses(made)
    saved = told(SPACE, off(truth, 90, 1.0))
    settings = RefinementConfig(iterations=5)
    found = finish(align(saved, made.volumes, AlignConfig(refinement=settings)))
    poses = final(found)
    errors = geodesic_errors(poses.rotation, truth.rotation)
    assert errors.median < 4 and (errors.degrees < 10).mean() > 0.9
    assert found.label is None and found.encoding.content.shape == (16, 1)
    assert sorted(np.bincount(found.half)) == [8, 8]
    (whole,) = found.averages
    assert (whole.label, whole.n, whole.halves.shape) == (0, 16, (2, SIZE, SIZE, SIZE))
    in_true_frame = average_volumes(made.volumes, in_frame_of(truth, poses), WEDGE)
    assert alike(in_true_frame, centred_truth()) > 0.9
    np.testing.assert_allclose(
        whole.average, average_volumes(made.volumes, poses, WEDGE), atol=1e-4
    )
    assert whole.correlation.resolution() < 6
    assert found.encoding.score.min() > 0.5  # with the average, not with what is drawn: that is 0


def test_local_search_begins_at_the_hypotheses_of_the_model(made: Subtomograms) -> None:
    truth = true_poses(made)
    near, far = off(truth, 8, 0.5), off(truth, 120, 0.5, seed=1)
    pairs = ([far.rotation, near.rotation], [far.translation, near.translation])
    hypotheses = Poses3D(*(torch.stack(pair, 1) for pair in pairs))
    # the averages begin at the likeliest: half of them are right
    for one, other in zip(hypotheses, near, strict=True):
        one[::2, 0] = other[::2]
    saved = told(SPACE, far, hypotheses=hypotheses)
    settings = RefinementConfig(iterations=3, angular_step_deg=8.0)
    found = finish(
        align(saved, made.volumes, AlignConfig(search="local", refinement=settings)), None
    )
    errors = geodesic_errors(final(found).rotation, truth.rotation)
    assert (errors.degrees < 8).mean() > 0.9


def test_without_refinement_the_poses_are_those_of_the_model(made: Subtomograms) -> None:
    truth = true_poses(made)
    found = finish(align(told(SPACE, truth), made.volumes, AlignConfig(refine=False)))
    torch.testing.assert_close(final(found), truth)
    (whole,) = found.averages
    np.testing.assert_allclose(
        whole.average, average_volumes(made.volumes, truth, WEDGE), atol=1e-4
    )
    for number, half in enumerate(whole.halves):
        rows = found.half == number
        alone = average_volumes(made.volumes[rows], part_of(truth, rows), WEDGE)
        np.testing.assert_allclose(half, alone, atol=1e-4)
    expected = fourier_shell_correlation(*whole.halves)
    np.testing.assert_array_equal(whole.correlation.correlation, expected.correlation)


def test_halves_are_independent_only_where_no_pose_comes_from_the_model(
    made: Subtomograms,
) -> None:
    """And a class that is too small to be refined stays at the poses of the model."""
    truth = true_poses(made)
    one_each = Poses3D(truth.rotation[:, None], truth.translation[:, None])
    few = torch.tensor([[1.0]] * 11 + [[-1.0]] * 5)
    short = RefinementConfig(iterations=1, angular_step_deg=30.0)

    def independent(**settings: Any) -> list[bool]:
        saved = told(SPACE, truth, few, hypotheses=one_each)
        seen: list[bool] = []

        def look(step: object) -> None:
            if isinstance(step, AlignmentUpdate):
                seen.append(step.current.independent)

        config = AlignConfig(refinement=short, **settings)
        found = finish(align(saved, made.volumes, config), look)
        told_of = [one.independent for one in found.averages]
        assert set(seen) == set(told_of)  # also on the way
        assert all(bool(one.caveat) != one.independent for one in found.averages)
        return told_of

    assert independent() == [True]  # auto searches everywhere
    assert independent(search="local") == [False]
    assert independent(refine=False) == [False]
    assert independent(classes=2) == [True, False]


def test_the_wedge_is_that_of_the_model_unless_another_is_given(made: Subtomograms) -> None:
    truth, config = true_poses(made), AlignConfig(refine=False)
    narrow = [MissingWedge(tilt_min_deg=-40.0 - row, tilt_max_deg=50.0) for row in range(16)]
    for wedge in (None, narrow):
        found = finish(align(told(SPACE, truth), made.volumes, config, wedge=wedge))
        expected = average_volumes(made.volumes, truth, wedge or WEDGE)
        np.testing.assert_allclose(found.averages[0].average, expected, atol=1e-4)
    assert not np.allclose(expected, average_volumes(made.volumes, truth, WEDGE), atol=1e-2)


def two_structures() -> tuple[Subtomograms, torch.Tensor]:
    """Ten of one structure, then five of another; and what a good model says of them."""
    config = SubtomogramConfig(
        n=10, box_size=SIZE, pixel_size=8.0, snr=3.0, max_shift=1.5, defocus=0.0, b_factor=0.0
    )
    other = [(z, -y, x, s) for z, y, x, s in BLOBS]  # the mirror image
    maps = [DensityMap(blobs(places), 8.0) for places in (BLOBS, other)]
    both = simulate_subtomograms(maps, np.random.default_rng(5), config)
    truth = type(both.truth)(*(part[:15] for part in both.truth))
    content = torch.tensor([[2.0]] * 10 + [[-2.0]] * 5) + 0.01 * torch.arange(15.0)[:, None]
    return Subtomograms(both.volumes[:15], truth), content


def test_each_class_is_aligned_alone_and_a_small_one_stays_as_it_is() -> None:
    both, content = two_structures()
    truth = true_poses(both)
    start = off(truth, 6, 0.5)
    hypotheses = Poses3D(start.rotation[:10, None], start.translation[:10, None])
    saved = told(SPACE, start, content, hypotheses=hypotheses)
    told_on_the_way: list[object] = []
    config = AlignConfig(search="local", classes=2, refinement=SHORT)
    found = finish(align(saved, both.volumes, config), told_on_the_way.append)
    assert found.label is not None
    np.testing.assert_array_equal(found.label, [0] * 10 + [1] * 5)
    assert [(one.label, one.n) for one in found.averages] == [(0, 10), (1, 5)]
    for rows in (slice(0, 10), slice(10, 15)):
        assert abs(2 * found.half[rows].sum() - len(found.half[rows])) <= 1
    (notice,) = (step for step in told_on_the_way if isinstance(step, Notice))
    assert "class 1 has 5 particles, and refinement needs 8" in notice.message
    poses = final(found)
    torch.testing.assert_close(part_of(poses, slice(10, 15)), part_of(start, slice(10, 15)))
    before, after = (
        geodesic_errors(p.rotation[:10], truth.rotation[:10]).median for p in (start, poses)
    )
    assert after < before / 2
    alone = average_volumes(both.volumes[10:], part_of(start, slice(10, 15)), WEDGE)
    np.testing.assert_allclose(found.averages[1].average, alone, atol=1e-4)


def test_updates_hold_all_that_is_known_so_far(made: Subtomograms) -> None:
    both, content = two_structures()
    truth = true_poses(both)
    hypotheses = Poses3D(truth.rotation[:10, None], truth.translation[:10, None])
    saved = told(SPACE, truth, content, hypotheses=hypotheses)
    updates: list[AlignmentUpdate] = []

    def keep(step: object) -> None:
        if isinstance(step, AlignmentUpdate):
            updates.append(step)
        else:
            assert isinstance(step, Progress | Notice)

    config = AlignConfig(search="local", classes=2, refinement=SHORT)
    found = finish(align(saved, both.volumes, config), keep)
    assert [(u.label, u.iteration) for u in updates] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert [len(u.alignment.averages) for u in updates] == [1, 1, 1, 2]
    first, last = updates[0], updates[-1]
    np.testing.assert_array_equal(last.alignment.encoding.rotation, found.encoding.rotation)
    np.testing.assert_array_equal(last.average, found.averages[1].average)
    # an update does not change once it is told
    assert not np.array_equal(
        first.alignment.encoding.translation, last.alignment.encoding.translation
    )
    assert alike(updates[1].average, updates[2].average) > 0.9


def test_halves_given_are_kept_apart(made: Subtomograms) -> None:
    half = np.arange(16) // 8
    saved = told(SPACE, true_poses(made))
    found = finish(align(saved, made.volumes, AlignConfig(refine=False), half=half))
    np.testing.assert_array_equal(found.half, half)
    one = average_volumes(made.volumes[:8], part_of(true_poses(made), slice(8)), WEDGE)
    np.testing.assert_allclose(found.averages[0].halves[0], one, atol=1e-4)


@pytest.mark.parametrize(("low_pass", "finest"), [(None, 11), (4.0, 6), (5.0, 4), (20.0, 4)])
def test_a_low_pass_is_the_finest_detail_that_is_compared(
    low_pass: float | None, finest: int
) -> None:
    """24 voxels with detail of 4 voxels are 6 cycles; 4 cycles are always looked at."""
    settings = RefinementConfig(angular_step_deg=2.0, low_pass=low_pass)
    alike_in_all = ShellCorrelation(np.arange(13) / 24, np.ones(13))
    search = plan_iteration(settings, 0, alike_in_all, 24).search
    assert int(search.where.frequency.norm(dim=-1).max()) == finest


# Images


def letters() -> tuple[np.ndarray, Poses]:
    digit = np.zeros((28, 28), np.uint8)
    digit[5:23, 10:16] = 200
    digit[18:23, 10:22] = 255  # an L
    images, rotation, translation = rotated_digits(
        np.repeat(digit[None], 30, 0), np.random.default_rng(0), box_size=28, translation_std=2.0
    )
    images = images + np.random.default_rng(1).normal(0, 0.3, images.shape).astype(np.float32)
    return images, Poses(torch.from_numpy(rotation).float(), torch.from_numpy(translation).float())


def test_images_come_to_rest_and_their_halves_are_compared_by_rings() -> None:
    images, truth = letters()
    found = finish(align(told(PLANE, truth), images))
    aligned = bring_to_rest(images, *truth)
    (whole,) = found.averages
    np.testing.assert_allclose(whole.average, average(aligned), atol=1e-5)
    np.testing.assert_allclose(whole.halves[1], average(aligned[found.half == 1]), atol=1e-5)
    assert whole.correlation.correlation.shape == (15,)
    assert whole.correlation.resolution() < 8 and not whole.independent
    lost = truth._replace(rotation=truth.rotation + torch.linspace(0, 6, 30))
    blurred = finish(align(told(PLANE, lost), images)).averages[0]
    assert blurred.correlation.resolution() > whole.correlation.resolution()


def test_images_of_two_classes_have_two_averages() -> None:
    images, truth = letters()
    content = torch.tensor([[1.0]] * 20 + [[-1.0]] * 10)
    found = finish(align(told(PLANE, truth, content), images, AlignConfig(classes=2)))
    aligned = bring_to_rest(images, *truth)
    for one, rows in zip(found.averages, (slice(20), slice(20, 30)), strict=True):
        np.testing.assert_allclose(one.average, average(aligned[rows]), atol=1e-5)


def test_colour_stays_colour() -> None:
    images, truth = letters()
    colour = np.stack([images, 2 * images, 3 * images], -1)
    config = OracleConfig(box_size=28, dimensions=2, channels=3)
    (whole,) = finish(align(told(config, truth), colour)).averages
    assert whole.average.shape == (28, 28, 3)
    np.testing.assert_allclose(whole.average[..., 1], 2 * whole.average[..., 0], rtol=1e-3)


def test_rings_of_the_same_agree_and_those_of_noise_do_not() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 64, 64))
    same = fourier_shell_correlation(a, -2 * a)
    np.testing.assert_allclose(same.correlation, -1)
    assert np.abs(fourier_shell_correlation(a, b).correlation[8:]).max() < 0.4
    # a shift by one pixel turns the phase of the ring k by up to 2 pi k / 64
    moved = fourier_shell_correlation(a, np.roll(a, 1, axis=1)).correlation
    rings = np.arange(4, 30)
    np.testing.assert_allclose(moved[4:30], j0(2 * np.pi * rings / 64), atol=0.25)


# The stack at rest


def random_stack(shape: tuple[int, ...]) -> tuple[np.ndarray, Any, np.ndarray]:
    rng = np.random.default_rng(0)
    n, d = shape[0], 2 if len(shape) == 3 or shape[-1] == 3 else 3
    turn = rng.uniform(-3, 3, n) if d == 2 else Rotation.random(n, random_state=rng).as_matrix()
    return rng.random(shape, np.float32), turn, rng.uniform(-2, 2, (n, d))


INDICES: list[Any] = [
    0,
    -1,
    np.int64(3),
    slice(None),
    slice(1, 6, 2),
    slice(4, 1, -1),
    slice(3, 3),
    (2, 5),
    (slice(1, 3), slice(2, 9), 4),
    (Ellipsis, 2),
    (2, Ellipsis, slice(1, 4)),
    ([5, 0, 5],),
    np.array([True, False] * 3 + [True]),
    (slice(0, 2), -1, slice(None, None, 3)),
]


@pytest.mark.parametrize("shape", [(7, 12, 12), (7, 12, 12, 3), (7, 10, 10, 10)])
def test_the_stack_at_rest_is_the_eager_result(shape: tuple[int, ...]) -> None:
    stack, turn, shift = random_stack(shape)
    colour = shape[-1] == 3
    eager = bring_to_rest(np.moveaxis(stack, -1, 1) if colour else stack, turn, shift)
    eager = np.moveaxis(eager, 1, -1) if colour else eager
    aligned = AlignedStack(stack, turn, shift)
    assert (aligned.shape, aligned.ndim, len(aligned)) == (shape, len(shape), 7)
    assert (aligned.dtype, aligned.size, aligned.nbytes) == (np.float32, stack.size, stack.nbytes)
    np.testing.assert_allclose(np.asarray(aligned), eager, atol=1e-6)
    assert np.asarray(aligned, np.float64).dtype == np.float64
    for index in INDICES:
        got = aligned[index]
        assert got.shape == eager[index].shape, index
        np.testing.assert_allclose(got, eager[index], atol=1e-6, err_msg=str(index))
    with pytest.raises(IndexError):
        aligned[7]


def test_an_enlarged_object_is_brought_to_one_size() -> None:
    rest = np.zeros((1, 21, 21), np.float32)
    rest[0, 8:13, 6:15] = 1
    twice = np.repeat(np.repeat(rest[:, 5:16, 5:16], 2, 1), 2, 2)[:, :21, :21]
    aligned = AlignedStack(twice, [0.0], [[0.5, 0.5]], [2.0])
    # the middle of pixel 10 at rest lies between the pixels 10 and 11 of the enlarged picture
    np.testing.assert_allclose(aligned[0, 9:12, 7:14], 1, atol=1e-5)
    assert aligned[0, :7].max() < 0.1 and aligned[0, :, :5].max() < 0.1


class Counted:
    """A stack that counts what is read of it."""

    def __init__(self, stack: np.ndarray) -> None:
        self.stack, self.shape, self.ndim, self.read = stack, stack.shape, stack.ndim, 0

    def __len__(self) -> int:
        return len(self.stack)

    def __getitem__(self, index: Any) -> np.ndarray:
        found = self.stack[index]
        self.read += len(found)
        return found


def test_only_boxes_that_are_looked_at_are_read_and_each_once() -> None:
    stack, turn, shift = random_stack((7, 10, 10, 10))
    counted = Counted(stack)
    aligned = AlignedStack(counted, turn, shift)
    assert counted.read == 0
    for plane in range(10):  # as a viewer does
        aligned[3, plane]
    assert counted.read == 1
    aligned[2:4]
    assert counted.read == 2


def test_dask_and_napari_take_it_as_an_array() -> None:
    pytest.importorskip("dask")
    import dask.array

    stack, turn, shift = random_stack((7, 10, 10, 10))
    counted = Counted(stack)
    aligned = AlignedStack(counted, turn, shift)
    chunked = dask.array.from_array(aligned, chunks=(1, 10, 10, 10))
    assert counted.read == 0
    np.testing.assert_allclose(chunked[4].compute(), aligned[4], atol=1e-6)
    assert counted.read == 1
    np.testing.assert_allclose(chunked.mean(0).compute(), np.asarray(aligned).mean(0), atol=1e-5)


def test_volumes_at_rest_average_to_their_average_where_all_was_measured() -> None:
    found = subtomograms(12, 20.0, wedge=False)
    truth = true_poses(found)
    mean = np.asarray(AlignedStack(found.volumes, *truth)).mean(0)
    volume = average_volumes(found.volumes, truth)
    inside = np.linalg.norm(np.indices((SIZE,) * 3) - SIZE // 2, axis=0) < SIZE / 2 - 3
    assert np.corrcoef(mean[inside], volume[inside])[0, 1] > 0.99
    assert alike(mean, average(found.volumes)) < 0.8


# Refusals


def job(**changes: Any) -> Callable[[], object]:
    """An alignment that something is wrong with."""
    volumes = np.random.default_rng(0).random((9, 16, 16, 16), np.float32)
    saved = told(OracleConfig(box_size=16), Poses3D.identity(9))
    given = {"saved": saved, "stack": volumes} | changes
    return lambda: finish(align(**given))


def plane(**changes: Any) -> Callable[[], object]:
    saved = told(OracleConfig(box_size=16, dimensions=2), Poses.identity(9))
    return job(**({"saved": saved, "stack": np.zeros((9, 16, 16), np.float32)} | changes))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (job(stack=np.zeros((7, 16, 16, 16))), "at least 8 particles, got 7"),
        (job(stack=np.zeros((9, 16, 16, 12))), "cubic volumes"),
        (job(stack=np.zeros((9, 16, 16))), "cubic volumes"),
        (job(stack=np.zeros((9, 18, 18, 18))), "trained on boxes of shape"),
        (job(wedge=[WEDGE] * 8), "each of 9 volumes needs its tilt range"),
        (job(half=[0, 1]), "0 or 1 for each of 9"),
        (job(half=[0, 1, 2] * 3), "0 or 1 for each of 9"),
        (plane(wedge=WEDGE), "for volumes"),
        (plane(config=AlignConfig(refinement=RefinementConfig(symmetry="C2"))), "for volumes"),
        (plane(config=AlignConfig(refinement=RefinementConfig(mask_radius=9))), "of the mask"),
        (job(config=AlignConfig(refinement=RefinementConfig(symmetry="X"))), "a symmetry is"),
        (job(config=AlignConfig(classes=10)), "can't make 10 classes"),
        (lambda: AlignConfig(classes=0), "classes must be"),
        (lambda: AlignConfig(search="far"), "everywhere or local"),  # type: ignore[arg-type]
        (
            lambda: AlignConfig(search="local", refinement=RefinementConfig(everywhere=1)),
            "no iterations that search everywhere",
        ),
        (lambda: RefinementConfig(low_pass=1.5), "at least 2 voxels"),
        (lambda: AlignedStack(np.zeros((3, 8, 8)), [0.0] * 2, np.zeros((2, 2))), "one pose"),
        (lambda: AlignedStack(np.zeros((3, 8, 8)), [0.0] * 3, np.zeros((3, 3))), "wanted"),
        (
            lambda: AlignedStack(np.zeros((3, 8, 8)), np.zeros((3, 3, 3)), np.zeros((3, 3))),
            "wanted",
        ),
    ],
)
def test_bad_input_is_refused(bad: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        bad()
