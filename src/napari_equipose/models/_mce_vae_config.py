"""Settings of MCE-VAE."""

from dataclasses import dataclass
from math import pi
from typing import Literal

from ..geometry import GROUPS, InputError, group_size
from ._checks import check_choices, check_least, check_positive

SMALLEST_BOX, LARGEST_BOX = 12, 128
MOST_COPIES = 25
FIELDS = 16
"""Of the last layer of the augmented encoder."""


@dataclass(frozen=True, kw_only=True)
class MCEVAEConfig:
    """All that is needed to rebuild the network and its loss, and nothing about its training.

    The defaults are those of the paper (section 4), except for ``likelihood``.
    """

    box_size: int
    """Side of the boxes in pixels, 12 to 128."""
    channels: int = 1
    """1, or 3 for RGB."""
    content_dim: int = 3
    """Dimensions of z, what varies within a category. The content of an image is z, then z_c."""
    categories: int = 10
    """Gaussians in the mixture of z_c, which has as many dimensions. That of an object is the one
    that its z_c most likely is of."""
    group: Literal["SO2", "SE2", "SIM2"] = "SE2"
    """Which motions are inferred: rotation; and translation; and scale."""
    distance: float = 1.0
    """How far the means of the prior's Gaussians lie from zero, each along an axis of its own, in
    units of their standard deviation (eq. 15)."""
    invariance: Literal["unsupervised", "supervised", "none"] = "unsupervised"
    """What eq. 8 compares what is at rest with: the same of copies of the image moved at random,
    or aligned targets given with the images."""
    copies: int = MOST_COPIES
    """Of each image, moved at random, 1 to 25; fewer make the same term, with more noise."""
    alpha: float = 1.0
    """Weight of the invariance (eq. 6)."""
    beta: float = 1.0
    """Weight of the divergences from the prior."""
    rotation_range: float = pi
    """Largest random rotation of a copy either way, in radians."""
    translation_range: float | None = None
    """Largest random shift of a copy along each axis, in pixels; by default an eighth of the
    box."""
    scale_range: float = 1.3
    """Largest factor by which a copy is enlarged; it is shrunk as much at most."""
    decoder: Literal["gated", "linear", "cnn"] = "gated"
    """Of the picture at rest."""
    likelihood: Literal["bernoulli", "gaussian"] = "gaussian"
    """"bernoulli" is the paper's cross-entropy, "gaussian" with a ``noise_std`` of 0.7071 the
    squared error of its code."""
    noise_std: float | None = None
    """Of the Gaussian likelihood; fitted by default."""
    binning: int = 1
    """The encoder sees the image this many times smaller."""
    mask_radius: float | None = None
    """Pixels farther from the middle of the object do not count in scores; by default those that
    leave the box when it turns."""
    activation: Literal["sigmoid", "relu"] = "sigmoid"
    """Of the extractors of z_c and z, and of the linear decoder."""
    width: int = 32
    """Filters of the augmented encoder."""
    hidden: int = 512
    """Nodes of each hidden layer of the extractors of z_c and z."""
    hidden_pose: int = 32
    """The same of that of tau, which has ReLU between them, as the published code does."""
    hidden_decoder: int = 300

    def __post_init__(self) -> None:
        if not SMALLEST_BOX <= self.box_size <= LARGEST_BOX:
            raise InputError(
                f"box_size must lie within {SMALLEST_BOX} and {LARGEST_BOX} pixels, got "
                f"{self.box_size}; bin or crop the boxes."
            )
        least = {"channels": 1, "content_dim": 1, "categories": 1, "copies": 1, "binning": 1}
        least |= {"width": 2, "hidden": 1, "hidden_pose": 1, "hidden_decoder": 1}
        check_least(self, least)
        if self.copies > MOST_COPIES:
            raise InputError(f"copies must be at most {MOST_COPIES}, got {self.copies}.")
        if self.box_size // self.binning < 8:
            raise InputError(
                f"boxes of {self.box_size} pixels binned by {self.binning} are smaller than 8 "
                "pixels; bin less."
            )
        for name in ("alpha", "beta"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must not be negative, got {getattr(self, name)}.")
        check_positive(self, ("distance", "noise_std", "mask_radius"))
        self._check_ranges()
        check_choices(self, ("group", "invariance", "decoder", "likelihood", "activation"))

    def _check_ranges(self) -> None:
        if not 0 <= self.rotation_range <= pi:
            raise InputError(f"rotation_range must lie in 0 to pi, got {self.rotation_range}.")
        if self.translation_range is not None and not self.translation_range >= 0:
            raise InputError(
                f"translation_range must not be negative, got {self.translation_range}."
            )
        if not self.scale_range >= 1:
            raise InputError(f"scale_range must be at least 1, got {self.scale_range}.")

    @property
    def infers(self) -> frozenset[str]:
        """Which transformations are inferred."""
        return GROUPS[self.group]

    @property
    def wedge(self) -> None:
        """Images have no missing wedge."""
        return None

    @property
    def n_features(self) -> int:
        """Dimensions of the augmented latent variable, z_aug."""
        quarter = (self.box_size // self.binning // 2 + 1) // 2  # what the two strides leave
        return FIELDS * quarter**2

    @property
    def n_numbers(self) -> int:
        """How many numbers the network has: weights and buffers."""
        a, c, n, h = self.width, self.channels, self.n_features, self.hidden
        d, k = self.content_dim, self.categories
        convolutions = a * (25 * c + 16 * a) + 18 * a**2 + FIELDS * (50 * a + 1) + 16 * a + 3
        size, small = group_size(self.group), self.hidden_pose
        extractors = n * (2 * h + small) + 2 * h**2 + small**2 + 2 * h * (d + k) + 2 * size * small
        biases = 4 * h + 2 * (d + k) + 2 * small + 3 * size
        return convolutions + extractors + biases + self._n_numbers_of_decoder + c + k**2 + 2

    @property
    def _n_numbers_of_decoder(self) -> int:
        n_in, h, a = self.content_dim + self.categories, self.hidden_decoder, self.width
        pixels, quarter = self.channels * self.box_size**2, (-(-self.box_size // 4)) ** 2
        if self.decoder == "cnn":
            return (n_in + 1) * a * quarter + 32 * a**2 + 8 * a + 2 + self.channels * (9 * a + 1)
        inner = {"gated": 2 * (n_in + h + 2) * h, "linear": (n_in + 2 * h + 3) * h}[self.decoder]
        return inner + (h + 1) * pixels

    @property
    def radius(self) -> float:
        """Of what counts in scores, as a part of the side of the box."""
        return (self.mask_radius or (self.box_size - 1) // 2) / self.box_size
