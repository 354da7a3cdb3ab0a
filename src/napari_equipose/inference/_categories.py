"""The categories of a model, put where the groups are that it learnt."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..geometry import InputError
from ..models import SavedModel, choose_device
from ._cluster import cluster

_MOST_BOXES = 5000
_BATCH = 100


@torch.no_grad()
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
    there: Any = saved.on(target).model
    parts = boxes[:_MOST_BOXES].split(_BATCH)
    found = torch.cat([there.infer(part.to(target)).content[:, -k:] for part in parts])
    label = torch.from_numpy(cluster(found.cpu().numpy(), k)).to(target)
    centres = torch.stack([found[label == name].mean(0) for name in range(k)])
    std = (found - centres[label]).square().mean().sqrt()
    model.set_categories(centres.to(next(model.parameters()).device), max(float(std), 1e-3))


def categories_of(saved: SavedModel, content: ArrayLike) -> NDArray[np.int64]:
    """Tell the categories of objects by their content, as the model does that inferred it.

    Parameters
    ----------
    saved : SavedModel
        Of a system with categories of its own.
    content : array_like, shape (n, d)
        As the model infers it: it ends with the coordinates of the category.

    Returns
    -------
    array of int, shape (n,)
        The category whose middle is nearest: the most likely one, since all are equally wide.

    Raises
    ------
    InputError
        If the system has no categories, or the content is not that of this model.
    """
    if not saved.model.capabilities.clusters:
        raise InputError(
            f"a {saved.kind} model has no categories of its own; sort by the content instead."
        )
    model: Any = saved.model
    values, k = np.asarray(content, np.float64), model.config.categories
    if values.ndim != 2 or values.shape[1] != model.config.content_dim + k:
        raise InputError(
            f"the model's content has {model.config.content_dim + k} dimensions, got shape "
            f"{values.shape}; choose the model that the objects were encoded with."
        )
    apart = torch.cdist(torch.from_numpy(values[:, -k:]), model.centres.cpu().double())
    return np.asarray(apart.argmin(1).numpy(), np.int64)
