"""Memory that runs out: work in halves, the same result, and a way out where halves don't help."""

import numpy as np
import pytest
import tiny
import torch
from test_fit import QUICK, Level, epochs, images

from napari_equipose.inference import DetectionConfig, Notice, Picks, detect, finish
from napari_equipose.inference import _detect as detection
from napari_equipose.models import (
    LossTerms,
    Normalisation,
    OutOfMemory,
    SavedModel,
    TargetVAE,
    is_out_of_memory,
)
from napari_equipose.training import TrainingConfig, fit

SAYINGS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    RuntimeError("MPS backend out of memory (MPS allocated: 18 GB)"),
    MemoryError(),
]


class Narrow(Level):
    """Has room for a few images only."""

    def __init__(self, room: int, error: BaseException) -> None:
        super().__init__()
        self.room, self.error = room, error

    def loss(self, images: torch.Tensor) -> LossTerms:
        if len(images) > self.room:
            raise self.error
        return super().loss(images)


@pytest.mark.parametrize("error", SAYINGS, ids=lambda error: type(error).__name__)
def test_halves_make_the_step_of_the_whole_batch(error) -> None:
    config = TrainingConfig(epochs=3, batch_size=8, learning_rate=0.1)
    boxes = torch.randn(30, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    whole, halves = Level(), Narrow(3, error)
    expected = epochs(fit(whole, boxes, config))
    reports = list(fit(halves, boxes, config))
    notices = [report.message for report in reports if isinstance(report, Notice)]
    assert notices == [f"memory of cpu ran out: going on with {n} boxes at a time" for n in (4, 2)]
    assert halves.grey.item() == pytest.approx(whole.grey.item(), rel=1e-5)
    for one, other in zip(expected, epochs(reports), strict=True):
        assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-5)
        assert one.loss == pytest.approx(other.loss, rel=1e-5)


def test_a_single_image_that_is_too_much_is_said() -> None:
    with pytest.raises(OutOfMemory, match="single box: try the device cpu"):
        list(fit(Narrow(0, SAYINGS[0]), images(), QUICK))


def test_other_errors_are_not_taken_for_it() -> None:
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert not is_out_of_memory(error)
    with pytest.raises(RuntimeError, match="mat1"):
        list(fit(Narrow(3, error), images(), QUICK))


def test_detection_begins_again_with_smaller_tiles(monkeypatch) -> None:
    torch.manual_seed(0)
    saved = SavedModel(
        kind="target-vae", model=TargetVAE(tiny.MODEL), normalisation=Normalisation()
    )
    image = np.random.default_rng(0).normal(size=(80, 80)).astype(np.float32)
    config = DetectionConfig(threshold=0.01)
    expected = finish(detect(saved, image, config, device="cpu"))
    real, room = detection.find_candidates, 40

    def narrow(model, seen, tile_size, *rest):
        if tile_size > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return (yield from real(model, seen, tile_size, *rest))

    monkeypatch.setattr(detection, "find_candidates", narrow)
    reports: list[object] = []
    found: Picks = finish(detect(saved, image, config, device="cpu"), reports.append)
    notices = [report.message for report in reports if isinstance(report, Notice)]
    said = "memory of cpu ran out: beginning again in tiles of {} pixels"
    assert notices == [said.format(64), said.format(32)]
    assert len(found.score) == len(expected.score) > 0
    np.testing.assert_allclose(found.positions, expected.positions, atol=1e-2)
    room = 0
    with pytest.raises(OutOfMemory, match="device cpu, or a part of the image"):
        finish(detect(saved, image, config, device="cpu"))
