"""What went wrong, in words for a person, for every front end."""

import errno
from typing import NamedTuple

from ..geometry import InputError
from ..models import is_out_of_memory


class ChildFault(RuntimeError):
    """A fault of ours in a process of its own; its words are those of the process."""


class Failure(NamedTuple):
    """An error, explained."""

    message: str
    expected: bool
    """Whether it is the user's to mend, and so the message is all there is to say."""
    memory: bool = False
    """Whether memory ran out."""


def explain(error: BaseException) -> Failure:
    """Say what went wrong to a person."""
    memory = is_out_of_memory(error)
    if isinstance(error, InputError):
        return Failure(str(error), True, memory)
    if memory:
        message = "Memory ran out. Try a smaller batch or tile, or the device cpu."
        return Failure(message, True, True)
    if isinstance(error, OSError) and error.strerror:
        message = f"{error.filename or 'A file'}: {error.strerror}."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message += " What was done before is kept: make room, then resume."
        return Failure(message, True)
    if isinstance(error, ChildFault):
        return Failure(str(error), False)
    return Failure(f"{type(error).__name__}: {error}", False)
