"""Categories of objects from their content alone."""

import numpy as np
import pytest
import torch

from napari_equipose.geometry import InputError
from napari_equipose.inference import categories_of
from napari_equipose.models import (
    MCEVAE,
    MCEVAEConfig,
    Normalisation,
    SavedModel,
    TargetVAE,
    TargetVAEConfig,
)


def saved_of(model: torch.nn.Module, kind: str) -> SavedModel:
    return SavedModel(kind=kind, model=model, normalisation=Normalisation())


def test_categories_from_content_are_those_that_the_model_infers() -> None:
    torch.manual_seed(0)
    network = {"width": 2, "hidden": 8, "hidden_decoder": 8, "copies": 1}
    model = MCEVAE(MCEVAEConfig(box_size=16, content_dim=2, categories=3, **network)).eval()
    images = torch.randn(20, 1, 16, 16) * torch.linspace(0.1, 3, 20)[:, None, None, None]
    content = model.infer(images).content
    model.set_categories(content[[0, 8, 19], -3:], 0.1)
    found = model.infer(images)
    wanted = found.categories.argmax(1).numpy()
    assert len(np.unique(wanted)) == 3
    labels = categories_of(saved_of(model, "mce-vae"), found.content.numpy())
    np.testing.assert_array_equal(labels, wanted)
    with pytest.raises(InputError, match="content has 5 dimensions"):
        categories_of(saved_of(model, "mce-vae"), np.zeros((4, 2)))


def test_a_model_without_categories_says_so() -> None:
    model = TargetVAE(TargetVAEConfig(box_size=16, fields=2, generator_width=4, n_features=4))
    with pytest.raises(InputError, match="no categories of its own"):
        categories_of(saved_of(model, "target-vae"), np.zeros((4, 2)))
