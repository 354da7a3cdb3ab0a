"""The training that ``equipose align --train`` does first."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._show import Display

if TYPE_CHECKING:
    from ..models import SavedModel

_KIND = "harmony"  # of images and of volumes; it infers what aligning takes out


def learn(
    model: Path, stack: Path, options: dict[str, Any], settings: dict[str, Any], display: Display
) -> "SavedModel":
    """Train a model of a stack, or go on with it, as ``equipose train`` does.

    Parameters
    ----------
    model : Path
        The file to write.
    stack : Path
    options : dict
        Of a training run, by name, with ``config``, ``resume`` and ``overwrite``; None where not
        given.
    settings : dict
        Fields of the configurations, by name.
    display : Display
    """
    from .. import training
    from ..geometry import InputError
    from ..models import choose_device
    from ._outputs import check_new_model

    config, resume = options.pop("config"), options.pop("resume")
    check_new_model(model, resume=resume, overwrite=options.pop("overwrite"))
    given = {name: value for name, value in options.items() if value is not None}
    given |= {"images": (str(stack),), "output": str(model)}
    if resume and config is None:
        before = training.RunFolder.of(model).run_file
        config = before if before.is_file() else None
    if resume and config is None:
        raise InputError(f"{model}: no checkpoint to resume from; train without --resume.")
    if config is None:
        run = training.TrainingRun(**{"model": _KIND} | given, settings=settings)
    else:
        before_it = training.read_run(config)
        run = replace(before_it, **given, settings={**before_it.settings, **settings})
    if run.box_size is not None:
        raise InputError(f"{config}: a run on large images makes no model of a stack to align.")
    choose_device(run.device)
    folder = training.create_run(model, run, resume=resume)
    try:
        return display.run(training.train_run(folder.path, resume=resume), "training")
    except KeyboardInterrupt:
        if model.exists() and any(folder.path.glob("*checkpoint*")):
            display.say(f"the best model so far is in {model}; --train --resume goes on from here")
        raise
