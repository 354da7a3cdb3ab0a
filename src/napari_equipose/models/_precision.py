"""Numbers of half the length where networks multiply their matrices."""

from contextlib import AbstractContextManager, nullcontext

import torch


def bfloat16_if(on: bool, device: torch.device) -> AbstractContextManager[object]:
    """Context in which matrices are multiplied in bfloat16; if not ``on``, one like any other."""
    return torch.autocast(device.type, torch.bfloat16) if on else nullcontext()
