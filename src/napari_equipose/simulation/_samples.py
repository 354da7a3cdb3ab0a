"""Sample data: the files we ship, and what File > Open Sample shows."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_equipose.geometry import rotations_to_relion

from ._micrograph import MicrographConfig, simulate_micrograph
from ._scenes import SHAPES, digit_scene, multi_object_scene
from ._structures import Structure, read_pdb
from ._subtomograms import SubtomogramConfig, simulate_subtomograms, structure_map

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
            _in_plane(truth.rotation),
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
        _truth_points(truth.positions, _in_plane(truth.rotation), size=28.0, digit=truth.label),
    ]


def sample_shapes() -> list[LayerData]:
    """Draw 80 turned shapes in colour, with its truth as hidden points."""
    scene = multi_object_scene(np.random.default_rng(0), shape=(512, 512), n=80, colour=True)
    truth = scene.truth
    names = np.array(SHAPES, dtype=object)[truth.label]
    return [
        (scene.image, {"name": "shapes, in colour", "rgb": True}, "image"),
        _truth_points(truth.positions, _in_plane(truth.rotation), size=28.0, shape=names),
    ]


def sample_subtomograms() -> list[LayerData]:
    """Simulate 24 subtomograms each of the 20S proteasome and of half of it, with their truth.

    The truth is hidden points at the middles of the structures; the layer's metadata tell the tilt
    range.
    """
    config = SubtomogramConfig(n=24, pixel_size=8.0, snr=0.3, defocus=15_000.0)
    whole = read_pdb(sample_path("proteasome_20s.pdb.gz")).upright()
    upper = whole.xyz[:, 2] > 0  # two of its four rings, the stage before the last of its assembly
    half = Structure(whole.xyz[upper], whole.weight[upper])
    maps = [structure_map(structure, config.pixel_size / 2) for structure in (whole, half)]
    found = simulate_subtomograms(maps, np.random.default_rng(0), config)
    label, rotation, translation = found.truth
    world: dict[str, Any] = {
        "scale": (1.0, *(config.pixel_size,) * 3),
        "units": ("pixel", *("angstrom",) * 3),
        "axis_labels": ("n", "z", "y", "x"),
    }
    low, high = np.percentile(found.volumes, (0.5, 99.5))
    options = {
        "name": "subtomograms of two structures, simulated",
        "contrast_limits": (float(low), float(high)),
        "metadata": {
            "equipose": {
                "tilt_min": config.tilt_min_deg,
                "tilt_max": config.tilt_max_deg,
                "tilt_axis": config.tilt_axis,
            }
        },
        **world,
    }
    angles = dict(zip(("rot", "tilt", "psi"), rotations_to_relion(rotation).T, strict=True))
    numbers = np.arange(len(label), dtype=np.float64)
    middles = np.column_stack((numbers, config.box_size // 2 + translation))
    names = np.array(["20S proteasome", "half a proteasome"], dtype=object)[label]
    truth = _truth_points(middles, angles, size=4.0, world=world, structure=names)
    return [(found.volumes, options, "image"), truth]


def _in_plane(rotation: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    return {"rotation": np.degrees(rotation)}


def _truth_points(
    positions: npt.NDArray[np.float64],
    angles: dict[str, npt.NDArray[np.float64]],
    *,
    size: float,
    world: dict[str, Any] | None = None,
    **features: npt.NDArray[Any],
) -> LayerData:
    """Make hidden points with angles in degrees, as tables have them, and features."""
    columns = {**angles, **features}
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
