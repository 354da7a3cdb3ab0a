"""Keeps the objects of a viewer: ties arrows to points, and has the model measure new ones."""

from typing import Any
from weakref import WeakKeyDictionary, ref

from ._object_edits import tie_arrows

_keepers: "WeakKeyDictionary[Any, ObjectKeeper]" = WeakKeyDictionary()


def watch_objects(viewer: Any) -> None:
    """Look after the objects of a viewer from now on, whether a panel is open or not."""
    layers = viewer.layers
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
        layers.events.inserted.connect(self._on_inserted)
        self._on_inserted()

    def _on_inserted(self, event: Any = None) -> None:
        layers = self._layers()
        if layers is not None:
            tie_arrows(layers)
