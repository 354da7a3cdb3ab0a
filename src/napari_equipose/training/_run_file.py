"""All the settings of a training run, and the file that repeats one."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

from .._files import write_json
from ..geometry import InputError, check_limits
from ._kinds import changed, check_kind, check_learns_from, typed_settings
from ._presets import Preset
from ._training_config import TrainingConfig, lasting
from ._typed import typed

_FORMAT = 1
_FROM_IMAGES = {
    "dimensions": "the images",
    "channels": "the images",
    "box_size": "the box size of the run",
}


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """What a person chooses, in a form or on a command line, to train a model.

    What is None, or not among ``settings``, is as the preset has it.
    """

    images: tuple[str, ...] = ()
    """Files: one stack of boxes, or, with a box size, one or more large images, or volumes such as
    tomograms, as the kind of model finds objects in."""
    positions: str = ""
    """A table of the centres (y, x) of the boxes in one large image; found when not given."""
    examples: str = ""
    """A table of picks: the centers (y, x) of a few objects in the large images, which tell what
    the objects to look for are like."""
    targets: str = ""
    """A stack of the same objects, aligned, for a kind of model that can be supervised."""
    ctf: bool = False
    """Whether the CTF in a STAR file is applied to what is drawn."""
    output: str = ""
    """The model file."""
    model: str = "target-vae"
    """Kind of model, as `models.model_kinds` lists them."""
    preset: Preset = "fast"
    box_size: int | None = None
    """Side, in pixels, of the boxes cut from large images or volumes; None where a stack holds
    boxes."""
    polarity: Literal["either", "dark", "bright"] = "either"
    likelihood: Literal["auto", "bernoulli", "gaussian"] = "auto"
    content_dim: int | None = None
    """When not given it becomes what is usual of the kind."""
    epochs: int | None = None
    minutes: float | None = None
    pixel_size: float | None = None
    """Angstrom a pixel of the images; what is not given their files say, if they do."""
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    """Of the processor; on it the last digits of a result depend on their number."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the configurations of the model and of its training, by name."""

    def __post_init__(self) -> None:
        known = get_type_hints(type(self))
        for name in ("preset", "polarity", "likelihood"):
            typed(name, getattr(self, name), known[name])
        kind = check_kind(self.model)
        if self.preset not in kind.presets:
            raise InputError(
                f"preset must be one of {', '.join(kind.presets)} for {self.model}, got "
                f"{self.preset!r}."
            )
        for name, usual in kind.without.items():
            if getattr(self, name) != usual:
                raise InputError(f"{self.model} knows no {name}; leave it out.")
        if self.content_dim is None:
            object.__setattr__(self, "content_dim", kind.content_dim)
        object.__setattr__(self, "images", tuple(self.images))
        object.__setattr__(self, "settings", typed_settings(self.model, self.settings))
        check_limits({**vars(self), **self.settings})
        if self.pixel_size is not None and not self.pixel_size > 0:
            raise InputError(f"pixel_size must be positive, got {self.pixel_size:g}.")

    def configurations(
        self, *, box_size: int, channels: int, n_images: int, likelihood: str, dimensions: int = 2
    ) -> tuple[Any, TrainingConfig]:
        """Put the preset and the settings together for images of a kind.

        Returns
        -------
        config
            Of the class that the kind of the run says.
        TrainingConfig

        Raises
        ------
        InputError
            If a value is not possible, or a setting contradicts the images.
        """
        from_images = {"dimensions": dimensions, "channels": channels, "box_size": box_size}
        for name, wanted in from_images.items():
            given = self.settings.get(name, wanted)
            if given != wanted:
                raise InputError(f"{name} is {wanted}, from {_FROM_IMAGES[name]}; got {given}.")
        check_learns_from(self.model, dimensions)
        model, training = check_kind(self.model).configurations(
            self.preset,
            self.settings,
            content_dim=self.content_dim,
            n_images=n_images,
            likelihood=likelihood,
            **from_images,
        )
        epochs = self.settings.get("epochs", self.epochs)
        if epochs is not None:
            training = lasting(training, epochs)
        minutes = training.minutes if self.minutes is None else self.minutes
        training = replace(training, minutes=minutes, seed=self.seed)
        return changed(model, self.settings), changed(training, self.settings)


def read_run(path: str | Path) -> TrainingRun:
    """Read a run file; names of files in it start at its own folder.

    Raises
    ------
    InputError
        If it is missing, no JSON, or holds what a run does not have.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a run file (JSON): {error}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a run file: it holds no settings by name.")
    if content.pop("format", _FORMAT) != _FORMAT:
        raise InputError(f"{path} was written by a later version; update napari-equipose.")
    known = get_type_hints(TrainingRun)
    try:
        for name in content:
            if name not in known:
                raise InputError(f"no setting {name!r}; known are {', '.join(known)}.")
            if name == "images":
                if not _is_list_of_names(content[name]):
                    raise InputError("images must be a list of file names.")
            elif name == "settings":
                if not isinstance(content[name], dict):
                    raise InputError("settings must be names with values.")
            else:
                content[name] = typed(name, content[name], known[name])
        return _with_paths(TrainingRun(**content), lambda name: _joined(path, name))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def write_run(path: str | Path, run: TrainingRun) -> None:
    """Write a run file: JSON that `read_run` and ``equipose train --config`` read.

    The names of files in ``run`` start at the working folder. Those that lie in or below the
    folder above that of the run file are written from there, so that all can be moved together.
    """
    path = Path(path)
    run = _with_paths(run, lambda name: _relative(path, name))
    write_json(path, {"format": _FORMAT, **asdict(run)})


def _with_paths(run: TrainingRun, change: Callable[[str], str]) -> TrainingRun:
    images = tuple(change(name) for name in run.images)
    names = ("output", "positions", "examples", "targets")
    changed: dict[str, Any] = {
        name: (path := getattr(run, name)) and change(path) for name in names
    }
    return replace(run, images=images, **changed)


def _joined(run_file: Path, name: str) -> str:
    return os.path.abspath(run_file.parent / Path(name).expanduser())


def _relative(run_file: Path, name: str) -> str:
    whole, folder = Path(os.path.abspath(name)), Path(os.path.abspath(run_file)).parent
    if not whole.is_relative_to(folder.parent):
        return str(whole)
    return Path(os.path.relpath(whole, folder)).as_posix()


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
