"""``equipose train``."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._options import Json, Quiet, TiltAxis, TiltRange
from ._show import Display

if TYPE_CHECKING:
    from ..training import TrainingRun
    from ._outputs import Output


def train(
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            help="A stack of boxes (.mrcs .mrc .tif .npy .zarr .star), of images or volumes; or "
            "with --box-size one or more large images, for harmony tomograms.",
            metavar="IMAGES",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="M.safetensors", help="The model file to write."),
    ] = None,
    box_size: Annotated[
        int | None,
        typer.Option(
            min=8,
            help="Find objects in large images or tomograms. Side in pixels of a square that holds "
            "one object with a little room. A model of images then has boxes a quarter larger: 40 "
            "pixels for 32.",
        ),
    ] = None,
    polarity: Annotated[
        str | None,
        typer.Option(metavar="either|dark|bright", help="Of the objects in large images."),
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option(
            metavar="PICKS",
            help="A table of a few objects in the large images, 1 to 5 are enough, that shows "
            "which objects are meant: columns y and x in pixels, and image where there are "
            "several (.csv .star .box .cbox .coords .txt). By default the objects are those that "
            "recur most.",
        ),
    ] = None,
    pixel_size: Annotated[
        float | None,
        typer.Option(
            metavar="ANGSTROM",
            help="Of all images, whatever their files say; the model file keeps it, and commands "
            "warn of images of another.",
        ),
    ] = None,
    likelihood: Annotated[
        str | None,
        typer.Option(
            metavar="auto|bernoulli|gaussian",
            help="bernoulli for pixels that are off or on, gaussian for real-valued ones.",
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="KIND",
            help="target-vae (as usual), harmony, spatial-vae, mce-vae, vae or beta-vae; or one "
            "that another package adds. The page on models of the manual (docs/models.md, F1 in "
            "napari) says which is for what, and which boxes each takes.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(metavar="fast|balanced|paper", help="harmony and mce-vae have no balanced."),
    ] = None,
    content_dim: Annotated[
        int | None, typer.Option(min=1, help="Dimensions of the content.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after so many, with the best model so far.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any field of the configuration of the model or of its training; repeatable.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A run file (JSON); options here go before it."),
    ] = None,
    save_config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write this run's settings as a run file.")
    ] = None,
    targets: Annotated[
        Path | None,
        typer.Option(
            metavar="ALIGNED_STACK",
            help="The same objects, aligned, for a model that can be supervised: mce-vae.",
        ),
    ] = None,
    ctf: Annotated[
        bool,
        typer.Option("--ctf", help="Apply the CTF in a STAR file to what is drawn."),
    ] = False,
    tilt_range: TiltRange = None,
    tilt_axis: TiltAxis = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that stopped.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the model file if there is one.")
    ] = False,
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:1, mps.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of all that is random; on the CPU it repeats a run.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Learn objects from a stack of boxes, or from large images or tomograms, without labels.

    Writes the model file M.safetensors, always the best so far, M.log.csv with one row an epoch,
    and the folder M.run with all that is needed to go on or to do it again: after an interrupt
    'equipose train -o M.safetensors --resume' goes on, and 'equipose train --config
    M.run/run.json -o NEW.safetensors' repeats the run. A model that is there is not replaced
    unless --overwrite is given.
    """
    from .. import training
    from ..geometry import InputError
    from ..models import choose_device
    from ._inputs import tilt_settings
    from ._outputs import Output, check_new_model, check_outputs

    options: dict[str, Any] = {
        "images": tuple(map(str, images)) if images else None,
        "output": str(output) if output else None,
        "model": kind,
        "preset": preset,
        "box_size": box_size,
        "polarity": polarity,
        "examples": str(examples) if examples else None,
        "pixel_size": pixel_size,
        "likelihood": likelihood,
        "content_dim": content_dim,
        "epochs": epochs,
        "minutes": minutes,
        "seed": seed,
        "device": device,
        "targets": str(targets) if targets else None,
        "ctf": ctf or None,
    }
    if resume and config is None and output is not None:
        before = training.RunFolder.of(output).run_file
        config = before if before.is_file() else None
    options = {name: value for name, value in options.items() if value is not None}
    more = read_settings(settings or []) | tilt_settings(tilt_range, tilt_axis)
    if config is None:
        run = training.TrainingRun(**options, settings=more)
    else:
        run = training.read_run(config)
        run = replace(run, **options, settings={**run.settings, **more})
    _check_names(run)
    target = Path(run.output)
    written = model_outputs(target)
    if save_config is not None:
        written.append(Output("--save-config", save_config))
    check_outputs(written, [*_read_by(run), *([config] if config else [])])
    check_new_model(target, resume=resume, overwrite=overwrite)
    choose_device(run.device)
    if save_config is not None:
        training.write_run(save_config, run)
    if resume and not training.RunFolder.of(target).run_file.is_file():
        raise InputError(f"{target}: no checkpoint to resume from; train without --resume.")
    folder = training.create_run(target, run, resume=resume)
    display = Display(quiet=quiet, as_json=as_json)
    try:
        saved = display.run(training.train_run(folder.path, resume=resume), "training")
    except KeyboardInterrupt:
        if target.exists() and any(folder.path.glob("*checkpoint*")):
            display.say(f"the best model so far is in {target}; --resume goes on from here")
        raise
    record = saved.record
    text = (
        f"{target}: epoch {record['best_epoch']} of {record['epochs']}, "
        f"validation loss {record['validation_loss']:.2f}, {record['seconds']:.0f} s"
    )
    names = ("images", "epochs", "best_epoch", "validation_loss", "seconds")
    values: dict[str, Any] = {"model": str(target), "digest": saved.digest}
    values |= {name: record[name] for name in names}
    values["log"] = str(target.with_name(f"{target.stem}.log.csv"))
    left_out = folder.about.get("left_out") or {}
    display.result(text, values, failed=left_out, of=len(run.images))


def read_settings(texts: list[str]) -> dict[str, str]:
    """Read the NAME=VALUE of --set; their types are told by the configuration."""
    from ..geometry import InputError

    for text in texts:
        if "=" not in text:
            raise InputError(f"--set {text}: wanted NAME=VALUE.")
    return {name.strip(): value.strip() for name, value in (text.split("=", 1) for text in texts)}


def model_outputs(model: Path) -> "list[Output]":
    """Name what a training writes anew: the model, the log of its epochs, and a few boxes."""
    from ..training import RunFolder
    from ._outputs import Output

    beside = (model.with_name(f"{model.stem}.log.csv"), RunFolder.of(model).examples)
    return [Output("-o", model, (".safetensors",)), *(Output("beside -o,", p) for p in beside)]


def _read_by(run: "TrainingRun") -> list[Path]:
    """Files that a run reads, with those that a STAR file names."""
    from .. import io

    files = [Path(name) for name in (*run.images, run.positions, run.examples, run.targets) if name]
    stacks = [file for file in files if file.suffix.lower() == ".star" and run.box_size is None]
    return [*files, *(one for stack in stacks for one in io.read_stack(stack).files)]


def _check_names(run: "TrainingRun") -> None:
    """Refuse a run without images or output, before anything is read."""
    from ..geometry import InputError

    if not run.images:
        raise InputError("no images: name a stack of boxes, or large images with --box-size.")
    if not run.output:
        raise InputError("no output: say -o M.safetensors.")
    if len(run.images) > 1 and run.box_size is None:
        raise InputError(
            f"{len(run.images)} files: to train on several large images give --box-size; "
            "boxes come as one stack."
        )
