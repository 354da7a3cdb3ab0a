"""Objects in volumes: proposed by size alone, learnt without labels, found with their poses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation
from test_cli import refuse, succeed
from tiny import HARMONY, MODEL

from napari_equipose.evaluation import match_picks
from napari_equipose.geometry import (
    InputError,
    MissingWedge,
    Poses3D,
    apply_poses,
    extract_cubes,
    swap_axis_order,
)
from napari_equipose.inference import (
    DetectionConfig,
    Notice,
    Picks3D,
    _volume_poser,
    calibrate_volumes,
    detect,
    detect_volume,
    finish,
    propose_in_volume,
    propose_in_volumes,
    search_volume,
)
from napari_equipose.inference import _volume_blobs as blobs_module
from napari_equipose.io import (
    napari_get_reader,
    napari_write_points,
    pick_table,
    read_star,
    read_table,
    write_mrc,
    write_table,
)
from napari_equipose.models import (
    Capabilities,
    HarmonyConfig,
    Normalisation,
    Posterior,
    SavedModel,
    TargetVAE,
    load_model,
    save_model,
)
from napari_equipose.training import read_run

BOX = 16
SHAPE = (40, 72, 80)


def molecule(size: int = BOX) -> NDArray[np.float32]:
    """Four lobes of unlike size and place, so that every rotation shows."""
    grid = np.stack(np.indices((size,) * 3), -1) - size // 2
    lobes = [
        *(((0, 0, 0), 2.0, 1.0), ((0, 0, 4.5), 1.5, 1.0)),
        *(((0, 4, -2), 1.5, 0.9), ((-3.5, -2, -2), 1.2, 0.9)),
    ]
    volume = sum(
        height * np.exp(-((grid - np.array(place)) ** 2).sum(-1) / (2 * width**2))
        for place, width, height in lobes
    )
    return np.asarray(volume, np.float32)


class Tomogram:
    """Copies of the molecule in noise, on a slope."""

    def __init__(self, seed: int, n: int = 14, noise: float = 0.1, slope: float = 0.3) -> None:
        rng = np.random.default_rng(seed)
        places: list[NDArray[np.float64]] = []
        while len(places) < n:
            place = rng.uniform(9, np.array(SHAPE) - 10)
            if all(np.linalg.norm(place - other) > 15 for other in places):
                places.append(place)
        self.positions = np.array(places)
        self.rotation = swap_axis_order(Rotation.random(n, random_state=rng).as_matrix())
        corner = np.floor(self.positions + 0.5).astype(int)
        shift = torch.from_numpy(self.positions - corner).float()
        poses = Poses3D(torch.from_numpy(self.rotation).float(), shift)
        copies = apply_poses(torch.from_numpy(molecule())[None, None].repeat(n, 1, 1, 1, 1), poses)
        self.volume = rng.normal(0, noise, SHAPE).astype(np.float32)
        self.volume += slope * np.linspace(-1, 1, SHAPE[2], dtype=np.float32)
        for copy, (z, y, x) in zip(copies[:, 0].numpy(), corner - BOX // 2, strict=True):
            self.volume[z : z + BOX, y : y + BOX, x : x + BOX] += copy


class Drawer(torch.nn.Module):
    """A model that knows the molecule, and as a negative content its mirror image.

    Of a box it knows nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.config = HarmonyConfig(box_size=BOX, dimensions=3)
        self.capabilities = Capabilities(
            **{"dimensions": frozenset({3}), "infers": frozenset({"rotation"})},
            **{"fully_convolutional": False, "clusters": False},
        )

    def infer(self, images: torch.Tensor) -> Posterior:
        n = len(images)
        return Posterior(Poses3D.identity(n), torch.zeros(n, 1), torch.ones(n, 1))

    def generate(self, content: torch.Tensor) -> torch.Tensor:
        known = torch.from_numpy(molecule())
        return torch.stack([known if c >= 0 else known.flip(0) for c in content[:, 0]])[:, None]


@pytest.fixture(scope="module")
def tomogram() -> Tomogram:
    return Tomogram(0)


@pytest.fixture(scope="module")
def drawer() -> SavedModel:
    return SavedModel(kind="harmony", model=Drawer(), normalisation=Normalisation())


