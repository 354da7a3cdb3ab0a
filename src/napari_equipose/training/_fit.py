"""The training loop: a generator, so that its caller can watch it and stop it."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from math import cos, inf, isfinite, pi
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ..geometry import ContrastTransfer, InputError
from ..inference import Notice
from ..models import LossTerms, OutOfMemory, free_memory, is_out_of_memory


class Trainable(Protocol):
    """What `fit` asks of a model, which is also an `nn.Module`.

    With contrast transfer functions, ``loss`` is given those of the batch as ``ctf``.
    """

    def loss(self, images: Tensor) -> LossTerms:
        """Terms of the loss of a batch."""


class Boxes(Protocol):
    """What `fit` asks of images: a length, and a batch for a tensor of indices."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: Tensor) -> Tensor: ...


class TrainingError(InputError):
    """Training can't go on: the loss is not finite."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is fitted; nothing about the network."""

    epochs: int = 500
    """At most."""
    minutes: float | None = None
    """Stop after so many minutes, with the best model so far."""
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
    canonical frame."""
    quarter_turns: bool = False
    """Turn boxes by random multiples of 90 degrees: for sets of a few hundred boxes."""
    gradient_clip: float = 1000.0
    """Gradients of a larger norm are scaled down to it."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.schedule not in ("plateau", "cosine"):
            raise InputError(f"schedule must be plateau or cosine, got {self.schedule!r}.")
        for name in ("epochs", "batch_size", "learning_rate", "gradient_clip"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, got {getattr(self, name)}.")
        if self.minutes is not None and not self.minutes > 0:
            raise InputError(f"minutes must be positive, got {self.minutes}.")
        if not 0 < self.validation_fraction < 1:
            raise InputError(
                f"validation_fraction must lie between 0 and 1, got {self.validation_fraction}."
            )


class StepReport(NamedTuple):
    """Where training is within an epoch."""

    epoch: int
    step: int
    steps: int
    loss: float
    seconds_left: float


class EpochReport(NamedTuple):
    """What one epoch came to; losses are in nats per image."""

    epoch: int
    epochs: int
    loss: float
    validation_loss: float
    parts: dict[str, float]
    """Named parts of the validation loss."""
    learning_rate: float
    seconds: float
    """Since training began, without the time between runs."""
    seconds_left: float
    best: bool
    """Whether this is the lowest validation loss so far."""


class TrainingState:
    """All that a run needs to go on where it stopped, as tensors and plain numbers."""

    def __init__(self) -> None:
        self.epoch = 0
        self.seconds = 0.0
        self.rate_scale = 1.0
        self.stalled = 0
        self.since_best = 0
        self.best_loss = inf
        self.best: dict[str, Tensor] = {}
        self.last: dict[str, Tensor] = {}
        self.optimizer: dict[int, dict[str, Tensor]] = {}


def split(n: int, config: TrainingConfig) -> tuple[Tensor, Tensor]:
    """Indices of the images to train on and of those held out, fixed by the seed.

    Raises
    ------
    InputError
        If there are fewer than four images.
    """
    if n < 4:
        raise InputError(f"training needs at least 4 images, got {n}.")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(config.seed))
    held = min(max(round(n * config.validation_fraction), 2), config.validation_images)
    return order[held:], order[:held]


