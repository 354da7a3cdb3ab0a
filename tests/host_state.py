"""The switches of a process that a library can turn, taken down. Imports nothing of ours."""

import gc
import os
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def elsewhere(work: Callable[[], Any]) -> Any:
    """Do work in a new thread, as another plugin does."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def state() -> dict[str, Any]:
    """Take down all switches of the process that a library can turn."""
    matmul = torch.backends.cuda.matmul
    return {
        # torch's compiler, when it is imported, sets the place of its own cache
        "environment": {k: v for k, v in os.environ.items() if not k.startswith("TORCHINDUCTOR")},
        "garbage": [gc.isenabled(), gc.get_threshold(), gc.get_debug()],
        "threads": [torch.get_num_threads(), elsewhere(torch.get_num_threads)],
        "interop": torch.get_num_interop_threads(),
        "grad": [torch.is_grad_enabled(), elsewhere(torch.is_grad_enabled)],
        "matmul": [matmul.allow_tf32, torch.get_float32_matmul_precision()],
        "cudnn": [
            getattr(torch.backends.cudnn, name)
            for name in ("enabled", "benchmark", "deterministic", "allow_tf32")
        ],
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "default": [str(torch.get_default_dtype()), str(torch.get_default_device())],
        "random": torch.random.get_rng_state().tolist(),
        "numpy": [np.geterr(), np.get_printoptions(), np.random.get_state()[1].tolist()],
        "warnings": [str(entry) for entry in warnings.filters],
        "recursion": [sys.getrecursionlimit(), sys.getswitchinterval()],
    }
