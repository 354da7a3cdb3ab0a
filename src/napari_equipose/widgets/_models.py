"""The models of this session: one that is trained in a panel is at hand in the others."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from psygnal import Signal

from ..models import SavedModel, load_model


class ShelvedModel(NamedTuple):
    """A model by the name that panels show."""

    name: str
    saved: SavedModel
    path: Path


class ModelShelf:
    """Models that were trained or loaded in this session, oldest first."""

    added = Signal(str)
    """The name of a model that was put on the shelf, or that took the place of another."""

    def __init__(self) -> None:
        self._models: dict[str, ShelvedModel] = {}

    def put(self, saved: SavedModel, path: Path) -> str:
        """Add a model; one from the same file takes the place of the older.

        Returns
        -------
        str
            Its name: that of the file, with the folder's where two files have one name.
        """
        path = Path(path)
        name = path.stem
        if name in self._models and self._models[name].path != path:
            name = f"{path.stem} ({path.parent})"
        self._models[name] = ShelvedModel(name, saved, path)
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
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def clear(self) -> None:
        """Forget all models."""
        self._models.clear()


shelf = ModelShelf()
"""The one shelf of this session."""
