"""``equipose detect``."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._options import Classes, Device, Json, ModelFile, Quiet, Seed, TiltAxis, TiltRange
from ._show import Display

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..inference import Notice, Picks, Picks3D, Progress

SUFFIXES = (".csv", ".star")


def detect(
    model: ModelFile,
    images: Annotated[
        list[Path],
        typer.Argument(help="Large images; for a model of volumes, tomograms.", metavar="IMAGE..."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="The table of one image (.csv or .star), or a folder for one table an image.",
        ),
    ],
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Leave out objects of a lower score; a score is at most 1. By default what the "
            "model's training images suggest."
        ),
    ] = None,
    table_format: Annotated[
        str | None,
        typer.Option("--format", metavar="csv|star", help="Of the tables in a folder; csv."),
    ] = None,
    classes: Classes = None,
    tilt_range: TiltRange = None,
    tilt_axis: TiltAxis = None,
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Find every object of large images or tomograms: position, rotation, score and content.

    The tilt range of tomograms is by default that which the model was trained with.
    """
    import numpy as np

    from .. import inference, io
    from ..geometry import InputError, MissingWedge, check_limits
    from ..models import load_model
    from ..training import about, read_large_image, read_volume
    from ._inputs import read_classes, tilt_settings
    from ._outputs import Output, check_outputs

    tables = table_paths(images, output, table_format)
    check_outputs([Output("-o", table) for table in tables], [model, *images])
    for name, table in zip(images, tables, strict=True):
        io.check_writable(table, [str(name)])
    k, tilts = read_classes(classes), tilt_settings(tilt_range, tilt_axis)
    saved = load_model(model)
    config = inference.DetectionConfig()
    if threshold is not None:
        check_limits({"threshold": threshold})
        config = replace(config, threshold=threshold)
    display = Display(quiet=quiet, as_json=as_json)

    in_space = 3 in saved.model.capabilities.dimensions
    if tilts and not in_space:
        raise InputError("a tilt range is of volumes, and the model is of images.")
    wedge = MissingWedge(**tilts) if tilts else None

    def write(
        name: Path,
        path: Path,
        picks: "Picks | Picks3D",
        label: "NDArray[np.integer] | None" = None,
    ) -> None:
        table = io.pick_table(
            str(name), picks.positions, picks.rotation, picks.score, picks.content, label
        )
        io.write_table(path, table, pixel_size=pixel_size[name])

    def job(data: "NDArray[Any]") -> "Generator[Progress | Notice, None, Picks | Picks3D]":
        if in_space:
            return inference.detect_volume(saved, data, config, wedge=wedge, device=device)
        return inference.detect(saved, data, config, device=device)

    pixel_size: dict[Path, float | None] = {}
    found: dict[Path, Picks | Picks3D] = {}
    failed: dict[str, str] = {}
    for name, path in zip(images, tables, strict=True):
        try:
            image = read_volume(name) if in_space else read_large_image(name)
            pixel_size[name] = image.pixel_size
            with about(name):
                work = job(image.data)
                display.warn(inference.pixel_size_notice(saved, image.pixel_size, name.name))
                picks = display.run(work, name.name)
            write(name, path, picks)  # at once, so that an interrupt keeps it
            found[name] = picks
        except (InputError, OSError) as error:
            if len(images) == 1 or (isinstance(error, OSError) and error.filename is None):
                raise
            failed[str(name)] = str(error)
    if not found:
        why = " ".join(failed.values())
        raise InputError(f"none of {len(images)} images could be done: {why}")
    done = [(name, path) for name, path in zip(images, tables, strict=True) if name in found]
    content = np.concatenate([picks.content for picks in found.values()])
    if k is not None and len(content):
        # Over all images, so that a class is the same in each.
        labels = inference.cluster(content, k, seed)
        ends = np.cumsum([len(picks.content) for picks in found.values()])
        parts = np.split(labels, ends[:-1])
        for (name, path), label in zip(done, parts, strict=True):
            write(name, path, found[name], label)
    lines = [f"{path}: {len(found[name].positions)} objects in {name}" for name, path in done]
    listed = [
        {"image": str(name), "table": str(path), "n": len(found[name].positions)}
        for name, path in done
    ]
    if threshold is None:
        threshold = saved.record.get("threshold")  # what the training images suggest
    values: dict[str, Any] = {"model": str(model), "digest": saved.digest}
    values |= {"threshold": threshold, "tables": listed}
    display.result("\n".join(lines), values, failed=failed, of=len(images))


def table_paths(images: list[Path], output: Path, table_format: str | None) -> list[Path]:
    """Where the table of each image goes.

    One image and a suffix of a table: the table itself; else a folder with one table an image.

    Raises
    ------
    InputError
        If the format is not known, or two images would share a table.
    """
    from ..geometry import InputError
    from ..io import TABLE_SUFFIXES

    if table_format not in (None, "csv", "star"):
        raise InputError(f"--format must be csv or star, got {table_format!r}.")
    suffix = output.suffix.lower()
    if len(images) == 1 and suffix in SUFFIXES:
        if table_format is not None and suffix != f".{table_format}":
            raise InputError(f"-o {output} and --format {table_format} contradict each other.")
        if output.is_dir():
            raise InputError(f"-o {output} is a folder; name the table to write in it.")
        return [output]
    if suffix in SUFFIXES and not output.is_dir():
        raise InputError(
            f"-o {output} names one table, and there are {len(images)} images: name a folder for "
            "their tables."
        )
    if suffix in TABLE_SUFFIXES and suffix not in SUFFIXES:
        raise InputError(f"-o {output}: tables are written as {' or '.join(SUFFIXES)}.")
    if output.exists() and not output.is_dir():
        raise InputError(f"-o {output} is a file; name a folder for the tables.")
    tables = [output / f"{image.stem}.{table_format or 'csv'}" for image in images]
    for image, table in zip(images, tables, strict=True):
        if tables.count(table) > 1:
            raise InputError(
                f"{image} and another image would both write {table}; detect them apart."
            )
    return tables
