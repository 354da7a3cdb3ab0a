"""Where a run stands, and what follows from it: the learning rate, and when to end."""

from dataclasses import replace
from math import cos, inf, isfinite, pi

from torch import Tensor

from ..geometry import InputError
from ._training_config import TrainingConfig

_LEAST_PART = 0.1
"""Of a time limit, which is given to learning however long the preparation took."""


class TrainingError(InputError):
    """Training can't go on: the loss is not finite."""


class TrainingState:
    """All that a run needs to go on where it stopped, as tensors and plain numbers."""

    def __init__(self) -> None:
        self.epoch = 0
        self.seconds = 0.0
        self.before = 0.0
        """Seconds of the run before this training of it: preparation, and an earlier round."""
        self.content_held = False
        """Whether the last epoch ended with the content held at zero."""
        self.rate_scale = 1.0
        self.stalled = 0
        self.since_best = 0
        self.best_loss = inf
        self.best: dict[str, Tensor] = {}
        self.last: dict[str, Tensor] = {}
        self.optimizer: dict[int, dict[str, Tensor]] = {}


def timed(config: TrainingConfig, before: float, share: float) -> TrainingConfig:
    """A configuration whose minutes are what is left of those of a run, or a share of that.

    Where next to nothing is left, a tenth of the limit is given all the same, so that there is a
    model.
    """
    if config.minutes is None:
        return config
    left = max(config.minutes - before / 60, _LEAST_PART * config.minutes)
    return replace(config, minutes=share * left)


def share_done(config: TrainingConfig, epochs: float, seconds: float) -> float:
    """How much of the run is done, 0 to 1, by epochs or by time, whichever is more."""
    by_time = seconds / (60 * config.minutes) if config.minutes else 0.0
    return max(epochs / config.epochs, by_time)


def seconds_left(done: float, seconds: float) -> float:
    """Time until the run is done, from the time that a share of it took."""
    return seconds * (1 - done) / done if done > 0 else inf


def has_ended(config: TrainingConfig, state: TrainingState) -> bool:
    """Whether time is up or there is nothing more to gain."""
    if share_done(config, state.epoch, state.seconds) >= 1:
        return True
    return config.schedule == "plateau" and state.since_best >= config.stop_epochs


def learning_rate(config: TrainingConfig, state: TrainingState, step: int, done: float) -> float:
    """Learning rate of a step, counted from the first of the run."""
    warm = min(1.0, (step + 1) / config.warm_up_steps) if config.warm_up_steps else 1.0
    if config.schedule == "plateau":
        return config.learning_rate * (warm * state.rate_scale)
    return config.learning_rate * (warm * (0.01 + 0.99 * 0.5 * (1 + cos(pi * done))))


def judge(config: TrainingConfig, state: TrainingState, loss: float) -> bool:
    """Keep count of epochs without improvement; say whether this one is the best.

    Raises
    ------
    TrainingError
        If the validation loss is not finite.
    """
    if not isfinite(loss):
        raise TrainingError(
            "the validation loss is not finite: training has diverged. The best model so far is "
            "kept. Try a smaller learning rate."
        )
    best = loss < state.best_loss
    state.best_loss = min(loss, state.best_loss)
    state.since_best = 0 if best else state.since_best + 1
    state.stalled = 0 if best else state.stalled + 1
    if config.schedule == "plateau" and state.stalled > config.plateau_epochs:
        state.rate_scale, state.stalled = state.rate_scale / 2, 0
    return best
