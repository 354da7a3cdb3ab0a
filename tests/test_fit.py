"""The training loop: what it learns, keeps, repeats and refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import nn

from napari_equipose.geometry import InputError
from napari_equipose.models import (
    GaussianLikelihood,
    LossTerms,
    Normalisation,
    TargetVAE,
    load_model,
)
from napari_equipose.training import (
    EpochReport,
    TrainingConfig,
    TrainingError,
    checkpoint_path,
    fit,
    train,
)
from napari_equipose.training._batches import split

QUICK = TrainingConfig(epochs=6, batch_size=8, learning_rate=1e-2)


class Level(nn.Module):
    """The smallest trainable model: one grey level."""

    def __init__(self) -> None:
        super().__init__()
        self.grey = nn.Parameter(torch.zeros(()))

    def loss(self, images: torch.Tensor) -> LossTerms:
        error = (images - self.grey).square().mean()
        return LossTerms(error, {"reconstruction": error})


class Noisy(nn.Module):
    """Draws what is there, and learns how noisy it is."""

    def __init__(self) -> None:
        super().__init__()
        self.likelihood = GaussianLikelihood(None)

    def loss(self, images: torch.Tensor) -> LossTerms:
        unlikely = -self.likelihood(torch.zeros_like(images), images).mean()
        return LossTerms(unlikely, {"reconstruction": unlikely})


def epochs(job: Any) -> list[EpochReport]:
    return [report for report in job if isinstance(report, EpochReport)]


def images(n: int = 24) -> torch.Tensor:
    return torch.rand(n, 1, 16, 16, generator=torch.Generator().manual_seed(1))


def test_fit_reports_each_epoch_and_learns() -> None:
    model = Level()
    config = TrainingConfig(epochs=150, batch_size=4, learning_rate=0.1)
    reports = epochs(fit(model, torch.full((20, 1, 4, 4), 3.0), config))
    assert [report.epoch for report in reports] == list(range(1, len(reports) + 1))
    assert model.grey.item() == pytest.approx(3, abs=0.05)
    assert reports[-1].validation_loss < 0.01 < reports[0].validation_loss


def test_noise_is_learned_while_weights_take_small_steps() -> None:
    """From 1 to a twentieth in 80 steps of a rate of 0.01, which moves a weight by less than 1."""
    model = Noisy()
    noise = 0.05 * torch.randn(40, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    epochs(fit(model, noise, replace(QUICK, epochs=16, noise_speedup=10)))
    assert model.likelihood.log_std.exp().item() == pytest.approx(0.05, rel=0.2)


class Held(Level):
    """Keeps whether its content is held, at each step of training."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.seen = False, list[bool]()

    def hold_content(self, held: bool) -> None:
        self.now = held

    def loss(self, images: torch.Tensor) -> LossTerms:
        if self.training:
            self.seen.append(self.now)
        return super().loss(images)


def test_content_is_held_for_its_delay_and_set_free_at_the_end() -> None:
    model = Held()
    job = fit(model, images(), replace(QUICK, epochs=5, content_delay=2, steps_per_epoch=3))
    before = [report for report in epochs(job) if report.best]
    assert model.seen == [True] * 6 + [False] * 9
    assert not model.now
    assert 3 in [report.epoch for report in before]  # with content it is judged anew


def test_where_time_ends_training_the_content_is_held_for_a_share_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = iter(range(10_000))
    monkeypatch.setattr("time.monotonic", lambda: float(next(seconds)))
    model = Held()
    config = replace(QUICK, epochs=1000, content_delay=200, minutes=5, schedule="cosine")
    epochs(fit(model, images(), config))
    assert 0.1 < sum(model.seen) / len(model.seen) < 0.3
    assert model.seen == sorted(model.seen, reverse=True)


