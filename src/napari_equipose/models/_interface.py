"""What every kind of model offers, what some offer beside it, and what results are called."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from ..geometry import MissingWedge, Poses, Poses3D


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


@runtime_checkable
class Model(Protocol):
    """A model: images to poses and content, and back. All of it is required."""

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


@runtime_checkable
class KnowsRadius(Protocol):
    """Optional, of a configuration: how much of a box shows the object."""

    @property
    def radius(self) -> float:
        """Of the disc or ball that holds the object, in box sizes."""


@runtime_checkable
class KnowsWedge(Protocol):
    """Optional, of a configuration: what the tilt series of the volumes measured."""

    @property
    def wedge(self) -> MissingWedge | None:
        """None where all was measured."""


@runtime_checkable
class KnowsSide(Protocol):
    """Optional, of a configuration: how finely the model draws."""

    @property
    def side(self) -> int:
        """Independent pixels along a side of what is drawn; fewer than the box has."""


@runtime_checkable
class KnowsCategories(Protocol):
    """Required of the configuration of a model whose capabilities say that it ``clusters``."""

    @property
    def categories(self) -> int:
        """How many categories there are. Content has one more number for each."""


@runtime_checkable
class PickingConfig(Protocol):
    """Required of the configuration of a kind that finds objects in images."""

    @property
    def canonical_size(self) -> int:
        """Side, in pixels, of the square in which an object is drawn."""

    @property
    def kernel_size(self) -> int:
        """Side, in binned pixels, of what the encoder sees of the image at each place."""

    @property
    def binning(self) -> int:
        """By how much an image is shrunk before it is encoded."""

    @property
    def n_rotations(self) -> int:
        """How many rotations are told apart at each place."""

    @property
    def object_size(self) -> int | None:
        """Side of the square that holds an object at any rotation; a field, set in training."""

    @property
    def focus(self) -> float | None:
        """How far from the middle of a box pixels count; a field, set in training."""


@runtime_checkable
class SupportsPicking(Protocol):
    """Required of a model of a kind that finds objects in images.

    Its `generate` draws boxes of any ``box_size``.
    """

    def hold_content(self, held: bool) -> None:
        """Keep the content at zero in training, or no longer."""

    def bin_images(self, images: Tensor) -> Tensor:
        """Shrink images (n, channels, y, x) of any size by the configuration's ``binning``."""

    def score_places(self, binned: Tensor) -> Tensor:
        """How much each place of binned images looks like the middle of an object."""

    def read_places(self, patches: Tensor) -> Any:
        """Rotation, translation, content and logit at the middle of binned patches."""


def can_pick(model: Model) -> bool:
    """Whether a model can find objects in large images."""
    return (
        model.capabilities.fully_convolutional
        and isinstance(model, SupportsPicking)
        and isinstance(model.config, PickingConfig)
    )


def object_radius(config: Any) -> float:
    """Pixels from the middle of a box that an object reaches, as far as a configuration knows.

    By default that is to the edge of the box.
    """
    size: int = config.box_size
    return config.radius * size if isinstance(config, KnowsRadius) else float((size - 1) // 2)


def missing_wedge(config: Any) -> MissingWedge | None:
    """What was measured of the volumes of a configuration; None, the default, is all."""
    return config.wedge if isinstance(config, KnowsWedge) else None
