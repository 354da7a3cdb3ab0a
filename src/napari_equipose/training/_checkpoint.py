"""Checkpoints: the state of a run as one safetensors file."""

import json
from math import isnan
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from .._files import atomic_path
from ..geometry import InputError
from ._schedule import TrainingState

_NUMBERS = {
    **{"epoch": int, "stalled": int, "since_best": int},
    **{"seconds": float, "before": float, "rate_scale": float, "best_loss": float},
    "content_held": bool,
}
_LATER = ("before", "content_held")
"""What checkpoints of earlier versions do not have."""


def checkpoint_path(model: Path) -> Path:
    """Where the checkpoint of a model file stands: ``checkpoint.safetensors`` in ``M.run``."""
    return model.with_name(f"{model.stem}.run") / "checkpoint.safetensors"


def save_checkpoint(path: Path, state: TrainingState, settings: dict[str, Any]) -> None:
    """Write the state of a run and, as plain JSON, the settings it must be resumed with."""
    tensors = {f"last/{name}": value for name, value in state.last.items()}
    tensors |= {f"best/{name}": value for name, value in state.best.items()}
    for index, moments in state.optimizer.items():
        tensors |= {f"optimizer/{index}/{name}": value for name, value in moments.items()}
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    numbers = {name: getattr(state, name) for name in _NUMBERS}
    metadata = {"state": json.dumps(numbers), "settings": json.dumps(settings)}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors, metadata))


def load_checkpoint(path: Path) -> tuple[TrainingState, dict[str, Any]]:
    """Read what `save_checkpoint` wrote.

    Raises
    ------
    InputError
        If there is no checkpoint at ``path``, or it can't be read.
    """
    if not path.is_file():
        raise InputError(f"{path}: no checkpoint to resume from; train without --resume.")
    state = TrainingState()
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            numbers, settings = json.loads(metadata["state"]), json.loads(metadata["settings"])
            for name, kind in _NUMBERS.items():
                if name not in _LATER or name in numbers:
                    setattr(state, name, _number(name, numbers[name], kind))
            for name in file.keys():
                group, rest = name.split("/", 1)
                if group == "optimizer":
                    index, moment = rest.split("/", 1)
                    state.optimizer.setdefault(int(index), {})[moment] = file.get_tensor(name)
                else:
                    {"last": state.last, "best": state.best}[group][rest] = file.get_tensor(name)
            if not isinstance(settings, dict):
                raise TypeError("its settings are no names with values")
            return state, settings
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a checkpoint of this version: {error}.") from error


def check_fits(path: Path, state: TrainingState, model: nn.Module) -> None:
    """Refuse a state that is not one of this model.

    Raises
    ------
    InputError
    """
    weights = {name: value.shape for name, value in model.state_dict().items()}
    sizes = [value.shape for value in model.parameters()]
    fits = {name: value.shape for name, value in state.last.items()} == weights
    if state.best:
        fits &= {name: value.shape for name, value in state.best.items()} == weights
    for index, moments in state.optimizer.items():
        fits &= moments.keys() == {"step", "exp_avg", "exp_avg_sq"} and index < len(sizes)
        fits = fits and moments["step"].numel() == 1
        fits = fits and moments["exp_avg"].shape == moments["exp_avg_sq"].shape == sizes[index]
    if not fits:
        raise InputError(f"{path} is damaged, or not of this model: train without --resume.")


def _number(name: str, value: Any, kind: type) -> Any:
    """Take what another program could have written only as the number it is said to be."""
    right = type(value) is kind
    if not right or isnan(value) or (value < 0 and name != "best_loss"):
        raise TypeError(f"{name} is {value!r}")
    return value
