"""Model files: what comes back, and what is refused."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_equipose import __version__
from napari_equipose.geometry import InputError
from napari_equipose.models import (
    Capabilities,
    HarmonyConfig,
    ModelKind,
    Normalisation,
    TargetVAE,
    TargetVAEConfig,
    choose_device,
    load_model,
    model_kind,
    model_kinds,
    read_metadata,
    save_model,
)
from napari_equipose.models._sizes import numbers_of_target_vae

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
        (
            {"kind": "other-vae"},
            "unknown kind of model 'other-vae'; known are .*harmony.* install",
        ),
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
    assert held <= numbers_of_target_vae(config) <= 2 * held + 1000


def test_a_model_is_loaded_without_torchs_compiler(saved: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from napari_equipose.models import load_model\n"
        f"load_model(Path({str(saved)!r})); print('torch._dynamo' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


class _Theirs(torch.nn.Module):
    """A system of another package: its content is the mean, its picture a level."""

    def __init__(self, config: "_TheirConfig") -> None:
        super().__init__()
        self.config, self.level = config, torch.nn.Parameter(torch.tensor(0.5))

    capabilities = Capabilities(
        dimensions=frozenset({2}), infers=frozenset(), fully_convolutional=False, clusters=False
    )

    def infer(self, images: Any) -> Any: ...

    def generate(self, content: Any, poses: Any = None, box_size: int | None = None) -> Any: ...

    def loss(self, images: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class _TheirConfig:
    box_size: int
    channels: int = 1
    content_dim: int = 1


theirs = ModelKind(model=_Theirs, config=_TheirConfig)
no_kind = 3


@pytest.fixture
def other_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install packages that add kinds: one that works, and others with faults."""
    about = tmp_path / "site" / "others-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[napari_equipose.models]\n"
        f"theirs = {__name__}:theirs\n"
        f"harmony = {__name__}:theirs\n"
        "missing = no_such_package:kind\n"
        f"no-kind = {__name__}:no_kind\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


@pytest.mark.usefixtures("other_packages")
def test_a_kind_of_another_package_is_saved_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, _Theirs(_TheirConfig(box_size=9)), Normalisation())  # type: ignore[arg-type]
    again = load_model(path)
    assert again.kind == "theirs" and again.model.config == _TheirConfig(box_size=9)
    assert {"theirs", "missing", "target-vae"} <= set(model_kinds())
    assert model_kind("harmony").config is HarmonyConfig  # ours goes before theirs
    _rewritten(path, config=json.dumps({"box_size": "nine"}))
    with pytest.raises(InputError, match="configuration of theirs: box_size can't be 'nine'"):
        load_model(path)


@pytest.mark.usefixtures("other_packages")
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "'missing', which the package others adds, can't be loaded .*no_such_package"),
        ("no-kind", "'no-kind', which the package others adds, is of type int, and a Mod"),
    ],
)
def test_a_broken_kind_of_another_package_breaks_no_other(
    saved: Path, kind: str, message: str
) -> None:
    assert load_model(saved).kind == "target-vae"
    assert kind in model_kinds()
    _rewritten(saved, kind=kind)
    with pytest.raises(InputError, match=f"{saved.name}: .*{message}.*update or remove it"):
        load_model(saved)


def test_a_model_of_no_kind_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="_Theirs is no known kind of model"):
        save_model(
            tmp_path / "m.safetensors",
            _Theirs(_TheirConfig(box_size=9)),  # type: ignore[arg-type]
            Normalisation(),
        )


@pytest.mark.parametrize(
    ("record", "advice"),
    [
        ({}, "another version\\? Update"),
        ({"versions": {"napari-equipose": "99.0"}}, "99.0 wrote it, this is .* use the later"),
        ({"versions": {"napari-equipose": __version__}}, "This version wrote it"),
        ({"versions": ["99.0"]}, "another version"),
    ],
)
def test_a_file_of_another_version_says_what_to_do(
    saved: Path, record: dict[str, object], advice: str
) -> None:
    config = json.dumps({**CONFIG.__dict__, "from_the_future": 1})
    _rewritten(saved, config=config, record=json.dumps(record))
    with pytest.raises(InputError, match=f"no field 'from_the_future'.*{advice}"):
        load_model(saved)
