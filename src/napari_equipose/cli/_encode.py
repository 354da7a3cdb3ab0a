"""``equipose encode``."""

from pathlib import Path
from typing import Annotated

import typer

from ._options import Classes, Device, Json, ModelFile, Quiet, Seed
from ._show import Display


def encode(
    model: ModelFile,
    images: Annotated[
        Path,
        typer.Argument(help="A stack of boxes (.mrcs .mrc .tif .npy .zarr .star), or of volumes."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="T", help="The table: .csv or .star.")
    ],
    classes: Classes = None,
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Infer the pose and the content of every box of a stack."""
    from .. import inference, io
    from ..models import load_model
    from ..training import about
    from ._inputs import check_classes, read_classes
    from ._outputs import Output, check_outputs

    k = read_classes(classes)
    saved = load_model(model)
    stack = io.read_stack(images, dimensions=max(saved.model.capabilities.dimensions))
    check_outputs([Output("-o", output, (".csv", ".star"))], [model, images, *stack.files])
    if stack.table is None:
        io.check_writable(output, [str(images)])
    if isinstance(k, int):
        check_classes(k, len(stack.images))
    display = Display(quiet=quiet, as_json=as_json)
    display.warn(inference.pixel_size_notice(saved, stack.pixel_size, images.name))
    with about(images):
        job = inference.encode(saved, stack.images, device=device)  # type: ignore[arg-type]
        found = display.run(job, "encoding")
    label = found.category if k is None else inference.cluster(found.content, k, seed)
    table = io.pose_table(
        *(found.rotation, found.translation, found.score, found.content, label),
        scale=found.scale,
        contrast=found.contrast,
        brightness=found.brightness,
    )
    io.write_table(output, table, stack=stack)
    values = {"table": str(output), "model": str(model), "digest": saved.digest, "n": len(table)}
    if label is not None:
        values["classes"] = len(set(label.tolist()))
    display.result(f"{output}: poses of {len(table)} boxes", values)
