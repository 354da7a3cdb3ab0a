"""Averages and refined poses of subtomograms against what the simulator did."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from napari_equipose.evaluation import geodesic_errors
from napari_equipose.geometry import InputError, MissingWedge, Poses3D, smooth_ball_mask
from napari_equipose.inference import (
    Progress,
    RefinementConfig,
    ShellCorrelation,
    average_volumes,
    finish,
    fourier_shell_correlation,
    refine,
)
from napari_equipose.simulation import (
    DensityMap,
    SubtomogramConfig,
    Subtomograms,
    simulate_subtomograms,
)

SIZE = 24
WEDGE = MissingWedge()
BLOBS = [(0, 0, 0, 3.0), (0, 0, 6, 2.0), (0, -5, -3, 1.8), (5, 3, 0, 1.6), (-6, 2, 2, 1.4)]


def blobs(places: list[tuple[float, float, float, float]], size: int = SIZE) -> np.ndarray:
    """Balls at (z, y, x) from the centre voxel, each of its own strength."""
    grid = np.indices((size,) * 3) - size // 2
    density = np.zeros((size,) * 3)
    for *at, strength in places:
        away = sum((axis - place) ** 2 for axis, place in zip(grid, at, strict=True))
        density += strength * np.exp(-away / (2 * 1.6**2))
    return density


def subtomograms(n: int, snr: float, wedge: bool = True) -> Subtomograms:
    limits = {} if wedge else {"tilt_min_deg": None, "tilt_max_deg": None}
    config = SubtomogramConfig(
        n=n, box_size=SIZE, pixel_size=8.0, snr=snr, max_shift=1.5, defocus=0.0, b_factor=0.0,
        **limits,
    )  # fmt: skip
    return simulate_subtomograms([DensityMap(blobs(BLOBS), 8.0)], np.random.default_rng(3), config)


@pytest.fixture(scope="module")
def noisy() -> Subtomograms:
    return subtomograms(24, 1.0)


def true_poses(found: Subtomograms) -> Poses3D:
    return Poses3D(*(torch.from_numpy(part).float() for part in found.truth[1:]))


def off(poses: Poses3D, degrees: float, voxels: float, seed: int = 0) -> Poses3D:
    """Turn and shift poses by so much, each to another side."""
    rng = np.random.default_rng(seed)
    aside, away = (rng.standard_normal((len(poses.rotation), 3)) for _ in range(2))
    aside *= np.radians(degrees) / np.linalg.norm(aside, axis=1, keepdims=True)
    away *= voxels / np.linalg.norm(away, axis=1, keepdims=True)
    turn = torch.from_numpy(Rotation.from_rotvec(aside).as_matrix()).float()
    return Poses3D(poses.rotation @ turn, poses.translation + torch.from_numpy(away).float())


def shift_errors(found: Poses3D, truth: Poses3D) -> np.ndarray:
    """Voxels between true and found centres, the frame's own shift removed."""
    between = (found.translation - truth.translation).double()
    in_frame = (found.rotation.double().mT @ between[:, :, None])[:, :, 0]
    return (in_frame - in_frame.median(0).values).norm(dim=-1).numpy()


def in_frame_of(truth: Poses3D, found: Poses3D) -> Poses3D:
    """Poses in the frame that brings them nearest to the true ones."""
    frames = found.inverse().compose(truth)
    turn = Rotation.from_matrix(frames.rotation).mean().as_matrix()
    n = len(frames.rotation)
    frame = Poses3D(
        torch.from_numpy(turn).float().expand(n, 3, 3),
        frames.translation.median(0).values.expand(n, 3),
    )
    return found.compose(frame)


