"""What holds of every kind of model, and what holds of spatial-VAE and the plain VAEs alone.

A kind joins by a line in ``MODELS``.
"""

from collections.abc import Callable
from dataclasses import replace
from math import log, pi
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from napari_equipose.geometry import (
    InputError,
    Poses,
    Poses3D,
    apply_poses,
    centred_grid,
    fourier_crop,
    random_rotations,
    rotation_matrix_2d,
    wrap_angle,
)
from napari_equipose.models import (
    MCEVAE,
    VAE,
    BetaVAEConfig,
    Harmony,
    HarmonyConfig,
    MCEVAEConfig,
    Normalisation,
    SpatialVAE,
    SpatialVAEConfig,
    TargetVAE,
    TargetVAEConfig,
    VAEConfig,
    _spatial_vae,
    kind_of,
    load_model,
    model_kind,
    save_model,
)
from napari_equipose.models._normal_kl import free_angle_kl
from napari_equipose.models._sizes import check_size
from napari_equipose.training import TrainingConfig, fit

SIDE = 16
SMALL = {"encoder_width": 64, "generator_width": 64, "activation": "relu"}
SPATIAL = SpatialVAEConfig(box_size=SIDE, n_features=32, rotation_as="direction", **SMALL)
MODELS: dict[str, tuple[type, Any]] = {
    "target-vae": (
        TargetVAE,
        TargetVAEConfig(box_size=SIDE, fields=16, generator_width=64, n_features=64),
    ),
    "harmony": (Harmony, HarmonyConfig(box_size=SIDE, gamma=20.0, width=8, n_pictures=8)),
    "harmony 3D": (
        Harmony,
        HarmonyConfig(box_size=SIDE, dimensions=3, gamma=20.0, width=4, n_pictures=8),
    ),
    "mce-vae": (MCEVAE, MCEVAEConfig(box_size=SIDE, copies=1, width=8, hidden=64)),
    "spatial-vae": (SpatialVAE, SPATIAL),
    "spatial-vae 3D": (
        SpatialVAE,
        replace(SPATIAL, dimensions=3, encoder="convolutional", binning=2, width=8),
    ),
    "vae": (VAE, VAEConfig(box_size=SIDE, **SMALL)),
    "vae 3D": (VAE, VAEConfig(box_size=SIDE, dimensions=3, **SMALL)),
    "beta-vae": (VAE, BetaVAEConfig(box_size=SIDE, **SMALL)),
}
every_model = pytest.mark.parametrize("name", MODELS)


def build(name: str) -> Any:
    made, config = MODELS[name]
    torch.manual_seed(0)
    return made(config)


def blobs(n: int, dimensions: int, seed: int = 0) -> Tensor:
    """Objects of two lobes, turned and shifted, in boxes of unit contrast."""
    torch.manual_seed(seed)
    lobes = torch.zeros(2, 3)
    lobes[:, -2:] = torch.tensor([[0.0, 3.0], [-2.0, -2.0]])
    points = centred_grid((SIDE,) * dimensions)
    size = torch.tensor([2.2, 1.2])
    parts = (points.unsqueeze(-2) - lobes[:, -dimensions:]).square().sum(-1)
    still = (-0.5 * parts / size.square()).exp().sum(-1).expand(n, 1, *points.shape[:-1])
    shift = torch.randn(n, dimensions)
    poses: Any = Poses(2 * pi * torch.rand(n), shift)
    if dimensions == 3:
        poses = Poses3D(random_rotations(n, shift), shift)
    boxes = apply_poses(still, poses)
    return (boxes - boxes.mean()) / boxes.std()


def boxes_of(model: Any, n: int) -> Tensor:
    (dimensions,) = model.capabilities.dimensions
    return blobs(n, dimensions)


@every_model
def test_every_model_overfits_eight_images(name: str) -> None:
    model = build(name)
    images = boxes_of(model, 8)
    config = TrainingConfig(
        epochs=1,
        steps_per_epoch=_FEW_STEPS.get(name, 100),
        batch_size=8,
        learning_rate=3e-3,
        schedule="cosine",
    )
    before = _explained(model, images)
    for _ in fit(model, images.repeat(2, *[1] * (images.ndim - 1)), config):
        pass
    assert before < 0.3 and _explained(model, images) > 0.45


_FEW_STEPS = {"target-vae": 40}
"""Of those whose steps are dear."""


