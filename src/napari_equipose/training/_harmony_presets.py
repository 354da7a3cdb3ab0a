"""Presets of Harmony: network and training settings that belong together."""

from collections.abc import Collection
from dataclasses import replace
from math import pi
from typing import Any, Literal, get_args

from ..geometry import InputError
from ..models import HarmonyConfig
from ._training_config import TrainingConfig

HarmonyPreset = Literal["fast", "paper"]

_COARSE_SIDE = 16  # voxels that the networks see: more would take too long
_STRUCTURES = {2: 16, 3: 8}
_ENOUGH = {2: 200, 3: 24}
_TRANSFORMATIONS = ("rotation", "translation", "scale", "contrast")


def harmony_preset(
    name: HarmonyPreset,
    *,
    box_size: int,
    dimensions: Literal[2, 3] = 2,
    channels: int = 1,
    content_dim: int = 1,
    transformations: Collection[str] = ("rotation", "translation"),
    n_images: int = 1000,
) -> tuple[HarmonyConfig, TrainingConfig]:
    """Return the settings of a preset of Harmony for boxes of a size.

    Parameters
    ----------
    name : {"fast", "paper"}
        "fast" is for minutes on two processor cores. The encoder proposes several poses, without
        which rotations are hardly learnt in so few steps; given enough boxes, it begins with the
        structures that a search finds; and it sees volumes binned to 16 voxels. "paper" has one,
        and the paper's weight of the dissimilarities (section 3.5).
    box_size : int
        Side of the boxes in pixels.
    dimensions : {2, 3}
    channels : int
        1, or 3 for RGB.
    content_dim : int
        Dimensions of the content; the paper's tables are of one.
    transformations : collection of str
        Any of "rotation" (all of it), "translation" (an eighth of the box), "scale" (a factor of
        1.3) and "contrast" (a gain of 2 and an offset of two standard deviations: of pixels
        whose mean is taken out, a gain alone is an offset too). Other ranges: replace them.
    n_images : int
        Size of the training set.

    Raises
    ------
    InputError
        If there is no such preset or transformation.
    """
    if name not in get_args(HarmonyPreset):
        known = ", ".join(get_args(HarmonyPreset))
        raise InputError(f"preset must be one of {known} for Harmony, got {name!r}.")
    if unknown := sorted(set(transformations) - set(_TRANSFORMATIONS)):
        raise InputError(
            f"transformations are {', '.join(_TRANSFORMATIONS)}, got {', '.join(unknown)}."
        )
    ranges: dict[str, tuple[str, float]] = {
        "rotation_range": ("rotation", pi),
        "translation_range": ("translation", box_size / 8),
        "scale_range": ("scale", 1.3),
        "contrast_range": ("contrast", 2.0),
        "brightness_range": ("contrast", 2.0),
    }
    wanted: dict[str, Any] = {
        field: value if kind in transformations else None for field, (kind, value) in ranges.items()
    }
    config = HarmonyConfig(
        box_size=box_size,
        dimensions=dimensions,
        channels=channels,
        content_dim=content_dim,
        training_size=n_images,
        **wanted,
    )
    batch_size = {2: 64, 3: 16}[dimensions]
    if name == "paper":
        return config, TrainingConfig(batch_size=batch_size)
    training = TrainingConfig(
        epochs=40,
        steps_per_epoch=50,
        batch_size=batch_size,
        learning_rate=2e-3,
        schedule="cosine",
        warm_up_steps=50,
    )
    if "rotation" not in transformations:
        return replace(config, gamma=20.0), training
    structures = _STRUCTURES[dimensions] if n_images >= _ENOUGH[dimensions] else 0
    if dimensions == 2:
        if "contrast" in transformations:
            structures = 0
        config = replace(config, gamma=20.0, hypotheses=8)
        return config, replace(training, structures=structures)
    binning = max(1, box_size // _COARSE_SIDE)
    config = replace(config, gamma=20.0, hypotheses=60, views=True, binning=binning)
    if not structures:
        return config, training
    return config, replace(training, epochs=6, learning_rate=2e-4, structures=structures)
