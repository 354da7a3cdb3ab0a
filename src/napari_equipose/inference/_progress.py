"""What long jobs yield, and how to run one to its end."""

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar

Step = TypeVar("Step")
Result = TypeVar("Result")


class Progress(NamedTuple):
    """How far a job has come."""

    done: int
    total: int
    message: str = ""


class Notice(NamedTuple):
    """Something a person should know of a job that goes on."""

    message: str


def finish(
    job: Generator[Step, None, Result], show: Callable[[Step], object] | None = None
) -> Result:
    """Run a job to its end and return its result, showing each thing it yields."""
    while True:
        try:
            step = next(job)
        except StopIteration as end:
            result: Result = end.value
            return result
        if show is not None:
            show(step)
