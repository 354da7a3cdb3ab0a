"""The smallest networks, and trainings that learn next to nothing, quickly."""

from napari_equipose.models import TargetVAEConfig

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

HARMONY = {"width": 4, "n_pictures": 4, "hypotheses": 4, "steps_per_epoch": 2, "batch_size": 4}
"""The same of Harmony."""


def typed(**more: int) -> str:
    """Write the settings, and more of them, as a person types them into the Train panel."""
    return " ".join(f"{name}={value}" for name, value in (SETTINGS | more).items())
