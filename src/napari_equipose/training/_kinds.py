"""The kinds of models that can be trained: their configurations, presets and settings."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from math import pi
from typing import Any, NamedTuple, TypeVar, get_type_hints

from ..geometry import InputError
from ..models import HarmonyConfig, TargetVAEConfig
from ._harmony_presets import harmony_preset
from ._presets import preset
from ._training_config import TrainingConfig
from ._typed import typed

_Config = TypeVar("_Config")


class Kind(NamedTuple):
    """What a run needs to know of a kind of model."""

    config: type
    content_dim: int
    """Where a run does not say."""
    configurations: Callable[..., tuple[Any, TrainingConfig]]
    """Of a preset, the settings of the run, and what the images are."""
    without: Mapping[str, Any]
    """What a run must leave as it usually is, because this kind knows nothing of it."""


def _target_vae(
    name: Any, settings: Mapping[str, Any], *, dimensions: int, **given: Any
) -> tuple[Any, TrainingConfig]:
    if dimensions != 2:
        raise InputError("a target-vae model is of images; train volumes with the model harmony.")
    return preset(name, **given)


def _harmony(
    name: Any, settings: Mapping[str, Any], *, likelihood: str, **given: Any
) -> tuple[Any, TrainingConfig]:
    transformations = {"rotation", "translation"}
    if settings.get("rotation_range", pi) != pi:
        transformations.remove("rotation")  # several hypotheses are for all rotations
    return harmony_preset(name, transformations=transformations, **given)


KINDS = {
    "target-vae": Kind(TargetVAEConfig, 2, _target_vae, {}),
    "harmony": Kind(
        *(HarmonyConfig, 1, _harmony),
        {"positions": "", "likelihood": "auto", "ctf": False},
    ),
}


def check_kind(name: str) -> Kind:
    """Return the kind of a name.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in KINDS:
        raise InputError(f"unknown kind of model {name!r}; known are {', '.join(sorted(KINDS))}.")
    return KINDS[name]


def typed_settings(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Check the names of settings, and turn their values into the types of their fields.

    Raises
    ------
    InputError
        If a setting is not one of this kind of model or of training, or can't have its value.
    """
    configs: dict[str, Any] = {"model": KINDS[kind].config, "training": TrainingConfig}
    hints: dict[str, Any] = {}
    for config in configs.values():
        hints |= get_type_hints(config)
    for name in settings:
        if name in hints:
            continue
        others = [other for other in KINDS if name in get_type_hints(KINDS[other].config)]
        note = f" (it is one of {' and '.join(others)})" if others else ""
        names = "; ".join(
            f"of the {what}: {', '.join(f.name for f in fields(config))}"
            for what, config in configs.items()
        )
        raise InputError(f"no setting {name!r} of {kind}{note}; known are, {names}.")
    return {name: typed(name, value, hints[name]) for name, value in settings.items()}


def changed(config: _Config, settings: Mapping[str, Any]) -> _Config:
    """Replace the fields of a configuration that are among the settings."""
    own = {f.name for f in fields(config)}  # type: ignore[arg-type]
    mine = {name: value for name, value in settings.items() if name in own}
    return replace(config, **mine)  # type: ignore[type-var]
