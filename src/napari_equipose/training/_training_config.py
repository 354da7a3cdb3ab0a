"""How a model is fitted."""

from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

from ..geometry import InputError


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is fitted; nothing about the network."""

    epochs: int = 500
    """At most."""
    minutes: float | None = None
    """Time limit in minutes; the best model so far is kept. `train_run` counts all of a run:
    preparation, searches and both rounds, but not the time between runs; a tenth of it is given to
    learning in any case."""
    batch_size: int = 100
    steps_per_epoch: int | None = None
    """By default an epoch is one pass over the images; a small set is passed over repeatedly."""
    learning_rate: float = 2e-4
    schedule: Literal["plateau", "cosine"] = "plateau"
    """"plateau" halves the rate when the validation loss stalls (the paper's); "cosine" warms
    up, then falls to zero over the epochs or minutes, whichever end first."""
    warm_up_steps: int = 0
    plateau_epochs: int = 10
    """Epochs without improvement before the rate is halved."""
    stop_epochs: int = 20
    """Epochs without improvement before training ends; not used by "cosine"."""
    validation_fraction: float = 0.1
    validation_images: int = 2000
    """At most so many images are held out."""
    content_delay: int = 0
    """Epochs during which the content is held at zero, so that all objects first agree on one
    canonical frame. Where time ends training, it is the same share of that."""
    structures: int = 0
    """So many structures, at most, are looked for by search before training; the model begins
    with them, and keeps what it draws of them, but for a single one of images. Where all rotations
    are inferred, and of images no contrast: learning alone hardly finds rotations in volumes, and
    mixes what is unlike in images. A target-vae model begins with classes of noisy images, found by
    maximum likelihood, and goes on to learn them. 0: begin from random weights."""
    quarter_turns: bool = False
    """Turn boxes by random multiples of 90 degrees."""
    noise_speedup: float = 1.0
    """How much faster than the weights the noise of a Gaussian likelihood learns."""
    gradient_clip: float = 1000.0
    """Gradients of a larger norm are scaled down to it."""
    bfloat16: bool = False
    """Multiply the matrices of the networks in bfloat16 where the processor does so by itself: in
    about half the time. The weights, and all inference, are float32 as ever; on CUDA, PyTorch's
    convolutions round what they multiply to TF32 unless it is told otherwise, see
    `inference.encode`."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.schedule not in ("plateau", "cosine"):
            raise InputError(f"schedule must be plateau or cosine, got {self.schedule!r}.")
        for name in ("epochs", "batch_size", "learning_rate", "noise_speedup", "gradient_clip"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, got {getattr(self, name)}.")
        if self.structures < 0:
            raise InputError(f"structures must not be negative, got {self.structures}.")
        if self.minutes is not None and not self.minutes > 0:
            raise InputError(f"minutes must be positive, got {self.minutes}.")
        if not 0 < self.validation_fraction < 1:
            raise InputError(
                f"validation_fraction must lie between 0 and 1, got {self.validation_fraction}."
            )


def lasting(config: TrainingConfig, epochs: int) -> TrainingConfig:
    """Stretch training to so many epochs, and the delay of the content with it."""
    delay = min(ceil(config.content_delay * epochs / config.epochs), max(epochs - 1, 0))
    return replace(config, epochs=epochs, content_delay=delay)
