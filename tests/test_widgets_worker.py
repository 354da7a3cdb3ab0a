"""Jobs: whatever a generator does, its end arrives, on the main thread, once."""

import gc
import os
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Generator

import pytest
import torch
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QObject

from napari_equipose.geometry import InputError
from napari_equipose.widgets import _worker
from napari_equipose.widgets._panel import Panel
from napari_equipose.widgets._pictures import LossCurve
from napari_equipose.widgets._worker import Ending, Job


class Listener(QObject):
    """Notes what a job says, and on which thread."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.reports: list[object] = []
        self.endings: list[Ending] = []
        self.threads: set[int] = set()
        job.reported.connect(self.on_report)
        job.ended.connect(self.on_end)

    def on_report(self, report: object) -> None:
        self.threads.add(threading.get_ident())
        self.reports.append(report)

    def on_end(self, ending: Ending) -> None:
        self.threads.add(threading.get_ident())
        self.endings.append(ending)


def run(qtbot, job: Job) -> Listener:
    listener = Listener(job)
    job.start()
    qtbot.waitUntil(lambda: bool(listener.endings), timeout=60_000)
    qtbot.wait(50)
    assert len(listener.endings) == 1
    assert listener.threads == {threading.get_ident()}
    return listener


def test_result_and_reports_arrive_on_the_main_thread(qtbot) -> None:
    inside = []

    def work() -> Generator[int, None, str]:
        inside.append(threading.get_ident())
        yield from range(3)
        return "result"

    listener = run(qtbot, Job("counting", work()))
    assert listener.reports == [0, 1, 2]
    assert listener.endings[0] == Ending("done", "result")
    assert inside != [threading.get_ident()]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("mat1 and mat2 can't be multiplied"), False),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (InputError("the image is constant"), True),
        (FileNotFoundError(2, "No such file or directory", "model.safetensors"), True),
        (OSError(28, "No space left on device"), True),
        (ValueError("wrong"), False),
        (KeyError("name"), False),
        (SystemExit(1), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_failure_is_an_end_that_arrives(qtbot, error, expected) -> None:
    def work() -> Generator[int, None, None]:
        yield 1
        raise error

    ending = run(qtbot, Job("failing", work(), lambda: "what was saved")).endings[0]
    assert ending.state == "failed"
    assert ending.expected == expected
    assert ending.message
    assert ending.result == "what was saved"
    assert type(error).__name__ in ending.trace


def test_stop_closes_the_generator_in_its_thread(qtbot) -> None:
    closed_on: list[int] = []

    def work() -> Generator[int, None, None]:
        try:
            while True:
                time.sleep(0.01)
                yield 0
        finally:
            closed_on.append(threading.get_ident())

    job = Job("endless", work(), lambda: len(closed_on))
    listener = Listener(job)
    job.start()
    qtbot.waitUntil(lambda: len(listener.reports) > 2, timeout=60_000)
    job.stop()
    qtbot.waitUntil(lambda: bool(listener.endings), timeout=2_000)
    assert closed_on and closed_on != [threading.get_ident()]
    assert listener.endings == [Ending("stopped", 1)]  # salvaged after it was closed


def test_a_step_that_takes_long_does_not_hold_up_a_stop(qtbot, monkeypatch) -> None:
    monkeypatch.setattr(_worker, "PATIENCE", 0.05)
    go_on, closed, released = threading.Event(), list[bool](), list[bool]()

    def work() -> Generator[int, None, None]:
        try:
            yield 1
            go_on.wait(60)
            yield 2
        finally:
            closed.append(True)

    job = Job("slow", work(), lambda: "what was saved")
    listener = Listener(job)
    job.released.connect(lambda: released.append(True))
    job.start()
    qtbot.waitUntil(lambda: bool(listener.reports), timeout=60_000)
    job.stop()
    qtbot.waitUntil(lambda: bool(listener.endings), timeout=60_000)
    assert not closed and not released
    go_on.set()
    qtbot.waitUntil(lambda: bool(released), timeout=60_000)
    assert closed == [True]
    assert listener.endings == [Ending("stopped", "what was saved", lingers=True)]
    assert listener.reports == [1]  # of what came after the end nothing is heard


def test_a_panel_that_can_not_say_how_its_job_ended_is_refused() -> None:
    with pytest.raises(TypeError, match="Half lacks is_on_gpu, run_on_cpu, show_end"):

        class Half(Panel):
            def show_report(self, report: object) -> None:
                pass


def test_salvage_that_fails_does_not_hide_the_end(qtbot) -> None:
    def work() -> Generator[int, None, None]:
        yield 1
        raise ValueError("first")

    def salvage() -> None:
        raise OSError("second")

    ending = run(qtbot, Job("failing twice", work(), salvage)).endings[0]
    assert (ending.state, ending.result) == ("failed", None)
    assert "first" in ending.message


def test_a_failed_job_keeps_no_memory(qtbot) -> None:
    class Big:
        """Stands for a tensor."""

    held: list[weakref.ref[Big]] = []

    def work() -> Generator[int, None, None]:
        big = Big()
        held.append(weakref.ref(big))
        yield 1
        raise RuntimeError("out of something")

    job = Job("failing", work())
    run(qtbot, job)
    gc.collect()
    assert held[0]() is None


@pytest.mark.filterwarnings("ignore:slow")
def test_a_warning_in_a_job_is_no_notification(qtbot) -> None:
    def work() -> Generator[int, None, None]:
        for _ in range(20):
            warnings.warn("slow", UserWarning, stacklevel=1)
            yield 0

    before = len(notification_manager.records)
    run(qtbot, Job("warning", work()))
    assert len(notification_manager.records) == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives threads a priority")
def test_a_job_is_of_lower_priority_than_the_viewer(qtbot) -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = niceness()

    def work() -> Generator[int, None, int]:
        yield 0
        return niceness()

    ending = run(qtbot, Job("at work", work())).endings[0]
    assert niceness() == before
    assert ending.result == min(before + 10, 19)


def test_a_curve_of_quick_epochs_is_not_drawn_for_each(qtbot, monkeypatch) -> None:
    curve, drawn = LossCurve(), list[int]()
    qtbot.addWidget(curve)
    real = curve._validation.setData
    monkeypatch.setattr(
        curve._validation, "setData", lambda x, y: (drawn.append(len(x)), real(x, y))
    )
    for epoch in range(1, 301):
        curve.add(epoch, 1.0, 2.0, epoch == 7)
    assert drawn == []
    qtbot.waitUntil(lambda: bool(drawn), timeout=60_000)
    assert drawn == [300]
    curve.add(200, 1.0, 2.0, False)  # a run that is resumed begins anew there
    qtbot.waitUntil(lambda: len(drawn) > 1, timeout=60_000)
    assert drawn == [300, 200]
