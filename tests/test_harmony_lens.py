"""Contrast transfer functions and a low-pass in Harmony: known answers, and what is learnt."""

from dataclasses import replace
from math import log, pi

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_equipose.geometry import (
    ContrastTransfer,
    InputError,
    Poses,
    apply_poses,
    random_rotations,
    smooth_disc_mask,
)
from napari_equipose.inference import finish
from napari_equipose.models import Harmony, HarmonyConfig
from napari_equipose.models._harmony_ctf import in_images, in_volumes, low_passed, through_lens
from napari_equipose.models._harmony_transforms import Transforms
from napari_equipose.training import TrainingConfig, _structures, fit

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 32
PLANE = HarmonyConfig(box_size=SIZE, translation_range=2.0, width=4, n_pictures=4)


def lens(n: int, u: float, v: float, azimuth: float = 0.0, size: int = SIZE) -> ContrastTransfer:
    one = torch.ones(n)
    return ContrastTransfer(
        box_size=size,
        pixel_size=4.0,
        defocus_u=u * one,
        defocus_v=v * one,
        azimuth=azimuth * one,
        phase_shift=0 * one,
        voltage=300 * one,
        spherical_aberration=2.7 * one,
        amplitude_contrast=0.1 * one,
    )


def seen(turn: float = 0.0, scale: float = 1.0, n: int = 1) -> Transforms:
    zero = torch.zeros(n)
    poses = Poses(torch.full((n,), turn), torch.zeros(n, 2))
    return Transforms(poses.matrix, poses.translation, zero + log(scale), zero, zero)


def spots() -> Tensor:
    line = torch.arange(SIZE) - SIZE // 2
    places = [(0, -5, 1.0), (4, 3, 1.0), (-3, 3, 1.6)]
    each = [w * torch.exp(-((line[:, None] - y) ** 2 + (line - x) ** 2) / 5) for y, x, w in places]
    return torch.stack(each).sum(0)[None, None]


def imaged(boxes: Tensor, transfer: Tensor) -> Tensor:
    """Images as the microscope shows them."""
    spectrum = torch.fft.rfft2(boxes) * transfer.unsqueeze(1)
    return torch.fft.irfft2(spectrum, s=boxes.shape[-2:])


def test_an_object_that_is_not_turned_has_the_function_of_its_image() -> None:
    transfer = lens(1, 12e3, 8e3, 0.5)[torch.tensor([0])]
    torch.testing.assert_close(in_images(transfer, seen(), SIZE), transfer, atol=1e-4, rtol=0)
    # at rest a quarter of a turn about, what was along y is along x
    turned = in_images(transfer, seen(pi / 2), SIZE)[0]
    torch.testing.assert_close(turned[0, :15].abs(), transfer[0, :15, 0].abs(), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("turn", "scale"), [(0.7, 1.0), (-2.0, 1.25), (2.5, 0.85)])
def test_what_is_drawn_is_seen_as_the_image_shows_it(turn: float, scale: float) -> None:
    """Filtered at rest and then moved, or moved and then filtered: the same image."""
    transfer = lens(1, 9e3, 5e3, 0.6)[torch.tensor([0])]
    found = seen(turn, scale)
    image = imaged(found.apply(spots()), transfer)
    middle = smooth_disc_mask(SIZE, 11.0)

    def apart(at_rest: Transforms) -> float:
        shown = found.apply(through_lens(spots(), transfer, at_rest))
        return float((middle * (shown - image).square()).sum() / (middle * image.square()).sum())

    assert apart(found) < 0.01
    assert min(apart(seen(0.0, scale)), apart(seen(-turn, scale))) > max(0.02, 5 * apart(found))