@pytest.fixture(scope="module")
def found(tomogram: Tomogram, drawer: SavedModel) -> Picks3D:
    config = DetectionConfig(threshold=0.3)
    return finish(detect_volume(drawer, tomogram.volume, config, device="cpu"))


# Boxes


def test_a_cube_is_a_piece_of_the_volume_and_a_mirror_beyond_it() -> None:
    volume = np.arange(10 * 11 * 12, dtype=np.uint16).reshape(10, 11, 12)
    inner, corner = extract_cubes(volume, np.array([[5, 5.4, 4.5], [0, 10, 0]]), 4)[:, 0]
    np.testing.assert_array_equal(inner, volume[3:7, 3:7, 3:7])
    padded = np.pad(volume, 2, mode="reflect")
    np.testing.assert_array_equal(corner, padded[0:4, 10:14, 0:4])
    with pytest.raises(InputError, match="11 pixels does not fit into a volume of 10 x 11 x 12"):
        extract_cubes(volume, np.zeros((1, 3)), 11)


# Candidates


@pytest.mark.parametrize("sign", [1, -1])
def test_objects_are_proposed_of_either_polarity(tomogram: Tomogram, sign: int) -> None:
    candidates = propose_in_volume(sign * tomogram.volume, BOX)
    assert candidates.polarity == ("bright" if sign == 1 else "dark")
    pairs = match_picks(candidates.positions, tomogram.positions, 3.0)
    assert len(pairs.found) == len(tomogram.positions)
    assert len(candidates.positions) <= len(tomogram.positions) + 1
    assert np.median(pairs.distance) < 1.5
    assert (np.diff(candidates.scores) <= 0).all()


def test_a_ball_is_proposed_between_pixels() -> None:
    centre = np.array([20.3, 31.7, 40.5])
    distance = np.linalg.norm(np.stack(np.indices(SHAPE), -1) - centre, axis=-1)
    noise = np.random.default_rng(1).normal(0, 0.02, SHAPE)
    volume = np.clip(5 - distance, 0, 1) + noise
    (first, *_) = propose_in_volume(volume, BOX, "bright").positions
    np.testing.assert_allclose(first, centre, atol=0.2)


@pytest.mark.parametrize("box_size", [BOX, 2 * BOX])
def test_tiles_change_nothing(
    tomogram: Tomogram, box_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = finish(blobs_module.find_blobs(tomogram.volume, box_size))
    monkeypatch.setattr(blobs_module, "_TILE", 36)
    tiled = finish(blobs_module.find_blobs(tomogram.volume, box_size))
    for one, other in zip(whole, tiled, strict=True):
        rows = np.argsort(one.positions[:, 0]), np.argsort(other.positions[:, 0])
        np.testing.assert_allclose(one.positions[rows[0]], other.positions[rows[1]], atol=0.01)
        np.testing.assert_allclose(one.scores, other.scores, rtol=0.05)


def test_a_volume_is_read_plane_by_plane(tomogram: Tomogram) -> None:
    largest = 0

    class Lazy:
        shape, ndim = SHAPE, 3

        def __getitem__(self, index: tuple[slice, ...]) -> NDArray[np.float32]:
            nonlocal largest
            part: NDArray[np.float32] = tomogram.volume[index]
            largest = max(largest, len(part))
            return part

    found = propose_in_volume(Lazy(), BOX)  # type: ignore[arg-type]
    assert len(found.positions) and largest == 1


def test_gain_offset_and_type_change_nothing(tomogram: Tomogram) -> None:
    counts = np.round((tomogram.volume + 3) * 8000).astype(np.uint16)
    first, second = (propose_in_volume(v, BOX) for v in (counts, counts * np.float32(0.01) - 9))
    np.testing.assert_allclose(first.positions, second.positions, atol=1e-2)


def test_volumes_share_a_polarity_and_their_lists_can_be_cut(tomogram: Tomogram) -> None:
    noise = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
    first, second = propose_in_volumes([tomogram.volume, noise], BOX, max_candidates=5)
    assert len(first.positions) == 5 and len(second.positions) <= 5
    assert first.polarity == second.polarity == "bright"


def test_noise_alone_holds_no_objects() -> None:
    noise = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)
    with pytest.raises(InputError, match="found no bright object of about 16 pixels"):
        propose_in_volume(noise, BOX, "bright")


