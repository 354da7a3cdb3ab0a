"""What every system of this package offers, and what its results are called."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from ..geometry import Poses


class LossTerms(NamedTuple):
    """What is minimised, in nats per image, and its named parts."""

    total: Tensor
    parts: dict[str, Tensor]


class Posterior(NamedTuple):
    """What a model believes of each of ``n`` images."""

    poses: Poses
    """The most likely pose."""
    content: Tensor
    """Mean of the content at that pose, shape (n, content_dim)."""
    content_std: Tensor
    """Its standard deviation, shape (n, content_dim)."""
    log_prob: Tensor | None = None
    """log q(rotation, translation | image) on a grid, shape (n, n_rotations, y, x)."""


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
        """Terms of the loss of images (n, channels, y, x)."""

    def infer(self, images: Tensor) -> Posterior:
        """Most likely pose and content of images (n, channels, y, x)."""

    def generate(
        self, content: Tensor, poses: Poses | None = None, box_size: int | None = None
    ) -> Tensor:
        """Draw images (n, channels, y, x) of content (n, content_dim), at rest by default."""
