"""Objects that a person clicked: read from files of picks, kept with a run, refused in words."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_equipose.cli import app
from napari_equipose.geometry import InputError
from napari_equipose.io import pick_table, write_table
from napari_equipose.training import TrainingRun, create_run, propose_many, read_run, write_run
from napari_equipose.training._inputs import RunInputs

CLICKED = np.array([[20.5, 31.25], [40, 12]])


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a" / "one.npy", tmp_path / "a" / "two.npy"]
    paths[0].parent.mkdir()
    rng = np.random.default_rng(0)
    for path in paths:
        np.save(path, rng.normal(size=(64, 80)).astype(np.float32))
    return paths


def table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def read(images: list[Path], picks: Path, **more: Any) -> list[Any]:
    run = TrainingRun(
        images=tuple(map(str, images)), examples=str(picks), **({"box_size": 16} | more)
    )
    found = RunInputs(run).examples
    assert found is not None
    return found


def refuse(*arguments: object) -> str:
    """Run a training that must be refused; return the last line of standard error."""
    result = CliRunner().invoke(app, ["train", *map(str, arguments), "--quiet"])
    assert result.exit_code == 2, result.output
    return str(result.stderr.strip().splitlines()[-1])


@pytest.mark.parametrize("name", ["c.csv", "c.star", "c.txt", "one.box", "other.box"])
def test_any_file_of_picks_gives_examples_of_the_one_image(images, tmp_path, name) -> None:
    # Some formats have whole pixels, and a .box file no name but its own.
    write_table(tmp_path / name, pick_table("Micrographs/one.mrc", np.rint(CLICKED)), box_size=16)
    (found,) = read(images[:1], tmp_path / name)
    np.testing.assert_allclose(found, np.rint(CLICKED))


def test_rows_without_a_name_are_of_the_one_image(images, tmp_path) -> None:
    (found,) = read(images[:1], table(tmp_path / "c.csv", "y,x\n20.5,31.25\n-0.4,12\n"))
    np.testing.assert_array_equal(found, [[20.5, 31.25], [0, 12]])  # an outer half of a pixel


def test_rows_go_with_their_images_by_name(images, tmp_path) -> None:
    picks = table(
        tmp_path / "c.csv", "image,y,x\nMicrographs/two.tif,20.5,31.25\nMicrographs/two.tif,40,12\n"
    )
    one, two = read(images, picks)
    assert one is None
    np.testing.assert_array_equal(two, CLICKED)


def test_an_image_that_is_damaged_takes_its_examples_along(images, tmp_path) -> None:
    picks = table(tmp_path / "c.csv", "image,y,x\none,5,6\ntwo,7,8\n")
    images[0].write_bytes(b"no image")
    (found,) = read(images, picks)
    np.testing.assert_array_equal(found, [[7, 8]])
    picks.write_text("image,y,x\none,5,6\n")
    with pytest.raises(InputError, match="all of its examples lie in images that can't be used"):
        read(images, picks)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y,x\n", "lists no examples"),
        ("y,z\n1,2\n", "no column x"),
        ("z,y,x\n1,2,3\n", "positions in a volume"),
        ("y,x\n3,4\n20,90\n", "row 2 (y = 20, x = 90) lies outside"),
        ("y,x\n-1,4\n", "lies outside"),
        ("image,y,x\nthree.npy,3,4\n", "'three.npy', which is no image of this run (one.npy)"),
    ],
)
def test_a_table_that_can_not_be_meant_is_refused(images, tmp_path, text, message) -> None:
    picks, model = table(tmp_path / "c.csv", text), tmp_path / "m.safetensors"
    error = refuse(images[0], "--box-size", 16, "--examples", picks, "-o", model)
    assert message in error and "c.csv" in error
    assert not model.with_suffix(".run").exists()


def test_rows_of_several_images_need_names(images, tmp_path) -> None:
    picks = table(tmp_path / "c.csv", "image,y,x\none.npy,3,4\n,5,6\n")
    error = refuse(*images, "--box-size", 16, "--examples", picks, "-o", tmp_path / "m.safetensors")
    assert "row 2 names no image, and there are 2: add a column 'image'" in error
    twin = tmp_path / "b" / "one.npy"
    twin.parent.mkdir()
    np.save(twin, np.load(images[0]))
    picks.write_text("image,y,x\none.npy,3,4\n")
    with pytest.raises(InputError, match="folders that tell images apart"):
        read([*images, twin], picks)


def test_examples_are_for_large_images(images, tmp_path) -> None:
    picks = table(tmp_path / "c.csv", "y,x\n3,4\n")
    out = ("--examples", picks, "-o", tmp_path / "m.safetensors")
    np.save(tmp_path / "stack.npy", np.zeros((12, 16, 16), np.float32))
    assert "give a box size" in refuse(tmp_path / "stack.npy", *out)
    volume = tmp_path / "volume.npy"
    np.save(volume, np.random.default_rng(0).normal(size=(32, 32, 32)))
    assert "harmony knows no examples" in refuse(
        volume, "--box-size", 16, "--model", "harmony", *out
    )
    with pytest.raises(InputError, match="give either"):
        read(images[:1], picks, positions=str(picks))


def test_a_run_keeps_its_examples(images, tmp_path) -> None:
    run = TrainingRun(images=(str(images[0]),), box_size=16)
    pixels = np.load(images[0])
    folder = create_run(tmp_path / "m.safetensors", run, pixels=[pixels], examples=CLICKED)
    kept = read_run(folder.run_file)
    inputs = RunInputs(kept)
    assert inputs.examples is not None
    np.testing.assert_array_equal(inputs.examples[0], CLICKED)
    assert {"path": str(folder.path / "examples.csv"), "shape": [2, 2]}.items() <= (
        inputs.identities()[-1].items()
    )
    moved = (tmp_path / "m.run").rename(tmp_path / "n.run")
    assert Path(read_run(moved / "run.json").examples) == moved / "examples.csv"
    folder = create_run(tmp_path / "n.safetensors", kept, resume=True)
    folder.discard()
    assert not moved.exists()


def test_a_run_file_names_its_examples_from_its_own_folder(tmp_path) -> None:
    run = TrainingRun(examples=str(tmp_path / "c.csv"))
    write_run(tmp_path / "run.json", run)
    assert read_run(tmp_path / "run.json") == run
    assert '"c.csv"' in (tmp_path / "run.json").read_text()


def discs(path: Path) -> Path:
    """Draw a dozen bright discs on a little noise."""
    rng = np.random.default_rng(0)
    y, x = np.indices((96, 128))
    image = rng.normal(0, 0.03, y.shape)
    for cy, cx in ((a, b) for a in (16, 48, 80) for b in (16, 48, 80, 112)):
        image += np.hypot(y - cy, x - cx) < 7
    np.save(path, image.astype(np.float32))
    return path


def test_an_answer_of_preview_is_taken_by_examples(tmp_path) -> None:
    image, out = discs(tmp_path / "discs.npy"), tmp_path / "answers"
    arguments = ["preview", str(image), "--box-size", "20", "-o", str(out), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    answers = json.loads(result.stdout.strip().splitlines()[-1])["hypotheses"]
    assert {Path(one["picture"]).name for one in answers} == {p.name for p in out.glob("*.png")}
    bright = next(one for one in answers if one["polarity"] == "bright")
    (found,) = read([image], Path(bright["examples"]))
    away = np.abs((found - 16 + 16) % 32 - 16)  # from the nearest disc, along each axis
    assert len(found) <= bright["n"] and away.max() < 4
    with Image.open(bright["picture"]) as picture:
        assert picture.width == len(found) * picture.height
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2 and "another preview" in again.stderr


def test_examples_say_which_of_two_the_objects_are(tmp_path) -> None:
    image = np.load(discs(tmp_path / "discs.npy"))
    clicked = [np.array([[16.0, 16.0], [48.0, 80.0], [80.0, 48.0]])]
    for sign, polarity in ((1, "bright"), (-1, "dark")):
        (found,) = propose_many([sign * image], 20, examples=clicked)
        assert found.polarity == polarity
