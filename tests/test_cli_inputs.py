"""Odd inputs of commands: other pixel sizes, a bad image among good ones, what no model fits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import tiny
import torch
from scipy import ndimage
from typer.testing import CliRunner, Result

from napari_equipose.cli import app
from napari_equipose.geometry import InputError
from napari_equipose.inference import (
    DetectionConfig,
    detect,
    encode,
    outside,
    pixel_size_notice,
    place_back,
)
from napari_equipose.io import StarFile, write_mrc, write_star
from napari_equipose.models import (
    Normalisation,
    SavedModel,
    TargetVAE,
    TargetVAEConfig,
    load_model,
    read_metadata,
    save_model,
)
from napari_equipose.training import pixel_size_of_layer

SIDE = tiny.MODEL.box_size
TINY = [part for name, value in tiny.SETTINGS.items() for part in ("--set", f"{name}={value}")]
SHORT = ["--epochs", "1", "--device", "cpu", *TINY]


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert "Traceback" not in result.stderr
    return result


def last_line(result: Result) -> str:
    return result.stderr.strip().splitlines()[-1]


def scene(seed: int = 0, side: int = 96) -> np.ndarray:
    """Blobs of some pixels, which are objects enough."""
    rng = np.random.default_rng(seed)
    points = np.zeros((side, side), np.float32)
    for y, x in rng.integers(8, side - 8, (25, 2)):
        points[y, x] = 1
    return ndimage.gaussian_filter(points, 2) * 50 + rng.normal(0, 0.05, points.shape).astype("f4")


def model(pixel_size: float | None = None, **config: Any) -> SavedModel:
    torch.manual_seed(0)
    made = TargetVAE(TargetVAEConfig(**{**vars(tiny.MODEL), **config})).eval()
    record = {"threshold": 0.0} | ({} if pixel_size is None else {"pixel_size": pixel_size})
    return SavedModel(kind="target-vae", model=made, normalisation=Normalisation(), record=record)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model of 2 Angstrom and images of 2, 4 and 8."""
    monkeypatch.chdir(tmp_path)
    saved = model(2.0)
    save_model(Path("m.safetensors"), saved.model, saved.normalisation, saved.record)
    boxes = np.random.default_rng(0).normal(size=(12, SIDE, SIDE)).astype(np.float32)
    for size in (2.0, 4.0, 8.0):
        write_mrc(f"px{size:.0f}.mrc", scene(int(size)), size)
        write_mrc(f"px{size:.0f}.mrcs", boxes, size)
    Path("bad.mrc").write_bytes(Path("px2.mrc").read_bytes()[:2000])
    hole = scene()
    hole[3, 4:7] = np.nan
    tifffile.imwrite("hole.tif", hole)
    np.save("color.npy", np.repeat(scene()[..., None], 3, -1).astype(np.uint8))
    return tmp_path


# Pixel size


@pytest.mark.parametrize(
    ("own", "given", "said"),
    [
        (2.0, 8.0, "look 4 times smaller than those it knows: take images of 2 Angstrom"),
        (8.0, 2.0, "look 4 times larger than those it knows: bin it by 4 first"),
        (3.0, 2.0, "look 1.5 times larger than those it knows: scale it by 0.667 first, to 3 Ang"),
        (2.0, 2.03, ""),
        (2.0, 2.05, "smaller"),
        (2.0, None, ""),
        (None, 2.0, ""),
    ],
)
def test_another_pixel_size_is_told_with_what_to_do(
    own: float | None, given: float | None, said: str
) -> None:
    notice = pixel_size_notice(model(own), given, "a.mrc")
    assert (notice is None) == (said == "")
    assert notice is None or (said in notice.message and "a.mrc" in notice.message)


@pytest.mark.parametrize(
    ("scale", "units", "factor", "size"),
    [
        ([2.0, 2.0], ["angstrom", "angstrom"], [1, 1], 2.0),
        (np.array([1.0, -0.2, 0.2]), ("pixel", "nanometer", "nanometer"), (4.0, 4.0), 8.0),
        ([0.065, 0.065], ["micrometer", "micrometer"], [1, 1], 650.0),
        ([1.0, 1.0], ["pixel", "pixel"], [1, 1], None),
        ([1.0, 2.0], ["nm", "nm"], [1, 1], None),
        ([1.0], ["nm"], [1, 1], None),
    ],
)
def test_the_pixel_size_of_a_layer(scale: Any, units: Any, factor: Any, size: float | None) -> None:
    source = {"scale": scale, "units": units, "factor": factor}
    assert pixel_size_of_layer(source) == (size and pytest.approx(size))
    assert pixel_size_of_layer({}) is None


