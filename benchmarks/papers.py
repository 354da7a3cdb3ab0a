"""Make a published table again: data, training, measures, beside what the paper says.

    python benchmarks/papers.py TABLE [--systems NAME ...] [--data NAME ...] [--preset fast]
        [--budget MINUTES | --steps N] [--slot MINUTES] [--device auto] [--seed 0]
        [--results docs/results]

TABLE is one of target-vae-1, -2, -3, -dsprites, spatial-vae-1, mce-vae, harmony-1, -2. Each system
is trained for so many minutes, or steps, on each data set, and a row is written into TABLE.md and
TABLE.json in docs/results when it is measured; rows of other runs stay. A training that is stopped,
by hand or at the end of a slot, goes on where it was when the same command is given again, so that
short slots add up. Tables of the same data share the trained models.
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _data import CACHE
from _papers_data import DATA_SETS, DataSet
from _papers_tables import TABLES, System, Table
from _papers_write import write_page
from _report import machine

from napari_equipose._memory import keep_memory
from napari_equipose.evaluation import (
    circular_correlation,
    elbo_per_pixel,
    evaluate_tables,
    reconstruct,
    reconstruction_error,
    rotation_resultant,
    turning_rmse,
)
from napari_equipose.geometry import InputError
from napari_equipose.inference import encode, finish
from napari_equipose.io import pose_table
from napari_equipose.models import SavedModel, load_model, model_kinds
from napari_equipose.training import (
    EpochReport,
    PreparedRun,
    TrainingRun,
    boxes_from_stack,
    checkpoint_path,
    prepare_stack,
    train_prepared,
)

TOLD_APART = (3, 6, 7, 9)
"""Digits that look like themselves in one rotation only."""
SHAPES = {0: 4, 1: 2, 2: 1}
"""Of dSprites, squares, ellipses and hearts: how often each looks the same in a turn."""
_STEPS = 100
"""Of an epoch, where the steps are counted."""
_DRAWN = 2_000
"""Test images that are drawn again."""


class SlotOver(Exception):
    """The time of this slot ended before the training did."""


def training_run(
    system: System, data: str, arguments: argparse.Namespace, output: Path
) -> TrainingRun:
    """Put together what a person would choose."""
    settings = system.settings | system.settings_on.get(data, {})
    if arguments.preset == "fast":
        settings |= system.fast
    if arguments.steps is not None:
        settings |= {"steps_per_epoch": _STEPS, "epochs": -(-arguments.steps // _STEPS)}
    return TrainingRun(
        images=(data,),
        output=output.name,
        model=system.kind,
        preset=arguments.preset,
        content_dim=system.content_dim,
        minutes=arguments.budget,
        seed=arguments.seed,
        device=arguments.device,
        settings=settings,
    )


def prepared(run: TrainingRun, system: System, data: DataSet) -> PreparedRun:
    """Make boxes and configurations."""
    if data.normalisation is None:
        return prepare_stack(run, data.train, data.at_rest if system.at_rest else None)
    boxes, positions = boxes_from_stack(data.train, data.normalisation)
    model, training = run.configurations(
        box_size=data.train.shape[-1],
        channels=1,
        n_images=len(boxes),
        likelihood="gaussian",
    )
    return PreparedRun(boxes, model, training, data.normalisation, positions)


def trained(run: TrainingRun, made: PreparedRun, output: Path, slot_end: float) -> SavedModel:
    """Train, go on with a training that stopped, or recall one that is done.

    Raises
    ------
    SlotOver
        If there is more to do.
    """
    settings = json.loads(json.dumps(asdict(run)))
    begun = checkpoint_path(output).exists()
    if output.exists() and not begun:
        saved = load_model(output)
        before = saved.record["source"].get("run", {})
        alike = all(settings.get(name) == value for name, value in before.items())
        if saved.record.get("epochs") and before and alike:
            return saved
    job = train_prepared(
        made,
        output=output,
        kind=run.model,
        device=run.device,
        resume=begun,
        source={"run": settings},
    )
    for report in _until(job, slot_end):
        if isinstance(report, EpochReport):
            print(
                f"  epoch {report.epoch}: loss {report.validation_loss:.2f} "
                f"at {report.seconds / 60:.1f} min",
                file=sys.stderr,
            )
    if checkpoint_path(output).exists():
        raise SlotOver
    return load_model(output)


def _until(job: Any, end: float) -> Iterator[Any]:
    with closing(job):
        for report in job:
            yield report
            if time.monotonic() > end:
                return


def measured(saved: SavedModel, data: DataSet, table: Table, device: str) -> dict[str, float]:
    """Take all measures that a table wants of a model."""
    found = finish(encode(saved, data.test, device=device))
    poses = pose_table(
        *(found.rotation, found.translation, found.score, found.content, found.category),
        scale=found.scale,
        contrast=found.contrast,
    )
    result = evaluate_tables(poses, data.truth)
    result |= result.pop("factor_correlation", {})
    wanted = set(table.measures)
    if wanted & {"resultant_3679", "resultant_modulo_180", "resultant_of_shapes"}:
        error = found.rotation - np.radians(data.truth["rotation"])
        result["resultant_modulo_180"] = rotation_resultant(error, 2).overall
    if "resultant_3679" in wanted:
        by_digit = rotation_resultant(error, 1, data.truth["class"]).by_group
        result["resultant_3679"] = float(np.mean([by_digit[digit] for digit in TOLD_APART]))
    if "resultant_of_shapes" in wanted:
        shapes = data.truth["class"].to_numpy()
        kinds = [rotation_resultant(error[shapes == s], n).overall for s, n in SHAPES.items()]
        result["resultant_of_shapes"] = float(np.mean(kinds))
    if "circular_correlation_from_rest" in wanted and "rotation" in saved.model.capabilities.infers:
        assert data.test_at_rest is not None
        still = finish(encode(saved, data.test_at_rest(), device=device)).rotation
        turned = np.radians(data.truth["rotation"].to_numpy())
        result["circular_correlation_from_rest"] = circular_correlation(
            found.rotation - still, turned
        )
    if wanted & {"squared_error", "cross_entropy", "elbo_per_pixel"}:
        result |= _drawn(saved, data, bound="elbo_per_pixel" in wanted)
    if wanted & {"rmse_deg", "rmse_3679_deg"}:
        result |= _turned(saved, data, device)
    infers = saved.model.capabilities.infers
    dropped = [name for name in ("rotation", "translation") if name not in infers]
    return {
        name: float(result[name])
        for name in table.measures
        if name in result
        and not any(word in name for word in dropped)
        and not (name.startswith(("circular_", "resultant_")) and "rotation" in dropped)
    }


def _drawn(saved: SavedModel, data: DataSet, bound: bool) -> dict[str, float]:
    """Compare images with what is drawn of them."""
    assert isinstance(saved.model, torch.nn.Module)
    device = next(saved.model.parameters()).device
    stack = saved.normalisation.of_stack(data.test[:_DRAWN, None])
    images = torch.from_numpy(stack).to(device)
    drawn = reconstruct(saved.model, images)
    result = {"squared_error": reconstruction_error(drawn, images)}
    if 0 <= images.min() and images.max() <= 1:
        limited = drawn.clamp(1e-3, 1 - 1e-3)
        result["cross_entropy"] = reconstruction_error(limited, images, "cross-entropy")
    if bound:
        result["elbo_per_pixel"] = elbo_per_pixel(saved.model, images)
    return result


def _turned(saved: SavedModel, data: DataSet, device: str) -> dict[str, float]:
    assert data.turns is not None
    images, turned, labels = data.turns()
    stack = images.reshape(-1, *images.shape[2:])
    rotation = finish(encode(saved, stack, device=device)).rotation.reshape(images.shape[:2])
    rmse = turning_rmse(rotation[:, 1:], turned, rotation[:, 0])
    by_digit = [float(rmse[labels == digit].mean()) for digit in range(10)]
    told_apart = [by_digit[digit] for digit in TOLD_APART]
    return {"rmse_deg": float(np.mean(by_digit)), "rmse_3679_deg": float(np.mean(told_apart))}


def add_row(
    results: Path, name: str, row: dict[str, Any], key: tuple[str, ...] = ("data", "system")
) -> None:
    """Put a row into the table's JSON, in place of an older one, and write the page anew."""
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"{name}.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    key = (*key, "preset", "seed")
    rows = [old for old in rows if any(old[part] != row[part] for part in key)]
    rows.append(json.loads(json.dumps(row, default=str)))
    table = TABLES[name]
    order = list(table.systems)
    rows.sort(key=lambda r: (table.data.index(r["data"]), order.index(r["system"])))
    path.write_text(json.dumps({"table": name, "rows": rows}, indent=1) + "\n")
    (results / f"{name}.md").write_text(write_page(table, rows))


