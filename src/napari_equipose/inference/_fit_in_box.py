"""How well what a model draws of a box explains its pixels."""

import torch
from torch import Tensor

from ..geometry import apply_poses, centred_grid
from ..models import Model, Posterior, missing_wedge, object_radius

_EDGE = 2.0  # pixels over which the mask falls


@torch.no_grad()
def fit_in_box(model: Model, images: Tensor, posterior: Posterior) -> Tensor:
    """Part of the power of each box that the decoded object explains, where it stands.

    Parameters
    ----------
    model : Model
        One that draws whole boxes.
    images : Tensor, shape (n, channels, y, x), or (n, channels, z, y, x)
        Normalised boxes.
    posterior : Posterior
        What the model infers of them.

    Returns
    -------
    Tensor, shape (n,)
        ``1 - error / power`` of the pixels within the model's mask about the object's origin, the
        inferred brightness taken off; at most 1. Of volumes only what the tilt series measures of
        the object is drawn.
    """
    config, poses = model.config, posterior.poses
    one = (-1, *[1] * (images.ndim - 1))
    drawn = apply_poses(model.generate(posterior.content), poses, scale=posterior.scale)
    if posterior.contrast is not None:
        drawn = drawn * posterior.contrast.reshape(one)
    if (wedge := missing_wedge(config)) is not None:
        drawn = wedge.apply(drawn)
    target = images
    if posterior.brightness is not None:
        target = images - posterior.brightness.reshape(one)
    points = centred_grid(images.shape[2:]).to(images)
    origin = poses.translation.reshape(len(images), *one[2:], -1)
    distance = (points - origin).norm(dim=-1)
    mask = ((object_radius(config) - distance) / _EDGE).clamp(0, 1).unsqueeze(1)
    error = (mask * (target - drawn).square()).flatten(1).sum(1)
    power = (mask * target.square()).flatten(1).sum(1)
    score: Tensor = 1 - error / power.clamp(min=1e-9)
    return score
