"""A whole training run: from boxes to a model file, with log and checkpoint beside it."""

import csv
import platform
import time
from collections.abc import Generator
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from .._files import atomic_path
from ..geometry import ContrastTransfer, InputError, check_type, refuse_untold_wedge
from ..inference import Notice, Progress, Structures
from ..models import (
    KnowsWedge,
    Model,
    Normalisation,
    SavedModel,
    build_model,
    choose_device,
    load_model,
    model_kind,
    save_model,
)
from ._batches import Boxes
from ._checkpoint import check_fits, checkpoint_path, load_checkpoint, save_checkpoint
from ._fit import check_trainable, fit
from ._reports import EpochReport, StepReport
from ._schedule import TrainingState, share_done, timed
from ._source import without_folders
from ._structures import begin_with_structures, keep_structures
from ._training_config import TrainingConfig

_FOR_WEDGE = 48
"""Boxes that are looked at for a missing wedge."""


def train(
    boxes: Boxes,
    model_config: Any,
    config: TrainingConfig,
    *,
    normalisation: Normalisation,
    output: Path,
    kind: str = "target-vae",
    device: str = "auto",
    checkpoint: Path | None = None,
    resume: bool = False,
    earlier_epochs: int = 0,
    source: dict[str, Any] | None = None,
    pixel_size: float | None = None,
    ctf: ContrastTransfer | None = None,
    targets: Boxes | None = None,
    structures: Structures | None = None,
    spent: float = 0.0,
    share: float = 1.0,
) -> Generator[Progress | StepReport | EpochReport | Notice, None, SavedModel]:
    """Train a new model on boxes, or go on with a run that stopped.

    Parameters
    ----------
    boxes : Boxes
        Normalised boxes (n, channels, y, x).
    model_config : dataclass
        Configuration of the model, such as `TargetVAEConfig`.
    config : TrainingConfig
        How it is trained.
    normalisation : Normalisation
        What was done to the boxes; goes into the model file.
    output : Path
        The model file, ``M.safetensors``: always the best model so far. ``M.log.csv`` has a
        row an epoch.
    kind : str
        The system, as registered with the model files.
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps".
    checkpoint : Path, optional
        Where the state of the run is kept, by default `checkpoint_path` of ``output``. It stays
        when training ends, so that resuming then costs nothing.
    resume : bool
        Go on from the checkpoint.
    earlier_epochs : int
        Epochs of an earlier round, whose log this run goes on with.
    source : dict, optional
        Where the boxes came from, for the record in the model file; plain JSON. Of files whose
        whole path is given only the name is kept: who shares a model shares no folders.
    pixel_size : float, optional
        Angstrom a pixel of the boxes; goes into the model file.
    ctf : ContrastTransfer, optional
        Of each box; applied to what the model draws.
    targets : Boxes, optional
        As for `fit`.
    structures : Structures, optional
        To begin with; where ``config`` wants some, they are looked for when not given.
    spent : float
        Seconds of the minutes of ``config`` that the run has spent before, in this session.
    share : float
        Of what is left of the minutes; less than 1 where another round follows.

    Yields
    ------
    Progress, StepReport, EpochReport or Notice

    Returns
    -------
    SavedModel
        The best model, as it is in the file. Closing the generator leaves that file as well.

    Raises
    ------
    InputError
        If a checkpoint does not fit, the device is missing, there are too few boxes, or those of
        volumes miss a wedge of which the configuration does not tell.
    TrainingError
        If training diverges.
    """
    check_type("model_config", model_config, model_kind(kind).config)
    check_type("config", config, TrainingConfig)
    check_type("normalisation", normalisation, Normalisation)
    output = Path(output)
    settings: dict[str, Any] = {"kind": kind, "config": asdict(model_config), "seed": config.seed}
    settings["batch_size"], settings["images"] = config.batch_size, len(boxes)
    checkpoint = checkpoint or checkpoint_path(output)
    state = TrainingState()
    if resume:
        state, before = load_checkpoint(checkpoint)
        changed = [name for name in settings if settings[name] != before.get(name)]
        if changed:
            raise InputError(
                f"{checkpoint} was trained with another {', '.join(changed)}; give the same input "
                "and settings to resume, or train without --resume."
            )
    with torch.random.fork_rng([]):
        torch.manual_seed(config.seed)
        model = build_model(kind, settings["config"])
    assert isinstance(model, nn.Module)
    if resume:
        check_fits(checkpoint, state, model)
    check_trainable(model, boxes, config)
    if not resume:
        _check_wedge(model_config, boxes)
    model.to(choose_device(device))
    state.before += spent
    outcome = _Outcome(output, checkpoint, settings, normalisation, earlier_epochs, share)
    origin: dict[str, Any] = {"source": without_folders(source or {})}
    if pixel_size is not None:
        origin["pixel_size"] = pixel_size
    return _train(model, boxes, config, state, outcome, origin, ctf, targets, structures)


