"""Model files: safetensors with kind, configuration and training record inside."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from math import isfinite
from pathlib import Path
from threading import Lock
from typing import Any, get_args, get_type_hints

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .. import __version__
from .._files import atomic_path
from ..geometry import InputError
from ._interface import KnowsCategories, Model
from ._kinds import ModelKind, kind_of, model_kind
from ._normalisation import Normalisation
from ._sizes import check_new, check_size

_FORMAT = 1
_METADATA = ("kind", "config", "normalisation", "record", "digest")


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """A model with what is needed to use it on new images and to trace it."""

    kind: str
    model: Model
    normalisation: Normalisation
    """How images were scaled in training, and so how they must be scaled again."""
    record: dict[str, Any] = field(default_factory=dict)
    """How it was trained and on what; plain JSON."""
    digest: str = ""
    """First 16 hexadecimal digits of the SHA-256 of the weights and configuration."""
    _copies: "_Copies" = field(
        default_factory=lambda: _Copies(), init=False, repr=False, compare=False
    )

    def on(self, device: torch.device) -> "SavedModel":
        """Give the model on a device, and leave this one where it is.

        Whoever else uses this one, in another thread or between the steps of a job, finds it where
        it was. Use what is returned at once, and change nothing in it.

        Returns
        -------
        SavedModel
            This one if it is there already; else a copy, which is made once and again when the
            weights of this one have changed.
        """
        assert isinstance(self.model, torch.nn.Module)
        there = torch.empty(0, device=device).device  # "cuda" is the current one of several
        if all(tensor.device == there for tensor in _tensors(self.model)):
            return self
        state = tuple((id(tensor), tensor._version) for tensor in _tensors(self.model))
        with self._copies.lock:
            known, copy = self._copies.of.get(there, ((), None))
            if copy is None or known != state:
                copy = replace(self, model=deepcopy(self.model).to(there))
                self._copies.of[there] = state, copy
        return copy

    @property
    def pixel_size(self) -> float | None:
        """Angstrom a pixel of the images it was trained on; None where that is not known."""
        size = self.record.get("pixel_size")
        return None if size is None else float(size)

    @property
    def box_shape(self) -> tuple[int, ...]:
        """Shape of one of its boxes as files and layers hold them, colours last."""
        config = self.model.config
        sides = (config.box_size,) * (3 if 3 in self.model.capabilities.dimensions else 2)
        return (*sides, config.channels) if config.channels > 1 else sides


class _Copies:
    """Copies of a model on other devices, with the state of the weights that they are of."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.of: dict[torch.device, tuple[tuple[Any, ...], SavedModel | None]] = {}