@pytest.mark.parametrize(
    ("volume", "box_size", "message"),
    [
        (np.zeros((20, 20)), 16, "a volume .z, y, x. is wanted, got shape .20, 20."),
        (np.zeros((20, 30, 30)), 21, "from 8 to 20 pixels for a volume of 20 x 30 x 30"),
        (np.zeros((20, 20, 20)), 7, "from 8 to 20 pixels"),
        (np.zeros((20, 20, 20)), 8, "constant"),
        (np.full((20, 20, 20), np.nan), 8, "NaN"),
    ],
)
def test_bad_volumes_are_refused(volume: NDArray[np.float64], box_size: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        propose_in_volume(volume, box_size)


# Detection


def test_every_object_is_found_once_where_it_is(tomogram: Tomogram, found: Picks3D) -> None:
    assert len(found.positions) == len(tomogram.positions)
    pairs = match_picks(found.positions, tomogram.positions, 2.0)
    assert len(pairs.found) == len(tomogram.positions)
    # from the middle of the molecule, not from the origin of its box
    weight = np.clip(molecule() - molecule().max() / 4, 0, None)
    middle = np.array(ndimage.center_of_mass(weight)) - BOX // 2
    expected = tomogram.positions + tomogram.rotation @ middle
    apart = found.positions[pairs.found] - expected[pairs.truth]
    assert np.median(np.linalg.norm(apart, axis=1)) < 0.5


def test_rotations_are_those_of_the_objects(tomogram: Tomogram, found: Picks3D) -> None:
    pairs = match_picks(found.positions, tomogram.positions, 2.0)
    between = found.rotation[pairs.found].swapaxes(1, 2) @ tomogram.rotation[pairs.truth]
    degrees = np.degrees(Rotation.from_matrix(between).magnitude())
    assert np.median(degrees) < 5
    assert (degrees < 20).mean() > 0.9


def test_scores_fall_and_say_how_much_is_explained(found: Picks3D, drawer: SavedModel) -> None:
    assert (np.diff(found.score) <= 0).all()
    assert 0.5 < found.score.min() <= found.score.max() <= 1
    noisy = Tomogram(0, noise=0.5)
    config = DetectionConfig(threshold=0.0)
    less = finish(detect_volume(drawer, noisy.volume, config, device="cpu"))
    assert np.median(less.score) < np.median(found.score)


def test_a_gain_and_an_offset_leave_the_scores(
    tomogram: Tomogram, found: Picks3D, drawer: SavedModel
) -> None:
    config = DetectionConfig(threshold=0.3)
    again = finish(detect_volume(drawer, 50 * tomogram.volume + 1000, config, device="cpu"))
    np.testing.assert_allclose(again.score, found.score, atol=1e-3)
    np.testing.assert_allclose(again.positions, found.positions, atol=0.05)


def test_the_threshold_lies_between_objects_and_chance(
    tomogram: Tomogram, found: Picks3D, drawer: SavedModel
) -> None:
    many = [tomogram.volume, Tomogram(1).volume]
    threshold = finish(calibrate_volumes(drawer, many, device="cpu"))
    assert threshold <= np.quantile(found.score, 0.1)
    assert threshold > 0.25


def test_a_model_without_a_threshold_takes_that_of_the_negative(
    tomogram: Tomogram, drawer: SavedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_volume_poser, "_COARSE_DEG", 40.0)  # a fifth of the rotations
    said: list[object] = []
    found = finish(detect_volume(drawer, tomogram.volume, device="cpu"), said.append)
    (notice,) = [step for step in said if isinstance(step, Notice)]
    threshold = float(notice.message.split("; ")[1].split()[0])
    assert 0.05 < threshold <= found.score.min() + 1e-3
    pairs = match_picks(found.positions, tomogram.positions, 2.5)
    assert len(pairs.found) >= 12 and len(found.score) <= len(tomogram.positions) + 2
    known = replace(drawer, record={"threshold": 0.99})
    job = search_volume(known, tomogram.volume[:, :40, :40], device="cpu")
    whole = finish(job)
    assert whole.threshold == 0.99 and len(whole.picks.score)  # nothing is left out


def test_what_was_measured_is_told_of_the_volume(
    tomogram: Tomogram, drawer: SavedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_volume_poser, "_COARSE_DEG", 40.0)
    part, config = tomogram.volume[:, :40, :40], DetectionConfig(threshold=0.0)
    spectrum = np.fft.rfftn(part)
    lines = [np.fft.fftfreq(side) for side in part.shape[:2]] + [np.fft.rfftfreq(part.shape[2])]
    frequency = torch.from_numpy(np.stack(np.meshgrid(*lines, indexing="ij"), -1)).float()
    wedge = MissingWedge(tilt_min_deg=-40, tilt_max_deg=40)
    kept = spectrum * wedge.measures(frequency).numpy()
    cut = np.fft.irfftn(kept, part.shape, axes=(0, 1, 2))
    cut = cut.astype(np.float32)
    nothing_missing = MissingWedge(tilt_min_deg=-90, tilt_max_deg=90)
    alone = finish(detect_volume(drawer, cut, config, wedge=nothing_missing, device="cpu"))
    told = finish(detect_volume(drawer, cut, config, wedge=wedge, device="cpu"))
    # what was not measured is missing from what is explained, unless it is told
    assert len(told.score) == len(alone.score) >= 3
    assert (told.score > alone.score + 0.02).all()


def test_structures_that_a_model_began_with_are_told_apart(
    tomogram: Tomogram, found: Picks3D, drawer: SavedModel
) -> None:
    began = replace(drawer, record={"structures": [[-1.0], [2.0]]})
    config = DetectionConfig(threshold=0.3)
    told = finish(detect_volume(began, tomogram.volume, config, device="cpu"))
    np.testing.assert_array_equal(told.content, np.full((len(tomogram.positions), 1), 2.0))
    np.testing.assert_allclose(told.positions, found.positions, atol=1e-4)


def test_objects_nearer_than_the_least_distance_are_one(
    tomogram: Tomogram, drawer: SavedModel
) -> None:
    config = DetectionConfig(threshold=0.0, min_distance=40.0)
    few = finish(detect_volume(drawer, tomogram.volume, config, device="cpu"))
    apart = np.linalg.norm(few.positions[:, None] - few.positions, axis=-1)
    assert 0 < len(few.positions) < 8
    assert (apart + 100 * np.eye(len(apart)) > 40).all()


def test_what_is_not_there_is_not_found(drawer: SavedModel) -> None:
    noise = np.random.default_rng(4).normal(size=SHAPE).astype(np.float32)
    none = finish(detect_volume(drawer, noise, DetectionConfig(threshold=0.9), device="cpu"))
    assert [column.shape for column in none] == [(0, 3), (0, 3, 3), (0,), (0, 1)]


def test_models_of_images_and_of_volumes_are_not_mixed_up(
    tomogram: Tomogram, drawer: SavedModel
) -> None:
    flat = SavedModel(kind="target-vae", model=TargetVAE(MODEL), normalisation=Normalisation())
    with pytest.raises(InputError, match="target-vae model is of images"):
        finish(detect_volume(flat, tomogram.volume))
    with pytest.raises(InputError, match="harmony model has no encoder that runs over"):
        finish(detect(drawer, tomogram.volume[0]))
    with pytest.raises(InputError, match="from 8 to 12 pixels"):
        finish(detect_volume(drawer, tomogram.volume[:12]))


# From the command line

SHORT = [
    *("--model", "harmony", "--epochs", 1, "--device", "cpu", "--box-size", BOX),
    *(part for name, value in HARMONY.items() for part in ("--set", f"{name}={value}")),
]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, tomogram: Tomogram) -> Path:
    """A folder with a tomogram, a plane of it, and a model that learnt from the tomogram."""
    folder = tmp_path_factory.mktemp("tomogram")
    write_mrc(folder / "t.mrc", tomogram.volume, 10.0)
    write_mrc(folder / "plane.mrc", tomogram.volume[0], 10.0)
    wedge = ("--tilt-range", -60, 60)
    succeed("train", folder / "t.mrc", "-o", folder / "m.safetensors", *SHORT, *wedge)
    return folder


