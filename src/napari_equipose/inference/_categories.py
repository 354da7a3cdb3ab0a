"""The categories of a model, put where the groups are that it learnt."""

from typing import Any

import torch
from torch import Tensor

from ..models import SavedModel, choose_device
from ._cluster import cluster

_MOST_BOXES = 5000
_BATCH = 100


@torch.no_grad()
def find_categories(saved: SavedModel, boxes: Tensor, device: str = "auto") -> None:
    """Sort boxes by what a model says of their category, and tell it where the groups lie.

    Parameters
    ----------
    saved : SavedModel
        Of a system with ``set_categories``, whose content ends with the coordinates of the
        category, such as MCE-VAE; changed in place. Left as it is where there are fewer boxes than
        categories.
    boxes : Tensor, shape (n, channels, y, x)
        Normalised; the first 5,000 are looked at. The groups are those of Ward's method, as many
        as there are categories, numbered by size.
    device : str
        As for `models.choose_device`.
    """
    model: Any = saved.model
    target, k = choose_device(device), model.config.categories
    if len(boxes) < k:
        return
    model.to(target)
    parts = boxes[:_MOST_BOXES].split(_BATCH)
    found = torch.cat([model.infer(part.to(target)).content[:, -k:] for part in parts])
    label = torch.from_numpy(cluster(found.cpu().numpy(), k)).to(target)
    centres = torch.stack([found[label == name].mean(0) for name in range(k)])
    std = (found - centres[label]).square().mean().sqrt()
    model.set_categories(centres, max(float(std), 1e-3))
