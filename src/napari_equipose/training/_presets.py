"""Presets: network and training settings that belong together."""

from dataclasses import replace
from typing import Any, Literal, get_args

from ..geometry import InputError
from ..models import TargetVAEConfig
from ._training_config import TrainingConfig

Preset = Literal["fast", "balanced", "paper"]
_LEAST_STEPS = 50
"""Of an epoch."""
_FULL_WEIGHT = 5_000
_LEAST_WEIGHT = 0.1


def preset(
    name: Preset,
    *,
    box_size: int,
    channels: int = 1,
    content_dim: int = 2,
    likelihood: Literal["bernoulli", "gaussian"] = "gaussian",
    n_images: int = 60_000,
) -> tuple[TargetVAEConfig, TrainingConfig]:
    """Return the settings of a preset for boxes of a size.

    Parameters
    ----------
    name : {"fast", "balanced", "paper"}
        "fast" is for minutes on two processor cores: it sees the image twice smaller, attends
        to the places the prior allows, infers sub-pixel offsets, and draws each object once.
        "balanced" is the same with more filters, rotations and passes. "paper" is the network
        and the training of the TARGET-VAE paper (section 4.1), for a GPU.
    box_size : int
        Side of the boxes in pixels.
    channels : int
        1, or 3 for RGB.
    content_dim : int
        Dimensions of the content.
    likelihood : {"bernoulli", "gaussian"}
        "bernoulli" for pixels that are off or on; "gaussian" for real-valued ones.
    n_images : int
        Size of the training set: a small one is passed over more often.

    Raises
    ------
    InputError
        If there is no such preset.
    """
    if name not in get_args(Preset):
        raise InputError(f"preset must be one of {', '.join(get_args(Preset))}, got {name!r}.")
    common: dict[str, Any] = {
        "box_size": box_size,
        "channels": channels,
        "content_dim": content_dim,
        "likelihood": likelihood,
    }
    if name == "paper":
        return TargetVAEConfig(**common), TrainingConfig()
    fast = TargetVAEConfig(
        **common,
        object_size=_odd(2 * box_size / 3),
        binning=2 if box_size >= 24 else 1,
        fields=64,
        translation_range=box_size / 4,
        translation_std=box_size / 10,
        subpixel=True,
        generator="bilinear",
        generator_width=256,
        n_features=256,
        feature_length=max(box_size / 25, 1.0),
        content_weight=content_weight(n_images),
        temperature=0.6,
        enumerate_rotations=True,
    )
    training = TrainingConfig(
        **length(n_images, batch_size=100, steps=1500, passes=8),
        learning_rate=3e-3,
        schedule="cosine",
        warm_up_steps=200,
        quarter_turns=True,
        bfloat16=True,
    )
    if name == "fast":
        return fast, training
    balanced = replace(fast, fields=128, n_rotations=16, generator_width=512, n_features=512)
    return balanced, replace(training, epochs=4 * training.epochs)


def content_weight(n_images: int) -> float:
    """Weight of the content's divergence where the noise does not settle it.

    It keeps encoders from learning images by heart, and weighs less the more images there are. At
    50,000 digits a tenth is better than all of it, and a fiftieth no better than a tenth.
    """
    return min(1.0, max(_LEAST_WEIGHT, _FULL_WEIGHT / max(n_images, 1)))


def length(n_images: int, *, batch_size: int, steps: int, passes: int) -> dict[str, Any]:
    """Epochs and the steps of each: so many steps in all, or so many passes over the images.

    Whichever is more, so that the length of training never jumps from one number of images to the
    next. An epoch is a pass, or 50 steps where a pass is shorter.
    """
    steps_of_pass = n_images / batch_size
    per_epoch = max(_LEAST_STEPS, round(steps_of_pass))
    epochs = max(steps, passes * steps_of_pass) / per_epoch
    return {"batch_size": batch_size, "epochs": round(epochs), "steps_per_epoch": per_epoch}


def _odd(size: float) -> int:
    rounded = round(size)
    return rounded + 1 - rounded % 2
