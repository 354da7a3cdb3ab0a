"""Driving a job to its end: what it yields, what it returns, and that it is closed."""

from collections.abc import Generator
from contextlib import closing

import pytest

from napari_equipose.inference import Watched, finish


def counting(ends: list[str]) -> Generator[int, None, str]:
    try:
        yield from (1, 2, 3)
        return "done"
    finally:
        ends.append("closed")


def test_a_job_is_looped_over_and_then_its_result_is_there() -> None:
    job = Watched(counting([]))
    assert list(job) == [1, 2, 3]
    assert job.result == "done"
    seen: list[int] = []
    assert finish(counting([]), seen.append) == "done"
    assert seen == [1, 2, 3]


def test_a_job_that_is_left_is_closed_and_has_no_result() -> None:
    ends: list[str] = []
    with closing(Watched(counting(ends))) as job:
        for step in job:
            if step == 2:
                assert ends == []
                break
    assert ends == ["closed"]
    assert not hasattr(job, "result")


def test_an_error_of_a_job_comes_through() -> None:
    def failing() -> Generator[int, None, None]:
        yield 1
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        finish(failing())
