"""Where objects may be: the encoder run over a whole image, tile by tile."""

from collections.abc import Generator, Iterator
from functools import reduce
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..geometry import Poses, apply_poses
from ..models import SavedModel
from ._progress import Progress
from ._refine import Templates, decode_templates, explained, fit_contrast


class Candidates(NamedTuple):
    """Objects that may be there: ``n`` hypotheses, one a place."""

    position: Tensor  # (n, 2), pixels (y, x)
    rotation: Tensor  # (n,), radians
    content: Tensor  # (n, content_dim)
    templates: Templates


def find_candidates(
    saved: SavedModel, image: Tensor, tile_size: int, min_distance: float, hypotheses: int = 3
) -> Generator[Progress, None, Candidates]:
    """Peaks of the encoder's attention, each with its best-drawn rotation.

    Parameters
    ----------
    saved : SavedModel
        Of a model that `SupportsPicking`.
    image : Tensor, shape (1, channels, y, x)
        Normalised.
    tile_size : int
        Side, in pixels, of what is encoded at a time; bounds the memory, also of reading poses.
    min_distance : float
        No two peaks are closer than this, in pixels.
    hypotheses : int
        Rotations that are drawn and compared with the pixels at each peak.
    """
    model: Any = saved.model
    config = model.config
    b, half = config.binning, config.kernel_size // 2
    margin = half + 1  # one more than the filters need, as binning blurs across the tile's edge
    height, width = image.shape[-2:]
    rows, columns = -(-height // b), -(-width // b)
    after = ((columns + margin) * b - width, (rows + margin) * b - height)
    padded = F.pad(image, (margin * b, after[0], margin * b, after[1]))
    attention = torch.empty(rows, columns, device=image.device)
    tiles = list(_tiles(rows, columns, max(tile_size // b, 1)))
    for done, (top, left, bottom, right) in enumerate(tiles, 1):
        tile = padded[..., top * b : (bottom + 2 * margin) * b, left * b : (right + 2 * margin) * b]
        with torch.no_grad():
            scores = model.score_places(model.bin_images(tile))[0]
        attention[top:bottom, left:right] = scores[1 : bottom - top + 1, 1 : right - left + 1]
        yield Progress(done, len(tiles), "encoding")
    places = _maxima(attention, max(round(min_distance / b), 1))
    # More objects than fit into the image are not there.
    most = max(int(6 * height * width / config.canonical_size**2), 16)
    order = attention[places[:, 0], places[:, 1]].argsort(descending=True)[:most]
    places = places[order]
    parts = []
    count = max(2 * tile_size, 1)
    for chunk in places.split(count):
        parts.append(_read(saved, padded, chunk, margin, hypotheses))
        yield Progress(min(len(parts) * count, len(places)), len(places), "reading poses")
    position, rotation, content, templates = zip(*parts, strict=True)
    joined = reduce(Templates.join, templates)
    return Candidates(torch.cat(position), torch.cat(rotation), torch.cat(content), joined)


def _tiles(rows: int, columns: int, size: int) -> Iterator[tuple[int, int, int, int]]:
    for top in range(0, rows, size):
        for left in range(0, columns, size):
            yield top, left, min(top + size, rows), min(left + size, columns)


def _maxima(attention: Tensor, radius: int) -> Tensor:
    """Places (n, 2) that are the highest within a radius."""
    highest = F.max_pool2d(attention[None, None], 2 * radius + 1, 1, radius)[0, 0]
    return (attention == highest).nonzero()


@torch.no_grad()
def _read(
    saved: SavedModel, padded: Tensor, places: Tensor, margin: int, hypotheses: int
) -> tuple[Tensor, Tensor, Tensor, Templates]:
    """Read the heads at places, draw the likeliest rotations, keep the one that fits best."""
    model: Any = saved.model
    config = model.config
    b, k = config.binning, config.kernel_size
    patches = torch.stack(
        [
            padded[0, :, b * y : b * (y + 2 * margin + 1), b * x : b * (x + 2 * margin + 1)]
            for y, x in places.tolist()
        ]
    )
    binned = model.bin_images(patches)[..., 1 : k + 1, 1 : k + 1]
    heads = model.read_places(binned)
    n = min(hypotheses, config.n_rotations)
    best = heads.logit.topk(n, dim=1).indices
    rows = torch.arange(len(places), device=places.device)[:, None]
    rotation, content = heads.rotation[rows, best], heads.content[rows, best]
    translation = heads.translation[rows, best]
    templates = decode_templates(saved, content.flatten(0, 1))
    # Boxes around the places, as large as the canonical frame and centred on the place.
    size = config.canonical_size
    start = margin * b - size // 2
    boxes = _cut(padded, places * b + start, size)
    boxes = boxes.repeat_interleave(n, 0)
    target = templates.contrast(boxes)
    poses = Poses(rotation.reshape(-1), translation.reshape(-1, 2))
    drawn = apply_poses(templates.pictures, poses)
    weight = apply_poses(templates.weight, poses)
    contrast = fit_contrast(target, drawn, weight, templates.factor)
    fit = explained(target, drawn * contrast, weight).reshape(len(places), n)
    choice = fit.argmax(1)
    flat = rows[:, 0] * n + choice
    return (
        places * b + translation[rows[:, 0], choice],
        rotation[rows[:, 0], choice],
        content[rows[:, 0], choice],
        templates.select(flat),
    )


def _cut(image: Tensor, corners: Tensor, size: int) -> Tensor:
    """Boxes (n, channels, size, size) of an image (1, channels, y, x) at their top left corners."""
    grid = torch.arange(size, device=corners.device)
    y = corners[:, 0, None, None] + grid[:, None]
    x = corners[:, 1, None, None] + grid
    return image[0][:, y, x].transpose(0, 1)