def steps_of(record: dict[str, Any]) -> int:
    """How many steps of training a record tells of; the last epoch may have been cut short."""
    config = record["training"]
    held = min(config["validation_fraction"] * record["images"], config["validation_images"])
    passes = -(-(record["images"] - int(held)) // config["batch_size"])
    return int(record["epochs"] * (config["steps_per_epoch"] or passes))


def command_of(arguments: argparse.Namespace, data: str, label: str) -> str:
    """Write down what makes this row again."""
    words = ["python", "benchmarks/papers.py", arguments.table, "--systems", label, "--data", data]
    words += ["--preset", arguments.preset, "--seed", str(arguments.seed)]
    if arguments.budget is not None:
        words += ["--budget", f"{arguments.budget:g}"]
    if arguments.steps is not None:
        words += ["--steps", str(arguments.steps)]
    return shlex.join(words)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--systems", nargs="*", help="all by default")
    parser.add_argument("--data", nargs="*", help="all data sets of the table by default")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--budget", type=float, help="minutes of training a system, in all")
    parser.add_argument("--steps", type=int, help="of training a system, however long they take")
    parser.add_argument("--slot", type=float, default=float("inf"), help="minutes, this time")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=CACHE.parents[1] / "docs" / "results")
    arguments = parser.parse_args()
    table = TABLES[arguments.table]
    for option, known in (("systems", table.systems), ("data", table.data)):
        chosen = getattr(arguments, option) or list(known)
        if unknown := sorted(set(chosen) - set(known)):
            parser.error(f"--{option}: {', '.join(unknown)} not among {', '.join(known)}")
        setattr(arguments, option, chosen)
    return arguments


