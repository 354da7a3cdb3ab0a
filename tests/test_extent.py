"""How far objects reach from their middle."""

from math import log, sqrt

import pytest
import torch

from napari_equipose.geometry import centred_grid
from napari_equipose.training._extent import extent

RADIUS = centred_grid((80, 80)).norm(dim=-1)


def boxes(picture: torch.Tensor) -> torch.Tensor:
    noise = torch.randn(400, 1, 80, 80, generator=torch.Generator().manual_seed(0))
    return picture + noise


def test_the_extent_of_a_spot_is_that_of_its_power() -> None:
    spot = -4 * torch.exp(-0.5 * (RADIUS / 10).square())
    assert extent(boxes(spot), 61) == pytest.approx(10 * sqrt(log(5)) / 30, abs=0.05)


def test_the_extent_of_a_shell_is_its_radius() -> None:
    shell = 2 * torch.exp(-0.5 * ((RADIUS - 24) / 2).square())
    assert extent(boxes(shell), 61) == pytest.approx(24 / 30, abs=0.08)
