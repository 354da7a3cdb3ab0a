"""How many threads torch computes with, in one thread of a process that is not ours alone."""

import threading
from collections.abc import Callable

import torch

_changing = threading.RLock()
"""Held while the number for new threads is another for a moment."""


def usual_threads() -> int:
    """How many threads torch would compute with in a new thread."""
    found: list[int] = []
    with _changing:
        _elsewhere(lambda: found.append(torch.get_num_threads()))
    return found[0]


def compute_here_with(threads: int) -> None:
    """Set the number of threads torch uses in the calling thread, and nowhere else.

    ``torch.set_num_threads`` sets the number of the calling thread, and that of all threads which
    use torch for the first time later: those of a viewer's other plugins too. So that number is put
    back at once, in a thread that then ends. Jobs that begin together take turns: one would
    otherwise put back what another has set.
    """
    with _changing:
        usual = usual_threads()
        torch.get_num_threads()  # later this thread would take the number of all
        torch.set_num_threads(threads)
        _elsewhere(lambda: torch.set_num_threads(usual))


def _elsewhere(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work, name="Equipose: threads")
    thread.start()
    thread.join()
