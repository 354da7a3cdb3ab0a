"""Places for objects in an image."""

import numpy as np
import numpy.typing as npt

from napari_equipose.geometry import InputError

_ATTEMPTS = 500  # draws for one object before the image counts as full


def place_objects(
    rng: np.random.Generator,
    n: int,
    shape: tuple[int, int],
    *,
    diameter: float,
    margin: float,
    overlap: float = 0.0,
) -> npt.NDArray[np.float64]:
    """Draw positions for ``n`` discs in an image.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the positions.
    n : int
        How many.
    shape : (int, int)
        Size (y, x) of the image in pixels.
    diameter : float
        Of the discs, in pixels: without ``overlap`` no two centres are closer.
    margin : float
        Least distance of a centre from the border, in pixels.
    overlap : float
        Part of the diameter, in [0, 1), by which two discs may run into each other.
        When it is not zero every second disc is put beside an earlier one, so that
        overlaps do occur: their distance is uniform between
        ``(1 - overlap) * diameter`` and ``diameter``.

    Returns
    -------
    ndarray, shape (n, 2)
        Pixels, (y, x), not rounded.

    Raises
    ------
    InputError
        If so many don't fit into the image, or ``overlap`` is out of range.
    """
    if not 0 <= overlap < 1:
        raise InputError(f"overlap is a part of the diameter in [0, 1), got {overlap}")
    low = np.full(2, margin, float)
    high = np.array(shape, float) - 1 - margin
    if (high < low).any():
        raise InputError(f"an image of {shape} pixels has no room inside a margin of {margin}")
    least = (1 - overlap) * diameter
    placed = np.empty((n, 2))
    for i in range(n):
        for _ in range(_ATTEMPTS):
            if overlap and i % 2:
                angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(least, diameter)
                offset = distance * np.array([np.sin(angle), np.cos(angle)])
                place = placed[rng.integers(i)] + offset
            else:
                place = rng.uniform(low, high)
            inside = (place >= low).all() and (place <= high).all()
            if inside and (np.hypot(*(placed[:i] - place).T) >= least).all():
                placed[i] = place
                break
        else:
            raise InputError(
                f"only {i} of {n} objects of diameter {diameter:g} px found room in an image of "
                f"{shape[0]} x {shape[1]} px: ask for fewer, or for a larger image"
            )
    return placed


def grow_clump(
    rng: np.random.Generator, n: int, shape: tuple[int, int], *, diameter: float
) -> npt.NDArray[np.float64]:
    """Draw positions of discs that lie on one another, each put beside an earlier one.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the positions.
    n : int
        How many.
    shape : (int, int)
        Size (y, x) of the image in pixels; the centres are inside.
    diameter : float
        Of the discs, in pixels.

    Returns
    -------
    ndarray, shape (n, 2)
        Pixels, (y, x), not rounded.
    """
    last = np.array(shape, float) - 1
    placed = rng.uniform(0, last, (1, 2))
    while len(placed) < n:
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.7) * diameter
        offset = distance * np.array([np.sin(angle), np.cos(angle)])
        place = np.clip(placed[rng.integers(len(placed))] + offset, 0, last)
        placed = np.concatenate((placed, place[None]))
    return placed
