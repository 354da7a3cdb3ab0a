"""Settings of a run, and the file that repeats one."""

import json
from pathlib import Path

import numpy as np
import pytest

from napari_equipose.geometry import InputError
from napari_equipose.training import (
    TrainingRun,
    choose_likelihood,
    prepare_stack,
    read_run,
    write_run,
)


def test_a_run_comes_back_from_its_file(tmp_path: Path) -> None:
    run = TrainingRun(
        images=(str(tmp_path / "a.mrc"), str(tmp_path.parent.parent / "b.mrc")),
        output=str(tmp_path / "m.safetensors"),
        preset="balanced",
        box_size=48,
        polarity="dark",
        minutes=2.5,
        settings={"fields": 32, "subpixel": False, "learning_rate": 1e-3},
    )
    write_run(tmp_path / "run.json", run)
    assert read_run(tmp_path / "run.json") == run


def test_names_of_files_start_at_the_folder_of_the_run_file(tmp_path, monkeypatch) -> None:
    folder, elsewhere = tmp_path / "work" / "m.run", tmp_path / "elsewhere"
    for path in (folder, elsewhere):
        path.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    run = TrainingRun(images=("stack.npy", str(elsewhere / "b.npy")), output="m.safetensors")
    write_run(folder / "run.json", run)
    monkeypatch.chdir(elsewhere)
    moved = (tmp_path / "work").rename(tmp_path / "moved")
    read = read_run(Path("..") / "moved" / "m.run" / "run.json")
    assert read.images == (str(moved / "stack.npy"), str(elsewhere / "b.npy"))
    assert read.output == str(moved / "m.safetensors")


def test_a_run_file_may_name_a_few_settings_only(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"content_dim": 4}')
    assert read_run(path) == TrainingRun(content_dim=4)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("fields", "32", 32),
        ("epochs", "1e3", 1000),
        ("learning_rate", "2e-4", 2e-4),
        ("subpixel", "false", False),
        ("noise_std", "none", None),
        ("noise_std", "0.5", 0.5),
        ("generator", "coordinate", "coordinate"),
    ],
)
def test_text_takes_the_type_of_its_field(name: str, text: str, value: object) -> None:
    typed = TrainingRun(settings={name: text}).settings[name]
    assert typed == value
    assert type(typed) is type(value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"feilds": 3}, "no setting 'feilds'.*fields.*learning_rate"),
        ({"fields": "3.5"}, "fields must be a whole number"),
        ({"subpixel": "perhaps"}, "true or false"),
        ({"generator": "cubic"}, "one of coordinate, bilinear"),
    ],
)
def test_settings_that_can_not_be_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainingRun(settings=settings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a run file"),
        ("[1]", "not a run file"),
        ('{"prset": "fast"}', "no setting 'prset'"),
        ('{"preset": "quick"}', "preset must be one of fast"),
        ('{"images": "a.mrc"}', "list of file names"),
        ('{"settings": [1]}', "names with values"),
        ('{"format": 99}', "later version"),
    ],
)
def test_a_broken_run_file_is_refused_by_name(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as refusal:
        read_run(path)
    assert str(path) in str(refusal.value)


def test_the_file_is_plain_json(tmp_path: Path) -> None:
    write_run(tmp_path / "run.json", TrainingRun(settings={"fields": 8}))
    content = json.loads((tmp_path / "run.json").read_text())
    assert content["settings"] == {"fields": 8}
    assert content["preset"] == "fast"


def test_settings_win_over_options_and_options_over_the_preset() -> None:
    stack = np.random.default_rng(0).normal(size=(12, 24, 24))
    run = TrainingRun(epochs=3, seed=5, settings={"seed": 6, "fields": 8})
    prepared = prepare_stack(run, stack)
    assert (prepared.training_config.epochs, prepared.training_config.seed) == (3, 6)
    assert prepared.model_config.fields == 8
    with pytest.raises(InputError, match="box_size is 24"):
        prepare_stack(TrainingRun(settings={"box_size": 20}), stack)


def test_likelihood_follows_the_pixels_unless_it_is_given() -> None:
    rng = np.random.default_rng(0)
    masks = (rng.random((20, 24, 24)) > 0.7).astype(np.uint8) * 255
    noise = rng.normal(size=(20, 24, 24))
    few_bright = np.clip(rng.gamma(1, size=(20, 24, 24)), 0, 8)
    assert choose_likelihood(masks) == "bernoulli"
    assert choose_likelihood(noise) == "gaussian"
    assert choose_likelihood(few_bright) == "gaussian"
    prepared = prepare_stack(TrainingRun(likelihood="gaussian"), masks)
    assert prepared.model_config.likelihood == "gaussian"
    assert prepared.normalisation.kind == "standard"
