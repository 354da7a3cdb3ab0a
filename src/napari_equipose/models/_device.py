"""The device to compute on."""

import torch

from ..geometry import InputError


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of that name, or the best there is.

    Parameters
    ----------
    name : str
        "auto" takes CUDA, then Apple's MPS, then the CPU; or "cpu", "cuda", "cuda:1", "mps".

    Raises
    ------
    InputError
        If the device is not known or not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"unknown device {name!r}; give auto, cpu, cuda or mps.") from error
    there = {"cpu": True, "mps": torch.backends.mps.is_available()}
    there["cuda"] = torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    if not there.get(device.type, False):
        raise InputError(f"device {name!r} is not available here; try --device auto or cpu.")
    return device
