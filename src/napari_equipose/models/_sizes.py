"""How large a network is, told from its configuration before any of it is made."""

from collections.abc import Mapping
from math import prod
from typing import Any

import torch

from ..geometry import InputError
from ._kinds import ModelKind
from ._target_vae_config import TargetVAEConfig

_LARGEST_NUMBER = 2**16
_MOST_NUMBERS = 2**29
"""Of a network to be trained: 2 GiB, and four times that with its gradients and their moments."""
_MOST_BYTES = 2**30
"""What a network may need beyond the numbers in its file: tables of places, filters turned."""


def check_size(
    name: str, kind: ModelKind, made: Any, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuse a configuration of a network far larger than what the file holds of it.

    Parameters
    ----------
    name : str
        Of the kind.
    kind : ModelKind
    made : Any
        The configuration.
    shapes : mapping of str to tuple of int
        Of the weights in the file.

    Raises
    ------
    InputError
    """
    misfit = InputError(
        f"configuration of {name}: it describes another network than the one in the file."
    )
    values = [value for value in vars(made).values() if isinstance(value, int)]
    if max(values, default=0) > _LARGEST_NUMBER:
        raise misfit
    if isinstance(made, TargetVAEConfig):
        _check_parts(made, shapes, misfit)
    needed = _numbers(kind, made)
    if needed is None:
        try:
            with torch.device("meta"):
                outline = kind.model(made)
        except Exception as error:  # sizes that are negative, or beyond what can be counted
            raise misfit from error
        needed = sum(value.numel() for value in [*outline.parameters(), *outline.buffers()])
    held = sum(map(prod, shapes.values()))
    if needed * 4 > 4 * held * 4 + _MOST_BYTES:
        raise misfit


def check_new(name: str, kind: ModelKind, made: Any) -> None:
    """Refuse to make a network that no machine could train.

    Raises
    ------
    InputError
    """
    needed = _numbers(kind, made) or 0
    if needed > _MOST_NUMBERS:
        raise InputError(
            f"a {name} model of these settings has {needed / 1e6:,.0f} million numbers, more than "
            f"{_MOST_NUMBERS / 1e6:,.0f} million: make it smaller (content_dim, widths, box size)."
        )


def _numbers(kind: ModelKind, made: Any) -> int | None:
    """How many numbers a network needs, where that is known without an outline of it."""
    if isinstance(made, TargetVAEConfig):
        return numbers_of_target_vae(made)
    return None if kind.numbers is None else kind.numbers(made)


def _check_parts(
    made: TargetVAEConfig, shapes: Mapping[str, tuple[int, ...]], misfit: InputError
) -> None:
    if made.generator_layers > len(shapes) or made.canonical_size < 1:
        raise misfit
    if made.lifting == "steerable":
        # What e2cnn makes of a basis is larger than free filters; it is in the file.
        names = [name for name in shapes if name.endswith("sampled_basis")]
        least = made.rings or made.kernel_size**2 // 8
        wanted = (made.n_rotations, made.channels, made.kernel_size**2)
        if not any(shapes[name][0] >= least and shapes[name][1:] == wanted for name in names):
            raise misfit


def numbers_of_target_vae(made: TargetVAEConfig) -> int:
    """How many numbers the network needs: weights, tables, filters turned; rather too many.

    Drawn up on the device "meta" it would tell itself, but that has torch import its compiler,
    which takes seconds.
    """
    width, layers = made.generator_width, made.generator_layers + made.channels + 1
    filters = made.fields * made.channels * made.kernel_size**2
    encoder = made.fields * (made.fields + 2 * made.content_dim + 8) + (2 * made.binning) ** 2
    generator = width * (made.n_features + made.content_dim + layers * (width + 1) + 4)
    places = (2 * made.places_range + 1) ** 2 * made.n_rotations
    pictures = 4 * made.canonical_size**2 + made.box_size**2
    rest = 2 * made.content_dim + 3 * made.n_features + made.kernel_size**2
    return filters * (1 + made.n_rotations) + encoder + generator + 4 * places + pictures + rest