def alike(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def centred_truth() -> np.ndarray:
    """The structure as an average shows it: its centre of mass at the centre voxel."""
    strength = np.array([s for *_, s in BLOBS])
    middle = strength @ np.array([at for *at, _ in BLOBS]) / strength.sum()
    moved = [(*(np.array(at) - middle), s) for *at, s in BLOBS]
    return blobs(moved) * smooth_ball_mask(SIZE, edge=3.0).numpy()


def test_poses_come_back_from_15_degrees_and_a_voxel_and_a_half(noisy: Subtomograms) -> None:
    truth = true_poses(noisy)
    start = off(truth, 15, 1.5)
    found = finish(refine(noisy.volumes, start, WEDGE))
    errors = geodesic_errors(found.poses.rotation, truth.rotation)
    assert errors.median < 3 and np.mean(errors.degrees < 8) > 0.9
    # both halves are in one frame: theirs is that of all
    for name in (0, 1):
        rows = found.half == name
        alone = geodesic_errors(found.poses.rotation[rows], truth.rotation[rows]).median
        assert alone == pytest.approx(np.median(errors.degrees[rows]), abs=1.5)
    assert np.median(shift_errors(found.poses, truth)) < 0.35
    assert np.median(shift_errors(start, truth)) > 1
    assert found.score.min() > 0.3
    before, after = (
        average_volumes(noisy.volumes, in_frame_of(truth, poses), WEDGE)
        for poses in (start, found.poses)
    )
    assert alike(after, centred_truth()) > alike(before, centred_truth()) + 0.02
    assert found.correlation.resolution() < 6


def test_true_hypothesis_is_found_among_false_ones(noisy: Subtomograms) -> None:
    truth = true_poses(noisy)
    near, far = off(truth, 8, 0.5), off(truth, 120, 0.5, seed=1)
    rotation = torch.stack([near.rotation, far.rotation], 1)
    rotation[::3] = rotation[::3].flip(1)  # a third has the false one first
    translation = torch.stack([near.translation, far.translation], 1)
    translation[::3] = translation[::3].flip(1)
    config = RefinementConfig(iterations=3, angular_step_deg=8.0)
    start = Poses3D(rotation, translation)
    found = finish(refine(noisy.volumes, start, WEDGE, config))
    assert geodesic_errors(rotation[:, 0], truth.rotation).degrees[::3].min() > 90
    assert (geodesic_errors(found.poses.rotation, truth.rotation).degrees < 10).mean() > 0.9


def test_search_everywhere_needs_no_rotation_to_start_from(noisy: Subtomograms) -> None:
    """All but the half-sets' averages is forgotten: a third of the particles start anywhere."""
    truth = true_poses(noisy)
    lost = off(truth, 8, 0.5)
    rotation = lost.rotation.clone()
    rotation[::3] = torch.from_numpy(Rotation.random(8, random_state=0).as_matrix()).float()
    config = RefinementConfig(iterations=3, everywhere=1, angular_step_deg=8.0)
    found = finish(refine(noisy.volumes, lost._replace(rotation=rotation), WEDGE, config))
    assert (geodesic_errors(found.poses.rotation, truth.rotation).degrees < 10).mean() > 0.9


def test_average_counts_only_what_was_measured() -> None:
    found = subtomograms(4, 10.0)
    poses = true_poses(found)
    weighted = average_volumes(found.volumes, poses, WEDGE)
    plain = average_volumes(found.volumes, poses)
    assert alike(weighted, centred_truth()) > alike(plain, centred_truth()) + 0.01
    each = average_volumes(found.volumes, poses, [WEDGE] * 4)
    np.testing.assert_array_equal(each, weighted)


def test_average_of_particles_at_rest_is_the_structure() -> None:
    """Turned back by Fourier interpolation, detail is as strong as it was."""
    found = subtomograms(6, 1e6, wedge=False)
    average = average_volumes(found.volumes, true_poses(found))
    mask = smooth_ball_mask(SIZE, edge=3.0).numpy()
    still = simulate_still() * mask
    assert alike(average, still) > 0.995
    assert np.linalg.norm(average - still) < 0.12 * np.linalg.norm(still)


def simulate_still() -> np.ndarray:
    """The structure at rest, of the intensities that the simulator gives its copies."""
    clean = centred_truth()
    return (clean - clean.mean()) / clean.std()


def test_symmetry_leaves_a_symmetric_object_and_makes_others_so() -> None:
    """Half a turn about z, which takes (z, y, x) to (z, -y, -x)."""
    places = [(3.0, 4.0, 1.0, 1.0), (3.0, -4.0, -1.0, 1.0), (-4.0, 0.0, 0.0, 2.0)]
    poses = Poses3D.identity(1)
    twofold = blobs(places)[None]
    plain = average_volumes(twofold, poses)
    np.testing.assert_allclose(
        average_volumes(twofold, poses, symmetry="C2"), plain, atol=0.01 * plain.max()
    )
    other = average_volumes(twofold, poses, symmetry="C3")
    assert alike(other, plain) < 0.9
    uneven = average_volumes(blobs(BLOBS)[None], poses, symmetry="C2")
    assert alike(uneven[:, 1:, 1:], uneven[:, :0:-1, :0:-1]) > 0.999
    assert alike(uneven, average_volumes(blobs(BLOBS)[None], poses)) < 0.95


def test_refined_symmetric_object_keeps_its_axis() -> None:
    places = [(3.0, 5.0, 1.0, 2.0), (3.0, -5.0, -1.0, 2.0), (-5.0, 0.0, 0.0, 3.0)]
    z = sum(p[0] * p[3] for p in places) / sum(p[3] for p in places)
    density = DensityMap(blobs([(p[0] - z, *p[1:]) for p in places]), 8.0)
    config = SubtomogramConfig(n=12, box_size=SIZE, pixel_size=8.0, snr=2.0, defocus=0.0)
    made = simulate_subtomograms([density], np.random.default_rng(1), config)
    truth = true_poses(made)
    settings = RefinementConfig(symmetry="C2", iterations=4, angular_step_deg=6.0)
    found = finish(refine(made.volumes, off(truth, 8, 0.7), WEDGE, settings))
    assert geodesic_errors(found.poses.rotation, truth.rotation, symmetry="C2").median < 4
    axis = found.poses.rotation[:, :, 0] - truth.rotation[:, :, 0]
    assert axis.norm(dim=-1).median() < 0.08  # about 4.5 degrees, with no frame removed


def test_shell_correlation_of_the_same_is_one_and_of_noise_none() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 32, 32, 32))
    same = fourier_shell_correlation(a, 3 * a)
    np.testing.assert_allclose(same.correlation, 1)
    assert same.resolution() == 2
    none = fourier_shell_correlation(a, b)
    assert np.abs(none.correlation[4:]).max() < 0.15
    assert none.resolution() > 8
    np.testing.assert_array_equal(none.frequency, np.arange(17) / 32)


