"""Every flow of every model on an accelerator: on a fake one, and on a real one where there is one.

The fake enforces the rules of devices that a CPU does not have; see `accelerator.fake`. It is built
with the compiler of the system, on Linux. Where it can't be, that is said in a warning, and these
tests are skipped; where the environment variable CI is set, they fail.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerator import rules
from accelerator.child import told_by
from accelerator.flows import apart, flows, kinds_of, quickly


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happened on the fake accelerator."""
    return told_by("accelerator", tmp_path_factory.mktemp("accelerator") / "told.json")


@pytest.mark.parametrize("line", rules.REFUSED + rules.REFUSED_BY_MPS)
def test_the_fake_refuses_what_a_device_refuses(told: dict[str, Any], line: str) -> None:
    said = told["rules"][line]
    assert said and not said.startswith("another error"), said


@pytest.mark.parametrize("line", rules.ALLOWED + rules.ALLOWED_BY_MPS)
def test_the_fake_allows_what_a_device_allows(told: dict[str, Any], line: str) -> None:
    assert told["rules"][line] == ""


def test_the_fake_counts_waits(told: dict[str, Any]) -> None:
    assert told["waits"] == rules.WAITS


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in flows() for kind in kinds_of(name)]
)
def test_a_flow_on_the_fake_does_the_work_of_the_cpu(
    told: dict[str, Any], name: str, kind: str
) -> None:
    happened = told["flows"][name][kind]
    assert not happened["error"], happened["error"]
    assert not happened["faults"]
    assert happened["launches"] > 20, "it was not done on the device"
    assert not happened["apart"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("name", flows())
def test_a_flow_on_a_gpu(name: str, tmp_path: Path, one_thread: None) -> None:
    with quickly():
        (tmp_path / "cpu").mkdir()
        expected = flows()[name]("cpu", tmp_path / "cpu")
        got = flows()[name]("cuda", tmp_path)
    if name.split()[0] in ("train", "resume"):  # with random numbers of its own
        assert all(value.shape == got[key].shape for key, value in expected.items())
    else:
        assert not apart(name, got, expected)
