"""The command line, through typer's runner, and as a process where exit codes and signals count."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from numpy.typing import NDArray
from tiny import SETTINGS
from typer.testing import CliRunner, Result

from napari_equipose import __version__
from napari_equipose.cli import app
from napari_equipose.io import read_star, read_table, write_mrc
from napari_equipose.models import load_model, read_metadata
from napari_equipose.simulation import multi_object_scene, rotated_digits, sample_path
from napari_equipose.training import TrainingRun, checkpoint_path, read_run, write_run

EQUIPOSE = str(Path(sys.executable).with_name("equipose"))
TINY = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def succeed(*arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refuse(*arguments: object) -> str:
    """Run what must end with code 2; return the last line of standard error."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    return result.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a stack of digits, two scenes, and a model of each kind."""
    folder = tmp_path_factory.mktemp("cli")
    with np.load(sample_path("digits.npz")) as file:
        stack, _, _ = rotated_digits(file["digits"][:40], np.random.default_rng(0), box_size=32)
    np.save(folder / "stack.npy", stack)
    write_mrc(folder / "stack.mrcs", stack, 2.5)
    for i in (0, 1):
        scene = multi_object_scene(np.random.default_rng(i), shape=(128, 128), n=10)
        tifffile.imwrite(folder / f"scene{i}.tif", scene.image.astype(np.float32))
    succeed("train", folder / "stack.npy", "-o", folder / "boxes.safetensors", *short(2))
    succeed(
        *("train", folder / "scene0.tif", "-o", folder / "scenes.safetensors"),
        *("--box-size", 32, *short(2)),
    )
    return folder


def short(epochs: int) -> list[str]:
    return ["--epochs", str(epochs), "--device", "cpu", *TINY]


# Training


