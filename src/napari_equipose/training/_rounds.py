"""Learning from large images: first roughly, then again from what was found."""

import shutil
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._files import atomic_path
from ..geometry import InputError, check_type
from ..inference import (
    IsolatedBoxes,
    Notice,
    Progress,
    Structures,
    agree_on_frames,
    calibrate,
    calibrate_volumes,
    find_categories,
    isolate,
    least_score,
)
from ..inference._outlines import read_boxes, turn_of
from ..inference._power_search import PowerModel
from ..inference._shape_search import join_objects
from ..models import (
    SavedModel,
    build_model,
    can_pick,
    choose_device,
    load_model,
    model_kind,
    save_model,
)
from ._batches import check_enough
from ._checkpoint import checkpoint_path, load_checkpoint
from ._extent import extent
from ._prepare_run import ENOUGH_TO_SORT, PreparedRun
from ._proposals import nothing_recurs
from ._reports import EpochReport, StepReport
from ._run_folder import RunFolder
from ._train import train
from ._training_config import TrainingConfig
from ._wake_sleep import LEAST_BOXES, find_classes

_FIRST_PART = 0.4
"""Of the epochs and of the time."""
_ROOM = 1.2
"""Between the extent of objects and the middle of the boxes that the first round learns from."""
_LEAST_BOXES = 20
_LIKELY = 0.5
"""Probability above which a shape with an outline is taken for an object."""
_FEW_ALIKE = 1 / 4
"""Part of the candidates in classes, below which these may be something odd that is strong."""
_CALIBRATION_IMAGES = 3


def train_prepared(
    prepared: PreparedRun,
    *,
    output: Path,
    kind: str = "target-vae",
    device: str = "auto",
    resume: bool = False,
    source: dict[str, Any] | None = None,
    spent: float = 0.0,
) -> Generator[StepReport | EpochReport | Progress | Notice, None, SavedModel]:
    """Train as `train` does; on large images in two rounds, on volumes in one.

    Where images are so noisy that structures are wanted, boxes are sorted into classes first, and
    the model begins with them and learns, in one round, from their members. Where there are two
    answers to where the objects are, blobs and what has power that recurs, that one is taken of
    which the classes explain more.

    Objects that were found by their outlines are learned in one round: each box shows one. Where
    classes are not wanted in noise, or pixels are off or on, candidates are rough, and in a crowd
    their boxes show neighbors. So the first round learns one typical object from the middle of the
    boxes, its content held at zero; the middle is two thirds of the canonical frame, and more where
    objects are seen to be hollow. That model finds objects in the images; each is cut out with the
    others explained away, and the second round learns from those boxes. The minimum score of an
    object goes into the model's record, and how it is found.

    Parameters
    ----------
    prepared : PreparedRun
    output, kind, device, resume, source
        As for `train`, but without a checkpoint a run begins anew. While the first round runs,
        ``output`` is its model. What is needed to resume is in ``M.run`` until the run is done.
    spent : float
        Seconds of the minutes of the run that its preparation took, in this session.

    Yields
    ------
    StepReport, EpochReport, Progress or Notice
        Epochs are counted through both rounds.

    Returns
    -------
    SavedModel

    Raises
    ------
    InputError
        As for `train`.
    """
    check_type("prepared", prepared, PreparedRun)
    check_type("prepared.model_config", prepared.model_config, model_kind(kind).config)
    check_enough(prepared.boxes)
    choose_device(device)
    with torch.random.fork_rng([]):
        model = build_model(kind, asdict(prepared.model_config))
    if prepared.images and not _are_volumes(prepared) and not can_pick(model):
        raise InputError(
            f"a {kind} model finds no objects in large images, so it can't learn from them: give a "
            "stack of boxes, or take another kind of model."
        )
    return _train_prepared(prepared, Path(output), kind, device, resume, source, spent)