def main() -> None:
    """Train and measure the systems that were asked for."""
    arguments = parsed()
    table = TABLES[arguments.table]
    end = time.monotonic() + 60 * arguments.slot
    keep_memory()
    folder = CACHE / "papers"
    folder.mkdir(parents=True, exist_ok=True)
    for data_name in arguments.data:
        data = DATA_SETS[data_name](arguments.seed)
        for label in arguments.systems:
            system = table.systems[label]
            if system.kind not in model_kinds():
                print(f"{label}: there is no kind of model {system.kind}", file=sys.stderr)
                continue
            print(f"{label} on {data_name}", file=sys.stderr)
            name = f"{data_name}_{label}_{system.content_dim}_{arguments.preset}_{arguments.seed}"
            output = folder / f"{''.join(c if c.isalnum() else '-' for c in name)}.safetensors"
            try:
                run = training_run(system, data_name, arguments, output)
                saved = trained(run, prepared(run, system, data), output, end)
            except SlotOver:
                print("the slot is over: give the same command again to go on", file=sys.stderr)
                return
            except InputError as error:
                print(f"{label} on {data_name}: {error}", file=sys.stderr)
                continue
            row = {
                "data": data_name,
                "system": label,
                "preset": arguments.preset,
                "seed": arguments.seed,
                "minutes": round(saved.record["seconds"] / 60, 1),
                "steps": steps_of(saved.record),
                "command": command_of(arguments, data_name, label),
                "date": datetime.now(UTC).date().isoformat(),
                "machine": machine(),
                "measures": measured(saved, data, table, arguments.device),
            }
            add_row(arguments.results, arguments.table, row)
            print(json.dumps(row["measures"]), file=sys.stderr)


if __name__ == "__main__":
    main()