def fit(
    model: Trainable,
    images: Boxes,
    config: TrainingConfig,
    state: TrainingState | None = None,
    report_seconds: float = 0.5,
    ctf: ContrastTransfer | None = None,
) -> Iterator[StepReport | EpochReport | Notice]:
    """Fit ``model`` in place; yield a report after each epoch, and now and then within one.

    Where memory runs out, batches are worked through in halves, then quarters, and so on: the
    step is that of the whole batch, and a `Notice` says so.

    Parameters
    ----------
    model : Trainable
        A module on the device where it is to be trained. Ends with the weights of the epoch of
        lowest validation loss, also when the generator is closed.
    images : Boxes
        Normalised boxes (n, channels, y, x): a tensor, or anything that reads a batch.
    config : TrainingConfig
        Its seed fixes the split, the order and all noise.
    state : TrainingState, optional
        Of a run to go on with; is kept up to date, so that the caller can save it at each
        `EpochReport`. Epochs draw their own random numbers, so that a resumed run on the CPU
        is the same, bit for bit, as one that never stopped.
    report_seconds : float
        Least time between two `StepReport`.
    ctf : ContrastTransfer, optional
        Of each image; applied to what the model draws.

    Raises
    ------
    InputError
        If there are too few images.
    OutOfMemory
        If memory runs out with a single image.
    TrainingError
        If the loss is not finite; the model is left with the best weights so far.
    """
    assert isinstance(model, nn.Module)
    state = state or TrainingState()
    if config.content_delay and not hasattr(model, "hold_content"):
        raise InputError("content_delay is not possible with this kind of model; set it to 0.")
    hold_content: Callable[[bool], None] = getattr(model, "hold_content", lambda held: None)
    device = next(model.parameters()).device
    train_rows, held_rows = split(len(images), config)
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate)
    if state.optimizer:
        model.load_state_dict(state.last)
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state.optimizer, "param_groups": groups})
    memory = _Memory(min(config.batch_size, len(train_rows)), device)
    steps = config.steps_per_epoch or -(-len(train_rows) // config.batch_size)
    began = time.monotonic() - state.seconds
    try:
        while state.epoch < config.epochs and not _ended(config, state):
            reported, losses, rate = time.monotonic(), list[float](), config.learning_rate
            if config.content_delay:
                hold_content(state.epoch < config.content_delay)
            order = _order(train_rows, steps, config, state.epoch)
            for step, rows in enumerate(order):
                done = _progress(config, state.epoch + step / steps, time.monotonic() - began)
                if done >= 1:
                    break
                rate = config.learning_rate * _rate(config, state, state.epoch * steps + step, done)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                while True:
                    with memory.watched(), _seeded(config, state.epoch, step, device):
                        turns = None
                        if config.quarter_turns and ctf is None:
                            turns = int(torch.randint(4, ()))
                        optimizer.zero_grad()
                        total = 0.0
                        for part in rows.split(memory.batch):
                            batch = images[part].to(device)
                            if turns is not None:
                                batch = torch.rot90(batch, turns, (-2, -1))
                            loss = _loss(model, batch, part, ctf).total
                            # of the mean of the batch; a whole one is left as it is, to the bit
                            loss = loss if len(part) == len(rows) else loss * len(part) / len(rows)
                            loss.backward()
                            total += loss.item()
                        losses.append(_step(model, optimizer, total, config.gradient_clip))
                    if memory.notice is None:
                        break
                    yield memory.notice
                if not isfinite(losses[-1]):
                    raise TrainingError(
                        f"the loss became {losses[-1]} in epoch {state.epoch + 1}: training has "
                        "diverged. The best model so far is kept. Try a smaller learning rate, "
                        "and look for broken images in the input."
                    )
                if time.monotonic() - reported > report_seconds:
                    reported = time.monotonic()
                    left = _seconds_left(done, reported - began)
                    yield StepReport(state.epoch, step + 1, steps, losses[-1], left)
            while True:
                with memory.watched():
                    terms = _validate(model, images, held_rows, config, memory.batch, device, ctf)
                if memory.notice is None:
                    break
                yield memory.notice
            held = sum(terms.values())
            state.epoch += 1
            if state.epoch == config.content_delay + 1:
                state.best_loss = inf  # the bound with content is another one
            best = _judge(config, state, held)
            state.seconds = time.monotonic() - began
            state.last = {name: value.clone() for name, value in model.state_dict().items()}
            if best:
                state.best = state.last
            state.optimizer = deepcopy(optimizer.state_dict()["state"])
            done = _progress(config, state.epoch, state.seconds)
            yield EpochReport(
                epoch=state.epoch,
                epochs=config.epochs,
                loss=sum(losses) / max(len(losses), 1),
                validation_loss=held,
                parts=terms,
                learning_rate=rate,
                seconds=state.seconds,
                seconds_left=_seconds_left(done, state.seconds),
                best=best,
            )
    finally:
        if state.best:
            model.load_state_dict(state.best)
        if config.content_delay:
            hold_content(False)


def _order(rows: Tensor, steps: int, config: TrainingConfig, epoch: int) -> Sequence[Tensor]:
    """Batches of an epoch: passes over the images in random order, until there are enough."""
    generator = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
    size = min(config.batch_size, len(rows))
    passes = -(-steps * size // len(rows))
    order = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(passes)]
    return list(torch.cat(order).split(size)[:steps])


@contextmanager
def _seeded(config: TrainingConfig, epoch: int, step: int, device: torch.device) -> Iterator[None]:
    """Give a step random numbers of its own, and leave the caller's as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(((config.seed * 1_000_003 + epoch) * 1_000_003 + step) % 2**63)
        torch.set_flush_denormal(True)  # faded weights would make every product slow
        try:
            yield
        finally:
            torch.set_flush_denormal(False)


def _loss(model: Any, batch: Tensor, rows: Tensor, ctf: ContrastTransfer | None) -> LossTerms:
    terms: LossTerms = (
        model.loss(batch) if ctf is None else model.loss(batch, ctf=ctf[rows].to(batch.device))
    )
    return terms


class _Memory:
    """How many images fit into memory at a time, as tries that fail tell."""

    def __init__(self, batch: int, device: torch.device) -> None:
        self.batch, self.device = batch, device
        self.notice: Notice | None = None
        """Of the last try: what to say before the next one, or None where it went well."""

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Halve the batch where memory runs out in the block; anything else is let through."""
        self.notice = None
        try:
            yield
            return
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # The error is gone here, and with it the frames that held its tensors.
        free_memory(self.device)
        if self.batch == 1:
            raise OutOfMemory(
                f"the memory of {self.device} does not hold the work on a single box: try the "
                "device cpu, a smaller box, or the preset fast."
            )
        self.batch = (self.batch + 1) // 2
        self.notice = Notice(
            f"memory of {self.device} ran out: going on with {self.batch} boxes at a time"
        )


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, loss: float, clip: float) -> float:
    """Take one step, unless the loss or its gradient is not finite; return the loss."""
    norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
    if not (isfinite(loss) and isfinite(norm.item())):
        return float("nan")
    optimizer.step()
    return loss


