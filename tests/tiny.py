"""The smallest networks, and trainings that learn next to nothing, quickly."""

from pathlib import Path

import torch

from napari_equipose.models import (
    Harmony,
    HarmonyConfig,
    Normalisation,
    TargetVAEConfig,
    save_model,
)

MODEL = TargetVAEConfig(
    box_size=16,
    object_size=9,
    fields=4,
    generator="bilinear",
    generator_width=8,
    n_features=8,
    translation_range=2,
    subpixel=True,
    enumerate_rotations=True,
)
SETTINGS = {
    **{"fields": 4, "n_rotations": 4, "generator_width": 8, "n_features": 8},
    **{"steps_per_epoch": 2, "batch_size": 8},
}
"""Fields of the configurations, as a run has them."""

HARMONY = {"width": 4, "n_pictures": 4, "hypotheses": 4, "structures": 0}
HARMONY |= {"steps_per_epoch": 2, "batch_size": 4}
"""The same of Harmony."""


def typed(**more: int) -> str:
    """Write the settings, and more of them, as a person types them into the Train panel."""
    return " ".join(f"{name}={value}" for name, value in (SETTINGS | more).items())


def untrained_harmony(path: Path, *, box_size: int, dimensions: int = 3) -> Path:
    """Write a model that has learned nothing, with poses all the same."""
    torch.manual_seed(0)
    network = {name: HARMONY[name] for name in ("width", "n_pictures", "hypotheses")}
    config = HarmonyConfig(
        box_size=box_size, dimensions=dimensions, translation_range=box_size / 8, **network
    )
    save_model(path, Harmony(config).eval(), Normalisation())
    return path
