"""Files and options that need a look before a command begins."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..geometry import InputError


def check_output(path: Path, suffixes: Sequence[str]) -> None:
    """Refuse an output of another suffix, or where nothing can be written, before the work.

    Raises
    ------
    InputError
    """
    if path.suffix.lower() not in suffixes:
        raise InputError(f"-o {path}: the name must end in {' or '.join(suffixes)}.")
    if path.is_dir():
        raise InputError(f"-o {path} is a folder; name the file to write in it.")
    path.parent.mkdir(parents=True, exist_ok=True)


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
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"--classes must be a number of at least 1, or auto; got {text!r}.")
    return int(text)
