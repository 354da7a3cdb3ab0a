"""Jobs on one device wait for each other, first come, first served; nothing here knows of Qt."""

import threading
import time
from collections.abc import Generator
from typing import NamedTuple

import torch

from ..models import choose_device

_POLL = 0.1


class Waiting(NamedTuple):
    """A job waits for another one."""

    title: str
    """What the other one does."""


class Turn:
    """The place of a job in the queue of its device, until it is given up."""

    def __init__(self, device: str, title: str) -> None:
        self.device, self.title = device, title

    def release(self) -> None:
        """Let the next one go on."""
        with _lock:
            _queues[self.device].remove(self)


_lock = threading.Lock()
_queues: dict[str, list[Turn]] = {}


def take_turn(device: str, title: str) -> Generator[Waiting | None, None, Turn]:
    """Wait until no other job is on a device.

    Parameters
    ----------
    device : str
        As for `models.choose_device`.
    title : str
        What the job does, for those that wait for it.

    Yields
    ------
    Waiting or None
        Which job it waits for, when that changes; None while there is nothing new, so that
        whoever drives the generator can close it.

    Returns
    -------
    Turn
        To be released when the job is done.

    Raises
    ------
    InputError
        If there is no such device.
    """
    turn = Turn(_name(choose_device(device)), title)
    with _lock:
        queue = _queues.setdefault(turn.device, [])
        queue.append(turn)
    before: Turn | None = None
    try:
        while True:
            with _lock:
                first = queue[0]
            if first is turn:
                return turn
            yield Waiting(first.title) if first is not before else None
            before = first
            time.sleep(_POLL)
    except BaseException:
        turn.release()
        raise


def _name(device: torch.device) -> str:
    return f"{device.type}:{device.index or 0}"
