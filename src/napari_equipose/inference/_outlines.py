"""Objects found by their outlines, and what a trained model says of each."""

from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from ..geometry import InputError, extract_boxes, wrap_angle
from ..models import Normalisation, SavedModel, choose_device
from ._detection_config import DetectionConfig, Picks
from ._progress import Progress
from ._shape_model import ShapeModel
from ._shape_search import ShapeObjects, all_shapes, shape_objects

_MARGIN = 0.05
"""Of an object that another one's box does not show, in boxes: its rim."""
_AT_A_TIME = 256
_OVERCONFIDENCE = 10.0
"""By which the logarithm of odds is divided for the score."""
_LONG = 1.2
"""Length over width of objects whose outline tells their rotation."""


class Outlines(NamedTuple):
    """What outlines of the objects are like; goes into the record of a model."""

    box_size: int
    """Pixels."""
    sign: int
    """-1 of dark objects, 1 of bright ones."""
    shapes: ShapeModel
    turn: float | None = None
    """Rotation of an object whose long axis lies along x, radians; None where the outline does
    not tell the rotation, and the model's own counts."""

    def to_record(self) -> dict[str, Any]:
        """Plain JSON."""
        arrays = self.shapes._asdict()
        numbers = {name: np.round(array, 5).tolist() for name, array in arrays.items()}
        return {"box_size": self.box_size, "sign": self.sign, "turn": self.turn, "shapes": numbers}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Outlines":
        """Read what `to_record` made.

        Raises
        ------
        InputError
            If it is something else.
        """
        try:
            numbers = dict(record["shapes"])
            objects = int(numbers.pop("objects"))
            arrays = {name: np.array(value, float) for name, value in numbers.items()}
            turn = record["turn"]
            return cls(
                int(record["box_size"]),
                int(record["sign"]),
                ShapeModel(**arrays, objects=objects),
                None if turn is None else float(turn),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"the model's record of outlines is damaged: {error}") from error

    def find(self, image: NDArray[Any]) -> ShapeObjects:
        """Find all shapes of an image that do not cover each other, the likeliest first.

        Parameters
        ----------
        image : array, shape (y, x) or (y, x, channels)
            At the pixel size at which the outlines were learned.
        """
        return shape_objects(all_shapes(image, self.box_size, [self.sign])[self.sign], self.shapes)


def outlines_of(saved: SavedModel) -> Outlines | None:
    """Outlines that a model was trained with; None if it was trained without."""
    record = saved.record.get("outlines")
    return None if record is None else Outlines.from_record(record)


def single_boxes(
    image: NDArray[Any],
    objects: ShapeObjects,
    normalisation: Normalisation,
    object_size: int,
    box_size: int,
) -> Tensor:
    """Cut a box around each object that shows the background in place of all others.

    Parameters
    ----------
    image : array, shape (y, x) or (y, x, 3)
    objects : ShapeObjects
    normalisation : Normalisation
        Of the image as a whole.
    object_size : int
        The box that lengths of the objects are in, in pixels.
    box_size : int
        Of the boxes that are cut, in pixels.

    Returns
    -------
    Tensor, shape (n, channels, box_size, box_size)
    """
    flat = normalisation.of_image(image)
    owner = _owners(objects, flat.shape[:2], object_size)
    empty = flat[owner == 0]
    ground = np.median(empty if len(empty) else flat.reshape(-1, *flat.shape[2:]), axis=0)
    boxes = extract_boxes(flat, objects.positions, box_size)
    owners = extract_boxes(owner.astype(np.float32), objects.positions, box_size)[:, 0]
    mine = np.arange(1, len(objects.positions) + 1)[:, None, None]
    other = (np.round(owners) > 0) & (np.round(owners) != mine)
    level = np.reshape(ground, (1, -1, 1, 1)).astype(np.float32)
    return torch.from_numpy(np.where(other[:, None], level, boxes))


