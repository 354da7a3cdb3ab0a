"""What of the viewer's is destroyed in the thread of a job, and whether that ends the viewer.

    xvfb-run -a python benchmarks/reliability/garbage.py --minutes 5 --json garbage.json

Python destroys objects that hold each other in whichever thread happens to look for garbage. In a
real viewer layers of all kinds are added, selected, and removed, and panels opened and closed, a
round as fast as they can be, while a job of ours makes objects in its thread without pause. With
``--objects 50`` Python looks for garbage after every 50 new objects in place of its usual 700.

Noted are the looks by thread and what they destroyed, and, of Qt's objects that were destroyed in
the thread of the job, the type, and whether Python owned them: only then does Qt's part go with
Python's. The fault handler is on. A viewer that crashes is seen by the exit code.
"""

import argparse
import faulthandler
import gc
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from _session import Session, home, print_table, wait_until, write_report


class Watch:
    """Notes looks for garbage by thread, and the Qt objects that are destroyed in other threads."""

    def __init__(self) -> None:
        self.here = threading.get_ident()
        self.looks: Counter[str] = Counter()
        self.destroyed: Counter[str] = Counter()
        self._refs: dict[int, Any] = {}
        self._owned: dict[int, bool] = {}
        gc.callbacks.append(self._looked)

    def _looked(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "stop":
            where = "viewer" if threading.get_ident() == self.here else "others"
            self.looks[where] += 1
            self.looks[f"{where}: destroyed"] += info["collected"]

    def scan(self) -> None:
        """Take note of Qt objects that are new."""
        from PyQt6 import sip

        for thing in gc.get_objects():
            if issubclass(type(thing), sip.simplewrapper):
                key = id(thing)
                if not sip.isdeleted(thing):
                    self._owned[key] = bool(sip.ispyowned(thing))
                if key not in self._refs:
                    name = next(
                        kind.__name__
                        for kind in type(thing).__mro__
                        if kind.__module__[:5] == "PyQt6"
                    )
                    self._refs[key] = weakref.ref(thing, self._gone(key, name))

    def _gone(self, key: int, name: str) -> Any:
        def gone(_: object) -> None:
            self._refs.pop(key, None)
            owned = self._owned.pop(key, False)
            if threading.get_ident() != self.here:
                self.destroyed[f"{name}{' (owned)' if owned else ''}"] += 1

        return gone

    def close(self) -> None:
        """Note no more."""
        gc.callbacks.remove(self._looked)


def busy(stop: threading.Event) -> Iterator[None]:
    """Make objects as a training does, and tensors."""
    import torch

    while not stop.is_set():
        kept = [{"number": [number]} for number in range(2000)]
        torch.randn(64, 64) @ torch.randn(64, 64)
        yield None
        del kept


def churn(session: Session, round_: int) -> None:
    """Add layers of all kinds, select and change each, and remove them."""
    viewer, rng = session.viewer, np.random.default_rng(round_)
    points = 100 * rng.random((50, 2))
    layers = [
        viewer.add_image(rng.random((64, 64)), colormap="viridis"),
        viewer.add_labels(rng.integers(0, 5, (64, 64))),
        viewer.add_points(points, features={"class": np.arange(50)}, text="class"),
        viewer.add_vectors(np.stack((points, np.ones_like(points)), 1)),
        viewer.add_shapes([points[:2], points[2:4]], shape_type="line"),
    ]
    for layer in layers:
        viewer.layers.selection.active = layer
        layer.visible = False
        layer.visible = True
        wait_until(lambda: True, poll=1)
    if round_ % 4 == 0:
        latent = viewer.window.add_plugin_dock_widget("napari-equipose", "Latent space")[1]
        session.close_panels()
        session.open_panels()
        viewer.window.remove_dock_widget(latent)
    viewer.layers.clear()


def main() -> None:
    """Do the rounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--objects", type=int, default=700, help="new ones before each look")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    faulthandler.enable()
    with home():
        from napari_equipose.widgets._worker import Job

        session = Session()
        gc.set_threshold(arguments.objects, *gc.get_threshold()[1:])
        watch, stop = Watch(), threading.Event()
        job = Job("making objects", busy(stop))
        ended: list[bool] = []
        job.released.connect(lambda: ended.append(True))
        job.start()
        began = time.monotonic()
        done = 0
        while done < arguments.rounds and time.monotonic() - began < 60 * arguments.minutes:
            churn(session, done)
            watch.scan()
            wait_until(lambda: True, poll=1)
            done += 1
        seconds = time.monotonic() - began
        stop.set()
        wait_until(lambda: bool(ended))
        watch.close()
        session.close()
    result = {"rounds": done, "seconds": round(seconds, 1)}
    print_table([result | dict(sorted(watch.looks.items()))])
    print_table(
        [{"destroyed elsewhere": name, "times": n} for name, n in watch.destroyed.most_common()]
    )
    write_report(
        arguments.json, "garbage", result | {"looks": watch.looks, "destroyed": watch.destroyed}
    )


if __name__ == "__main__":
    main()
