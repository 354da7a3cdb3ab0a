"""What a model draws of images, and how likely it holds them, against their pixels."""

from typing import Literal

import torch
from torch import Tensor, nn

from napari_equipose.geometry import InputError, apply_poses
from napari_equipose.models import Model

_BATCH = 100


@torch.no_grad()
@torch.no_grad()
def reconstruct(model: Model, images: Tensor) -> Tensor:
    """Draw each image again from what a model infers of it.

    Parameters
    ----------
    model : Model
        In the mode of evaluation, on the device of the images.
    images : Tensor, shape (n, channels, y, x), or (n, channels, z, y, x)
        Normalised as the model wants them.

    Returns
    -------
    Tensor, of the same shape
        Expected intensities at the inferred pose, scale, contrast and brightness.
    """
    drawn = []
    for part in images.split(_BATCH):
        found = model.infer(part)
        if found.scale is None:
            picture = model.generate(found.content, found.poses)
        else:
            picture = apply_poses(model.generate(found.content), found.poses, scale=found.scale)
        one = (-1, *[1] * (part.ndim - 1))
        if found.contrast is not None:
            picture = picture * found.contrast.reshape(one)
        if found.brightness is not None:
            picture = picture + found.brightness.reshape(one)
        drawn.append(picture)
    return torch.cat(drawn)


def reconstruction_error(
    drawn: Tensor, images: Tensor, kind: Literal["squared", "cross-entropy"] = "squared"
) -> float:
    """Mean error of a pixel.

    Parameters
    ----------
    drawn, images : Tensor, of one shape
        Expected and true intensities; for "cross-entropy" both in [0, 1].
    kind : {"squared", "cross-entropy"}
        The square of the difference, or the cross-entropy in nats (which of images that are
        grey is above zero even where nothing is wrong).

    Raises
    ------
    InputError
        If the shapes differ, or pixels are not what the kind of error wants.
    """
    if drawn.shape != images.shape or not images.numel():
        raise InputError(
            f"drawn and true images must have one shape, got {tuple(drawn.shape)} and "
            f"{tuple(images.shape)}."
        )
    if kind == "squared":
        # MPS has no float64.
        return float((drawn.cpu().double() - images.cpu().double()).square().mean())
    if min(drawn.min(), images.min()) < 0 or max(drawn.max(), images.max()) > 1:
        raise InputError("cross-entropy is of pixels between 0 and 1; take the squared error.")
    error = nn.functional.binary_cross_entropy(drawn.float(), images.float(), reduction="none")
    return float(error.cpu().double().mean())


@torch.no_grad()
def elbo_per_pixel(model: Model, images: Tensor, seed: int = 0) -> float:
    """Evidence lower bound of images, in nats per pixel, by one draw of the latents each.

    Parameters
    ----------
    model : Model
        Of a system that minimises the negative bound, in the mode of evaluation, on the device of
        the images. Where its configuration weighs a divergence, as beta-VAE does, so does this;
        what a system of another loss gives is no bound and can't be compared.
    images : Tensor, shape (n, channels, y, x), or (n, channels, z, y, x)
        Normalised as the model wants them.
    seed : int
        Of the draws.

    Raises
    ------
    InputError
        If there are no images.
    """
    if not images.numel():
        raise InputError("there are no images to take a bound of.")
    devices = [images.device] if images.is_cuda else []
    total = 0.0
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        for part in images.split(_BATCH):
            total += float(model.loss(part).total) * len(part)
    return -total / images.numel()
