"""Simulated objects are where the truth says, turned as the truth says."""

import gzip
from collections.abc import Callable
from math import pi
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_equipose.geometry import InputError, Poses, remove_poses
from napari_equipose.simulation import (
    SHAPES,
    MicrographConfig,
    Structure,
    digit_scene,
    multi_object_scene,
    read_pdb,
    rotated_digits,
    sample_digit_scene,
    sample_ecoli,
    sample_micrograph,
    sample_path,
    sample_shapes,
    shape_pictures,
    simulate_micrograph,
)
from napari_equipose.simulation._digits import turn_pictures
from napari_equipose.simulation._optics import coloured_noise, contrast_transfer


def at_rest(image: np.ndarray, positions: np.ndarray, rotation: np.ndarray, box: int) -> np.ndarray:
    """Cut objects out of an image and take their poses away, (n, channels, box, box)."""
    half = box // 2
    planes = np.pad(np.atleast_3d(image), ((half, half), (half, half), (0, 0)))
    corners = np.floor(positions + 0.5).astype(int)
    boxes = [planes[y : y + box, x : x + box].transpose(2, 0, 1) for y, x in corners]
    fraction = positions - corners
    poses = Poses(torch.tensor(rotation).float(), torch.tensor(fraction).float())
    return remove_poses(torch.from_numpy(np.stack(boxes)), poses).numpy()


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


# -- digits ----------------------------------------------------------------------------------


def test_a_quarter_turn_is_that_of_rot90() -> None:
    pictures = shape_pictures(27)
    turned = turn_pictures(pictures, np.full(3, pi / 2), np.zeros((3, 2)), 27)
    expected = np.rot90(pictures, axes=(1, 2)) / 255
    np.testing.assert_allclose(turned, expected, atol=1e-5)


def test_origin_of_an_even_picture_is_its_middle() -> None:
    pictures = shape_pictures(28)
    # pixel 14 of the box lies half a pixel beyond the picture's middle, 13.5
    still = turn_pictures(pictures, np.zeros(3), np.full((3, 2), -0.5), 28)
    np.testing.assert_allclose(still, pictures / 255, atol=1e-5)
    turned = turn_pictures(pictures, np.full(3, pi), np.full((3, 2), -0.5), 28)
    np.testing.assert_allclose(turned, pictures[:, ::-1, ::-1] / 255, atol=1e-5)


def test_translation_moves_by_y_and_x() -> None:
    pictures = shape_pictures(27)
    moved = turn_pictures(pictures, np.zeros(3), np.tile([3.0, -5.0], (3, 1)), 50)
    still = turn_pictures(pictures, np.zeros(3), np.zeros((3, 2)), 50)
    np.testing.assert_allclose(moved, np.roll(still, (3, -5), axis=(1, 2)), atol=1e-5)


def test_digits_lie_where_their_poses_say() -> None:
    pictures = np.repeat(shape_pictures(28), 30, axis=0)
    images, rotation, translation = rotated_digits(pictures, np.random.default_rng(0))
    assert images.shape == (90, 50, 50)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1

    y, x = np.indices((28, 28)) - 13.5
    mass = pictures.sum((1, 2))
    rest = np.stack([(pictures * y).sum((1, 2)), (pictures * x).sum((1, 2))], 1) / mass[:, None]
    cos, sin = np.cos(rotation), np.sin(rotation)
    expected = np.stack(
        [cos * rest[:, 0] - sin * rest[:, 1], sin * rest[:, 0] + cos * rest[:, 1]], 1
    )
    y, x = np.indices((50, 50)) - 25
    mass = images.sum((1, 2))
    centroid = np.stack([(images * y).sum((1, 2)), (images * x).sum((1, 2))], 1) / mass[:, None]
    np.testing.assert_allclose(centroid, expected + translation, atol=0.1)


def test_poses_are_drawn_as_the_paper_says() -> None:
    pictures = np.zeros((20_000, 2, 2), np.uint8)
    _, rotation, translation = rotated_digits(pictures, np.random.default_rng(0), box_size=2)
    assert np.abs(translation).max() <= 11
    assert translation.std() == pytest.approx(4.58, abs=0.05)  # N(0, 5) cut at 11
    assert abs(np.exp(1j * rotation).mean()) < 0.03
    _, rotation, _ = rotated_digits(
        pictures, np.random.default_rng(0), box_size=2, rotation_std=pi / 4
    )
    assert rotation.std() == pytest.approx(pi / 4, rel=0.02)


