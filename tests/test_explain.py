"""How well an object explains the pixels, in images with and without noise."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from napari_equipose.evaluation import average_precision
from napari_equipose.geometry import smooth_disc_mask
from napari_equipose.inference._explain import Explanation
from napari_equipose.inference._refine import Templates

SIZE = 25


def discs(n: int) -> Templates:
    """Templates of one dark disc, ``n`` times."""
    picture = -smooth_disc_mask(SIZE, 14.0).expand(n, 1, SIZE, SIZE)
    weight = smooth_disc_mask(SIZE, 20.0).expand(n, 1, SIZE, SIZE)
    level = torch.zeros(n, 1, 1, 1)
    return Templates(picture, level, weight, level, level + 1)


def grid(n: int) -> Tensor:
    """Places (n * n, 2) that are 40 pixels apart."""
    line = 40.0 * torch.arange(n) + 30
    return torch.cartesian_prod(line, line)


def explained(image: Tensor, places: Tensor) -> Explanation:
    """Draw discs at places of an image."""
    explanation = Explanation(image, SIZE)
    explanation.redraw(places, torch.zeros(len(places)), discs(len(places)))
    return explanation


def with_discs(places: Tensor, shape: tuple[int, int]) -> Tensor:
    """An image (1, 1, y, x) of nothing but discs."""
    drawn = explained(torch.zeros(1, 1, *shape), places)
    inner = drawn.residual[:, drawn.pad : -drawn.pad, drawn.pad : -drawn.pad]
    return -inner.unsqueeze(0)


def test_what_is_drawn_exactly_is_explained_wholly() -> None:
    places = grid(4)
    explanation = explained(with_discs(places, (180, 180)), places)
    score = explanation.score(places, torch.zeros(16), discs(16))
    torch.testing.assert_close(score, torch.ones(16), atol=1e-4, rtol=0)


def test_nothing_is_explained_where_nothing_is_or_the_opposite() -> None:
    places = grid(4)
    image = with_discs(places[:8], (180, 180)) - with_discs(places[8:12], (180, 180))
    explanation = explained(image, places)
    score = explanation.score(places, torch.zeros(16), discs(16))
    assert (score[:8] > 0.99).all()
    assert (score[8:] < 0.01).all()


def test_noise_and_an_uneven_background_mislead_less_than_a_plain_share() -> None:
    places = grid(12)
    shape = (500, 500)
    there = np.arange(144) % 2 == 0
    random = np.random.default_rng(0)
    coloured = gaussian_filter(random.standard_normal(shape), 6) * 20
    noise = coloured + 2 * random.standard_normal(shape)
    image = with_discs(places[there], shape) + torch.from_numpy(noise).float()
    explanation = explained(image, places)
    score = explanation.score(places, torch.zeros(144), discs(144))
    own = explanation.draw(places, torch.zeros(144), discs(144))[0]
    fraction = explanation.refine(places, torch.zeros(144), discs(144), own, steps=0)[2]
    truth = places[there].numpy()
    ours, plain = (
        average_precision(places.numpy(), scores.numpy(), truth, 5.0)
        for scores in (score, fraction)
    )
    assert ours > 0.9
    assert ours > plain + 0.02
