"""Harmony through the commands: stacks of images and of volumes, from training to tables."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
import zarr
from scipy import ndimage
from scipy.spatial.transform import Rotation
from test_cli import refuse, run, succeed
from tiny import HARMONY

from napari_equipose.geometry import apply_poses, smooth_disc_mask
from napari_equipose.inference._fit_in_box import fit_in_box
from napari_equipose.io import (
    StarFile,
    read_stack,
    read_star,
    read_table,
    write_mrc,
    write_star,
)
from napari_equipose.models import Harmony, HarmonyConfig, Posterior, load_model
from napari_equipose.models._harmony_transforms import TransformRanges
from napari_equipose.training import TrainingRun, prepare_stack, read_run
from napari_equipose.training._checkpoint import save_checkpoint

TINY = [part for name, value in HARMONY.items() for part in ("--set", f"{name}={value}")]
SHORT = ["--model", "harmony", "--epochs", "1", "--device", "cpu", *TINY]
PIXEL_SIZE = 4.0
ANGLES = ["rot", "tilt", "psi"]
PLACE = ["translation_z", "translation_y", "translation_x"]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with stacks of images and of volumes, and a model of each."""
    folder = tmp_path_factory.mktemp("harmony")
    random = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(random.normal(size=(10, 16, 16, 16)), (0, 2, 2, 2))
    volumes = noise.astype(np.float32)
    write_mrc(folder / "volumes.mrcs", volumes, PIXEL_SIZE)
    np.save(folder / "volumes.npy", volumes)
    np.save(folder / "images.npy", volumes[:, 8])
    names = [f"{number:06d}.mrc" for number in range(10)]
    for name, volume in zip(names, volumes, strict=True):
        write_mrc(folder / name, volume, PIXEL_SIZE)
    write_star(folder / "volumes.star", _particles(names))
    succeed("train", folder / "images.npy", "-o", folder / "images.safetensors", *SHORT)
    succeed(
        *("train", folder / "volumes.star", "-o", folder / "volumes.safetensors", *SHORT),
        *("--tilt-range", -60, 50, "--tilt-axis", "x", "--content-dim", 2),
    )
    return folder


def _particles(names: list[str]) -> StarFile:
    particles = pd.DataFrame({"rlnImageName": names, "rlnOpticsGroup": 1, "rlnTomoName": "t3"})
    particles["rlnOriginZAngst"] = 99.0
    optics = {"rlnOpticsGroup": [1], "rlnImagePixelSize": [PIXEL_SIZE]}
    return StarFile(particles, pd.DataFrame(optics | {"rlnImageDimensionality": [3]}))


# Training


def test_settings_of_a_run_reach_the_model(work: Path) -> None:
    config = load_model(work / "volumes.safetensors").model.config
    assert (config.dimensions, config.box_size, config.content_dim) == (3, 16, 2)
    assert (config.tilt_min_deg, config.tilt_max_deg, config.tilt_axis) == (-60, 50, "x")
    assert (config.width, config.training_size) == (HARMONY["width"], 10)
    flat = load_model(work / "images.safetensors").model.config
    assert (flat.dimensions, flat.content_dim, flat.wedge) == (2, 1, None)


