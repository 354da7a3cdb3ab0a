"""One limit of time for all of a run: preparation, rounds, and what is done when it goes on."""

from typing import Any

import pytest
import torch
from tiny import MODEL, SETTINGS

from napari_equipose.inference import Notice
from napari_equipose.models import Normalisation
from napari_equipose.simulation import sample_ecoli
from napari_equipose.training import (
    EpochReport,
    StepReport,
    TrainingConfig,
    TrainingRun,
    _fit,
    _rounds,
    _train,
    prepare_images,
    train,
)
from napari_equipose.training._rounds import train_prepared

pytestmark = pytest.mark.usefixtures("one_thread")
SECONDS = 60.0


class Clock:
    """Stands for the time: it passes whenever somebody looks."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(0.15)
    for module in (_fit, _rounds, _train):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture(scope="module")
def prepared() -> Any:
    settings = SETTINGS | {"steps_per_epoch": 3, "validation_images": 8}
    run = TrainingRun(box_size=24, epochs=1000, minutes=SECONDS / 60, settings=settings)
    return prepare_images(run, [sample_ecoli()[0][0][:128, :128]])


def said(reports: list[Any]) -> list[str]:
    return [r.message for r in reports if isinstance(r, Notice) and "limit" in r.message]


@pytest.mark.parametrize("spent", [0.0, 30.0])
def test_both_rounds_and_the_preparation_share_the_limit(tmp_path, clock, prepared, spent) -> None:
    job = train_prepared(prepared, output=tmp_path / "M.safetensors", device="cpu", spent=spent)
    reports, at = [], 0.0
    for report in job:
        reports.append(report)
        if isinstance(report, EpochReport):
            at = clock.now
    assert 0.9 * SECONDS < spent + at < 1.1 * SECONDS
    epochs = [report for report in reports if isinstance(report, EpochReport)]
    assert [report.epoch for report in epochs] == list(range(1, len(epochs) + 1))
    assert {report.epochs for report in epochs} == {1000}
    assert said(reports) == [
        f"the time limit of 1 min ended training after {len(epochs)} of 1000 epochs: the model may "
        "be rough; give it more minutes"
    ]
    told = [r.seconds_left for r in reports if isinstance(r, StepReport | EpochReport)]
    assert max(told) <= SECONDS - spent


def test_a_run_that_is_resumed_has_what_is_left_of_its_limit(tmp_path, clock, prepared) -> None:
    given: Any = {"output": tmp_path / "M.safetensors", "device": "cpu"}
    used, epochs, notices = 0.0, 0, list[str]()
    for stop in (4, 20, 10_000):  # in the first round, in the second, and not at all
        began = clock.now
        job = train_prepared(prepared, **given, resume=epochs > 0)
        for report in job:
            notices += said([report])
            if isinstance(report, EpochReport):
                assert report.epoch == epochs + 1
                epochs, last = report.epoch, clock.now - began
                if epochs == stop:
                    job.close()
                    break
        used += last
    assert epochs > 20
    assert 0.9 * SECONDS < used < 1.15 * SECONDS
    assert len(notices) == 1 and f"1 min ended training after {epochs} of 1000" in notices[0]


def test_a_preparation_that_takes_all_of_the_limit_leaves_a_tenth_to_learn(
    tmp_path, clock, prepared
) -> None:
    job = train_prepared(prepared, output=tmp_path / "M.safetensors", device="cpu", spent=500.0)
    epochs = [report for report in job if isinstance(report, EpochReport)]
    assert 0.05 * SECONDS < clock.now
    assert len(epochs) >= 2
    assert (tmp_path / "M.safetensors").exists()


@pytest.mark.parametrize(("minutes", "told"), [(1e-4, True), (10.0, False)])
def test_a_training_that_its_time_limit_cuts_short_says_so(tmp_path, minutes, told) -> None:
    noise = torch.randn(40, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    config = TrainingConfig(epochs=10_000 if told else 2, schedule="cosine", minutes=minutes)
    given: Any = {"normalisation": Normalisation(), "output": tmp_path / "M.safetensors"}
    reports = list(train(noise, MODEL, config, device="cpu", **given))
    assert [("give it more minutes" in message) for message in said(reports)] == [True] * told
