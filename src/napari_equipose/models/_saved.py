"""Model files: safetensors with kind, configuration and training record inside."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .._files import atomic_path
from ..geometry import InputError
from ._interface import Model
from ._normalisation import Normalisation
from ._target_vae import TargetVAE
from ._target_vae_config import TargetVAEConfig

_FORMAT = 1
_KINDS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "target-vae": (TargetVAE, TargetVAEConfig)
}


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


def build_model(kind: str, config: dict[str, Any]) -> Model:
    """Make an untrained model of a kind from its plain configuration.

    Raises
    ------
    InputError
        If the kind or a field of the configuration is not known.
    """
    if kind not in _KINDS:
        raise InputError(f"unknown kind of model {kind!r}; known are {', '.join(sorted(_KINDS))}.")
    model_class, config_class = _KINDS[kind]
    try:
        made = config_class(**config)
    except TypeError as error:
        raise InputError(f"configuration of {kind}: {error}.") from error
    model: Model = model_class(made)
    return model


def _kind_of(model: Model) -> str:
    return next(kind for kind, (model_class, _) in _KINDS.items() if type(model) is model_class)


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
    kind, config = _kind_of(model), asdict(model.config)
    digest = hashlib.sha256(json.dumps([kind, config], sort_keys=True).encode())
    for name in sorted(weights):
        digest.update(weights[name].numpy().tobytes())
    metadata = {
        "format": str(_FORMAT),
        "kind": kind,
        "config": json.dumps(config),
        "normalisation": json.dumps(asdict(normalisation)),
        "record": json.dumps(record or {}),
        "digest": digest.hexdigest()[:16],
    }
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(save(weights, metadata))
    return metadata["digest"]


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
    if "kind" not in metadata or "config" not in metadata:
        raise InputError(f"{path} is a safetensors file, but no model of napari-equipose.")
    if int(metadata.get("format", 0)) > _FORMAT:
        raise InputError(f"{path} was written by a later version; update napari-equipose.")
    plain = ("kind", "digest", "format")
    return {k: v if k in plain else json.loads(v) for k, v in metadata.items()}


def load_model(path: Path) -> SavedModel:
    """Rebuild, on the CPU, a model that `save_model` wrote.

    Raises
    ------
    InputError
        If the file is missing, no model, of an unknown kind, or its weights do not fit its
        configuration.
    """
    path = Path(path)
    metadata = read_metadata(path)
    try:
        model = build_model(metadata["kind"], metadata["config"])
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}
        assert isinstance(model, torch.nn.Module)
        model.load_state_dict(weights)
    except InputError as error:
        raise InputError(f"{path}: {error} Was it written by another version?") from error
    except (RuntimeError, SafetensorError) as error:
        raise InputError(f"{path}: the weights do not fit the configuration: {error}") from error
    model.eval()
    return SavedModel(
        kind=metadata["kind"],
        model=model,
        normalisation=Normalisation(**metadata["normalisation"]),
        record=metadata["record"],
        digest=metadata["digest"],
    )