def test_commands_warn_of_another_pixel_size(work: Path) -> None:
    for command in (
        "detect m.safetensors {}.mrc -o t.csv",
        "encode m.safetensors {}.mrcs -o t.csv",
        "align m.safetensors {}.mrcs -o a.mrcs --poses t.csv",
    ):
        for image, warned in (("px2", False), ("px8", True)):
            result = run(*command.format(image).split(), "--json")
            assert result.exit_code == 0
            said = json.loads(result.stdout)["warnings"]
            assert bool(said) == warned == ("warning: pixels of px8.mrc" in result.stderr)
            assert "take images of 2 Angstrom" in "".join(said) or not warned


def test_a_model_keeps_the_pixel_size_and_no_folders(work: Path) -> None:
    private = work / "private folder"
    private.mkdir()
    (work / "px4.mrcs").rename(private / "boxes.mrcs")
    write_star(
        private / "p.star",
        StarFile(pd.DataFrame({"rlnImageName": [f"{i + 1}@boxes.mrcs" for i in range(12)]}), None),
    )
    for images, size in ((private / "boxes.mrcs", 4.0), (private / "p.star", 4.0)):
        result = run("train", images, "-o", private / "new.safetensors", "--overwrite", *SHORT)
        assert result.exit_code == 0, result.stderr
        assert load_model(private / "new.safetensors").pixel_size == size
        assert b"private folder" not in (private / "new.safetensors").read_bytes()
        source = read_metadata(private / "new.safetensors")["record"]["source"]["run"]
        assert source["images"] == [images.name] and source["output"] == "new.safetensors"
    assert "pixel size: 4 Angstrom" in run("info", private / "new.safetensors").stdout
    repeat = ("--config", private / "new.run" / "run.json", "-o", "again.safetensors")
    assert run("train", *repeat, "--pixel-size", 5).exit_code == 0
    assert load_model(work / "again.safetensors").pixel_size == 5


def test_a_model_of_no_known_pixel_size_is_loaded(work: Path) -> None:
    saved = model()
    save_model(Path("old.safetensors"), saved.model, saved.normalisation, {})
    assert load_model(Path("old.safetensors")).pixel_size is None
    assert "pixel size: unknown" in run("info", "old.safetensors").stdout
    assert run("encode", "old.safetensors", "px8.mrcs", "-o", "t.csv").stderr == ""
    for damage in ("two", -1.0):
        save_model(Path("b.safetensors"), saved.model, saved.normalisation, {"pixel_size": damage})
        with pytest.raises(InputError, match=r"b.safetensors is damaged: its pixel size is"):
            load_model(Path("b.safetensors"))


def test_training_on_two_pixel_sizes_is_refused_unless_one_is_given(work: Path) -> None:
    command = ["train", "px2.mrc", "px8.mrc", "-o", "new.safetensors", "--box-size", 16, *SHORT]
    result = run(*command)
    assert result.exit_code == 2
    assert "px2.mrc has 2 Angstrom a pixel" in last_line(result) and "by 4" in last_line(result)
    assert run(*command, "--pixel-size", 2).exit_code == 0
    assert load_model(Path("new.safetensors")).pixel_size == 2


# One bad image among good ones


def test_detect_does_the_images_that_can_be_done(work: Path) -> None:
    images = ["px2.mrc", "bad.mrc", "missing.mrc", "hole.tif", "color.npy", "px4.mrc"]
    result = run("detect", "m.safetensors", *images, "-o", "tables", "--json")
    assert result.exit_code == 1
    assert last_line(result) == "error: 4 of 6 images failed, the rest is done"
    assert sorted(path.name for path in Path("tables").iterdir()) == ["px2.csv", "px4.csv"]
    said = json.loads(result.stdout)
    assert [one["image"] for one in said["tables"]] == ["px2.mrc", "px4.mrc"]
    assert [one["image"] for one in said["failed"]] == images[1:5]
    why = {one["image"]: one["error"] for one in said["failed"]}
    assert "missing.mrc does not exist" in why["missing.mrc"]
    assert "hole.tif: the image holds 3 NaN or infinite pixels of 9,216" in why["hole.tif"]
    assert "color.npy: the model was trained on gray images" in why["color.npy"]


def test_classes_are_those_of_the_images_that_were_done(work: Path) -> None:
    images = ["bad.mrc", "px2.mrc", "px4.mrc"]
    result = run("detect", "m.safetensors", *images, "-o", "tables", "--classes", 2)
    assert result.exit_code == 1
    both = pd.concat([pd.read_csv(f"tables/{name}.csv") for name in ("px2", "px4")])
    assert set(both["class"]) == {0, 1}


def test_detect_of_images_that_are_all_bad_is_bad_input(work: Path) -> None:
    for images in (["bad.mrc"], ["bad.mrc", "hole.tif"]):
        result = run("detect", "m.safetensors", *images, "-o", "tables")
        assert result.exit_code == 2 and "bad.mrc" in last_line(result)
    assert not Path("tables").exists()


