"""The training of a model before its boxes are aligned: begun, or gone on with."""

from dataclasses import replace

from ..geometry import MissingWedge
from ..training import RunFolder, read_run, unfinished_run, unfinished_runs, write_run
from ._align_particles import Particles
from ._align_settings import AlignSettings, ModelForm
from ._panel import new_model_path, user_folder
from ._preferences import read_preferences
from ._train_job import Order, Source
from ._worker import job_threads

_KIND = "harmony"


def new_training(
    settings: AlignSettings, model: ModelForm, particles: Particles, wedge: MissingWedge | None
) -> Order:
    """A training as the forms say, refused where it can't be before anything is written.

    Raises
    ------
    InputError
        If a setting can't be.
    """
    run = settings.read_run(
        model,
        wedge,
        box_size=particles.shape[1],
        dimensions=particles.dimensions,
        channels=3 if particles.rgb else 1,
        n_images=particles.shape[0],
    )
    output = new_model_path(particles.name)
    images = (particles.path,) if particles.path else ()
    return Order(
        run=replace(run, images=images, output=str(output), threads=job_threads()),
        source=Source(particles.name, particles.record, stack=particles.data),
        output=output,
        own_process=read_preferences().own_process,
    )


def resumed_training(folder: RunFolder, device: str) -> Order:
    """The training of a folder, on a device.

    Raises
    ------
    InputError
        If the folder can't be read.
    OSError
        If it can't be written.
    """
    run = replace(read_run(folder.run_file), device=device)
    write_run(folder.run_file, run)
    own_process = read_preferences().own_process
    return Order(run=run, output=folder.model, own_process=own_process)


def training_to_resume(last: Order | None) -> RunFolder | None:
    """Find the last training of this panel if it is not done, else the latest of its kind."""
    if last is not None:
        own = unfinished_run(RunFolder.of(last.output))
        if own is not None and own.can_resume:
            return own.folder
    for run in unfinished_runs(user_folder()):
        try:
            if run.can_resume and read_run(run.folder.run_file).model == _KIND:
                return run.folder
        except Exception:  # one that can't be read is not offered
            continue
    return None
