"""Presets of spatial-VAE, the VAE and beta-VAE."""

from dataclasses import replace
from typing import Any, Literal, TypeVar, get_args

from ..geometry import InputError
from ..models import SpatialVAEConfig, VAEConfig
from ._presets import Preset, content_weight, length
from ._training_config import TrainingConfig

_Config = TypeVar("_Config", bound=VAEConfig)
_COARSE_SIDE = 16  # voxels that the networks see: more would take too long
_PAPER_EPOCHS = 500
_NOISE_SPEEDUP = 10
_POSES_FIRST = 0.2
"""Part of the training with the content held at zero: a content that varies before the poses are
known comes to encode those, and never leaves what it began with."""


def spatial_vae_preset(
    name: Preset,
    *,
    box_size: int,
    dimensions: Literal[2, 3] = 2,
    channels: int = 1,
    content_dim: int = 2,
    likelihood: Literal["bernoulli", "gaussian"] = "gaussian",
    n_images: int = 60_000,
) -> tuple[SpatialVAEConfig, TrainingConfig]:
    """Return the settings of a preset of spatial-VAE for boxes of a size.

    Parameters
    ----------
    name : {"fast", "balanced", "paper"}
        "fast" is for minutes on two processor cores: a narrow generator on Fourier features, a
        rotation that is a direction, of which the opposite is tried as well, and the content held
        at zero for the first fifth of the training; it sees images of 32 pixels and more binned
        by 2, volumes binned to 16 voxels. "balanced" is the same, wider and longer. "paper" is
        that of the spatial-VAE paper (sections 4.1 and 4.3): two layers of 500 with tanh, a
        constant rate of 1e-4, 500 epochs, the content held at zero for the first two; for a GPU.
        Of volumes, with the convolutional encoder of the Harmony paper.
    box_size : int
        Side of the boxes in pixels.
    dimensions : {2, 3}
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
    _check(name)
    paper = SpatialVAEConfig(
        box_size=box_size,
        dimensions=dimensions,
        channels=channels,
        content_dim=content_dim,
        likelihood=likelihood,
        encoder="dense" if dimensions == 2 else "convolutional",
    )
    if name == "paper":
        return paper, _of_paper({2: 100, 3: 16}[dimensions], content_delay=2)
    fast = replace(
        paper,
        rotation_as="direction",
        translation_std=box_size / 10,
        rotation_hypotheses=2 if dimensions == 2 else 1,
        # what the content weighs beside real-valued pixels follows from their noise
        content_weight=1.0 if likelihood == "gaussian" else content_weight(n_images),
        binning=max(1, box_size // _COARSE_SIDE) if dimensions == 3 else 1 + (box_size >= 32),
        activation="relu",
        generator_width=64,
        n_features=64,
        feature_length=max(box_size / 25, 1.0),
    )
    training = _quick(n_images, {2: 50, 3: 16}[dimensions])
    if name == "balanced":
        fast = replace(fast, generator_width=128, n_features=128, encoder_width=1000)
        training = replace(training, epochs=4 * training.epochs)
    delay = round(_POSES_FIRST * training.epochs)
    return fast, replace(training, content_delay=delay, noise_speedup=_NOISE_SPEEDUP)


def vae_preset(
    name: Preset,
    config: type[_Config],
    *,
    box_size: int,
    dimensions: Literal[2, 3] = 2,
    channels: int = 1,
    content_dim: int = 2,
    likelihood: Literal["bernoulli", "gaussian"] = "gaussian",
    n_images: int = 60_000,
) -> tuple[_Config, TrainingConfig]:
    """Return the settings of a preset of the VAE or of beta-VAE for boxes of a size.

    Parameters
    ----------
    name : {"fast", "balanced", "paper"}
        The network is always that of the spatial-VAE paper's baseline (section 4.1). "paper" has
        its training as well: a constant rate of 1e-4 for 500 epochs.
    config : {VAEConfig, BetaVAEConfig}
    box_size, dimensions, channels, content_dim, likelihood, n_images
        As for `spatial_vae_preset`.

    Raises
    ------
    InputError
        If there is no such preset.
    """
    _check(name)
    made = config(
        box_size=box_size,
        dimensions=dimensions,
        channels=channels,
        content_dim=content_dim,
        likelihood=likelihood,
    )
    if name == "paper":
        return made, _of_paper(100)
    training = _quick(n_images, 100)
    return made, training if name == "fast" else replace(training, epochs=4 * training.epochs)


def _check(name: str) -> None:
    if name not in get_args(Preset):
        raise InputError(f"preset must be one of {', '.join(get_args(Preset))}, got {name!r}.")


def _of_paper(batch_size: int, **more: Any) -> TrainingConfig:
    return TrainingConfig(
        epochs=_PAPER_EPOCHS,
        batch_size=batch_size,
        learning_rate=1e-4,
        plateau_epochs=_PAPER_EPOCHS,  # the rate stays
        stop_epochs=_PAPER_EPOCHS,
        **more,
    )


def _quick(n_images: int, batch_size: int) -> TrainingConfig:
    return TrainingConfig(
        **length(n_images, batch_size=batch_size, steps=2000, passes=10),
        learning_rate=1e-3,
        schedule="cosine",
        warm_up_steps=200,
    )
