"""Paths: what stands there, what can't be made of it, and how a new file gets there whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import _files
from ..geometry import InputError

_HEAD = 512
_PRINTABLE = bytes(range(32, 127)) + b"\t\n\r\f"
# What stands where a file should be, and is never the file.
_STAND_INS = {
    b"version https://git-lfs": "is only a pointer of Git LFS; run 'git lfs pull' to get the file",
    b"<!doctype html": "is a web page; download the file itself",
    b"<html": "is a web page; download the file itself",
}
_PACKED = {
    b"\x1f\x8b": "is packed with gzip; unpack it first",
    b"BZh": "is packed with bzip2; unpack it first",
    b"\xfd7zXZ\x00": "is packed with xz; unpack it first",
    b"\x28\xb5\x2f\xfd": "is packed with zstd; unpack it first",
    b"PK\x03\x04": "is a ZIP archive; unpack it first",
    b"\x89HDF": "is an HDF5 file, which is not read; convert it to MRC or TIFF",
}
_IMAGES = {
    b"II*\x00": ("a TIFF file", ".tif"),
    b"MM\x00*": ("a TIFF file", ".tif"),
    b"\x89PNG": ("a PNG file", ".png"),
    b"\xff\xd8\xff": ("a JPEG file", ".jpg"),
    b"\x93NUMPY": ("a .npy file of numbers", ".npy"),
}
_BINARY = {"an MRC file", *(kind for kind, _ in _IMAGES.values())}


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
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from error
    for mark, what in _STAND_INS.items():
        if head.lstrip().lower().startswith(mark):
            raise InputError(f"{path} {what}.")
    return path


def disguise_of(path: str | Path, kind: str) -> str | None:
    """Say what a file is that could not be read as one of a kind, if it can be told.

    Returns
    -------
    str or None
        The end of a sentence that begins with the file's name.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None
    for mark, what in _PACKED.items():
        if head.startswith(mark):
            return f"is not {kind}: it {what}"
    for mark, (other, suffix) in _IMAGES.items():
        if head.startswith(mark) and other != kind:
            return f"is not {kind}: it is {other}; let its name end in {suffix}"
    if kind in _BINARY and head and not head.translate(None, _PRINTABLE):
        return f"is not {kind}: it holds text"
    return None


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
        if (what := disguise_of(path, kind)) is not None:
            raise InputError(f"{path} {what}.") from error
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