def test_a_model_learns_from_a_tomogram(work: Path, tomogram: Tomogram) -> None:
    saved = load_model(work / "m.safetensors")
    config, record = saved.model.config, saved.record
    assert (config.dimensions, config.box_size, config.tilt_min_deg) == (3, BOX, -60)
    assert abs(record["images"] - len(tomogram.positions)) <= 1
    assert 0 < record["threshold"] < 1
    assert read_run(work / "m.run" / "run.json").box_size == BOX


def test_tables_of_picks_in_space(work: Path, tmp_path: Path) -> None:
    model, tomogram = work / "m.safetensors", work / "t.mrc"
    shared = ("detect", model, tomogram, "--threshold", 0, "--device", "cpu", "--classes", 2)
    succeed(*shared, "-o", tmp_path / "t.csv")
    succeed(*shared, "-o", tmp_path / "t.star")
    rows = read_table(tmp_path / "t.csv")
    place, angles = ["z", "y", "x"], ["rot", "tilt", "psi"]
    assert list(rows) == ["image", *place, *angles, "score", "class", "content_0"]
    assert len(rows) and set(rows["class"]) == {0, 1}
    inside = (rows[place].to_numpy() > 0) & (rows[place].to_numpy() < SHAPE)
    assert inside.all()
    particles = read_star(tmp_path / "t.star").particles
    for axis, name in zip("ZYX", place, strict=True):
        np.testing.assert_allclose(particles[f"rlnCoordinate{axis}"], rows[name], atol=1e-3)
    again = read_table(tmp_path / "t.star", "picks")
    np.testing.assert_allclose(again[[*place, *angles]], rows[[*place, *angles]], atol=1e-3)
    with pytest.raises(InputError, match="picks in a plane"):
        write_table(tmp_path / "t.box", rows, box_size=BOX)


