"""spatial-VAE, the VAE and beta-VAE through the commands."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from test_cli import refuse, succeed

from napari_equipose.geometry import InputError
from napari_equipose.io import read_table
from napari_equipose.models import load_model
from napari_equipose.training import (
    TrainingRun,
    check_kind,
    kinds,
    prepare_images,
    prepare_stack,
    read_run,
)

_SIZES = {"encoder_width": 16, "generator_width": 16, "steps_per_epoch": 2, "batch_size": 4}
SHORT = ["--epochs", "1", "--device", "cpu"]
SHORT += [part for name, value in _SIZES.items() for part in ("--set", f"{name}={value}")]
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with stacks of images and of volumes, and a model of each system."""
    folder = tmp_path_factory.mktemp("systems")
    noise = ndimage.gaussian_filter(RNG.normal(size=(12, 12, 12, 12)), (0, 2, 2, 2))
    np.save(folder / "volumes.npy", noise.astype(np.float32))
    np.save(folder / "images.npy", noise[:, 6].astype(np.float32))
    np.save(folder / "masks.npy", (noise[:, 6] > 0).astype(np.uint8))
    tifffile.imwrite(folder / "large.tif", RNG.random((64, 64), np.float32))
    for kind in ("spatial-vae", "vae", "beta-vae"):
        model = folder / f"{kind}.safetensors"
        succeed("train", folder / "images.npy", "-o", model, "--model", kind, *SHORT)
    return folder


@pytest.mark.parametrize("kind", ["spatial-vae", "vae", "beta-vae"])
def test_a_stack_is_learned_and_encoded(work: Path, tmp_path: Path, kind: str) -> None:
    model = work / f"{kind}.safetensors"
    succeed("encode", model, work / "images.npy", "-o", tmp_path / "t.csv", "--device", "cpu")
    table = read_table(tmp_path / "t.csv")
    n_content = check_kind(kind).content_dim
    poses = ["translation_y", "translation_x", "rotation"]
    assert list(table) == [
        *("index", *poses, "score", "class"),
        *(f"content_{index}" for index in range(n_content)),
    ]
    assert len(table) == 12 and np.isfinite(table.drop(columns="class")).all(axis=None)
    assert bool((table[poses] == 0).all(axis=None)) == (kind != "spatial-vae")
    told = succeed("info", model).output
    infers = "rotation, translation, content" if kind == "spatial-vae" else "content"
    for line in (f"kind: {kind}", f"infers: {infers}", "large images: no, in boxes only"):
        assert line in told
    run = read_run(work / f"{kind}.run" / "run.json")
    assert (run.model, run.settings["encoder_width"]) == (kind, 16)


def test_volumes_are_learned_and_encoded(work: Path, tmp_path: Path) -> None:
    model, sizes = tmp_path / "m.safetensors", [*SHORT, "--set", "width=4"]
    wedge = ("--tilt-range", -60, 60)
    succeed("train", work / "volumes.npy", "-o", model, "--model", "spatial-vae", *sizes, *wedge)
    config = load_model(model).model.config
    assert (config.dimensions, config.encoder, config.tilt_max_deg) == (3, "convolutional", 60)
    succeed("encode", model, work / "volumes.npy", "-o", tmp_path / "t.csv", "--device", "cpu")
    np.save(tmp_path / "tomogram.npy", RNG.normal(size=(40, 40, 40)).astype(np.float32))
    said = refuse("detect", model, tmp_path / "tomogram.npy", "-o", tmp_path / "p.csv")
    assert "finds no objects in volumes" in said
    assert {"translation_z", "rot", "tilt", "psi", "content_1"} <= set(
        read_table(tmp_path / "t.csv")
    )


def test_pixels_that_are_off_or_on_are_told(work: Path) -> None:
    masks, images = np.load(work / "masks.npy"), np.load(work / "images.npy")
    for kind in ("spatial-vae", "vae", "beta-vae"):
        for stack, likelihood in ((masks, "bernoulli"), (images, "gaussian")):
            prepared = prepare_stack(TrainingRun(model=kind), stack)
            assert prepared.model_config.likelihood == likelihood
            assert (prepared.normalisation.kind == "unit") == (likelihood == "bernoulli")


@pytest.mark.parametrize("name", kinds())
def test_every_preset_of_every_system_makes_a_run(name: str) -> None:
    for preset in check_kind(name).presets:
        run = TrainingRun(model=name, preset=preset, epochs=7)  # type: ignore[arg-type]
        for dimensions in check_kind(name).model.dimensions:
            model, training = run.configurations(
                dimensions=dimensions,
                box_size=40,
                channels=1,
                n_images=200,
                likelihood="gaussian",
            )
            assert type(model) is check_kind(name).model.config and training.epochs == 7
            assert (model.box_size, model.content_dim) == (40, run.content_dim)


def test_the_preset_paper_is_that_of_the_paper() -> None:
    given = {"box_size": 28, "channels": 1, "n_images": 60_000, "likelihood": "bernoulli"}
    for kind in ("spatial-vae", "vae"):
        model, training = TrainingRun(model=kind, preset="paper").configurations(**given)
        layers = (model.encoder_width, model.encoder_layers, model.generator_width)
        assert layers == (500, 2, 500) and model.generator_layers == 2
        assert model.activation == "tanh"
        assert (training.learning_rate, training.batch_size) == (1e-4, 100)
        assert training.plateau_epochs == training.epochs == 500  # the rate stays


def test_boxes_at_given_places_are_learned_by_a_system_that_finds_none(work: Path) -> None:
    image = np.asarray(tifffile.imread(work / "large.tif"))
    places = RNG.uniform(16, 48, (20, 2))
    run = TrainingRun(model="spatial-vae", box_size=16)
    prepared = prepare_images(run, [image], [places])
    assert prepared.boxes.shape == (20, 1, 20, 20) and prepared.images == ()
    assert prepared.model_config.translation_std == pytest.approx(16 / 12)
    with pytest.raises(InputError, match="finds no objects in large images"):
        prepare_images(run, [image])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("large.tif", "--model", "vae", "--box-size", 16), "finds no objects in large images"),
        (("large.tif", "--model", "spatial-vae", "--box-size", 16), "target-vae, which finds"),
        (("volumes.npy", "--model", "target-vae"), "train volumes with the model harmony"),
        (("images.npy", "--model", "vae", "--set", "fields=8"), "(it is one of target-vae"),
        (("images.npy", "--model", "vae", "--ctf"), "vae knows no ctf"),
        (("images.npy", "--model", "vae", "--set", "beta=-1"), "beta must be positive"),
        (("images.npy", "--model", "spatial-vae", "--set", "binning=6"), "smaller than 4"),
    ],
)
def test_what_a_system_can_not_do_is_refused(
    work: Path, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    name, *options = arguments
    said = refuse("train", work / str(name), "-o", tmp_path / "m.safetensors", *options)
    assert message in said


def test_a_model_without_poses_aligns_nothing_and_finds_nothing(work: Path, tmp_path: Path) -> None:
    model = work / "vae.safetensors"
    to = ("-o", tmp_path / "a.mrcs", "--poses", tmp_path / "p.csv")
    assert "infers no pose" in refuse("align", model, work / "images.npy", *to)
    said = refuse("detect", work / "spatial-vae.safetensors", work / "large.tif", *to[:1], to[3])
    assert "no encoder that runs over a large image" in said
