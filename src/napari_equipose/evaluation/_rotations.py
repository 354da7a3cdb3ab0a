"""Rotations in space against true ones, whose common frame is unknown."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from napari_equipose.geometry import InputError, symmetry_group

Array = npt.NDArray[np.float64]

_CANDIDATES = 100
_ROUNDS = 5


class GeodesicErrors(NamedTuple):
    """Angles between predicted and true rotations, each group's gauge removed."""

    degrees: Array  # (n,), in [0, 180]
    median: float
    """In degrees; guessing gives 126.5 where nothing looks alike."""


def geodesic_errors(
    predicted: npt.ArrayLike,
    true: npt.ArrayLike,
    symmetry: str = "C1",
    groups: npt.ArrayLike | None = None,
) -> GeodesicErrors:
    """Angles on SO(3) between rotations, after removing one rotation for each group.

    With poses ``x_image = R x_canonical + t``, another canonical frame multiplies all rotations
    from the right, and so do the symmetries of the object.

    Parameters
    ----------
    predicted, true : array_like, shape (n, 3, 3)
        Rotation matrices on columns (z, y, x).
    symmetry : str
        Of the object in its true canonical frame, see `geometry.symmetry_group`.
    groups : array_like, shape (n,), optional
        Objects of one canonical frame share a value (their structure, say).

    Raises
    ------
    InputError
        If the arrays do not fit together, or there is no such symmetry.
    """
    a, b = np.asarray(predicted, float), np.asarray(true, float)
    if a.shape != b.shape or a.ndim != 3 or a.shape[1:] != (3, 3) or not len(a):
        raise InputError(f"rotations must be two (n, 3, 3) arrays, got {a.shape} and {b.shape}.")
    group = np.zeros(len(a), int) if groups is None else np.asarray(groups)
    if group.shape != a.shape[:1]:
        raise InputError(f"each of {len(a)} rotations needs a group, got {group.shape}.")
    alike = symmetry_group(symmetry).as_matrix()[:, ::-1, ::-1]  # xyz to zyx
    relative = np.swapaxes(a, 1, 2) @ b  # frame times symmetry, where all is right
    degrees = np.empty(len(a))
    for name in np.unique(group):
        rows = group == name
        degrees[rows] = _errors_about_best_frame(relative[rows], alike)
    return GeodesicErrors(degrees, float(np.median(degrees)))


def _errors_about_best_frame(relative: Array, alike: Array) -> Array:
    """Errors in degrees from the frame that most rotations agree on.

    A mean over all would lie between the hills of a bad prediction; so each of some rotations is
    tried, and the best one is improved by the mean of those that lie near it.
    """
    step = -(-len(relative) // _CANDIDATES)
    trials = [_errors(frame, relative, alike)[0] for frame in relative[::step]]
    best = int(np.argmin([np.median(errors) for errors in trials]))
    frame, errors = relative[::step][best], trials[best]
    for _ in range(_ROUNDS):
        found, nearest = _errors(frame, relative, alike)
        near = found <= 2 * np.median(found)
        frame = Rotation.from_matrix((relative @ nearest)[near]).mean().as_matrix()
        found, _ = _errors(frame, relative, alike)
        if np.median(found) < np.median(errors):
            errors = found
    return errors


def _errors(frame: Array, relative: Array, alike: Array) -> tuple[Array, Array]:
    """Errors (n,) from a frame in degrees, and the symmetry (n, 3, 3) that makes each least."""
    turned = np.einsum("ji,njk,skl->nsil", frame, relative, alike)
    cos = (np.trace(turned, axis1=2, axis2=3) - 1) / 2
    nearest = cos.argmax(1)
    # the chord is exact near zero, where the cosine is flat
    chord = np.linalg.norm(turned[np.arange(len(turned)), nearest] - np.eye(3), axis=(1, 2))
    return np.degrees(2 * np.arcsin(np.clip(chord / np.sqrt(8), 0, 1))), alike[nearest]
