"""Memory that runs out: how it shows, and the error that says so in the end."""

import gc

import torch

from ..geometry import InputError

_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


class OutOfMemory(InputError):
    """Memory ran out, also with the smallest batch or tile."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; the processor and MPS tell by words only."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError | OutOfMemory):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _WORDS)


def free_memory(device: torch.device) -> None:
    """Give back what a device holds for nobody; to be called when the error is forgotten."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