def _train_prepared(
    prepared: PreparedRun,
    output: Path,
    kind: str,
    device: str,
    resume: bool,
    source: dict[str, Any] | None,
    spent: float,
) -> Generator[StepReport | EpochReport | Progress | Notice, None, SavedModel]:
    settings: dict[str, Any] = {"kind": kind, "device": device, "source": source}
    settings |= {"normalisation": prepared.normalisation, "pixel_size": prepared.pixel_size}
    model, whole = prepared.model_config, prepared.training_config
    again = resume and checkpoint_path(output).exists()
    start = time.monotonic() - spent

    def used() -> float:
        return time.monotonic() - start

    if prepared.outlines is not None:
        settings["spent"] = used()
        yield from train(prepared.boxes, model, whole, output=output, resume=again, **settings)
        _agree(output, prepared.boxes, device)
        saved = _with_outlines(output, prepared, device)
        _forget(output)
        return saved
    if not prepared.images or _are_volumes(prepared):
        settings |= {"ctf": prepared.ctf, "targets": prepared.targets}
        settings["spent"] = used()
        job = train(prepared.boxes, model, whole, output=output, resume=again, **settings)
        saved = yield from job
        _agree(output, prepared.boxes, device)
        _sort(output, prepared.boxes, device)
        saved = load_model(output)
        if can_pick(saved.model) and prepared.ctf is None:
            saved = _with_threshold(output, least_score(saved, prepared.boxes, device))
        elif prepared.images:
            saved = yield from _calibrated(output, prepared, device)
        _forget(output)
        return saved
    if whole.structures:
        chosen, boxes, found = yield from _members(prepared, output, again)
        model, whole = chosen.model_config, chosen.training_config
        settings |= {"structures": found, "spent": used()}
        yield from train(boxes, model, whole, output=output, resume=again, **settings)
        _agree(output, boxes, device)
        if chosen.power is not None:
            saved = _with_power(output, chosen.power)
        else:
            saved = yield from _calibrated(output, prepared, device)
        _forget(output)
        return saved
    first_epochs = max(1, round(_FIRST_PART * whole.epochs))
    first = replace(whole, epochs=first_epochs, content_delay=first_epochs)
    part = min(_ROOM * extent(prepared.boxes, model.canonical_size), 1)
    size = round(model.canonical_size * max(part, 2 / 3))
    rough = replace(model, object_size=size + 1 - size % 2)
    if model.focus is not None:
        rough = replace(rough, focus=max(part, 0.6) * model.focus)
    located = checkpoint_path(output).with_name("round1.safetensors")
    if not again:
        settings["checkpoint"] = located.with_name("round1.checkpoint.safetensors")
        settings["resume"] = resume and settings["checkpoint"].exists()
        limit: dict[str, Any] = {"spent": used(), "share": _FIRST_PART}
        if settings["resume"]:  # what earlier sessions took counts for the second round as well
            state, _ = load_checkpoint(settings["checkpoint"])
            start -= state.before + state.seconds
        job = train(prepared.boxes, rough, first, output=located, **limit, **settings)
        del settings["checkpoint"], settings["resume"]
        began = time.monotonic()
        try:
            for report in job:
                if isinstance(report, EpochReport):
                    if report.best:
                        _copy(located, output)
                    report = report._replace(epochs=whole.epochs)
                if isinstance(report, StepReport | EpochReport):
                    left = report.seconds_left + _second_round(report, began, first, whole)
                    if whole.minutes:
                        left = min(left, max(60 * whole.minutes - used(), 0))
                    report = report._replace(seconds_left=left)
                yield report
        except (GeneratorExit, KeyboardInterrupt):
            job.close()
            if located.exists() and not output.exists():  # within the first epoch
                _copy(located, output)
            raise
    earlier = _epochs_in(_log(located), first_epochs)
    done = earlier if whole.minutes else first_epochs
    second = replace(
        whole,
        epochs=max(1, whole.epochs - done),
        content_delay=min(2, whole.epochs - 1),
    )
    boxes = yield from _boxes(load_model(located), prepared, device)
    if not again and _log(located).exists():
        _copy(_log(located), _log(output))
    settings |= {"earlier_epochs": earlier, "spent": used()}
    for report in train(boxes, model, second, output=output, resume=again, **settings):
        if isinstance(report, EpochReport):
            report = report._replace(epoch=report.epoch + earlier, epochs=whole.epochs)
        elif isinstance(report, StepReport):
            report = report._replace(epoch=report.epoch + earlier)
        yield report
    _agree(output, boxes, device)
    saved = yield from _calibrated(output, prepared, device)
    _forget(output)
    return saved


def _members(
    prepared: PreparedRun, output: Path, again: bool
) -> Generator[Progress | Notice, None, tuple[PreparedRun, Tensor, Structures | None]]:
    """Find classes: which answer they speak for, its boxes that belong to one, and the classes.

    A run that goes on knows which boxes they were, and needs no classes.
    """
    answers = [each for each in (prepared, prepared.rival) if each is not None]
    paths = [
        checkpoint_path(output).with_name("members.npy" if each.power is None else "powers.npy")
        for each in answers
    ]
    if again:
        for answer, path in zip(answers, paths, strict=True):
            if path.exists():
                try:
                    rows = torch.from_numpy(np.load(path, allow_pickle=False))
                    return answer, answer.boxes[rows], None
                except (ValueError, TypeError, IndexError, EOFError) as error:
                    raise InputError(f"{path} is damaged; train without --resume.") from error
        raise InputError(f"{paths[0]} is missing; train without --resume.")
    best, weight = None, 0.0
    for number, (answer, path) in enumerate(zip(answers, paths, strict=True)):
        path.unlink(missing_ok=True)  # of a start that died before its first epoch did
        if len(answer.boxes) < ENOUGH_TO_SORT:
            continue
        model, training = answer.model_config, answer.training_config
        found = yield from find_classes(model, answer.boxes, training, answer.decoys)
        members = found.members()
        explained = float((members.score**2).sum()) - members.by_chance
        if len(members.rows) >= LEAST_BOXES and explained > weight:
            best, weight = (number, members), explained
    if best is None:
        raise InputError(nothing_recurs(prepared.model_config.canonical_size))
    number, members = best
    if len(members.rows) < _FEW_ALIKE * len(answers[number].boxes):
        yield Notice(
            f"only {len(members.rows)} of {len(answers[number].boxes)} candidates are alike: what "
            "is learned may be ice or dirt rather than your objects; look at the boxes, and click "
            "a few of your objects as examples if they are not those"
        )
    with atomic_path(paths[number]) as temporary, temporary.open("wb") as file:
        np.save(file, members.rows)
    boxes = answers[number].boxes[torch.from_numpy(members.rows)]
    return answers[number], boxes, members._replace(rows=np.arange(len(boxes)))


