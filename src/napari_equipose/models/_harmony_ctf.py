"""What lenses and filters do: the contrast transfer function at rest, and a low-pass."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..geometry import constant
from ._harmony_transforms import Transforms

_EDGE = 2.0  # cycles per box over which the low-pass falls


def through_lens(drawn: Tensor, ctf: Tensor, seen: Transforms) -> Tensor:
    """Show what is drawn at rest as the image of each object does, without moving it.

    Parameters
    ----------
    drawn : Tensor, shape (n, channels, side, side), or with a third side
    ctf : Tensor, shape (n, box_size, box_size // 2 + 1)
        Of each image, on the frequencies of `torch.fft.rfft2`. Boxes of ``side`` pixels show the
        same field. Of volumes it is that of the axes y and x, at all directions.
    seen : Transforms
        How each object lies in its image.

    Returns
    -------
    Tensor, shape of ``drawn``
    """
    axes = tuple(range(2, drawn.ndim))
    factor = (in_volumes if drawn.ndim == 5 else in_images)(ctf, seen, drawn.shape[-1])
    spectrum = torch.fft.rfftn(drawn, dim=axes) * factor.unsqueeze(1)
    shown: Tensor = torch.fft.irfftn(spectrum, s=drawn.shape[2:], dim=axes)
    return shown


def through_lens_as_it_is(boxes: Tensor, ctf: Tensor) -> Tensor:
    """The same of objects that were not brought to rest."""
    n, d = len(boxes), boxes.ndim - 2
    zero = boxes.new_zeros(n)
    eye = constant(torch.eye, d, like=boxes).expand(n, d, d)
    return through_lens(boxes, ctf, Transforms(eye, boxes.new_zeros(n, d), zero, zero, zero))


def low_passed(boxes: Tensor, smallest: float) -> Tensor:
    """Leave out detail smaller than so many pixels of boxes (n, channels, ...), softly."""
    side, axes = boxes.shape[-1], tuple(range(2, boxes.ndim))
    length = _frequencies(side, len(axes), boxes).norm(dim=-1)
    kept = ((side / smallest - length) / _EDGE + 0.5).clamp(0, 1)
    shown: Tensor = torch.fft.irfftn(
        torch.fft.rfftn(boxes, dim=axes) * kept, s=boxes.shape[2:], dim=axes
    )
    return shown


def in_images(ctf: Tensor, seen: Transforms, side: int) -> Tensor:
    """Transfer functions at rest (n, side, side // 2 + 1): turned, and of lengths ``1 / s``.

    What is enlarged in the image has the lower frequency there.
    """
    at_rest = _frequencies(side, 2, ctf).reshape(-1, 2)
    matrix = seen.rotation.detach() / seen.scale.detach()[:, None, None]
    in_image = at_rest @ matrix.mT  # (n, points, 2) cycles per box
    in_image = torch.where(in_image[..., 1:] < 0, -in_image, in_image)  # the other half is the same
    rows, columns = ctf.shape[1:]
    y = 2 * (in_image[..., 0] + rows // 2) / (rows - 1) - 1
    x = 2 * in_image[..., 1] / (columns - 1) - 1
    ordered = torch.fft.fftshift(ctf, 1).unsqueeze(1)
    places = torch.stack((x, y), -1).unsqueeze(1)
    found = F.grid_sample(ordered, places, padding_mode="border", align_corners=True)
    return found.reshape(len(ctf), side, -1)


def in_volumes(ctf: Tensor, seen: Transforms, side: int) -> Tensor:
    """The same of volumes (n, side, side, side // 2 + 1), which no rotation changes."""
    last = ctf.shape[2] - 1
    profile = (ctf[:, 0] + ctf[:, : last + 1, 0]) / 2  # along x and y
    length = _frequencies(side, 3, ctf).norm(dim=-1).flatten()
    length = (length / seen.scale.detach()[:, None]).clamp(max=last)
    low = length.floor().long().clamp(max=last - 1)
    share = length - low
    below, above = (torch.gather(profile, 1, at) for at in (low, low + 1))
    found: Tensor = below + share * (above - below)
    return found.reshape(len(ctf), side, side, -1)


def _frequencies(side: int, dimensions: int, like: Tensor) -> Tensor:
    """Cycles per box of `torch.fft.rfftn`, in order ((z,) y, x)."""
    return constant(_made_frequencies, side, dimensions, like=like)


def _made_frequencies(side: int, dimensions: int) -> Tensor:
    lines = [torch.fft.fftfreq(side, 1 / side)] * (dimensions - 1)
    lines.append(torch.fft.rfftfreq(side, 1 / side))
    return torch.stack(torch.meshgrid(*lines, indexing="ij"), -1)
