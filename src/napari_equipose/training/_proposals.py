"""Candidates (interim; being written)."""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from skimage.feature import blob_log


class Candidates(NamedTuple):
    """Candidate objects of one image."""

    positions: NDArray[np.float32]
    scores: NDArray[np.float32]
    polarity: str


def propose(
    image: NDArray[Any], box_size: int, polarity: Literal["either", "dark", "bright"] = "either"
) -> Candidates:
    """Propose."""
    from ..models import Normalisation

    flat = Normalisation(background_sigma=box_size).of_image(image)
    flat = flat.mean(-1) if flat.ndim == 3 else flat
    sign = -1 if polarity == "dark" else 1
    blobs = blob_log(sign * flat, box_size / 12, box_size / 4, 5, threshold=0.2)
    return Candidates(blobs[:, :2].astype(np.float32), np.ones(len(blobs), np.float32), polarity)
