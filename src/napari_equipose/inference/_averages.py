"""Averages of volumes at their poses, each counted only where it was measured."""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import (
    InputError,
    MissingWedge,
    Poses3D,
    smooth_ball_mask,
    swap_axis_order,
    symmetry_group,
)
from ._progress import Progress
from ._spectra import (
    Coefficients,
    coefficients,
    fine_spectrum,
    read_spectrum,
    shift_phase,
    to_volume,
)

Wedges = MissingWedge | Sequence[MissingWedge] | None
"""One for all volumes, or one for each; None where all was measured."""

_FLOOR = 0.1  # of all: a coefficient that fewer measured is not raised to full strength
_EDGE = 3.0  # voxels over which masks fall


class Sums(NamedTuple):
    """What volumes at rest add up to."""

    values: Tensor  # (k,) complex, sum of the coefficients that were measured
    weight: Tensor  # (k,) how many measured each
    number: int

    def __sub__(self, other: "Sums") -> "Sums":
        return Sums(
            self.values - other.values, self.weight - other.weight, self.number - other.number
        )

    def plus(self, other: "Sums") -> "Sums":
        """Add what others add up to."""
        return Sums(
            self.values + other.values, self.weight + other.weight, self.number + other.number
        )

    @classmethod
    def nothing(cls, where: Coefficients) -> "Sums":
        """Start with none."""
        n = len(where.frequency)
        return cls(torch.zeros(n, dtype=torch.complex64), torch.zeros(n), 0)


def check_frame(
    size: int, symmetry: str = "C1", mask_radius: float | None = None
) -> NDArray[np.float64]:
    """Refuse a symmetry that is none and a mask that leaves the box; the group on (x, y, z)."""
    if mask_radius is not None and not 2 <= mask_radius <= size / 2:
        raise InputError(
            f"the radius of the mask must be from 2 voxels to half the box ({size / 2:g}), "
            f"got {mask_radius:g}."
        )
    return np.asarray(symmetry_group(symmetry).as_matrix())


class Frame(NamedTuple):
    """The box that averages are made in."""

    size: int
    where: Coefficients
    group: Tensor  # (g, 3, 3) rotations on (z, y, x) under which the object looks the same
    mask: Tensor  # (size, size, size)

    @classmethod
    def of(cls, size: int, symmetry: str = "C1", mask_radius: float | None = None) -> "Frame":
        """Check the settings, and make their frame."""
        group = check_frame(size, symmetry, mask_radius)
        mask = smooth_ball_mask(size, mask_radius, edge=_EDGE)
        turns = torch.from_numpy(swap_axis_order(group)).float()
        return cls(size, coefficients(size), turns, mask)

    def without_symmetry(self) -> "Frame":
        """The same box, of an object of which no symmetry is known."""
        return self._replace(group=torch.eye(3)[None])

    def density(self, sums: Sums) -> Tensor:
        """Divide what was measured by how often it was, and mask it, shape (z, y, x)."""
        values, weight = sums.values, sums.weight
        if len(self.group) > 1:
            values, weight = self._alike(values), self._alike(weight.to(values)).real
        mean = values / weight.clamp(min=max(_FLOOR * sums.number, 1e-6))
        return to_volume(mean, self.where, self.size) * self.mask

    def _alike(self, values: Tensor) -> Tensor:
        """Coefficients, averaged over the symmetry."""
        volume = to_volume(values, self.where, self.size)[None]
        spectra = {between: fine_spectrum(volume, between) for between in (False, True)}
        total = torch.zeros_like(values)
        for turn in self.group:
            between = not torch.allclose(turn, turn.round(), atol=1e-5)
            total = total + read_spectrum(spectra[between], self.where.frequency @ turn)
        return total / len(self.group)


class Chosen:
    """Some volumes of a stack as a stack, none of them read before its turn."""

    def __init__(self, stack: Any, rows: NDArray[np.int64]) -> None:
        self._stack, self._rows = stack, rows
        self.shape = (len(rows), *stack.shape[1:])
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        """Number of volumes."""
        return len(self._rows)

    def __getitem__(self, number: int) -> Any:
        """Read one."""
        return self._stack[int(self._rows[number])]


def wedges_of(wedge: Wedges, rows: NDArray[np.int64]) -> Wedges:
    """Tell the wedges of some volumes."""
    if wedge is None or isinstance(wedge, MissingWedge):
        return wedge
    return [wedge[row] for row in rows]