def test_a_seed_repeats_the_digits() -> None:
    first = rotated_digits(shape_pictures(), np.random.default_rng(5))
    again = rotated_digits(shape_pictures(), np.random.default_rng(5))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_digits_must_be_bytes() -> None:
    with pytest.raises(InputError, match="uint8"):
        rotated_digits(np.zeros((2, 28, 28)), np.random.default_rng(0))


# -- scenes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_digits_of_a_scene_keep_apart(seed: int) -> None:
    scene = digit_scene(shape_pictures(), np.arange(3), np.random.default_rng(seed))
    places = scene.truth.positions
    assert scene.image.shape == (150, 150)
    assert 4 <= len(places) <= 8
    apart = np.linalg.norm(places[:, None] - places, axis=-1) + 1e9 * np.eye(len(places))
    assert apart.min() >= 30
    assert places.min() >= 16
    assert places.max() <= 149 - 16


def test_overlapping_digits_do_overlap_by_up_to_a_third() -> None:
    rng = np.random.default_rng(0)
    nearest = []
    for _ in range(10):
        scene = digit_scene(shape_pictures(), np.arange(3), rng, n=8, overlap=1 / 3)
        places = scene.truth.positions
        apart = np.linalg.norm(places[:, None] - places, axis=-1) + 1e9 * np.eye(8)
        nearest.append(apart.min(1))
    assert np.min(nearest) >= 20
    assert np.mean(np.concatenate(nearest) < 30) > 0.5


def test_a_large_scene_holds_every_digit_at_its_pose() -> None:
    pictures = shape_pictures(29)
    scene = digit_scene(
        pictures, np.array([7, 8, 9]), np.random.default_rng(0), shape=(2048, 2048), n=200
    )
    truth = scene.truth
    np.testing.assert_array_equal(truth.label, truth.source + 7)
    rest = at_rest(scene.image, truth.positions, truth.rotation, 29)[:, 0]
    for box, source in zip(rest, truth.source, strict=True):
        assert correlation(box, pictures[source]) > 0.9


def test_sums_and_maxima_differ_only_where_digits_overlap() -> None:
    scenes = [
        digit_scene(
            shape_pictures(), np.arange(3), np.random.default_rng(0), overlap=0.5, n=8, combine=how
        ).image
        for how in ("max", "sum")
    ]
    assert (scenes[1] >= scenes[0]).all()
    assert 0 < (scenes[1] > scenes[0]).mean() < 0.05
    assert scenes[1].max() <= 1


def test_more_digits_than_there_is_room_for_are_refused() -> None:
    with pytest.raises(InputError, match="found room"):
        digit_scene(shape_pictures(), np.arange(3), np.random.default_rng(0), n=40)


def test_shapes_look_like_no_other_turn_of_themselves() -> None:
    pictures = shape_pictures(33)
    for picture in pictures:
        angles = np.radians(np.arange(30, 331, 15))
        turned = turn_pictures(
            np.repeat(picture[None], len(angles), 0), angles, np.zeros((len(angles), 2)), 33
        )
        assert max(correlation(picture, other) for other in turned) < 0.75


@pytest.mark.parametrize("colour", [False, True])
def test_shapes_of_a_scene_lie_at_their_poses(colour: bool) -> None:
    scene = multi_object_scene(np.random.default_rng(0), colour=colour)
    assert scene.image.shape == ((256, 256, 3) if colour else (256, 256))
    assert scene.image.dtype == np.float32
    assert set(scene.truth.label) == set(range(len(SHAPES)))
    rest = at_rest(scene.image, scene.truth.positions, scene.truth.rotation, 29)
    pictures = turn_pictures(shape_pictures(), np.zeros(3), np.zeros((3, 2)), 29)
    for box, label in zip(rest, scene.truth.label, strict=True):
        assert correlation(box.mean(0), pictures[label]) > 0.85


# -- micrographs -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proteasome() -> Structure:
    return read_pdb(sample_path("proteasome_20s.pdb.gz"))


