"""Scenes of several objects with known poses: digits, and three shapes made on demand."""

from math import pi
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_equipose.geometry import InputError

from ._digits import turn_pictures
from ._placement import place_objects

SHAPES = ("L", "key", "comma")
"""Names of the shapes of `shape_pictures`, in the order of their labels."""


class SceneTruth(NamedTuple):
    """What is where in a scene; ``x_image = R x_canonical + position``."""

    positions: npt.NDArray[np.float64]  # (n, 2) pixels (y, x) of the canonical origins
    rotation: npt.NDArray[np.float64]  # (n,) radians, counter-clockwise as displayed
    label: npt.NDArray[np.int64]  # (n,) kind of object
    source: npt.NDArray[np.int64]  # (n,) index of the picture it was made from


class Scene(NamedTuple):
    """An image and what is in it."""

    image: npt.NDArray[np.float32]  # (y, x), or (y, x, 3) in colour
    truth: SceneTruth


def digit_scene(
    digits: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.integer],
    rng: np.random.Generator,
    *,
    shape: tuple[int, int] = (150, 150),
    n: int | tuple[int, int] = (4, 8),
    diameter: float = 30.0,
    overlap: float = 0.0,
    margin: float = 16.0,
    combine: Literal["max", "sum"] = "max",
) -> Scene:
    """Strew turned pictures over a black image, as in appendix A.4 of the TARGET-VAE paper.

    Each picture is resampled once, bilinearly, with its canonical origin (its centre: 13.5
    for 28 pixels) at the object's position, which is no whole number.

    Parameters
    ----------
    digits : ndarray of uint8, shape (m, y, x)
        Pictures to draw from, each at most once unless there are too few.
    labels : ndarray of int, shape (m,)
        What each picture shows.
    rng : numpy.random.Generator
        Source of all choices.
    shape : (int, int)
        Size (y, x) of the image in pixels.
    n : int or (int, int)
        Number of objects, or the least and the largest number.
    diameter : float
        Centres are at least so many pixels apart: 30 keeps MNIST's digits apart.
    overlap : float
        Part of the diameter by which neighbours may overlap, in [0, 1); if not zero, every
        second object is put beside an earlier one, overlapping by up to this part.
    margin : float
        Least distance of a centre from the border, in pixels.
    combine : {"max", "sum"}
        What is seen where objects overlap; sums are clipped at 1.

    Returns
    -------
    Scene
        Image (y, x) in [0, 1] and truth.

    Raises
    ------
    InputError
        If the objects don't fit into the image.
    """
    if len(digits) != len(labels) or not len(digits):
        raise InputError(f"each digit needs a label, got {len(digits)} and {len(labels)}")
    count = n if isinstance(n, int) else int(rng.integers(n[0], n[1] + 1))
    positions = place_objects(rng, count, shape, diameter=diameter, margin=margin, overlap=overlap)
    source = rng.choice(len(digits), count, replace=count > len(digits))
    rotation = rng.uniform(-pi, pi, count)

    # odd, so that the patch has a centre pixel; wide enough for any turn
    half = int(np.ceil(np.hypot(*digits.shape[1:]) / 2)) + 1
    corner = np.floor(positions + 0.5).astype(int)
    patches = turn_pictures(digits[source], rotation, positions - corner, 2 * half + 1)
    padded = np.zeros((shape[0] + 2 * half, shape[1] + 2 * half), np.float32)
    for (y, x), patch in zip(corner, patches, strict=True):
        under = padded[y : y + 2 * half + 1, x : x + 2 * half + 1]
        under[:] = np.maximum(under, patch) if combine == "max" else under + patch
    image = np.clip(padded[half:-half, half:-half], 0.0, 1.0)
    truth = SceneTruth(positions, rotation, labels[source].astype(np.int64), source)
    return Scene(image, truth)


