"""The axes of symmetric objects, found in averages that were made without them."""

import numpy as np
import pytest
import torch
from oracle import OracleConfig, told
from scipy.spatial.transform import Rotation
from test_subtomogram_refinement import SIZE, WEDGE, alike, blobs, true_poses

from napari_equipose.evaluation import geodesic_errors
from napari_equipose.geometry import Poses3D, apply_poses
from napari_equipose.inference import (
    AlignConfig,
    RefinementConfig,
    align,
    average_volumes,
    finish,
    refine,
)
from napari_equipose.inference._averages import Frame
from napari_equipose.inference._symmetry_axes import find_axes
from napari_equipose.simulation import DensityMap, SubtomogramConfig, simulate_subtomograms

PLACES = [(4.0, 5.0, 1.0, 2.0), (2.0, -6.0, 3.0, 1.5), (0.0, 3.0, 7.0, 1.0)]


def symmetric(symmetry: str) -> np.ndarray:
    return average_volumes(blobs(PLACES)[None], Poses3D.identity(1), symmetry=symmetry)


@pytest.mark.parametrize("symmetry", ["C3", "D2", "D7", "T"])
def test_axes_are_found_however_the_object_lies(symmetry: str) -> None:
    density = torch.from_numpy(symmetric(symmetry))[None, None]
    turn = torch.from_numpy(Rotation.random(random_state=3).as_matrix()).float()[None]
    lies = Poses3D(turn, torch.tensor([[0.8, -0.5, 1.1]]))
    moved = apply_poses(density, lies)[0, 0]
    found = find_axes(moved, Frame.of(SIZE, symmetry))
    unturned = lies._replace(rotation=torch.eye(3)[None])
    kept, lost = (
        alike(*(average_volumes(moved.numpy()[None], lie, symmetry=s) for s in ("C1", symmetry)))
        for lie in (found, unturned)
    )
    assert kept > 0.995
    assert lost < 0.98


def test_a_symmetric_object_is_refined_from_nothing() -> None:
    density = symmetric("D2")
    config = SubtomogramConfig(
        n=12, box_size=SIZE, pixel_size=8.0, snr=5.0, max_shift=1.0, defocus=0.0, b_factor=0.0
    )
    made = simulate_subtomograms([DensityMap(density, 8.0)], np.random.default_rng(2), config)
    settings = RefinementConfig(symmetry="D2", iterations=4, everywhere=2)
    steps = []
    found = finish(refine(made.volumes, None, WEDGE, settings), steps.append)
    assert [step.done for step in steps] == list(range(1, steps[-1].total + 1))
    truth = true_poses(made)
    errors = geodesic_errors(found.poses.rotation, truth.rotation, symmetry="D2")
    assert errors.median < 4
    without = average_volumes(made.volumes, found.poses, WEDGE)
    assert alike(without, found.average) > 0.9


@pytest.mark.parametrize("refine_poses", [False, True])
def test_a_symmetry_is_imposed_about_the_object_not_about_the_frame_of_the_model(
    refine_poses: bool,
) -> None:
    """The model's poses are right, in a frame in which the axes lie anyhow."""
    config = SubtomogramConfig(
        n=10, box_size=SIZE, pixel_size=8.0, snr=5.0, max_shift=1.0, defocus=0.0, b_factor=0.0
    )
    rng = np.random.default_rng(2)
    made = simulate_subtomograms([DensityMap(symmetric("D2"), 8.0)], rng, config)
    turn = torch.from_numpy(Rotation.random(random_state=3).as_matrix()).float()[None]
    anyhow = true_poses(made).compose(Poses3D(turn, torch.tensor([[0.5, -0.5, 1.0]])))
    saved = told(
        OracleConfig(box_size=SIZE, wedge=WEDGE),
        anyhow,
        hypotheses=Poses3D(*(part[:, None] for part in anyhow)),
    )
    settings = RefinementConfig(symmetry="D2", iterations=1, angular_step_deg=2.0)
    asked = AlignConfig(refine=refine_poses, search="local", refinement=settings)
    found = finish(align(saved, made.volumes, asked))
    poses = Poses3D(*(torch.from_numpy(part) for part in found.encoding[:2]))
    without = average_volumes(made.volumes, poses, WEDGE)
    assert alike(without, found.averages[0].average) > 0.95
    as_it_was = average_volumes(made.volumes, anyhow, WEDGE)
    assert alike(as_it_was, average_volumes(made.volumes, anyhow, WEDGE, symmetry="D2")) < 0.8
