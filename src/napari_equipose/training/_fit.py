"""The training loop: a generator, so that its caller can watch it and stop it."""

import time
from collections.abc import Generator, Iterator
from copy import deepcopy
from functools import partial
from math import inf, isfinite
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..geometry import ContrastTransfer, InputError, check_type
from ..inference import Notice
from ..models import LossTerms, multiplies_bfloat16
from ._batches import (
    Boxes,
    Feed,
    Room,
    adam,
    batches,
    check_enough,
    parameter_groups,
    seeded,
    split,
)
from ._reports import EpochReport, StepReport
from ._schedule import (
    TrainingError,
    TrainingState,
    has_ended,
    judge,
    learning_rate,
    seconds_left,
    share_done,
)
from ._training_config import TrainingConfig

_VALIDATION = 2**40
"""In place of an epoch, where random numbers are drawn for validation."""


_ROUNDING = 1e-9
"""Of shares of a training."""


class Trainable(Protocol):
    """What `fit` asks of a model, which is also an `nn.Module`.

    With contrast transfer functions, ``loss`` is given those of the batch as ``ctf``; with aligned
    targets, those as ``targets``.
    """

    def loss(self, images: Tensor) -> LossTerms:
        """Terms of the loss of a batch."""


def fit(
    model: Trainable,
    images: Boxes,
    config: TrainingConfig,
    state: TrainingState | None = None,
    report_seconds: float = 0.5,
    ctf: ContrastTransfer | None = None,
    targets: Boxes | None = None,
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
    targets : Boxes, optional
        Each object aligned, normalised, of the shape of the images: for a model that is supervised.

    Raises
    ------
    InputError
        If there are too few images.
    OutOfMemory
        If memory runs out with a single image.
    TrainingError
        If the loss is not finite; the model is left with the best weights so far.
    """
    check_trainable(model, images, config)
    return _fit(model, images, config, state or TrainingState(), report_seconds, ctf, targets)


def check_trainable(model: object, images: Boxes, config: TrainingConfig) -> None:
    """Refuse what `fit` can't do.

    Raises
    ------
    InputError
    """
    check_type("model", model, nn.Module)
    check_type("config", config, TrainingConfig)
    check_enough(images)
    if config.content_delay and not hasattr(model, "hold_content"):
        raise InputError("content_delay is not possible with this kind of model; set it to 0.")
    if config.bfloat16 and not hasattr(model, "multiply_in_bfloat16"):
        raise InputError("bfloat16 is not possible with this kind of model.")


def _fit(
    model: Trainable,
    images: Boxes,
    config: TrainingConfig,
    state: TrainingState,
    report_seconds: float,
    ctf: ContrastTransfer | None,
    targets: Boxes | None,
) -> Iterator[StepReport | EpochReport | Notice]:
    assert isinstance(model, nn.Module)
    learner = _Learner(model, images, config, ctf, targets)
    learner.restore(state)
    if config.bfloat16:
        learner.model.multiply_in_bfloat16(multiplies_bfloat16(learner.device))
    began = time.monotonic() - state.seconds
    try:
        while state.epoch < config.epochs and not has_ended(config, state):
            loss, rate = yield from _epoch(learner, state, began, report_seconds)
            parts = yield from learner.room.attempt(learner.validate)
            held = sum(parts.values())
            state.epoch += 1
            if state.content_held and not learner.held:
                state.best_loss = inf  # the bound with content is another one
            state.content_held = learner.held
            best = judge(config, state, held)
            state.seconds = time.monotonic() - began
            learner.keep(state, best)
            yield EpochReport(
                epoch=state.epoch,
                epochs=config.epochs,
                loss=loss,
                validation_loss=held,
                parts=parts,
                learning_rate=rate,
                seconds=state.seconds,
                seconds_left=seconds_left(
                    share_done(config, state.epoch, state.seconds), state.seconds
                ),
                best=best,
            )
    finally:
        if state.best:
            model.load_state_dict(state.best)
        learner.hold_content(0)
        if config.bfloat16:
            learner.model.multiply_in_bfloat16(False)


def _epoch(
    learner: "_Learner", state: TrainingState, began: float, report_seconds: float
) -> Generator[StepReport | Notice, None, tuple[float, float]]:
    """Take the steps of an epoch; return their mean loss, and the last learning rate."""
    config, steps = learner.config, learner.steps
    reported, losses, rate = time.monotonic(), list[float](), config.learning_rate
    order = batches(learner.train_rows, steps, config, state.epoch, learner.images.rows_on)
    for step, rows in enumerate(order):
        done = share_done(config, state.epoch + step / steps, time.monotonic() - began)
        if done >= 1:
            break
        learner.hold_content(config.content_delay / config.epochs - done)
        rate = learning_rate(config, state, state.epoch * steps + step, done)
        loss = yield from learner.room.attempt(partial(learner.step, rows, rate, state.epoch, step))
        losses.append(loss)
        if not isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} in epoch {state.epoch + 1}: training has "
                "diverged. The best model so far is kept. Try a smaller learning rate, "
                "and look for broken images in the input."
            )
        if time.monotonic() - reported > report_seconds:
            reported = time.monotonic()
            done = share_done(config, state.epoch + (step + 1) / steps, reported - began)
            left = seconds_left(min(done, 1.0), reported - began)
            yield StepReport(state.epoch, step + 1, steps, loss, left)
    return sum(losses) / max(len(losses), 1), rate


class _Learner:
    """A model, its optimiser and its images: what takes one step, and judges the outcome."""

    def __init__(
        self,
        model: nn.Module,
        images: Boxes,
        config: TrainingConfig,
        ctf: ContrastTransfer | None,
        targets: Boxes | None,
    ) -> None:
        self.model: Any = model
        self.config = config
        self.device = next(model.parameters()).device
        self.images = Feed(images, self.device)
        self.targets = None if targets is None else Feed(targets, self.device)
        self.ctf = None if ctf is None else ctf.to(self.device)
        self.train_rows, self.held_rows = split(len(images), config)
        self.steps = config.steps_per_epoch or -(-len(self.train_rows) // config.batch_size)
        groups = parameter_groups(model, config.noise_speedup)
        self.optimizer = adam(groups, config.learning_rate, self.device)
        self.held = False
        self.room = Room(min(config.batch_size, len(self.train_rows)), self.device)

    def restore(self, state: TrainingState) -> None:
        """Go back to where a run stopped; a new one is left as it is."""
        if state.optimizer:
            self.model.load_state_dict(state.last)
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": state.optimizer, "param_groups": groups})

    def hold_content(self, left: float) -> None:
        """Hold the content at zero as long as some of its delay is left, where there is one."""
        if self.config.content_delay:
            self.held = left > _ROUNDING
            self.model.hold_content(self.held)

    def keep(self, state: TrainingState, best: bool) -> None:
        """Put copies of the weights and of the optimiser into the state of the run."""
        state.last = {name: value.clone() for name, value in self.model.state_dict().items()}
        if best:
            state.best = state.last
        state.optimizer = deepcopy(self.optimizer.state_dict()["state"])

    def step(self, rows: Tensor, rate: float, epoch: int, step: int, at_a_time: int) -> float:
        """Take a step on a batch, unless the loss or its gradient is not finite; return the loss.

        It is NaN where either is not finite.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("faster", 1)
        with seeded(self.config, epoch, step, self.device):
            turn = self.config.quarter_turns and self.ctf is None
            turns = int(torch.randint(4, ())) if turn else 0
            self.optimizer.zero_grad()
            losses: list[Tensor] = []
            for part in rows.split(at_a_time):
                loss = self._loss(part, turns).total
                # of the mean of the batch; a whole one is left as it is, to the bit
                loss = loss if len(part) == len(rows) else loss * len(part) / len(rows)
                loss.backward()
                losses.append(loss.detach().reshape(()))
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
            return self._take_step(torch.stack([*losses, norm]))

    def _take_step(self, checked: Tensor) -> float:
        """Change the weights if all of some losses, and the norm after them, are finite.

        Returns the sum of the losses, or NaN. The processor waits for the device once.
        """
        on_device = self.device.type == "cuda"
        if on_device:  # it leaves the step out by itself: all is queued before it is waited for
            self.optimizer.found_inf = 1 - checked.isfinite().all().float()
            self.optimizer.step()
        *losses, norm = checked.tolist()
        if not all(map(isfinite, (*losses, norm))):
            return float("nan")
        if not on_device:
            self.optimizer.step()
        return float(sum(losses))

    @torch.no_grad()
    def validate(self, at_a_time: int) -> dict[str, float]:
        """Mean parts of the loss of the images held out, with the same noise every time."""
        found: list[tuple[str, int]] = []
        values: list[Tensor] = []
        self.model.eval()
        order = self.held_rows.to(self.images.rows_on).split(at_a_time)
        for step, rows in enumerate(order):
            with seeded(self.config, _VALIDATION, step, self.device):
                parts = self._loss(rows).parts
            found += [(name, len(rows)) for name in parts]
            values += [part.reshape(()).to(self.device) for part in parts.values()]
        self.model.train()
        sums: dict[str, float] = {}
        # read once, after all is queued
        for (name, n), value in zip(found, torch.stack(values).tolist(), strict=True):
            sums[name] = sums.get(name, 0.0) + value * n
        return {name: value / len(self.held_rows) for name, value in sums.items()}

    def _loss(self, rows: Tensor, turns: int = 0) -> LossTerms:
        """Terms of the loss of some images, turned by quarters."""
        batch = self.images[rows]
        if turns:
            batch = torch.rot90(batch, turns, (-2, -1))
        given = {} if self.ctf is None else {"ctf": self.ctf[rows.to(self.device)]}
        if self.targets is not None:  # aligned whichever way the image is turned
            given["targets"] = self.targets[rows]
        terms: LossTerms = self.model.loss(batch, **given)
        return terms
