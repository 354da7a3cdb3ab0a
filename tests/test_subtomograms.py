"""Simulated subtomograms: where the structure lies, what the microscope leaves, what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage
from typer.testing import CliRunner

from napari_equipose import io
from napari_equipose.cli import app
from napari_equipose.geometry import (
    InputError,
    MissingWedge,
    Poses3D,
    fourier_ball,
    rotations_from_relion,
)
from napari_equipose.inference import average_volumes, fourier_shell_correlation
from napari_equipose.simulation import (
    DensityMap,
    Structure,
    SubtomogramConfig,
    sample_path,
    sample_subtomograms,
    simulate_subtomograms,
    structure_map,
)

CLEAN = SubtomogramConfig(
    n=6, box_size=24, pixel_size=4.0, snr=1e6, tilt_min_deg=None, tilt_max_deg=None, defocus=0.0
)


def two_balls() -> DensityMap:
    """A heavy ball, and a light one 24 Angstrom from it along x, in a box of unequal sides."""
    z, y, x = np.indices((40, 44, 60))

    def ball(*at: int) -> np.ndarray:
        return np.exp(-((z - at[0]) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2) / (2 * 2.5**2))

    return DensityMap(3 * ball(18, 25, 20) + ball(18, 25, 32), 2.0)


def test_structure_lies_where_the_truth_says() -> None:
    found = simulate_subtomograms([two_balls()], np.random.default_rng(0), CLEAN)
    # From the centre of mass the heavy ball lies 6 Angstrom to -x, the light one 18 to +x.
    for volume, rotation, shift in zip(found.volumes, *found.truth[1:], strict=True):
        heavy = 12 + rotation @ [0, 0, -6 / 4] + shift
        light = 12 + rotation @ [0, 0, 18 / 4] + shift
        brightest = np.unravel_index(volume.argmax(), volume.shape)
        assert np.linalg.norm(brightest - heavy) < 1
        values = ndimage.map_coordinates(volume, np.stack([heavy, light, 2 * light - heavy], 1))
        assert values[0] > 1.5 * values[1] > 3 * abs(values[2])


def test_rotations_and_shifts_fill_their_ranges() -> None:
    config = SubtomogramConfig(n=300, box_size=16, pixel_size=8.0, max_shift=1.5)
    found = simulate_subtomograms([two_balls()], np.random.default_rng(0), config)
    assert found.volumes.shape == (300, 16, 16, 16) and found.volumes.dtype == np.float32
    assert np.abs(found.truth.rotation.mean(0)).max() < 0.12
    assert np.linalg.det(found.truth.rotation) == pytest.approx(np.ones(300))
    assert 1.4 < np.abs(found.truth.translation).max() <= 1.5
    np.testing.assert_allclose(found.volumes.mean((1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(found.volumes.std((1, 2, 3)), 1, rtol=1e-3)


@pytest.mark.parametrize("snr", [0.1, 10.0])
def test_noise_is_as_strong_as_asked(snr: float) -> None:
    settings = {"n": 20, "box_size": 24, "pixel_size": 4.0}
    noisy, clean = (
        simulate_subtomograms(
            [two_balls()], np.random.default_rng(1), SubtomogramConfig(**settings, snr=value)
        )
        for value in (snr, 1e9)
    )
    alike = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1]
        for a, b in zip(noisy.volumes, clean.volumes, strict=True)
    ]
    assert np.mean(alike) == pytest.approx((snr / (1 + snr)) ** 0.5, abs=0.03)


def test_wedge_is_empty_and_the_rest_is_not() -> None:
    config = SubtomogramConfig(n=3, box_size=24, pixel_size=4.0, tilt_min_deg=-40, tilt_axis="x")
    found = simulate_subtomograms([two_balls()], np.random.default_rng(0), config)
    power = torch.fft.rfftn(torch.from_numpy(found.volumes), dim=(1, 2, 3)).abs().square().mean(0)
    mask = MissingWedge(tilt_min_deg=-40, tilt_max_deg=60, tilt_axis="x").mask(24)
    inside = fourier_ball(24, 11)  # beside Nyquist, where a plane stands for its mirror too
    assert power[~mask & inside].max() < 1e-3 * power[mask & inside].mean()


def test_transfer_function_turns_contrast_at_its_zero() -> None:
    """At 5 micrometres of underfocus and 300 kV, the first zero is at 1 / 32 Angstrom."""
    plain, seen = (
        simulate_subtomograms(
            [two_balls()], np.random.default_rng(0),
            SubtomogramConfig(**{**CLEAN.__dict__, "defocus": value, "b_factor": 0.0}),
        )
        for value in (0.0, 50_000.0)
    )  # fmt: skip
    a, b = (torch.fft.rfftn(torch.from_numpy(x.volumes), dim=(1, 2, 3)) for x in (plain, seen))
    # of a box of 96 Angstrom, the third frequency; the second zero is at 1 / 22 Angstrom
    beyond = fourier_ball(24, 4.1) & ~fourier_ball(24, 3.2)
    below = fourier_ball(24, 2.8) & ~fourier_ball(24, 0.5)
    assert (a * b.conj()).real[:, beyond].sum() < 0 < (a * b.conj()).real[:, below].sum()


def test_same_seed_makes_the_same() -> None:
    first, second = (
        simulate_subtomograms([two_balls()], np.random.default_rng(7), CLEAN) for _ in range(2)
    )
    assert np.array_equal(first.volumes, second.volumes)


@pytest.mark.parametrize("n", [1, 33])  # 32 are made at once
def test_a_batch_of_one_is_like_any_other(n: int) -> None:
    config = replace(CLEAN, n=n, box_size=16, pixel_size=24.0)
    found = simulate_subtomograms([two_balls()], np.random.default_rng(0), config)
    assert found.volumes.shape == (n, 16, 16, 16)
    np.testing.assert_allclose(found.volumes.std((1, 2, 3)), 1, rtol=1e-3)


def test_map_of_atoms_keeps_their_hand() -> None:
    places = np.array([[0.0, 0, 0], [30, 0, 0], [0, 20, 0], [0, 0, 12]])  # x, y, z
    weight = np.array([8.0, 4, 2, 1])
    density, pixel_size = structure_map(Structure(places, weight), 2.0, resolution=8.0)
    peaks = ndimage.maximum_filter(density, 5) == density
    found = sorted((density[tuple(p)], tuple(p)) for p in np.argwhere(peaks & (density > 1e-3)))
    steps = np.subtract([p for _, p in reversed(found)][1:], found[-1][1]) * pixel_size
    np.testing.assert_allclose(steps, [[0, 0, 30], [0, 20, 0], [12, 0, 0]], atol=2)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ([], "no structure to simulate"),
        ([DensityMap(np.zeros((8, 8, 8)), 2.0)], "map 1 is no volume with positive density"),
        ([two_balls(), DensityMap(np.ones((8, 8)), 2.0)], "map 2 is no volume"),
        ([two_balls()._replace(pixel_size=40.0)], "longer than the box of 96"),
    ],
)
def test_maps_of_no_use_are_refused(maps: list[DensityMap], message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate_subtomograms(maps, np.random.default_rng(0), CLEAN)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"snr": 0.0}, "snr must be positive"),
        ({"max_shift": -1.0}, "max_shift can't be negative"),
        ({"tilt_max_deg": None}, "give both"),
        ({"tilt_min_deg": 60.0}, "tilt range must run"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SubtomogramConfig(**changes)


@pytest.fixture
def map_file(tmp_path: Path) -> Path:
    io.write_mrc(tmp_path / "balls.mrc", two_balls().density, 2.0)
    return tmp_path / "balls.mrc"


@pytest.mark.parametrize("separate", [False, True])
def test_command_writes_stack_table_and_star(
    tmp_path: Path, map_file: Path, separate: bool
) -> None:
    out = tmp_path / "out"
    command = f"simulate subtomograms {map_file} {sample_path('proteasome_20s.pdb.gz')} -o {out} "
    command += "--n 3 --snr 50 --tilt-range -60 60 --seed 4" + " --separate" * separate
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 0, done.output
    table = pd.read_csv(out / "truth.csv")
    assert list(table.columns) == [
        *("index", "translation_z", "translation_y", "translation_x", "rot", "tilt", "psi"),
        *("class", "name", "tilt_min", "tilt_max"),
    ]
    assert table["name"].tolist() == ["balls"] * 3 + ["proteasome_20s"] * 3
    assert (table["tilt_min"] == -60).all()
    stack = io.read_stack(out / "subtomograms.star")
    assert stack.axes == "nzyx" and stack.images.shape == (6, 32, 32, 32)
    assert stack.pixel_size == 12.0 and stack.table is not None
    angles = stack.table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy(float)
    np.testing.assert_allclose(angles, table[["rot", "tilt", "psi"]], atol=1e-4)
    origins = stack.table[[f"rlnOrigin{axis}Angst" for axis in "ZYX"]].to_numpy(float)
    shifts = table[["translation_z", "translation_y", "translation_x"]].to_numpy()
    np.testing.assert_allclose(origins, -12 * shifts, atol=1e-3)
    # what the table says is what the volumes show
    config = SubtomogramConfig(n=3, snr=50)
    made = simulate_subtomograms([two_balls(), two_balls()], np.random.default_rng(4), config)
    np.testing.assert_allclose(np.asarray(stack.images)[:3], made.volumes[:3], atol=1e-4)
    np.testing.assert_allclose(rotations_from_relion(angles), made.truth.rotation, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--tilt-range 0 0", "tilt range must run"),
        ("--snr -1", "snr must be positive"),
        ("--box-size 4", "longer than the box"),
    ],
)
def test_command_refuses_in_one_line(
    tmp_path: Path, map_file: Path, arguments: str, message: str
) -> None:
    command = f"simulate subtomograms {map_file} -o {tmp_path / 'out'} {arguments}"
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 2 and message in done.output
    assert not (tmp_path / "out").exists()


def test_the_truth_of_the_sample_brings_its_structures_to_rest() -> None:
    (volumes, image, _), (middles, truth, _) = sample_subtomograms()
    assert volumes.shape == (48, 32, 32, 32)
    assert image["scale"] == truth["scale"] == (1, 8, 8, 8)
    assert not truth["visible"]
    record, columns = image["metadata"]["equipose"], pd.DataFrame(truth["features"])
    wedge = MissingWedge(**{f"{name}_deg": record[name] for name in ("tilt_min", "tilt_max")})
    angles = columns[["rot", "tilt", "psi"]].to_numpy()
    moved = torch.from_numpy(middles[:, 1:] - 16).float()

    def agreement(rows: np.ndarray, given: np.ndarray) -> float:
        """Correlation of the averages of both halves at a period of 32 Angstrom."""
        poses = torch.from_numpy(rotations_from_relion(given)).float()
        halves = [
            average_volumes(volumes[part], Poses3D(poses[part], moved[part]), wedge)
            for part in (rows[::2], rows[1::2])
        ]
        return float(fourier_shell_correlation(*halves).correlation[8])

    for name, own in columns.groupby("structure"):
        rows = np.array(own.index)
        assert len(rows) == 24, name
        assert agreement(rows, angles) > 0.8
        assert agreement(rows, np.roll(angles, 1, 0)) < 0.6
