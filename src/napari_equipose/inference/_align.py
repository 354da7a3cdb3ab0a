"""Particles of a stack brought to rest, class by class."""

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..geometry import InputError, check_array, check_type, refuse_untold_wedge
from ..models import SavedModel, choose_device, missing_wedge
from ._align_class import Stand, Step, align_volumes, average_images
from ._alignment import AlignConfig, Alignment
from ._averages import Wedges, check_frame, check_volumes
from ._cluster import cluster
from ._encode import check_boxes, encode
from ._subtomogram_refinement import LEAST_VOLUMES


def align(
    saved: SavedModel,
    stack: NDArray[Any],
    config: AlignConfig | None = None,
    *,
    wedge: Wedges = None,
    half: ArrayLike | None = None,
    device: str = "auto",
) -> Generator[Step, None, Alignment]:
    """Infer the poses of a stack, refine them, and average each class.

    Parameters
    ----------
    saved : SavedModel
        Of images or of volumes; its normalisation is applied to what it sees, not to what is
        averaged.
    stack : array, shape (n, y, x), (n, y, x, 3) or (n, z, y, x)
        At least 8 boxes of the size the model was trained on; read a few at a time, so that it may
        be memory-mapped or gathered from many files.
    config : AlignConfig, optional
    wedge : MissingWedge, or a sequence of one for each volume, optional
        What was measured of volumes; by default what the model was trained with. Where neither
        tells, and a wedge is plainly missing, they are refused: from -90 to 90 is all.
    half : array_like, shape (n,), optional
        0 or 1 for each particle, where halves were kept apart before; at random by default.
    device : str
        For the model, as for `models.choose_device`.

    Yields
    ------
    Progress
        After each batch or volume.
    Notice
        Where a class is too small to be refined.
    AlignmentUpdate
        Before each iteration of the refinement of a class, and when the class is done.

    Returns
    -------
    Alignment

    Raises
    ------
    InputError
        If the boxes do not fit the model, or it infers no pose of images; if they are too few, or
        wedges or halves do not fit them; if they miss a wedge of which nobody told.

    Notes
    -----
    The halves of volumes that are searched for everywhere share nothing but the classes. Where the
    poses, or the start of their search, come from the model, both halves share the model, which
    saw them all: their correlation is then too high where the model has fitted noise.
    `ClassAverage` says which of the two it is.
    """
    config = config or AlignConfig()
    check_type("saved", saved, SavedModel)
    check_array("stack", stack)
    check_type("config", config, AlignConfig)
    choose_device(device)
    volumes = 3 in saved.model.capabilities.dimensions
    if not (volumes or saved.model.capabilities.infers):  # volumes can be searched for poses
        raise InputError(
            f"a {saved.kind} model infers no pose, so it brings no images to rest; train another "
            "kind of model."
        )
    if volumes and wedge is None:
        wedge = missing_wedge(saved.model.config)
    if config.search == "auto":
        local = bool(saved.record.get("structures")) and not config.refinement.everywhere
        config = replace(config, search="local" if local else "everywhere")
    _check(stack, config, wedge, half, volumes)
    check_boxes(saved, stack)
    if volumes and wedge is None:
        refuse_untold_wedge(stack)
    return _align(saved, stack, config, wedge, half, device)


def _align(
    saved: SavedModel,
    stack: NDArray[Any],
    config: AlignConfig,
    wedge: Wedges,
    half: ArrayLike | None,
    device: str,
) -> Generator[Step, None, Alignment]:
    found = yield from encode(saved, stack, refine=config.refine, device=device)
    seed = config.refinement.seed
    label = found.category
    if config.classes is not None:
        label = cluster(found.content, config.classes, seed)
    stand = Stand(found, label, split_in_halves(len(stack), half, label, seed))
    for name in _names(label):
        if 3 in saved.model.capabilities.dimensions:
            yield from align_volumes(saved, stack, stand, name, config, wedge, device)
        else:
            yield from average_images(stack, stand, name, config)
    return stand.alignment()


def _check(
    stack: NDArray[Any], config: AlignConfig, wedge: Wedges, half: ArrayLike | None, volumes: bool
) -> None:
    """Refuse before the work what would be refused after it."""
    n, settings = len(stack), config.refinement
    if n < LEAST_VOLUMES:
        raise InputError(f"aligning needs at least {LEAST_VOLUMES} particles, got {n}.")
    if volumes:
        check_volumes(stack, wedge)
    elif wedge is not None or settings.symmetry.upper() != "C1":
        raise InputError("a tilt range and a symmetry are for volumes; the model is of images.")
    check_frame(stack.shape[1], settings.symmetry, settings.mask_radius)
    if volumes and settings.max_shift > stack.shape[1] / 2:
        raise InputError(
            f"max_shift must be at most half the box ({stack.shape[1] / 2:g} voxels), got "
            f"{settings.max_shift:g}."
        )
    if half is not None:
        given = np.asarray(half)
        if given.shape != (n,) or not np.isin(given, (0, 1)).all():
            raise InputError(f"halves are given as 0 or 1 for each of {n} particles.")


def split_in_halves(
    n: int, half: ArrayLike | None, label: NDArray[np.int64] | None, seed: int
) -> NDArray[np.int64]:
    """Take the halves (n,) that are given, or split each class of ``n`` particles at random."""
    if half is not None:
        return np.asarray(half).astype(np.int64)
    rng, side = np.random.default_rng(seed), np.zeros(n, np.int64)
    for name in _names(label):
        rows = np.arange(n) if label is None else np.flatnonzero(label == name)
        side[rows] = rng.permutation(len(rows)) % 2
    return side


def _names(label: NDArray[np.int64] | None) -> list[int]:
    """Numbers of the classes that have members; a system's own categories may have none."""
    return [0] if label is None else [int(name) for name in np.unique(label)]
