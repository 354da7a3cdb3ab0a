"""Options and arguments that commands share."""

from pathlib import Path
from typing import Annotated

import typer

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.", metavar="DEVICE")]
Seed = Annotated[
    int,
    typer.Option(min=0, max=2**32 - 1, help="Of all that is random; on the CPU it repeats a run."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show nothing but errors.")]
TiltRange = Annotated[
    tuple[float, float] | None,
    typer.Option(
        metavar="MIN MAX",
        help="Of the tilt series of volumes, in degrees: what it does not measure does not count. "
        "-90 90 where nothing is missing.",
    ),
]
TiltAxis = Annotated[
    str | None, typer.Option(metavar="y|x", help="About which the specimen was tilted; y.")
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output at the end.")
]
Classes = Annotated[
    str | None,
    typer.Option(
        help="Sort the objects into K classes by content, or as many as they make: auto. By "
        "default they are the categories of a model that has its own.",
        metavar="K|auto",
    ),
]
ModelFile = Annotated[
    Path, typer.Argument(help="A model file that train wrote.", metavar="M.safetensors")
]
