"""The kinds of models that can be trained: their configurations, presets and settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from inspect import signature
from math import pi
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from ..geometry import InputError
from ..models import BetaVAEConfig, ModelKind, VAEConfig, model_kind, model_kinds
from ._harmony_presets import HarmonyPreset, harmony_preset
from ._mce_vae_presets import MCEVAEPreset, mce_vae_preset
from ._presets import Preset, preset
from ._training_config import TrainingConfig
from ._typed import typed
from ._vae_presets import spatial_vae_preset, vae_preset

_Config = TypeVar("_Config")
_BOXES = {2: "images", 3: "volumes"}
Source = Literal["image", "points", "stack"]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a run needs to know of a kind of model."""

    model: ModelKind
    content_dim: int
    """Where a run does not say."""
    presets: tuple[str, ...]
    configurations: Callable[..., tuple[Any, TrainingConfig]]
    """Of a preset, the settings of the run, and what the images are."""

    @property
    def without(self) -> Mapping[str, Any]:
        """What a run must leave as it usually is, because this kind knows nothing of it."""
        unknown: dict[str, Any] = {}
        if 3 in self.model.finds_in:
            unknown |= {"positions": "", "examples": ""}  # they are places in an image
        if "likelihood" not in get_type_hints(self.model.config):
            unknown["likelihood"] = "auto"
        known = signature(getattr(self.model.model, "loss", _no_loss)).parameters
        if "ctf" not in known:
            unknown["ctf"] = False
        if "targets" not in known:
            unknown["targets"] = ""
        return unknown


def _no_loss() -> None:
    """Stand in for that of a kind that is made by a function."""


def _target_vae(
    name: Any, settings: Mapping[str, Any], *, dimensions: int, **given: Any
) -> tuple[Any, TrainingConfig]:
    return preset(name, **given)


def _harmony(
    name: Any, settings: Mapping[str, Any], *, likelihood: str, **given: Any
) -> tuple[Any, TrainingConfig]:
    transformations = {"rotation", "translation"}
    if settings.get("rotation_range", pi) != pi:
        transformations.remove("rotation")  # several hypotheses are for all rotations
    model, training = harmony_preset(name, transformations=transformations, **given)
    if settings.get("contrast_range") or settings.get("brightness_range"):
        training = replace(training, structures=0)  # of images they are looked for without
    return model, training


def _spatial_vae(
    name: Any, settings: Mapping[str, Any], **given: Any
) -> tuple[Any, TrainingConfig]:
    return spatial_vae_preset(name, **given)


def _mce_vae(name: Any, settings: Mapping[str, Any], **given: Any) -> tuple[Any, TrainingConfig]:
    return mce_vae_preset(name, **given)


def _vae(name: Any, settings: Mapping[str, Any], **given: Any) -> tuple[Any, TrainingConfig]:
    return vae_preset(name, VAEConfig, **given)


def _beta_vae(name: Any, settings: Mapping[str, Any], **given: Any) -> tuple[Any, TrainingConfig]:
    return vae_preset(name, BetaVAEConfig, **given)


def _of_another_package(model: ModelKind) -> Kind:
    """Train a kind as its configuration usually is."""

    def configurations(
        name: Any, settings: Mapping[str, Any], *, n_images: int, **given: Any
    ) -> tuple[Any, TrainingConfig]:
        known = get_type_hints(model.config)
        config = model.config(**{field: given[field] for field in given if field in known})
        training = TrainingConfig(
            epochs=100, learning_rate=1e-3, schedule="cosine", warm_up_steps=100
        )
        return config, training

    return Kind(model=model, content_dim=2, presets=("fast",), configurations=configurations)


KINDS = {
    "target-vae": Kind(
        model=model_kind("target-vae"),
        content_dim=2,
        presets=get_args(Preset),
        configurations=_target_vae,
    ),
    "harmony": Kind(
        model=model_kind("harmony"),
        content_dim=1,
        presets=get_args(HarmonyPreset),
        configurations=_harmony,
    ),
    "spatial-vae": Kind(
        model=model_kind("spatial-vae"),
        content_dim=2,
        presets=get_args(Preset),
        configurations=_spatial_vae,
    ),
    "mce-vae": Kind(
        model=model_kind("mce-vae"),
        content_dim=3,
        presets=get_args(MCEVAEPreset),
        configurations=_mce_vae,
    ),
    "vae": Kind(
        model=model_kind("vae"),
        content_dim=2,
        presets=get_args(Preset),
        configurations=_vae,
    ),
    "beta-vae": Kind(
        model=model_kind("beta-vae"),
        content_dim=4,
        presets=get_args(Preset),
        configurations=_beta_vae,
    ),
}


