"""What configurations and boxes are refused for, in one place and in the same words."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_type_hints

from torch import Tensor

from ..geometry import InputError

SMALLEST_BOX = 4  # of the pixels that a dense network sees
_MOST_LAYERS = 16


def check_boxes(config: Any, images: Tensor) -> None:
    """Refuse boxes that a model was not made for.

    Raises
    ------
    InputError
    """
    wanted = (config.channels, *[config.box_size] * config.dimensions)
    if tuple(images.shape[1:]) != wanted:
        raise InputError(
            f"this model takes boxes of shape {wanted} (channels, then sides in pixels), got "
            f"{tuple(images.shape[1:])}; cut them all to one size, with equal sides."
        )


def check_choices(config: object, names: Sequence[str]) -> None:
    """Refuse a field that is none of the literals of its type."""
    hints = get_type_hints(type(config))
    for name in names:
        if getattr(config, name) not in get_args(hints[name]):
            known = ", ".join(map(str, get_args(hints[name])))
            raise InputError(f"{name} must be one of {known}, got {getattr(config, name)!r}.")


def check_least(config: object, least: Mapping[str, int]) -> None:
    """Refuse a field below its least value."""
    for name, minimum in least.items():
        if getattr(config, name) < minimum:
            raise InputError(f"{name} must be at least {minimum}, got {getattr(config, name)}.")


def check_positive(config: object, names: Sequence[str]) -> None:
    """Refuse a field that is given and not positive."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not value > 0:
            raise InputError(f"{name} must be positive, got {value}.")


def check_dense(config: Any) -> None:
    """Refuse sizes of a dense encoder and generator that can't be, or out of all proportion."""
    parts = ("encoder", "generator")
    least = {"box_size": SMALLEST_BOX, "channels": 1, "content_dim": 1}
    for part in parts:
        least |= {f"{part}_width": 1, f"{part}_layers": 1}
    check_least(config, least)
    for part in parts:
        n_layers = getattr(config, f"{part}_layers")
        if n_layers > _MOST_LAYERS:
            raise InputError(f"{part}_layers must be at most {_MOST_LAYERS}, got {n_layers}.")