def test_train_writes_a_model_and_a_log_of_its_epochs(work: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.safetensors"
    result = succeed("train", work / "stack.npy", "-o", model, *short(2), "--json")
    said = json.loads(result.stdout)
    assert said["model"] == str(model)
    assert (said["epochs"], said["images"]) == (2, 40)
    assert said["digest"] == load_model(model).digest
    assert list(pd.read_csv(tmp_path / "m.log.csv")["epoch"]) == [1, 2]
    assert not checkpoint_path(model).exists()


def test_a_seed_repeats_a_model(work: Path, tmp_path: Path) -> None:
    digests = []
    for seed in (1, 1, 2):
        model = tmp_path / "m.safetensors"
        seeded = (*short(1), "--seed", seed, "--overwrite")
        succeed("train", work / "stack.npy", "-o", model, *seeded)
        digests.append(load_model(model).digest)
    assert digests[0] == digests[1] != digests[2]


def test_settings_reach_the_configurations(work: Path) -> None:
    metadata = read_metadata(work / "boxes.safetensors")
    assert metadata["config"]["fields"] == 4
    assert metadata["record"]["training"]["batch_size"] == 8
    assert metadata["record"]["source"]["run"]["settings"]["n_rotations"] == 4


def test_off_or_on_pixels_are_recognised(work: Path) -> None:
    assert load_model(work / "boxes.safetensors").model.config.likelihood == "bernoulli"
    assert load_model(work / "boxes.safetensors").normalisation.kind == "unit"
    assert load_model(work / "scenes.safetensors").model.config.likelihood == "gaussian"


def test_quiet_says_nothing(work: Path, tmp_path: Path) -> None:
    result = succeed(
        *("train", work / "stack.npy", "-o", tmp_path / "m.safetensors", *short(1), "--quiet")
    )
    assert result.output == ""


def test_a_run_file_repeats_a_run(work: Path, tmp_path: Path) -> None:
    first, file = tmp_path / "first.safetensors", tmp_path / "run.json"
    succeed("train", work / "stack.npy", "-o", first, *short(1), "--save-config", file)
    again = tmp_path / "again.safetensors"
    succeed("train", "--config", file, "-o", again)
    assert load_model(again).digest == load_model(first).digest
    assert read_run(file).settings["fields"] == 4


def test_a_run_is_repeated_from_its_folder_by_one_command(work, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(work)
    succeed("train", "stack.npy", "-o", tmp_path / "m.safetensors", *short(2))
    monkeypatch.chdir(tmp_path.parent)
    again = tmp_path / "again.safetensors"
    succeed("train", "--config", tmp_path / "m.run" / "run.json", "-o", again)
    assert load_model(again).digest == load_model(tmp_path / "m.safetensors").digest


def test_options_go_before_the_run_file(work: Path, tmp_path: Path) -> None:
    file, model = tmp_path / "run.json", tmp_path / "m.safetensors"
    asked = TrainingRun(images=(str(work / "stack.npy"),), output=str(model), epochs=7)
    write_run(file, asked)
    succeed("train", "--config", file, *short(1), "--seed", 3)
    record = read_metadata(model)["record"]
    assert (record["training"]["epochs"], record["training"]["seed"]) == (1, 3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_the_model_and_resume_goes_on(
    work: Path, tmp_path: Path, number: signal.Signals
) -> None:
    model = tmp_path / "m.safetensors"
    command = [EQUIPOSE, "train", str(work / "stack.npy"), "-o", str(model), *short(100_000)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        patience = time.monotonic() + 120
        while not checkpoint_path(model).exists() and time.monotonic() < patience:
            time.sleep(0.05)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert f"the best model so far is in {model}" in stderr
    load_model(model)
    done = len(pd.read_csv(tmp_path / "m.log.csv"))
    succeed("train", "-o", model, "--epochs", done + 1, "--resume")  # the folder has the rest
    assert list(pd.read_csv(tmp_path / "m.log.csv")["epoch"]) == list(range(1, done + 2))


@pytest.mark.parametrize("source", [["stack.npy"], ["scene0.tif", "--box-size", "32"]])
def test_an_interrupt_within_the_first_epoch_leaves_a_model(
    work: Path, tmp_path: Path, source: list[str]
) -> None:
    model = tmp_path / "m.safetensors"
    command = [EQUIPOSE, "train", *source, "-o", str(model), *short(1)]
    command += ["--set", "steps_per_epoch=1000000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=work) as process:
        assert process.stderr is not None
        assert "training on" in process.stderr.readline()
        time.sleep(3)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=300)
    assert process.returncode == 130
    assert load_model(model).record["epochs"] == 0


# Encoding


def test_encode_writes_a_row_a_box(work: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    succeed("encode", work / "boxes.safetensors", work / "stack.npy", "-o", table, "--classes", 3)
    rows = pd.read_csv(table)
    shared = ["index", "translation_y", "translation_x", "rotation", "score", "class"]
    assert list(rows) == [*shared, "content_0", "content_1"]
    assert list(rows["index"]) == list(range(40))
    assert set(rows["class"]) == {0, 1, 2}


def test_encode_keeps_the_columns_of_a_star_file(work: Path, tmp_path: Path) -> None:
    star = tmp_path / "in.star"
    names = "\n".join(f"{i + 1:06d}@{work / 'stack.mrcs'} 15000.5" for i in (3, 1, 2))
    star.write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n1 2.5\n\n"
        f"data_particles\n\nloop_\n_rlnImageName #1\n_rlnDefocusU #2\n{names}\n"
    )
    out = tmp_path / "out.star"
    succeed("encode", work / "boxes.safetensors", star, "-o", out)
    particles = read_star(out).particles
    assert [name[:6] for name in particles["rlnImageName"]] == ["000004", "000002", "000003"]
    assert (particles["rlnDefocusU"] == 15000.5).all()
    assert {"rlnAnglePsi", "rlnOriginXAngst"} <= set(particles)


# Detecting


def test_detect_writes_one_table_or_a_folder_of_them(work: Path, tmp_path: Path) -> None:
    model, images = work / "scenes.safetensors", [work / "scene0.tif", work / "scene1.tif"]
    low = ("--threshold", -1)
    succeed("detect", model, images[0], "-o", tmp_path / "one.csv", *low)
    succeed("detect", model, images[0], "-o", tmp_path / "folder", *low)
    succeed("detect", model, *images, "-o", tmp_path / "stars", "--format", "star", *low)
    assert sorted(p.name for p in (tmp_path / "folder").iterdir()) == ["scene0.csv"]
    assert sorted(p.name for p in (tmp_path / "stars").iterdir()) == ["scene0.star", "scene1.star"]
    one = pd.read_csv(tmp_path / "one.csv")
    shared = ["image", "y", "x", "rotation", "score", "class"]
    assert list(one) == [*shared, "content_0", "content_1"]
    assert len(one) and one["class"].isna().all()
    again = read_table(tmp_path / "stars" / "scene0.star", "picks")
    np.testing.assert_allclose(again[["y", "x"]], one[["y", "x"]], atol=1e-3)


def test_a_threshold_leaves_out_what_scores_lower(work: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    succeed(
        *("detect", work / "scenes.safetensors", work / "scene0.tif", "-o", table),
        *("--threshold", 1.0),
    )
    assert len(pd.read_csv(table)) == 0


def test_classes_are_the_same_in_all_images(work: Path, tmp_path: Path) -> None:
    result = succeed(
        *("detect", work / "scenes.safetensors", work / "scene0.tif", work / "scene1.tif"),
        *("-o", tmp_path, "--threshold", -1, "--classes", 2, "--json"),
    )
    both = pd.concat([pd.read_csv(t["table"]) for t in json.loads(result.stdout)["tables"]])
    content = both[["content_0", "content_1"]].to_numpy()
    assert set(both["class"]) == {0, 1}
    centres = np.stack([content[both["class"] == c].mean(0) for c in (0, 1)])
    nearest = np.linalg.norm(content[:, None] - centres, axis=2).argmin(1)
    assert (nearest == both["class"]).mean() > 0.75


# The rest


def test_info_says_how_a_model_was_made(work: Path) -> None:
    text = succeed("info", work / "boxes.safetensors").stdout
    assert "kind: target-vae" in text
    assert "stack.npy" in text
    said = json.loads(succeed("info", work / "boxes.safetensors", "--json").stdout)
    assert said["config"]["box_size"] == 32


def test_demo_goes_from_an_image_to_a_picture(tmp_path: Path) -> None:
    result = succeed("demo", "-o", tmp_path / "demo", "--minutes", 0.05, "--json")
    said = json.loads(result.stdout)
    table = pd.read_csv(said["files"]["objects"])
    assert len(table) == said["n"]
    assert load_model(tmp_path / "demo" / "model.safetensors").digest == said["digest"]
    assert (tmp_path / "demo" / "overlay.png").stat().st_size > 10_000


def test_version_and_help_do_not_wait_for_torch() -> None:
    assert succeed("--version").stdout.strip() == __version__
    program = (
        "import sys; from napari_equipose.cli import app\n"
        "try: app(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


# Bad input


def broken(folder: Path, name: str, image: NDArray[Any]) -> Path:
    path = folder / name
    tifffile.imwrite(path, image.astype(np.float32))
    return path


def test_bad_input_of_train_is_one_line(work: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((64, 64))
    with_nan = np.where(noise > 0.99, np.nan, noise)
    output = ("-o", tmp_path / "m.safetensors")
    from_image = (*output, "--box-size", 24)
    no_picture = tmp_path / "text.tif"
    no_picture.write_text("not a picture")
    no_star = tmp_path / "empty.star"
    no_star.write_text("data_\n")
    cases: list[tuple[tuple[object, ...], str]] = [
        ((tmp_path / "none.tif", *from_image), "does not exist"),
        ((no_picture, *from_image), "not a TIFF"),
        ((no_star, *output), "empty.star"),
        ((broken(tmp_path, "nan.tif", with_nan), *from_image), "NaN"),
        ((broken(tmp_path, "flat.tif", np.ones((64, 64))), *from_image), "constant"),
        ((broken(tmp_path, "small.tif", noise[:20]), *from_image), "box size"),
        ((work / "stack.mrcs", *from_image), "wanted one image"),
        ((work / "scene0.tif", *output), "single image"),
        ((work / "stack.npy", *output, "--set", "feilds=4"), "known are"),
        ((work / "stack.npy", *output, "--set", "fields=many"), "whole number"),
        ((work / "stack.npy", *output, "--set", "fields"), "NAME=VALUE"),
        ((work / "stack.npy", *output, "--set", "box_size=16"), "box_size is 32"),
        ((work / "stack.npy", *output, "--preset", "quick"), "fast, balanced, paper"),
        ((work / "stack.npy", *output, "--model", "gan"), "unknown kind"),
        ((work / "stack.npy", *output, "--device", "abacus"), "unknown device"),
        ((work / "stack.npy", *output, "--resume"), "no checkpoint"),
        ((work / "stack.npy", *output, "--config", work / "stack.npy"), "not a run file"),
        ((work / "stack.npy", work / "stack.npy", *output), "--box-size"),
        ((work / "stack.npy", "-o", tmp_path / "m.pt"), ".safetensors"),
        ((work / "stack.npy",), "no output"),
        (output, "no images"),
    ]
    for arguments, message in cases:
        said = refuse("train", *arguments)
        assert said.startswith("error: "), said
        assert message in said, said
    assert not (tmp_path / "m.safetensors").exists()


def test_an_image_without_candidates_is_refused(tmp_path: Path) -> None:
    ramp = broken(tmp_path, "ramp.tif", np.add.outer(np.arange(128.0), np.arange(128.0)))
    said = refuse("train", ramp, "-o", tmp_path / "m.safetensors", "--box-size", 24)
    assert "no object" in said
    assert str(ramp) in said


def test_bad_input_of_encode_and_detect_is_one_line(work: Path, tmp_path: Path) -> None:
    model, scene, table = work / "scenes.safetensors", work / "scene0.tif", tmp_path / "t.csv"
    boxes = work / "boxes.safetensors"
    flat = broken(tmp_path, "flat.tif", np.ones((64, 64)))
    (tmp_path / "file").touch()
    (tmp_path / "twin").mkdir()
    twin = broken(tmp_path / "twin", "scene0.tif", np.ones((64, 64)))
    wrong_size = tmp_path / "wrong.npy"
    np.save(wrong_size, np.random.default_rng(0).random((5, 20, 20)))
    cases: list[tuple[tuple[object, ...], str]] = [
        (("encode", work / "stack.npy", work / "stack.npy", "-o", table), "not a model file"),
        (("encode", tmp_path / "no.safetensors", scene, "-o", table), "no such file"),
        (("encode", boxes, wrong_size, "-o", table), "boxes of"),
        (("encode", model, work / "stack.npy", "-o", tmp_path / "t.xls"), ".csv or .star"),
        (("encode", model, work / "stack.npy", "-o", table, "--classes", "x"), "--classes"),
        (("encode", boxes, work / "stack.npy", "-o", table, "--classes", 99), "99 classes"),
        (("detect", model, flat, "-o", table), "constant"),
        (("detect", model, work / "stack.mrcs", "-o", table), "wanted one image"),
        (("detect", model, scene, "-o", tmp_path / "t.box"), "written as"),
        (("detect", model, scene, "-o", tmp_path / "file"), "is a file"),
        (("detect", model, scene, "-o", table, "--format", "star"), "contradict"),
        (("detect", model, scene, "-o", tmp_path, "--format", "json"), "csv or star"),
        (("detect", model, scene, twin, "-o", tmp_path / "out"), "would both write"),
        (("info", scene), "not a model file"),
    ]
    for arguments, message in cases:
        said = refuse(*arguments)
        assert said.startswith("error: "), said
        assert message in said, said
    assert not table.exists()


def test_the_process_ends_with_2_and_one_line(tmp_path: Path) -> None:
    command = [EQUIPOSE, "info", str(tmp_path / "none.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_missing_option_is_named_on_the_last_line(work: Path) -> None:
    assert "--output" in refuse("encode", work / "boxes.safetensors", work / "stack.npy")


def test_gui_without_napari_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "napari", None)
    said = refuse("demo", "--gui", "-o", tmp_path / "demo")
    assert 'pip install "napari-equipose[all]"' in said
    assert not (tmp_path / "demo").exists()


def test_the_demo_shows_objects_as_points_and_vectors_in_napari() -> None:
    napari = pytest.importorskip("napari")
    from napari_equipose.cli._gui import layers_of
    from napari_equipose.inference import Picks

    picks = Picks(
        positions=np.array([[10, 20], [30, 5]], np.float32),
        rotation=np.array([0, np.pi / 2], np.float32),
        score=np.array([0.9, 0.5], np.float32),
        content=np.zeros((2, 2), np.float32),
    )
    metadata = {"equipose": {"model": "0123"}}
    layers = [
        napari.layers.Layer.create(*layer)
        for layer in layers_of(np.zeros((40, 40)), picks, "cells", metadata)
    ]
    assert [type(layer).__name__ for layer in layers] == ["Image", "Vectors", "Points"]
    right, up = np.sign(np.round(layers[1].data[:, 1]))
    np.testing.assert_array_equal((right, up), [(0, 1), (-1, 0)])
    assert set(layers[2].features) == {"rotation", "score", "content_0", "content_1"}
    assert all(layer.metadata == metadata for layer in layers)
