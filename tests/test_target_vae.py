"""TARGET-VAE: its symmetry, its bound, what it learns."""

from dataclasses import replace
from math import pi

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from napari_equipose.geometry import InputError, Poses, apply_poses
from napari_equipose.models import TargetVAE, TargetVAEConfig

SMALL = TargetVAEConfig(
    box_size=21,
    object_size=11,
    fields=6,
    generator_width=16,
    n_features=16,
    translation_range=4,
    subpixel=True,
)
CHEAP = replace(SMALL, generator="bilinear", enumerate_rotations=True, binning=2)


def make(config: TargetVAEConfig, seed: int = 0) -> TargetVAE:
    torch.manual_seed(seed)
    return TargetVAE(config)


def pictures(n: int, size: int = 21) -> torch.Tensor:
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("lifting", ["interpolated", "steerable"])
@pytest.mark.parametrize("binning", [1, 2])
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turn_rolls_the_posterior(lifting: str, binning: int, quarters: int) -> None:
    model = make(replace(SMALL, lifting=lifting, binning=binning))
    images = pictures(2)
    still = model.infer(images).log_prob
    turned = model.infer(images.rot90(quarters, (-2, -1))).log_prob
    assert still is not None and turned is not None
    expected = still.rot90(quarters, (-2, -1)).roll(2 * quarters, 1)
    torch.testing.assert_close(turned, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("lifting", ["interpolated", "steerable"])
def test_eighth_turn_rolls_the_posterior_nearly(lifting: str) -> None:
    model = make(replace(SMALL, object_size=21, box_size=41, fields=16, lifting=lifting))
    line = torch.arange(41) - 20.0
    blobs = [
        torch.exp(-((line[:, None] - y) ** 2 + (line - x) ** 2) / 12)
        for y, x in ((-4, 1), (3, 5), (2, -3))
    ]
    image = sum(blobs)[None, None]
    turn = Poses(torch.tensor([pi / 4]), torch.zeros(1, 2))
    middle = model.config.places_range
    maps = [model.infer(x).log_prob for x in (image, apply_poses(image, turn))]
    still, turned = (m[0, :, middle, middle] for m in maps if m is not None)
    error = (turned - still.roll(1, 0)).norm() / (still - still.mean()).norm()
    assert error < 0.1


def test_turned_image_has_the_turned_pose() -> None:
    model = make(SMALL)
    images = pictures(4)
    still, turned = model.infer(images), model.infer(images.rot90(1, (-2, -1)))
    quarter = Poses(torch.full((4,), pi / 2), torch.zeros(4, 2))
    expected = quarter.compose(still.poses)
    apart = torch.exp(1j * (turned.poses.rotation - expected.rotation))
    torch.testing.assert_close(apart, torch.ones_like(apart), atol=1e-4, rtol=0)
    torch.testing.assert_close(turned.poses.translation, expected.translation, atol=1e-3, rtol=0)
    torch.testing.assert_close(turned.content, still.content, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("binning", "shift"), [(1, (1, -2)), (2, (2, -2))])
def test_shifted_image_shifts_the_map(binning: int, shift: tuple[int, int]) -> None:
    config = replace(SMALL, binning=binning, box_size=41, translation_range=4 * binning)
    model = make(config)
    images = torch.zeros(1, 1, 41, 41)
    images[..., 17:24, 18:22] = pictures(1)[..., :7, :4]  # far from the border
    heads = [
        model.encoder.read_heads(model.encoder.lifted(model.encoder.bin(x)))[0]
        for x in (images, images.roll(shift, (-2, -1)))
    ]
    places = (shift[0] // binning, shift[1] // binning)
    expected = heads[0].roll(places, (1, 2))
    assert torch.equal(heads[1][:, 3:-3, 3:-3], expected[:, 3:-3, 3:-3])


def test_posterior_sums_to_one() -> None:
    log_prob = make(SMALL).infer(pictures(3)).log_prob
    assert log_prob is not None and log_prob.shape == (3, 8, 9, 9)
    torch.testing.assert_close(log_prob.logsumexp((1, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)


def test_divergences_agree_with_monte_carlo() -> None:
    model = make(replace(SMALL, rotation_std=0.8))
    with torch.no_grad():
        maps = model.encoder(20 * pictures(1))
        analytic = {name: kl.item() for name, kl in model.divergences(maps).items()}
    n = 200_000
    component = Categorical(logits=maps.log_prob[0]).sample((n,))
    log_prob = maps.log_prob[0, component]
    pose = log_prob - model.log_prior[component]

    def divergence(mean: torch.Tensor, log_std: torch.Tensor, prior: float) -> torch.Tensor:
        q = Normal(mean[component], log_std.exp()[component])
        sample = q.sample()
        return q.log_prob(sample) - Normal(0.0, prior).log_prob(sample)

    sampled = {
        "kl_pose": pose,
        "kl_rotation": divergence(maps.turn[0], maps.turn_log_std[0], pi / 8),
        "kl_offset": divergence(maps.offset[0], maps.offset_log_std[0, :, None], 0.5).sum(-1),
        "kl_content": divergence(maps.content[0], maps.content_log_std[0], 1.0).sum(-1),
    }
    assert analytic.keys() == sampled.keys()
    for name, values in sampled.items():
        error = values.std() / n**0.5
        assert abs(values.mean() - analytic[name]) < 5 * error + 1e-4, name


@pytest.mark.parametrize("subpixel", [True, False])
def test_guidance_is_the_density_of_the_posterior_where_the_truth_is(subpixel: bool) -> None:
    model = make(replace(SMALL, subpixel=subpixel))
    images, content = 20 * pictures(5), torch.randn(5, SMALL.content_dim)
    poses = Poses(torch.linspace(-3, 9, 5), torch.randn(5, 2))
    with torch.no_grad():
        maps = model.encoder(images)
        loss = model.guided_loss(images, content, poses)
    middle, spread = model.places.expand(5, -1, -1), torch.full(maps.offset.shape, 0.5)
    if subpixel:
        matrix = Poses(model.steps, model.places).matrix
        middle = middle + torch.einsum("kij,nkj->nki", matrix, maps.offset)
        spread = maps.offset_log_std.exp().unsqueeze(-1).expand_as(middle)
    angle = model.steps + maps.turn
    full_turns = 2 * pi * ((poses.rotation[:, None] - angle) / (2 * pi)).round()
    means = torch.cat(((angle + full_turns).unsqueeze(-1), middle, maps.content), -1)
    stds = (maps.turn_log_std.exp().unsqueeze(-1), spread, maps.content_log_std.exp())
    mixture = MixtureSameFamily(
        Categorical(logits=maps.log_prob), Independent(Normal(means, torch.cat(stds, -1)), 1)
    )
    truth = torch.cat((poses.rotation[:, None], poses.translation, content), 1)
    log_density = mixture.log_prob(truth)
    assert loss == pytest.approx(float(-log_density.mean()), rel=1e-4)


def test_weight_of_the_content_weighs_its_divergence_only() -> None:
    images = torch.rand(4, 1, 21, 21)
    parts = []
    for weight in (1.0, 0.25):
        torch.manual_seed(0)
        model = TargetVAE(replace(SMALL, content_weight=weight))
        torch.manual_seed(1)
        terms = model.loss(images)
        assert terms.total.item() == pytest.approx(sum(p.item() for p in terms.parts.values()))
        parts.append({name: value.item() for name, value in terms.parts.items()})
    whole, weighted = parts
    assert whole["kl_content"] > 0
    assert weighted == pytest.approx(whole | {"kl_content": 0.25 * whole["kl_content"]})


def test_prior_on_translation_is_in_pixels() -> None:
    model = make(replace(SMALL, translation_std=3.0, binning=2, translation_range=8))
    prior = model.log_prior.view(9, 9, 8)
    drop = prior[4, 4, 0] - prior[4, 6, 0]  # two places, four pixels
    assert drop.item() == pytest.approx(0.5 * (4 / 3) ** 2, rel=1e-5)


def test_enumerated_bound_is_the_mean_of_the_sampled_one() -> None:
    # At a low temperature one Gumbel-softmax sample is a sample of the mixture.
    config = replace(CHEAP, temperature=0.02)
    enumerated = make(config)
    sampled = TargetVAE(replace(config, enumerate_rotations=False))
    sampled.load_state_dict(enumerated.state_dict())
    images = 3 * pictures(2)
    with torch.no_grad():
        exact, noisy = (
            torch.stack([m.loss(images).parts["reconstruction"] for _ in range(400)])
            for m in (enumerated, sampled)
        )
    error = (exact.var() / 400 + noisy.var() / 400).sqrt()
    assert abs(exact.mean() - noisy.mean()) < 5 * error
    assert exact.var() < noisy.var()


def test_angles_across_the_seam_are_averaged_as_directions() -> None:
    model = make(replace(SMALL, temperature=1e3))  # all components alike
    maps = model.encoder(pictures(1))
    near_pi = maps._replace(
        turn=torch.where(torch.arange(maps.turn.shape[1]) % 2 == 0, pi - 0.1, pi + 0.1)[None]
        - model.steps,
        turn_log_std=torch.full_like(maps.turn_log_std, -20.0),
    )
    _, poses, _ = model._sample(near_pi)
    assert poses.rotation.abs().item() == pytest.approx(pi, abs=0.02)


@pytest.mark.parametrize("config", [SMALL, CHEAP, replace(CHEAP, channels=3)], ids=str)
def test_reported_pose_draws_the_object_where_it_is(config: TargetVAEConfig) -> None:
    model = make(config)
    content = torch.randn(3, 2)
    at_rest = model.generate(content)
    pose = Poses(torch.full((3,), 0.5), torch.tensor([[2.0, -1.0]]).expand(3, -1))
    moved = model.generate(content, pose)
    assert moved.shape == (3, config.channels, 21, 21)
    expected = apply_poses(at_rest, pose)
    inside = slice(7, 14)
    error = (moved - expected)[..., inside, inside].abs().mean()
    assert error < 0.3 * at_rest.std()


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("config", [SMALL, CHEAP], ids=["paper", "fast"])
def test_overfits_a_few_images(config: TargetVAEConfig, likelihood: str) -> None:
    model = make(replace(config, likelihood=likelihood, noise_std=None, binning=1))
    shape = torch.zeros(1, 1, 21, 21)
    shape[..., 8:13, 9:11] = 1
    shape[..., 8:10, 9:14] = 1
    generator = torch.Generator().manual_seed(3)
    poses = Poses(torch.rand(8, generator=generator) * 6, torch.randn(8, 2, generator=generator))
    images = apply_poses(shape.expand(8, -1, -1, -1), poses)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    before = model.loss(images).parts["reconstruction"].item()
    for _ in range(250):
        optimizer.zero_grad()
        model.loss(images).total.backward()
        optimizer.step()
    after = model.loss(images).parts["reconstruction"].item()
    level = images.mean().item()
    flat = -441 * (level * torch.tensor(level).log() + (1 - level) * torch.tensor(1 - level).log())
    if likelihood == "bernoulli":
        assert after < 0.6 * flat
    else:
        assert after < before - 200


@pytest.mark.parametrize("config", [SMALL, CHEAP], ids=["paper", "fast"])
def test_bfloat16_changes_the_slopes_little_and_no_pose(config: TargetVAEConfig) -> None:
    model = make(config)
    losses, slopes = [], []
    for on in (False, True):
        model.multiply_in_bfloat16(on)
        model.zero_grad()
        torch.manual_seed(5)
        terms = model.loss(pictures(32))
        terms.total.backward()
        losses.append(terms.total.item())
        slopes.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
        assert {value.dtype for value in model.encoder(pictures(1))} == {torch.float32}
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.005)
    assert torch.nn.functional.cosine_similarity(*slopes, dim=0) > 0.99


def test_ctf_is_applied_to_what_is_drawn() -> None:
    model = make(SMALL)
    images = pictures(2)
    ones = torch.ones(2, 21, 11)
    losses = []
    for ctf in (None, ones, 0 * ones):
        torch.manual_seed(0)
        losses.append(model.loss(images, ctf).parts["reconstruction"].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    nothing_drawn = (0.5 * images.square().flatten(1).sum(1) + 441 * 0.9189385).mean()
    assert losses[2] == pytest.approx(nothing_drawn.item(), rel=1e-4)


def test_circular_mask_hides_the_corners() -> None:
    model = make(replace(SMALL, mask_radius=8))
    images = pictures(2)
    torch.manual_seed(0)
    before = model.likelihood(torch.zeros_like(images), images) * model.pixel_mask
    assert before[..., 0, 0].abs().max() == 0 and before[..., 10, 10].abs().min() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_rotations": 0}, "n_rotations must be at least 1"),
        ({"lifting": "fourier"}, "lifting must be one of interpolated, steerable"),
        ({"noise_std": -1.0}, "noise_std must be positive"),
        ({"box_size": 3}, "box_size must be at least 8"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(SMALL, **change)


@pytest.mark.parametrize("n_rotations", [1, 2, 5, 12, 16])
def test_any_number_of_rotations_works(n_rotations: int) -> None:
    model = make(replace(CHEAP, n_rotations=n_rotations))
    assert model.loss(pictures(2)).total.isfinite()
    assert model.infer(pictures(2)).poses.rotation.abs().max() <= pi
