"""Synthetic objects of known pose, and the sample data.

Everything random takes a `numpy.random.Generator`, so that a seed repeats it. Poses follow
the conventions of `napari_equipose.geometry`: ``x_image = R x_canonical + t``, angles in radians,
positive counter-clockwise as displayed, positions (y, x) in pixels.
"""

from ._digits import rotated_digits, turn_pictures
from ._micrograph import (
    MicrographConfig,
    MicrographTruth,
    SimulatedMicrograph,
    simulate_micrograph,
)
from ._model_structures import MODEL_STRUCTURES, ModelStructure, model_structure
from ._random_micrograph import MicrographDraw, draw_micrograph
from ._samples import (
    sample_digit_scene,
    sample_ecoli,
    sample_micrograph,
    sample_path,
    sample_shapes,
    sample_subtomograms,
)
from ._scenes import (
    SHAPES,
    Scene,
    SceneTruth,
    digit_scene,
    multi_object_scene,
    shape_pictures,
)
from ._structures import Structure, read_pdb
from ._subtomograms import (
    DensityMap,
    SubtomogramConfig,
    Subtomograms,
    SubtomogramTruth,
    simulate_subtomograms,
    structure_map,
)
from ._tomogram import SimulatedTomogram, TomogramTruth, simulate_tomogram

__all__ = [
    "MODEL_STRUCTURES",
    "SHAPES",
    "DensityMap",
    "MicrographConfig",
    "MicrographDraw",
    "MicrographTruth",
    "ModelStructure",
    "Scene",
    "SceneTruth",
    "SimulatedMicrograph",
    "SimulatedTomogram",
    "Structure",
    "SubtomogramConfig",
    "SubtomogramTruth",
    "Subtomograms",
    "TomogramTruth",
    "digit_scene",
    "draw_micrograph",
    "model_structure",
    "multi_object_scene",
    "read_pdb",
    "rotated_digits",
    "sample_digit_scene",
    "sample_ecoli",
    "sample_micrograph",
    "sample_path",
    "sample_shapes",
    "sample_subtomograms",
    "shape_pictures",
    "simulate_micrograph",
    "simulate_subtomograms",
    "simulate_tomogram",
    "structure_map",
    "turn_pictures",
]
