"""What a model says of objects that a person has pointed at in an image."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import wrap_angle
from ..models import SavedModel, choose_device
from ._detect import check_search
from ._detection_config import Picks
from ._explain import Explanation
from ._refine import decode_templates


@torch.no_grad()
def measure(
    saved: SavedModel,
    image: NDArray[Any],
    positions: NDArray[np.floating[Any]],
    others: Picks | None = None,
    *,
    device: str = "auto",
) -> Picks:
    """Infer rotation, score and content of objects at places of an image.

    Each is looked at in one box, in which the other objects are explained away first, and is
    scored as `detect` scores what it finds.

    Parameters
    ----------
    saved : SavedModel
        Of a system that is fully convolutional.
    image : array, shape (y, x) or (y, x, 3)
    positions : array, shape (n, 2)
        Pixels (y, x); they stay as they are.
    others : Picks, optional
        Objects that are known to be there.
    device : str
        As for `models.choose_device`.

    Returns
    -------
    Picks
        In the order of the positions.

    Raises
    ------
    InputError
        If the image does not fit the model or the model can't run over images.
    """
    check_search(saved, image, device)
    target = choose_device(device)
    model: Any = saved.model
    model.to(target)
    normalised = np.moveaxis(np.atleast_3d(saved.normalisation.of_image(image)), -1, 0)
    pixels = torch.from_numpy(np.ascontiguousarray(normalised, np.float32))[None].to(target)
    size, side = model.config.canonical_size, model.config.box_size
    explanation = Explanation(pixels, size)

    def on_device(values: Any) -> Tensor:
        return torch.from_numpy(np.asarray(values, np.float32)).to(target)

    there = [] if others is None or not len(others.score) else [others]
    drawn = [
        (
            on_device(one.positions),
            on_device(one.rotation),
            decode_templates(saved, on_device(one.content)),
        )
        for one in there
    ]
    for position, rotation, templates in drawn:
        explanation.redraw(position, rotation, templates)
    wanted = on_device(positions)
    seen = explanation.residual[None, :, explanation.pad :, explanation.pad :]
    seen = seen[..., : pixels.shape[-2], : pixels.shape[-1]]
    posterior = model.infer(_boxes(seen, wanted, side))
    found = torch.floor(wanted + 0.5) + posterior.poses.translation
    near = (found - wanted).norm(dim=1, keepdim=True) <= size / 4
    templates = decode_templates(saved, posterior.content)
    found, rotation, _, templates = explanation.refine(
        torch.where(near, found, wanted), posterior.poses.rotation, templates, None, steps=8
    )
    for position, turn, shape in drawn:
        every = torch.cat((position, found)), torch.cat((turn, rotation)), shape.join(templates)
        explanation.redraw(*every)
    if not drawn:
        explanation.redraw(found, rotation, templates)
    score = explanation.score(found, rotation, templates)
    columns = (wrap_angle(rotation), score, posterior.content)
    return Picks(np.asarray(positions, np.float32), *(c.cpu().numpy() for c in columns))


def _boxes(image: Tensor, positions: Tensor, side: int) -> Tensor:
    """Cut boxes (n, channels, side, side) about positions of an image (1, channels, y, x)."""
    half = side // 2
    padded = F.pad(image, (side,) * 4, mode="replicate")[0]
    corners = (torch.floor(positions + 0.5).long() - half + side).tolist()
    rows, columns = (padded.shape[axis] - side for axis in (1, 2))
    places = [(min(max(y, 0), rows), min(max(x, 0), columns)) for y, x in corners]
    return torch.stack([padded[:, y : y + side, x : x + side] for y, x in places])
