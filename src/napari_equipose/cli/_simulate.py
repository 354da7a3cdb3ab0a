"""``equipose simulate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Json, Quiet, Seed
from ._show import Display
from ._simulate_micrograph import PDB, micrograph

if TYPE_CHECKING:
    from ..simulation import DensityMap, SubtomogramConfig, Subtomograms

simulate = typer.Typer(
    name="simulate",
    no_args_is_help=True,
    help="Make images of known truth, to try things out and to measure them.",
    rich_markup_mode=None,
)

simulate.command()(micrograph)

TiltRange = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="MIN MAX", help="Of the tilt series in degrees; default no wedge."),
]
TiltAxis = Annotated[str, typer.Option(metavar="y|x")]
Defocus = Annotated[float, typer.Option(help="Angstrom of underfocus; 0 for none.")]


@simulate.command()
def subtomograms(
    maps: Annotated[
        list[Path],
        typer.Argument(help="Structures: maps (.mrc .map) or atoms (.pdb .pdb.gz).", metavar="MAP"),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write in.")
    ],
    n: Annotated[int, typer.Option(help="Subtomograms of each structure.")] = 100,
    box_size: Annotated[int, typer.Option(help="Side of the boxes in voxels.")] = 32,
    pixel_size: Annotated[float, typer.Option(help="Angstrom.")] = 12.0,
    snr: Annotated[float, typer.Option(help="Variance of signal over that of noise.")] = 0.1,
    max_shift: Annotated[float, typer.Option(help="Along each axis, in voxels.")] = 2.0,
    tilt_range: TiltRange = None,
    tilt_axis: TiltAxis = "y",
    defocus: Defocus = 50_000.0,
    separate: Annotated[
        bool, typer.Option("--separate", help="One file a subtomogram, as RELION reads them.")
    ] = False,
    seed: Seed = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Take subtomograms of structures, turned at random: a stack, truth.csv, and a STAR file."""
    import numpy as np

    from ..simulation import SubtomogramConfig, simulate_subtomograms

    low, high = tilt_range if tilt_range is not None else (None, None)
    config = SubtomogramConfig(
        n=n,
        box_size=box_size,
        pixel_size=pixel_size,
        snr=snr,
        max_shift=max_shift,
        tilt_min_deg=low,
        tilt_max_deg=high,
        tilt_axis=tilt_axis,  # type: ignore[arg-type]
        defocus=defocus,
    )
    files = {"subtomograms.mrcs", "subtomograms.star", "truth.csv"}
    if separate:  # numbered, as a map may be that was made before
        files = files - {"subtomograms.mrcs"} | {f"subtomograms/{path.name}" for path in maps}
    _check_folder(output, maps, *sorted(files))
    display = Display(quiet=quiet, as_json=as_json)
    read = [_read_map(path, pixel_size) for path in maps]
    made = simulate_subtomograms(read, np.random.default_rng(seed), config)
    names = [path.name.split(".")[0] for path in maps]
    star = _write(output, made, names, config, separate)
    count = len(made.volumes)
    values = {"star": str(star), "truth": str(output / "truth.csv"), "n": count}
    display.result(f"{star}: {count} subtomograms of {', '.join(names)}", values)


