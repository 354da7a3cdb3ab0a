"""What a model file says of where its images came from, and what follows from that."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from ..geometry import InputError
from ..io import in_angstrom
from ._run_file import TrainingRun

_ALIKE = 0.02
"""Pixel sizes that differ by no more are one."""


def without_folders(value: Any) -> Any:
    """Keep of each whole path in plain JSON only the name of the file."""
    if isinstance(value, Mapping):
        return {name: without_folders(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(one) for one in value]
    if not isinstance(value, str):
        return value
    kinds = (PureWindowsPath, PurePosixPath)
    return next((kind(value).name for kind in kinds if kind(value).is_absolute()), value)


def settings_to_share(run: TrainingRun) -> dict[str, Any]:
    """The settings of a run as plain JSON; of its files the names only, without folders."""
    settings = asdict(run)
    settings["images"] = [PureWindowsPath(name).name for name in run.images]
    for name in ("positions", "examples", "targets", "output"):
        settings[name] = PureWindowsPath(settings[name]).name
    return settings


def common_pixel_size(sizes: Mapping[str, float | None]) -> float | None:
    """The one pixel size of images, by name; None where no file says one.

    Raises
    ------
    InputError
        If two differ by more than 2 %: one model has one scale.
    """
    known = {name: size for name, size in sizes.items() if size is not None}
    if not known:
        return None
    fine, coarse = (choose(known, key=known.__getitem__) for choose in (min, max))
    ratio = known[coarse] / known[fine]
    if ratio > 1 + _ALIKE:
        raise InputError(
            f"{fine} has {known[fine]:.4g} Angstrom a pixel and {coarse} {known[coarse]:.4g}, and "
            f"a model is of one pixel size: bin {fine} by {ratio:.3g}, train on them apart, or "
            "say with the setting pixel_size (--pixel-size) what all of them have."
        )
    return known[fine]


def pixel_size_of_layer(source: Mapping[str, Any]) -> float | None:
    """Angstrom a pixel of an image layer; None where its units are no lengths.

    Parameters
    ----------
    source : mapping
        ``scale`` and ``units`` of the layer, of axes that end with y and x; and, of a level of a
        pyramid, ``factor``, how many pixels of the layer are in one of the level.
    """
    steps, units = (list(source.get(name, ()))[-2:] for name in ("scale", "units"))
    factors = list(source.get("factor", (1, 1)))[-2:]
    if not len(steps) == len(units) == len(factors) == 2:
        return None
    sides = [
        in_angstrom(abs(float(step) * float(factor)), unit)
        for step, factor, unit in zip(steps, factors, units, strict=True)
    ]
    known = [side for side in sides if side is not None]
    if len(known) < 2 or max(known) > (1 + _ALIKE) * min(known):
        return None
    return known[-1]
