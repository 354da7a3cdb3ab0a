"""What commands refuse to write: over an input, over another output, over a model, or nowhere."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from typer.testing import CliRunner

from napari_equipose.cli import app
from napari_equipose.io import write_mrc
from napari_equipose.models import Normalisation, TargetVAE, save_model
from napari_equipose.training import RunFolder, TrainingRun, write_run

SIDE = tiny.MODEL.box_size
SHORT = ["--epochs", "1", "--device", "cpu", "--quiet"]
SHORT += [part for name, value in tiny.SETTINGS.items() for part in ("--set", f"{name}={value}")]


def run(*arguments: object) -> tuple[int, str]:
    """Exit code, and the last line of standard error."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert "Traceback" not in result.stderr
    return result.exit_code, (result.stderr.strip().splitlines() or [""])[-1]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model, a stack, a STAR file of it, an image and some links."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    save_model(Path("m.safetensors"), TargetVAE(tiny.MODEL).eval(), Normalisation())
    rng = np.random.default_rng(0)
    stack = rng.normal(size=(12, SIDE, SIDE)).astype(np.float32)
    write_mrc("s.mrcs", stack, 2.0)
    write_mrc("i.mrc", rng.normal(size=(64, 64)).astype(np.float32), 2.0)
    rows = "".join(f"{row + 1:06d}@s.mrcs\n" for row in range(12))
    Path("p.star").write_text(f"data_particles\n\nloop_\n_rlnImageName #1\n{rows}")
    Path("sub").mkdir()
    Path("linked.mrcs").symlink_to("s.mrcs")
    os.link("s.mrcs", "twin.mrcs")
    os.link("p.star", "twin.star")
    write_run(tmp_path / "r.json", TrainingRun(images=("s.mrcs",), output="new.safetensors"))
    return tmp_path


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


OVER = [
    # over an input, whatever it is called
    ("align m.safetensors s.mrcs -o s.mrcs --poses t.csv", "-o s.mrcs would replace an input"),
    ("align m.safetensors s.mrcs -o sub/../s.mrcs --poses t.csv", "would replace an input"),
    ("align m.safetensors linked.mrcs -o s.mrcs --poses t.csv", "same file as linked.mrcs"),
    ("align m.safetensors s.mrcs -o linked.mrcs --poses t.csv", "would replace an input"),
    ("align m.safetensors s.mrcs -o twin.mrcs --poses t.csv", "would replace an input"),
    ("align m.safetensors p.star -o s.mrcs --poses t.csv", "would replace an input"),
    ("align m.safetensors p.star -o a.mrcs --poses p.star", "--poses p.star would replace"),
    ("align m.safetensors p.star -o a.mrcs --poses t.star --average s.mrcs", "end in .mrc"),
    ("align new.safetensors p.star -o s.mrcs --poses t.csv --train", "would replace an input"),
    ("encode m.safetensors p.star -o p.star", "-o p.star would replace an input"),
    ("encode m.safetensors p.star -o twin.star", "would replace an input"),
    ("train s.mrcs -o new.safetensors --save-config s.mrcs", "--save-config s.mrcs would replace"),
    ("train p.star -o new.safetensors --save-config s.mrcs", "--save-config s.mrcs would replace"),
    ("train --config r.json --save-config r.json", "--save-config r.json would replace"),
    ("simulate tomogram i.mrc tomogram.mrc -o .", "-o tomogram.mrc would replace"),
    # two outputs of one name
    ("align m.safetensors s.mrcs -o x.mrc --poses t.csv --average x.mrc", "x.mrc are one file"),
    ("align m.safetensors s.mrcs -o x_half1.mrc --poses t.csv --average x.mrc", "are one file"),
    ("align m.safetensors s.mrcs -o a.mrc --poses x_frc.csv --average x.mrc", "are one file"),
    ("align m.safetensors s.mrcs -o x_class0.mrc --poses t.csv --average x.mrc", "are one file"),
    ("train s.mrcs -o new.safetensors --save-config new.log.csv", "are one file"),
    # nowhere, or under a wrong name
    ("encode m.safetensors s.mrcs -o locked.csv", "locked.csv is read-only"),
    ("encode m.safetensors s.mrcs -o i.mrc/t.csv", "i.mrc is a file, not a folder"),
    ("encode m.safetensors s.mrcs -o sub", "must end in .csv or .star"),
    ("detect m.safetensors i.mrc -o i.mrc/t.csv", "is a file, not a folder"),
    ("encode m.safetensors s_TAB_.npy -o t.star", "which STAR files can't hold"),
    ("detect m.safetensors i_TAB_.npy -o t.star", "which STAR files can't hold"),
    ("align m.safetensors s_TAB_.npy -o a.mrcs --poses t.star", "which STAR files can't hold"),
    ("detect m.safetensors i.mrc s.mrcs -o t.csv", "2 images: name a folder"),
    # over a model
    ("train s.mrcs -o m.safetensors", "m.safetensors exists: name another with -o, or add --over"),
    ("align m.safetensors s.mrcs -o a.mrcs --poses t.csv --train", "m.safetensors exists"),
    ("demo -o was", "model.safetensors exists: name another folder with -o, or add --overwrite"),
    ("align m.safetensors s.mrcs -o a.mrcs --poses t.csv --overwrite", "goes with --train"),
]


