"""Training steps on an accelerator: they wait for it once, and do what they do on the CPU."""

from typing import Any

import pytest
from accelerator.cases import ON_MPS, cases
from accelerator.child import told_by


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return told_by("accelerator.steps", tmp_path_factory.mktemp("steps") / "told.json")


@pytest.mark.parametrize(
    ("kind", "name"), [("cuda", name) for name in cases()] + [("mps", name) for name in ON_MPS]
)
def test_a_step_waits_for_the_device_once(told: dict[str, Any], kind: str, name: str) -> None:
    step = told[kind][name]
    assert not step["error"], step["error"]
    assert step["launches"] > 50, "it was not taken on the device"
    assert step["waits"] == 1
    # not every device multiplies in bfloat16, where that is wanted
    assert step["losses"] == pytest.approx(step["on the cpu"], rel=2e-4)


def test_boxes_that_the_device_does_not_hold_are_copied_batch_by_batch(
    told: dict[str, Any],
) -> None:
    kept, copied = told["cuda"]["mce-vae supervised"], told["little memory"]
    assert not copied["error"], copied["error"]
    assert copied["losses"] == kept["losses"]
    assert copied["waits"] == kept["waits"] + 2  # for the images, and for the targets


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_step_that_is_not_finite_is_not_taken(told: dict[str, Any], what: str) -> None:
    said, weight = told["diverging"]["cuda"][what]
    assert "diverged" in said
    assert weight == pytest.approx(0.2, abs=0.001)  # after the two steps that were fine
    assert told["diverging"]["cpu"][what] == [said, weight]
