"""Candidate objects of volumes, given only how big an object is."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import InputError
from ._progress import finish
from ._volume_blobs import Blobs, find_blobs

Polarity = Literal["either", "dark", "bright"]

_NOISE = 3.0
"""Least score, in units of the noise."""
_BY_CHANCE = 0.1
"""Part of the candidates that blobs of the other polarity may outnumber."""
_MOST_CONTRAST = 5.0
"""Times the usual one: gold beads and dirt are beyond."""


class VolumeCandidates(NamedTuple):
    """Where objects may be in one volume; best first."""

    positions: NDArray[np.float32]
    """Shape (n, 3): (z, y, x) in pixels."""
    scores: NDArray[np.float32]
    """Shape (n,): how far each stands out, in units of the noise."""
    polarity: Literal["dark", "bright"]
    """Of the objects against their surroundings."""


def propose_in_volume(
    volume: NDArray[Any],
    box_size: int,
    polarity: Polarity = "either",
    *,
    max_candidates: int | None = None,
) -> VolumeCandidates:
    """Propose where the objects of a volume are, from nothing but their size.

    Blobs of several sizes stand out from the noise; as many blobs of the other polarity, which
    are no objects, stand out as much by chance, and tell where the list must end.

    Parameters
    ----------
    volume : array, shape (z, y, x)
        May be memory-mapped or lazy: it is read in tiles.
    box_size : int
        Side of a cube that holds one object with a little margin, in pixels.
    polarity : {"either", "dark", "bright"}
        Of the objects against their surroundings; "either" takes the one whose blobs stand out
        more.
    max_candidates : int, optional
        Keep no more than so many, the best.

    Raises
    ------
    InputError
        If the box is larger than the volume or smaller than 8 pixels, the volume is constant or
        holds NaN, or nothing stands out.
    """
    return propose_in_volumes([volume], box_size, polarity, max_candidates=max_candidates)[0]


def propose_in_volumes(
    volumes: Sequence[NDArray[Any]],
    box_size: int,
    polarity: Polarity = "either",
    *,
    max_candidates: int | None = None,
) -> list[VolumeCandidates]:
    """Propose objects in several volumes of one kind; they share one polarity.

    Parameters
    ----------
    volumes : sequence of array, shape (z, y, x)
    box_size, polarity
        As for `propose_in_volume`.
    max_candidates : int, optional
        For each volume.

    Returns
    -------
    list of VolumeCandidates
        One a volume; some may be empty, but not all.

    Raises
    ------
    InputError
        As for `propose_in_volume`.
    """
    if polarity not in ("either", "dark", "bright"):
        raise InputError(f"polarity must be either, dark or bright, got {polarity!r}.")
    found = [finish(find_blobs(volume, box_size)) for volume in volumes]
    room = sum(np.prod(volume.shape, dtype=float) for volume in volumes) / box_size**3
    evidence = [
        np.sort(np.concatenate([pair[side].scores for pair in found]))[::-1][: int(room) + 1].sum()
        for side in (0, 1)
    ]
    chosen: Literal["dark", "bright"] = "dark" if evidence[0] > evidence[1] else "bright"
    if polarity != "either":
        chosen = polarity
    candidates = [likely(*pair, chosen, _BY_CHANCE) for pair in found]
    if not any(len(each.scores) for each in candidates):
        raise InputError(
            f"found no {'' if polarity == 'either' else polarity + ' '}object of about "
            f"{box_size} pixels; try another box size or polarity."
        )
    return [
        VolumeCandidates(
            each.positions.astype(np.float32)[:max_candidates],
            each.scores.astype(np.float32)[:max_candidates],
            chosen,
        )
        for each in candidates
    ]


def likely(
    dark: Blobs, bright: Blobs, polarity: Literal["dark", "bright"], by_chance: float
) -> Blobs:
    """Blobs of one polarity that stand out more than those of the other do, best first.

    Parameters
    ----------
    dark, bright : Blobs
    polarity : {"dark", "bright"}
    by_chance : float
        Part of what is returned that blobs of the other polarity may outnumber.
    """
    own, other = (bright, dark) if polarity == "bright" else (dark, bright)
    above = np.arange(1, len(own.scores) + 1)
    chance = len(other.scores) - np.searchsorted(np.sort(other.scores), own.scores)
    enough = np.flatnonzero((chance <= by_chance * above) & (own.scores >= _NOISE))
    n = int(enough[-1]) + 1 if len(enough) else 0
    usual = float(np.median(own.scores[: n // 2 + 1])) if n else 0.0
    first = int((own.scores > _MOST_CONTRAST * usual).sum()) if n else 0
    return Blobs(own.positions[first:n], own.scores[first:n])
