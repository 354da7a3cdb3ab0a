"""The process that trains: ``python -m napari_equipose.training._child FOLDER [--resume]``.

`train_in_child` starts it, reads its standard output and tells it to stop by its standard input.
"""

import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from .._memory import keep_memory
from ._failure import explain
from ._in_child import encode_end, encode_report
from ._train_run import train_run

_PATIENCE = 10.0
"""Seconds after which a step that does not end is given up."""


def main() -> None:
    """Train, report, and stop when told to or when nobody listens any more."""
    # What libraries print must not get between our lines.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    if hasattr(os, "nice"):
        os.nice(10)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which tells us
    signal.signal(signal.SIGTERM, _interrupt)
    keep_memory()
    stop = threading.Event()
    threading.Thread(target=_listen, args=(stop,), daemon=True).start()
    _work(Path(sys.argv[1]), "--resume" in sys.argv[2:], out, stop)
    sys.stderr.flush()
    os._exit(0)  # all is on the disk; taking the interpreter down would take a second


def _work(folder: Path, resume: bool, out: IO[str], stop: threading.Event) -> None:
    end = encode_end()
    try:
        job = train_run(folder, resume=resume)
        while not stop.is_set():
            try:
                out.write(encode_report(next(job)) + "\n")
            except StopIteration:
                break
            except BrokenPipeError:
                break
        job.close()
    except BaseException as error:  # the parent says it, whatever it is
        end = encode_end(explain(error), "".join(traceback.format_exception(error)))
    with suppress(OSError):
        out.write(end + "\n")
        out.close()


def _listen(stop: threading.Event) -> None:
    """Wait until the parent says stop, or is gone."""
    said = b""
    # Not through `sys.stdin`, whose lock would be held when the interpreter ends.
    while b"stop\n" not in said and (more := os.read(0, 64)):
        said = (said + more)[-64:]
    stop.set()
    time.sleep(_PATIENCE)
    os._exit(1)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
