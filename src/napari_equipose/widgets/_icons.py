"""Small pictures beside words: averages, and the colours of classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap

from ._pictures import image_of

_SWATCH = 12  # pixels


def picture_icon(picture: NDArray[np.uint8], side: int) -> QIcon:
    """Make an icon of a picture (y, x) or (y, x, 3), so many pixels wide."""
    smooth = Qt.TransformationMode.SmoothTransformation
    keep = Qt.AspectRatioMode.KeepAspectRatio
    return _icon(QPixmap.fromImage(image_of(picture).scaled(side, side, keep, smooth)))


def colour_icon(rgba: NDArray[Any]) -> QIcon:
    """Make an icon of a colour (4,), from 0 to 1."""
    swatch = QPixmap(_SWATCH, _SWATCH)
    swatch.fill(QColor.fromRgbF(*(float(part) for part in rgba)))
    return _icon(swatch)


def _icon(pixels: QPixmap) -> QIcon:
    icon = QIcon(pixels)
    icon.addPixmap(pixels, QIcon.Mode.Selected)  # which Qt would tint
    return icon
