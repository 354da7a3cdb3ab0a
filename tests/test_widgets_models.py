"""The shelf: every model of a session by name, a few of them in memory."""

from pathlib import Path

import pytest

from napari_equipose.geometry import InputError
from napari_equipose.models import (
    Normalisation,
    TargetVAE,
    TargetVAEConfig,
    load_model,
    save_model,
)
from napari_equipose.widgets import _models
from napari_equipose.widgets._models import ModelShelf

CONFIG = TargetVAEConfig(box_size=15, fields=4, generator_width=8, n_features=8)
N = _models._IN_MEMORY


@pytest.fixture
def full(tmp_path: Path) -> ModelShelf:
    shelf = ModelShelf()
    for number in range(N + 3):
        path = tmp_path / f"m{number}.safetensors"
        save_model(path, TargetVAE(CONFIG), Normalisation())
        shelf.put(load_model(path), path)
    return shelf


def test_all_models_are_listed_and_the_last_few_are_in_memory(full: ModelShelf) -> None:
    assert list(full) == [f"m{number}" for number in range(N + 3)]
    assert list(full._models) == [f"m{number}" for number in range(3, N + 3)]


def test_what_tells_whether_a_model_suits_is_known_without_reading_it(full: ModelShelf) -> None:
    for path in {shelved.path for shelved in map(full.__getitem__, full)}:
        path.unlink()
    facts = full.facts("m0")
    assert (facts.box_size, facts.channels) == (15, 1)
    assert facts.capabilities.dimensions == {2}


def test_a_model_that_is_not_in_memory_is_read_again(full: ModelShelf) -> None:
    again = full["m0"]
    assert again.saved.digest == load_model(again.path).digest
    assert full["m0"] is again  # and stays, since it was used last
    assert len(full._models) == N and "m3" not in full._models


def test_a_model_whose_file_is_gone_stays_in_memory(full: ModelShelf, tmp_path: Path) -> None:
    kept = full["m4"]
    kept.path.unlink()
    for name in ("m0", "m1", "m2", "m3", "m5", "m6"):
        assert full[name].name == name
    assert full["m4"] is kept
    assert len(full._models) == N


def test_a_model_that_was_put_away_and_lost_its_file_is_refused(full: ModelShelf) -> None:
    (full["m6"].path.parent / "m0.safetensors").unlink()
    with pytest.raises(InputError, match=r"m0.safetensors: no such file"):
        full["m0"]


def test_models_of_one_file_name_are_told_apart(full: ModelShelf, tmp_path: Path) -> None:
    other = tmp_path / "other" / "m0.safetensors"
    save_model(other, TargetVAE(CONFIG), Normalisation())
    name = full.load(other)
    assert name == f"m0 ({other.parent})"
    assert full["m0"].saved.digest != full[name].saved.digest
