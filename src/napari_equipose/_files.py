"""Writing files so that a crash leaves the old one or the new one, never half of one."""

import glob
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that replaces it when the block ends well.

    The temporary file and the rename are flushed to disk, and the file is removed when the
    block raises. Missing parent folders are made. What is written has the permissions of any
    new file, whoever wrote it and however.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path, os.getpid())
        try:
            temporary.touch()
            mode = stat.S_IMODE(temporary.stat().st_mode)
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(mode)  # some writers make a file that only its owner may read
            _rename(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.filename is None:  # a full disk does not say where
            error.filename = str(path)
        raise
    _flush_folder(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write plain JSON atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def remove_temporaries(path: Path) -> None:
    """Remove what processes that were killed left half written of ``path``.

    For a caller that knows that no other process is writing it now.
    """
    for temporary in path.parent.glob(f".{glob.escape(path.stem)}.*{glob.escape(path.suffix)}"):
        pid = temporary.name[len(path.stem) + 2 : -len(path.suffix) or None]
        if pid.isdecimal() and int(pid) != os.getpid():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _temporary(path: Path, pid: int) -> Path:
    return path.with_name(f".{path.stem}.{pid}{path.suffix}")


def _rename(temporary: Path, path: Path) -> None:
    """Rename, and on Windows wait for whoever reads the old file at this moment."""
    for _ in range(20 if os.name == "nt" else 0):
        try:
            temporary.replace(path)
            return
        except PermissionError:
            time.sleep(0.05)
    temporary.replace(path)


def _flush_folder(folder: Path) -> None:
    """Make sure that a rename outlives the machine; not every system lets folders be flushed."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
