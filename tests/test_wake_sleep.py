"""TARGET-VAE on noisy images: it begins with classes, and learns to read what it dreams of them."""

from dataclasses import replace
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from tiny import SETTINGS
from torch import Tensor

from napari_equipose.evaluation import gauge_free_errors
from napari_equipose.geometry import ContrastTransfer, InputError, Poses, apply_poses
from napari_equipose.inference import Structures, encode, finish
from napari_equipose.models import Normalisation, TargetVAE, TargetVAEConfig
from napari_equipose.simulation import multi_object_scene
from napari_equipose.training import (
    EpochReport,
    RunFolder,
    TrainingConfig,
    TrainingRun,
    _prepare_run,
    _wake_sleep,
    create_run,
    train,
    train_run,
)
from napari_equipose.training._wake_sleep import _Dreamer, begin_with_classes

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 20
CONFIG = TargetVAEConfig(
    box_size=SIZE,
    object_size=15,
    fields=24,
    binning=2,
    translation_range=4,
    translation_std=1.5,
    subpixel=True,
    generator="bilinear",
    generator_width=32,
    n_features=64,
    feature_length=3.0,
    enumerate_rotations=True,
)


def averages() -> Tensor:
    """An arm with a fist, and a triangle of blobs: (2, 1, SIZE, SIZE)."""
    line = torch.arange(SIZE) - SIZE // 2
    y, x = line[:, None], line[None]
    arm = torch.exp(-((y / 1.5) ** 2) - (x / 5) ** 4)
    arm = arm + torch.exp(-((y - 2) ** 2 + (x - 4) ** 2) / 4)
    blobs = [
        strength * torch.exp(-((y - top) ** 2 + (x - left) ** 2) / 4)
        for top, left, strength in ((-4, 0, 1.0), (3, 4, 1.5), (3, -4, 0.7))
    ]
    return torch.stack((arm, sum(blobs, torch.zeros(())))).unsqueeze(1)


def boxes(n: int, noise: Tensor) -> tuple[Tensor, Tensor, Poses]:
    """Boxes of known kinds and poses under noise (n, 1, SIZE, SIZE)."""
    kind = torch.arange(n) % 2
    poses = Poses(torch.rand(n) * 2 * pi, torch.randn(n, 2))
    return apply_poses(averages()[kind], poses) + noise, kind, poses


def known(kind: Tensor, poses: Poses) -> Structures:
    n = len(kind)
    score = np.ones(n, np.float32)
    return Structures(averages().numpy(), np.arange(n), kind.numpy(), poses, score)


def coloured(n: int) -> Tensor:
    """Noise of which neighbours in a row are alike, of a standard deviation of 0.4."""
    white = torch.randn(n, 1, SIZE, SIZE)
    return 0.4 * (white + white.roll(1, -1)) / 2**0.5


def test_dreams_have_the_noise_of_the_boxes() -> None:
    torch.manual_seed(0)
    seen, kind, poses = boxes(400, coloured(400))
    model = TargetVAE(CONFIG)
    dreamer = _Dreamer(model, seen, TrainingConfig(), known(kind, poses))
    white = torch.randn(400, 1, SIZE, SIZE)
    noise = torch.fft.irfft2(torch.fft.rfft2(white) * dreamer.noise, s=(SIZE, SIZE))
    assert noise.std() == pytest.approx(0.4, rel=0.05)
    along = (noise * noise.roll(1, -1)).mean() / noise.square().mean()
    across = (noise * noise.roll(1, -2)).mean() / noise.square().mean()
    assert along == pytest.approx(0.5, abs=0.05) and across == pytest.approx(0, abs=0.05)


def test_kinds_and_poses_in_noise_are_read_after_dreams_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_wake_sleep, "_READING_STEPS", 300)
    torch.manual_seed(0)
    seen, kind, poses = boxes(200, coloured(200))
    model = TargetVAE(CONFIG)
    config = TrainingConfig(batch_size=64)
    contents = torch.tensor(finish(begin_with_classes(model, seen, config, known(kind, poses))))
    assert contents.shape == (2, 2)
    drawn = model.draw(contents, Poses(torch.zeros(2), torch.zeros(2, 2)))
    for picture, average in zip(drawn, averages(), strict=True):
        assert np.corrcoef(picture.detach().flatten(), average.flatten())[0, 1] > 0.95
    new, kind, poses = boxes(200, coloured(200))
    found = model.eval().infer(new)
    assert isinstance(found.poses, Poses)
    nearest = torch.cdist(found.content, contents).argmin(1)
    assert (nearest == kind).float().mean() > 0.8
    for name in range(2):
        mine = (kind == name) & (nearest == name)
        error = (found.poses.rotation - poses.rotation)[mine]
        assert gauge_free_errors(error.numpy(), 1).median < 20
    own = found.poses.compose(model.frame(found.content).inverse())  # the frame of the averages
    assert (own.translation - poses.translation).norm(dim=1).median() < 1.5


