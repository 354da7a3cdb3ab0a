"""Checkpoints: the state of a run as one safetensors file."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .._files import atomic_path
from ..geometry import InputError
from ._fit import TrainingState

_NUMBERS = ("epoch", "seconds", "rate_scale", "stalled", "since_best", "best_loss")


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
            for name, value in json.loads(metadata["state"]).items():
                setattr(state, name, value)
            for name in file.keys():
                group, rest = name.split("/", 1)
                if group == "optimizer":
                    index, moment = rest.split("/", 1)
                    state.optimizer.setdefault(int(index), {})[moment] = file.get_tensor(name)
                else:
                    getattr(state, group)[rest] = file.get_tensor(name)
            return state, json.loads(metadata["settings"])
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is not a checkpoint of this version: {error}.") from error
