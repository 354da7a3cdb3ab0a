"""``equipose demo``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Device, Json, Quiet, Seed
from ._show import Display

if TYPE_CHECKING:
    from ._demo_run import DemoResult


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="What it makes goes there.")
    ] = Path("equipose-demo"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what an earlier demo left in FOLDER.")
    ] = False,
    gui: Annotated[bool, typer.Option("--gui", help="Show the result in napari.")] = False,
    minutes: Annotated[float, typer.Option(help="Train for at most so many.")] = 2.5,
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Find touching, turned bacteria in a real image, without labels.

    The image, E. coli in phase contrast, comes with the package. Writes the model, a table of
    the objects, the objects aligned, their average, and a picture.
    """
    from ..geometry import InputError
    from ._demo_run import demo_files, run_demo
    from ._gui import load_napari, show_objects
    from ._outputs import Output, check_outputs

    if output.exists() and not output.is_dir():
        raise InputError(f"-o {output} is a file; name a folder.")
    files = demo_files(output).values()
    check_outputs([Output("-o", path) for path in files])
    there = [path for path in files if path.exists()]
    if there and not overwrite:
        raise InputError(f"{there[0]} exists: name another folder with -o, or add --overwrite.")
    if gui:
        load_napari()  # before the minutes it takes to have something to show
    display = Display(quiet=quiet, as_json=as_json)
    display.say(f"learning E. coli from one image, without labels; at most {minutes:g} minutes")
    job = run_demo(output, minutes=minutes, device=device, seed=seed)
    try:
        result = display.run(job, "demo")
    except KeyboardInterrupt:
        display.say(f"what was done is in {output}")
        raise
    display.result(_told(result), _values(result))
    if gui:
        show_objects(result.image, result.picks, result.name, result.metadata, result.axis)


def _told(result: "DemoResult") -> str:
    n = len(result.picks.positions)
    lines = [f"{n} objects found in {result.name}, learnt from {result.n_boxes} unlabelled boxes"]
    width = max(len(str(path)) for path in result.files.values())
    lines += [f"  {path!s:<{width}}  {what}" for what, path in result.files.items()]
    return "\n".join(lines)


def _values(result: "DemoResult") -> dict[str, object]:
    return {
        "n": len(result.picks.positions),
        "boxes": result.n_boxes,
        "digest": result.digest,
        "files": {path.stem: str(path) for path in result.files.values()},
    }
