"""The direction of an elongated object."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.measure import inertia_tensor

from ..models import SavedModel
from ._refine import decode_templates

_MOST_DRAWN = 200


@torch.no_grad()
def long_axis(saved: SavedModel, content: NDArray[np.floating[Any]]) -> float:
    """Angle of the long axis of the mean object in the canonical frame.

    The frame of a model trained without labels is arbitrary, but the axis of an elongated object
    is a direction that an eye can check.

    Parameters
    ----------
    saved : SavedModel
    content : array, shape (n, content_dim)
        Of the objects; the first 200 are drawn.

    Returns
    -------
    float
        Radians in [-pi/2, pi/2], counter-clockwise as displayed from the x axis; 0 where the
        object is about as long as wide, or there is none.
    """
    if not len(content):
        return 0.0
    assert isinstance(saved.model, torch.nn.Module)
    device = next(saved.model.parameters()).device
    few = torch.from_numpy(np.asarray(content[:_MOST_DRAWN], np.float32)).to(device)
    drawn = decode_templates(saved, few).pictures.mean((0, 1)).abs().cpu().numpy()
    # What is faint is background that the model did not care about.
    weight = np.clip(drawn.astype(np.float64) - 0.3 * drawn.max(), 0, None)
    if not weight.any():
        return 0.0
    (xx, minus_yx), (_, yy) = inertia_tensor(weight)
    spread = np.hypot(xx - yy, 2 * minus_yx)
    return 0.0 if spread < 0.1 * (xx + yy) else float(0.5 * np.arctan2(2 * minus_yx, xx - yy))
