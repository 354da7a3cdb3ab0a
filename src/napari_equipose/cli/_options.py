"""Options and arguments that commands share."""

from pathlib import Path
from typing import Annotated

import typer

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.", metavar="DEVICE")]
Seed = Annotated[int, typer.Option(help="Of all that is random; on the CPU it repeats a run.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show nothing but errors.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output at the end.")
]
Classes = Annotated[
    str | None,
    typer.Option(
        help="Sort the objects into K classes by content, or as many as they make: auto.",
        metavar="K|auto",
    ),
]
ModelFile = Annotated[
    Path, typer.Argument(help="A model file that train wrote.", metavar="M.safetensors")
]
