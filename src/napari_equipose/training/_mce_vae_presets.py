"""Presets of MCE-VAE: network and training settings that belong together."""

from dataclasses import replace
from typing import Literal, get_args

from ..geometry import InputError
from ..models import MCEVAEConfig
from ._presets import length
from ._training_config import TrainingConfig

MCEVAEPreset = Literal["fast", "paper"]

_LARGEST_SIDE = 32  # that the encoder sees at once: its dense layers grow with the area
_PAPER_EPOCHS = 60


def mce_vae_preset(
    name: MCEVAEPreset,
    *,
    box_size: int,
    dimensions: int = 2,
    channels: int = 1,
    content_dim: int = 3,
    likelihood: Literal["bernoulli", "gaussian"] = "gaussian",
    n_images: int = 60_000,
) -> tuple[MCEVAEConfig, TrainingConfig]:
    """Return the settings of a preset of MCE-VAE for boxes of a size.

    Parameters
    ----------
    name : {"fast", "paper"}
        "paper" is the network and the training of the paper (section 4), with 25 copies of each
        image as in its code. "fast" has two copies, a falling rate, and an encoder that sees boxes
        of more than 32 pixels binned.
    box_size : int
        Side of the boxes in pixels.
    dimensions : int
        2: there is none of volumes.
    channels : int
        1, or 3 for RGB.
    content_dim : int
        Dimensions of z, what varies within a category.
    likelihood : {"bernoulli", "gaussian"}
        "bernoulli" for pixels that are off or on; "gaussian" for real-valued ones.
    n_images : int
        Size of the training set: a small one is passed over more often.

    Raises
    ------
    InputError
        If there is no such preset, or the boxes are volumes.
    """
    if name not in get_args(MCEVAEPreset):
        known = ", ".join(get_args(MCEVAEPreset))
        raise InputError(f"preset must be one of {known} for MCE-VAE, got {name!r}.")
    if dimensions != 2:
        raise InputError("MCE-VAE is of images; train volumes with another kind of model.")
    config = MCEVAEConfig(
        box_size=box_size, channels=channels, content_dim=content_dim, likelihood=likelihood
    )
    if name == "paper":
        return config, TrainingConfig(
            epochs=_PAPER_EPOCHS,
            learning_rate=1e-3,
            plateau_epochs=_PAPER_EPOCHS,  # the rate stays
            stop_epochs=_PAPER_EPOCHS,
        )
    fast = replace(config, copies=2, binning=max(1, round(box_size / _LARGEST_SIDE)))
    training = TrainingConfig(
        **length(n_images, batch_size=100, steps=2000, passes=10),
        learning_rate=2e-3,
        schedule="cosine",
        warm_up_steps=100,
    )
    return fast, training
