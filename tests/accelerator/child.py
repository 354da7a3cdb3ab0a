"""Tries on the fake accelerator, in a process of their own: the fake must be there before torch."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from .build import CannotBuildError, libraries

_TESTS = Path(__file__).parents[1]


def told_by(module: str, out: Path) -> dict[str, Any]:
    """Run a module of this package, which writes what happened to ``out``; return that.

    Skips the test where there is no fake, which a warning says; where the environment variable CI
    is set, the test fails.
    """
    try:
        libraries()
    except CannotBuildError as reason:
        words = f"nothing was tried on an accelerator: {reason}"
        if os.environ.get("CI"):
            pytest.fail(words)
        warnings.warn(pytest.PytestWarning(words), stacklevel=1)
        pytest.skip(words)
    paths = [str(_TESTS), *sys.path]
    done = subprocess.run(
        [sys.executable, "-m", module, str(out)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(out.read_text())
    return answer
