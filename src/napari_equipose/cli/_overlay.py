"""A picture of an image with every object that was found in it."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .._files import atomic_path
from ..inference import Picks


def draw_overlay(
    path: Path, image: NDArray[Any], picks: Picks, axis: float = 0.0, *, pixels: int = 1200
) -> None:
    """Write a PNG: the image, and on each object a line along its axis, coloured by direction.

    Parameters
    ----------
    path : Path
    image : array, shape (y, x) or (y, x, 3)
    picks : Picks
    axis : float
        Angle in the canonical frame, in radians, of the line to draw.
    pixels : int
        Size of the longer side of the picture.
    """
    height, width = image.shape[:2]
    scale = pixels / max(height, width)
    figure = Figure(figsize=(width * scale / 100, height * scale / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    low, high = np.percentile(image, (0.5, 99.8))
    grey = np.clip((image - low) / max(high - low, 1e-9), 0, 1)
    axes.imshow(grey, cmap="gray", vmin=0, vmax=1, interpolation="lanczos")
    angle = np.asarray(picks.rotation, np.float64) + axis
    direction = np.stack((np.cos(angle), -np.sin(angle)), -1)  # (x, y), y down
    centre = picks.positions[:, ::-1]
    reach = 0.35 * _spacing(picks.positions)
    lines = np.stack((centre - reach * direction, centre + reach * direction), 1)
    colour = cyclic_colours()((angle % np.pi) / np.pi)
    thickness = max(0.22 * reach * scale * 72 / 100, 1.0)
    for width_factor, colours in ((1.7, "black"), (1.0, colour)):
        axes.add_collection(
            LineCollection(
                list(lines), colors=colours, linewidths=width_factor * thickness, capstyle="round"
            )
        )
    axes.scatter(
        centre[:, 0],
        centre[:, 1],
        s=(1.4 * thickness) ** 2,
        c="white",
        edgecolors="black",
        linewidths=0.5,
        zorder=3,
    )
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        FigureCanvasAgg(figure)
        figure.savefig(temporary, format="png")


def _spacing(positions: NDArray[np.floating[Any]]) -> float:
    """Typical distance, in pixels, of an object from its nearest neighbours."""
    if len(positions) < 2:
        return 20.0
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    near = np.sort(apart, axis=1)[:, 1 : min(4, len(positions))]
    return float(np.median(near))


def cyclic_colours() -> ListedColormap:
    """Bright colours around a circle that an eye sees as evenly spaced."""
    turn = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    return ListedColormap(
        0.56 + 0.44 * np.stack([np.cos(turn - k * 2 * np.pi / 3) for k in range(3)], -1)
    )