def test_views_stand_as_promised(proteasome: Structure) -> None:
    assert len(proteasome.weight) == 5978
    side, top = proteasome.view("side").xyz, proteasome.view("top").xyz
    assert np.ptp(side[:, 1]) > 1.2 * np.ptp(side[:, 0])  # a barrel, its axis upright
    assert np.ptp(top[:, 0]) == pytest.approx(np.ptp(top[:, 1]), rel=0.05)
    for turned in (side, top):  # a turn keeps the sign of any triple product
        corners = [0, 1000, 2000, 4000]
        volume, before = (
            np.linalg.det(np.diff(xyz[corners], axis=0)) for xyz in (turned, proteasome.xyz)
        )
        assert volume == pytest.approx(before)


def test_particles_of_a_micrograph_lie_at_their_poses() -> None:
    # three clumps of unlike weight and no symmetry
    rng = np.random.default_rng(0)
    clumps = np.array([[0, 0, 60], [0, 50, -60], [30, -50, -40.0]]).repeat([60, 30, 30], axis=0)
    structure = Structure(clumps + rng.normal(0, 8, clumps.shape), np.full(120, 6.0))
    config = MicrographConfig(shape=(512, 512), n=20, views={"side": 1}, snr=10)
    micrograph = simulate_micrograph(structure, rng, config)
    truth = micrograph.truth
    rest = at_rest(micrograph.clean, truth.positions, truth.rotation, 65)[:, 0]
    y, x = np.indices((65, 65)) - 32
    disc = np.hypot(y, x) < 25
    average = rest.mean(0)
    assert min(correlation(box[disc], average[disc]) for box in rest) > 0.97
    mirrored = at_rest(micrograph.clean, truth.positions, -truth.rotation, 65)[:, 0]
    assert np.mean([correlation(box[disc], average[disc]) for box in mirrored]) < 0.6

    # the view says where protein is; protein is dark
    places = np.round(structure.view("side").xyz[:, 1::-1] / config.pixel_size).astype(int) + 32
    assert average[tuple(places.T)].mean() < average[disc].mean() - average[disc].std()


def test_noise_is_as_strong_as_asked(proteasome: Structure) -> None:
    config = MicrographConfig(
        shape=(512, 512), n=30, snr=0.2, gradient=0, contaminants=0, carbon=False
    )
    micrograph = simulate_micrograph(proteasome, np.random.default_rng(0), config)
    y, x = np.indices(config.shape)
    inside = np.zeros(config.shape, bool)
    for place in micrograph.truth.positions:
        inside |= np.hypot(y - place[0], x - place[1]) <= micrograph.particle_radius
    # the image is the clean signal and noise, scaled: regress to get the scale back
    scale = np.cov(micrograph.image.ravel(), micrograph.clean.ravel())
    noise = micrograph.image - scale[0, 1] / scale[1, 1] * micrograph.clean
    signal = scale[0, 1] / scale[1, 1] * micrograph.clean[inside]
    assert signal.var() / noise.var() == pytest.approx(0.2, rel=0.1)
    assert not micrograph.truth.on_contaminant.any()


def test_a_full_micrograph_is_made_as_configured(proteasome: Structure) -> None:
    config = MicrographConfig(snr=0.3, contaminants=40)
    micrograph = simulate_micrograph(proteasome, np.random.default_rng(0), config)
    again = simulate_micrograph(proteasome, np.random.default_rng(0), config)
    np.testing.assert_array_equal(micrograph.image, again.image)
    truth = micrograph.truth
    assert micrograph.image.shape == (1024, 1024)
    assert micrograph.image.dtype == np.float32
    assert len(truth.positions) == 150
    assert micrograph.particle_radius == pytest.approx(20.5, abs=0.5)
    assert {(v, int(f)) for v, f in zip(truth.view, truth.symmetry_fold, strict=True)} == {
        ("side", 2),
        ("top", 7),
    }
    assert 5 < truth.on_contaminant.sum() < 60
    y, x = np.round(truth.positions).astype(int).T
    hidden = truth.on_contaminant
    assert micrograph.image[y, x][hidden].mean() < micrograph.image[y, x][~hidden].mean() - 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"snr": 0}, "snr"),
        ({"views": {"bottom": 1}}, "views must be of top, side"),
        ({"shape": (256, 256)}, "found room"),
    ],
)
def test_impossible_micrographs_are_refused(
    options: dict, message: str, proteasome: Structure
) -> None:
    with pytest.raises(InputError, match=message):
        simulate_micrograph(proteasome, np.random.default_rng(0), MicrographConfig(**options))