@torch.no_grad()
def _validate(
    model: Any,
    images: Boxes,
    rows: Tensor,
    config: TrainingConfig,
    size: int,
    device: torch.device,
    ctf: ContrastTransfer | None,
) -> dict[str, float]:
    """Mean parts of the loss of the images held out, with the same noise every time."""
    sums: dict[str, float] = {}
    model.eval()
    for step, batch in enumerate(rows.split(size)):
        with _seeded(config, 2**40, step, device):
            parts = _loss(model, images[batch].to(device), batch, ctf).parts
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + value.item() * len(batch)
    model.train()
    return {name: value / len(rows) for name, value in sums.items()}


def _judge(config: TrainingConfig, state: TrainingState, loss: float) -> bool:
    """Keep count of epochs without improvement; say whether this one is the best."""
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


def _ended(config: TrainingConfig, state: TrainingState) -> bool:
    """Whether time is up or there is nothing more to gain."""
    if _progress(config, state.epoch, state.seconds) >= 1:
        return True
    return config.schedule == "plateau" and state.since_best >= config.stop_epochs


def _progress(config: TrainingConfig, epochs: float, seconds: float) -> float:
    """How much of the run is done, 0 to 1, by epochs or by time, whichever is more."""
    by_time = seconds / (60 * config.minutes) if config.minutes else 0.0
    return max(epochs / config.epochs, by_time)


def _rate(config: TrainingConfig, state: TrainingState, step: int, done: float) -> float:
    """Learning rate as a part of the full one."""
    warm = min(1.0, (step + 1) / config.warm_up_steps) if config.warm_up_steps else 1.0
    if config.schedule == "plateau":
        return warm * state.rate_scale
    return warm * (0.01 + 0.99 * 0.5 * (1 + cos(pi * done)))


def _seconds_left(done: float, seconds: float) -> float:
    return seconds * (1 - done) / done if done > 0 else inf
