"""Turned and shifted digits: the data sets MNIST(U) and MNIST(N) of the TARGET-VAE paper."""

from math import pi

import numpy as np
import numpy.typing as npt
import torch

from napari_equipose.geometry import (
    InputError,
    Poses,
    apply_poses,
    box_centre,
    rotation_matrix_2d,
)

_BATCH = 4096  # pictures turned at once: bounds the memory, not the result


def rotated_digits(
    digits: npt.NDArray[np.uint8],
    rng: np.random.Generator,
    *,
    box_size: int = 50,
    rotation_std: float | None = None,
    translation_std: float = 5.0,
    max_translation: float = 11.0,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Turn and shift pictures of digits, each by a known random pose.

    A picture's canonical frame is the picture as it stands, with its origin at the
    picture's centre: for 28 pixels between pixels 13 and 14, at 13.5. The pose obeys
    ``x_image = R x_canonical + t``, where ``x_image`` counts from the centre pixel
    ``box_size // 2`` of the box, so a digit's origin lies at ``box_size // 2 + t``.
    Rotations are positive counter-clockwise as displayed with y down. Each picture is
    resampled once, bilinearly, with zeros around it.

    Parameters
    ----------
    digits : ndarray of uint8, shape (n, y, x)
        Bright strokes on a black ground, such as MNIST's.
    rng : numpy.random.Generator
        Source of the poses.
    box_size : int
        Side of the images to make, in pixels.
    rotation_std : float, optional
        Spread of normal rotations in radians (pi / 4 makes MNIST(N)); if not given,
        rotations are uniform over the circle (MNIST(U)).
    translation_std : float
        Spread of the translation along each axis, in pixels.
    max_translation : float
        A coordinate of a translation that comes out larger is drawn again, in pixels.

    Returns
    -------
    images : ndarray of float32, shape (n, box_size, box_size)
        Values in [0, 1].
    rotation : ndarray, shape (n,)
        Radians in [-pi, pi).
    translation : ndarray, shape (n, 2)
        Pixels, (y, x).

    Raises
    ------
    InputError
        If ``digits`` is no stack of uint8 pictures or a limit is not positive.

    References
    ----------
    A. Nasiri and T. Bepler, TARGET-VAE, NeurIPS 2022, section 4.2 and appendix A.2.
    """
    if digits.ndim != 3 or digits.dtype != np.uint8:
        raise InputError(
            f"digits must be a stack (n, y, x) of uint8, got {digits.dtype} {digits.shape}"
        )
    if max_translation <= 0:
        raise InputError(f"max_translation must be positive, got {max_translation}")
    n = len(digits)
    if rotation_std is None:
        rotation = rng.uniform(-pi, pi, n)
    else:
        rotation = (rng.normal(0.0, rotation_std, n) + pi) % (2 * pi) - pi
    translation = _truncated_normal(rng, translation_std, max_translation, (n, 2))
    return turn_pictures(digits, rotation, translation, box_size), rotation, translation


def turn_pictures(
    pictures: npt.NDArray[np.uint8],
    rotation: npt.NDArray[np.float64],
    translation: npt.NDArray[np.float64],
    box_size: int,
) -> npt.NDArray[np.float32]:
    """Place each picture in a box by ``x_image = R x_canonical + t``, in one resampling.

    The canonical origin is the centre of the picture (13.5 of 28 pixels), the box's
    is its pixel ``box_size // 2``. Values are scaled to [0, 1].
    """
    images = np.empty((len(pictures), box_size, box_size), np.float32)
    half = [(size - 1) / 2 - box_centre(size) for size in pictures.shape[1:]]
    for start in range(0, len(pictures), _BATCH):
        part = slice(start, start + _BATCH)
        angle = torch.tensor(rotation[part], dtype=torch.float32)
        shift = torch.tensor(translation[part], dtype=torch.float32)
        # geometry turns about a centre pixel, which in an even picture is not its centre
        shift = shift - rotation_matrix_2d(angle) @ torch.tensor(half)
        values = torch.tensor(pictures[part], dtype=torch.float32)[:, None] / 255
        turned = apply_poses(values, Poses(angle, shift), (box_size, box_size))
        images[part] = turned[:, 0].numpy()
    return np.clip(images, 0.0, 1.0, out=images)


def _truncated_normal(
    rng: np.random.Generator, std: float, limit: float, shape: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    """Draw normal numbers, and again those beyond the limit."""
    values = rng.normal(0.0, std, shape)
    while (beyond := np.abs(values) > limit).any():
        values[beyond] = rng.normal(0.0, std, int(beyond.sum()))
    return values
