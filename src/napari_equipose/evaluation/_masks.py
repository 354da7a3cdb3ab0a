"""Instance masks as truth: where each object is and how it lies."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from napari_equipose.geometry import InputError


class MaskObjects(NamedTuple):
    """The objects of a mask image, in order of their labels."""

    label: npt.NDArray[np.int64]  # (n,) value in the mask image
    positions: npt.NDArray[np.float64]  # (n, 2) pixels (y, x) of the centroids
    angle: npt.NDArray[np.float64]  # (n,) radians in [-pi / 2, pi / 2], of the major axis
    area: npt.NDArray[np.int64]  # (n,) pixels
    touches_border: npt.NDArray[np.bool_]  # (n,) cut off, so that centroid and angle are not exact


def objects_from_masks(masks: npt.ArrayLike) -> MaskObjects:
    """Measure each object of a mask image by its first and second moments.

    Parameters
    ----------
    masks : array_like of int, shape (y, x)
        0 is background, every other value one object.

    Returns
    -------
    MaskObjects
        An angle of 0 lies along x, and pi / 4 from the lower left to the upper right as
        displayed: counter-clockwise is positive, as for all rotations here. For a round object
        it means nothing.

    Raises
    ------
    InputError
        If the masks are no plane of whole numbers, or hold no object.
    """
    image = np.asarray(masks)
    if image.ndim != 2 or not np.issubdtype(image.dtype, np.integer):
        raise InputError(
            f"masks must be (y, x) whole numbers, got {image.dtype} of shape {image.shape}"
        )
    rows, columns = np.nonzero(image)
    if not len(rows):
        raise InputError("the masks hold no object: every pixel is 0")
    label, member = np.unique(image[rows, columns], return_inverse=True)
    area = np.bincount(member)
    y = np.bincount(member, rows) / area
    x = np.bincount(member, columns) / area
    dy, dx = rows - y[member], columns - x[member]
    yy, xx, yx = (np.bincount(member, product) / area for product in (dy * dy, dx * dx, dy * dx))
    # y points down, so a product of y and x counts the other way round
    angle = 0.5 * np.arctan2(-2 * yx, xx - yy)
    last = np.array(image.shape) - 1
    cut = (rows == 0) | (columns == 0) | (rows == last[0]) | (columns == last[1])
    touches = np.bincount(member, cut) > 0
    return MaskObjects(label.astype(np.int64), np.stack((y, x), -1), angle, area, touches)