def test_transfer_function_has_its_zeros_where_theory_puts_them() -> None:
    wavelength = 0.0196875  # Angstrom, of electrons of 300 kV
    frequency = np.array([0.0, np.sqrt(1 / (wavelength * 20_000)), 1 / 400])
    transfer = contrast_transfer(
        frequency, defocus=20_000, spherical_aberration=0, amplitude_contrast=0
    )
    np.testing.assert_allclose(transfer[:2], 0, atol=1e-4)
    assert transfer[2] < 0  # protein is dark
    assert contrast_transfer(np.zeros(1), defocus=1e4)[0] == pytest.approx(-0.1)


def test_ice_is_noisier_at_low_frequencies() -> None:
    noise = coloured_noise(np.random.default_rng(0), (256, 256), 4.0)
    power = np.abs(np.fft.rfft2(noise)) ** 2
    assert noise.std() == pytest.approx(1, abs=1e-3)
    assert power[1:6, :6].mean() > 3 * power[100:120, 100:120].mean()


ATOM = "ATOM  {:5d}  {:<3s} ALA A   1    {:8.3f}{:8.3f}{:8.3f}{:6.2f}  0.00          {:>2s}\n"


def test_pdb_weighs_electrons_by_occupancy_and_leaves_out_water(tmp_path: Path) -> None:
    path = tmp_path / "few.pdb"
    path.write_text(
        ATOM.format(1, "CA", 1.0, 2.0, 3.0, 1.0, "C")
        + ATOM.format(2, "O", 4.0, 5.0, 6.0, 0.5, "O")
        + ATOM.format(3, "HA", 7.0, 8.0, 9.0, 1.0, "H")
        + ATOM.format(4, "O", 7.0, 8.0, 9.0, 1.0, "O").replace("ALA", "HOH")
        + "ENDMDL\n"
        + ATOM.format(5, "CA", 1.0, 2.0, 3.0, 1.0, "C")
    )
    structure = read_pdb(path)
    np.testing.assert_array_equal(structure.xyz, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(structure.weight, [6, 4])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pdb", b"HEADER\nEND\n", "no atoms"),
        ("a.pdb", b"ATOM  short\n", "line 1: not a PDB atom record"),
        ("a.pdb", b"\xff\xfe\x00", "not a PDB file"),
        ("a.pdb.gz", b"not gzip", "not a PDB file"),
        ("a.pdb.gz", gzip.compress(b"REMARK\n" * 500)[:-12], "not a PDB file"),
    ],
)
def test_files_that_are_no_pdb_are_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_pdb(path)


# -- samples ---------------------------------------------------------------------------------


def test_sample_files_are_at_hand() -> None:
    for name in ("ecoli_phase_contrast.tif", "ecoli_phase_contrast_masks.tif", "PROVENANCE.md"):
        assert sample_path(name).is_file()
    with np.load(sample_path("digits.npz"), allow_pickle=False) as file:
        assert file["digits"].shape == (300, 28, 28)
        assert np.bincount(file["labels"]).tolist() == [30] * 10
    with pytest.raises(FileNotFoundError, match="no sample file"):
        sample_path("nothing.tif")


@pytest.mark.parametrize(
    ("sample", "shape", "n"),
    [
        (sample_ecoli, (334, 321), None),
        (sample_micrograph, (1024, 1024), 150),
        (sample_digit_scene, (1024, 1024), 300),
        (sample_shapes, (512, 512, 3), 80),
    ],
)
def test_napari_makes_layers_of_the_samples(sample: Callable, shape: tuple, n: int | None) -> None:
    layers = pytest.importorskip("napari.layers")
    image, *points = [layers.Layer.create(*layer) for layer in sample()]
    assert image.data.shape == shape
    assert image.ndim == 2
    if n is None:
        assert not points
    else:
        (truth,) = points
        assert len(truth.data) == n
        assert not truth.visible
        assert truth.features["rotation"].between(-180, 180).all()
        np.testing.assert_array_equal(truth.scale, image.scale)
        assert truth.units == image.units
