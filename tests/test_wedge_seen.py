"""A missing wedge of which nobody told: seen in the power of volumes, asked for, never learned."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from tiny import untrained_harmony
from typer.testing import CliRunner

from napari_equipose.cli import app
from napari_equipose.geometry import InputError, MissingWedge, find_wedge, refuse_untold_wedge
from napari_equipose.inference import align, detect_volume
from napari_equipose.models import load_model
from napari_equipose.simulation import DensityMap, SubtomogramConfig, simulate_subtomograms
from napari_equipose.training import TrainingRun, prepare_stack, prepare_volumes, train_prepared

N = 12


def blob(*sides: float) -> DensityMap:
    """An ellipsoid with a lump, of half axes (z, y, x) in voxels."""
    z, y, x = np.indices((32,) * 3) - 16.0
    whole = sum((part / side) ** 2 for part, side in zip((z, y, x), sides, strict=True)) < 1
    lump = (z - 3) ** 2 + (y - 2) ** 2 + (x - 4) ** 2 < 9
    return DensityMap(ndimage.gaussian_filter(whole + 1.0 * lump, 1.0), 10.0)


SHAPES = [blob(8, 8, 8), blob(3, 3, 9), blob(2, 9, 9)]


def subtomograms(
    snr: float, tilts: MissingWedge | None, box: int = 24, seed: int = 0
) -> np.ndarray:
    limits: dict[str, Any] = {"tilt_min_deg": None, "tilt_max_deg": None}
    config = SubtomogramConfig(
        **{"n": N // 3, "box_size": box, "pixel_size": 320 / box, "snr": snr}
        | (limits if tilts is None else vars(tilts))
    )
    return simulate_subtomograms(SHAPES, np.random.default_rng(seed), config).volumes


@pytest.mark.parametrize("box", [16, 24, 32])
@pytest.mark.parametrize("snr", [0.05, 1.0, 30.0])
@pytest.mark.parametrize(("low", "high", "axis"), [(-60, 60, "y"), (-50, 66, "x"), (-40, 45, "y")])
def test_the_wedge_of_a_tilt_series_is_found(low, high, axis, snr, box) -> None:
    tilts = MissingWedge(tilt_min_deg=low, tilt_max_deg=high, tilt_axis=axis)
    found = find_wedge(subtomograms(snr, tilts, box))
    assert found is not None and found.tilt_axis == axis
    ends = (found.tilt_min_deg, found.tilt_max_deg)
    assert ends == pytest.approx((low, high), abs=7 if box == 16 else 4)


@pytest.mark.parametrize("box", [16, 24, 32])
@pytest.mark.parametrize("snr", [0.05, 0.3, 1.0, 30.0])
def test_no_wedge_is_seen_where_none_is_missing(snr: float, box: int) -> None:
    assert all(find_wedge(subtomograms(snr, None, box, seed)) is None for seed in range(3))


@pytest.mark.parametrize("snr", [0.05, 0.3, 1.0, 30.0, 1e6])
@pytest.mark.parametrize("sides", [(40, 3, 3), (9, 1, 1), (9, 9, 1), (1, 9, 9), (9, 5, 1.5)])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_long_and_flat_objects_all_in_one_orientation_are_no_wedge(order, sides, snr) -> None:
    rng = np.random.default_rng(0)
    grid = np.indices((24,) * 3) - 11.5
    one = sum((grid[i] / sides[order[i]]) ** 2 for i in range(3)) < 1
    volumes = np.stack([ndimage.shift(one * 1.0, rng.uniform(-2, 2, 3), order=1) for _ in range(N)])
    noise = rng.normal(size=volumes.shape) * np.sqrt(volumes.var() / snr)
    assert find_wedge(volumes + noise) is None


@pytest.mark.parametrize("sigma", [(0.7, 0, 0), (1, 0, 0), (2, 1, 1), (3, 1, 1), (1.5, 0.5, 0.5)])
def test_a_blur_along_the_beam_is_no_wedge(sigma: tuple[float, ...]) -> None:
    noise = np.random.default_rng(0).normal(size=(N, 24, 24, 24))
    assert find_wedge(np.stack([ndimage.gaussian_filter(one, sigma) for one in noise])) is None


def filtered(mask: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(N, 24, 24, 24))
    axes = (1, 2, 3)
    return np.fft.irfftn(np.fft.rfftn(noise, axes=axes) * mask, noise.shape[1:], axes)


FREQUENCY = np.meshgrid(*2 * [np.fft.fftfreq(24)], np.fft.rfftfreq(24), indexing="ij")


@pytest.mark.parametrize("degrees", [30, 45, 60, 75])
def test_the_missing_cone_of_a_light_microscope_is_no_wedge(degrees: float) -> None:
    z, y, x = FREQUENCY
    assert find_wedge(filtered(abs(z) <= np.tan(np.radians(degrees)) * np.hypot(y, x))) is None


def test_planes_that_were_made_up_between_planes_are_no_wedge() -> None:
    z, _, _ = FREQUENCY
    assert all(find_wedge(filtered(abs(z) <= limit)) is None for limit in (0.12, 0.2, 0.3))


def test_nothing_is_seen_in_nothing() -> None:
    stack = np.zeros((9, 16, 16, 16))
    for volumes in (stack, stack * np.nan, np.ones((5, 8, 9))):
        refuse_untold_wedge(volumes)


@pytest.fixture(scope="module")
def volumes() -> np.ndarray:
    return subtomograms(1.0, MissingWedge(tilt_min_deg=-50, tilt_max_deg=60, tilt_axis="x"), 16)


@pytest.fixture(scope="module")
def tomogram() -> np.ndarray:
    rng = np.random.default_rng(0)
    volume = torch.from_numpy(rng.normal(size=(40, 48, 48)).astype(np.float32))
    volume[10:20, 10:20, 10:20] += 3
    frequency = torch.stack(
        torch.meshgrid(
            *(torch.fft.fftfreq(side) for side in (40, 48)), torch.fft.rfftfreq(48), indexing="ij"
        ),
        -1,
    )
    kept = torch.fft.rfftn(volume) * MissingWedge().measures(frequency)
    return torch.fft.irfftn(kept, volume.shape).numpy()


ASKED = r"--tilt-range -\d+ \d+.* --tilt-axis x.*If nothing is missing: --tilt-range -90 90"


def test_training_asks_for_a_tilt_range_that_is_not_told(
    volumes: np.ndarray, tmp_path: Path
) -> None:
    run = TrainingRun(images=("v.npy",), output="m.safetensors", model="harmony")

    def begin(**told: float) -> object:
        prepared = prepare_stack(replace(run, settings=told), volumes)
        return next(train_prepared(prepared, output=tmp_path / run.output, kind=run.model))

    with pytest.raises(InputError, match=ASKED):
        begin()
    begin(tilt_min_deg=-50, tilt_max_deg=60)
    begin(tilt_min_deg=-90, tilt_max_deg=90)


def test_training_on_a_tomogram_asks_too(tomogram: np.ndarray) -> None:
    run = TrainingRun(images=("t.mrc",), output="m.safetensors", model="harmony", box_size=16)
    with pytest.raises(InputError, match=r"from about -\d+ to \d+ degrees about y"):
        prepare_volumes(run, [tomogram])


def test_align_and_detect_ask_where_neither_the_call_nor_the_model_tells(
    volumes: np.ndarray, tomogram: np.ndarray, tmp_path: Path
) -> None:
    saved = load_model(untrained_harmony(tmp_path / "m.safetensors", box_size=16))
    with pytest.raises(InputError, match=ASKED):
        align(saved, volumes)
    with pytest.raises(InputError, match="mean power of the volumes shows a missing wedge"):
        detect_volume(saved, tomogram)
    align(saved, volumes, wedge=MissingWedge())
    detect_volume(saved, tomogram, wedge=MissingWedge(tilt_min_deg=-90, tilt_max_deg=90))


def test_the_command_line_stops_before_it_trains_and_says_what_to_type(
    volumes: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "v.npy", volumes)
    command = ["train", str(tmp_path / "v.npy"), "--model", "harmony", "--epochs", "1"]
    model = tmp_path / "m.safetensors"
    stopped = CliRunner().invoke(app, [*command, "-o", str(model)])
    assert stopped.exit_code == 2 and not model.exists()
    last = stopped.stderr.strip().splitlines()[-1]
    assert "error: no tilt range" in last and "--tilt-range -5" in last and "--tilt-axis x" in last