def _owners(objects: ShapeObjects, shape: tuple[int, ...], object_size: int) -> NDArray[np.int32]:
    """Number of the object, from 1, that each pixel is of; 0 of none. The likelier comes first."""
    owner = np.zeros(shape, np.int32)
    for row in range(len(objects.positions) - 1, -1, -1):
        cy, cx = objects.positions[row]
        a, b = (object_size * (axis[row] / 2 + _MARGIN) for axis in (objects.length, objects.width))
        reach = int(np.ceil(a)) + 1
        window = tuple(slice(max(int(c) - reach, 0), int(c) + reach + 2) for c in (cy, cx))
        part = owner[window]
        y, x = np.ogrid[: part.shape[0], : part.shape[1]]
        dy, dx = y + window[0].start - cy, x + window[1].start - cx
        cos, sin = np.cos(objects.rotation[row]), np.sin(objects.rotation[row])
        part[((dx * cos - dy * sin) / a) ** 2 + ((dx * sin + dy * cos) / b) ** 2 <= 1] = row + 1
    return owner


@torch.no_grad()
def read_boxes(saved: SavedModel, boxes: Tensor, device: str = "auto") -> tuple[Tensor, Tensor]:
    """Rotation (n,) and content (n, d) that a model infers from boxes; on the CPU."""
    target = choose_device(device)
    model: Any = saved.on(target).model
    rotations, contents = [torch.empty(0)], [torch.empty(0, model.config.content_dim)]
    for few in boxes.split(_AT_A_TIME) if len(boxes) else ():
        posterior = model.infer(few.to(target))
        rotations.append(posterior.poses.rotation.cpu())
        contents.append(posterior.content.cpu())
    return torch.cat(rotations), torch.cat(contents)


def turn_of(rotation: NDArray[Any], objects: ShapeObjects) -> float | None:
    """Compare what a model infers with the outlines: see `Outlines.turn`."""
    if not len(rotation) or np.median(objects.length / objects.width) < _LONG:
        return None
    apart = np.exp(2j * (rotation - objects.rotation)).mean()
    return float(np.angle(apart) / 2)


def rotations(
    inferred: NDArray[np.float32], objects: ShapeObjects, turn: float | None
) -> NDArray[np.float32]:
    """Rotation of objects, radians: by the outline where that tells it, but for a half turn."""
    if turn is None:
        return inferred
    by_outline = objects.rotation + turn
    half = np.cos(inferred - by_outline) < 0
    return np.asarray(by_outline + np.pi * half, np.float32)


def score_of(objects: ShapeObjects) -> NDArray[np.float64]:
    """Score from 0 to 1 of objects found by their outlines; 0.5 are even odds.

    The odds themselves are too sure of themselves: what they are made of is not independent.
    """
    score: NDArray[np.float64] = expit(objects.log_odds / _OVERCONFIDENCE)
    return score


def detect_by_outline(
    saved: SavedModel,
    outlines: Outlines,
    image: NDArray[Any],
    config: DetectionConfig,
    threshold: float,
    device: str = "auto",
) -> Generator[Progress, None, Picks]:
    """Find every object of an image by its outline; the model tells rotation and content.

    The score of an object is 0.5 where it is as likely an object as not, see `score_of`.
    """
    yield Progress(0, 2, "looking for outlines")
    objects = outlines.find(image)
    objects = objects.select(score_of(objects) >= threshold)
    if config.min_distance is not None:
        objects = objects.select(far_apart(objects.positions, config.min_distance))
    yield Progress(1, 2, "reading poses")
    size = saved.model.config.box_size
    boxes = single_boxes(image, objects, saved.normalisation, outlines.box_size, size)
    inferred, content = read_boxes(saved, boxes, device)
    rotation = rotations(inferred.numpy(), objects, outlines.turn)
    return Picks(
        objects.positions.astype(np.float32),
        wrap_angle(torch.from_numpy(rotation)).numpy(),
        score_of(objects).astype(np.float32),
        content.numpy(),
    )


def far_apart(positions: NDArray[np.float64], distance: float) -> NDArray[np.bool_]:
    """Mark those, best first, that are farther than a distance from all better ones."""
    keep = np.ones(len(positions), bool)
    for row in range(len(positions)):
        if keep[row]:
            near = np.linalg.norm(positions[row + 1 :] - positions[row], axis=1) < distance
            keep[row + 1 :][near] = False
    return keep
