"""Keeps the objects of a viewer: ties arrows to points, and has the model measure new ones."""

from functools import partial
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary, ref

from napari.layers import Points
from napari.utils.notifications import show_warning

from ..geometry import InputError
from ._measure_job import Measured, measure_rows, plan
from ._object_edits import edits_of, record_of, tie_arrows
from ._preferences import read_preferences
from ._worker import Ending, Job

_keepers: "WeakKeyDictionary[Any, ObjectKeeper]" = WeakKeyDictionary()


def watch_objects(viewer: Any) -> None:
    """Look after the objects of a viewer from now on, whether a panel is open or not."""
    layers = getattr(viewer.layers, "__wrapped__", viewer.layers)  # plugins get a stand-in
    if layers not in _keepers:
        _keepers[layers] = ObjectKeeper(layers)


class ObjectKeeper:
    """Follows the layers of a viewer; see `watch_objects`.

    Parameters
    ----------
    layers : LayerList
        Held weakly.
    """

    def __init__(self, layers: Any) -> None:
        self._layers = ref(layers)
        self._jobs: list[Job] = []
        self._asked: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        layers.events.inserted.connect(self._on_inserted)
        self._on_inserted()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being measured."""
        return not self._jobs

    def _on_inserted(self, event: Any = None) -> None:
        layers = self._layers()
        if layers is None:
            return
        tie_arrows(layers)
        for points in layers:
            if isinstance(points, Points) and record_of(points) and points not in self._asked:
                ask = partial(self._measure, ref(points))
                self._asked[points] = ask  # the signal holds it weakly
                edits_of(points).unmeasured.connect(ask)

    def _measure(self, points: Any, ids: list[int]) -> None:
        """Have the model measure objects, if it and their image are at hand."""
        layer, layers = points(), self._layers()
        if layer is None or layers is None:
            return
        try:
            planned = plan(layer, layers, SimpleNamespace(layers=layers), ids)
        except (InputError, OSError):
            return
        if planned is not None:
            job = Job(planned.title, measure_rows(planned, read_preferences().device))
            self._jobs.append(job)
            job.ended.connect(partial(self._on_ended, job, points, planned))
            job.start()

    def _on_ended(self, job: Job, points: Any, planned: Measured, ending: Ending) -> None:
        self._jobs.remove(job)
        layer = points()
        if layer is None:
            return
        if ending.state == "done":
            edits_of(layer).measure(planned.ids, planned.where, ending.result)
        elif ending.state == "failed":
            show_warning(f"{planned.title}: {ending.message}")
