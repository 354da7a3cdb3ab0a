"""The one error that stands for a user's mistake, and checks of what is passed by mistake."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class InputError(ValueError):
    """Input that can't be used: what came, where from, and what to do about it.

    The command line prints its message as one line and ends with exit code 2; a widget shows
    it as one notification. Any other exception is a fault of ours.
    """


def check_type(name: str, value: object, *wanted: Any) -> None:
    """Refuse an argument that is of none of the types (or abstract types) wanted.

    Raises
    ------
    InputError
    """
    if not isinstance(value, wanted):
        names = " or ".join(each.__name__ for each in wanted)
        raise InputError(f"{name} must be a {names}, got {_shown(value)}.")


def check_array(name: str, value: object, *dimensions: int) -> None:
    """Refuse what is no array of real numbers, or has another number of dimensions.

    Anything with a ``shape`` is one: lazy, memory-mapped and gathered arrays too.

    Raises
    ------
    InputError
    """
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if not isinstance(shape, tuple):
        raise InputError(f"{name} must be an array, got {_shown(value)}.")
    if isinstance(dtype, np.dtype) and dtype.kind not in "biuf":
        raise InputError(f"{name} must hold real numbers, got the type {dtype}.")
    if dimensions and len(shape) not in dimensions:
        counts = " or ".join(map(str, dimensions))
        raise InputError(f"{name} must have {counts} dimensions, got shape {tuple(shape)}.")


def as_numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Turn lists, tables and arrays into an array of numbers.

    Raises
    ------
    InputError
        If they hold something else, or rows of several lengths.
    """
    try:
        return np.asarray(values, np.float64)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} must be an array of numbers: {error}.") from error


def _shown(value: object) -> str:
    """Name a value that is none in few words."""
    return f"{repr(value)[:60]} of type {type(value).__name__}"