def _explained(model: Any, images: Tensor) -> float:
    """Part of the power of images that is drawn of them again."""
    model.eval()
    found = model.infer(images)
    drawn = apply_poses(model.generate(found.content), found.poses)
    return 1 - float((images - drawn).square().mean() / images.square().mean())


@every_model
def test_saved_model_infers_and_draws_the_same_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = build(name).eval()
    save_model(tmp_path / "m.safetensors", model, Normalisation())
    again = load_model(tmp_path / "m.safetensors")
    assert again.kind == name.split()[0] == kind_of(model) and again.model.config == model.config
    images = boxes_of(model, 3)
    before, after = model.infer(images), again.model.infer(images)
    for one, other in zip(before, after, strict=True):
        parts = zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
        assert all(a is b is None or torch.equal(a, b) for a, b in parts)
    drawn = [m.generate(before.content, before.poses) for m in (model, again.model)]
    assert torch.equal(*drawn) and drawn[0].shape == images.shape


@every_model
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_model_learns_and_infers_in_either_precision(name: str, dtype: torch.dtype) -> None:
    model = build(name)
    images = boxes_of(model, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
        terms = model.loss(images)
        terms.total.backward()
        found = model.eval().infer(images)
    assert terms.total.isfinite() and torch.isclose(terms.total, sum(terms.parts.values()))
    gradients = [value.grad for value in model.parameters() if value.grad is not None]
    assert gradients and all(value.isfinite().all() for value in gradients)
    content_dim = model.config.content_dim + getattr(model.config, "categories", 0)
    assert found.content.shape == (4, content_dim)
    assert found.content.isfinite().all() and found.poses.translation.isfinite().all()


@every_model
def test_what_is_said_of_a_kind_agrees_with_its_models(name: str) -> None:
    model, kind = build(name), model_kind(name.split()[0])
    able = model.capabilities
    assert type(model.config) is kind.config
    assert able.dimensions <= kind.dimensions
    assert able.fully_convolutional == (2 in kind.finds_in)
    if kind.numbers is not None:
        held = sum(value.numel() for value in [*model.parameters(), *model.buffers()])
        assert held <= kind.numbers(model.config) <= 2 * held + 5000


@pytest.mark.parametrize("name", ["spatial-vae", "spatial-vae 3D", "vae", "beta-vae"])
@pytest.mark.parametrize(
    "huge", [{"box_size": 60000}, {"generator_width": 60000, "encoder_width": 60000}]
)
def test_a_network_far_larger_than_its_file_is_refused_unmade(
    name: str, huge: dict[str, int]
) -> None:
    kind = model_kind(name.split()[0])
    shapes = {key: tuple(value.shape) for key, value in build(name).state_dict().items()}
    check_size(name, kind, MODELS[name][1], shapes)
    with pytest.raises(InputError, match="another network"):
        check_size(name, kind, replace(MODELS[name][1], **huge), shapes)


def test_the_divergence_of_a_free_angle_is_that_of_a_uniform_prior() -> None:
    """Equation 3, against samples: of N(m, sigma) from N(m, s), whatever the mean."""
    torch.manual_seed(0)
    log_std = torch.tensor([-2.0, -0.5, 0.3], dtype=torch.float64)
    spread = pi / 2
    noise = torch.randn(400_000, 3, dtype=torch.float64)
    for mean in (0.0, 40.0):
        angle = mean + log_std.exp() * noise
        own = torch.distributions.Normal(mean, log_std.exp()).log_prob(angle)
        prior = torch.distributions.Normal(mean, spread).log_prob(angle)
        sampled = (own - prior).mean(0)
        torch.testing.assert_close(free_angle_kl(log_std, spread), sampled, atol=0.01, rtol=0)


@pytest.mark.parametrize("mean", ["free", "zero"])
def test_only_a_prior_about_zero_minds_where_the_mean_of_a_rotation_lies(mean: str) -> None:
    model = SpatialVAE(replace(SPATIAL, rotation_mean=mean, rotation_std=0.5)).eval()
    beliefs = model._read(blobs(5, 2))
    turned = beliefs._replace(poses=beliefs.poses._replace(rotation=beliefs.poses.rotation + 1))
    before, after = (model.divergences(b)["kl_rotation"] for b in (beliefs, turned))
    assert torch.equal(before, after) == (mean == "free")
    log_std = beliefs.rotation_log_std.squeeze(1)
    if mean == "zero":
        own = torch.distributions.Normal(beliefs.poses.rotation, log_std.exp())
        prior = torch.distributions.Normal(torch.tensor(0.0), 0.5)
        torch.testing.assert_close(before, torch.distributions.kl_divergence(own, prior))


VARIANTS: list[dict[str, Any]] = [
    {},
    {"rotation_as": "angle", "n_features": 0},
    {"bilinear": True, "squares": True, "n_features": 0},
    {"softplus": True, "draw_noise": True},
    {"likelihood": "bernoulli"},
    {"channels": 3, "encoder": "convolutional"},
    {"dimensions": 3, "binning": 2, "squares": True},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_turning_the_coordinates_turns_the_picture(variant: dict[str, Any]) -> None:
    """Drawn at a pose is the drawing at rest, brought to that pose by interpolation."""
    torch.manual_seed(1)
    model = SpatialVAE(replace(SPATIAL, feature_length=8.0, **variant))
    with torch.no_grad():  # what is drawn varies from content to content, and within the box
        model.generator.content.weight.mul_(5)
    content, d = torch.randn(3, 2), model.config.dimensions
    shift = torch.randn(3, d)
    poses: Any = Poses(torch.tensor([0.5, -2.0, 3.0]), shift)
    if d == 3:
        poses = Poses3D(random_rotations(3, shift), shift)
    large = model.generate(content, None, 3 * SIDE)
    moved = apply_poses(large, poses, (SIDE,) * d)
    drawn = model.generate(content, poses)
    assert drawn.std() > 0.001
    unlike = (drawn - moved).std() / drawn.std()
    unmoved = (drawn - model.generate(content)).std() / drawn.std()
    assert unlike < 0.02 and unmoved > 10 * unlike


def test_a_quarter_turn_of_coordinates_is_exactly_that_of_the_picture() -> None:
    model = SpatialVAE(replace(SPATIAL, box_size=SIDE + 1))
    content = torch.randn(2, 2)
    quarter = Poses(torch.full((2,), pi / 2), torch.zeros(2, 2))
    turned = torch.rot90(model.generate(content), 1, (-2, -1))  # counter-clockwise as displayed
    torch.testing.assert_close(model.generate(content, quarter), turned, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_turn_for_training_is_taken_off_the_poses_again(
    dimensions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An encoder that reads poses without fault gives them whether or not boxes are turned."""
    model = SpatialVAE(replace(SPATIAL, dimensions=dimensions))
    shift = torch.tensor([[2.0, -1.0, 0.5]])[:, -dimensions:]
    angle = torch.tensor([0.7])
    known: Any = Poses(angle, shift)
    if dimensions == 3:
        turn = torch.eye(3)
        turn[1:, 1:] = rotation_matrix_2d(angle[0])
        known = Poses3D(turn[None], shift)
    _read_without_fault(model, known, monkeypatch)
    box = torch.zeros(1, 1, *[SIDE] * dimensions)
    for _ in range(3):
        found = model._read_at_random(box).poses
        torch.testing.assert_close(found.matrix, known.matrix)
        torch.testing.assert_close(found.translation, shift)


def _read_without_fault(model: Any, known: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a model say how an object lies that lay at a known pose before it was turned."""
    empty = model._read(torch.zeros(1, 1, *[SIDE] * model.config.dimensions))
    seen: list[Any] = []

    def remember(images: Tensor, poses: Any) -> Tensor:
        seen.append(poses)
        return images

    model._read = lambda images: empty._replace(poses=seen.pop().compose(known))
    monkeypatch.setattr(_spatial_vae, "apply_poses", remember)


@pytest.mark.parametrize(
    ("infers", "parts"),
    [
        ((True, True), {"kl_rotation", "kl_translation"}),
        ((True, False), {"kl_rotation"}),
        ((False, True), {"kl_translation"}),
        ((False, False), set()),
    ],
)
@pytest.mark.parametrize("dimensions", [2, 3])
def test_what_is_not_inferred_is_at_rest_and_costs_nothing(
    infers: tuple[bool, bool], parts: set[str], dimensions: int
) -> None:
    rotation, translation = infers
    model = SpatialVAE(
        replace(
            SPATIAL,
            dimensions=dimensions,
            infer_rotation=rotation,
            infer_translation=translation,
        )
    )
    images = blobs(4, dimensions)
    assert set(model.loss(images).parts) == {"reconstruction", "kl_content"} | parts
    assert model.capabilities.infers == {p.removeprefix("kl_") for p in parts}
    poses = model.infer(images).poses
    still = torch.eye(dimensions).expand(4, -1, -1)
    assert torch.allclose(poses.matrix, still) == (not rotation)
    assert bool((poses.translation == 0).all()) == (not translation)


def test_of_the_turns_tried_the_one_that_fits_is_taken() -> None:
    torch.manual_seed(1)
    model = SpatialVAE(replace(SPATIAL, rotation_hypotheses=4)).eval()
    images = blobs(12, 2, seed=3)
    alone = SpatialVAE(SPATIAL).eval()
    alone.load_state_dict(model.state_dict())
    said = alone.infer(images)
    misfits = []
    for k in range(4):
        poses = said.poses._replace(rotation=said.poses.rotation + k * pi / 2)
        drawn = model.generate(said.content, poses)
        misfits.append((images - drawn).square().flatten(1).sum(1))
    best = torch.stack(misfits).argmin(0)
    assert 1 < len(best.unique())  # not always the same
    found = model.infer(images).poses.rotation
    aside = wrap_angle(found - said.poses.rotation - best * pi / 2)
    torch.testing.assert_close(aside, torch.zeros(12), atol=1e-5, rtol=0)


def test_an_image_is_explained_by_the_mean_of_the_turns_tried() -> None:
    torch.manual_seed(0)
    both = SpatialVAE(replace(SPATIAL, rotation_hypotheses=2, augment_rotation=False))
    one, turned = (SpatialVAE(replace(SPATIAL, augment_rotation=False)) for _ in range(2))
    one.load_state_dict(both.state_dict())
    turned.load_state_dict(both.state_dict())
    first = 2 * SPATIAL.content_dim  # of the two numbers of the direction
    with torch.no_grad():
        for part in (turned.encoder[-1].weight, turned.encoder[-1].bias):
            part[first : first + 2] *= -1
    for image in blobs(4, 2).split(1):
        losses = []
        for model in (both, one, turned):
            torch.manual_seed(1)  # the same draws
            losses.append(model.loss(image).parts["reconstruction"])
        wanted = log(2) - torch.stack([-losses[1], -losses[2]]).logsumexp(0)
        torch.testing.assert_close(losses[0], wanted)


def test_pixels_outside_the_mask_and_noise_that_is_drawn_count_as_they_should() -> None:
    torch.manual_seed(0)
    model = SpatialVAE(replace(SPATIAL, mask_radius=5.0, draw_noise=True)).eval()
    images = blobs(4, 2)
    changed = images.clone()
    changed[..., 0, :] += 100
    beliefs = model._read(images)
    model._read = lambda _: beliefs
    with torch.random.fork_rng():
        before = model.loss(images).parts["reconstruction"]
    with torch.random.fork_rng():
        after = model.loss(changed).parts["reconstruction"]
    assert torch.equal(before, after)
    drawn = torch.tensor([[1.0, -0.5]]).reshape(1, 2, 1, 1)
    pixel = model._log_likelihood(drawn, torch.full((1, 1, 1, 1), 2.0), None)
    noise = torch.distributions.Normal(1.0, torch.tensor(-0.5).exp())
    torch.testing.assert_close(pixel.flatten(), noise.log_prob(torch.tensor([2.0])))


def test_the_mean_is_seen_through_the_ctf() -> None:
    """A CTF of one at no frequency but zero leaves the mean level, and nothing else."""
    torch.manual_seed(0)
    model = SpatialVAE(replace(SPATIAL, augment_rotation=False, noise_std=1.0)).eval()
    images = blobs(2, 2)
    ctf = torch.zeros(2, SIDE, SIDE // 2 + 1)
    ctf[:, 0, 0] = 1.0
    seen: list[Tensor] = []
    forward = model.likelihood.forward
    model.likelihood.forward = lambda drawn, images: (seen.append(drawn), forward(drawn, images))[1]
    for given in (None, ctf):
        torch.manual_seed(3)
        model.loss(images, given)
    level = seen[0].mean((-2, -1), keepdim=True).expand_as(seen[1])
    torch.testing.assert_close(seen[1], level, atol=1e-5, rtol=0)
    binary = SpatialVAE(replace(SPATIAL, likelihood="bernoulli"))
    with pytest.raises(InputError, match="likelihood=gaussian"):
        binary.loss(images.clamp(0, 1), ctf)


@pytest.mark.parametrize("side", [16, 15])
def test_a_binned_box_has_the_low_frequencies_of_its_ctf(side: int) -> None:
    model = SpatialVAE(replace(SPATIAL, box_size=side, binning=2))
    ctf = torch.rand(3, side, side)
    ctf = (ctf + ctf.flip((1, 2)).roll((1, 1), (1, 2)))[..., : side // 2 + 1]  # as of real images
    images = torch.randn(3, 1, side, side)
    seen = torch.fft.irfft2(torch.fft.rfft2(images) * ctf[:, None], s=(side, side))
    small = fourier_crop(images, side // 2)
    inner = torch.fft.rfft2(small) * model._reduced_ctf(ctf)[:, None]
    low = torch.fft.irfft2(inner, s=small.shape[-2:])
    known = slice(1, -1)  # the highest of an even side is its own opposite
    wanted = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(fourier_crop(seen, side // 2))))
    found = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(low)))
    torch.testing.assert_close(found[..., known, known], wanted[..., known, known])


def test_the_wedge_of_a_tilt_series_is_taken_from_what_is_drawn() -> None:
    config = replace(SPATIAL, dimensions=3, tilt_min_deg=-40.0, tilt_max_deg=40.0, noise_std=1.0)
    model = SpatialVAE(config)
    seen: list[Tensor] = []
    forward = model.likelihood.forward
    model.likelihood.forward = lambda drawn, images: (seen.append(drawn), forward(drawn, images))[1]
    model.loss(blobs(2, 3))
    torch.testing.assert_close(config.wedge.apply(seen[0]), seen[0], atol=1e-5, rtol=0)


def test_content_held_draws_one_object() -> None:
    model = SpatialVAE(SPATIAL)
    model.hold_content(True)
    assert not model._sample_content(model._read(blobs(4, 2))).any()


def test_beta_weighs_the_divergence_of_the_content() -> None:
    images = blobs(4, 2)
    kl = {}
    for beta in (1.0, 4.0):
        torch.manual_seed(0)
        model = VAE(replace(MODELS["vae"][1], beta=beta))
        torch.manual_seed(1)
        kl[beta] = model.loss(images).parts
    torch.testing.assert_close(kl[4.0]["kl_content"], 4 * kl[1.0]["kl_content"])
    torch.testing.assert_close(kl[4.0]["reconstruction"], kl[1.0]["reconstruction"])
    assert BetaVAEConfig(box_size=SIDE).beta == 4


def test_a_plain_vae_has_no_pose_but_draws_at_one() -> None:
    model = build("vae")
    found = model.infer(blobs(3, 2))
    assert not found.poses.rotation.any() and not found.poses.translation.any()
    assert model.capabilities.infers == frozenset()
    quarter = Poses(torch.full((3,), pi / 2), torch.zeros(3, 2))
    drawn = model.generate(found.content, quarter)
    torch.testing.assert_close(drawn, apply_poses(model.generate(found.content), quarter))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(SPATIAL, dimensions=4), "dimensions must be 2 or 3"),
        (lambda: replace(SPATIAL, rotation_mean="one"), "rotation_mean must be one of free, zero"),
        (lambda: replace(SPATIAL, dimensions=3, rotation_mean="zero"), "of images only"),
        (lambda: replace(SPATIAL, likelihood="bernoulli", softplus=True), "gaussian likelihood"),
        (lambda: replace(SPATIAL, tilt_min_deg=-60.0, tilt_max_deg=60.0), "no missing wedge"),
        (lambda: replace(SPATIAL, encoder_layers=17), "encoder_layers must be at most 16"),
        (lambda: replace(SPATIAL, generator_width=0), "generator_width must be at least 1"),
        (lambda: replace(SPATIAL, binning=5), "smaller than 4"),
        (lambda: replace(SPATIAL, binning=0), "binning must be at least 1"),
        (lambda: replace(SPATIAL, rotation_hypotheses=0), "rotation_hypotheses must be at least 1"),
        (
            lambda: replace(SPATIAL, rotation_hypotheses=2, infer_rotation=False),
            "images with a free rotation",
        ),
        (lambda: replace(SPATIAL, width=6), "multiple of 4"),
        (lambda: replace(SPATIAL, translation_std=0.0), "translation_std must be positive"),
        (lambda: VAEConfig(box_size=SIDE, beta=-1.0), "beta must be positive"),
        (lambda: VAEConfig(box_size=SIDE, activation="gelu"), "activation must be one of tanh"),
        (lambda: build("vae").loss(torch.zeros(2, 1, 8, 8)), "takes boxes of shape"),
        (lambda: build("spatial-vae").infer(torch.zeros(2, 1, 8, 8)), "takes boxes of shape"),
    ],
)
def test_what_can_not_be_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
