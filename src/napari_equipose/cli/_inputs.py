"""Files and options that need a look before a command begins."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from ..geometry import InputError
from ..io import ImageFile, read_image


@contextmanager
def about(path: str | Path) -> Iterator[None]:
    """Name the file in refusals of what it holds."""
    try:
        yield
    except InputError as error:
        if str(path) in str(error):
            raise
        raise InputError(f"{path}: {error}") from error


def read_large_image(path: Path) -> ImageFile:
    """Read one image, grey or in colour.

    Raises
    ------
    InputError
        If the file holds something else.
    """
    image = read_image(path)
    if image.axes not in ("yx", "yxc") or (image.axes == "yxc" and image.data.shape[2] != 3):
        raise InputError(
            f"{path} has shape {image.data.shape}; wanted one image (y, x), or (y, x, 3) in "
            "colour. A stack of boxes goes without --box-size, to train and to encode."
        )
    return image


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
