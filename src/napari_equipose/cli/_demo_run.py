"""The demo's job: from the bundled image to everything in its output folder."""

from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import __version__, io
from ..geometry import extract_boxes
from ..inference import (
    DetectionConfig,
    Notice,
    Picks,
    Progress,
    average,
    bring_to_rest,
    detect,
    long_axis,
)
from ..models import SavedModel
from ..simulation import sample_path
from ..training import EpochReport, StepReport, TrainingRun, prepare_images, train_prepared
from ._overlay import draw_overlay

IMAGE = "ecoli_phase_contrast.tif"
BOX_SIZE = 32


class DemoResult(NamedTuple):
    """What the demo found and where it is."""

    image: NDArray[Any]
    name: str
    picks: Picks
    axis: float
    """Angle of the long axis of the mean object at rest, radians."""
    n_boxes: int
    digest: str
    files: dict[str, Path]
    """What each file is, and the file."""
    metadata: dict[str, Any]


def demo_files(output: Path) -> dict[str, Path]:
    """Say what each file is that the demo writes into a folder."""
    return {
        "the trained model": output / "model.safetensors",
        "position, rotation, score and content of each object": output / "objects.csv",
        "the objects, cut out and turned to rest": output / "aligned.mrcs",
        "their average": output / "average.mrc",
        "the image with every object and its direction": output / "overlay.png",
    }


def run_demo(
    output: Path, *, minutes: float = 2.5, device: str = "auto", seed: int = 0
) -> Generator[Progress | StepReport | EpochReport | Notice, None, DemoResult]:
    """Propose, train, detect and align on the bundled image, without labels.

    Parameters
    ----------
    output : Path
        Folder for what is made.
    minutes : float
        Limit of the training.
    device : str
        As for `models.choose_device`.
    seed : int

    Yields
    ------
    Progress, StepReport, EpochReport or Notice

    Returns
    -------
    DemoResult
    """
    path = sample_path(IMAGE)
    image = io.read_image(path).data
    files = demo_files(output)
    model_file, table_file, aligned_file, average_file, overlay_file = files.values()
    yield Progress(0, 1, "proposing candidates")
    run = TrainingRun(
        images=(path.name,),
        output=model_file.name,
        preset="fast",
        box_size=BOX_SIZE,
        minutes=minutes,
        device=device,
        seed=seed,
    )
    prepared = prepare_images(run, [image])
    saved = yield from train_prepared(
        prepared,
        output=model_file,
        device=device,
        source={"run": asdict(run)},
    )
    config = DetectionConfig()
    picks = yield from detect(saved, image, config, device=device)
    table = io.pick_table(path.name, picks.positions, picks.rotation, picks.score, picks.content)
    io.write_table(table_file, table)
    yield Progress(0, 1, "aligning")
    if len(picks.positions):
        aligned = align_picks(image, picks, BOX_SIZE)
        io.write_mrc(aligned_file, aligned)
        io.write_mrc(average_file, average(aligned))
    axis = long_axis(saved, picks.content)
    draw_overlay(overlay_file, image, picks, axis)
    metadata = provenance(saved, asdict(run) | {"detection": asdict(config)})
    n_boxes = len(prepared.boxes)
    return DemoResult(image, path.stem, picks, axis, n_boxes, saved.digest, files, metadata)


def align_picks(image: NDArray[Any], picks: Picks, box_size: int) -> NDArray[np.float32]:
    """Cut a box (y, x) around each pick of a grey image and turn it to rest."""
    boxes = extract_boxes(image, picks.positions, box_size)[:, 0]
    whole = np.floor(picks.positions + 0.5)  # what `extract_boxes` centres on
    return bring_to_rest(boxes, picks.rotation, picks.positions - whole)


def provenance(saved: SavedModel, settings: dict[str, Any]) -> dict[str, Any]:
    """Make the metadata by which a layer can be traced and repeated."""
    return {"equipose": {"model": saved.digest, "config": settings, "version": __version__}}
