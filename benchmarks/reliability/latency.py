"""Whether the viewer stays quick while it trains, how soon Stop is answered, and what it costs.

    xvfb-run -a python benchmarks/reliability/latency.py --json latency.json

A real viewer with the sample image trains the network of the preset "fast", in its own process
(thread) or in another one (process), with the canvas idle or moving thirty times a second; and,
to compare, with no training. A timer of 5 ms notes when the event loop comes round. The latency
given is what an event would wait that arrives at a random moment: a gap of 200 ms counts two
hundred times as much as one of 1 ms.

What the viewer costs the training is its seconds an epoch against those of the same run driven
by a program without Qt and napari: viewer and no viewer turn about, several times.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from _session import Session, home, machine, print_table, wait_until, write_report

BOX = 32
EPOCHS = 1000
SETTINGS = "steps_per_epoch=3"
"""Short epochs, to have many to compare; their steps are of the usual size."""
_TICK = 5
_FRAME = 33


class Probe:
    """Notes when the event loop comes round to a timer."""

    def __init__(self) -> None:
        from qtpy.QtCore import Qt, QTimer

        self.times: list[float] = []
        self.timer = QTimer()
        self.timer.setTimerType(Qt.TimerType.PreciseTimer)
        self.timer.timeout.connect(lambda: self.times.append(time.perf_counter()))
        self.timer.start(_TICK)

    def take(self) -> np.ndarray:
        """Gaps, in milliseconds, since the last time this was asked."""
        times, self.times = self.times, self.times[-1:]
        return 1e3 * np.diff(times)


def waits(gaps: np.ndarray) -> dict[str, float]:
    """What events at random moments wait: median, 99th percentile and most, in milliseconds."""
    ordered, total = np.sort(gaps), gaps.sum()

    def percentile(part: float) -> float:
        low, high = 0.0, float(ordered[-1])
        for _ in range(60):  # the wait that only a part of 1 - part of all time exceeds
            middle = (low + high) / 2
            late = np.clip(ordered - middle, 0, None).sum() / total
            low, high = (middle, high) if late > 1 - part else (low, middle)
        return high

    return {"p50": percentile(0.5), "p99": percentile(0.99), "max": float(ordered[-1])}


class Mover:
    """Moves the canvas as a hand on the mouse does."""

    def __init__(self, session: Session, moving: bool) -> None:
        from qtpy.QtCore import QTimer

        self.camera = session.viewer.scene.camera
        self.centre, self.zoom = np.array(self.camera.center), self.camera.zoom
        self.phase = 0
        self.timer = QTimer()
        self.timer.timeout.connect(self.move)
        if moving:
            self.timer.start(_FRAME)

    def move(self) -> None:
        """Go on a little."""
        self.phase += 1
        angle = self.phase / 10
        self.camera.center = self.centre + 30 * np.array([0, np.cos(angle), np.sin(angle)])
        self.camera.zoom = self.zoom * (1 + 0.3 * np.sin(angle / 3))


def start(session: Session, own_process: bool) -> None:
    """Press Learn."""
    session.settings(own_process=own_process)
    session.set(settings=SETTINGS, epochs=EPOCHS, box_size=BOX)
    session.click(session.train, "equipose.train.start")


def stop(session: Session) -> float:
    """Press Stop; return the seconds until the panel can be used again."""
    if session.train.is_running:
        session.click(session.train, "equipose.train.stop")
    return wait_until(lambda: not session.train.is_running, poll=5)


def probe(mode: str, moving: bool, seconds: float) -> list[dict[str, Any]]:
    """Latency before training, from Learn to the first step, while training, and at Stop."""
    rows = []
    with home():
        session = Session()
        session.open_sample()
        session.viewer.window.resize(1200, 800)
        mover = Mover(session, moving)
        until = time.monotonic() + 3
        wait_until(lambda: time.monotonic() > until)
        probe = Probe()

        def note(phase: str) -> None:
            gaps = probe.take()
            if len(gaps):
                rows.append({"phase": phase, "gaps": gaps})

        until = time.monotonic() + seconds / 2
        wait_until(lambda: time.monotonic() > until)
        note("no training")
        if mode != "none":
            start(session, mode == "process")
            wait_until(lambda: session.train._started is not None)
            note("preparing")
            until = time.monotonic() + seconds
            wait_until(lambda: time.monotonic() > until)
            note("training")
            took = stop(session)
            note("stopping")
            assert not session.messages()
            rows[-1]["seconds"] = took
        mover.timer.stop()
        session.close()
    return [
        {"mode": mode, "canvas": "moving" if moving else "idle", "phase": row["phase"]}
        | {"seconds": row.get("seconds", row["gaps"].sum() / 1e3), **waits(row["gaps"])}
        for row in rows
    ]


def stops(mode: str, tries: int) -> dict[str, Any]:
    """Press Stop at random moments; how long until the panel can be used again."""
    rng = np.random.default_rng(0)
    took = []
    with home():
        session = Session()
        session.open_sample()
        for moment in rng.permutation(np.linspace(0.05, 8, tries)):
            start(session, mode == "process")
            until = time.monotonic() + moment
            wait_until(lambda until=until: time.monotonic() > until, poll=5)
            took.append(stop(session))
        assert not session.messages()
        session.close()
    return {"mode": mode, "tries": tries, "median s": float(np.median(took)), "max s": max(took)}


def epochs_in_viewer(mode: str, moving: bool, seconds: float) -> list[float]:
    """Seconds of each epoch of a run in the viewer."""
    with home() as folder:
        session = Session()
        session.open_sample()
        session.viewer.window.resize(1200, 800)
        mover = Mover(session, moving)
        start(session, mode == "process")
        wait_until(lambda: session.train.curve.last_epoch >= 1)
        until = time.monotonic() + seconds
        wait_until(lambda: time.monotonic() > until)
        mover.timer.stop()
        stop(session)
        (log,) = (folder / "equipose").glob("*.run/round1.log.csv")
        found = _epochs(log)
        session.close()
    return found


def epochs_alone(mode: str, seconds: float) -> list[float]:
    """Seconds of each epoch of the same run without a viewer, at the same priority."""
    import os

    import torch

    from napari_equipose.training import (
        EpochReport,
        TrainingRun,
        create_run,
        train_in_child,
        train_run,
    )

    threads = max(torch.get_num_threads() - 1, 1)
    if mode == "thread" and hasattr(os, "nice"):
        os.nice(10)
    sample = Path(__file__).resolve().parents[2] / "sample_data" / "ecoli_phase_contrast.tif"
    with home() as folder:
        run = TrainingRun(
            images=(str(sample),),
            box_size=BOX,
            epochs=EPOCHS,
            threads=threads,
            settings={"steps_per_epoch": 3},
        )
        place = create_run(folder / "m.safetensors", run)
        train = train_in_child if mode == "process" else train_run
        job: Any = train(place.path)
        until = np.inf
        for report in job:
            if isinstance(report, EpochReport) and report.epoch == 1:
                until = time.monotonic() + seconds
            if time.monotonic() > until:
                break
        job.close()
        return _epochs(place.path / "round1.log.csv")


def _epochs(log: Path) -> list[float]:
    import pandas as pd

    return [float(step) for step in np.diff(pd.read_csv(log)["seconds"])]


def part(*words: str) -> tuple[Any, float]:
    """Do one measurement in a fresh process, which nothing before it has warmed or worn.

    Also returns what all other programs took meanwhile, in percent of one core.
    """
    command = [sys.executable, __file__, "--part", *words]
    before, began = _others(), time.monotonic()
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    after, seconds = _others(), time.monotonic() - began
    others = sum(spent - before.get(pid, 0.0) for pid, spent in after.items())
    print(f"{' '.join(words)}: {seconds:.0f} s, others {100 * others / seconds:.0f} %", flush=True)
    return json.loads(run.stdout.splitlines()[-1]), round(100 * others / seconds)


def _others() -> dict[int, float]:
    """Processor seconds of the processes that are not of this session."""
    import os

    import psutil

    spent, own = {}, os.getsid(0) if hasattr(os, "getsid") else None
    for process in psutil.process_iter():
        try:
            if own is None or os.getsid(process.pid) != own:
                times = process.cpu_times()
                spent[process.pid] = times.user + times.system
        except (psutil.Error, OSError):
            continue
    return spent


def parts(words: list[str]) -> Any:
    """Do what `part` asks for."""
    kind, mode, canvas, number = words
    moving = canvas == "moving"
    if kind == "probe":
        return probe(mode, moving, float(number))
    if kind == "stops":
        return stops(mode, int(number))
    if kind == "viewer":
        return epochs_in_viewer(mode, moving, float(number))
    return epochs_alone(mode, float(number))


def main() -> None:
    """Measure all, or what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=3, help="of the comparison of throughput")
    parser.add_argument("--tries", type=int, default=20, help="of Stop")
    parser.add_argument("--json")
    parser.add_argument("--part", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print(json.dumps(parts(given.part)))
        return
    assert threading.active_count() == 1
    seconds = str(given.seconds)
    print("machine:", machine())
    latency = []
    for mode in ("none", "thread", "process"):
        for canvas in ("idle", "moving"):
            rows, others = part("probe", mode, canvas, seconds)
            latency += [row | {"others %": others} for row in rows]
    print("\nLatency of the event loop, milliseconds")
    print_table(latency)
    stopping = []
    for mode in ("thread", "process"):
        row, others = part("stops", mode, "idle", str(given.tries))
        stopping.append(row | {"others %": others})
    print("\nFrom Stop to idle, at random moments within 8 s from Learn")
    print_table(stopping)
    throughput = []
    for mode in ("thread", "process"):
        found: dict[str, list[float]] = {"alone": [], "idle": [], "moving": []}
        busy: dict[str, list[float]] = {canvas: [] for canvas in found}
        for _ in range(given.repeats):
            for canvas, each in found.items():
                kind = "alone" if canvas == "alone" else "viewer"
                times, others = part(kind, mode, canvas, seconds)
                each.append(float(np.median(times)))
                busy[canvas].append(others)
        alone = np.median(found["alone"])
        for canvas, each in found.items():
            row = {"mode": mode, "viewer": canvas.replace("alone", "none")}
            row |= {"seconds an epoch": float(np.median(each)), "all": each}
            row["others %"] = busy[canvas]
            throughput.append(row | {"lost %": 100 * float(1 - alone / np.median(each))})
    print("\nThroughput of training")
    print_table(throughput)
    results = {"latency": latency, "stop": stopping, "throughput": throughput}
    write_report(given.json, "latency", results)


if __name__ == "__main__":
    main()
