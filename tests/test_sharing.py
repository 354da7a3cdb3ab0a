"""A model that several jobs share is on the device of each, and stays where it is."""

import numpy as np
import pytest
import tiny
import torch

from napari_equipose.inference import Notice, encode, finish
from napari_equipose.inference import _encode as encoding
from napari_equipose.models import Normalisation, OutOfMemory, SavedModel, TargetVAE

ELSEWHERE = torch.device("meta")  # a device that every torch has


@pytest.fixture
def saved() -> SavedModel:
    torch.manual_seed(0)
    model = TargetVAE(tiny.MODEL).eval()
    return SavedModel(kind="target-vae", model=model, normalisation=Normalisation())


def devices(saved: SavedModel) -> set[str]:
    assert isinstance(saved.model, torch.nn.Module)
    return {weight.device.type for weight in saved.model.state_dict().values()}


def test_where_a_model_is_there_is_no_copy(saved: SavedModel) -> None:
    assert saved.on(torch.device("cpu")) is saved


def test_a_model_stays_where_it_is_when_it_is_used_elsewhere(saved: SavedModel) -> None:
    copy = saved.on(ELSEWHERE)
    assert devices(copy) == {"meta"} and devices(saved) == {"cpu"}
    assert copy.normalisation is saved.normalisation and not copy.model.training  # type: ignore[attr-defined]
    assert saved.on(ELSEWHERE) is copy


def test_a_copy_is_made_again_when_the_weights_have_changed(saved: SavedModel) -> None:
    copy = saved.on(ELSEWHERE)
    saved.model.set_frames(torch.zeros(1, 2), torch.ones(1))  # type: ignore[attr-defined]
    again = saved.on(ELSEWHERE)
    assert again is not copy and saved.on(ELSEWHERE) is again


def test_boxes_are_encoded_in_smaller_batches_where_memory_runs_out(
    saved: SavedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = np.random.default_rng(0).normal(size=(11, 16, 16)).astype(np.float32)
    expected = finish(encode(saved, stack, device="cpu"))
    real, room = encoding._encode_batch, 3

    def narrow(model, images, *rest, **more):
        if len(images) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, images, *rest, **more)

    monkeypatch.setattr(encoding, "_encode_batch", narrow)
    reports: list[object] = []
    found = finish(encode(saved, stack, device="cpu"), reports.append)
    said = [report.message for report in reports if isinstance(report, Notice)]
    assert said == [f"memory of cpu ran out: going on with {n} boxes at a time" for n in (6, 3)]
    for one, other in zip(found, expected, strict=True):
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    room = 0
    with pytest.raises(OutOfMemory, match="single box: try the device cpu"):
        finish(encode(saved, stack, device="cpu"))