def test_shell_correlation_follows_the_signal() -> None:
    """Signal of one power in all shells up to the 8th, and noise of the same power: 1/2."""
    rng = np.random.default_rng(0)
    a, b, signal = np.fft.rfftn(rng.standard_normal((3, 32, 32, 32)), axes=(1, 2, 3))
    k = np.fft.fftfreq(32) * 32
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :17] ** 2)
    signal *= np.round(radius) <= 8
    halves = [np.fft.irfftn(x + signal, (32,) * 3, (0, 1, 2)) for x in (a, b)]
    found = fourier_shell_correlation(*halves)
    assert found.correlation[4:9] == pytest.approx(np.full(5, 0.5), abs=0.12)
    assert 32 / 9 <= found.resolution() <= 32 / 8


def test_resolution_lies_between_shells() -> None:
    curve = ShellCorrelation(np.arange(5) / 8, np.array([1.0, 1.0, 0.643, -0.357, 0.5]))
    assert curve.resolution() == pytest.approx(8 / 2.5)
    assert curve.resolution(0.7) == pytest.approx(8 / (1 + 0.3 / 0.357))
    assert ShellCorrelation(np.arange(3) / 4, np.array([1.0, 0.1, 0.9])).resolution() == np.inf


def test_memory_mapped_volumes_give_the_same(tmp_path: Path, noisy: Subtomograms) -> None:
    np.save(tmp_path / "stack.npy", noisy.volumes[:10])
    mapped = np.load(tmp_path / "stack.npy", mmap_mode="r")
    start = Poses3D(*(part[:10] for part in off(true_poses(noisy), 5, 0.5)))
    config = RefinementConfig(iterations=1, angular_step_deg=4.0)
    steps: list[Progress] = []
    one = finish(refine(mapped, start, WEDGE, config), steps.append)
    other = finish(refine(noisy.volumes[:10], start, WEDGE, config))
    assert [step.done for step in steps] == list(range(1, steps[-1].total + 1))
    torch.testing.assert_close(one.poses, other.poses)
    np.testing.assert_array_equal(one.average, other.average)


def test_halves_given_are_kept(noisy: Subtomograms) -> None:
    half = np.arange(10) % 2
    config = RefinementConfig(iterations=1, angular_step_deg=4.0)
    start = Poses3D(*(part[:10] for part in true_poses(noisy)))
    jobs = [noisy.volumes[:10].copy() for _ in range(2)]
    jobs[1][half == 1] = np.random.default_rng(0).standard_normal((5, SIZE, SIZE, SIZE))
    found = [finish(refine(volumes, start, WEDGE, config, half=half)) for volumes in jobs]
    np.testing.assert_array_equal(found[0].half, half)
    # what is in the second half decides on no more than how fine the first is looked at
    first = torch.from_numpy(half == 0)
    moved = found[0].poses.rotation[first].mT @ found[1].poses.rotation[first]
    assert (moved.diagonal(dim1=1, dim2=2).sum(1) > 2.97).all()


def cut(**changes: object) -> Callable[[], object]:
    """A refinement that something is wrong with."""
    volumes = np.zeros((9, 12, 12, 12), np.float32)
    given = {"volumes": volumes, "poses": Poses3D.identity(9)} | changes
    return lambda: finish(refine(**given))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (cut(volumes=np.zeros((9, 12, 12, 10))), "cubic volumes"),
        (cut(volumes=np.zeros((9, 12, 12))), "cubic volumes"),
        (cut(volumes=np.zeros((7, 12, 12, 12)), poses=Poses3D.identity(7)), "at least 8"),
        (cut(poses=Poses3D.identity(8)), "each of 9 volumes needs a rotation"),
        (cut(poses=Poses3D(torch.zeros(9, 3, 3), torch.zeros(9, 3))), "rotation matrices"),
        (cut(poses=None), "everywhere"),
        (cut(wedge=[WEDGE] * 3), "each of 9 volumes needs its tilt range"),
        (cut(half=[0, 1]), "halves are given"),
        (cut(), "volume 1 is the same everywhere"),
        (lambda: RefinementConfig(iterations=0), "iterations must be"),
        (lambda: RefinementConfig(angular_step_deg=0), "angular_step_deg"),
        (cut(config=RefinementConfig(symmetry="X7")), "a symmetry is"),
        (cut(config=RefinementConfig(mask_radius=40)), "radius of the mask"),
        (lambda: MissingWedge(tilt_min_deg=0, tilt_max_deg=0), "tilt range"),
        (lambda: average_volumes(np.zeros((2, 8, 8, 8)), Poses3D.identity(3)), "needs one pose"),
        (lambda: fourier_shell_correlation(np.zeros((4, 4, 4)), np.zeros((5,) * 3)), "one size"),
    ],
)
def test_bad_input_is_refused(job: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        job()
