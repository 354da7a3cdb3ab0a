"""Sample data: the files we ship, and what File > Open Sample shows."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from ._micrograph import MicrographConfig, simulate_micrograph
from ._scenes import SHAPES, digit_scene, multi_object_scene
from ._structures import read_pdb

LayerData = tuple[Any, dict[str, Any], str]
"""What napari makes a layer of: data, keyword arguments, kind of layer."""

_PACKAGE = Path(__file__).resolve().parent.parent
_FOLDERS = (
    _PACKAGE / "sample_data",  # in the wheel
    _PACKAGE.parent.parent / "sample_data",  # in the source tree
)


def sample_path(name: str) -> Path:
    """Return the place of a shipped sample file.

    Parameters
    ----------
    name : str
        ``ecoli_phase_contrast.tif``, ``ecoli_phase_contrast_masks.tif``, ``digits.npz``
        or ``proteasome_20s.pdb.gz``; ``PROVENANCE.md`` tells where they come from.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    for folder in _FOLDERS:
        if (path := folder / name).is_file():
            return path
    raise FileNotFoundError(f"no sample file {name!r} in {' or '.join(map(str, _FOLDERS))}")


def sample_ecoli() -> list[LayerData]:
    """Show E. coli in phase contrast: 159 touching rods, real."""
    image = tifffile.imread(sample_path("ecoli_phase_contrast.tif"))
    return [(image, {"name": "E. coli, phase contrast"}, "image")]


def sample_micrograph() -> list[LayerData]:
    """Simulate a cryo-EM micrograph of the 20S proteasome, with its truth as hidden points."""
    config = MicrographConfig(snr=0.3)
    structure = read_pdb(sample_path("proteasome_20s.pdb.gz"))
    micrograph = simulate_micrograph(structure, np.random.default_rng(0), config)
    truth = micrograph.truth
    world: dict[str, Any] = {"scale": (config.pixel_size,) * 2, "units": ("angstrom",) * 2}
    return [
        (micrograph.image, {"name": "20S proteasome, simulated", **world}, "image"),
        _truth_points(
            truth.positions,
            truth.rotation,
            size=2 * micrograph.particle_radius,
            view=truth.view.astype(object),
            symmetry_fold=truth.symmetry_fold,
            on_contaminant=truth.on_contaminant,
            world=world,
        ),
    ]


def sample_digit_scene() -> list[LayerData]:
    """Strew 300 turned digits over an image, with its truth as hidden points."""
    with np.load(sample_path("digits.npz"), allow_pickle=False) as file:
        digits, labels = file["digits"], file["labels"]
    scene = digit_scene(digits, labels, np.random.default_rng(0), shape=(1024, 1024), n=len(digits))
    truth = scene.truth
    return [
        (scene.image, {"name": "digits, turned"}, "image"),
        _truth_points(truth.positions, truth.rotation, size=28.0, digit=truth.label),
    ]


def sample_shapes() -> list[LayerData]:
    """Draw 80 turned shapes in colour, with its truth as hidden points."""
    scene = multi_object_scene(np.random.default_rng(0), shape=(512, 512), n=80, colour=True)
    truth = scene.truth
    names = np.array(SHAPES, dtype=object)[truth.label]
    return [
        (scene.image, {"name": "shapes, in colour", "rgb": True}, "image"),
        _truth_points(truth.positions, truth.rotation, size=28.0, shape=names),
    ]


def _truth_points(
    positions: npt.NDArray[np.float64],
    rotation: npt.NDArray[np.float64],
    *,
    size: float,
    world: dict[str, Any] | None = None,
    **features: npt.NDArray[Any],
) -> LayerData:
    """Make hidden points with rotations in degrees, as tables have them, and features."""
    columns = {"rotation": np.degrees(rotation), **features}
    options = {
        "name": "truth",
        "features": columns,
        "size": size,
        "face_color": "transparent",
        "border_color": "lime",
        "visible": False,
        **(world or {}),
    }
    return positions, options, "points"
