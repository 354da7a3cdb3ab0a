"""The frames of two half-sets that were refined apart, laid on each other."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ..geometry import Poses3D
from ._averages import Frame, Sums, at_rest
from ._fourier_shell import ShellCorrelation, fourier_shell_correlation
from ._refinement_plan import EVERYWHERE_STEP_DEG
from ._rotation_search import Search, nearby_rotations, rotations_everywhere
from ._spectra import fine_spectrum

_FRAME_SHELL = 6  # cycles per box by which the averages of both halves are laid on each other
_FRAME_STEPS_DEG = (4.0, 2.0, 1.0, 0.5)


class Halves(NamedTuple):
    """The averages of both halves, and how they lie."""

    drift: Poses3D
    """One pose: that of the second half's average against the first's."""
    averages: NDArray[np.float32]  # (2, z, y, x), masked, in the frame of the first
    correlation: ShellCorrelation


def compare_halves(totals: list[Sums], drift: Poses3D, frame: Frame, everywhere: bool) -> Halves:
    """Find how the second half's average lies against the first's, and how well they agree.

    A symmetric average lies about its axes; it may only move in ways that leave them where they
    are, by vectors that the symmetry does not change.
    """
    first, second = (frame.density(total) for total in totals)
    reference = fine_spectrum(first[None])
    rotation, shift = drift.rotation[0], drift.translation[0]
    search = Search.up_to(_FRAME_SHELL, torch.ones(_FRAME_SHELL + 1), frame.size, 2.0)
    if everywhere:
        turns = rotations_everywhere(EVERYWHERE_STEP_DEG)
        _, rotation, shift = search.best(second, None, reference, turns, shift)
    for step in _FRAME_STEPS_DEG:
        turns = rotation @ nearby_rotations(step)
        _, rotation, shift = search.best(second, None, reference, turns, shift)
    free = frame.group.mean(0)
    turn = Rotation.from_rotvec(free.numpy() @ Rotation.from_matrix(rotation).as_rotvec())
    rotation, shift = torch.from_numpy(turn.as_matrix()).float(), free @ shift
    back = at_rest(fine_spectrum(second[None]), rotation, shift, None, frame)
    averages = np.stack([first.numpy(), frame.density(back).numpy()])
    correlation = fourier_shell_correlation(*averages)
    return Halves(Poses3D(rotation[None], shift[None]), averages, correlation)


def into_one_frame(poses: Poses3D, side: NDArray[np.int64], drift: Poses3D) -> Poses3D:
    """Take the second half's poses to the frame of the first."""
    moved = poses.compose(drift)
    second = torch.from_numpy(side == 1)
    return Poses3D(
        torch.where(second[:, None, None], moved.rotation, poses.rotation),
        torch.where(second[:, None], moved.translation, poses.translation),
    )
