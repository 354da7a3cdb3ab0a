"""Objects in a volume: blobs of their size, each compared with what a model draws of it."""

from collections.abc import Generator, Sequence
from types import NoneType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ..geometry import InputError, MissingWedge, check_array, check_type, refuse_untold_wedge
from ..models import SavedModel, choose_device, missing_wedge, model_kind
from ._detect import threshold_of
from ._detection_config import DetectionConfig
from ._progress import Notice, Progress
from ._threshold import suggest_threshold
from ._volume_blobs import check_volume, find_blobs
from ._volume_candidates import likely
from ._volume_poser import Picks3D, Poser

_BY_CHANCE = 0.5
"""As for `likely`: the model tells chance from objects better than blobs do."""
_DISTANCE = 0.3
"""Least distance between objects, in boxes."""
_FEWEST_DECOYS = 25


class VolumeSearch(NamedTuple):
    """All that may be an object of a volume, and the score from which it is one."""

    picks: Picks3D
    threshold: float
    """That of the model; of one that has none, what the negative of the volume suggests."""


def detect_volume(
    saved: SavedModel,
    volume: NDArray[Any],
    config: DetectionConfig | None = None,
    *,
    wedge: MissingWedge | None = None,
    device: str = "auto",
) -> Generator[Progress | Notice, None, Picks3D]:
    """Find every object of a volume.

    Blobs of the size of the model's boxes are candidates. What the model draws is turned to all
    rotations and correlated with each box where the tilt series measured it, for the encoder's own
    poses are coarse: the structures that the model began with, or else what it draws of the content
    that it infers of the box. Of fits to one object the best stays.

    Parameters
    ----------
    saved : SavedModel
        Of volumes, from a run on a tomogram or on a stack of subtomograms.
    volume : array, shape (z, y, x)
        At the pixel size the model was trained at; may be memory-mapped: it is read in pieces.
    config : DetectionConfig, optional
        Its ``rounds`` and ``tile_size`` are of images; ``min_distance`` is by default 0.3 boxes.
    wedge : MissingWedge, optional
        What the tilt series of the volume measured; by default what the model was trained with.
        Where neither tells, and a wedge is plainly missing, the volume is refused: from -90 to 90
        is all.
    device : str
        As for `models.choose_device`.

    Yields
    ------
    Progress
    Notice
        Which threshold is taken, where neither ``config`` nor the model has one: a model that
        learnt from boxes knows no chance fits. Then those in the negative of the volume tell it.

    Returns
    -------
    Picks3D
        Sub-pixel positions; possibly none.

    Raises
    ------
    InputError
        If the volume does not fit the model, or the model is not of volumes.

    References
    ----------
    F. Foerster et al., J. Struct. Biol. 161, 2008: the constrained cross-correlation.
    """
    config = config or DetectionConfig()
    _check(saved, volume, config, wedge, device)
    return _detect_volume(saved, volume, config, wedge, device)


def _detect_volume(
    saved: SavedModel,
    volume: NDArray[Any],
    config: DetectionConfig,
    wedge: MissingWedge | None,
    device: str,
) -> Generator[Progress | Notice, None, Picks3D]:
    found, threshold = yield from search_volume(saved, volume, config, wedge=wedge, device=device)
    if config.threshold is None and "threshold" not in saved.record:
        yield Notice(
            f"the model has no threshold of its own; {threshold:.3f} is taken, by what is found "
            "in the negative of the volume"
        )
    return found.select(found.score >= threshold)


def search_volume(
    saved: SavedModel,
    volume: NDArray[Any],
    config: DetectionConfig | None = None,
    *,
    wedge: MissingWedge | None = None,
    device: str = "auto",
) -> Generator[Progress, None, VolumeSearch]:
    """Do the work of `detect_volume`, but leave out no object of a low score.

    Parameters
    ----------
    saved, volume, wedge, device
        As for `detect_volume`.
    config : DetectionConfig, optional
        Its threshold, where it has one, is returned as it is.

    Yields
    ------
    Progress

    Returns
    -------
    VolumeSearch

    Raises
    ------
    InputError
        As for `detect_volume`.
    """
    config = config or DetectionConfig()
    _check(saved, volume, config, wedge, device)
    return _search_volume(saved, volume, config, wedge, device)