def test_points_in_space_are_read_and_written(work: Path, tmp_path: Path) -> None:
    rotation = swap_axis_order(Rotation.random(3, random_state=1).as_matrix())
    positions = np.array([[3.5, 40.5, 50.5], [7, 20, 30], [9, 10, 11]])
    write_table(tmp_path / "a.star", pick_table("t.mrc", positions, rotation, [0.9, 0.8, 0.7]))
    arrows, points = napari_get_reader(str(tmp_path / "a.star"))(str(tmp_path / "a.star"))
    assert (arrows[2], points[2]) == ("vectors", "points")
    data, meta, _ = points
    np.testing.assert_allclose(data, positions)
    napari_write_points(str(tmp_path / "b.csv"), data, meta)
    before, after = (read_table(tmp_path / name) for name in ("a.star", "b.csv"))
    pd.testing.assert_frame_equal(before, after[before.columns])


def test_bad_input_is_one_line(work: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(5).normal(size=SHAPE).astype(np.float32)
    write_mrc(tmp_path / "noise.mrc", noise, 10.0)
    flat = tmp_path / "flat.safetensors"
    save_model(flat, TargetVAE(MODEL), Normalisation(), {})
    target, table = tmp_path / "m.safetensors", tmp_path / "t.csv"
    tomogram, plane = work / "t.mrc", work / "plane.mrc"
    few = tuple(SHORT[: SHORT.index("--box-size")])
    cases: list[tuple[tuple[object, ...], str]] = [
        (
            ("train", tomogram, "-o", target, *few, "--box-size", 41),
            "box size must be from 8 to 40",
        ),
        (("train", plane, "-o", target, *SHORT), "finds objects in volumes"),
        (("train", tomogram, "-o", target, "--box-size", BOX), "wanted one image"),
        (
            ("train", tmp_path / "noise.mrc", "-o", target, *SHORT, "--polarity", "bright"),
            "training needs at least 10",
        ),
        (("detect", flat, tomogram, "-o", table), "wanted one image"),
        (("detect", work / "m.safetensors", plane, "-o", table), "finds objects in volumes"),
    ]
    for arguments, message in cases:
        said = refuse(*arguments)
        assert said.startswith("error: ") and message in said, said
    assert not target.exists() and not table.exists()
