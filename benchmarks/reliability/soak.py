"""Train and detect over and over in one viewer session, and look for what is never given back.

    xvfb-run -a python benchmarks/reliability/soak.py --minutes 120 --csv soak.csv --json soak.json
    python benchmarks/reliability/soak.py --report soak.csv

A round opens the sample image, trains a tiny network (in the viewer's process and in one of its
own, turn about; every third run is stopped and resumed), finds objects with it, moves the canvas
and removes all layers. Every tenth round closes the panels and opens them anew. Each round adds a
row to the CSV file: memory, threads, processes, open files and Qt widgets, when all is idle.
The first stable tenth is the second tenth of the rounds: in the first, things are loaded once.
"""

import argparse
import csv
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from _session import TINY, Session, child, home, print_table, wait_until, write_report

COUNTED = ("rss_mb", "threads", "processes", "files", "widgets", "layers")


def measure(session: Session) -> tuple[dict[str, Any], Counter[str]]:
    """What the process holds now, and its widgets by class."""
    import psutil
    from qtpy.QtWidgets import QApplication

    process = psutil.Process()
    widgets = Counter(type(widget).__name__ for widget in QApplication.allWidgets())
    counts = {
        "rss_mb": round(process.memory_info().rss / 2**20, 2),
        "threads": process.num_threads(),
        "processes": len(process.children(recursive=True)),
        "files": process.num_fds() if hasattr(process, "num_fds") else process.num_handles(),
        "widgets": widgets.total(),
        "layers": len(session.viewer.layers),
    }
    return counts, widgets


def one_round(session: Session, number: int, model: Path) -> dict[str, Any]:
    """Train and detect once; return what happened."""
    import psutil

    own_process = number % 2 == 0
    most = 0.0
    for path in (model, model.with_name(f"{model.stem}.log.csv")):
        path.unlink(missing_ok=True)
    shutil.rmtree(model.with_suffix(".run"), ignore_errors=True)
    session.open_sample()
    session.settings(own_process=own_process)
    train, detect = session.train, session.detect
    stops = number % 3 == 0
    session.set(settings=TINY, epochs=8 if stops else 4)
    train.settings.output.line.setText(str(model))
    train.parentWidget().raise_()
    session.click(train, "equipose.train.start")
    if stops:
        wait_until(lambda: train.curve.last_epoch >= 2 or not train.is_running)
        session.click(train, "equipose.train.stop")
        wait_until(lambda: not train.is_running)
        session.click(train, "equipose.train.resume")

    def done() -> bool:
        nonlocal most
        for process in psutil.Process().children():
            try:
                most = max(most, process.memory_info().rss / 2**20)
            except psutil.Error:
                continue
        return not train.is_running

    wait_until(done, poll=100)
    trained = train.status.text().startswith("Done")
    detect.parentWidget().raise_()
    child(detect, "equipose.detect.lowest").setValue(0.01)
    session.click(detect, "equipose.detect.start")
    wait_until(lambda: not detect.is_running)
    found = len(session.viewer.layers) == 3
    for _ in range(5):
        session.viewer.scene.camera.zoom *= 1.1
        wait_until(lambda: True)
    slider = child(detect, "equipose.detect.threshold")
    slider.setValue((slider.minimum() + slider.maximum()) / 2)
    session.viewer.layers.clear()
    if number % 10 == 9:
        session.close_panels()
        session.open_panels()
    return {
        "own_process": int(own_process),
        "trained": int(trained),
        "found": int(found),
        "messages": " | ".join(session.messages()),
        "child_rss_mb": round(most, 1),
    }


def soak(minutes: float, table: Path) -> tuple[Counter[str], Counter[str]]:
    """Do rounds for so long; return the widgets by class after the tenth round and the last."""
    early: Counter[str] = Counter()
    with home() as folder, table.open("w", newline="") as file:
        session = Session()
        writer = None
        began, number = time.monotonic(), 0
        widgets: Counter[str] = Counter()
        while time.monotonic() - began < 60 * minutes:
            result = one_round(session, number, folder / "equipose" / "soak.safetensors")
            pause = time.monotonic() + 1  # what is deleted later is deleted, threads end
            wait_until(lambda until=pause: time.monotonic() > until)
            counts, widgets = measure(session)
            row = {"round": number, "seconds": round(time.monotonic() - began, 1)}
            row |= counts | result
            if writer is None:
                writer = csv.DictWriter(file, list(row))
                writer.writeheader()
            writer.writerow(row)
            file.flush()
            if number == 10:  # just after the panels were opened anew, as often as later
                early = widgets
            number += 1
        session.close()
    return early, widgets


def growth(table: Path) -> dict[str, Any]:
    """Compare the second tenth of the rounds with the last."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    tenth = max(len(rows) // 10, 1)
    first, last = rows[tenth : 2 * tenth], rows[-tenth:]
    result: dict[str, Any] = {
        "rounds": len(rows),
        "minutes": round(float(rows[-1]["seconds"]) / 60, 1),
        "trained": sum(int(row["trained"]) for row in rows),
        "found": sum(int(row["found"]) for row in rows),
        "messages": sorted({row["messages"] for row in rows} - {""}),
    }
    lines = []
    for name in (*COUNTED, "child_rss_mb"):
        before, after = (
            _median([float(row[name]) for row in part if float(row[name]) or name in COUNTED])
            for part in (first, last)
        )
        percent = 100 * (after / before - 1) if before else 0.0
        lines.append(
            {"what": name, "second tenth": before, "last tenth": after, "growth %": percent}
        )
    result["growth"] = lines
    steady = rows[tenth:]
    slope = np.polyfit([int(r["round"]) for r in steady], [float(r["rss_mb"]) for r in steady], 1)
    result["rss_mb, trend per 100 rounds"] = round(100 * float(slope[0]), 1)
    return result


def _median(values: list[float]) -> float:
    return float(np.median(values)) if values else 0.0


def main() -> None:
    """Soak, or report of a table that is there."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--csv", type=Path, default=Path("soak.csv"))
    parser.add_argument("--json")
    parser.add_argument("--report", type=Path, help="a table of an earlier run; nothing is run")
    given = parser.parse_args()
    widgets: dict[str, int] = {}
    if given.report is None:
        early, late = soak(given.minutes, given.csv)
        widgets = {name: late[name] - early[name] for name in late | early if early}
        widgets = {name: more for name, more in widgets.items() if more}
    result = growth(given.report or given.csv)
    if given.report is None:
        result["widgets by class, last less eleventh round"] = widgets
    lines = result["growth"]
    print(f"{result['rounds']} rounds in {result['minutes']} minutes; ", end="")
    print(f"trained {result['trained']}, found {result['found']}; said: {result['messages']}")
    print_table(lines)
    print("rss_mb, trend per 100 rounds:", result["rss_mb, trend per 100 rounds"])
    print("widgets more or less than after the eleventh round:", widgets or "none")
    write_report(given.json, "soak", result)


if __name__ == "__main__":
    main()
