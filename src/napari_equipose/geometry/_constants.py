"""Grids, masks and sizes that every step needs alike: made once for each device, and kept there."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import torch
from torch import Tensor

_MOST_BYTES = 2**27
"""Of all that is kept; what has not been used for the longest time goes first. Nothing that takes
more than a quarter of it is kept."""

_kept: OrderedDict[tuple[Any, ...], Tensor] = OrderedDict()
_lock = Lock()


def constant(
    make: Callable[..., Tensor], *arguments: Any, like: Tensor, dtype: torch.dtype | None = None
) -> Tensor:
    """What a function makes of its arguments, on the device of a tensor; made only once.

    A copy to a GPU makes the processor wait until the GPU has done all its work, however small
    the copy is.

    Parameters
    ----------
    make : callable
        Makes the tensor on the CPU, always the same of the same arguments. A function that
        outlives the call, not a lambda.
    *arguments
        Hashable.
    like : Tensor
        Whose device and type are wanted.
    dtype : torch.dtype, optional
        Another type.

    Returns
    -------
    Tensor
        Shared by all who ask for it: never to be changed in place.
    """
    key = (make, arguments, like.device, dtype or like.dtype)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    # Autograd refuses what is made in inference mode, and whoever asks next may be training.
    with torch.inference_mode(False), torch.no_grad():
        # First the type: not every device has float64.
        made = make(*arguments).to(dtype or like.dtype).to(like.device)
    if _n_bytes(made) > _MOST_BYTES // 4:
        return made
    with _lock:
        _kept[key] = made
        total = sum(map(_n_bytes, _kept.values()))
        while total > _MOST_BYTES:
            total -= _n_bytes(_kept.popitem(last=False)[1])
    return made


def numbers_like(values: Sequence[float], like: Tensor) -> Tensor:
    """A few numbers as a tensor of one axis, of the type and device of another; kept."""
    return constant(torch.tensor, tuple(values), like=like)


def _n_bytes(kept: Tensor) -> int:
    return kept.numel() * kept.element_size()
