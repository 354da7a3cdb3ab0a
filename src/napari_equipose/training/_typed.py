"""Values, and the text of values, in the types of the fields of a configuration."""

from collections.abc import Sequence
from types import NoneType
from typing import Any, Literal, get_args

from ..geometry import InputError


def typed(name: str, value: Any, hint: Any) -> Any:
    """Turn a value, or the text of one, into the type of a field.

    Raises
    ------
    InputError
        If it is none of that type.
    """
    options = (hint,) if get_args(hint) == () or _is_literal(hint) else get_args(hint)
    for option in options:
        if _is_literal(option):
            for choice in get_args(option):
                if value == choice or value == str(choice):
                    return choice
        elif option is NoneType:
            if value is None or (isinstance(value, str) and value.lower() == "none"):
                return None
        else:
            converted = _CONVERTERS[option](value)
            if converted is not None:
                return converted
    raise InputError(f"{name} must be {_words(options)}, got {value!r}.")


def _to_bool(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(
        str(value).lower()
    )


def _to_int(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    try:
        number = float(value)
        return int(number) if number.is_integer() else None
    except (TypeError, ValueError):
        return None


def _to_float(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


_CONVERTERS: dict[Any, Any] = {
    bool: _to_bool,
    int: _to_int,
    float: _to_float,
    str: lambda value: value if isinstance(value, str) else None,
}


def _is_literal(hint: Any) -> bool:
    return getattr(hint, "__origin__", None) is Literal


def _words(options: Sequence[Any]) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    words = [
        f"one of {', '.join(map(str, get_args(o)))}" if _is_literal(o) else names.get(o, "none")
        for o in options
    ]
    return " or ".join(words)
