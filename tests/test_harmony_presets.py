"""Presets of Harmony, and that the one training loop trains it."""

from dataclasses import replace
from math import pi

import pytest
import torch

from napari_equipose.geometry import InputError
from napari_equipose.models import Harmony
from napari_equipose.training import EpochReport, fit, harmony_preset


def test_paper_has_one_hypothesis_and_the_papers_weight() -> None:
    config, training = harmony_preset("paper", box_size=40, n_images=3000)
    assert config.hypotheses == 1 and config.gamma is None and config.training_size == 3000
    assert config.infers == {"rotation", "translation"} and config.content_dim == 1
    assert training.schedule == "plateau"


@pytest.mark.parametrize("dimensions", [2, 3])
def test_fast_tries_several_poses(dimensions: int) -> None:
    config, training = harmony_preset("fast", box_size=32, dimensions=dimensions)
    assert config.hypotheses > 4 and config.dimensions == dimensions
    assert config.rotation_range == pi and config.translation_range == 4.0
    assert training.schedule == "cosine"


@pytest.mark.parametrize("transformations", [{"scale"}, {"contrast", "translation"}])
def test_only_what_is_asked_for_is_inferred(transformations: set[str]) -> None:
    for name in ("fast", "paper"):
        config, _ = harmony_preset(name, box_size=32, transformations=transformations)
        assert config.infers == transformations and config.hypotheses == 1


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="preset must be one of fast, paper for Harmony, got 'x'"):
        harmony_preset("x", box_size=32)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"transformations are rotation.*got skew"):
        harmony_preset("fast", box_size=32, transformations=["skew"])


@pytest.mark.parametrize("dimensions", [2, 3])
def test_training_loop_lowers_the_loss(dimensions: int) -> None:
    config, training = harmony_preset("fast", box_size=16, dimensions=dimensions, n_images=20)
    config = replace(config, width=4, n_pictures=4, hypotheses=2)
    training = replace(training, epochs=4, steps_per_epoch=6, batch_size=8, warm_up_steps=0)
    torch.manual_seed(0)
    line = torch.arange(16) - 8.0
    axes = torch.meshgrid(*[line] * dimensions, indexing="ij")
    blob = torch.exp(-sum(axis.square() for axis in axes) / 12)
    images = blob.expand(20, 1, *blob.shape) * torch.linspace(0.8, 1.2, 20).reshape(
        -1, *[1] * (dimensions + 1)
    )
    torch.manual_seed(0)
    reports = [r for r in fit(Harmony(config), images, training) if isinstance(r, EpochReport)]
    assert len(reports) == 4
    assert reports[-1].validation_loss < 0.8 * reports[0].validation_loss
    assert set(reports[0].parts) == {"decoded", "aligned", "decoded_copy", "kl_content"}