def wedge_of(wedge: Wedges, number: int) -> MissingWedge | None:
    """Tell the wedge of a volume."""
    return wedge if wedge is None or isinstance(wedge, MissingWedge) else wedge[number]


def at_rest(
    spectrum: Tensor,
    rotation: Tensor,
    translation: Tensor,
    wedge: MissingWedge | None,
    frame: Frame,
) -> Sums:
    """Bring one volume's fine spectrum (1, 2, z, y, x) to rest."""
    turned = frame.where.frequency @ rotation.mT
    values = read_spectrum(spectrum, turned) * shift_phase(turned, translation, frame.size)
    measured = torch.ones(len(turned)) if wedge is None else wedge.measures(turned).float()
    return Sums(values * measured, measured, 1)


def read_volume(volumes: NDArray[Any], number: int) -> Tensor:
    """Read one of many volumes into memory."""
    volume = np.array(volumes[number], np.float32)
    if not np.isfinite(volume).all():
        raise InputError(f"volume {number + 1} has values that are not finite.")
    if volume.min() == volume.max():
        raise InputError(f"volume {number + 1} is the same everywhere; leave it out.")
    return torch.from_numpy(volume)


def check_volumes(volumes: NDArray[Any], wedge: Wedges) -> None:
    """Refuse what is no stack of cubes, each with its wedge."""
    if volumes.ndim != 4 or len(set(volumes.shape[1:])) != 1 or volumes.shape[-1] < 8:
        raise InputError(
            "a stack of cubic volumes (n, z, y, x) of at least 8 voxels is wanted, got shape "
            f"{volumes.shape}; cut cubic boxes."
        )
    if not (wedge is None or isinstance(wedge, MissingWedge) or len(wedge) == len(volumes)):
        raise InputError(
            f"each of {len(volumes)} volumes needs its tilt range, got {len(wedge)}; give one "
            "for all, or one for each."
        )


def average_volumes(
    volumes: NDArray[Any],
    poses: Poses3D,
    wedge: Wedges = None,
    symmetry: str = "C1",
    mask_radius: float | None = None,
) -> NDArray[np.float32]:
    """Average volumes brought to rest, each coefficient over those that measured it.

    Parameters
    ----------
    volumes : array, shape (n, z, y, x)
        Of equal sides; may be memory-mapped.
    poses : Poses3D
        One for each volume.
    wedge : MissingWedge, or a sequence of one for each volume, optional
        What was measured; all by default.
    symmetry : str
        C1, C2, ..., D2, ..., T, O or I, imposed about the centre voxel; the axis of C and D is z.
    mask_radius : float, optional
        Voxels from the centre at which the soft mask is one half; by default the largest ball.

    Returns
    -------
    array of float32, shape (z, y, x)
        Where less than a tenth measured a coefficient, it stays weaker than it is.

    Raises
    ------
    InputError
        If there is nothing to average, or it does not fit together.
    """
    check_volumes(volumes, wedge)
    n = len(volumes)
    if not n or poses.rotation.shape != (n, 3, 3) or poses.translation.shape != (n, 3):
        raise InputError(
            f"each of {n} volumes needs one pose, got {tuple(poses.rotation.shape)} rotations and "
            f"{tuple(poses.translation.shape)} translations."
        )
    frame = Frame.of(volumes.shape[-1], symmetry, mask_radius)
    return frame.density(sum_volumes(volumes, range(n), poses, wedge, frame)).numpy()


def sum_volumes(
    volumes: NDArray[Any], rows: Sequence[int], poses: Poses3D, wedge: Wedges, frame: Frame
) -> Sums:
    """Add up some of the volumes at rest."""
    total = Sums.nothing(frame.where)
    rotation, translation = poses.rotation.float(), poses.translation.float()
    for row in rows:
        spectrum = fine_spectrum(read_volume(volumes, row)[None])
        pose = rotation[row], translation[row]
        total = total.plus(at_rest(spectrum, *pose, wedge_of(wedge, row), frame))
    return total


def sum_halves(
    volumes: NDArray[Any],
    poses: Poses3D,
    side: NDArray[np.int64],
    wedge: Wedges,
    frame: Frame,
    so_far: Progress,
) -> Generator[Progress, None, list[Sums]]:
    """Add up each half."""
    totals = [Sums.nothing(frame.where), Sums.nothing(frame.where)]
    for row, name in enumerate(side):
        totals[name] = totals[name].plus(sum_volumes(volumes, [row], poses, wedge, frame))
        yield so_far._replace(done=so_far.done + row + 1)
    return totals