def test_train_leaves_out_an_image_that_can_not_be_used(work: Path) -> None:
    write_mrc("small.mrc", scene(side=12 * 8)[:12, :12], 2.0)
    images = ["px2.mrc", "bad.mrc", "hole.tif", "small.mrc"]
    rest = ["--box-size", 16, *SHORT, "--json"]
    result = run("train", *images, "-o", "some.safetensors", *rest)
    assert result.exit_code == 1, result.stderr
    assert "an image is left out: " in result.stderr
    assert last_line(result) == "error: 3 of 4 images failed, the rest is done"
    failed = [Path(one["image"]).name for one in json.loads(result.stdout)["failed"]]
    assert failed == images[1:]
    assert run("train", "px2.mrc", "-o", "one.safetensors", *rest).exit_code == 0
    digests = {load_model(Path(f"{name}.safetensors")).digest for name in ("some", "one")}
    assert len(digests) == 1
    result = run("train", *images[1:], "-o", "none.safetensors", *rest)
    assert result.exit_code == 2 and "none of 3 images can be used" in last_line(result)


# What does not fit


@pytest.mark.parametrize(
    ("channels", "shape", "said"),
    [
        (1, (40, 40, 3), "trained on gray images, .* is in color: convert it to gray"),
        (3, (40, 40), "trained on images in color, .* is gray: give it in color"),
        (1, (5, 40, 40), r"trained on images, and this is a volume or a stack .*\(y, x\) of it"),
    ],
)
def test_an_image_of_another_kind_is_told_in_words(
    channels: int, shape: tuple[int, ...], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        next(detect(model(channels=channels), np.ones(shape), DetectionConfig(), device="cpu"))


@pytest.mark.parametrize(
    ("channels", "shape", "said"),
    [
        (1, (4, SIDE, SIDE, 3), "trained on gray images, .* is in color"),
        (3, (4, SIDE, SIDE), "trained on images in color, .* is gray"),
        (1, (4, SIDE, SIDE, SIDE), "holds volumes: give a stack of images"),
        (1, (4, SIDE + 2, SIDE + 2), f"cut boxes of {SIDE} pixels"),
        (1, (4, SIDE), "holds lines"),
    ],
)
def test_boxes_of_another_kind_are_told_in_words(
    channels: int, shape: tuple[int, ...], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        next(encode(model(channels=channels), np.ones(shape), device="cpu"))


def test_pixels_that_are_no_numbers_are_counted() -> None:
    boxes = np.random.default_rng(0).random((3, 4, 4))
    boxes[1, 0, :2] = np.inf
    with pytest.raises(InputError, match=r"box 1 of the stack holds 2 NaN .* pixels of 16: crop"):
        Normalisation().of_stack(boxes)


def test_more_classes_than_boxes_are_refused_before_the_work(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_equipose.inference.encode", lambda *_, **__: pytest.fail("began"))
    result = run("encode", "m.safetensors", "px2.mrcs", "-o", "t.csv", "--classes", 13)
    assert result.exit_code == 2 and "12 objects can't make 13 classes" in last_line(result)


# Placing back


def test_what_lies_outside_a_volume_is_known() -> None:
    places = [(-0.5, 0, 0), (-0.6, 0, 0), (4.4, 5.4, 6.4), (4.5, 5, 6), (0, 0, 5000)]
    assert outside(places, (5, 6, 7)).tolist() == [False, True, False, True, True]
    with pytest.raises(InputError, match=r"all 2 objects lie outside .*binning"):
        place_back([np.ones((3, 3, 3))], places[3:], [np.eye(3)] * 2, None, (5, 6, 7))


@pytest.mark.parametrize("n_inside", [0, 5, 8])
def test_particles_outside_the_tomogram_are_counted_or_refused(work: Path, n_inside: int) -> None:
    tiny.untrained_harmony(Path("h.safetensors"), box_size=SIDE)
    rng = np.random.default_rng(0)
    write_mrc("v.mrcs", rng.normal(size=(8, SIDE, SIDE, SIDE)).astype(np.float32), 2.0)
    write_mrc("t.mrc", np.zeros((20, 24, 28), np.int8), 2.0)
    where = np.where(np.arange(8)[:, None] < n_inside, rng.uniform(0, 19, (8, 3)), 5000.0)
    table = pd.DataFrame({"rlnImageName": [f"{row + 1}@v.mrcs" for row in range(8)]})
    table[[f"rlnCoordinate{axis}" for axis in "XYZ"]] = where
    write_star("p.star", StarFile(table, None))
    outputs = ["-o", "a.mrcs", "--poses", "t.csv", "--place-back", "t.mrc", "--no-refine"]
    result = run("align", "h.safetensors", "p.star", *outputs, "--json")
    if n_inside == 0:
        assert result.exit_code == 2 and not Path("a.mrcs").exists()
        assert "all 8 particles of p.star lie outside t.mrc of shape (20, 24, 28)" in result.stderr
        return
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["outside"] == 8 - n_inside
    assert ("3 particles of p.star lie outside t.mrc" in result.stderr) == (n_inside == 5)
