"""``equipose align``."""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._options import Classes, Device, Json, ModelFile, Quiet, Seed, TiltAxis, TiltRange
from ._show import Display

if TYPE_CHECKING:
    from ..geometry import MissingWedge
    from ..inference import Alignment, AlignmentUpdate, RefinementConfig
    from ..io import ParticleStack


def align(
    model: ModelFile,
    stack: Annotated[
        Path,
        typer.Argument(help="A stack of boxes (.mrcs .mrc .tif .npy .zarr .star), or of volumes."),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="A.mrcs", help="The aligned stack: .mrcs or .mrc."),
    ],
    poses: Annotated[
        Path, typer.Option(metavar="T", help="The table of poses to write: .csv or .star.")
    ],
    average: Annotated[
        Path | None,
        typer.Option(
            metavar="AVG.mrc",
            help="The average; of several classes AVG_class0.mrc, AVG_class1.mrc, ... Beside each "
            "the averages of its halves and their correlation (FSC, of images FRC) as CSV.",
        ),
    ] = None,
    place_back: Annotated[
        Path | None,
        typer.Option(
            metavar="TOMOGRAM.mrc",
            help="Put the averages into a volume like this tomogram, A_placed.mrc; of a stack "
            "whose STAR file has rlnCoordinateX, Y and Z in voxels of the tomogram.",
        ),
    ] = None,
    classes: Classes = None,
    search: Annotated[
        str,
        typer.Option(
            metavar="auto|everywhere|local",
            help="Where the refinement of volumes begins: with all rotations, or near the poses "
            "found by the model; auto chooses by how the model was trained.",
        ),
    ] = "auto",
    refine: Annotated[
        bool, typer.Option("--refine/--no-refine", help="Else the poses are those of the model.")
    ] = True,
    symmetry: Annotated[
        str, typer.Option(metavar="C7|D2|T|O|I", help="Of the averages of volumes.")
    ] = "C1",
    tilt_range: TiltRange = None,
    tilt_axis: TiltAxis = None,
    mask_radius: Annotated[
        float | None, typer.Option(metavar="PX", help="Of the soft mask of the averages.")
    ] = None,
    low_pass: Annotated[
        float | None,
        typer.Option(metavar="ANGSTROM", help="Volumes are compared in no finer detail."),
    ] = None,
    iterations: Annotated[int | None, typer.Option(help="Of the refinement; 6.")] = None,
    max_shift: Annotated[
        float | None, typer.Option(metavar="PX", help="That the refinement searches first; 3.")
    ] = None,
    train: Annotated[
        bool,
        typer.Option("--train", help="Learn the model from the stack first, and write it."),
    ] = False,
    kind: Annotated[
        str | None,
        typer.Option("--model", metavar="KIND", help="With --train: the kind of model; harmony."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="fast|balanced|paper", help="With --train.")
    ] = None,
    content_dim: Annotated[
        int | None, typer.Option(min=1, help="With --train: dimensions of the content.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="With --train: at most so many.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="With --train: stop learning after so many.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="With --train: any field of a configuration."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --train: a run file; options go before it."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="With --train: go on with a run that stopped.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --train: replace the model if there is one.")
    ] = False,
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Bring the boxes of a stack to rest, and average them.

    With --train the model is learnt from the stack first, as 'equipose train' does it.

    Poses are those that the model infers; those of volumes are refined against the averages of two
    halves (rlnRandomSubset of a STAR file is kept to). The halves are independent only where
    volumes are refined from a search everywhere. Where the search starts at the model's poses
    ('local', which 'auto' chooses for a model trained from initial structures), without refinement,
    and for images, both halves share the model: their FSC or FRC is then optimistic, and the
    report says so. What a tilt series does
    not measure does not count: by --tilt-range, the columns tilt_min and tilt_max of a STAR file,
    or else the range that the model was trained with. An interrupt keeps the poses and averages of
    the last iteration.
    """
    from .. import inference, io
    from ..models import load_model
    from ..training import about
    from ._align_files import Outputs, output_files
    from ._align_training import learn
    from ._inputs import check_classes, read_classes, tilt_settings
    from ._outputs import check_outputs
    from ._train import model_outputs, read_settings

    given: dict[str, Any] = {
        "model": kind, "preset": preset, "content_dim": content_dim, "epochs": epochs,
        "minutes": minutes, "config": config, "resume": resume,
        "overwrite": overwrite,
    }  # fmt: skip
    _check_training(train, given | {"set": settings})
    k, saved = read_classes(classes), None if train else load_model(model)
    dimensions = None if saved is None else max(saved.model.capabilities.dimensions)
    particles = io.read_stack(stack, dimensions=dimensions)
    written = output_files(output, poses, average, place_back, k)
    read = [stack, *particles.files, *filter(None, (place_back, config))]
    if train:
        check_outputs([*written, *model_outputs(model)], read)
    else:
        check_outputs(written, [model, *read])
    wedge, half = _wedges(particles, tilt_range, tilt_axis), io.read_halves(particles)
    with about(stack):
        refinement = _refinement(
            particles, low_pass, iterations, max_shift, symmetry=symmetry, mask_radius=mask_radius,
            seed=seed,
        )  # fmt: skip
    reach: Any = search
    how = inference.AlignConfig(refine=refine, search=reach, classes=k, refinement=refinement)
    outputs = Outputs.of(output, poses, average, place_back, particles)
    if particles.table is None:
        io.check_writable(poses, [str(stack)])
    if isinstance(k, int):
        check_classes(k, len(particles.images))
    display = Display(quiet=quiet, as_json=as_json)
    display.warn(outputs.notice)
    if saved is not None:
        display.warn(inference.pixel_size_notice(saved, particles.pixel_size, stack.name))
    else:
        given |= {"seed": seed or None, "device": None if device == "auto" else device}
        more = read_settings(settings or []) | tilt_settings(tilt_range, tilt_axis)
        saved = learn(model, stack, given, more, display)
    kept: list[AlignmentUpdate] = []
    try:
        with about(stack):
            images: Any = particles.images
            job = inference.align(saved, images, how, wedge=wedge, half=half, device=device)
            found = display.run(_keeping(job, kept), "aligning")
    except KeyboardInterrupt:
        if kept:
            outputs.write_poses(kept[-1].alignment)
            outputs.write_averages(kept[-1].alignment)
            what = "" if kept[-1].alignment.label is None else f" of class {kept[-1].label}"
            display.say(f"the poses after iteration {kept[-1].iteration}{what} are in {poses}")
        raise
    display.run(outputs.write_all(found), "writing")
    values = {"model": str(model), "digest": saved.digest, "n": len(found.half)}
    display.result(outputs.describe(found), values | outputs.values(found))


def _check_training(train: bool, given: dict[str, Any]) -> None:
    """Refuse what is for training only, where there is none."""
    from ..geometry import InputError

    idle = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if idle and not train:
        raise InputError(f"{', '.join(idle)} goes with --train, which learns a model first.")


def _keeping(
    job: "Generator[Any, None, Alignment]", kept: "list[AlignmentUpdate]"
) -> "Generator[Any, None, Alignment]":
    """Pass a job on, but keep of its updates the last."""
    from ..inference import AlignmentUpdate, Watched

    steps = Watched(job)
    try:
        for step in steps:
            if isinstance(step, AlignmentUpdate):
                kept[:] = [step]
            else:
                yield step
    finally:
        steps.close()
    return steps.result


def _refinement(
    particles: "ParticleStack",
    low_pass: float | None,
    iterations: int | None,
    max_shift: float | None,
    **settings: Any,
) -> "RefinementConfig":
    """Turn options into a configuration, Angstrom into voxels."""
    from ..geometry import InputError
    from ..inference import RefinementConfig

    if low_pass is not None:
        if particles.pixel_size is None:
            raise InputError("its pixel size is not known, so that --low-pass says nothing.")
        settings["low_pass"] = low_pass / particles.pixel_size
    more = {"iterations": iterations, "max_shift": max_shift}
    settings |= {name: value for name, value in more.items() if value is not None}
    return RefinementConfig(**settings)


def _wedges(
    particles: "ParticleStack", tilt_range: tuple[float, float] | None, axis: str | None
) -> "MissingWedge | list[MissingWedge] | None":
    """What the options say was measured, or else the stack; None where neither does."""
    from .. import io
    from ..geometry import MissingWedge
    from ._inputs import tilt_settings

    if tilt_range is None and particles.axes == "nzyx":
        found = io.read_wedges(particles, axis or "y")  # type: ignore[arg-type]
        if found is not None:
            return found
    settings = tilt_settings(tilt_range, axis)
    return MissingWedge(**settings) if settings else None
