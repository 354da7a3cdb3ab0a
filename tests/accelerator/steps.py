"""``python -m accelerator.steps OUT.json``: take training steps of every model on the fake.

OUT.json says of each case how often a step waits for the device, how many operations it takes, and
what its losses are, on the CPU as well; `test_training_steps` reads it.
"""

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

from .fake import FakeAccelerator  # isort: split

import torch
from torch import Tensor, nn

from napari_equipose.models import LossTerms, build_model
from napari_equipose.training import StepReport, TrainingConfig, TrainingError, fit

from .cases import ON_MPS, Case, cases


def main(out: Path) -> None:
    """Take all steps, and write what happened."""
    torch.set_num_threads(1)  # boxes are so small that more would wait for each other
    told: dict[str, Any] = {"cuda": {name: _told(case) for name, case in cases().items()}}
    told["mps"] = {name: _told(cases()[name], kind="mps") for name in ON_MPS}
    told["little memory"] = _told(cases()["mce-vae supervised"], _little_memory)
    told["diverging"] = {device: _diverge(device) for device in ("cpu", "cuda")}
    out.write_text(json.dumps(told))


def _told(
    case: Case,
    around: Callable[[], AbstractContextManager[Any]] = nullcontext,
    kind: str = "cuda",
) -> dict[str, Any]:
    try:
        with FakeAccelerator(kind=kind) as device, around():
            losses, counts = _steps(case, kind, device)
        last, before = counts[-1], counts[-2]
        return {
            "error": "",
            "losses": losses,
            "on the cpu": _steps(case, "cpu")[0],
            "waits": last[0] - before[0],
            "launches": last[1] - before[1],
        }
    except Exception:
        return {"error": traceback.format_exc()}


def _steps(
    case: Case, name: str, device: FakeAccelerator | None = None
) -> tuple[list[float], list[tuple[int, int]]]:
    """Losses of steps, and how many waits and operations there were after each."""
    config, training = case.configs()
    images, given = case.data()
    torch.manual_seed(0)
    model: Any = build_model(case.kind, asdict(config))
    losses, counts = [], []
    for report in fit(model.to(name), images, training, report_seconds=-1.0, **given):
        if isinstance(report, StepReport):
            losses.append(report.loss)
            counts.append((device.waits.total(), device.launches.total()) if device else (0, 0))
    return losses, counts


@contextmanager
def _little_memory() -> Iterator[None]:
    """Have a device that holds no boxes; a build for CPUs has no memory that is pinned."""
    full = patch.object(torch.cuda, "mem_get_info", lambda *_: (0, 2**30))
    with full, patch.object(torch.Tensor, "pin_memory", lambda self: self):
        yield


class _Diverging(nn.Module):
    """Fine for two steps; then the loss, or its gradient alone, is not finite."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.grey = nn.Parameter(torch.zeros(()))
        self.what, self.steps = what, 0

    def loss(self, images: Tensor) -> LossTerms:
        """Return the squared error."""
        self.steps += 1
        error = (images - self.grey).square().mean()
        if self.steps > 2:
            still = self.grey - self.grey.detach()
            error = error + (still.abs().sqrt() if self.what == "gradient" else still + torch.inf)
        return LossTerms(error, {"reconstruction": error})


def _diverge(device: str) -> dict[str, tuple[str, float]]:
    """What is said when training diverges, and the weight that is left then."""
    told = {}
    for what in ("loss", "gradient"):
        with FakeAccelerator():
            model = _Diverging(what).to(device)
            said = ""
            config = TrainingConfig(epochs=1, steps_per_epoch=5, batch_size=4, learning_rate=0.1)
            try:
                list(fit(model, torch.ones(12, 1, 4, 4), config))
            except TrainingError as error:
                said = str(error)
            told[what] = said, model.grey.item()
    return told


if __name__ == "__main__":
    main(Path(sys.argv[1]))
