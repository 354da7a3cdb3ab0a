"""The device to compute on."""

import torch

from ..geometry import InputError


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies matrices of bfloat16 by itself, and so about twice as fast."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # An older torch can't tell what a processor can do.
    features = getattr(torch.cpu, "get_capabilities", dict[str, bool])()
    able = any(features.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return device.type == "cpu" and able


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
