"""``python -m accelerator OUT.json``: do all flows on the CPU and on the fake accelerator.

A process of its own, because the fake must be there before torch is. OUT.json says of each rule
and each flow what happened; `test_accelerator` reads it.
"""

import json
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from .fake import FakeAccelerator  # isort: split

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from . import rules
from .flows import Flow, Results, apart, flows, kinds_of, quickly


def main(out: Path) -> None:
    """Do everything, and write what happened."""
    torch.set_num_threads(1)  # boxes are so small that more would wait for each other
    warnings.simplefilter("ignore")
    told: dict[str, Any] = {"rules": {}, "waits": {}, "flows": {}}
    for kind, lines in (
        ("cuda", rules.REFUSED + rules.ALLOWED),
        ("mps", rules.REFUSED_BY_MPS + rules.ALLOWED_BY_MPS),
    ):
        told["rules"] |= {line: _try(line, kind)[0] for line in lines}
    told["waits"] = {line: _try(line, "cuda")[1] for line in rules.WAITS}
    with quickly():
        for name, flow in flows().items():
            told["flows"][name] = _compare(name, flow)
    out.write_text(json.dumps(told))


def _try(line: str, kind: str) -> tuple[str, int]:
    """Do a line; return how it was refused, or nothing, and how often it waited."""
    with FakeAccelerator(kind=kind) as device:
        c1, c0 = torch.ones(3), torch.tensor(2.0)
        names = {"c1": c1, "c0": c0, "g1": c1.to(kind), "g0": c0.to(kind)}
        names |= {"images": torch.zeros(2, 1, 6, 6, device=kind)}
        names |= {"np": np, "torch": torch, "F": F, "nn": nn}
        device.waits.clear()
        try:
            eval(line, names)
        except Exception as error:
            return (str(error) if device.faults else f"another error: {error}"), 0
    return "", device.waits.total()


def _compare(name: str, flow: Flow) -> dict[str, Any]:
    """Do a flow on the CPU, on a fake CUDA device and on a fake MPS device."""
    expected = _done(flow, "cpu")
    assert isinstance(expected, dict), expected
    told: dict[str, Any] = {}
    for kind in kinds_of(name):
        with FakeAccelerator(kind=kind) as device:
            began = time.perf_counter()
            got = _done(flow, kind)
        told[kind] = {
            "error": got if isinstance(got, str) else "",
            "apart": {} if isinstance(got, str) else apart(name, got, expected),
            "seconds": time.perf_counter() - began,
            "launches": device.launches.total(),
            "waits": device.waits.total(),
            "faults": _by_line(device.faults),
        }
    return told


def _done(flow: Flow, device: str) -> Results | str:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return flow(device, Path(folder))
        except Exception:
            return traceback.format_exc()


def _by_line(faults: Counter[tuple[str, str]]) -> dict[str, str]:
    return dict(faults.keys())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