def test_a_stack_in_noise_begins_with_classes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(_wake_sleep, "_READING_STEPS", 300)
    torch.manual_seed(0)
    seen, kind, _ = boxes(160, coloured(160))
    config = TrainingConfig(
        epochs=1, steps_per_epoch=1, batch_size=64, structures=2, learning_rate=1e-6
    )
    options: dict[str, Any] = {"normalisation": Normalisation(), "device": "cpu"}
    saved = finish(train(seen, CONFIG, config, output=tmp_path / "m.safetensors", **options))
    contents = np.array(saved.record["structures"])
    assert contents.shape == (2, 2)
    found = finish(encode(saved, seen[:, 0].numpy(), device="cpu"))
    nearest = np.linalg.norm(found.content[:, None] - contents, axis=2).argmin(1)
    agree = (nearest == kind.numpy()).mean()
    assert max(agree, 1 - agree) > 0.75
    with pytest.raises(InputError, match="to look for structures, got 14; give more"):
        finish(train(seen[:16], CONFIG, config, output=tmp_path / "n.safetensors", **options))
    ones = torch.ones(len(seen))
    names = ("defocus_u", "defocus_v", "azimuth", "phase_shift")
    names += ("voltage", "spherical_aberration", "amplitude_contrast")
    ctf = ContrastTransfer(box_size=SIZE, pixel_size=2.0, **dict.fromkeys(names, ones))
    with pytest.raises(InputError, match="not with a CTF; set structures to 0"):
        finish(train(seen, CONFIG, config, output=tmp_path / "n.safetensors", ctf=ctf, **options))


@pytest.fixture(params=[(320, 60)])
def noisy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A noisy image of such a side and so many objects; steps too few to learn anything of it."""
    side, n = request.param
    monkeypatch.setattr(_prepare_run, "ENOUGH_TO_SORT", 20)
    monkeypatch.setattr(_wake_sleep, "_DRAWING_STEPS", 2)
    monkeypatch.setattr(_wake_sleep, "_READING_STEPS", 2)
    rng = np.random.default_rng(0)
    scene = multi_object_scene(rng, shape=(side, side), n=n, size=20, noise=0.0)
    image = scene.image + 0.5 * rng.normal(size=scene.image.shape)
    tifffile.imwrite(tmp_path / "noisy.tif", image.astype(np.float32))
    return tmp_path / "noisy.tif"


def begin(image: Path, name: str, **settings: Any) -> RunFolder:
    run = TrainingRun(
        images=(str(image),), box_size=20, polarity="bright", epochs=3, device="cpu",
        settings=SETTINGS | settings,
    )  # fmt: skip
    return create_run(image.with_name(f"{name}.safetensors"), run)


def test_a_noisy_image_is_learnt_from_members_of_classes_and_resumed_to_the_bit(
    noisy: Path,
) -> None:
    whole = finish(train_run(begin(noisy, "whole").path))
    assert whole.record["structures"] and whole.record["epochs"] == 3
    assert whole.record["training"]["structures"] == 8
    assert "threshold" in whole.record
    folder = begin(noisy, "parts")
    job = train_run(folder.path)
    for report in job:
        if isinstance(report, EpochReport):
            break
    job.close()
    members = np.load(folder.path / "members.npy")
    assert len(members) == whole.record["images"] and len(set(members)) == len(members)
    kept = (folder.path / "members.npy").read_bytes()
    for broken in (kept[:40], kept[:-5], kept.replace(b"<i8", b"<f8")):
        (folder.path / "members.npy").write_bytes(broken)
        with pytest.raises(InputError, match=r"members\.npy is damaged; train without --resume"):
            finish(train_run(folder.path, resume=True))
    (folder.path / "members.npy").write_bytes(kept)
    assert finish(train_run(folder.path, resume=True)).digest == whole.digest
    assert not (folder.path / "members.npy").exists()


@pytest.mark.parametrize("noisy", [(200, 24)], indirect=True)
def test_without_classes_two_rounds_are_learned_and_resumed_to_the_bit(noisy: Path) -> None:
    seen: list[Any] = []
    saved = finish(train_run(begin(noisy, "m", structures=0).path), seen.append)
    assert saved.record["training"]["structures"] == 0 and "structures" not in saved.record
    assert [r.epoch for r in seen if isinstance(r, EpochReport)] == [1, 2, 3]
    folder = begin(noisy, "parts", structures=0)
    job = train_run(folder.path)
    for report in job:
        if isinstance(report, EpochReport) and report.epoch == 2:
            break
    job.close()
    assert finish(train_run(folder.path, resume=True)).digest == saved.digest


def test_decoys_come_from_the_negatives_of_noisy_images_only(noisy: Path) -> None:
    image = tifffile.imread(noisy)
    run = TrainingRun(images=("a",), box_size=20, polarity="bright", settings=SETTINGS)
    prepared = _prepare_run.prepare_images(run, [image, image])
    assert prepared.decoys is not None
    assert prepared.decoys.among == len(prepared.boxes)
    assert prepared.decoys.boxes.shape[1:] == prepared.boxes.shape[1:]
    negative = _prepare_run.prepare_images(replace(run, polarity="dark"), [-image])
    assert len(negative.boxes) == len(prepared.positions[0])
    clean = multi_object_scene(
        np.random.default_rng(0), shape=(240, 240), n=30, size=20, noise=0.0
    ).image
    for options in ({"polarity": "bright"}, {"settings": SETTINGS | {"structures": 0}}):
        source = clean if "polarity" in options else image
        prepared = _prepare_run.prepare_images(replace(run, **options), [source])
        assert prepared.decoys is None and prepared.training_config.structures == 0
        assert prepared.training_config.learning_rate == 3e-3  # all as without classes
        assert prepared.training_config.epochs == 18
