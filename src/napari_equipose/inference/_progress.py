"""What long jobs yield, and how to run one to its end."""

from collections.abc import Callable, Generator
from typing import Generic, NamedTuple, TypeVar

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


class Watched(Generic[Step, Result]):
    """A job to loop over: each turn sees a thing that it yields, and then its result is here."""

    result: Result
    """Of a job that came to its end."""

    def __init__(self, job: Generator[Step, None, Result]) -> None:
        self._job = job

    def __iter__(self) -> "Watched[Step, Result]":
        return self

    def __next__(self) -> Step:
        try:
            return next(self._job)
        except StopIteration as end:
            self.result = end.value
            raise

    def close(self) -> None:
        """Stop the job where it is."""
        self._job.close()


def finish(
    job: Generator[Step, None, Result], show: Callable[[Step], object] | None = None
) -> Result:
    """Run a job to its end and return its result, showing each thing it yields."""
    watched = Watched(job)
    for step in watched:
        if show is not None:
            show(step)
    return watched.result