def test_volumes_have_it_at_all_directions() -> None:
    transfer = lens(2, 1e4, 1e4, size=16)[torch.arange(2)]
    zero = torch.zeros(2)
    turned = Transforms(random_rotations(2, zero), torch.zeros(2, 3), zero, zero, zero)
    found = in_volumes(transfer, turned, 16)
    assert found.shape == (2, 16, 16, 9)
    torch.testing.assert_close(found[0, 0, 0], transfer[0, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(found[1, :8, 0, 0], transfer[1, 0, :8], atol=1e-4, rtol=0)
    torch.testing.assert_close(found[0, 3, 4, 0], transfer[0, 0, 5], atol=1e-4, rtol=0)
    larger = in_volumes(transfer, turned._replace(log_scale=zero + log(2)), 16)
    torch.testing.assert_close(larger[0, 0, 0, 4], transfer[0, 0, 2], atol=1e-4, rtol=0)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_loss_of_an_object_seen_through_its_lens_is_none(dimensions: int) -> None:
    """With the transfer function the true object fits; without it, it does not."""
    config = replace(PLANE, box_size=16, dimensions=dimensions, rotation_range=None)
    model = Harmony(config)
    rest = spots()[..., 8:24, 8:24] * smooth_disc_mask(16, 5.0, 4.0)
    if dimensions == 3:
        rest = rest.unsqueeze(2) * torch.hann_window(16, periodic=True)[:, None, None]
    model.decoder.forward = lambda content: rest.expand(len(content), *rest.shape[1:])  # type: ignore[method-assign]
    still = torch.zeros(4)
    eye = torch.eye(dimensions).expand(4, dimensions, dimensions)
    none = Transforms(eye, torch.zeros(4, dimensions), still, still, still)
    model.ranges.bounded = lambda numbers: none  # type: ignore[method-assign]
    model.ranges.random = lambda n, like: none  # type: ignore[method-assign]
    transfer = lens(4, 2e4, 2e4, size=16)[torch.arange(4)]
    images = through_lens(rest.expand(4, *rest.shape[1:]), transfer, none)
    outside = model.loss(images, transfer).parts["aligned"]  # of what lies beyond the mask, twice
    with_ctf, without = (model.loss(images, *given).parts["decoded"] for given in ([transfer], []))
    assert with_ctf - outside / 2 < 1e-3 * without
    assert without - outside / 2 > 0.3 * images.square().sum() / 4


def test_learns_the_object_that_was_seen_through_many_lenses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_structures, "_READING_STEPS", {2: 10})
    random = torch.Generator().manual_seed(0)
    n = 96
    turn = (torch.rand(n, generator=random) * 2 - 1) * pi
    true = spots()
    moved = apply_poses(true.expand(n, -1, -1, -1), Poses(turn, torch.zeros(n, 2)))
    ctf = lens(n, 1.0, 1.0)
    defocus = 1.5e4 + 1.5e4 * torch.rand(n, generator=random)
    ctf = replace(ctf, defocus_u=defocus, defocus_v=defocus)
    images = imaged(moved, ctf[torch.arange(n)])
    images = images / images.std()
    config = replace(PLANE, width=8, n_pictures=8, hypotheses=4, gamma=1.0)
    training = TrainingConfig(
        epochs=1, steps_per_epoch=1, learning_rate=1e-5, batch_size=16, structures=1
    )
    likeness = []
    for given in (ctf, None):
        torch.manual_seed(0)
        model = Harmony(config)
        contents = finish(_structures.begin_with_structures(model, images, training, given))
        for _ in fit(model, images, training, ctf=given):
            pass
        drawn = model.generate(torch.tensor(contents)).detach()
        likeness.append(max(_alike(drawn, true, angle) for angle in np.arange(0, 2 * pi, 0.05)))
    assert likeness[0] > 0.9
    assert likeness[0] > likeness[1] + 0.1


def _alike(drawn: Tensor, true: Tensor, angle: float) -> float:
    """Correlation within the middle when turned by an angle, at the best of few shifts."""
    turned = apply_poses(true, Poses(torch.tensor([angle]).float(), torch.zeros(1, 2)))
    inside = smooth_disc_mask(SIZE, 12.0) > 0.5
    both = [
        np.corrcoef(drawn[0, 0][inside], turned.roll((y, x), (2, 3))[0, 0][inside])[0, 1]
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
    ]
    return float(max(both))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_detail_beyond_the_low_pass_is_neither_seen_nor_compared(dimensions: int) -> None:
    line = torch.arange(SIZE) * (2 * pi / SIZE)
    shape = (1, 1, *[SIZE] * dimensions)
    coarse, fine = (torch.cos(k * line).expand(shape) for k in (3, 12))
    torch.testing.assert_close(low_passed(coarse + fine, 4.0), coarse, atol=1e-4, rtol=0)
    torch.testing.assert_close(low_passed(coarse + fine, 2.1), coarse + fine, atol=1e-4, rtol=0)
    model = Harmony(replace(PLANE, dimensions=dimensions, low_pass=4.0)).eval()
    for one, other in zip(model.infer(coarse), model.infer(coarse + fine), strict=True):
        if isinstance(one, Tensor):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
    losses = []
    for images in (coarse, coarse + fine):
        torch.manual_seed(0)
        losses.append(model.loss(images.expand(2, *shape[1:])).total)
    torch.testing.assert_close(*losses, rtol=1e-3, atol=1e-2)


def test_a_low_pass_that_leaves_all_is_refused() -> None:
    with pytest.raises(InputError, match=r"low_pass must be above 2, got 1\.5"):
        replace(PLANE, low_pass=1.5)