@simulate.command()
def tomogram(
    maps: Annotated[
        list[Path],
        typer.Argument(help="Structures: maps (.mrc .map) or atoms (.pdb .pdb.gz).", metavar="MAP"),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write in.")
    ],
    n: Annotated[int, typer.Option(help="Copies of each structure.")] = 30,
    shape: Annotated[
        tuple[int, int, int], typer.Option(metavar="Z Y X", help="Of the volume, in voxels.")
    ] = (64, 300, 300),
    box_size: Annotated[
        int, typer.Option(help="Side in voxels of a cube that holds one copy.")
    ] = 32,
    pixel_size: Annotated[float, typer.Option(help="Angstrom.")] = 12.0,
    snr: Annotated[
        float, typer.Option(help="Variance of signal, in the boxes, over that of noise.")
    ] = 0.1,
    tilt_range: TiltRange = None,
    tilt_axis: TiltAxis = "y",
    defocus: Defocus = 50_000.0,
    seed: Seed = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Put copies of structures, turned at random, into a tomogram.mrc; truth.csv, truth.star."""
    import numpy as np

    from .. import io
    from ..simulation import SubtomogramConfig, simulate_tomogram

    low, high = tilt_range if tilt_range is not None else (None, None)
    config = SubtomogramConfig(
        n=n,
        box_size=box_size,
        pixel_size=pixel_size,
        snr=snr,
        tilt_min_deg=low,
        tilt_max_deg=high,
        tilt_axis=tilt_axis,  # type: ignore[arg-type]
        defocus=defocus,
    )
    _check_folder(output, maps, "tomogram.mrc", "truth.star", "truth.csv")
    display = Display(quiet=quiet, as_json=as_json)
    read = [_read_map(path, pixel_size) for path in maps]
    made = simulate_tomogram(read, np.random.default_rng(seed), shape, config)
    output.mkdir(parents=True, exist_ok=True)
    volume = output / "tomogram.mrc"
    io.write_mrc(volume, made.volume, pixel_size)
    positions, label, rotation = made.truth
    table = io.pick_table(volume.name, positions, rotation, classes=label)
    io.write_table(output / "truth.star", table, pixel_size=pixel_size)
    names = [path.name.split(".")[0] for path in maps]
    table["name"] = np.array(names)[label]
    io.write_table(output / "truth.csv", table)
    values = {"tomogram": str(volume), "truth": str(output / "truth.csv"), "n": len(table)}
    display.result(f"{volume}: {len(table)} copies of {', '.join(names)}", values)


def _check_folder(folder: Path, maps: list[Path], *names: str) -> None:
    """Refuse a folder that can't be written in, or where a map would be replaced."""
    from ._outputs import Output, check_outputs

    check_outputs([Output("-o", folder / name) for name in names], maps)


def _read_map(path: Path, pixel_size: float) -> "DensityMap":
    from .. import io
    from ..geometry import InputError
    from ..simulation import DensityMap, read_pdb, structure_map

    if path.suffix.lower() in PDB:
        # finer than the boxes, so that interpolation does not blur it
        return structure_map(read_pdb(path), pixel_size / 2, resolution=2 * pixel_size)
    image = io.read_image(path)
    if image.axes != "zyx":
        raise InputError(f"{path} is no volume, but an image with axes {image.axes}.")
    if image.pixel_size is None:
        raise InputError(f"{path} does not say its pixel size; set it in the file's header.")
    return DensityMap(image.data, image.pixel_size)


def _write(
    output: Path,
    made: "Subtomograms",
    names: list[str],
    config: "SubtomogramConfig",
    separate: bool,
) -> Path:
    """Write volumes, truth and STAR file; return the latter's place."""
    import numpy as np
    import pandas as pd

    from .. import io
    from ..geometry import rotations_to_relion

    output.mkdir(parents=True, exist_ok=True)
    label, rotation, translation = made.truth
    angles = rotations_to_relion(rotation)
    numbers = range(1, len(label) + 1)
    if separate:
        images = [f"subtomograms/{number:06d}.mrc" for number in numbers]
        (output / "subtomograms").mkdir(exist_ok=True)
        for name, volume in zip(images, made.volumes, strict=True):
            io.write_mrc(output / name, volume, config.pixel_size)
    else:
        images = [f"{number:06d}@subtomograms.mrcs" for number in numbers]
        io.write_mrc(output / "subtomograms.mrcs", made.volumes, config.pixel_size)
    table = pd.DataFrame({"index": np.arange(len(label))})
    table[["translation_z", "translation_y", "translation_x"]] = translation
    table[["rot", "tilt", "psi"]] = angles
    table["class"], table["name"] = label, np.array(names)[label]
    table["tilt_min"], table["tilt_max"] = config.tilt_min_deg, config.tilt_max_deg
    with io.atomic_path(output / "truth.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.8g")
    particles = pd.DataFrame({"rlnImageName": images, "rlnOpticsGroup": 1})
    particles[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]] = angles
    for axis, shift in zip("ZYX", translation.T, strict=True):
        particles[f"rlnOrigin{axis}Angst"] = -shift * config.pixel_size
    particles["rlnClassNumber"] = label + 1
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1],
            "rlnOpticsGroupName": ["simulated"],
            "rlnImagePixelSize": [config.pixel_size],
            "rlnImageSize": [config.box_size],
            "rlnImageDimensionality": [3],
            "rlnVoltage": [300.0],
            "rlnSphericalAberration": [2.7],
            "rlnAmplitudeContrast": [0.1],
        }
    )
    star = output / "subtomograms.star"
    io.write_star(star, io.StarFile(particles, optics))
    return star