def _tensors(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    return chain(model.parameters(), model.buffers())


def build_model(kind: str, config: dict[str, Any]) -> Model:
    """Make an untrained model of a kind from its plain configuration.

    Raises
    ------
    InputError
        If the kind or a field of the configuration is not known, or the package that adds the
        kind can't be loaded.
    """
    known = model_kind(kind)
    made = _configuration(kind, known, config)
    check_new(kind, known, made)
    return _made(kind, known, made)


def _made(name: str, kind: ModelKind, config: Any) -> Model:
    """Make a model, and refuse one that does not do what is asked of models."""
    model = kind.model(config)
    if not (isinstance(model, torch.nn.Module) and isinstance(model, Model)):
        raise InputError(
            f"the kind {name!r} makes a {type(model).__name__}, which is no torch.nn.Module with "
            "config, capabilities, loss, infer and generate; its package must be mended."
        )
    if model.capabilities.clusters and not isinstance(model.config, KnowsCategories):
        raise InputError(
            f"the kind {name!r} has categories of its own, but its configuration does not say how "
            "many: it needs 'categories'; its package must be mended."
        )
    return model


def _configuration(name: str, kind: ModelKind, config: dict[str, Any]) -> Any:
    try:
        return kind.config(**_typed(f"configuration of {name}", kind.config, config))
    except TypeError as error:
        raise InputError(f"configuration of {name}: {error}.") from error


def save_model(
    path: Path, model: Model, normalisation: Normalisation, record: dict[str, Any] | None = None
) -> str:
    """Write all that `load_model` needs; return the model's digest.

    Parameters
    ----------
    path : Path
        A ``.safetensors`` file; replaced atomically.
    model : Model
        Of a registered kind.
    normalisation : Normalisation
        As used in training.
    record : dict, optional
        Training record and provenance; must be plain JSON.
    """
    assert isinstance(model, torch.nn.Module)
    weights = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    weights = {name: value.contiguous().clone() for name, value in weights.items()}
    kind, config = kind_of(model), asdict(model.config)
    metadata = {
        "format": str(_FORMAT),
        "kind": kind,
        "config": json.dumps(config),
        "normalisation": json.dumps(asdict(normalisation)),
        "record": json.dumps(record or {}),
        "digest": _digest(kind, config, weights),
    }
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(save(weights, metadata))
    return metadata["digest"]


def _digest(kind: str, config: dict[str, Any], weights: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(json.dumps([kind, config], sort_keys=True).encode())
    for name in sorted(weights):
        digest.update(weights[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def read_metadata(path: Path) -> dict[str, Any]:
    """Read what a model file says of itself, without its weights.

    Returns
    -------
    dict
        ``kind``, ``config``, ``normalisation``, ``record``, ``digest``, ``format``.

    Raises
    ------
    InputError
        If the file is missing or is not a model of this package.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a model made by 'equipose train'.")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a model file (safetensors): {error}.") from error
    if not {"kind", "config"} <= metadata.keys():
        raise InputError(f"{path} is a safetensors file, but no model of napari-equipose.")
    if metadata.get("format") != str(_FORMAT):
        raise InputError(f"{path} was written by a later version; update napari-equipose.")
    try:
        plain = ("kind", "digest", "format")
        read = {k: metadata[k] if k in plain else json.loads(metadata[k]) for k in _METADATA}
    except KeyError as error:
        raise InputError(f"{path} is damaged: its metadata lacks {error}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: its metadata is not JSON: {error}.") from error
    for name in ("config", "normalisation", "record"):
        if not isinstance(read[name], dict):
            raise InputError(f"{path} is damaged: its {name} has no names.")
    return read | {"format": metadata["format"]}


def load_model(path: Path) -> SavedModel:
    """Rebuild, on the CPU, a model that `save_model` wrote.

    The file is data: nothing in it is run, and no more is allocated than a small multiple of what
    it holds and 1 GiB.

    Raises
    ------
    InputError
        If the file is missing, damaged, no model, of an unknown kind, or its weights do not fit
        its configuration.
    """
    path = Path(path)
    metadata = read_metadata(path)
    kind, config = metadata["kind"], metadata["config"]
    threshold = metadata["record"].get("threshold", 0.0)
    if not _is_a(threshold, float):
        raise InputError(f"{path} is damaged: its threshold is {threshold!r}.")
    size = metadata["record"].get("pixel_size")
    if size is not None and not (_is_a(size, float) and size > 0):
        raise InputError(f"{path} is damaged: its pixel size is {size!r}.")
    try:
        known = model_kind(kind)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    try:
        with safe_open(path, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
            made = _configuration(kind, known, config)
            check_size(kind, known, made, shapes)
            with torch.random.fork_rng([]):  # weights are drawn, only to be put in place of
                model = _made(kind, known, made)
            weights = {name: file.get_tensor(name) for name in shapes}
        assert isinstance(model, torch.nn.Module)
        model.load_state_dict(weights)
        normalisation = Normalisation(
            **_typed("normalisation", Normalisation, metadata["normalisation"])
        )
    except InputError as error:
        raise InputError(f"{path}: {error} {_advice(metadata['record'])}") from error
    except Exception as error:  # torch and e2cnn have their own for each kind of misfit
        said = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: the weights do not fit the configuration: {said}") from error
    if bad := [name for name, value in weights.items() if not value.isfinite().all()]:
        raise InputError(f"{path} is damaged: there are no finite numbers in {bad[0]}.")
    if metadata["digest"] != _digest(kind, config, weights):
        raise InputError(f"{path} was changed or damaged after it was written; copy it again.")
    model.eval()
    return SavedModel(
        kind=kind,
        model=model,
        normalisation=normalisation,
        record=metadata["record"],
        digest=metadata["digest"],
    )


def _advice(record: dict[str, Any]) -> str:
    """Say what to do with a file that this version makes no model of."""
    versions = record.get("versions")
    wrote = versions.get("napari-equipose") if isinstance(versions, dict) else None
    if not isinstance(wrote, str):
        return "Was it written by another version? Update napari-equipose, or train again."
    if wrote == __version__:
        return "This version wrote it, so it was changed since: copy it again, or train again."
    return (
        f"napari-equipose {wrote[:40]} wrote it, this is {__version__}: use the later of the two, "
        "or train again."
    )


def _typed(what: str, made: type, values: dict[str, Any]) -> dict[str, Any]:
    """Refuse values of a type that their field does not have, as no constructor does."""
    hints = get_type_hints(made)
    for name, value in values.items():
        hint = hints.get(name)
        if hint is None:
            raise InputError(f"{what}: there is no field {name!r}.")
        if not any(_is_a(value, option) for option in get_args(hint) or (hint,)):
            raise InputError(f"{what}: {name} can't be {value!r}.")
    return values


def _is_a(value: Any, option: Any) -> bool:
    """Whether a value read from JSON is of a type, or is an option of a Literal."""
    if option is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if isinstance(option, type):
        return type(value) is option
    return bool(value == option or value in get_args(option))