def _are_volumes(prepared: PreparedRun) -> bool:
    return prepared.boxes.ndim == 5


def _forget(output: Path) -> None:
    """Remove what was needed to resume, and the folder where it holds nothing else."""
    folder = RunFolder.of(output)
    folder.forget()
    with suppress(OSError):
        folder.path.rmdir()


def _second_round(
    report: StepReport | EpochReport, began: float, first: TrainingConfig, whole: TrainingConfig
) -> float:
    """Seconds that the second round will take, as far as the first one tells."""
    first_round = time.monotonic() - began + report.seconds_left
    return first_round * (whole.epochs - first.epochs) / first.epochs


def _epochs_in(log: Path, otherwise: int) -> int:
    """How many epochs a log tells of; it has a row for each."""
    try:
        return max(len(log.read_text(encoding="utf-8").splitlines()) - 1, 1)
    except (OSError, UnicodeDecodeError):
        return otherwise


def _log(model: Path) -> Path:
    return model.with_name(f"{model.stem}.log.csv")


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def _boxes(
    saved: SavedModel, prepared: PreparedRun, device: str
) -> Generator[Progress | Notice, None, Tensor]:
    """Boxes of single objects, or the first boxes again where next to none is found."""
    parts: list[IsolatedBoxes] = []
    for image in prepared.images:
        part = yield from isolate(saved, image, prepared.model_config.box_size, device)
        parts.append(part)
    boxes = torch.cat([part.boxes for part in parts])
    return boxes if len(boxes) >= _LEAST_BOXES else prepared.boxes


def _calibrated(
    path: Path, prepared: PreparedRun, device: str
) -> Generator[Progress | Notice, None, SavedModel]:
    """Put the threshold that suits the training images into the model file."""
    saved = load_model(path)
    images = prepared.images[:_CALIBRATION_IMAGES]
    job = (calibrate_volumes if _are_volumes(prepared) else calibrate)(saved, images, device)
    return _with_threshold(path, (yield from job))


def _agree(path: Path, boxes: Tensor, device: str) -> None:
    """Let like objects of a model lie alike, where the model's frame may be turned."""
    saved = load_model(path)
    if hasattr(saved.model, "set_frames"):
        agree_on_frames(saved, boxes, device)
        save_model(path, saved.model, saved.normalisation, saved.record)


def _sort(path: Path, boxes: Tensor, device: str) -> None:
    """Put the categories of a model where the groups are that it learnt."""
    saved = load_model(path)
    if hasattr(saved.model, "set_categories"):
        find_categories(saved, boxes, device)
        save_model(path, saved.model, saved.normalisation, saved.record)


def _with_outlines(path: Path, prepared: PreparedRun, device: str) -> SavedModel:
    """Put into the model file how its objects are found."""
    assert prepared.outlines is not None and prepared.objects is not None
    saved = load_model(path)
    rotation, _ = read_boxes(saved, prepared.boxes, device)
    objects = join_objects(prepared.objects)
    outlines = prepared.outlines._replace(turn=turn_of(rotation.numpy(), objects))
    record = saved.record | {"threshold": _LIKELY, "outlines": outlines.to_record()}
    save_model(path, saved.model, saved.normalisation, record)
    return load_model(path)


def _with_power(path: Path, power: PowerModel) -> SavedModel:
    """Put into the model file how its objects are found in noise."""
    saved = load_model(path)
    record = saved.record | {"threshold": _LIKELY, "power": power.to_record()}
    save_model(path, saved.model, saved.normalisation, record)
    return load_model(path)


def _with_threshold(path: Path, threshold: float) -> SavedModel:
    saved = load_model(path)
    record = saved.record | {"threshold": round(threshold, 4)}
    save_model(path, saved.model, saved.normalisation, record)
    return load_model(path)
