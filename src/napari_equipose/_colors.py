"""Colors of objects: by their angle, by a number, by their class; nothing here knows napari."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_LIGHTNESS, _CHROMA = 0.74, 0.124
"""In Oklab; the most colorful circle that a screen can show at this lightness."""
_START = np.radians(29.0)  # red, as of the usual wheels, where the angle is 0
_TO_LMS = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
UNKNOWN = (0.5, 0.53, 0.565, 1.0)
"""Of what has no angle, no number or no class."""
_RAMP = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")
_CLASSES: tuple[str, ...]
_CLASSES = ("ff9f40", "4fc3f7", "aed581", "f06292", "ffd54f", "9575cd")
_CLASSES += ("4db6ac", "e57373", "64ffda", "bcaaa4", "7986cb", "dce775")


def cyclic_rgba(turns: ArrayLike) -> NDArray[np.float32]:
    """Color angles that are given in turns: 0 and 1 have the same color.

    Hues are evenly spaced around a circle of constant lightness and chroma in Oklab.

    Parameters
    ----------
    turns : array_like, shape (n,)
        NaN where the angle is not known; such are gray.

    Returns
    -------
    array of float32, shape (n, 4)
        RGBA from 0 to 1.

    References
    ----------
    B. Ottosson, "A perceptual color space for image processing", 2020.
    """
    part = np.asarray(turns, np.float64).reshape(-1)
    known = np.isfinite(part)
    hue = _START + 2 * np.pi * np.where(known, part, 0.0)
    lab = np.stack((np.full_like(hue, _LIGHTNESS), _CHROMA * np.cos(hue), _CHROMA * np.sin(hue)), 1)
    linear = np.clip((lab @ _TO_LMS.T) ** 3 @ _TO_RGB.T, 0, 1)
    rgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    rgba = np.column_stack((rgb, np.ones(len(rgb))))
    rgba[~known] = UNKNOWN
    return rgba.astype(np.float32)


def ramp_rgba(parts: ArrayLike) -> NDArray[np.float32]:
    """Color numbers from 0 to 1, shape (n,), along viridis; RGBA (n, 4), gray for NaN."""
    part = np.asarray(parts, np.float64).reshape(-1)
    anchors = _rgba(_RAMP)
    place = np.nan_to_num(np.clip(part, 0, 1)) * (len(anchors) - 1)
    low = np.minimum(place.astype(np.intp), len(anchors) - 2)
    rest = (place - low)[:, None]
    rgba = (1 - rest) * anchors[low] + rest * anchors[low + 1]
    rgba[~np.isfinite(part)] = UNKNOWN
    return np.asarray(rgba, np.float32)


def class_rgba(labels: ArrayLike) -> NDArray[np.float32]:
    """Color classes, shape (n,): RGBA (n, 4), gray for negative labels, which are none."""
    label = np.asarray(labels, np.int64)
    palette = np.concatenate((_rgba(_CLASSES), [UNKNOWN])).astype(np.float32)
    colors: NDArray[np.float32] = palette[np.where(label < 0, -1, label % len(_CLASSES))]
    return colors


def _rgba(names: tuple[str, ...]) -> NDArray[np.float64]:
    return np.array([[*bytes.fromhex(name), 255] for name in names]) / 255
