"""What a model of volumes draws, fitted to boxes at all rotations."""

from collections.abc import Generator, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import MissingWedge, centred_grid, extract_cubes, smooth_ball_mask
from ..models import KnowsSide, SavedModel, choose_device, missing_wedge, object_radius
from ._progress import Progress
from ._rotation_search import (
    Found,
    Search,
    Stage,
    fit_best,
    nearby_rotations,
    rotations_everywhere,
)
from ._spectra import fine_spectrum
from ._volume_blobs import Blobs

_AT_ONCE = 8  # boxes
_COARSE_DEG, _COARSE_SHELL = 24.0, 5  # cycles per box
_FINE = ((8.0, 7, 2.0), (4.0, 8, 1.0))
"""Step in degrees, cycles per box that are looked at, reach of shifts in voxels."""
_REACH = 1 / 8
"""Of the first shifts, in boxes: so far off may a blob be."""
_EDGE = 3.0  # voxels over which the mask falls


class Picks3D(NamedTuple):
    """Objects of one volume, of falling score."""

    positions: NDArray[np.float32]
    """Shape (n, 3): the middle of each object, (z, y, x) in pixels."""
    rotation: NDArray[np.float32]
    """Shape (n, 3, 3), matrices that act on columns (z, y, x)."""
    score: NDArray[np.float32]
    """Shape (n,): part of the power of its box, at the frequencies that tell the pose and that
    were measured, that the drawn object explains; from 0 to 1."""
    content: NDArray[np.float32]
    """Shape (n, content_dim)."""

    def select(self, rows: NDArray[Any]) -> "Picks3D":
        """Return those of some rows."""
        return Picks3D(*(column[rows] for column in self))


class _Drawing(NamedTuple):
    """An object at rest, as a model draws it."""

    content: Tensor  # (content_dim,)
    picture: Tensor  # (z, y, x)
    spectrum: Tensor  # (1, 2, z, y, x), fine


class Poser:
    """A model that says of boxes how the object in them lies.

    Parameters
    ----------
    saved : SavedModel
    device : str
    wedge : MissingWedge, optional
        What was measured; by default what the model was trained with.
    """

    def __init__(self, saved: SavedModel, device: str, wedge: MissingWedge | None = None) -> None:
        self.device = choose_device(device)
        self.saved = saved.on(self.device)
        self.model: Any = self.saved.model
        config = self.model.config
        self.wedge: MissingWedge | None = wedge or missing_wedge(config)
        self.size: int = config.box_size
        self.mask = smooth_ball_mask(self.size, object_radius(config) - _EDGE / 2, _EDGE)
        side = config.side if isinstance(config, KnowsSide) else self.size
        finest = (side - 1) // 2  # what is drawn has no more

        def search(shell: int, reach: float) -> Search:
            return Search.up_to(min(shell, finest), torch.ones(finest + 1), self.size, reach)

        coarse = search(_COARSE_SHELL, max(1.0, _REACH * self.size))
        self.stages = [Stage(coarse, rotations_everywhere(_COARSE_DEG))]
        self.stages += [
            Stage(search(shell, reach), nearby_rotations(step)) for step, shell, reach in _FINE
        ]
        known = torch.tensor(saved.record.get("structures") or [], dtype=torch.float32)
        self.structures = self._drawings(known) if len(known) else []

    def polarity(
        self, volume: NDArray[Any], blobs: tuple[Blobs, Blobs]
    ) -> Literal["dark", "bright"]:
        """Whether what the model draws is dark or bright against its surroundings."""
        places = np.concatenate([each.positions[:_AT_ONCE] for each in blobs])
        if not len(places):
            return "bright"
        drawings = self._read(next(self._boxes(volume, places)))
        distance = centred_grid((self.size,) * 3).norm(dim=-1)
        mean = torch.stack([each[0].picture for each in drawings]).mean(0)
        above = mean[distance < self.size / 6].mean() > mean[distance < self.size / 2].mean()
        return "bright" if above else "dark"

    def fit(
        self, volume: NDArray[Any], positions: NDArray[np.float64], negative: bool = False
    ) -> Generator[Progress, None, Picks3D]:
        """Fit what is drawn to boxes around positions; of the negative of the volume, if wanted."""
        config = self.model.config
        places: list[NDArray[np.float32]] = []
        rotation: list[NDArray[np.float32]] = []
        score: list[float] = []
        contents: list[NDArray[np.float32]] = []
        for boxes in self._boxes(volume, positions, -1 if negative else 1):
            for box, drawings in zip(boxes[:, 0], self._read(boxes), strict=True):
                drawing, found = self._pose(box, drawings)
                corner = np.floor(positions[len(score)] + 0.5)
                middle = found.rotation @ _middle(drawing.picture) + found.translation
                places.append(corner + middle.numpy())
                rotation.append(found.rotation.numpy())
                score.append(max(found.score, 0.0) ** 2)  # the contrast is fitted
                contents.append(drawing.content.numpy())
                yield Progress(len(score), len(positions), "fitting poses")
        return Picks3D(
            np.array(places, np.float32).reshape(-1, 3),
            np.array(rotation, np.float32).reshape(-1, 3, 3),
            np.array(score, np.float32),
            np.array(contents, np.float32).reshape(-1, config.content_dim),
        )

    def _boxes(
        self, volume: NDArray[Any], positions: NDArray[np.float64], sign: int = 1
    ) -> Iterator[Tensor]:
        for first in range(0, len(positions), 2 * _AT_ONCE):
            places = positions[first : first + 2 * _AT_ONCE]
            boxes = sign * extract_cubes(volume, places, self.size)
            yield torch.from_numpy(self.saved.normalisation.of_stack(boxes))

    @torch.no_grad()
    def _read(self, boxes: Tensor) -> list[list[_Drawing]]:
        """What may be in each of some boxes."""
        if self.structures:
            return [self.structures] * len(boxes)
        contents = [
            self.model.infer(few.to(self.device)).content.cpu() for few in boxes.split(_AT_ONCE)
        ]
        return [[drawing] for drawing in self._drawings(torch.cat(contents))]

    @torch.no_grad()
    def _drawings(self, contents: Tensor) -> list[_Drawing]:
        pictures = self.model.generate(contents.to(self.device))[:, 0].cpu()
        return [
            _Drawing(content, picture, fine_spectrum(picture[None]))
            for content, picture in zip(contents, pictures, strict=True)
        ]

    def _pose(self, box: Tensor, drawings: list[_Drawing]) -> tuple[_Drawing, Found]:
        """Turn each drawing to all rotations, then about its best; the one that fits best."""
        # Mirror images differ in detail alone: each is fitted to the end before the best is chosen.
        spectra = [drawing.spectrum for drawing in drawings]
        best, found = fit_best(box * self.mask, self.wedge, spectra, self.stages)
        return drawings[best], found


def _middle(picture: Tensor) -> Tensor:
    """Centre of mass (3,), from the centre voxel, of what stands out of a picture (z, y, x)."""
    strength = picture - picture.median()
    strength = strength * strength.flatten()[strength.abs().argmax()].sign()
    weight = (strength - strength.max() / 4).clamp(min=0)
    grid = centred_grid(tuple(picture.shape))
    middle: Tensor = (weight.unsqueeze(-1) * grid).sum((0, 1, 2)) / weight.sum().clamp(min=1e-9)
    return middle