def _check_wedge(model_config: Any, boxes: Boxes) -> None:
    """Refuse volumes of which a wedge is plainly missing, where no tilt range was told."""
    if not isinstance(model_config, KnowsWedge) or model_config.wedge is not None:
        return
    few = torch.linspace(0, len(boxes) - 1, min(len(boxes), _FOR_WEDGE)).round().long()
    some = boxes[few]
    if some.ndim == 5:
        refuse_untold_wedge(some[:, 0].cpu().numpy())


class _Outcome(NamedTuple):
    """Where a run is kept, and what goes there beside the weights."""

    model: Path
    checkpoint: Path
    settings: dict[str, Any]
    normalisation: Normalisation
    earlier_epochs: int
    share: float


def _train(
    model: Model,
    boxes: Boxes,
    config: TrainingConfig,
    state: TrainingState,
    outcome: _Outcome,
    origin: dict[str, Any],
    ctf: ContrastTransfer | None,
    targets: Boxes | None,
    structures: Structures | None,
) -> Generator[Progress | StepReport | EpochReport | Notice, None, SavedModel]:
    assert isinstance(model, nn.Module)
    output, checkpoint, settings, normalisation, earlier_epochs, share = outcome
    began = time.monotonic()
    log = _Log(output.with_name(f"{output.stem}.log.csv"), earlier_epochs, state.epoch)
    record: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "training": asdict(config),
        "images": len(boxes),
        **origin,
        "device": str(next(model.parameters()).device),
        "versions": {name: version(name) for name in ("napari-equipose", "torch", "numpy")}
        | {"python": platform.python_version()},
    }
    try:
        if config.structures and state.last:
            record["structures"] = load_model(output).record["structures"]
        elif config.structures:
            job = begin_with_structures(model, boxes, config, ctf, structures)
            record["structures"] = yield from job
        if config.structures:
            keep_structures(model, record["structures"])
        state.before += time.monotonic() - began  # of the search
        limited = timed(config, state.before, share)
        for report in fit(model, boxes, limited, state, ctf=ctf, targets=targets):
            if isinstance(report, EpochReport):
                log.add(report)
                record |= {"epochs": report.epoch, "seconds": round(report.seconds, 1)}
                if report.best:
                    record |= {
                        "best_epoch": report.epoch,
                        "validation_loss": report.validation_loss,
                    }
                    save_model(output, model, normalisation, record)
                save_checkpoint(checkpoint, state, settings)
            yield report
    except (GeneratorExit, KeyboardInterrupt):
        if not state.best and not output.exists():  # within the first epoch
            save_model(output, model, normalisation, record | {"epochs": 0})
        raise
    epochs, of = earlier_epochs + state.epoch, earlier_epochs + config.epochs
    if share == 1 and 2 * epochs < of and share_done(limited, 0, state.seconds) >= 1:
        yield Notice(
            f"the time limit of {config.minutes:g} min ended training after {epochs} of {of} "
            "epochs: the model may be rough; give it more minutes"
        )
    if not state.best:
        raise InputError("training ended before its first epoch did; give it more minutes.")
    return load_model(output)


class _Log:
    """A CSV file with a row an epoch; rows past the epoch that a run resumes from are dropped."""

    def __init__(self, path: Path, earlier: int, done: int) -> None:
        self.path, self.earlier = path, earlier
        epoch = earlier + done
        self.rows: list[dict[str, Any]] = []
        if epoch and path.is_file():
            with path.open(newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["epoch"]) <= epoch]

    def add(self, report: EpochReport) -> None:
        row = report._asdict() | {"epoch": self.earlier + report.epoch}
        row |= row.pop("parts")
        for name in ("epochs", "seconds_left"):
            del row[name]
        self.rows.append(row | {"best": int(report.best), "seconds": round(report.seconds, 2)})
        with atomic_path(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(self.rows[-1]))
            writer.writeheader()
            writer.writerows(self.rows)
