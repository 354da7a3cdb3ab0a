"""``equipose preview``."""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._options import Json, Quiet
from ._show import Display

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..inference import Progress
    from ..training import Hypothesis

_SIDE = 128  # pixels, of a box in the picture


def preview(
    images: Annotated[list[Path], typer.Argument(help="Large images.", metavar="IMAGE...")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the answers go.")
    ],
    box_size: Annotated[
        int,
        typer.Option(
            min=8, help="Side in pixels of a square that holds one object with a little room."
        ),
    ],
    polarity: Annotated[
        str, typer.Option(metavar="either|dark|bright", help="Of the objects.")
    ] = "either",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Show what recurs in large images, before training, to choose which are your objects.

    Writes up to four answers, the likeliest first: FOLDER/hypothesis-1.png, a row of the most
    typical objects, and hypothesis-1.csv, their centers. Train on the one that is right with
    'equipose train IMAGE... --examples FOLDER/hypothesis-1.csv'.
    """
    from .. import io
    from ..geometry import InputError
    from ..training import hypotheses, question_of, read_large_image, title_of
    from ._outputs import Output, check_outputs

    if any(output.glob("hypothesis-*")):
        raise InputError(f"-o {output} holds the answers of another preview; name another folder.")
    possible = [output / f"hypothesis-{n}{suffix}" for n in range(1, 5) for suffix in _SUFFIXES]
    check_outputs([Output("-o", path) for path in possible], images)
    pixels = [read_large_image(image).data for image in images]
    if len({each.ndim for each in pixels}) > 1:
        raise InputError("some of the images are grey and some in color; give one kind.")
    display = Display(quiet=quiet, as_json=as_json)

    def job() -> "Generator[Progress, None, list[Hypothesis]]":
        from ..inference import Progress

        yield Progress(0, 1, "looking for what recurs")
        return hypotheses(pixels, box_size, polarity)  # type: ignore[arg-type]

    found = display.run(job(), "preview")
    output.mkdir(parents=True, exist_ok=True)
    lines, listed = list[str](), list[dict[str, Any]]()
    for number, one in enumerate(found, 1):
        picture, picks = (output / f"hypothesis-{number}{suffix}" for suffix in _SUFFIXES)
        _write_row(picture, one.pictures)
        table = io.pick_table("", one.positions)
        table["image"] = [str(images[index]) for index in one.image]
        io.write_table(picks, table)
        lines.append(f"{picture}: {title_of(one)}")
        listed.append(
            {"picture": str(picture), "examples": str(picks), "polarity": one.polarity}
            | {"n": one.n_objects, "evidence": one.evidence}
        )
    lines.append(question_of(found))
    display.result("\n".join(lines), {"hypotheses": listed})


_SUFFIXES = (".png", ".csv")


def _write_row(path: Path, pictures: "NDArray[np.float32]") -> None:
    """Write boxes (k, s, s) or (k, s, s, 3) side by side."""
    import numpy as np
    from PIL import Image

    from ..io import atomic_path

    low, high = np.percentile(pictures, (0.5, 99.5))
    level = np.clip((pictures - low) / max(float(high - low), 1e-12), 0, 1)
    row = Image.fromarray((255 * np.concatenate(list(level), 1)).round().astype(np.uint8))
    factor = max(1, round(_SIDE / pictures.shape[1]))
    with atomic_path(path) as temporary:
        row.resize((row.width * factor, row.height * factor)).save(temporary, format="png")
