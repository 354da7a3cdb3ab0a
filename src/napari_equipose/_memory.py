"""How the process asks the system for memory."""

import ctypes
import sys
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, in malloc.h of the GNU C library
_MOST = 2**31 - 1


def keep_memory() -> None:
    """Let the process keep the memory it frees, for the next batch.

    The GNU C library gives large blocks back as soon as they are free. A training step then asks
    for the same gigabyte again and again, and the system spends as long on handing out empty
    pages as the processor on the arithmetic: twice the time a step. Elsewhere nothing is done.
    It is for processes of our own, not for a host such as napari, whose memory would only grow.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):  # another C library
        library = ctypes.CDLL(None)
        for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            library.mallopt(option, _MOST)


def give_memory_back() -> None:
    """Return to the system what the process has freed; for a host, when work of ours has ended.

    The GNU C library keeps freed memory in pools of each thread that was, for the next one.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
