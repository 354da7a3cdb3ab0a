"""Presets follow the number of images without a jump."""

from dataclasses import asdict
from typing import Any

import pytest

from napari_equipose.training import TrainingRun

KINDS = ("target-vae", "spatial-vae", "mce-vae", "vae", "beta-vae")
SIZES = [round(50 * 1.1**step) for step in range(75)]  # to 57,000


def settings(model: str, preset: str, likelihood: str, n: int) -> dict[str, Any]:
    """All settings of the network and of its training, and how many steps there are in all."""
    run = TrainingRun(model=model, preset=preset)  # type: ignore[arg-type]
    configs = run.configurations(box_size=40, channels=1, n_images=n, likelihood=likelihood)
    network, training = map(asdict, configs)
    return network | training | {"steps": training["epochs"] * training["steps_per_epoch"]}


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("preset", ["fast", "balanced"])
@pytest.mark.parametrize("model", KINDS)
def test_a_tenth_more_images_change_no_setting_by_much(
    model: str, preset: str, likelihood: str
) -> None:
    if (model, preset) == ("mce-vae", "balanced"):
        pytest.skip("mce-vae has no such preset")
    before = settings(model, preset, likelihood, SIZES[0])
    for n in SIZES[1:]:
        after = settings(model, preset, likelihood, n)
        for name, value in after.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                near = 0.8 * before[name] < value < 1.25 * before[name]
                assert near or value == before[name] or name == "content_delay", (name, n)
            else:
                assert value == before[name], (name, n)
        held = after["content_delay"] / after["epochs"]  # whole epochs
        assert abs(held - before["content_delay"] / before["epochs"]) < 0.1, n
        before = after


@pytest.mark.parametrize("model", KINDS)
def test_many_images_are_all_passed_over_several_times(model: str) -> None:
    for n in (500, 60_000):
        told = settings(model, "fast", "gaussian", n)
        assert told["steps"] * told["batch_size"] >= 7 * n
        assert told["steps"] >= 1500


@pytest.mark.parametrize("given", [{"epochs": 5}, {"settings": {"epochs": 5}}])
def test_of_few_epochs_the_content_is_held_for_a_share(given: dict[str, Any]) -> None:
    run = TrainingRun(model="spatial-vae", **given)
    kind = {"box_size": 40, "channels": 1, "n_images": 500, "likelihood": "gaussian"}
    _, training = run.configurations(**kind)  # type: ignore[arg-type]
    assert (training.epochs, training.content_delay) == (5, 1)
    told = TrainingRun(model="spatial-vae", epochs=5, settings={"content_delay": 3})
    assert told.configurations(**kind)[1].content_delay == 3  # type: ignore[arg-type]
    short = TrainingRun(model="spatial-vae", epochs=1)
    assert short.configurations(**kind)[1].content_delay == 0  # type: ignore[arg-type]
