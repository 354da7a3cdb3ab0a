"""A run from its folder to its model: what every front end drives."""

import platform
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from .._files import atomic_path
from .._threads import compute_here_with
from ..geometry import InputError, check_type
from ..inference import Notice, Progress, Watched
from ..models import SavedModel, choose_device
from ._inputs import RunInputs, check_inputs
from ._prepare_run import PreparedRun
from ._reports import Report, Started, describe
from ._rounds import train_prepared
from ._run_file import TrainingRun, read_run
from ._run_folder import RunFolder
from ._source import pixel_size_of_layer, settings_to_share

_EXAMPLES = 12
_PATIENCE = 1.0
"""Seconds until what takes long is reported once more."""
_Result = TypeVar("_Result")


def train_run(folder: Path, *, resume: bool = False) -> Generator[Report, None, SavedModel]:
    """Train as a run folder says, and keep there all that is needed to go on or repeat it.

    Parameters
    ----------
    folder : Path
        ``M.run``, as `create_run` makes it.
    resume : bool
        Go on where the run stopped; a run that was stopped before its first epoch ended begins
        anew.

    Yields
    ------
    Progress, Started, StepReport, EpochReport or Notice

    Returns
    -------
    SavedModel
        The best model, ``M.safetensors``. Closing the generator leaves that file as well.

    Raises
    ------
    InputError
        If there is no such run or it was discarded; when it begins, if it goes on elsewhere, an
        input or a setting can't be used, an input is not what it was when the run began, or
        training diverges.
    """
    check_type("folder", folder, str, Path)
    place = RunFolder(Path(folder))
    read_run(place.run_file)
    if resume and place.state.state == "forgotten":
        raise InputError(
            f"{place.path}: this run was forgotten and can't be resumed; "
            f"'equipose train --config {place.run_file} -o NEW.safetensors' repeats it."
        )
    return _train_run(place, resume)


def _train_run(place: RunFolder, resume: bool) -> Generator[Report, None, SavedModel]:
    with place.at_work():
        run = read_run(place.run_file)
        with _threads(run.threads):
            saved = yield from _logged(_work(place, run, resume), place)
    return saved


def _work(place: RunFolder, run: TrainingRun, resume: bool) -> Generator[Report, None, SavedModel]:
    began = time.monotonic()
    yield Progress(0, 1, "reading the images")
    device = choose_device(run.device)
    inputs = RunInputs(run)
    for reason in inputs.left_out.values():
        yield Notice(f"an image is left out: {reason}")
    if inputs.pixel_size is None:
        inputs.pixel_size = pixel_size_of_layer(place.about.get("source") or {})
    identities = inputs.identities()
    if resume and place.inputs:
        check_inputs(place.inputs, identities)
    looking = run.box_size is not None and inputs.positions is None
    step = Progress(0, 1, "looking for objects" if looking else "cutting boxes")
    prepared = yield from _patiently(inputs.prepare, step)
    job = train_prepared(  # refuses before it leaves a trace
        prepared,
        output=place.model,
        kind=run.model,
        device=run.device,
        resume=resume,
        source={"run": settings_to_share(run), **(place.about.get("source") or {})},
        spent=time.monotonic() - began,
    )
    place.write_about(
        inputs=identities,
        left_out=inputs.left_out,
        seed=prepared.training_config.seed,
        threads=torch.get_num_threads(),
        device=_device_words(device),
        platform=platform.platform(),
        versions={name: version(name) for name in ("napari-equipose", "torch", "numpy", "scipy")}
        | {"python": platform.python_version()},
    )
    _keep_examples(place, prepared)
    yield Started(len(prepared.boxes), prepared.boxes.shape[-1], prepared.training_config.epochs)
    saved = yield from job
    return saved


def _patiently(work: Callable[[], _Result], report: Report) -> Generator[Report, None, _Result]:
    """Do in a thread what reports nothing, and report again and again that it goes on.

    So whoever drives the generator can close it meanwhile; what the thread does then, which
    must write nothing, comes to nothing.
    """
    results: queue.SimpleQueue[_Result | BaseException] = queue.SimpleQueue()
    threads = torch.get_num_threads()

    def do() -> None:
        compute_here_with(threads)  # each thread has a number of its own
        try:
            results.put(work())
        except BaseException as error:
            results.put(error)

    yield report
    threading.Thread(target=do, name="Equipose: preparing", daemon=True).start()
    while True:
        try:
            result = results.get(timeout=_PATIENCE)
        except queue.Empty:
            yield report
            continue
        if isinstance(result, BaseException):
            raise result
        return result


def _logged(
    job: Generator[Report, None, _Result], place: RunFolder
) -> Generator[Report, None, _Result]:
    """Put what a job reports into the log of its folder."""
    last = ""
    with closing(Watched(job)) as reports:
        for report in reports:
            line = describe(report)
            if line and line != last:
                place.say(line)
                last = line
            yield report
    return reports.result


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Compute with so many threads, of which the last digits of a result depend."""
    before = torch.get_num_threads()
    compute_here_with(count or before)
    try:
        yield
    finally:
        compute_here_with(before)


def _device_words(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _keep_examples(place: RunFolder, prepared: PreparedRun) -> None:
    """Keep a few boxes, always the same of one run, for pictures of what is learned."""
    generator = torch.Generator().manual_seed(prepared.training_config.seed)
    order = torch.randperm(len(prepared.boxes), generator=generator)
    few: Any = prepared.boxes[order[:_EXAMPLES]]
    assert isinstance(few, Tensor)
    with atomic_path(place.examples) as temporary, temporary.open("wb") as file:
        np.save(file, few.numpy(), allow_pickle=False)
