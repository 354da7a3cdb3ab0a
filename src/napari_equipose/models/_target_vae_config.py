"""Settings of TARGET-VAE."""

from dataclasses import dataclass
from typing import Literal

from ._checks import check_choices, check_least, check_positive


@dataclass(frozen=True, kw_only=True)
class TargetVAEConfig:
    """All that is needed to rebuild the network, and nothing about its training."""

    box_size: int
    """Side of the boxes that the model is trained on, in pixels."""
    object_size: int | None = None
    """Side, in pixels, of the square that holds an object at any rotation: the lifting filters
    and the canonical frame cover it. By default the whole box."""
    channels: int = 1
    """1, or 3 for RGB."""
    content_dim: int = 2
    n_rotations: int = 8
    """Rotations of the lifting convolution; the group P_n of the paper."""
    fields: int = 128
    """Number of lifting filters."""
    lifting: Literal["interpolated", "steerable"] = "interpolated"
    rings: int | None = None
    """Rings of the steerable basis; e2cnn's own choice by default."""
    binning: int = 1
    """The encoder sees the image this many times smaller."""
    translation_range: float | None = None
    """The attention covers places up to this far from the centre, in pixels; by default all
    of the box."""
    subpixel: bool = False
    """Whether each place infers an offset from itself, as each rotation does."""
    translation_std: float | None = None
    """Standard deviation of the prior on translation, in pixels; by default a tenth of the box."""
    rotation_std: float | None = None
    """Standard deviation of a normal prior on rotation, in radians; uniform by default."""
    generator: Literal["coordinate", "bilinear"] = "coordinate"
    """"coordinate" is the paper's; "bilinear" draws the object once, on a canonical grid that is
    then resampled at its pose, at a small part of the cost."""
    generator_width: int = 512
    generator_layers: int = 2
    n_features: int = 1024
    """Random Fourier features of the coordinates."""
    feature_length: float = 2.0
    """Typical length of the Fourier features in pixels."""
    likelihood: Literal["bernoulli", "gaussian"] = "gaussian"
    noise_std: float | None = None
    """Of the Gaussian likelihood; fitted by default."""
    mask_radius: float | None = None
    """Pixels farther from the centre of the box do not count; by default all count."""
    focus: float | None = None
    """Pixels count less the farther they are from the centre of the box: standard deviation, in
    pixels, of the Gaussian that weighs them. Keeps neighbours out where objects are crowded."""
    content_weight: float = 1.0
    """Weight of the content's divergence in the loss; 1 is the bound of the paper. With less the
    content may tell more of like objects apart, which turns them more alike; a small set of images
    it would learn by heart."""
    temperature: float = 1.0
    """Of the Gumbel-softmax sample of rotation and translation."""
    enumerate_rotations: bool = False
    """Take the expectation over the rotations of the group exactly: draw each image once at every
    rotation, weighted by q(r), instead of at one sampled pose. The same bound with less noise;
    affordable with the "bilinear" generator, and it learns rotations in a third of the steps."""

    def __post_init__(self) -> None:
        least = {"box_size": 8, "channels": 1, "content_dim": 1, "n_rotations": 1}
        least |= {"fields": 1, "binning": 1, "generator_width": 1, "n_features": 1}
        check_least(self, least)
        check_positive(
            self,
            (
                *("translation_std", "rotation_std", "noise_std", "mask_radius"),
                *("focus", "content_weight", "temperature"),
            ),
        )
        check_choices(self, ("lifting", "generator", "likelihood"))

    @property
    def canonical_size(self) -> int:
        """Side of the canonical frame in pixels, odd."""
        size = self.object_size or self.box_size
        return size + 1 - size % 2

    @property
    def kernel_size(self) -> int:
        """Side of the lifting filters in binned pixels, odd; covers the canonical frame."""
        size = -(-self.canonical_size // self.binning)
        return size + 1 - size % 2

    @property
    def places_range(self) -> int:
        """Places on either side of the centre that the attention covers."""
        if self.translation_range is None:
            return (self.box_size // 2) // self.binning
        return max(round(self.translation_range / self.binning), 0)
