"""What every system of this package offers, and what its results are called."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from ..geometry import Poses, Poses3D


class LossTerms(NamedTuple):
    """What is minimised, in nats per image, and its named parts."""

    total: Tensor
    parts: dict[str, Tensor]


class Posterior(NamedTuple):
    """What a model believes of each of ``n`` images."""

    poses: Poses | Poses3D
    """The most likely pose; `Poses3D` of volumes."""
    content: Tensor
    """Mean of the content at that pose, shape (n, content_dim)."""
    content_std: Tensor
    """Its standard deviation, shape (n, content_dim)."""
    log_prob: Tensor | None = None
    """log q(rotation, translation | image) on a grid, shape (n, n_rotations, y, x)."""
    scale: Tensor | None = None
    """By how much each object is enlarged, shape (n,), where the system infers it."""
    contrast: Tensor | None = None
    """Gain of each object's intensities, shape (n,), where the system infers it."""
    brightness: Tensor | None = None
    """What is added to them, shape (n,), where the system infers it."""
    categories: Tensor | None = None
    """Probability of each category, shape (n, k), where the system has its own."""


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a system can do. Widgets and commands ask this, never the name of a class."""

    dimensions: frozenset[int]
    """2 for images, 3 for volumes."""
    infers: frozenset[str]
    """Of "rotation", "translation", "scale" and "contrast"."""
    fully_convolutional: bool
    """Whether the encoder can run over a large image as it stands."""
    clusters: bool
    """Whether the system has categories of its own."""


class Model(Protocol):
    """A system: images to poses and content, and back."""

    config: Any

    @property
    def capabilities(self) -> Capabilities:
        """What this system can do."""

    def loss(self, images: Tensor) -> LossTerms:
        """Terms of the loss of images (n, channels, y, x), or volumes (n, channels, z, y, x)."""

    def infer(self, images: Tensor) -> Posterior:
        """Most likely pose and content of images or volumes."""

    def generate(self, content: Tensor, poses: Any = None, box_size: int | None = None) -> Tensor:
        """Draw images or volumes of content (n, content_dim), at rest by default.

        The poses are `Poses` or `Poses3D`, as the system infers them.
        """
