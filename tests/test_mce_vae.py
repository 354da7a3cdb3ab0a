"""MCE-VAE: its bound, its invariance, what it learns, and how it is trained."""

import json
from dataclasses import replace
from math import log, pi
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from napari_equipose.cli import app
from napari_equipose.geometry import GROUPS, InputError, Poses, apply_poses, centred_grid
from napari_equipose.inference import AlignConfig, align, encode, find_categories, finish
from napari_equipose.models import MCEVAE, MCEVAEConfig, Normalisation, SavedModel, load_model
from napari_equipose.models._mixtures import gaussian_divergence, mixture_bound
from napari_equipose.training import TrainingConfig, TrainingRun, fit, mce_vae_preset, prepare_stack

SMALL: dict[str, Any] = {"width": 8, "hidden": 64, "hidden_decoder": 64, "copies": 2}
TINY: dict[str, Any] = {"width": 2, "hidden": 8, "hidden_decoder": 8, "copies": 1, "categories": 3}
SHAPES = MCEVAEConfig(
    box_size=16, content_dim=1, categories=2, group="SO2", likelihood="bernoulli", **SMALL
)


def shapes(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Bars and half discs, turned by up to 1.2 radians; at rest, which, and the angles."""
    rng = torch.Generator().manual_seed(seed)
    y, x = centred_grid((16, 16)).unbind(-1)
    bar = (y.abs() < 1.5) & (x > -6.5)
    half = (y.square() + x.square() < 25) & (x < 2)
    which = torch.randint(2, (n,), generator=rng)
    still = torch.stack((bar, half)).float()[which].unsqueeze(1)
    angle = (2 * torch.rand(n, generator=rng) - 1) * 1.2
    return apply_poses(still, Poses(angle, torch.zeros(n, 2))), still, which, angle


def boxes(config: MCEVAEConfig, n: int = 4) -> Tensor:
    torch.manual_seed(1)
    return torch.rand(n, config.channels, config.box_size, config.box_size)


def densities(values: Tensor, mean: Tensor, std: Tensor, log_weight: Tensor) -> Tensor:
    """Log density of a mixture of Gaussians, of means (k, d), at values (n, d)."""
    normal = torch.distributions.Normal(mean, std)
    inside = normal.log_prob(values.unsqueeze(1)).sum(2)
    return (inside + log_weight).logsumexp(1)


@pytest.mark.parametrize("weights", ["equal", "other"])
def test_bound_lies_above_the_sampled_divergence_of_mixtures(weights: str) -> None:
    """Equations 13 and 14, of the prior and the posterior of equations 15 and 16."""
    torch.manual_seed(0)
    k = 4
    for _ in range(5):
        prior_mean, own = torch.eye(k), torch.eye(k, dtype=torch.bool)
        along, log_std = 3 * torch.randn(k), 0.5 * torch.randn(k)
        mean = torch.where(own, along, 0.0)
        std = torch.where(own, log_std.exp(), 1.0)
        log_pi = torch.full((k,), -log(k))
        log_p = log_pi
        if weights == "other":
            log_pi, log_p = torch.randn(k).log_softmax(0), torch.randn(k).log_softmax(0)
        chosen = torch.multinomial(log_pi.exp(), 20_000, replacement=True)
        values = mean[chosen] + std[chosen] * torch.randn(20_000, k)
        ratio = densities(values, mean, std, log_pi) - densities(
            values, prior_mean, torch.ones(k, k), log_p
        )
        sampled, error = ratio.mean(), ratio.std() / 20_000**0.5
        parts = gaussian_divergence(along, log_std, 1.0)
        bound = mixture_bound(log_pi[None], parts[None], log_p)
        assert sampled < bound + 4 * error
        if weights == "equal":
            torch.testing.assert_close(bound, parts.mean(0, True))  # equation 14
            torch.testing.assert_close(mixture_bound(log_pi[None], parts[None]), bound)


def test_printed_equation_13_is_no_bound_where_the_weights_differ() -> None:
    """All weight on a component like the prior's: the divergence is zero, eq. 13 is below it."""
    entropy = 0.5 * log(2 * pi) + 0.5
    cross = 0.5 * log(2 * pi)  # of a component of no width, which has no weight
    printed = -entropy - (-0.5 * entropy - 0.5 * cross)
    assert printed < 0
    log_weight = torch.tensor([[0.0, -200.0]])
    log_prior = torch.tensor([0.5, 0.5]).log()
    ours = mixture_bound(log_weight, torch.tensor([[0.0, 500.0]]), log_prior)
    assert ours == pytest.approx(log(2))


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("decoder", ["gated", "linear", "cnn"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_parts_add_up_and_everything_learns(group: str, decoder: str, likelihood: str) -> None:
    config = MCEVAEConfig(
        box_size=18, group=group, decoder=decoder, likelihood=likelihood, channels=3, **TINY
    )
    torch.manual_seed(0)
    model = MCEVAE(config)
    terms = model.loss(boxes(config))
    terms.total.backward()
    names = {"reconstruction", "invariance", "kl_categories", "kl_content", "kl_pose"}
    assert set(terms.parts) == names
    torch.testing.assert_close(terms.total, torch.stack(list(terms.parts.values())).sum())
    # what leads to the pose begins at zero, so that every object begins at rest
    idle = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert all(name.startswith("pose_extractor.") for name in idle)
    found = model.eval().infer(boxes(config))
    assert model.capabilities.infers == GROUPS[group]
    assert (found.scale is not None) == (group == "SIM2")
    assert found.categories is not None and found.content.shape == (4, 3 + 3)
    torch.testing.assert_close(found.categories.sum(1), torch.ones(4))
    assert model.generate(found.content, found.poses, 24).shape == (4, 3, 24, 24)


def test_terms_of_the_loss_are_those_of_the_paper() -> None:
    config = replace(SHAPES, group="SE2", copies=1)
    torch.manual_seed(0)
    model = MCEVAE(config).eval()
    images = boxes(config)
    reading = model._read(images)
    parts = model.loss(images).parts
    own = torch.distributions.Normal(reading.cluster, reading.cluster_log_std.exp())
    prior = torch.distributions.Normal(torch.ones(2), torch.ones(2))
    wanted = torch.distributions.kl_divergence(own, prior).mean(1).mean()
    torch.testing.assert_close(parts["kl_categories"], wanted)
    for name, mean, log_std in (
        ("kl_content", reading.content, reading.content_log_std),
        ("kl_pose", reading.pose, reading.pose_log_std),
    ):
        own = torch.distributions.Normal(mean, log_std.exp())
        standard = torch.distributions.Normal(torch.zeros_like(mean), 1.0)
        wanted = torch.distributions.kl_divergence(own, standard).sum(1).mean()
        torch.testing.assert_close(parts[name], wanted)
    twice = MCEVAE(replace(config, alpha=2.0, beta=3.0)).eval()
    twice.load_state_dict(model.state_dict())
    torch.manual_seed(5)
    once = model.loss(images).parts
    torch.manual_seed(5)
    more = twice.loss(images).parts
    factors = {"reconstruction": 1.0, "invariance": 2.0}
    for name, value in once.items():
        torch.testing.assert_close(more[name], factors.get(name, 3.0) * value)


def test_invariance_is_the_mean_over_the_copies_taken_one_by_one() -> None:
    """Equation 8: what is made of the copies' means is the mean of what each copy makes."""
    config = replace(SHAPES, copies=5)
    torch.manual_seed(0)
    model = MCEVAE(config).eval()
    images = boxes(config)
    reading = model._read(images)
    drawn = model.decoder(torch.cat((reading.content, reading.cluster), 1))
    kept: list[tuple[Any, Tensor]] = []
    decode, read = model.decoder.forward, model._read

    def remember_drawn(contents: Tensor) -> Tensor:
        kept.append((seen.pop(), decode(contents)))
        return kept[-1][1]

    def remember_read(images: Tensor, pose: bool = True) -> Any:
        seen.append(read(images, pose))
        return seen[-1]

    seen: list[Any] = []
    model.decoder.forward, model._read = remember_drawn, remember_read  # type: ignore[method-assign]
    found = model._invariance(images, None, reading, drawn)
    assert len(kept) == 5
    wanted = torch.zeros(4)
    for copy, picture in kept:
        for name in ("content", "cluster"):
            mean, other = getattr(reading, name), getattr(copy, name)
            spread = getattr(reading, f"{name}_log_std"), getattr(copy, f"{name}_log_std")
            square = (mean - other).square() + sum((2 * value).exp() for value in spread)
            wanted = wanted + square.sum(1) / 5
        cross = torch.nn.functional.binary_cross_entropy_with_logits(
            drawn, picture.sigmoid(), reduction="none"
        )
        wanted = wanted + cross.flatten(1).sum(1) / 5
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)


def test_copies_leave_the_running_statistics_and_carry_no_gradient() -> None:
    torch.manual_seed(0)
    model = MCEVAE(replace(SHAPES, decoder="cnn")).train()
    before = {name: value.clone() for name, value in model.named_buffers()}
    for value in model._read_copies(boxes(SHAPES)):
        assert not value.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    model.loss(boxes(SHAPES))
    assert any(not torch.equal(value, before[name]) for name, value in model.named_buffers())


def test_supervised_model_wants_targets_and_no_other_takes_them() -> None:
    images = boxes(SHAPES)
    with pytest.raises(InputError, match="aligned targets"):
        MCEVAE(replace(SHAPES, invariance="supervised")).loss(images)
    with pytest.raises(InputError, match="aligned targets"):
        MCEVAE(SHAPES).loss(images, images)
    supervised = MCEVAE(replace(SHAPES, invariance="supervised"))
    supervised.loss(images, images).total.backward()
    apart = MCEVAE(replace(SHAPES, invariance="none")).loss(images).parts["invariance"]
    assert apart == 0


def learned(invariance: str) -> tuple[Any, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Learn two shapes."""
    images, still, which, angle = shapes(200)
    torch.manual_seed(0)
    model = MCEVAE(replace(SHAPES, invariance=invariance))
    config = TrainingConfig(
        epochs=1,
        steps_per_epoch=240,
        batch_size=50,
        learning_rate=6e-3,
        schedule="cosine",
        warm_up_steps=30,
    )
    for _ in fit(model, images, config, targets=still if invariance == "supervised" else None):
        pass
    saved = SavedModel(kind="mce-vae", model=model.eval(), normalisation=Normalisation())
    find_categories(saved, images, "cpu")
    return model, (images, still, which, angle)


def test_two_shapes_are_told_apart_and_turning_does_not_change_what_they_are() -> None:
    model, (_, still, which, _) = learned("unsupervised")
    angles = torch.linspace(-1.1, 1.1, 8)
    first = torch.stack([still[which == k][0] for k in (0, 1)])
    content, drawn = [], []
    for angle in angles:
        turned = apply_poses(first, Poses(angle.expand(2), torch.zeros(2, 2)))
        found = model.infer(turned)
        content.append(found.content)
        drawn.append(model.generate(found.content))
    images, _, which, _ = shapes(200, seed=7)
    category = model.infer(images).categories.argmax(1)
    right = float((category == which).float().mean())
    assert max(right, 1 - right) > 0.9
    every, pictures = torch.stack(content), torch.stack(drawn)
    # by how much it differs from turn to turn, beside from shape to shape
    between = (every.mean(0)[0] - every.mean(0)[1]).norm()
    assert every.std(0).norm(dim=1).max() < 0.5 * between
    unlike = (pictures - pictures.mean(0)).abs().mean()
    assert unlike < 0.5 * (pictures.mean(0)[0] - pictures.mean(0)[1]).abs().mean()


def test_supervised_frame_is_that_of_the_targets() -> None:
    model, _ = learned("supervised")
    images, still, _, angle = shapes(200, seed=7)
    found = model.infer(images)
    drawn = model.generate(found.content)
    assert (drawn - still).abs().mean() < 0.3 * (still - still.mean(0)).abs().mean()
    error = found.poses.rotation - angle
    assert torch.exp(2j * error).mean().real > 0.9  # about zero: no gauge is left


def test_categories_are_the_classes_of_tables_and_averages() -> None:
    torch.manual_seed(0)
    config = MCEVAEConfig(box_size=16, **TINY)
    saved = SavedModel(kind="mce-vae", model=MCEVAE(config).eval(), normalisation=Normalisation())
    stack = boxes(config, 12)[:, 0].numpy()
    found = finish(encode(saved, stack))
    assert found.category is not None and found.category.shape == (12,)
    category = np.array([0, 0, 0, 2, 2, 2, 2, 2, 2, 0, 0, 0])
    model: Any = saved.model
    infer = model.infer
    one_hot = torch.eye(3)[torch.from_numpy(category)]
    model.infer = lambda images: infer(images)._replace(categories=one_hot)
    aligned = finish(align(saved, stack))
    assert aligned.label is not None and (aligned.label == category).all()
    assert [(one.label, one.n) for one in aligned.averages] == [(0, 6), (2, 6)]
    one = finish(align(saved, stack, AlignConfig(classes=1)))
    assert len(one.averages) == 1 and one.averages[0].n == 12


def test_presets_and_what_they_refuse() -> None:
    paper, training = mce_vae_preset("paper", box_size=28)
    assert paper.copies == 25 and paper.distance == 1 and paper.decoder == "gated"
    assert (paper.content_dim, paper.categories, training.epochs) == (3, 10, 60)
    fast, _ = mce_vae_preset("fast", box_size=64)
    assert fast.copies < 5 and fast.binning == 2
    with pytest.raises(InputError, match="fast, paper for MCE-VAE, got 'x'"):
        mce_vae_preset("x", box_size=28)  # type: ignore[arg-type]
    for wrong in ({"copies": 26}, {"group": "SE3"}, {"box_size": 300}, {"alpha": -1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            MCEVAEConfig(**{"box_size": 28} | wrong)


def test_targets_of_a_run_are_checked() -> None:
    stack = boxes(SHAPES, 12)[:, 0].numpy()
    run = TrainingRun(model="mce-vae", settings=TINY)
    prepared = prepare_stack(run, stack, stack.copy())
    assert prepared.model_config.invariance == "supervised" and prepared.targets is not None
    torch.testing.assert_close(prepared.targets, prepared.boxes)
    with pytest.raises(InputError, match="one aligned target for each box"):
        prepare_stack(run, stack, stack[:5])
    supervised = TrainingRun(model="mce-vae", settings={**TINY, "invariance": "supervised"})
    with pytest.raises(InputError, match="go together"):
        prepare_stack(supervised, stack)
    with pytest.raises(InputError, match="knows no targets"):
        TrainingRun(model="target-vae", targets="aligned.npy")


def test_command_line_trains_on_targets_and_writes_classes(tmp_path: Path) -> None:
    images, still, _, _ = shapes(24)
    np.save(tmp_path / "turned.npy", images[:, 0].numpy())
    np.save(tmp_path / "still.npy", still[:, 0].numpy())
    model = tmp_path / "m.safetensors"
    more = [f"--set={name}={value}" for name, value in TINY.items()]
    more += ["--set=steps_per_epoch=2", "--epochs=1", "--quiet", "--device=cpu"]
    files = [str(tmp_path / "turned.npy"), "--targets", str(tmp_path / "still.npy")]
    arguments = ["train", *files, "-o", str(model), "--model", "mce-vae", *more]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    saved = load_model(model)
    assert saved.model.config.invariance == "supervised"
    assert json.loads((tmp_path / "m.run" / "run.json").read_text())["targets"] == "../still.npy"
    table = tmp_path / "t.csv"
    result = CliRunner().invoke(app, ["encode", str(model), files[0], "-o", str(table), "--quiet"])
    assert result.exit_code == 0, result.output
    header, first = table.read_text().splitlines()[:2]
    row = dict(zip(header.split(","), first.split(","), strict=True))
    assert row["class"] in {"0", "1", "2"} and "content_5" in row
    result = CliRunner().invoke(app, ["info", str(model)])
    assert result.exit_code == 0 and "mce-vae" in result.output


def test_categories_lie_where_they_were_put() -> None:
    torch.manual_seed(0)
    model = MCEVAE(SHAPES).eval()
    images = boxes(SHAPES, 6)
    found = model.infer(images)
    z_c = found.content[:, -2:]
    torch.testing.assert_close(found.categories, z_c.softmax(1))  # those of the paper's prior
    model.set_categories(z_c[:2], 0.01)
    again = model.infer(images)
    assert again.categories is not None and again.categories.argmax(1)[:2].tolist() == [0, 1]
    assert torch.equal(again.content, found.content)


def test_fewer_boxes_than_categories_leave_them_as_they_are() -> None:
    model = MCEVAE(MCEVAEConfig(box_size=16, **TINY)).eval()
    saved = SavedModel(kind="mce-vae", model=model, normalisation=Normalisation())
    find_categories(saved, boxes(SHAPES, 2), "cpu")
    assert torch.equal(model.centres, torch.eye(3)) and model.centre_std == 1
