"""Harmony: its transformations, its objective, what it ignores, and what it learns."""

from dataclasses import replace
from math import pi
from pathlib import Path

import pytest
import torch

from napari_equipose.geometry import (
    InputError,
    MissingWedge,
    Poses,
    Poses3D,
    apply_poses,
    remove_poses,
    smooth_ball_mask,
)
from napari_equipose.models import (
    Harmony,
    HarmonyConfig,
    Normalisation,
    load_model,
    save_model,
)
from napari_equipose.models._harmony_energy import _measured_energy, energy, left_out
from napari_equipose.models._harmony_transforms import TransformRanges, Transforms

PLANE = HarmonyConfig(box_size=17, translation_range=2.0, width=4, n_pictures=4)
ALL = replace(
    PLANE, channels=3, content_dim=2, scale_range=1.3, contrast_range=2.0, brightness_range=0.5
)
SPACE = replace(PLANE, dimensions=3, box_size=16)
WEDGE = replace(SPACE, tilt_min_deg=-60.0, tilt_max_deg=60.0, hypotheses=4)
VIEWS = replace(SPACE, hypotheses=12, views=True)


def make(config: HarmonyConfig, seed: int = 0) -> Harmony:
    torch.manual_seed(seed)
    return Harmony(config)


def boxes(config: HarmonyConfig, n: int = 3) -> torch.Tensor:
    shape = (n, config.channels, *[config.box_size] * config.dimensions)
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def drawn(config: HarmonyConfig, n: int = 40) -> Transforms:
    torch.manual_seed(2)
    return TransformRanges(config).random(n, torch.zeros(1, dtype=torch.float64))