@pytest.mark.parametrize(("command", "said"), OVER)
def test_a_command_refuses_before_it_writes_anything(work: Path, command: str, said: str) -> None:
    Path("locked.csv").touch(0o444)
    np.save("s\t.npy", np.random.default_rng(0).random((12, SIDE, SIDE)))
    np.save("i\t.npy", np.random.default_rng(0).random((64, 64)))
    Path("was").mkdir()
    Path("was/model.safetensors").write_bytes(b"mine")
    write_mrc("tomogram.mrc", np.zeros((8, 8, 8), np.float32), 12.0)
    before = contents(work)
    code, line = run(*(part.replace("_TAB_", "\t") for part in command.split()))
    assert code == 2 and said in line
    assert contents(work) == before


def test_outputs_that_are_nobody_elses_are_written(work: Path) -> None:
    for command, made in [
        ("encode m.safetensors p.star -o sub/deep/p.star", "sub/deep/p.star"),
        ("detect m.safetensors i.mrc -o sub/i.csv", "sub/i.csv"),
        ("align m.safetensors p.star -o a.mrcs --poses t.star --average avg.mrc", "avg_frc.csv"),
    ]:
        assert run(*command.split(), "--quiet") == (0, "")
        assert Path(made).exists()


def test_a_model_is_replaced_only_when_asked_to(work: Path) -> None:
    model = work / "m.safetensors"
    before = model.read_bytes()
    assert run("train", "s.mrcs", "-o", model, "--overwrite", *SHORT) == (0, "")
    assert model.read_bytes() != before
    code, line = run("train", "-o", model, "--resume", "--quiet")
    assert code == 2 and "its training is done, there is nothing to resume" in line


def test_a_run_that_can_go_on_is_not_begun_anew_unasked(work: Path) -> None:
    def stopped(model: Path) -> RunFolder:
        folder = RunFolder.of(model)
        folder.path.mkdir()
        write_run(folder.run_file, TrainingRun(images=("s.mrcs",), output=str(model)))
        folder.write_state("stopped")
        return folder

    kept = stopped(work / "half.safetensors")
    before = contents(kept.path)
    code, line = run("train", "s.mrcs", "-o", kept.model, *SHORT)
    assert code == 2 and "add --resume to go on with its training" in line
    assert contents(kept.path) == before
    assert run("train", "s.mrcs", "-o", kept.model, "--overwrite", *SHORT) == (0, "")


@pytest.mark.parametrize("where", ["t.csv", "new/t.csv"])
def test_a_folder_that_can_not_be_written_is_told_before_the_work(
    work: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    never: Callable[..., None] = lambda *args, **options: pytest.fail("the work began")  # noqa: E731
    monkeypatch.setattr("napari_equipose.cli._outputs.tempfile.TemporaryFile", refuse)
    monkeypatch.setattr("napari_equipose.inference.encode", never)
    code, line = run("encode", "m.safetensors", "s.mrcs", "-o", where)
    assert code == 2 and "can't be written" in line and "Permission denied" in line
    assert not Path("new").exists()
