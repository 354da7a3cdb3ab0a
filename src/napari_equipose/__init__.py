"""Find objects in images and learn their pose and content, without labels.

The rooms, each with its own door, from the ground up: `geometry`; `models` and
`simulation`; `training`, `inference`, `io` and `evaluation`; `widgets` (napari) and
`cli` (the command ``equipose``). A room imports only rooms below it.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