@pytest.mark.parametrize("config", [ALL, replace(ALL, dimensions=3)])
def test_transformations_are_a_group(config: HarmonyConfig) -> None:
    first, second = drawn(config).rows(torch.arange(20)), drawn(config).rows(torch.arange(20, 40))
    both = second.compose(first)
    still = both.inverse().compose(both)
    eye = torch.eye(config.dimensions, dtype=torch.float64).expand_as(still.rotation)
    torch.testing.assert_close(still.rotation, eye)
    for value in still[1:]:
        torch.testing.assert_close(value, torch.zeros_like(value), atol=1e-9, rtol=0)
    inverse = first.inverse().compose(second.inverse())
    for found, wanted in zip(both.inverse(), inverse, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("config", [ALL, replace(ALL, dimensions=3)])
def test_composition_is_one_after_the_other(config: HarmonyConfig) -> None:
    ranges = TransformRanges(config)
    torch.manual_seed(0)
    first, second = ranges.random(2, torch.zeros(1)), ranges.random(2, torch.zeros(1))
    shape = (config.box_size,) * config.dimensions
    blob = smooth_ball_mask(17, 4.0, 8.0) if len(shape) == 3 else smooth_ball_mask(17, 4.0, 8.0)[8]
    images = torch.stack([blob, blob * 0.5]).unsqueeze(1).expand(-1, 3, *shape)
    # Zeros from outside the box differ, so only the middle is compared.
    middle = (slice(None), slice(None), *[slice(5, 12)] * len(shape))
    together = second.compose(first).apply(images)[middle]
    apart = second.apply(first.apply(images))[middle]
    assert (together - apart).abs().max() < 0.12


def test_transformations_are_those_of_geometry() -> None:
    image = boxes(PLANE, 1)
    turn, shift = torch.tensor([0.4]), torch.tensor([[1.0, -2.0]])
    poses = Poses(turn, shift)
    zero = torch.zeros(1)
    ours = Transforms(poses.matrix, shift, torch.tensor([0.2]), zero, zero)
    torch.testing.assert_close(
        ours.bring_to_rest(image), remove_poses(image, poses, scale=torch.tensor([0.2]).exp())
    )
    torch.testing.assert_close(
        ours.apply(image), apply_poses(image, poses, scale=torch.tensor([0.2]).exp())
    )
    torch.testing.assert_close(ours.poses.rotation, turn)


def test_contrast_is_gain_and_offset() -> None:
    image = boxes(ALL, 1)
    eye, zero = torch.eye(2)[None], torch.zeros(1)
    seen = Transforms(eye, torch.zeros(1, 2), zero, zero + 2.0, zero + 0.25)
    torch.testing.assert_close(seen.apply(image), image * torch.tensor(2.0).exp() + 0.25)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("rotation_range", [pi, 0.7, None])
def test_bounded_transformations_stay_within_their_ranges(
    dimensions: int, rotation_range: float | None
) -> None:
    config = replace(ALL, dimensions=dimensions, rotation_range=rotation_range)
    ranges = TransformRanges(config)
    torch.manual_seed(0)
    made = ranges.bounded(10 * torch.randn(300, ranges.n_numbers))
    random = ranges.random(300, torch.zeros(1))
    for found, times in ((made, 2), (random, 1)):  # room for a copy of what is at the end
        assert 1.9 * times < found.translation.abs().max() <= 2.0 * times
        for log_factor, most in ((found.log_scale, 1.3), (found.log_gain, 2.0)):
            limit = times * torch.tensor(most).log()
            for end in (log_factor.max(), -log_factor.min()):
                assert 0.9 * limit < end <= limit + 1e-5
        assert 0.45 * times < found.offset.abs().max() <= 0.5 * times
        matrix = found.rotation
        eye = torch.eye(dimensions).expand_as(matrix)
        torch.testing.assert_close(matrix @ matrix.mT, eye, atol=1e-4, rtol=0)
        cos = matrix.diagonal(dim1=1, dim2=2).sum(1)
        angle = ((cos / 2 if dimensions == 2 else (cos - 1) / 2).clamp(-1, 1)).acos()
        limit = min(times * (rotation_range or 0.0), pi)
        assert angle.max() <= limit + 1e-3 and angle.max() >= 0.9 * limit


@pytest.mark.parametrize(
    "config",
    [
        PLANE,
        ALL,
        SPACE,
        WEDGE,
        VIEWS,
        replace(SPACE, rotation_range=0.5),
        replace(PLANE, box_size=32, binning=2),
    ],
)
def test_loss_is_the_sum_of_its_parts_and_teaches_all(config: HarmonyConfig) -> None:
    model = make(config)
    terms = model.loss(boxes(config))
    assert set(terms.parts) == {"decoded", "aligned", "decoded_copy", "kl_content"}
    torch.testing.assert_close(terms.total, torch.stack(list(terms.parts.values())).sum())
    assert all(value >= 0 for value in terms.parts.values())
    terms.total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_gamma_follows_the_paper_or_is_given() -> None:
    images = boxes(PLANE, 4)

    def parts(**changes: float) -> dict[str, torch.Tensor]:
        model = make(replace(PLANE, **changes))
        torch.manual_seed(3)
        return model.loss(images).parts

    given, rule = parts(gamma=5.0), parts(training_size=20)  # 20 images, 4 in the batch
    plain = parts(gamma=1.0)
    for name, value in given.items():
        torch.testing.assert_close(rule[name], value)
        factor = 1 if name == "kl_content" else 5
        torch.testing.assert_close(value, factor * plain[name])


@pytest.mark.parametrize("dimensions", [2, 3])
def test_turned_image_has_turned_proposals_from_views(dimensions: int) -> None:
    """Turned by one of the rotations of the views, an image has the same proposals, turned."""
    config = replace(VIEWS, dimensions=dimensions, hypotheses={2: 4, 3: 60}[dimensions])
    model = make(config).eval()
    with torch.no_grad():
        model.encoder.pose.weight.mul_(20)  # far from the views as they are
    blob = smooth_ball_mask(16, 2.0, 6.0) if dimensions == 3 else smooth_ball_mask(16, 2.0, 6.0)[8]
    image = (blob.roll(2, -1) + 0.6 * blob.roll(-3, -2))[None, None]
    zero = torch.zeros(1)
    turn = Transforms(model.start[1:2], zero.expand(1, dimensions), zero, zero, zero)
    still, turned = (model._read(x) for x in (image, turn.apply(image)))
    torch.testing.assert_close(turned.content, still.content, atol=0.02, rtol=0.05)
    expected = model.start[1] @ still.proposals.rotation
    apart = (expected[:, None] - turned.proposals.rotation).flatten(2).norm(dim=2).amin(1)
    assert apart.max() < 0.3  # each is among them, whatever its number
    assert (still.proposals.rotation - turned.proposals.rotation).norm() > 1


def test_held_content_is_that_of_no_image() -> None:
    model = make(PLANE)
    seen: list[torch.Tensor] = []
    decode = model.decoder.forward
    model.decoder.forward = lambda z: (seen.append(z), decode(z))[1]  # type: ignore[method-assign]
    for held in (True, False):
        model.hold_content(held)
        model.loss(boxes(PLANE))
    assert all((z == 0).all() for z in seen[:2]) and all((z != 0).any() for z in seen[2:])


def misfit(
    model: Harmony, images: torch.Tensor, drawn: torch.Tensor, seen: Transforms
) -> torch.Tensor:
    rest = seen.bring_to_rest(images)
    return energy(model.config, drawn - rest, seen) + left_out(model.config, images, rest, seen)


def test_squared_errors_count_within_the_ball() -> None:
    model = make(SPACE)
    zero = torch.zeros(2)
    still = Transforms(torch.eye(3).expand(2, 3, 3), torch.zeros(2, 3), zero, zero, zero)
    images = boxes(SPACE, 2) * smooth_ball_mask(16, 4.0)
    assert misfit(model, images, images, still).abs().max() < 1e-3
    one = torch.zeros_like(images)
    one[:, 0, 8, 8, 8 + 3] = 2.0
    torch.testing.assert_close(
        misfit(model, images, images + one, still), torch.full((2,), 4.0), atol=1e-3, rtol=0
    )
    corner = torch.zeros_like(images)
    corner[..., 0, 0, 0] = 9.0
    assert misfit(model, images, images + corner, still).abs().max() < 1e-3


def test_misfit_is_that_of_the_picture_put_into_the_image() -> None:
    """Errors at rest count as those in the image do, at any size, gain and place."""
    config = replace(ALL, box_size=64, channels=1, translation_range=6.0)
    model = make(config)
    torch.manual_seed(0)
    seen = TransformRanges(config).random(8, torch.zeros(1))
    spots = torch.stack([smooth_ball_mask(64, r, 8.0)[32] for r in torch.linspace(5, 12, 8)])
    shapes, others = spots.unsqueeze(1), spots.flip(0).roll(5, -1).unsqueeze(1)
    images = seen.apply(shapes)
    expected = (seen.apply(others) - images).square().flatten(1).sum(1)
    torch.testing.assert_close(misfit(model, images, others, seen), expected, rtol=0.05, atol=1.0)


def test_hiding_an_object_does_not_pay() -> None:
    """Shifted out of the box, an object counts as much as drawn nothing at all."""
    model = make(PLANE)
    image = torch.zeros(1, 1, 17, 17)
    image[0, 0, 6:11, 7:10] = 1.0
    zero, nothing = torch.zeros(1), torch.zeros(1, 1, 17, 17)
    for shift in (0.0, 30.0):
        seen = Transforms(torch.eye(2)[None], torch.full((1, 2), shift), zero, zero, zero)
        assert misfit(model, image, nothing, seen).item() == pytest.approx(15.0, abs=1e-3)


def test_wedge_is_neither_content_nor_pose() -> None:
    """What lies in the wedge of the turned particle does not count, and all else does in full."""
    side, wedge = 16, MissingWedge()
    torch.manual_seed(0)
    turns = TransformRanges(WEDGE).random(3, torch.zeros(1))
    volumes = torch.randn(3, 1, side, side, side)
    spectrum = torch.fft.rfftn(volumes, dim=(-3, -2, -1))
    measured = wedge.at_rest(turns.rotation, side).unsqueeze(1)
    axes = (-3, -2, -1)
    lost = torch.fft.irfftn(spectrum * ~measured, s=(side,) * 3, dim=axes)
    kept = torch.fft.irfftn(spectrum * measured, s=(side,) * 3, dim=axes)
    energies = [_measured_energy(WEDGE, part, turns.rotation) for part in (lost, kept, volumes)]
    assert (energies[0] / energies[2]).max() < 0.02
    torch.testing.assert_close(energies[1], energies[2], rtol=0.03, atol=0)
    # white noise: as much, however large the part that both have measured
    alone, common = (
        _measured_energy(WEDGE, volumes, *rotations)
        for rotations in ([turns.rotation], [turns.rotation, turns.rotation.flip(0)])
    )
    assert (common / alone - 1).abs().max() < 0.1


@pytest.mark.parametrize(
    "config",
    [ALL, replace(WEDGE, box_size=19, hypotheses=12), replace(WEDGE, box_size=33, binning=2)],
)
def test_what_is_inferred_has_its_names_and_shapes(config: HarmonyConfig) -> None:
    model = make(config).eval()
    images = boxes(config)
    found = model.infer(images)
    assert found.content.shape == found.content_std.shape == (3, config.content_dim)
    assert isinstance(found.poses, Poses if config.dimensions == 2 else Poses3D)
    assert found.poses.translation.shape == (3, config.dimensions)
    for value in (found.scale, found.contrast, found.brightness):
        assert (value is None) == (config is not ALL) and (value is None or value.shape == (3,))
    picture = model.generate(found.content)
    assert picture.shape == images.shape
    again = model.generate(found.content, found.poses, box_size=25)
    assert again.shape[-1] == 25
    torch.testing.assert_close(
        remove_poses(again, found.poses, images.shape[2:]), picture, atol=0.2, rtol=0
    )
    assert model.capabilities.dimensions == {config.dimensions}
    assert not model.capabilities.fully_convolutional


def test_best_hypothesis_is_the_one_that_fits() -> None:
    config = replace(WEDGE, hypotheses=12, tilt_min_deg=None, tilt_max_deg=None)
    model = make(config).eval()
    content = torch.randn(4, 1)
    torch.manual_seed(1)
    rest = model.generate(content) + torch.randn(4, 1, 16, 16, 16) * smooth_ball_mask(16, 5.0, 4.0)
    model.decoder.forward = lambda content: rest  # type: ignore[method-assign]
    reading = model._read(rest)
    chosen = reading.proposals.rows(torch.tensor([3, 12 + 7, 24, 36 + 11]))
    images = chosen.apply(rest)
    model._read = lambda images: reading  # type: ignore[method-assign]
    found = model.infer(images).poses
    torch.testing.assert_close(found.rotation, chosen.rotation)
    poses, misfit = model.propose(images)
    assert misfit.shape == (4, 12) and (misfit.diff(dim=1) >= 0).all()
    torch.testing.assert_close(poses.rotation[::12], chosen.rotation)


@pytest.mark.parametrize("size", [32, 33])
def test_binned_boxes_have_poses_in_pixels_of_the_whole(size: int) -> None:
    """A picture put into a box at a pose rests again at what stands for that pose when binned."""
    model = make(replace(PLANE, box_size=size, binning=2)).eval()
    spot = smooth_ball_mask(16, 2.5, 5.0)[8][None, None]
    seed = spot.roll(3, -1) + 0.5 * spot.roll(-2, -2)
    model.decoder.forward = lambda content: seed  # type: ignore[method-assign]
    pose = Poses(torch.tensor([0.6]), torch.tensor([[3.0, -2.0]]))
    whole = model.generate(torch.zeros(1, 1), pose)
    assert whole.shape[-1] == size
    zero = torch.zeros(1)
    seen = Transforms(pose.matrix, pose.translation * 16 / size, zero, zero, zero)
    rest = seen.bring_to_rest(model._reduced(whole))
    assert (rest - seed).norm() < 0.15 * seed.norm()
    still = Transforms(pose.matrix, pose.translation, zero, zero, zero)
    assert (still.bring_to_rest(model._reduced(whole)) - seed).norm() > 0.5 * seed.norm()
    torch.testing.assert_close(model._poses(seen).translation, pose.translation)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("hypotheses", [1, 2, 6, 24])
def test_hypotheses_start_far_apart(dimensions: int, hypotheses: int) -> None:
    starts = TransformRanges(replace(PLANE, dimensions=dimensions, hypotheses=hypotheses)).starts()
    assert starts.shape == (hypotheses, dimensions, dimensions)
    torch.testing.assert_close(starts[0], torch.eye(dimensions), atol=1e-5, rtol=0)
    relative = (starts[:, None].mT @ starts).diagonal(dim1=-2, dim2=-1).sum(-1)
    relative.fill_diagonal_(-9)
    least = {2: 2 * pi / hypotheses, 3: 0.6}[dimensions]
    nearest = relative.max() / 2 if dimensions == 2 else (relative.max() - 1) / 2
    assert hypotheses == 1 or nearest.clamp(-1, 1).acos() > least - 1e-3


@pytest.mark.parametrize("size", [16, 31, 40])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_any_size_of_box_will_do(size: int, dimensions: int) -> None:
    config = replace(PLANE, box_size=size, dimensions=dimensions)
    model = make(config)
    assert model.loss(boxes(config, 2)).total.isfinite()
    assert model.generate(torch.zeros(1, 1)).shape[-1] == size


def test_boxes_of_unequal_sides_are_refused() -> None:
    with pytest.raises(InputError, match=r"takes boxes of shape \(1, 16, 16, 16\).*equal sides"):
        make(SPACE).loss(torch.zeros(2, 1, 16, 16, 18))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"box_size": 15}, "box_size must lie within 16 and 96 pixels, got 15"),
        ({"box_size": 97}, "bin or crop"),
        ({"dimensions": 4}, "dimensions must be 2 or 3"),
        ({"scale_range": 0.9}, "scale_range must be above 1, got 0.9"),
        ({"rotation_range": 4.0}, "at most pi"),
        ({"rotation_range": None, "translation_range": None}, "nothing to infer"),
        ({"tilt_min_deg": -60.0}, "give both"),
        ({"tilt_min_deg": -60.0, "tilt_max_deg": 60.0}, "images have no missing wedge"),
        ({"dimensions": 3, "tilt_min_deg": 10.0, "tilt_max_deg": 10.0}, "tilt range must run"),
        ({"hypotheses": 4, "rotation_range": 1.0}, "need a rotation_range of pi"),
        ({"gamma": 0.0}, "gamma must be positive"),
        ({"views": True}, "views need several hypotheses"),
        ({"binning": 2}, "boxes of 17 pixels binned by 2 are smaller than 10; bin less"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(PLANE, **changes)


@pytest.mark.parametrize("config", [ALL, WEDGE, VIEWS])
def test_saved_model_infers_the_same(tmp_path: Path, config: HarmonyConfig) -> None:
    model = make(config).eval()
    save_model(tmp_path / "m.safetensors", model, Normalisation())
    again = load_model(tmp_path / "m.safetensors")
    assert again.kind == "harmony" and again.model.config == config
    images = boxes(config)
    before, after = model.infer(images), again.model.infer(images)
    assert torch.equal(before.poses.rotation, after.poses.rotation)
    assert torch.equal(before.content, after.content)


def test_learns_rotation_of_an_object() -> None:
    """A few seconds of training bring turned copies of one object into one frame."""
    torch.manual_seed(0)
    line = torch.arange(16) - 8.0
    rest = torch.exp(-((line[:, None] - 1) ** 2 / 3 + (line - 2.5) ** 2 / 8))
    rest = rest + torch.exp(-((line[:, None] + 4) ** 2 + (line + 1) ** 2) / 4)
    true = (torch.rand(256) * 2 - 1) * pi
    images = apply_poses(rest.expand(256, 1, 16, 16), Poses(true, torch.rand(256, 2) * 2 - 1))
    config = replace(PLANE, box_size=16, translation_range=1.0, width=8, hypotheses=8, gamma=1.0)
    model = make(config)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        model.loss(images[torch.randint(0, 256, (32,))]).total.backward()
        optimizer.step()
    error = model.eval().infer(images).poses.rotation - true
    assert torch.exp(1j * error).mean().abs() > 0.9