def check_kind(name: str) -> Kind:
    """Return the kind of a name, also one that another package adds.

    Raises
    ------
    InputError
        If there is none, or the package that adds it can't be loaded.
    """
    return KINDS[name] if name in KINDS else _of_another_package(model_kind(name))


def kinds() -> dict[str, Kind]:
    """All kinds that can be trained, by name, our own first; without those that can't be loaded."""
    found = dict(KINDS)
    for name in model_kinds():
        if name not in found:
            try:
                found[name] = check_kind(name)
            except InputError:  # said where it is asked for
                continue
    return found


def learning_from(dimensions: int) -> str:
    """Name, in words, the kinds that learn from boxes of images, 2, or of volumes, 3."""
    return _in_words(name for name, kind in kinds().items() if dimensions in kind.model.dimensions)


def finding_in(dimensions: int) -> str:
    """Name, in words, the kinds that find objects in large images, 2, or in volumes, 3."""
    return _in_words(name for name, kind in kinds().items() if dimensions in kind.model.finds_in)


def _in_words(names: Any) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else str(last)


def check_learns_from(name: str, dimensions: int) -> None:
    """Refuse boxes that a kind can't learn from.

    Raises
    ------
    InputError
    """
    if dimensions not in check_kind(name).model.dimensions:
        mine = _BOXES[5 - dimensions]
        raise InputError(
            f"a {name} model is of {mine}; train {_BOXES[dimensions]} with the model "
            f"{learning_from(dimensions)}."
        )


def check_finds_in(name: str, dimensions: int | None = None) -> None:
    """Refuse large images, 2, or volumes, 3, that a kind finds no objects in; None: either.

    Raises
    ------
    InputError
    """
    finds = check_kind(name).model.finds_in
    if not finds:
        raise InputError(
            f"a {name} model finds no objects in large images, because its encoder sees whole "
            f"boxes: give a stack of boxes and no box size, or take {finding_in(2)}, which finds "
            f"objects in images, or {finding_in(3)}, in volumes."
        )
    if dimensions is not None and dimensions not in finds:
        raise InputError(
            f"{name} finds objects in {_BOXES[5 - dimensions]}; learn those of "
            f"{_BOXES[dimensions]} with {finding_in(dimensions)}."
        )


def why_not(name: str, source: Source, dimensions: int = 2) -> str:
    """Why a kind can't learn from a source; empty where it can.

    Parameters
    ----------
    name : str
        Of the kind.
    source : {"image", "points", "stack"}
        Large images or volumes to find objects in; places in a large image; a stack of boxes.
    dimensions : {2, 3}
        Of the images or boxes.
    """
    try:
        kind = check_kind(name)
        if source == "image":
            check_finds_in(name, dimensions)
        elif source == "points" and "positions" in kind.without:
            raise InputError(f"{name} knows no positions in an image; give it boxes.")
        check_learns_from(name, dimensions)
    except InputError as error:
        return str(error)
    return ""


def typed_settings(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Check the names of settings, and turn their values into the types of their fields.

    Raises
    ------
    InputError
        If a setting is not one of this kind of model or of training, or can't have its value.
    """
    configs: dict[str, Any] = {"model": check_kind(kind).model.config, "training": TrainingConfig}
    hints: dict[str, Any] = {}
    for config in configs.values():
        hints |= get_type_hints(config)
    for name in settings:
        if name in hints:
            continue
        others = [o for o, known in KINDS.items() if name in get_type_hints(known.model.config)]
        note = f" (it is one of {' and '.join(others)})" if others else ""
        names = "; ".join(
            f"of the {what}: {', '.join(f.name for f in fields(config))}"
            for what, config in configs.items()
        )
        raise InputError(f"no setting {name!r} of {kind}{note}; known are, {names}.")
    return {name: typed(name, value, hints[name]) for name, value in settings.items()}


def wedge_is_untold(kind: str, settings: Mapping[str, Any]) -> bool:
    """Whether a kind of model takes a tilt range of volumes, and the settings give none."""
    known = get_type_hints(check_kind(kind).model.config)
    given = (settings.get(name) for name in ("tilt_min_deg", "tilt_max_deg"))
    return "tilt_min_deg" in known and all(end is None for end in given)


def changed(config: _Config, settings: Mapping[str, Any]) -> _Config:
    """Replace the fields of a configuration that are among the settings."""
    own = {f.name for f in fields(config)}  # type: ignore[arg-type]
    mine = {name: value for name, value in settings.items() if name in own}
    return replace(config, **mine)  # type: ignore[type-var]