def _search_volume(
    saved: SavedModel,
    volume: NDArray[Any],
    config: DetectionConfig,
    wedge: MissingWedge | None,
    device: str,
) -> Generator[Progress, None, VolumeSearch]:
    poser = Poser(saved, device, wedge)
    calibrated = config.threshold is not None or "threshold" in saved.record
    found, decoys = yield from _compare(poser, volume, with_decoys=not calibrated)
    if decoys is None:
        threshold = threshold_of(saved) if config.threshold is None else config.threshold
    else:
        threshold = suggest_threshold(found.score, decoys.score)
    found = found.select(np.argsort(-found.score, kind="stable"))
    inside = (found.positions >= -0.5) & (found.positions < np.array(volume.shape) - 0.5)
    found = found.select(np.flatnonzero(inside.all(1)))
    kept = _far_apart(found.positions, config.min_distance or _DISTANCE * poser.size)
    return VolumeSearch(found.select(kept), threshold)


def calibrate_volumes(
    saved: SavedModel, volumes: Sequence[NDArray[Any]], device: str = "auto"
) -> Generator[Progress, None, float]:
    """Set the threshold between what is found in volumes and what is found in their negatives.

    Parameters
    ----------
    saved : SavedModel
        Of volumes.
    volumes : sequence of array, shape (z, y, x)
        Such as the model was trained on.
    device : str
        As for `models.choose_device`.

    Yields
    ------
    Progress

    Returns
    -------
    float
        As `suggest_threshold` says.

    Raises
    ------
    InputError
        If there are no volumes, or as for `detect_volume`.
    """
    check_type("volumes", volumes, Sequence)
    if not len(volumes):
        raise InputError("there are no volumes to set the threshold by.")
    for volume in volumes:
        _check(saved, volume, DetectionConfig(), None, device)
    return _calibrate_volumes(saved, volumes, device)


def _calibrate_volumes(
    saved: SavedModel, volumes: Sequence[NDArray[Any]], device: str
) -> Generator[Progress, None, float]:
    poser = Poser(saved, device)
    scores, chance = [], []
    for volume in volumes:
        found, decoys = yield from _compare(poser, volume, with_decoys=True)
        assert decoys is not None
        scores.append(found.score)
        chance.append(decoys.score)
    return suggest_threshold(np.concatenate(scores), np.concatenate(chance))


def _compare(
    poser: Poser, volume: NDArray[Any], *, with_decoys: bool
) -> Generator[Progress, None, tuple[Picks3D, Picks3D | None]]:
    """Fit what is drawn to candidates, and to as many blobs that are no objects if wanted."""
    blobs = yield from find_blobs(volume, poser.size)
    side = poser.polarity(volume, blobs)
    own = likely(*blobs, side, _BY_CHANCE).positions
    found = yield from poser.fit(volume, own)
    if not with_decoys:
        return found, None
    other = blobs[0 if side == "bright" else 1].positions[: max(len(own), _FEWEST_DECOYS)]
    return found, (yield from poser.fit(volume, other, negative=True))


def _check(
    saved: SavedModel,
    volume: NDArray[Any],
    config: DetectionConfig,
    wedge: MissingWedge | None,
    device: str,
) -> None:
    """Refuse what no search can be done with, before it begins."""
    check_type("saved", saved, SavedModel)
    check_array("volume", volume)
    check_type("config", config, DetectionConfig)
    check_type("wedge", wedge, MissingWedge, NoneType)
    choose_device(device)
    capabilities = saved.model.capabilities
    if 3 not in capabilities.dimensions:
        raise InputError(
            f"this {saved.kind} model is of images, and a volume of shape {volume.shape} was "
            "given; train one on volumes (--model harmony)."
        )
    if 3 not in model_kind(saved.kind).finds_in:
        raise InputError(
            f"a {saved.kind} model finds no objects in volumes; cut boxes and use 'encode', or "
            "train one that does (--model harmony)."
        )
    check_volume(volume, saved.model.config.box_size)
    if (wedge or missing_wedge(saved.model.config)) is None:
        refuse_untold_wedge(volume)


def _far_apart(positions: NDArray[np.float32], distance: float) -> NDArray[np.int64]:
    """Rows, best first, that lie so far from all better ones."""
    free = np.ones(len(positions), bool)
    if len(positions):
        for row, near in enumerate(KDTree(positions).query_ball_point(positions, distance)):
            if free[row]:
                free[[other for other in near if other > row]] = False
    return np.flatnonzero(free)