def test_a_preset_is_harmonys_own(work: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.safetensors"
    fewer = ["--model", "harmony", "--epochs", 1, "--device", "cpu", "--set", "width=4"]
    succeed("train", work / "images.npy", "-o", model, *fewer, "--preset", "paper")
    config = load_model(model).model.config
    assert config.hypotheses == 1 and config.gamma is None
    said = refuse("train", work / "images.npy", "-o", model, *SHORT, "--preset", "balanced")
    assert "fast, paper" in said


def test_a_range_less_than_all_rotations_needs_no_hypotheses() -> None:
    run = TrainingRun(
        model="harmony", settings={"rotation_range": 0.5, "translation_range": "none"}
    )
    config, _ = run.configurations(box_size=32, channels=3, n_images=50, likelihood="gaussian")
    assert (config.rotation_range, config.translation_range, config.hypotheses) == (0.5, None, 1)
    assert (config.channels, config.training_size) == (3, 50)


def test_every_kind_of_stack_is_the_same_stack(work: Path, tmp_path: Path) -> None:
    volumes = np.load(work / "volumes.npy")
    tifffile.imwrite(tmp_path / "v.tif", volumes)
    zarr.save_array(tmp_path / "v.zarr", volumes)
    write_mrc(tmp_path / "v.mrc", volumes, PIXEL_SIZE)
    kinds = [work / "volumes.star", work / "volumes.mrcs", work / "volumes.npy"]
    for path in [*kinds, *(tmp_path / f"v{suffix}" for suffix in (".mrc", ".tif", ".zarr"))]:
        stack = read_stack(path)
        assert stack.axes == "nzyx"
        np.testing.assert_array_equal(np.asarray(stack.images), volumes)


def test_a_star_file_may_say_the_tilt_range(work: Path, tmp_path: Path) -> None:
    star, model = read_star(work / "volumes.star"), tmp_path / "m.safetensors"
    names = [str(work / name) for name in star.particles["rlnImageName"]]
    particles = star.particles.assign(rlnImageName=names, tilt_min=-40.0, tilt_max=55)
    write_star(tmp_path / "one.star", StarFile(particles, star.optics))
    succeed("train", tmp_path / "one.star", "-o", model, *SHORT)
    config = load_model(model).model.config
    assert (config.tilt_min_deg, config.tilt_max_deg, config.tilt_axis) == (-40, 55, "y")
    mixed = particles.assign(tilt_max=[50.0, *[55.0] * 9])
    write_star(tmp_path / "two.star", StarFile(mixed, star.optics))
    model = tmp_path / "two.safetensors"
    said = refuse("train", tmp_path / "two.star", "-o", model, *SHORT)
    assert "say 2 tilt ranges" in said
    succeed("train", tmp_path / "two.star", "-o", model, *SHORT, "--tilt-range", -40, 50)


def test_a_run_file_repeats_a_run(work: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    run_file = work / "volumes.run" / "run.json"
    succeed("train", "--config", run_file, "-o", again)
    assert load_model(again).digest == load_model(work / "volumes.safetensors").digest
    asked = read_run(run_file)
    assert (asked.model, asked.content_dim) == ("harmony", 2)
    assert asked.settings["tilt_axis"] == "x"


def test_training_that_is_stopped_goes_on_as_if_it_was_not(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    succeed("train", work / "images.npy", "-o", whole, *SHORT, "--epochs", 2)

    def save_and_stop(*arguments: Any) -> None:
        save_checkpoint(*arguments)
        raise KeyboardInterrupt

    command = ["train", work / "images.npy", "-o", parts, *SHORT, "--epochs", 2]
    with monkeypatch.context() as patch:
        patch.setattr("napari_equipose.training._train.save_checkpoint", save_and_stop)
        stopped = run(*command)
    assert stopped.exit_code == 130
    assert list(pd.read_csv(tmp_path / "parts.log.csv")["epoch"]) == [1]
    succeed("train", "-o", parts, "--resume")
    assert list(pd.read_csv(tmp_path / "parts.log.csv")["epoch"]) == [1, 2]
    assert load_model(parts).digest == load_model(whole).digest


def test_contrast_to_infer_is_left_in_the_boxes(work: Path, tmp_path: Path) -> None:
    model, table, stack = (tmp_path / name for name in ("m.safetensors", "t.csv", "s.npy"))
    gain = np.linspace(1, 3, 10, dtype=np.float32)[:, None, None]
    images = gain * np.load(work / "images.npy") + 5
    np.save(stack, images)
    ranges = ["--set", "contrast_range=2", "--set", "scale_range=1.3"]
    ranges += ["--set", "brightness_range=0.5"]
    succeed("train", stack, "-o", model, *SHORT, *ranges)
    normalisation = load_model(model).normalisation
    assert normalisation.kind == "shared"
    scaled = normalisation.of_stack(images)
    np.testing.assert_allclose([scaled.mean(), scaled.std()], [0, 1], atol=0.05)
    spread = scaled.std((1, 2)) / images.std((1, 2))
    np.testing.assert_allclose(spread, spread[0], rtol=0.05)
    succeed("encode", model, stack, "-o", table)
    rows = pd.read_csv(table)
    assert list(rows)[-4:] == ["content_0", "scale", "contrast", "brightness"]
    assert rows["scale"].between(1 / 1.69, 1.69).all()  # twice the ranges
    assert rows["contrast"].between(1 / 4, 4).all()
    assert rows["brightness"].between(-1, 1).all() and rows["brightness"].nunique() > 1


def test_a_larger_object_is_as_bright_as_a_smaller_one() -> None:
    """Each box scaled by its own spread would show it fainter, and the space around it darker."""
    small, large = (smooth_disc_mask(32, radius, edge=2.0).numpy() for radius in (4.0, 8.0))
    stack = np.stack([small, large] * 4)
    run = TrainingRun(model="harmony", settings={"scale_range": 2.0})
    boxes = prepare_stack(run, stack).boxes[:, 0].numpy()
    for level in (boxes[:, 16, 16], boxes[:, 0, 0]):
        np.testing.assert_allclose(level, level[0], rtol=1e-5)
    alone = prepare_stack(TrainingRun(model="harmony"), stack).boxes[:, 0].numpy()
    assert alone[0, 16, 16] > 1.5 * alone[1, 16, 16]


# Tables


def test_images_have_the_columns_of_images(work: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    succeed("encode", work / "images.safetensors", work / "images.npy", "-o", table)
    rows = pd.read_csv(table)
    shared = ["index", "translation_y", "translation_x", "rotation", "score", "class"]
    assert list(rows) == [*shared, "content_0"]
    assert (rows["score"] <= 1).all() and rows["rotation"].between(-180, 180).all()
    assert (rows[["translation_y", "translation_x"]].abs() <= 4).to_numpy().all()  # twice 16 / 8


def test_volumes_have_columns_in_space_and_their_star_file_the_same_poses(
    work: Path, tmp_path: Path
) -> None:
    model, stack = work / "volumes.safetensors", work / "volumes.star"
    succeed("encode", model, stack, "-o", tmp_path / "t.csv", "--classes", 2)
    succeed("encode", model, stack, "-o", tmp_path / "t.star", "--classes", 2)
    rows = read_table(tmp_path / "t.csv")
    assert list(rows) == ["index", *PLACE, *ANGLES, "score", "class", "content_0", "content_1"]
    assert list(rows["index"]) == list(range(10))
    assert np.isfinite(rows.drop(columns="class").to_numpy(float)).all()
    assert set(rows["class"]) == {0, 1}
    particles, before = read_star(tmp_path / "t.star").particles, read_star(stack).particles
    for name in ("rlnImageName", "rlnTomoName"):
        assert list(particles[name]) == list(before[name])
    for axis, column in zip("ZYX", PLACE, strict=True):
        shift = -rows[column] * PIXEL_SIZE
        np.testing.assert_allclose(particles[f"rlnOrigin{axis}Angst"], shift, atol=1e-3)
    again = read_table(tmp_path / "t.star")
    np.testing.assert_allclose(again[PLACE], rows[PLACE], atol=1e-3)
    np.testing.assert_allclose(again[ANGLES], rows[ANGLES], atol=1e-3)
    np.testing.assert_array_equal(again["class"], rows["class"])


def test_a_stack_without_a_star_file_gets_one_of_volumes(work: Path, tmp_path: Path) -> None:
    model, stack = work / "volumes.safetensors", work / "volumes.mrcs"
    succeed("encode", model, stack, "-o", tmp_path / "t.star")
    star = read_star(tmp_path / "t.star")
    assert list(star.optics["rlnImageDimensionality"]) == [3]
    assert list(star.optics["rlnImagePixelSize"]) == [PIXEL_SIZE]
    found = read_stack(tmp_path / "t.star")
    np.testing.assert_array_equal(found.images[3], np.load(work / "volumes.npy")[3])


def test_angles_in_a_star_file_turn_what_is_drawn_into_the_particle(
    work: Path, tmp_path: Path
) -> None:
    """By scipy alone: each voxel at rest is looked up where RELION's convention says it went."""
    model, stack = work / "volumes.safetensors", work / "volumes.mrcs"
    succeed("encode", model, stack, "-o", tmp_path / "t.star")
    row = read_star(tmp_path / "t.star").particles.iloc[4]
    angles = row[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy(float)
    shift = -row[[f"rlnOrigin{axis}Angst" for axis in "XYZ"]].to_numpy(float) / PIXEL_SIZE
    saved = load_model(model)
    images = saved.normalisation.of_stack(np.load(work / "volumes.npy")[4:5])
    posterior = saved.model.infer(torch.from_numpy(images[:, None]))
    at_rest = ndimage.gaussian_filter(saved.model.generate(posterior.content)[0, 0].numpy(), 1)
    drawn = apply_poses(torch.from_numpy(at_rest)[None, None], posterior.poses)[0, 0].numpy()

    # RELION's matrix takes the particle, about its origin, to the reference, on (x, y, z)
    to_reference = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix()
    z, y, x = np.indices(drawn.shape) - 8.0
    points = np.stack([x, y, z], -1) - shift
    places = points @ to_reference.T + 8
    expected = ndimage.map_coordinates(at_rest, np.moveaxis(places[..., ::-1], -1, 0), order=1)
    inside = np.linalg.norm(points, axis=-1) < 6
    difference = np.abs(drawn - expected)[inside].max()
    assert difference < 1e-3 * np.ptp(at_rest)
    unturned = ndimage.shift(at_rest, shift[::-1], order=1)
    assert np.abs(drawn - unturned)[inside].max() > 0.05 * np.ptp(at_rest)


# Scores


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_score_is_the_part_of_the_power_that_is_drawn(dimensions: int) -> None:
    tilt = {"tilt_min_deg": -50.0, "tilt_max_deg": 50.0} if dimensions == 3 else {}
    config = HarmonyConfig(
        **{"box_size": 16, "dimensions": dimensions, "width": 4, "n_pictures": 4, **tilt},
        **{"scale_range": 1.3, "contrast_range": 2.0, "brightness_range": 0.5},
    )
    torch.manual_seed(0)
    model, n = Harmony(config).eval(), 6
    truth = TransformRanges(config).random(n, torch.zeros(1))
    content = torch.linspace(-2, 2, n)[:, None]
    offset = truth.offset.reshape(n, 1, *[1] * dimensions)
    boxes = truth.apply(model.generate(content)) - offset
    boxes = (boxes if config.wedge is None else config.wedge.apply(boxes)) + offset
    found = Posterior(
        *(truth.poses, content, content),
        **{"scale": truth.scale, "contrast": truth.log_gain.exp(), "brightness": truth.offset},
    )
    for factor, part in [(1.0, 1.0), (2.0, 0.75), (-1.0, -3.0)]:  # 1 - (1 - 1 / factor)^2
        score = fit_in_box(model, factor * (boxes - offset) + offset, found)
        torch.testing.assert_close(score, torch.full((n,), part), atol=1e-3, rtol=0)
    elsewhere = found._replace(poses=truth.poses._replace(translation=truth.translation + 3))
    assert (fit_in_box(model, boxes, elsewhere) < 0.9).all()
    noise = torch.randn(n, 1, *[16] * dimensions) * (boxes - offset).std()
    assert (fit_in_box(model, noise + offset, found) < 0.2).all()


# The rest


def test_info_says_what_a_model_sees_and_infers(work: Path) -> None:
    text = succeed("info", work / "volumes.safetensors").stdout
    for line in ("kind: harmony", "sees: volumes", "infers: rotation, translation, content"):
        assert line in text
    said = json.loads(succeed("info", work / "images.safetensors", "--json").stdout)
    assert said["capabilities"]["dimensions"] == [2]
    assert said["capabilities"]["infers"] == ["rotation", "translation"]


def test_bad_input_of_train_is_one_line(work: Path, tmp_path: Path) -> None:
    volumes = np.load(work / "volumes.npy")
    bad = {
        "long": volumes[..., :12],
        "flat": volumes[:, 3:],
        "few": volumes[:7],
        "small": volumes[:, :8, :8, :8],
        "nan": np.where(volumes > 0.1, np.nan, volumes),
    }
    for name, array in bad.items():
        np.save(tmp_path / f"{name}.npy", array)
    write_mrc(tmp_path / "other.mrc", volumes[0, 1:, 1:, 1:], PIXEL_SIZE)
    one = work / "000001.mrc"
    write_star(tmp_path / "unequal.star", _particles([str(one), str(tmp_path / "other.mrc")]))
    write_star(tmp_path / "missing.star", _particles([str(one), "gone.mrc"]))
    stack, images = work / "volumes.npy", work / "images.npy"
    cases: list[tuple[tuple[object, ...], str]] = [
        ((tmp_path / "long.npy",), "equal sides"),
        ((tmp_path / "flat.npy",), "equal sides"),
        ((tmp_path / "few.npy",), "7 boxes are too few"),
        ((tmp_path / "small.npy",), "box_size must lie within 16"),
        ((tmp_path / "nan.npy",), "NaN"),
        ((tmp_path / "unequal.star",), "several sizes"),
        ((tmp_path / "missing.star",), "gone.mrc"),
        ((stack, "--tilt-range", 0, 0), "tilt range must run"),
        ((stack, "--tilt-range", -60, 95), "tilt range must run"),
        ((stack, "--tilt-range", -60, 60, "--tilt-axis", "z"), "tilt axis must be y or x"),
        ((stack, "--tilt-axis", "x"), "goes with --tilt-range"),
        ((images, "--tilt-range", -60, 60), "no missing wedge"),
        ((stack, "--set", "dimensions=2"), "dimensions is 3, from the images"),
        ((stack, "--set", "fields=8"), "no setting 'fields' of harmony (it is one of target-vae)"),
        ((stack, "--likelihood", "gaussian"), "harmony knows no likelihood"),
        ((stack, "--box-size", 16), "finds objects in volumes"),
        ((stack, "--ctf"), "the CTF needs a STAR file"),
    ]
    target = tmp_path / "m.safetensors"
    for arguments, message in cases:
        said = refuse("train", *arguments, "-o", target, *SHORT)
        assert said.startswith("error: ") and message in said, said
    plain = ["-o", target, "--epochs", 1, "--device", "cpu"]
    assert "model harmony" in refuse("train", stack, *plain)
    said = refuse("train", images, *plain, "--tilt-range", -60, 60)
    assert "'tilt_min_deg' of target-vae (it is one of harmony and spatial-vae)" in said
    assert not target.exists()


def test_bad_input_of_encode_and_detect_is_one_line(work: Path, tmp_path: Path) -> None:
    volumes, images = work / "volumes.safetensors", work / "images.safetensors"
    table, image = tmp_path / "t.csv", tmp_path / "image.tif"
    tifffile.imwrite(image, np.random.default_rng(0).random((64, 64)).astype(np.float32))
    np.save(tmp_path / "larger.npy", np.zeros((3, 18, 18, 18), np.float32))
    for arguments, message in [
        (("encode", volumes, tmp_path / "larger.npy"), "boxes of 16 pixels"),
        (("encode", volumes, work / "images.npy"), "(16, 16, 16)"),
        (("encode", images, work / "volumes.npy"), "(16, 16)"),
        (("detect", images, image), "no encoder that runs over a large image"),
    ]:
        said = refuse(*arguments, "-o", table)
        assert said.startswith("error: ") and message in said, said
    assert not table.exists()
