"""How far numbers may go that a person chooses: beyond, a mistake would take all memory or time."""

import re
from collections.abc import Mapping
from math import isfinite, prod
from typing import Any

from scipy.spatial.transform import Rotation

from ._errors import InputError

MAX_VALUES: Mapping[str, float] = {
    # of a training
    "box_size": 4096,
    "content_dim": 1000,
    "epochs": 1_000_000,
    "minutes": 527_040,  # a year
    "batch_size": 65_536,
    "steps_per_epoch": 10_000_000,
    "warm_up_steps": 10_000_000,
    "plateau_epochs": 1_000_000,
    "stop_epochs": 1_000_000,
    "content_delay": 1_000_000,
    "validation_images": 10_000_000,
    "training_size": 1_000_000_000,
    "structures": 50,
    "threads": 1024,
    "seed": 2**32 - 1,  # what all that draws at random takes
    # of networks; all together are bounded too, by `models.build_model`
    "n_rotations": 360,
    "width": 256,
    "generator_layers": 64,
    "n_pictures": 4096,
    "hypotheses": 1024,
    "rotation_hypotheses": 1024,
    "copies": 1024,
    "categories": 1000,
    # of what is done with a model, and of simulations
    "classes": 1000,
    "iterations": 1000,
    "max_shift": 2048,
    "n": 1_000_000,
}
"""By the name of an option or a field; of whole numbers that are not here `MAX_WHOLE_NUMBER`."""
MAX_WHOLE_NUMBER = 65_536
MAX_FOLD = 120
"""Of a symmetry Cn or Dn: what turns finer is round."""
MAX_VOXELS = 2**32
"""Of all that is simulated in memory at once: 16 GiB."""


def check_limits(values: Mapping[str, Any]) -> None:
    """Refuse numbers beyond their limit, and those that are none.

    Parameters
    ----------
    values : mapping
        Values by the name of an option or a field; only numbers are looked at.

    Raises
    ------
    InputError
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if isinstance(value, float) and not isfinite(value):
            raise InputError(f"{name} must be a finite number, got {value}.")
        highest = MAX_VALUES.get(name, MAX_WHOLE_NUMBER if isinstance(value, int) else None)
        if highest is not None and value > highest:
            raise InputError(f"{name} must be at most {highest:g}, got {_short(value)}.")
        if name == "seed" and value < 0:
            raise InputError(f"seed must not be negative, got {_short(value)}.")


def check_voxels(what: str, *sides: int) -> None:
    """Refuse to make an array of more than `MAX_VOXELS` voxels.

    Raises
    ------
    InputError
    """
    if prod(sides) > MAX_VOXELS:
        shape = " x ".join(map(_short, sides))
        raise InputError(
            f"{what} of {shape} voxels are too much; make at most {MAX_VOXELS:,} at once."
        )


def symmetry_group(name: str) -> Rotation:
    """Rotations under which an object of a symmetry looks the same.

    Parameters
    ----------
    name : str
        C1, C2, ..., D2, D3, ..., T, O or I; the axis of C and D is z.

    Raises
    ------
    InputError
        If there is no such group, or it has more than `MAX_FOLD` rotations about an axis.
    """
    found = re.fullmatch(r"[CD]([0-9]+)|[TOI]", name.upper())
    if found is None or (found[1] is not None and int(found[1][:9]) < 1):
        said = name if len(name) <= 40 else f"{name[:40]}..."
        raise InputError(f"a symmetry is C1, C2, ..., D2, ..., T, O or I, got {said!r}.")
    if found[1] is not None and (len(found[1]) > 9 or int(found[1]) > MAX_FOLD):
        raise InputError(
            f"a symmetry has at most {MAX_FOLD} rotations about its axis, got {name[:40]}."
        )
    return Rotation.create_group(name.upper())


def _short(number: float) -> str:
    """Write a number, and one of very many digits in a few."""
    text = str(number) if isinstance(number, float) or number < 10**30 else "a number beyond 1e30"
    return text
