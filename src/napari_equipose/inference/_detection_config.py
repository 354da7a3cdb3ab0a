"""How objects are found in an image, and what is found."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import InputError


@dataclass(frozen=True, kw_only=True)
class DetectionConfig:
    """How objects are found."""

    threshold: float | None = None
    """Objects of a lower score are left out; by default what the model's training images
    suggest, see `calibrate`."""
    min_distance: float | None = None
    """Candidates are at least so many pixels apart; by default an eighth of the object size."""
    rounds: int = 2
    """How often to look: after the first time at what is left when the objects found so far are
    explained away."""
    tile_size: int = 128
    """Side, in pixels, of the tiles that are encoded at a time; bounds the memory."""

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.tile_size < 1:
            raise InputError("rounds and tile_size must be at least 1.")


class Picks(NamedTuple):
    """Objects of one image, of falling score."""

    positions: NDArray[np.float32]
    """Shape (n, 2): the middle of each object, (y, x) in pixels."""
    rotation: NDArray[np.float32]
    """Shape (n,), radians, counter-clockwise as displayed."""
    score: NDArray[np.float32]
    """Shape (n,): of objects found by their outlines or their power, how likely each is one; 0.5
    is as likely as not. Else the part of the power of its pixels that the object explains and no
    other object does; at most 1. Where there is noise, of the power that they should have, see
    `Explanation.score`."""
    content: NDArray[np.float32]
    """Shape (n, content_dim)."""
