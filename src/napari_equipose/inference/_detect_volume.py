"""Objects in a volume: blobs of their size, each compared with what a model draws of it."""

from collections.abc import Generator, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from ..geometry import InputError, centred_grid, extract_cubes, smooth_ball_mask
from ..models import SavedModel, choose_device
from ._detect import DetectionConfig, threshold_of
from ._progress import Progress
from ._rotation_search import Found, Search, nearby_rotations, rotations_everywhere
from ._spectra import fine_spectrum
from ._threshold import suggest_threshold
from ._volume_blobs import Blobs, check_volume, find_blobs
from ._volume_candidates import likely

_BY_CHANCE = 0.5
"""As for `likely`: the model tells chance from objects better than blobs do."""
_DISTANCE = 0.3
"""Least distance between objects, in boxes."""
_AT_ONCE = 8  # boxes
_COARSE_DEG, _COARSE_SHELL = 24.0, 5  # cycles per box
_FINE = ((8.0, 7, 2.0), (4.0, 8, 1.0))
"""Step in degrees, cycles per box that are looked at, reach of shifts in voxels."""
_REACH = 1 / 8
"""Of the first shifts, in boxes: so far off may a blob be."""
_EDGE = 3.0  # voxels over which the mask falls
_FEWEST_DECOYS = 25


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


def detect_volume(
    saved: SavedModel,
    volume: NDArray[Any],
    config: DetectionConfig | None = None,
    *,
    device: str = "auto",
) -> Generator[Progress, None, Picks3D]:
    """Find every object of a volume.

    Blobs of the size of the model's boxes are candidates. What the model draws is turned to all
    rotations and correlated with each box where the tilt series measured it, for the encoder's own
    poses are coarse: the structures that the model began with, or else what it draws of the content
    that it infers of the box. Of fits to one object the best stays.

    Parameters
    ----------
    saved : SavedModel
        Of volumes, from a run on a tomogram or on a stack of subtomograms.
    volume : array, shape (z, y, x)
        At the pixel size the model was trained at; may be memory-mapped: it is read in pieces.
    config : DetectionConfig, optional
        Its ``rounds`` and ``tile_size`` are of images; ``min_distance`` is by default 0.3 boxes.
    device : str
        As for `models.choose_device`.

    Yields
    ------
    Progress

    Returns
    -------
    Picks3D
        Sub-pixel positions; possibly none.

    Raises
    ------
    InputError
        If the volume does not fit the model, or the model is not of volumes.

    References
    ----------
    F. Foerster et al., J. Struct. Biol. 161, 2008: the constrained cross-correlation.
    """
    _check(saved, volume)
    config = config or DetectionConfig()
    threshold = threshold_of(saved) if config.threshold is None else config.threshold
    poser = _Poser(saved, device)
    blobs = yield from find_blobs(volume, poser.size)
    side = poser.polarity(volume, blobs)
    candidates = likely(*blobs, side, _BY_CHANCE)
    found = yield from poser.fit(volume, candidates.positions)
    order = np.argsort(-found.score, kind="stable")
    order = order[found.score[order] >= threshold]
    found = Picks3D(*(column[order] for column in found))
    inside = (found.positions >= -0.5) & (found.positions < np.array(volume.shape) - 0.5)
    found = Picks3D(*(column[inside.all(1)] for column in found))
    kept = _far_apart(found.positions, config.min_distance or _DISTANCE * poser.size)
    return Picks3D(*(column[kept] for column in found))


def calibrate_volumes(
    saved: SavedModel, volumes: Sequence[NDArray[Any]], device: str = "auto"
) -> Generator[Progress, None, float]:
    """Set the threshold between what is found in volumes and what is found in their negatives.

    Parameters
    ----------
    saved : SavedModel
        Of volumes.
    volumes : sequence of array, shape (z, y, x)
        Such as the model was trained on.
    device : str
        As for `models.choose_device`.

    Yields
    ------
    Progress

    Returns
    -------
    float
        As `suggest_threshold` says.
    """
    poser = _Poser(saved, device)
    scores, chance = [], []
    for volume in volumes:
        blobs = yield from find_blobs(volume, poser.size)
        side = poser.polarity(volume, blobs)
        own = likely(*blobs, side, _BY_CHANCE).positions
        other = blobs[0 if side == "bright" else 1].positions[: max(len(own), _FEWEST_DECOYS)]
        found = yield from poser.fit(volume, own)
        decoys = yield from poser.fit(volume, other, negative=True)
        scores.append(found.score)
        chance.append(decoys.score)
    return suggest_threshold(np.concatenate(scores), np.concatenate(chance))


def _check(saved: SavedModel, volume: NDArray[Any]) -> None:
    capabilities, config = saved.model.capabilities, saved.model.config
    if 3 not in capabilities.dimensions:
        raise InputError(
            f"this {saved.kind} model is of images, and a volume of shape {volume.shape} was "
            "given; train one on volumes (--model harmony)."
        )
    check_volume(volume, config.box_size)


class _Drawing(NamedTuple):
    """An object at rest, as a model draws it."""

    content: Tensor  # (content_dim,)
    picture: Tensor  # (z, y, x)
    spectrum: Tensor  # (1, 2, z, y, x), fine


class _Poser:
    """A model that says of boxes how the object in them lies."""

    def __init__(self, saved: SavedModel, device: str) -> None:
        self.saved, self.model = saved, saved.model
        self.device = choose_device(device)
        assert isinstance(self.model, torch.nn.Module)
        self.model.to(self.device)
        config = self.model.config
        self.size: int = config.box_size
        self.mask = smooth_ball_mask(self.size, config.radius * self.size - _EDGE / 2, _EDGE)
        finest = (config.side - 1) // 2  # what is drawn has no more

        def search(shell: int, reach: float) -> Search:
            return Search.up_to(min(shell, finest), torch.ones(finest + 1), self.size, reach)

        self.coarse = search(_COARSE_SHELL, max(1.0, _REACH * self.size))
        self.everywhere = rotations_everywhere(_COARSE_DEG)
        known = torch.tensor(saved.record.get("structures") or [], dtype=torch.float32)
        self.structures = self._drawings(known) if len(known) else []
        self.fine = [(search(shell, reach), nearby_rotations(step)) for step, shell, reach in _FINE]

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
        seen = (box * self.mask, self.model.config.wedge)
        each = []
        for drawing in drawings:
            found = self.coarse.best(*seen, drawing.spectrum, self.everywhere, torch.zeros(3))
            for search, nearby in self.fine:
                turns = found.rotation @ nearby
                found = search.best(*seen, drawing.spectrum, turns, found.translation)
            each.append(found)
        best = int(np.argmax([one.score for one in each]))
        return drawings[best], each[best]


def _middle(picture: Tensor) -> Tensor:
    """Centre of mass (3,), from the centre voxel, of what stands out of a picture (z, y, x)."""
    strength = picture - picture.median()
    strength = strength * strength.flatten()[strength.abs().argmax()].sign()
    weight = (strength - strength.max() / 4).clamp(min=0)
    grid = centred_grid(tuple(picture.shape))
    middle: Tensor = (weight.unsqueeze(-1) * grid).sum((0, 1, 2)) / weight.sum().clamp(min=1e-9)
    return middle


def _far_apart(positions: NDArray[np.float32], distance: float) -> NDArray[np.int64]:
    """Rows, best first, that lie so far from all better ones."""
    free = np.ones(len(positions), bool)
    if len(positions):
        for row, near in enumerate(KDTree(positions).query_ball_point(positions, distance)):
            if free[row]:
                free[[other for other in near if other > row]] = False
    return np.flatnonzero(free)