def multi_object_scene(
    rng: np.random.Generator,
    *,
    shape: tuple[int, int] = (256, 256),
    n: int | tuple[int, int] = 24,
    size: int = 28,
    overlap: float = 0.0,
    noise: float = 0.05,
    gradient: float = 0.1,
    colour: bool = False,
) -> Scene:
    """Make a scene of three asymmetric shapes whose poses are known, without any data.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all choices.
    shape : (int, int)
        Size (y, x) of the image in pixels.
    n : int or (int, int)
        Number of objects, or the least and the largest number.
    size : int
        Side of the square in which a shape at rest is drawn, in pixels.
    overlap : float
        As in `digit_scene`.
    noise : float
        Standard deviation of white noise; the objects are 1 above the ground.
    gradient : float
        Rise of the background from one side of the image to the other, in the same unit.
    colour : bool
        Make an RGB image, each shape in a hue of its own.

    Returns
    -------
    Scene
        Image (y, x), or (y, x, 3) in colour, clipped to [0, 1], and truth; labels
        count in the order of `SHAPES`.
    """
    pictures = shape_pictures(size)
    scene = digit_scene(
        pictures,
        np.arange(len(SHAPES)),
        rng,
        shape=shape,
        n=n,
        diameter=size,
        overlap=overlap,
        margin=size * 0.6,
    )
    image = scene.image
    if colour:
        image = image[..., None] * _hues(scene.truth, shape)
    angle = rng.uniform(-pi, pi)
    y, x = np.mgrid[: shape[0], : shape[1]] / max(shape)
    ramp = gradient * (np.sin(angle) * (y - y.mean()) + np.cos(angle) * (x - x.mean()))
    # objects fill the range 0.15 to 0.85, so that noise is seldom clipped
    image = 0.15 + 0.7 * image + (ramp[..., None] if colour else ramp)
    image = image + rng.normal(0.0, 0.7 * noise, image.shape)
    return Scene(np.clip(image, 0.0, 1.0).astype(np.float32), scene.truth)


def shape_pictures(size: int = 28) -> npt.NDArray[np.uint8]:
    """Draw an L, a key and a comma at rest: no symmetry by turning, soft edges.

    Parameters
    ----------
    size : int
        Side of the pictures in pixels; the shapes fill about three quarters of it.

    Returns
    -------
    ndarray of uint8, shape (3, size, size)
        In the order of `SHAPES`; feed them to `rotated_digits` to get posed stacks.
    """
    fine = 8  # samples along a pixel's side
    axis = ((np.arange(size * fine) + 0.5) / fine - size / 2) / (size / 2)
    y, x = np.meshgrid(axis, axis, indexing="ij")  # -1 to 1 from edge to edge, y down

    letter = _bar(y, x, -0.65, 0.65, -0.4, -0.15) | _bar(y, x, 0.4, 0.65, -0.4, 0.45)
    radius = np.hypot(y + 0.35, x)
    key = ((radius < 0.34) & (radius > 0.15)) | _bar(y, x, -0.1, 0.7, -0.09, 0.09)
    key |= _bar(y, x, 0.28, 0.42, 0.0, 0.36) | _bar(y, x, 0.55, 0.69, 0.0, 0.28)
    comma = np.hypot(y + 0.25, x) < 0.36
    tail = (np.hypot(y + 0.1, x + 0.3) < 0.66) & (np.hypot(y + 0.25, x + 0.42) > 0.62)
    comma |= tail & (y > -0.3) & (x > -0.4)

    stack = np.stack([letter, key, comma]).reshape(3, size, fine, size, fine)
    return np.asarray(np.round(stack.mean((2, 4)) * 255), np.uint8)


def _bar(
    y: npt.NDArray[np.float64],
    x: npt.NDArray[np.float64],
    top: float,
    bottom: float,
    left: float,
    right: float,
) -> npt.NDArray[np.bool_]:
    return (y >= top) & (y <= bottom) & (x >= left) & (x <= right)


def _hues(truth: SceneTruth, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Colour every pixel (y, x, 3) like the object that is nearest to it."""
    palette = np.array([[1.0, 0.45, 0.2], [0.25, 0.9, 0.35], [0.35, 0.5, 1.0]], np.float32)
    seeds = np.full(shape, -1)
    y, x = np.round(truth.positions).astype(int).T
    seeds[y, x] = truth.label
    nearest = ndimage.distance_transform_edt(seeds < 0, return_distances=False, return_indices=True)
    return np.asarray(palette[seeds[tuple(nearest)]])
