"""All the settings of a training run, and the file that repeats one."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, cast, get_args, get_type_hints

from .._files import write_json
from ..geometry import InputError
from ..models import TargetVAEConfig
from ._presets import Preset, preset
from ._training_config import TrainingConfig

_FORMAT = 1
_CONFIGS = {"model": TargetVAEConfig, "training": TrainingConfig}
_FROM_IMAGES = {"channels": "the images", "box_size": "the box size of the run"}
_Config = TypeVar("_Config", TargetVAEConfig, TrainingConfig)


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """What a person chooses, in a form or on a command line, to train a model.

    What is None, or not among ``settings``, is as the preset has it.
    """

    images: tuple[str, ...] = ()
    """Files: one stack of boxes, or, with a box size, one or more large images."""
    positions: str = ""
    """A table of the centres (y, x) of the boxes in one large image; found when not given."""
    ctf: bool = False
    """Whether the CTF in a STAR file is applied to what is drawn."""
    output: str = ""
    """The model file."""
    model: str = "target-vae"
    """Kind of model."""
    preset: Preset = "fast"
    box_size: int | None = None
    """Side, in pixels, of the boxes cut from large images; None where a stack holds boxes."""
    polarity: Literal["either", "dark", "bright"] = "either"
    likelihood: Literal["auto", "bernoulli", "gaussian"] = "auto"
    content_dim: int = 2
    epochs: int | None = None
    minutes: float | None = None
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
        object.__setattr__(self, "images", tuple(self.images))
        object.__setattr__(self, "settings", _typed_settings(self.settings))

    def configurations(
        self, *, box_size: int, channels: int, n_images: int, likelihood: str
    ) -> tuple[TargetVAEConfig, TrainingConfig]:
        """Put the preset and the settings together for images of a kind.

        Raises
        ------
        InputError
            If a value is not possible, or a setting contradicts the images.
        """
        model, training = preset(
            self.preset,
            box_size=box_size,
            channels=channels,
            content_dim=self.content_dim,
            likelihood=cast(Literal["bernoulli", "gaussian"], likelihood),
            n_images=n_images,
        )
        chosen: dict[str, Any] = {"epochs": self.epochs, "minutes": self.minutes, "seed": self.seed}
        chosen = {name: value for name, value in chosen.items() if value is not None}
        training = replace(training, **chosen)
        for name, wanted in {"box_size": box_size, "channels": channels}.items():
            given = self.settings.get(name, wanted)
            if given != wanted:
                raise InputError(f"{name} is {wanted}, from {_FROM_IMAGES[name]}; got {given}.")
        return _changed(model, self.settings), _changed(training, self.settings)


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
    output, positions = (name and change(name) for name in (run.output, run.positions))
    return replace(run, images=images, output=output, positions=positions)


def _joined(run_file: Path, name: str) -> str:
    return os.path.abspath(run_file.parent / Path(name).expanduser())


def _relative(run_file: Path, name: str) -> str:
    whole, folder = Path(os.path.abspath(name)), Path(os.path.abspath(run_file)).parent
    if not whole.is_relative_to(folder.parent):
        return str(whole)
    return Path(os.path.relpath(whole, folder)).as_posix()


def typed(name: str, value: Any, hint: Any) -> Any:
    """Turn a value, or the text of one, into the type of a field.

    Raises
    ------
    InputError
        If it is none of that type.
    """
    options = (hint,) if get_args(hint) == () or _is_literal(hint) else get_args(hint)
    for option in options:
        if _is_literal(option):
            if value in get_args(option):
                return value
        elif option is NoneType:
            if value is None or (isinstance(value, str) and value.lower() == "none"):
                return None
        else:
            converted = _CONVERTERS[option](value)
            if converted is not None:
                return converted
    raise InputError(f"{name} must be {_words(options)}, got {value!r}.")


def _to_bool(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(
        str(value).lower()
    )


def _to_int(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
        return int(number) if number.is_integer() else None
    except (TypeError, ValueError):
        return None


def _to_float(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


_CONVERTERS: dict[Any, Any] = {
    bool: _to_bool,
    int: _to_int,
    float: _to_float,
    str: lambda value: value if isinstance(value, str) else None,
}


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_literal(hint: Any) -> bool:
    return getattr(hint, "__origin__", None) is Literal


def _words(options: Sequence[Any]) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    words = [
        f"one of {', '.join(get_args(o))}" if _is_literal(o) else names.get(o, "none")
        for o in options
    ]
    return " or ".join(words)


def _typed_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Check the names of settings, and turn their values into the types of their fields."""
    hints: dict[str, Any] = {}
    for config in _CONFIGS.values():
        hints |= get_type_hints(config)
    for name in settings:
        if name not in hints:
            names = "; ".join(
                f"of the {what}: {', '.join(f.name for f in fields(config))}"
                for what, config in _CONFIGS.items()
            )
            raise InputError(f"no setting {name!r}; known are, {names}.")
    return {name: typed(name, value, hints[name]) for name, value in settings.items()}


def _changed(config: _Config, settings: Mapping[str, Any]) -> _Config:
    """Replace the fields of a configuration that are among the settings."""
    own = {f.name for f in fields(config)}
    return replace(config, **{name: value for name, value in settings.items() if name in own})
