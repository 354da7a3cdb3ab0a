"""Where the axes of a symmetric object lie in an average that was made without them."""

import torch
from torch import Tensor

from ..geometry import Poses3D, centred_grid
from ._averages import Frame, at_rest
from ._rotation_search import Search, nearby_rotations, rotations_everywhere
from ._spectra import coefficients, fine_spectrum, read_spectrum, shift_phase

_FIRST_SHELL, _SHELL = 6, 8  # cycles per box that tell where the axes are
_FIRST_STEP_DEG = 18.0
_STEPS_DEG = (9.0, 4.5, 2.0, 1.0, 0.5)
_MEMBERS = 16  # of a large group that the first search makes do with
_CANDIDATES = 4  # of the first search, that are looked at closely
_REACH = 2.0  # voxels
_AT_ONCE = 2**21  # coefficients in memory at a time


def find_axes(average: Tensor, frame: Frame) -> Poses3D:
    """Find how an object about the axes of a symmetry lies in an average (z, y, x).

    Of the ways to lay the axes into the average that is taken in which the average, made symmetric
    about them, stays most like itself.

    Returns
    -------
    Poses3D
        One: after it has been composed with this, a pose is one of an object about its axes.
    """
    spectrum = fine_spectrum(average[None])
    power = average.square()
    middle = (power[..., None] * centred_grid(average.shape)).sum((0, 1, 2)) / power.sum()
    search = Search.up_to(_SHELL, torch.ones(_SHELL + 1), frame.size, _REACH)
    best, found = -1.0, Poses3D.identity(1)
    for turn in _likely_turns(spectrum, middle, frame):
        rotation, shift, score = turn, middle, -1.0
        for step in _STEPS_DEG:
            symmetric = frame.density(at_rest(spectrum, rotation, shift, None, frame))
            turns = rotation @ nearby_rotations(step)
            reference = fine_spectrum(symmetric[None])
            score, rotation, shift = search.best(average, None, reference, turns, shift)
        if score > best:
            best, found = score, Poses3D(rotation[None], shift[None])
    return found


def _likely_turns(spectrum: Tensor, middle: Tensor, frame: Frame) -> Tensor:
    """Rotations about which most of the power is left when all that the symmetry takes is gone."""
    where = coefficients(frame.size, _FIRST_SHELL)
    turns, group = rotations_everywhere(_FIRST_STEP_DEG), frame.group
    group = group[:: -(-len(group) // _MEMBERS)]
    left = []
    for part in turns.split(max(1, _AT_ONCE // (len(group) * len(where.frequency)))):
        axes = part[:, None] @ group  # (r, g, 3, 3)
        frequency = where.frequency @ axes.mT
        values = read_spectrum(spectrum, frequency)
        values = (values * shift_phase(frequency, middle, frame.size)).mean(1)
        left.append((where.weight * values.abs().square()).sum(-1))
    return turns[torch.cat(left).topk(_CANDIDATES).indices]
