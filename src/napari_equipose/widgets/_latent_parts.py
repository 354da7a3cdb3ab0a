"""What can be done with the map and its objects: the parts of the Latent space panel that fold."""

from typing import Any

from ._forms import Fold
from ._latent_classes import ClassesPart
from ._latent_movie import MoviePart
from ._latent_selection import SelectionPart
from ._latent_symmetry import SymmetryPart


def add_parts(panel: Any) -> None:
    """Add them to a `LatentWidget`, below the object that is looked at."""
    parts = {
        "Classes": (ClassesPart, "Sort the objects, list the classes, change them by hand."),
        "Selection": (SelectionPart, "What can be done with the objects that are selected."),
        "Grid and path": (MoviePart, "Objects drawn over the map, and along a path through it."),
        "Symmetry": (SymmetryPart, "Whether objects look the same after a part of a turn."),
    }
    for title, (part, tip) in parts.items():
        name = title.lower().replace(" ", "_")
        panel.add_part(Fold(title, part(panel), f"equipose.latent.fold_{name}", tip))
