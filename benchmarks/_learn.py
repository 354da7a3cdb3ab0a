"""Training runs of the benchmarks: one line an epoch, and copies of the model on the way."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from napari_equipose._memory import keep_memory
from napari_equipose.inference import Progress, Watched
from napari_equipose.models import SavedModel
from napari_equipose.training import EpochReport, PreparedRun, TrainingRun, train_prepared


def learn(
    run: TrainingRun, prepared: PreparedRun, output: Path, marks: Sequence[float] = ()
) -> tuple[SavedModel, dict[float, Path]]:
    """Train, and keep the best model so far at each mark.

    Copies are made, not judged, while the clock of the training runs.

    Returns
    -------
    SavedModel
        The best.
    dict
        For each mark that was reached, in minutes, a model file.
    """
    keep_memory()
    copies: dict[float, Path] = {}
    job = Watched(
        train_prepared(
            prepared,
            output=output,
            kind=run.model,
            device=run.device,
            source={"run": asdict(run)},
        )
    )
    message = ""
    for report in job:
        if isinstance(report, Progress) and report.message != message:
            message = report.message
            print(message, file=sys.stderr)
        if not isinstance(report, EpochReport):
            continue
        print(
            f"epoch {report.epoch} of {report.epochs}: loss {report.validation_loss:.2f} "
            f"at {report.seconds / 60:.1f} min",
            file=sys.stderr,
        )
        for mark in marks:
            if mark not in copies and report.seconds >= 60 * mark and output.exists():
                copies[mark] = output.with_name(f"{output.stem}_{mark:g}min.safetensors")
                shutil.copyfile(output, copies[mark])
    return job.result, copies
