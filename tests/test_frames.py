"""One canonical frame for objects that look alike."""

import numpy as np
import torch
from torch import Tensor

from napari_equipose.geometry import Poses, apply_poses, wrap_angle
from napari_equipose.inference import agree_on_frames
from napari_equipose.inference._frames import laid_on, synchronise
from napari_equipose.models import Normalisation, SavedModel, TargetVAE, TargetVAEConfig


def turned(picture: Tensor, angles: Tensor) -> Tensor:
    """Copies (n, 1, y, x) of a picture at some angles."""
    copies = picture.expand(len(angles), 1, -1, -1)
    return apply_poses(copies, Poses(angles, torch.zeros(len(angles), 2)))


def shapes() -> tuple[Tensor, Tensor]:
    """Two pictures (33, 33) without symmetry, little alike."""
    y, x = torch.meshgrid(torch.arange(33.0) - 16, torch.arange(33.0) - 16, indexing="ij")
    flag = ((x.abs() < 3) & (y.abs() < 11)) | ((x > 0) & (x < 9) & (y < -5) & (y > -11))
    comma = ((x + 3) ** 2 + (y - 3) ** 2 < 36) | ((x > 5) & (x < 12) & (y.abs() < 3))
    return flag.float(), comma.float()


def test_pictures_are_laid_on_boxes_at_the_angle_they_show() -> None:
    flag, comma = shapes()
    angles = torch.tensor([0.3, -2.0, 1.1])
    fit, found = laid_on(turned(flag, angles), torch.stack((flag[None], comma[None])))
    error = wrap_angle(torch.from_numpy(found[:, 0]) - angles)
    assert error.abs().max() < np.pi / 120 + 1e-3  # half a step
    assert (fit[:, 0] > 0.98).all()
    assert (fit[:, 1] < 0.85).all()


def test_what_looks_alike_comes_to_lie_alike() -> None:
    flag, comma = shapes()
    random = torch.Generator().manual_seed(0)
    frames = torch.tensor([0.0] * 8 + [1.3] * 8 + [-0.6] * 8)  # flags lie in two ways
    pictures = torch.cat((turned(flag, frames[:16]), turned(comma, frames[16:])))
    content = torch.linspace(-2, 2, 24)[:, None].numpy()
    angles = 2 * torch.pi * torch.rand(60, generator=random)
    boxes = torch.cat((turned(flag, angles[:40]), turned(comma, angles[40:])))
    boxes = boxes + 0.3 * torch.randn(boxes.shape, generator=random)
    found = synchronise(*laid_on(boxes, pictures), content, np.ones(24, int))
    error = wrap_angle(torch.from_numpy(found) - frames)
    for kind in (error[:16], error[16:]):  # the frame itself is free, kind by kind
        resultant = torch.polar(torch.ones_like(kind), kind).mean().abs()
        assert resultant > 0.99


def test_pictures_that_lie_alike_are_left_alone() -> None:
    flag, _ = shapes()
    pictures = turned(flag, torch.zeros(12))
    boxes = turned(flag, torch.linspace(0, 5, 20))
    found = synchronise(*laid_on(boxes, pictures), np.eye(12), np.arange(12) + 1)
    np.testing.assert_allclose(found, 0, atol=1e-5)


def model() -> TargetVAE:
    torch.manual_seed(0)
    config = TargetVAEConfig(
        box_size=21, object_size=15, fields=8, generator="bilinear", generator_width=16
    )
    return TargetVAE(config).eval()


def test_frames_turn_the_report_and_not_what_is_drawn() -> None:
    vae = model()
    boxes = torch.randn(80, 1, 21, 21, generator=torch.Generator().manual_seed(1))
    before = vae.infer(boxes)
    drawn = vae.generate(before.content, before.poses)
    turn = torch.full((3,), 0.7)
    vae.set_frames(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), turn)
    after = vae.infer(boxes)
    difference = wrap_angle(after.poses.rotation - before.poses.rotation - 0.7)
    torch.testing.assert_close(difference, torch.zeros(80), atol=1e-5, rtol=0)
    torch.testing.assert_close(after.poses.translation, before.poses.translation)
    torch.testing.assert_close(
        vae.generate(after.content, after.poses), drawn, atol=1e-4, rtol=1e-4
    )


def test_frames_stay_with_the_weights() -> None:
    vae, other = model(), model()
    boxes = torch.randn(80, 1, 21, 21, generator=torch.Generator().manual_seed(1))
    vae.set_frames(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([0.3, -0.4]))
    other.load_state_dict(vae.state_dict())
    one, two = vae.infer(boxes).poses, other.infer(boxes).poses
    torch.testing.assert_close(one.rotation, two.rotation)


def test_few_boxes_leave_the_frames_alone() -> None:
    vae = model()
    saved = SavedModel(kind="target-vae", model=vae, normalisation=Normalisation())
    agree_on_frames(saved, torch.randn(200, 1, 21, 21))
    assert not vae.frame_rotation.any()
