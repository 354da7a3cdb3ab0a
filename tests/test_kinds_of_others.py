"""A kind of another package, written as docs/models.md says, through all that works on models."""

import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from test_cli import refuse, succeed
from test_refused_at_the_call import IMAGE
from tiny import MODEL

from napari_equipose.geometry import InputError, Poses3D
from napari_equipose.inference import align, detect, detect_volume, draw_content, encode, finish
from napari_equipose.io import read_table
from napari_equipose.models import (
    Capabilities,
    LossTerms,
    ModelKind,
    Normalisation,
    Posterior,
    SavedModel,
    TargetVAE,
    build_model,
    load_model,
    model_kind,
    save_model,
)
from napari_equipose.training import (
    TrainingRun,
    create_run,
    kinds,
    prepare_stack,
    train_prepared,
    train_run,
    why_not,
)

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
SHORT = {"epochs": 2, "device": "cpu", "settings": {"steps_per_epoch": 4, "batch_size": 8}}
BLOBS = ndimage.gaussian_filter(
    np.random.default_rng(0).normal(size=(24, 16, 16)).astype(np.float32), (0, 2, 2)
)

Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a package that adds kinds where Python finds it: its entry points, and its code."""
    names = []

    def add(entries: str, code: str = "", name: str = "my_package") -> None:
        about = tmp_path / "site" / f"{name}-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[napari_equipose.models]\n{entries}\n")
        (tmp_path / "site" / f"{name}.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        names.append(name)

    yield add
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def my_vae(install: Install) -> None:
    """Install the example of the page, word by word."""
    section = PAGE.read_text(encoding="utf-8").split("## Kinds of other packages")[1]
    blocks = dict(re.findall(r"^```(\w+)\n(.*?)^```", section, re.DOTALL | re.MULTILINE))
    groups = tomllib.loads(blocks["toml"])["project"]["entry-points"]
    (entries,) = groups.values()
    assert list(groups) == ["napari_equipose.models"]
    install("\n".join(f"{name} = {place}" for name, place in entries.items()), blocks["python"])


@pytest.mark.usefixtures("my_vae")
def test_the_example_of_the_page_works_from_training_to_pictures(tmp_path: Path) -> None:
    np.save(tmp_path / "boxes.npy", BLOBS)
    run = TrainingRun(images=[str(tmp_path / "boxes.npy")], model="my-vae", **SHORT)
    folder = create_run(tmp_path / "M.safetensors", run)
    trained = finish(train_run(folder.path))
    saved = load_model(tmp_path / "M.safetensors")
    assert saved.kind == "my-vae" and saved.digest == trained.digest
    found = finish(encode(saved, BLOBS, device="cpu"))
    assert found.content.shape == (24, 2) and found.translation.shape == (24, 2)
    assert np.isfinite(found.score).all() and (found.score <= 1).all()
    shown = finish(align(saved, BLOBS, device="cpu"))
    assert shown.averages[0].average.shape == (16, 16)
    np.testing.assert_allclose(shown.encoding.content, found.content, rtol=1e-5)
    drawn = draw_content(saved, found.content)
    assert drawn.shape == BLOBS.shape
    # what is drawn, laid where the object is, is what the score is of
    power = Normalisation().of_stack(BLOBS)
    model = saved.model
    with torch.no_grad():
        seen = model.infer(torch.from_numpy(power)[:, None])
        laid = model.generate(seen.content, seen.poses)[:, 0].numpy()
    all_of_it = 1 - ((power - laid) ** 2).sum((1, 2)) / (power**2).sum((1, 2))
    assert np.abs(all_of_it - found.score).max() < 0.25  # which counts no corners
    assert np.corrcoef(all_of_it, found.score)[0, 1] > 0.5


@pytest.mark.usefixtures("my_vae")
def test_the_example_of_the_page_works_by_commands(tmp_path: Path) -> None:
    stack, model = tmp_path / "boxes.npy", tmp_path / "M.safetensors"
    np.save(stack, BLOBS)
    short = ["--epochs", "1", "--device", "cpu", "--set", "width=8", "--set", "batch_size=8"]
    succeed("train", stack, "-o", model, "--model", "my-vae", *short)
    told = succeed("info", model).output
    for line in ("kind: my-vae", "infers: translation, content", "width: 8"):
        assert line in told
    succeed("encode", model, stack, "-o", tmp_path / "t.csv", "--device", "cpu")
    assert len(read_table(tmp_path / "t.csv")) == 24
    poses = tmp_path / "p.csv"
    succeed("align", model, stack, "-o", tmp_path / "a.mrcs", "--poses", poses, "--device", "cpu")
    image = tmp_path / "large.npy"
    np.save(image, IMAGE)
    said = refuse("detect", model, image, "-o", tmp_path / "d.csv")
    assert "my-vae model has no encoder that runs over a large image" in said


@pytest.mark.usefixtures("my_vae")
def test_panels_offer_the_example_for_boxes_and_say_why_not_for_images() -> None:
    assert kinds()["my-vae"].presets == ("fast",)
    assert why_not("my-vae", "stack") == "" and why_not("my-vae", "points") == ""
    assert "finds no objects in large images" in why_not("my-vae", "image")
    assert "is of images" in why_not("my-vae", "stack", 3)


# Volumes


@dataclass(frozen=True, kw_only=True)
class _Ball:
    """Of a ball, which is all that the model draws."""

    box_size: int
    channels: int = 1
    content_dim: int = 1


class _Balls(torch.nn.Module):
    def __init__(self, config: _Ball) -> None:
        super().__init__()
        self.config, self.level = config, torch.nn.Parameter(torch.tensor(1.0))

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            dimensions=frozenset({3}),
            infers=frozenset({"rotation"}),
            fully_convolutional=False,
            clusters=False,
        )

    def infer(self, images: torch.Tensor) -> Posterior:
        content = images.new_zeros(len(images), 1)
        return Posterior(Poses3D.identity(len(images)), content, torch.ones_like(content))

    def generate(
        self, content: torch.Tensor, poses: object = None, box_size: int | None = None
    ) -> torch.Tensor:
        return torch.from_numpy(ball(self.config.box_size)).expand(len(content), 1, -1, -1, -1)

    def loss(self, images: torch.Tensor) -> LossTerms:
        total = (images - self.level).square().mean()
        return LossTerms(total, {"error": total})


def ball(size: int, *middle: int) -> np.ndarray:
    points = np.indices((size,) * 3) - np.reshape(middle or (size // 2,) * 3, (3, 1, 1, 1))
    return np.exp(-0.5 * (points**2).sum(0) / 2.0**2).astype(np.float32)


balls = ModelKind(model=_Balls, config=_Ball, dimensions=frozenset({3}), finds_in=frozenset({3}))


def test_a_kind_that_draws_volumes_finds_objects_and_is_aligned(
    install: Install, tmp_path: Path
) -> None:
    install(f"balls = {__name__}:balls", "", name="balls_package")
    save_model(tmp_path / "M.safetensors", build_model("balls", {"box_size": 12}), Normalisation())
    saved = load_model(tmp_path / "M.safetensors")
    rng = np.random.default_rng(0)
    noise = 0.02 * rng.normal(size=(32, 32, 32)).astype(np.float32)
    places = [[9, 10, 10], [22, 21, 11], [16, 14, 23]]
    volume = sum((ball(32, *place) for place in places), start=noise)
    found = finish(detect_volume(saved, volume, device="cpu"))
    nearest = np.linalg.norm(found.positions[:, None] - np.array(places), axis=-1)
    assert (nearest.min(0) < 1).all()
    boxes = np.stack([ball(12)] * 8) + 0.02 * rng.normal(size=(8, 12, 12, 12))
    encoding = finish(encode(saved, boxes.astype(np.float32), device="cpu"))
    assert encoding.score.min() > 0.2 and encoding.rotation.shape == (8, 3, 3)


# Kinds that lack something


def test_a_kind_that_says_it_finds_objects_in_images_must_be_able_to(install: Install) -> None:
    code = (
        "from dataclasses import dataclass\nimport torch\n"
        "from napari_equipose.models import ModelKind, TargetVAEConfig\n"
        "@dataclass(frozen=True)\nclass Small:\n    box_size: int\n    channels: int = 1\n"
        "    content_dim: int = 1\n"
        "@dataclass(frozen=True)\nclass None_:\n    box_size: int\n"
        "class Net(torch.nn.Module):\n    def __init__(self, config): super().__init__()\n"
        "in_images = {'finds_in': frozenset({2})}\n"
        "small = ModelKind(model=Net, config=Small, **in_images)\n"
        "able = ModelKind(model=Net, config=TargetVAEConfig, **in_images)\n"
        "none = ModelKind(model=Net, config=None_)\n"
        "empty = ModelKind(model=Net, config=Small)\n"
        "made = ModelKind(model=lambda config: Net(config), config=TargetVAEConfig, **in_images)\n"
    )
    names = ("small", "able", "none", "empty", "made")
    install("\n".join(f"{name} = my_package:{name}" for name in names), code)
    for name, lacks in (
        ("small", "binning, canonical_size, focus, kernel_size, n_rotations, object_size in its"),
        ("able", "the methods of models.SupportsPicking"),
        ("none", "channels, content_dim in its configuration"),
    ):
        with pytest.raises(InputError, match=f"'{name}', which the package my_package .*{lacks}"):
            model_kind(name)
        assert lacks in why_not(name, "stack")
        assert name not in kinds()
    for name in ("empty", "made"):  # it shows when there is a model
        with pytest.raises(InputError, match=f"{name}.* makes a Net, which is no torch.nn.Module"):
            build_model(name, {"box_size": 16})


def test_what_can_not_learn_from_large_images_is_refused_before_it_learns(tmp_path: Path) -> None:
    prepared = prepare_stack(TrainingRun(model="vae", **SHORT), BLOBS)._replace(images=(IMAGE,))
    with pytest.raises(InputError, match="vae model finds no objects in large images"):
        train_prepared(prepared, output=tmp_path / "M.safetensors", kind="vae", device="cpu")


class _Boastful(TargetVAE):
    """Says that it runs over large images, but has no such method."""

    score_places = None  # type: ignore[assignment]


def test_a_model_that_only_says_that_it_finds_objects_encodes_and_is_refused_in_images() -> None:
    saved = SavedModel(kind="theirs", model=_Boastful(MODEL), normalisation=Normalisation())
    assert saved.model.capabilities.fully_convolutional
    with pytest.raises(InputError, match=r"does not do what models\.SupportsPicking"):
        detect(saved, IMAGE)
    assert np.isfinite(finish(encode(saved, BLOBS[:4], device="cpu")).score).all()
