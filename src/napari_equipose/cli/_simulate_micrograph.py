"""``equipose simulate micrograph``."""

from dataclasses import replace
from math import radians
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._options import Json, Quiet, Seed
from ._show import Display

if TYPE_CHECKING:
    from ..simulation import MicrographConfig, Structure

PDB = (".pdb", ".ent", ".gz")


def micrograph(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write in.")
    ],
    structure: Annotated[
        str | None,
        typer.Argument(
            help="barrel (default), ring, shell, tetramer, two-lobes, antibody, or a file of "
            "atoms (.pdb .pdb.gz).",
            metavar="STRUCTURE",
        ),
    ] = None,
    random: Annotated[
        bool,
        typer.Option(
            "--random",
            help="Draw the structure, and every option that is not given, at random by the seed.",
        ),
    ] = False,
    n: Annotated[int | None, typer.Option(help="Particles; default 150.")] = None,
    shape: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="Y X", help="Size in pixels; default 1024 1024, random 1200 1200."),
    ] = None,
    pixel_size: Annotated[float | None, typer.Option(help="Angstrom; default 4.")] = None,
    snr: Annotated[
        float | None,
        typer.Option(help="Variance of particles over that of noise; default 0.1."),
    ] = None,
    view: Annotated[
        list[str] | None,
        typer.Option(
            help="side, top or any, with the view's in-plane symmetry, such as top:7; may be "
            "repeated. By default those that show the structure's own symmetry; of a file side and "
            "top.",
            metavar="VIEW[:FOLD]",
        ),
    ] = None,
    tilt_std: Annotated[
        float | None,
        typer.Option(help="Spread of a tilt out of the view, in degrees; default 0."),
    ] = None,
    spacing: Annotated[
        float | None,
        typer.Option(help="Least distance of particles, in particle diameters; default 1.15."),
    ] = None,
    defocus: Annotated[
        float | None, typer.Option(help="Angstrom of underfocus; default 20000.")
    ] = None,
    b_factor: Annotated[
        float | None, typer.Option(help="Of the envelope, square Angstrom; default 150.")
    ] = None,
    gradient: Annotated[
        float | None,
        typer.Option(help="Slope of the ice, in standard deviations of the noise; default 1."),
    ] = None,
    contaminants: Annotated[
        int | None, typer.Option(help="Dense crystals as large as particles; default 6.")
    ] = None,
    ice_balls: Annotated[int | None, typer.Option(help="Dark balls of ice; default 0.")] = None,
    ice_ball_diameter: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="MIN MAX", help="In particle diameters; default 0.3 3."),
    ] = None,
    crystals: Annotated[
        int | None, typer.Option(help="Patches of crystalline ice; default 0.")
    ] = None,
    aggregates: Annotated[int | None, typer.Option(help="Clumps of particles; default 0.")] = None,
    carbon: Annotated[
        float | None,
        typer.Option(help="Part of the image under carbon, 0 to 0.5; default 0.016."),
    ] = None,
    carbon_direction: Annotated[
        float | None,
        typer.Option(help="To the carbon, in degrees from x toward y; default 45, far corner."),
    ] = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Take a micrograph.mrc of particles among ice and carbon; truth.csv, truth.star."""
    from dataclasses import asdict

    import numpy as np

    from .. import io
    from ..geometry import InputError
    from ..simulation import draw_micrograph, simulate_micrograph
    from ._outputs import Output, check_outputs

    settings: dict[str, Any] = {
        "n": n,
        "shape": shape,
        "pixel_size": pixel_size,
        "snr": snr,
        "views": _views(view) if view else None,
        "tilt_std": None if tilt_std is None else radians(tilt_std),
        "spacing": spacing,
        "defocus": defocus,
        "b_factor": b_factor,
        "gradient": gradient,
        "contaminants": contaminants,
        "ice_balls": ice_balls,
        "ice_ball_diameter": ice_ball_diameter,
        "crystals": crystals,
        "aggregates": aggregates,
        "carbon": carbon,
        "carbon_direction": None if carbon_direction is None else radians(carbon_direction),
    }
    given = {name: value for name, value in settings.items() if value is not None}
    rng = np.random.default_rng(seed)
    if random and structure is not None:
        raise InputError("--random draws the structure too; leave out one of the two.")
    if random:
        name, atoms, config = draw_micrograph(rng, snr=snr, shape=shape or (1200, 1200))
        config, source = replace(config, **given), None
    else:
        name, atoms, config, source = _structure(structure or "barrel", given)
    files = [Output("-o", output / name) for name in ("micrograph.mrc", "truth.csv", "truth.star")]
    check_outputs(files, [source] if source else [])
    display = Display(quiet=quiet, as_json=as_json)
    made = simulate_micrograph(atoms, rng, config)
    output.mkdir(parents=True, exist_ok=True)
    image = output / "micrograph.mrc"
    io.write_mrc(image, made.image, config.pixel_size)
    truth = made.truth
    table = io.pick_table(image.name, truth.positions, truth.rotation)
    io.write_table(output / "truth.star", table, pixel_size=config.pixel_size)
    table["view"], table["sym_fold"] = truth.view, truth.symmetry_fold
    table["on_contaminant"] = truth.on_contaminant.astype(int)
    io.write_table(output / "truth.csv", table)
    diameter = 2 * made.particle_radius
    values = {
        "micrograph": str(image),
        "truth": str(output / "truth.csv"),
        "structure": name,
        "particle_diameter": diameter,
        **asdict(config),
    }
    display.result(
        f"{image}: {config.n} particles of {diameter:.0f} px ({name}), SNR {config.snr:.3g}", values
    )


def _views(texts: list[str]) -> dict[str, int]:
    """Read views such as ``side`` and ``top:7``."""
    from ..geometry import InputError

    views = {}
    for text in texts:
        name, _, fold = text.partition(":")
        if fold and not (fold.isascii() and fold.isdigit() and len(fold) < 4):
            raise InputError(f"--view is a view and its in-plane symmetry, as top:7; got {text}.")
        views[name] = int(fold or 1)
    return views


def _structure(
    name: str, given: dict[str, Any]
) -> tuple[str, "Structure", "MicrographConfig", Path | None]:
    """Find a structure by its name or in a file; its own views hold unless others are given."""
    from ..geometry import InputError
    from ..simulation import MODEL_STRUCTURES, MicrographConfig, model_structure, read_pdb

    if name in MODEL_STRUCTURES:
        structure, views = model_structure(name)
        return name, structure, MicrographConfig(**({"views": views} | given)), None
    path = Path(name)
    if path.suffix.lower() not in PDB:
        raise InputError(
            f"{name} is neither a file of atoms (.pdb .pdb.gz) nor one of "
            f"{', '.join(MODEL_STRUCTURES)}."
        )
    config = MicrographConfig(**({"views": {"side": 1, "top": 1}} | given))
    return path.name.split(".")[0], read_pdb(path), config, path
