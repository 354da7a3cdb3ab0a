"""Files and options that need a look before a command begins."""

from dataclasses import asdict
from typing import Any, Literal

from ..geometry import InputError, MissingWedge, check_limits


def read_classes(text: str | None) -> int | Literal["auto"] | None:
    """Read the value of --classes.

    Raises
    ------
    InputError
        If it is neither a number nor auto.
    """
    if text is None:
        return None
    if text == "auto":
        return "auto"
    if not (text.isascii() and text.isdecimal() and int(text[:9]) >= 1):
        raise InputError(f"--classes must be a number of at least 1, or auto; got {text!r}.")
    classes = int(text[:30])
    check_limits({"classes": classes})
    return classes


def check_classes(classes: int, objects: int) -> None:
    """Refuse more classes than there are objects, before the work.

    Raises
    ------
    InputError
    """
    if classes > objects:
        raise InputError(f"{objects} objects can't make {classes} classes; ask for fewer.")


def tilt_settings(tilt_range: tuple[float, float] | None, axis: str | None) -> dict[str, Any]:
    """Turn --tilt-range and --tilt-axis into fields of a configuration.

    Raises
    ------
    InputError
        If there is an axis without a range, or the range has no width.
    """
    if tilt_range is None:
        if axis is not None:
            raise InputError(f"--tilt-axis {axis} goes with --tilt-range; give both.")
        return {}
    wedge = MissingWedge(
        tilt_min_deg=tilt_range[0],
        tilt_max_deg=tilt_range[1],
        tilt_axis=axis or "y",  # type: ignore[arg-type]
    )
    return asdict(wedge)
