"""What the benchmarks share: the machine they ran on, a peer, and how results are printed."""

import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from skimage.feature import blob_log

from napari_equipose.evaluation import PickScores, average_precision, best_f1


class Peer(NamedTuple):
    """The best that `skimage.feature.blob_log` can do, told the truth to choose its settings."""

    scores: PickScores
    average_precision: float
    sigma: float
    dark: bool


def blob_log_peer(
    image: npt.NDArray[Any],
    box_size: int,
    truth: npt.NDArray[Any],
    tolerance: float,
    counted: Callable[[npt.NDArray[Any]], npt.NDArray[np.bool_]] | None = None,
) -> Peer:
    """Run blob_log at sizes about the box size, and keep its best threshold, size and polarity.

    The slow changes of the image are removed first, as for our own candidates, since blob_log
    has no means against them. ``counted`` says which of its blobs count, if not all do.
    """
    flat = image.astype(np.float64)
    flat -= ndimage.gaussian_filter(flat, box_size)
    flat = np.clip(flat, *np.percentile(flat, (0.1, 99.9))) / flat.std()
    best = Peer(PickScores(0.0, 0.0, 0.0), 0.0, np.nan, False)
    for dark in (False, True):
        signed = -flat if dark else flat
        for sigma in box_size / np.array([20, 16, 12, 10, 8, 6, 5, 4]):
            blobs = blob_log(signed, sigma, sigma, 1, threshold=0, overlap=0.5)
            found = blobs[:, :2]
            if counted is not None:
                found = found[counted(found)]
            response = -ndimage.gaussian_laplace(signed, sigma)
            score = response[tuple(found.astype(int).T)]
            scores = best_f1(found, score, truth, tolerance)
            if scores.f1 > best.scores.f1:
                precision = average_precision(found, score, truth, tolerance)
                best = Peer(scores, precision, float(sigma), dark)
    return best


def machine() -> dict[str, Any]:
    """Describe where a benchmark ran."""
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print rows of the same columns, aligned."""
    if not rows:
        return
    columns = list(rows[0])
    cells = [columns, *([_text(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)))


def print_json(name: str, results: dict[str, Any]) -> None:
    """Print everything on one line, for other programs."""
    print(json.dumps(_plain({"benchmark": name, "machine": machine(), **results}), allow_nan=False))


def _text(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """Make what JSON can hold: what is not a number becomes null."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)
