"""Simulated tomograms: copies where the truth says, turned as it says, and none in another."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage
from test_cli import refuse, succeed

from napari_equipose.geometry import InputError, MissingWedge, rotations_from_relion
from napari_equipose.io import read_image, read_star, read_table, write_mrc
from napari_equipose.simulation import DensityMap, SubtomogramConfig, simulate_tomogram

CLEAN = SubtomogramConfig(
    n=4, box_size=20, pixel_size=4.0, snr=1e6, tilt_min_deg=None, tilt_max_deg=None, defocus=0.0
)
SHAPE = (40, 60, 70)


def ball(*places: tuple[int, int, int]) -> DensityMap:
    """Balls of a width of 5 Angstrom, the first three times as heavy as the others."""
    z, y, x = np.indices((30, 30, 40))
    made = [
        np.exp(-((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2) / (2 * 2.5**2)) for a, b, c in places
    ]
    return DensityMap(2 * made[0] + np.sum(made, 0), 2.0)


PAIR = ball((15, 15, 14), (15, 15, 26))


def test_copies_lie_where_the_truth_says() -> None:
    volume, truth = simulate_tomogram([PAIR], np.random.default_rng(0), SHAPE, CLEAN)
    assert volume.shape == SHAPE and len(truth.positions) == 4
    # from the centre of mass the heavy ball lies 6 Angstrom to -x, the light one 18 to +x
    heavy = truth.positions + truth.rotation @ [0, 0, -6 / 4]
    light = truth.positions + truth.rotation @ [0, 0, 18 / 4]
    at_heavy, at_light = (ndimage.map_coordinates(volume, places.T) for places in (heavy, light))
    np.testing.assert_allclose(at_heavy, 3 * at_light, rtol=0.25)
    assert at_light.min() > 0.2 * volume.max()
    opposite = ndimage.map_coordinates(volume, (2 * heavy - light).T)
    assert np.abs(opposite).max() < 0.1 * at_light.min()


def test_copies_do_not_overlap_and_lie_inside() -> None:
    config = SubtomogramConfig(**{**vars(CLEAN), "n": 8})
    single = ball((15, 15, 20))
    _, truth = simulate_tomogram([PAIR, single], np.random.default_rng(1), (60, 80, 90), config)
    apart = np.linalg.norm(truth.positions[:, None] - truth.positions, axis=-1)
    assert (apart + 100 * np.eye(16)).min() > 5  # twice the reach of the smaller one
    assert (truth.positions > 9).all() and (truth.positions < np.array((60, 80, 90)) - 9).all()
    assert list(np.bincount(truth.label)) == [8, 8]


def test_noise_is_as_strong_as_asked_and_passed_the_wedge() -> None:
    config = SubtomogramConfig(n=4, box_size=20, pixel_size=4.0, snr=0.5, defocus=0.0)
    rng = np.random.default_rng(2)
    noisy, truth = simulate_tomogram([PAIR], rng, SHAPE, config)
    clear, again = simulate_tomogram(
        [PAIR], np.random.default_rng(2), SHAPE, SubtomogramConfig(**{**vars(config), "snr": 1e9})
    )
    np.testing.assert_array_equal(truth.positions, again.positions)
    clear = clear / np.sqrt(1e9 / 0.5)
    assert abs((noisy - clear).std() - 1) < 0.02
    corners = np.floor(truth.positions + 0.5).astype(int) - 10
    signal = [clear[z : z + 20, y : y + 20, x : x + 20].var() for z, y, x in corners]
    assert abs(np.mean(signal) - 0.5) < 0.03
    lines = [np.fft.fftfreq(side) for side in SHAPE[:2]] + [np.fft.rfftfreq(SHAPE[2])]
    frequency = torch.from_numpy(np.stack(np.meshgrid(*lines, indexing="ij"), -1)).float()
    power = np.abs(np.fft.rfftn(noisy)) ** 2
    seen = MissingWedge().measures(frequency).numpy()
    assert power[~seen].mean() < 1e-6 * power[seen].mean()


def test_bad_tomograms_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="no structure"):
        simulate_tomogram([], rng, SHAPE, CLEAN)
    with pytest.raises(InputError, match="at least the box size 20"):
        simulate_tomogram([PAIR], rng, (19, 60, 60), CLEAN)
    with pytest.raises(InputError, match="no room for copy"):
        simulate_tomogram([PAIR], rng, (20, 24, 24), CLEAN)


def test_the_command_writes_the_volume_and_its_truth(tmp_path: Path) -> None:
    write_mrc(tmp_path / "pair.mrc", PAIR.density.astype(np.float32), PAIR.pixel_size)
    sizes = ("--n", 3, "--shape", *SHAPE, "--box-size", 20, "--pixel-size", 4)
    command = ("simulate", "tomogram", tmp_path / "pair.mrc", *sizes, "--tilt-range", -60, 60)
    succeed(*command, "-o", tmp_path / "made")
    image = read_image(tmp_path / "made" / "tomogram.mrc")
    assert image.data.shape == SHAPE and image.axes == "zyx" and image.pixel_size == 4
    truth = pd.read_csv(tmp_path / "made" / "truth.csv")
    assert list(truth["name"]) == ["pair"] * 3
    star = read_table(tmp_path / "made" / "truth.star", "picks")
    columns = ["z", "y", "x", "rot", "tilt", "psi"]
    np.testing.assert_allclose(star[columns], truth[columns], atol=1e-3)
    assert "rlnCoordinateZ" in read_star(tmp_path / "made" / "truth.star").particles
    rotation = rotations_from_relion(truth[["rot", "tilt", "psi"]].to_numpy())
    _, expected = simulate_tomogram(
        [DensityMap(read_image(tmp_path / "pair.mrc").data, 2.0)],
        np.random.default_rng(0),
        SHAPE,
        SubtomogramConfig(n=3, box_size=20, pixel_size=4.0),
    )
    np.testing.assert_allclose(rotation, expected.rotation, atol=1e-5)
    assert "no room" in refuse(*command, "--n", 400, "-o", tmp_path / "more")
