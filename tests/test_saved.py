"""Model files: what comes back, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_equipose.geometry import InputError
from napari_equipose.models import (
    Normalisation,
    TargetVAE,
    TargetVAEConfig,
    choose_device,
    load_model,
    read_metadata,
    save_model,
)
from napari_equipose.models._saved import _numbers_of_target_vae

CONFIG = TargetVAEConfig(box_size=15, fields=4, generator_width=8, n_features=8)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(path, TargetVAE(CONFIG), Normalisation(background_sigma=7.0), {"seed": 3})
    return path


@pytest.mark.parametrize("lifting", ["interpolated", "steerable"])
@pytest.mark.parametrize("generator", ["coordinate", "bilinear"])
def test_saved_model_infers_the_same_bit_for_bit(
    tmp_path: Path, lifting: str, generator: str
) -> None:
    config = TargetVAEConfig(**{**CONFIG.__dict__, "lifting": lifting, "generator": generator})
    model = TargetVAE(config).eval()
    digest = save_model(tmp_path / "m.safetensors", model, Normalisation())
    again = load_model(tmp_path / "m.safetensors")
    assert again.model.config == config and again.digest == digest
    images = torch.rand(3, 1, 15, 15)
    before, after = model.infer(images), again.model.infer(images)
    assert torch.equal(before.poses.rotation, after.poses.rotation)
    assert torch.equal(before.content, after.content)
    pictures = [m.generate(before.content) for m in (model, again.model)]
    assert torch.equal(*pictures)


def test_file_tells_how_it_was_made(saved: Path) -> None:
    metadata = read_metadata(saved)
    assert metadata["kind"] == "target-vae" and metadata["record"] == {"seed": 3}
    assert load_model(saved).normalisation == Normalisation(background_sigma=7.0)


def _rewritten(path: Path, **changes: str) -> None:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        metadata = file.metadata() | changes
    save_file(load_file(path), path, metadata)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "other-vae"}, "unknown kind of model 'other-vae'; known are harmony, target-vae"),
        ({"format": "99"}, "written by a later version; update"),
        ({"config": json.dumps({**CONFIG.__dict__, "fields": 5})}, "weights do not fit"),
        ({"config": json.dumps({"box_size": 15, "colour": 1})}, "colour.*another version"),
    ],
)
def test_model_that_does_not_fit_is_refused(
    saved: Path, changes: dict[str, str], message: str
) -> None:
    _rewritten(saved, **changes)
    with pytest.raises(InputError, match=message):
        load_model(saved)


def test_files_that_are_no_models_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(InputError, match="no such file"):
        load_model(path)
    path.write_bytes(b"not a model")
    with pytest.raises(InputError, match="is not a model file"):
        load_model(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="no model of napari-equipose"):
        load_model(path)


def test_missing_device_is_refused() -> None:
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(InputError, match="unknown device 'tpu9000'"):
        choose_device("tpu9000")
    with pytest.raises(InputError, match="not available here"):
        choose_device("cuda:63")


@pytest.mark.parametrize("lifting", ["interpolated", "steerable"])
@pytest.mark.parametrize("generator", ["coordinate", "bilinear"])
@pytest.mark.parametrize(
    "sizes",
    [
        {"box_size": 15, "fields": 4, "generator_width": 8, "n_features": 8},
        {"box_size": 33, "fields": 64, "channels": 3, "content_dim": 9, "generator_layers": 5},
        {"box_size": 96, "object_size": 24, "binning": 2, "n_rotations": 16, "n_features": 4096},
    ],
)
def test_the_size_that_is_reckoned_is_that_of_the_network(
    sizes: dict[str, int], generator: str, lifting: str
) -> None:
    config = TargetVAEConfig(**{**sizes, "generator": generator, "lifting": lifting, "rings": 3})
    model = TargetVAE(config)
    turned = model.encoder.lift.filters().numel()
    basis = [v for n, v in model.named_buffers() if n.startswith("encoder.lift.basis")]
    held = sum(value.numel() for value in [*model.parameters(), *model.buffers()])
    held += turned - sum(value.numel() for value in basis)
    assert held <= _numbers_of_target_vae(config) <= 2 * held + 1000


def test_a_model_is_loaded_without_torchs_compiler(saved: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from napari_equipose.models import load_model\n"
        f"load_model(Path({str(saved)!r})); print('torch._dynamo' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
