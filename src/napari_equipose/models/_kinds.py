"""The kinds of models that files hold: those of this package, and those that others add."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from operator import attrgetter
from typing import Any

from ..geometry import InputError
from ._harmony import Harmony
from ._harmony_config import HarmonyConfig
from ._interface import PickingConfig, SupportsPicking
from ._mce_vae import MCEVAE
from ._mce_vae_config import MCEVAEConfig
from ._spatial_vae import SpatialVAE
from ._spatial_vae_config import SpatialVAEConfig
from ._target_vae import TargetVAE
from ._target_vae_config import TargetVAEConfig
from ._vae import VAE, BetaVAEConfig, VAEConfig

ENTRY_POINTS = "napari_equipose.models"
"""Group of entry points. The name of each is that of a kind, and its object is a `ModelKind`."""


@dataclass(frozen=True, kw_only=True)
class ModelKind:
    """What is known of a kind of model before there is one.

    A model tells more in its ``capabilities``; what is said here must agree with them.
    """

    model: Callable[[Any], Any]
    """Makes an untrained `Model`, an ``nn.Module``, of a configuration; mostly its class."""
    config: type
    """A frozen dataclass of plain values: numbers, texts, truth values, None. ``box_size``,
    ``channels`` and ``content_dim`` are among its fields."""
    dimensions: frozenset[int] = frozenset({2})
    """Of the boxes that it can learn from: 2 for images, 3 for volumes."""
    finds_in: frozenset[int] = frozenset()
    """Of the large images, 2, or volumes, 3, that it can find objects in. For images the model must
    do what `SupportsPicking` asks, and its configuration what `PickingConfig` does."""
    numbers: Callable[[Any], int] | None = None
    """How many numbers the network of a configuration needs: weights and buffers. Where it is not
    given an outline of the network tells, at the cost of making one."""


_OWN: Mapping[str, ModelKind] = {
    "target-vae": ModelKind(model=TargetVAE, config=TargetVAEConfig, finds_in=frozenset({2})),
    "harmony": ModelKind(
        model=Harmony,
        config=HarmonyConfig,
        dimensions=frozenset({2, 3}),
        finds_in=frozenset({3}),
    ),
    "spatial-vae": ModelKind(
        model=SpatialVAE,
        config=SpatialVAEConfig,
        dimensions=frozenset({2, 3}),
        numbers=attrgetter("n_numbers"),
    ),
    "mce-vae": ModelKind(model=MCEVAE, config=MCEVAEConfig, numbers=attrgetter("n_numbers")),
    "vae": ModelKind(
        model=VAE,
        config=VAEConfig,
        dimensions=frozenset({2, 3}),
        numbers=attrgetter("n_numbers"),
    ),
    "beta-vae": ModelKind(
        model=VAE,
        config=BetaVAEConfig,
        dimensions=frozenset({2, 3}),
        numbers=attrgetter("n_numbers"),
    ),
}


def model_kinds() -> list[str]:
    """Names of all kinds, sorted. Those that other packages add are not loaded for it."""
    return sorted({*_OWN, *_added()})


def model_kind(name: str) -> ModelKind:
    """Return the kind of a name; one that another package adds is loaded first.

    Raises
    ------
    InputError
        If there is none, or the package that adds it can't be loaded.
    """
    if name in _OWN:
        return _OWN[name]
    added = _added().get(name)
    if added is None:
        raise InputError(
            f"unknown kind of model {name!r}; known are {', '.join(model_kinds())}. Update "
            "napari-equipose, or install the package that brings it."
        )
    return _load(added)


def kind_of(model: Any) -> str:
    """Return the name of the kind that a model is of, told by the class of its configuration.

    Raises
    ------
    InputError
        If it is of none.
    """
    for name in (*_OWN, *_added()):
        try:
            kind = model_kind(name)
        except InputError:  # one that can't be loaded did not make this model
            continue
        if type(model.config) is kind.config:
            return name
    raise InputError(
        f"{type(model).__name__} is no known kind of model: its package must add it to the entry "
        f"points {ENTRY_POINTS!r}."
    )


def _added() -> dict[str, EntryPoint]:
    """Entry points of other packages by name; none goes before a kind of this package."""
    return _found_along(tuple(sys.path))


@cache
def _found_along(path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Entry points of all packages along the import path, which takes a while to go through."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


@cache
def _load(entry: EntryPoint) -> ModelKind:
    try:
        kind = entry.load()
    except Exception as error:  # whatever is wrong with another's code
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(
            f"{_whose(entry)} can't be loaded ({said}); update or remove it."
        ) from error
    if not isinstance(kind, ModelKind):
        raise InputError(
            f"{_whose(entry)} is of type {type(kind).__name__}, and a ModelKind is wanted; "
            "update or remove it."
        )
    if missing := _lacks(kind):
        raise InputError(f"{_whose(entry)} lacks {missing}; update or remove it.")
    return kind


def _lacks(kind: ModelKind) -> str:
    """Say what a kind needs and does not have, as far as that shows before there is a model."""
    config = kind.config
    if not (isinstance(config, type) and is_dataclass(config)):
        return "a configuration that is a dataclass"
    settings = {field.name for field in fields(config)}
    if missing := sorted({"box_size", "channels", "content_dim"} - settings):
        return f"{', '.join(missing)} in its configuration"
    if 2 not in kind.finds_in:
        return ""
    asked = {name for name in vars(PickingConfig) if not name.startswith("_")}
    if missing := sorted(asked - {*settings, *dir(config)}):
        return f"{', '.join(missing)} in its configuration, to find objects in images"
    if isinstance(kind.model, type) and not issubclass(kind.model, SupportsPicking):
        return "the methods of models.SupportsPicking, to find objects in images"
    return ""


def _whose(entry: EntryPoint) -> str:
    package = f"the package {entry.dist.name}" if entry.dist else "another package"
    return f"the kind of model {entry.name!r}, which {package} adds,"
