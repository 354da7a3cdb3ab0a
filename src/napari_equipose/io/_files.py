"""Paths: what stands there, what can't be made of it, and how a new file gets there whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import _files
from ..geometry import InputError


def existing_file(path: str | Path) -> Path:
    """Return ``path`` if a file that holds something stands there.

    Raises
    ------
    InputError
        If there is nothing, a folder, or an empty file.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; name the file to read in it.")
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty: 0 bytes. Was it copied to the end?")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from error
    return path


@contextmanager
def reading(path: str | Path, kind: str) -> Iterator[None]:
    """Refuse a file that a parser stumbles over; ``kind`` says what it should have been.

    Parsers meet damaged bytes with errors of every type, their own and Python's, so all are taken
    for the file's fault.

    Raises
    ------
    InputError
        Naming the file, whatever went wrong.
    """
    try:
        yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(
            f"{path} asks for more memory than there is. Is it damaged, or very large?"
        ) from error
    except Exception as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path} is damaged or not {kind}: {said.rstrip('.')}.") from error


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Write a file the user named so that it is there whole or not at all.

    Yields the path of a temporary file in the same folder (made if need be) and with the same
    suffix. When the block ends it takes the name ``path``; when the block raises, it goes, and
    what stood at ``path`` before is untouched.

    Raises
    ------
    InputError
        If ``path`` is a folder or the system refuses to write there.
    """
    target = Path(path).resolve()  # through a link, so that the link survives
    if target.is_dir():
        raise InputError(f"{path} is a folder; name the file to write in it.")
    try:
        with _files.atomic_path(target) as temporary:
            yield temporary
    except OSError as error:
        raise InputError(f"{path} can't be written: {error.strerror or error}.") from error
