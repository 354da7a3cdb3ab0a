"""Whether images are of the kind a model was trained on, and at its pixel size, in plain words."""

from collections.abc import Sequence

from ..geometry import InputError
from ..models import SavedModel
from ._progress import Notice

_ALIKE = 0.02
"""Pixel sizes that differ by no more are one: as of STAR files."""
_WORDS = {2: "images", 3: "volumes"}


def check_kind_of_image(saved: SavedModel, shape: Sequence[int]) -> None:
    """Refuse a large image or a volume of other dimensions or colors than a model was trained on.

    Parameters
    ----------
    saved : SavedModel
    shape : sequence of int
        (y, x), (y, x, 3) or (z, y, x).

    Raises
    ------
    InputError
    """
    wanted = 3 if 3 in saved.model.capabilities.dimensions else 2
    color = wanted == 2 and len(shape) == 3 and shape[-1] == 3
    if len(shape) - color != wanted:
        given = "an image" if len(shape) == 2 else "a volume or a stack"
        one = "one plane (y, x) of it" if wanted == 2 else "a volume (z, y, x)"
        raise InputError(
            f"the model was trained on {_WORDS[wanted]}, and this is {given} of shape "
            f"{tuple(shape)}: give {one}, or train a model on {_WORDS[5 - wanted]}."
        )
    if wanted == 2:
        _check_color(saved, color, shape, "the image")


def check_kind_of_boxes(saved: SavedModel, shape: Sequence[int]) -> None:
    """Refuse a stack of boxes of another kind or size than a model was trained on.

    Parameters
    ----------
    saved : SavedModel
    shape : sequence of int
        (n, y, x), (n, y, x, 3) or (n, z, y, x).

    Raises
    ------
    InputError
    """
    box, own = tuple(shape[1:]), saved.box_shape
    if box == own:
        return
    wanted = 3 if 3 in saved.model.capabilities.dimensions else 2
    color = wanted == 2 and len(box) == 3 and box[-1] == 3
    if len(box) - color != wanted:
        given = {1: "lines", 2: "images", 3: "volumes"}.get(len(box), "something else")
        raise InputError(
            f"the model was trained on {_WORDS[wanted]} of shape {own}, and the stack of shape "
            f"{tuple(shape)} holds {given}: give a stack of {_WORDS[wanted]}, or train a model on "
            f"{given}."
        )
    if wanted == 2:
        _check_color(saved, color, shape, "the stack")
    size = saved.model.config.box_size
    raise InputError(
        f"the model was trained on boxes of shape {own}, and the stack has shape {tuple(shape)}: "
        f"cut boxes of {size} pixels, at the pixel size of the training."
    )


def _check_color(saved: SavedModel, color: bool, shape: Sequence[int], what: str) -> None:
    if color and saved.model.config.channels == 1:
        raise InputError(
            f"the model was trained on gray images, and {what}, of shape {tuple(shape)}, is in "
            "color: convert it to gray, or train a model on images in color."
        )
    if not color and saved.model.config.channels == 3:
        raise InputError(
            f"the model was trained on images in color, and {what}, of shape {tuple(shape)}, is "
            "gray: give it in color, or train a model on gray images."
        )


def pixel_size_notice(saved: SavedModel, pixel_size: float | None, name: str) -> Notice | None:
    """Say that images are not at the pixel size a model was trained at, and what to do.

    A model knows objects by their size in pixels, and nothing in its result would show that
    they are of another.

    Parameters
    ----------
    saved : SavedModel
    pixel_size : float or None
        Of the images, Angstrom; None where it is not known.
    name : str
        Of the file or layer.

    Returns
    -------
    Notice or None
        None where both are known to be the same within 2 %, or either is not known.
    """
    own = saved.pixel_size
    if own is None or pixel_size is None or abs(pixel_size / own - 1) <= _ALIKE:
        return None
    factor = own / pixel_size
    whole = round(factor)
    if whole >= 2 and abs(factor / whole - 1) <= _ALIKE:
        advice = f"bin it by {whole} first"
    elif factor > 1:
        advice = f"scale it by {1 / factor:.3g} first, to {own:.4g} Angstrom a pixel"
    else:
        advice = (
            f"take images of {own:.4g} Angstrom a pixel ({1 / factor:.3g} times finer), or train a "
            f"model at {pixel_size:.4g}"
        )
    looks = f"{factor:.3g} times larger" if factor > 1 else f"{1 / factor:.3g} times smaller"
    return Notice(
        f"pixels of {name} are {pixel_size:.4g} Angstrom and the model was trained at {own:.4g}, "
        f"so that objects look {looks} than those it knows: {advice}"
    )