def test_training_stops_when_validation_stalls() -> None:
    config = TrainingConfig(
        epochs=500, batch_size=20, learning_rate=0.5, plateau_epochs=2, stop_epochs=6
    )
    noise = torch.randn(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    reports = epochs(fit(Level(), noise, config))
    assert len(reports) < 500
    assert reports[-1].learning_rate < 0.5
    assert not any(report.best for report in reports[-6:])


def test_model_ends_with_its_best_weights() -> None:
    model = Level()
    config = TrainingConfig(epochs=12, batch_size=20, learning_rate=1.0, stop_epochs=500)
    job = fit(model, torch.full((40, 1, 4, 4), 2.5), config)
    best = min(report.validation_loss for report in epochs(job))
    assert (model.grey.item() - 2.5) ** 2 == pytest.approx(best, rel=1e-4)


def test_closed_run_keeps_the_best_weights() -> None:
    model = Level()
    job = fit(model, torch.full((40, 1, 4, 4), 2.5), TrainingConfig(epochs=9, learning_rate=0.1))
    first = next(report for report in job if isinstance(report, EpochReport))
    job.close()
    assert (model.grey.item() - 2.5) ** 2 == pytest.approx(first.validation_loss, rel=1e-4)


def test_seed_repeats_a_run_and_leaves_the_callers_random_numbers() -> None:
    def run(seed: int) -> list[float]:
        config = TrainingConfig(**{**QUICK.__dict__, "seed": seed})
        torch.manual_seed(7)
        from napari_equipose.models import TargetVAE

        job = fit(TargetVAE(tiny.MODEL), images(), config)
        return [report.validation_loss for report in epochs(job)]

    assert run(0) == run(0) != run(1)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    epochs(fit(Level(), images(), QUICK))
    assert torch.rand(1) == expected


def test_resumed_run_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    def start(name: str, resume: bool = False) -> Any:
        return train(
            images(),
            tiny.MODEL,
            QUICK,
            normalisation=Normalisation(),
            output=tmp_path / f"{name}.safetensors",
            device="cpu",
            resume=resume,
        )

    whole = epochs(start("whole"))
    job = start("parts")
    parts = []
    while len(parts) < 3:
        report = next(job)
        if isinstance(report, EpochReport):
            parts.append(report)
    job.close()
    assert checkpoint_path(tmp_path / "parts.safetensors").exists()
    assert load_model(tmp_path / "parts.safetensors").record["epochs"] == 3
    parts += epochs(start("parts", resume=True))
    assert [r.validation_loss for r in parts] == [r.validation_loss for r in whole]
    one, other = (load_model(tmp_path / f"{name}.safetensors") for name in ("whole", "parts"))
    assert one.digest == other.digest
    log = (tmp_path / "parts.log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in log] == ["epoch", "1", "2", "3", "4", "5", "6"]
    assert epochs(start("parts", resume=True)) == []  # it is done: there is nothing to repeat


def test_resuming_with_other_settings_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "m.safetensors"
    options: dict[str, Any] = {"normalisation": Normalisation(), "output": output, "device": "cpu"}
    job = train(images(), tiny.MODEL, QUICK, **options)
    next(report for report in job if isinstance(report, EpochReport))
    job.close()
    with pytest.raises(InputError, match="trained with another images"):
        next(train(images(30), tiny.MODEL, QUICK, resume=True, **options))
    checkpoint_path(output).unlink()
    with pytest.raises(InputError, match="no checkpoint to resume from"):
        next(train(images(), tiny.MODEL, QUICK, resume=True, **options))


class Exploding(Level):
    """Fine for a while, then not a number."""

    steps = 0

    def loss(self, images: torch.Tensor) -> LossTerms:
        self.steps += self.training
        terms = super().loss(images)
        return terms if self.steps < 10 else LossTerms(terms.total * torch.nan, terms.parts)


def test_diverged_training_says_so_and_keeps_the_last_good_weights() -> None:
    model = Exploding()
    job = fit(model, torch.full((40, 1, 4, 4), 2.5), TrainingConfig(epochs=30, batch_size=10))
    with pytest.raises(TrainingError, match=r"diverged.*smaller learning rate"):
        epochs(job)
    assert model.grey.isfinite() and model.grey != 0


@pytest.mark.parametrize("n", [4, 10, 1000])
def test_held_out_images_are_not_trained_on(n: int) -> None:
    trained, held = split(n, TrainingConfig())
    assert sorted([*trained.tolist(), *held.tolist()]) == list(range(n))
    assert len(held) >= 1


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(InputError, match="at least 4 images, got 3"):
        next(fit(Level(), images(3), QUICK))
    with pytest.raises(InputError, match="schedule must be plateau or cosine"):
        TrainingConfig(schedule="linear")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="content_delay is not possible"):
        next(fit(Level(), images(), TrainingConfig(content_delay=2)))
    with pytest.raises(InputError, match="bfloat16 is not possible"):
        next(fit(Level(), images(), TrainingConfig(bfloat16=True)))


def test_bfloat16_is_for_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_equipose.training._fit.multiplies_bfloat16", lambda _: True)
    model = TargetVAE(tiny.MODEL)
    seen = []
    for report in fit(model, images(), replace(QUICK, epochs=2, bfloat16=True)):
        seen.append((model.encoder.in_bfloat16, model.generator.in_bfloat16, type(report)))
    assert (True, True, EpochReport) in seen
    assert not model.encoder.in_bfloat16
    assert not model.generator.in_bfloat16
