"""The models of this session: one that is trained in a panel is at hand in the others."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from psygnal import Signal

from ..models import Capabilities, SavedModel, load_model

_IN_MEMORY = 4
"""So many models are kept in memory; others are read again from their files when they are used."""


class ShelvedModel(NamedTuple):
    """A model by the name that panels show."""

    name: str
    saved: SavedModel
    path: Path


class ModelFacts(NamedTuple):
    """What tells whether a model suits."""

    kind: str
    capabilities: Capabilities
    box_size: int
    channels: int
    digest: str


class ModelShelf:
    """Models that were trained or loaded in this session, oldest first."""

    added = Signal(str)
    """The name of a model that was put on the shelf, or that took the place of another."""

    def __init__(self) -> None:
        self._paths: dict[str, Path] = {}
        self._facts: dict[str, ModelFacts] = {}
        self._models: dict[str, ShelvedModel] = {}
        """Those in memory, the last used last."""

    def put(self, saved: SavedModel, path: Path) -> str:
        """Add a model; one from the same file takes the place of the older.

        Returns
        -------
        str
            Its name: that of the file, with the folder's where two files have one name.
        """
        path = Path(path)
        name = path.stem
        if self._paths.get(name, path) != path:
            name = f"{path.stem} ({path.parent})"
        self._paths[name] = path
        config = saved.model.config
        self._facts[name] = ModelFacts(
            saved.kind,
            saved.model.capabilities,
            config.box_size,
            config.channels,
            saved.digest,
        )
        self._keep(ShelvedModel(name, saved, path))
        self.added.emit(name)
        return name

    def load(self, path: Path) -> str:
        """Add the model of a file; return its name.

        Raises
        ------
        InputError
            If the file is no model.
        """
        return self.put(load_model(path), path)

    def __getitem__(self, name: str) -> ShelvedModel:
        """Take a model, to use it.

        Raises
        ------
        KeyError
            If there is none of this name.
        InputError
            If it must be read again, and its file is gone or no model any more.
        """
        found = self._models.get(name)
        if found is None:
            found = ShelvedModel(name, load_model(self._paths[name]), self._paths[name])
        self._keep(found)
        return found

    def facts(self, name: str) -> ModelFacts:
        """Tell what a model is for, without reading it."""
        return self._facts[name]

    def _keep(self, model: ShelvedModel) -> None:
        self._models.pop(model.name, None)
        self._models[model.name] = model
        spare = [shelved for shelved in self._models.values() if shelved.path.is_file()]
        for shelved in spare[: max(len(self._models) - _IN_MEMORY, 0)]:
            if shelved is not model:
                del self._models[shelved.name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def clear(self) -> None:
        """Forget all models."""
        self._paths.clear()
        self._facts.clear()
        self._models.clear()


shelf = ModelShelf()
"""The one shelf of this session."""
