"""What is made once and shared: that it is, that nobody changes it, that it does not pile up."""

from dataclasses import replace

import pytest
import tiny
import torch
from torch import Tensor

from napari_equipose.geometry import (
    MissingWedge,
    Poses,
    apply_poses,
    centred_grid,
    constant,
    numbers_like,
)
from napari_equipose.geometry import _constants as kept
from napari_equipose.models import (
    MCEVAE,
    VAE,
    Harmony,
    HarmonyConfig,
    MCEVAEConfig,
    SpatialVAE,
    SpatialVAEConfig,
    TargetVAE,
    VAEConfig,
)

ONE = torch.zeros(1)


def test_the_same_is_made_once_for_each_type() -> None:
    grid = constant(centred_grid, (5, 6), like=ONE)
    assert torch.equal(grid, centred_grid((5, 6)))
    assert constant(centred_grid, (5, 6), like=ONE) is grid
    assert constant(centred_grid, (5, 6), like=ONE.double()).dtype == torch.float64
    assert constant(centred_grid, (6, 5), like=ONE).shape == (6, 5, 2)


def test_settings_that_are_equal_share_a_mask() -> None:
    def mask(**range_deg: float) -> Tensor:
        wedge = MissingWedge(**range_deg)
        return constant(MissingWedge.mask, wedge, 8, like=ONE, dtype=torch.bool)

    assert mask(tilt_max_deg=50) is mask(tilt_max_deg=50)
    assert not torch.equal(mask(tilt_max_deg=50), mask(tilt_max_deg=10))


def test_what_inference_has_made_serves_training() -> None:
    kept._kept.clear()
    poses = Poses(torch.ones(1), torch.ones(1, 2))
    with torch.inference_mode():
        apply_poses(torch.ones(1, 1, 7, 7), poses)
    learned = torch.ones(1, requires_grad=True)
    apply_poses(torch.ones(1, 1, 7, 7), poses, scale=learned).sum().backward()
    assert learned.grad is not None


def test_it_does_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_kept", type(kept._kept)())
    monkeypatch.setattr(kept, "_MOST_BYTES", 4000)
    first = numbers_like(range(100), ONE)
    for n in range(20):
        assert len(numbers_like(range(n, n + 100), ONE)) == 100
        assert numbers_like(range(100), ONE) is first  # in use
    assert sum(value.nbytes for value in kept._kept.values()) <= 4000
    assert constant(centred_grid, (99, 99), like=ONE).shape == (99, 99, 2)
    assert numbers_like(range(100), ONE) is first  # what is too large to keep drives nothing out


WIDE = {"encoder_width": 8, "generator_width": 8}
MODELS = [
    TargetVAE(tiny.MODEL),
    TargetVAE(replace(tiny.MODEL, generator="coordinate", lifting="interpolated")),
    SpatialVAE(SpatialVAEConfig(box_size=16, n_features=8, squares=True, **WIDE)),
    SpatialVAE(SpatialVAEConfig(box_size=8, dimensions=3, **WIDE)),
    MCEVAE(MCEVAEConfig(box_size=16, width=4, copies=2, group="SIM2")),
    VAE(VAEConfig(box_size=16, **WIDE)),
    Harmony(HarmonyConfig(box_size=16, width=4, hypotheses=4, scale_range=1.2, low_pass=3.0)),
    Harmony(
        HarmonyConfig(box_size=16, dimensions=3, width=4, tilt_min_deg=-60, tilt_max_deg=60)
    ),
    Harmony(HarmonyConfig(box_size=16, dimensions=3, width=4, rotation_range=1.0)),
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_no_model_changes_what_is_shared(model: Harmony) -> None:
    kept._kept.clear()
    d = model.config.dimensions if hasattr(model.config, "dimensions") else 2
    images = torch.randn(4, 1, *(model.config.box_size,) * d)
    model.loss(images).total.backward()
    model.infer(images)
    model.generate(torch.zeros(2, model.infer(images).content.shape[1]))
    for (make, arguments, _, dtype), value in kept._kept.items():
        assert torch.equal(value, make(*arguments).to(dtype))
