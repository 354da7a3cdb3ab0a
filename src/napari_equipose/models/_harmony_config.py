"""Settings of Harmony."""

from dataclasses import dataclass
from math import pi
from typing import Literal

from ..geometry import InputError, MissingWedge
from ._checks import check_least, check_positive

SMALLEST_BOX, LARGEST_BOX = 16, 96
_SMALLEST_SIDE = 10  # of a binned box, in its pixels
_LEAST_COARSE_SIDE = 12


@dataclass(frozen=True, kw_only=True)
class HarmonyConfig:
    """All that is needed to rebuild the network and its loss, and nothing about its training.

    A range says how far images are transformed; copies are transformed as far again in training,
    so up to twice the range is inferred. A transformation whose range is None is not inferred.
    """

    box_size: int
    """Side of the boxes in pixels, 16 to 96."""
    dimensions: Literal[2, 3] = 2
    """2 for images, 3 for volumes."""
    channels: int = 1
    """1, or 3 for RGB."""
    content_dim: int = 1
    rotation_range: float | None = pi
    """Largest rotation either way, in radians; pi is the whole circle, or all of SO(3)."""
    translation_range: float | None = None
    """Largest shift along each axis, in pixels."""
    scale_range: float | None = None
    """Largest factor by which an object is enlarged; it is shrunk as much at most."""
    contrast_range: float | None = None
    """Largest gain; the least is its inverse. One gain for all channels: light falls on the whole
    picture, while a gain for each channel would take the colour of an object for light."""
    brightness_range: float | None = None
    """Largest offset either way, in units of the pixels; one for all channels."""
    binning: int = 1
    """The networks and the misfit see boxes this many times smaller, of the low frequencies: many
    times quicker in space, and nearer rotations look more alike, which helps to find them."""
    gamma: float | None = None
    """Weight of the dissimilarities against the divergence of the contents; by default the paper's
    rule, ``training_size`` over the size of the batch."""
    training_size: int | None = None
    """Number of training images, for the rule; as many as a batch by default."""
    hypotheses: int = 1
    """Poses that the encoder proposes for each image; the one with the least dissimilarity counts.
    The paper has 1, which in space is often caught in a local minimum."""
    views: bool = False
    """Propose each pose from a view of the image, turned by a rotation of its own, all views with
    the same weights: what is learnt of one rotation is known of all. Needs several hypotheses."""
    tilt_min_deg: float | None = None
    """Least tilt of a tomogram's tilt series in degrees; -90, and 90 the largest, where nothing is
    missing of volumes. Where it is not told, a wedge that is plainly missing is asked for."""
    tilt_max_deg: float | None = None
    tilt_axis: Literal["y", "x"] = "y"
    mask_radius: float | None = None
    """Pixels farther from the object's middle do not count, over a soft edge of two pixels; by
    default those that leave the box when it turns."""
    low_pass: float | None = None
    """Pixels; detail smaller than this is neither seen nor compared."""
    width: int = 16
    """Filters of the encoder's first layer; each layer has twice as many, up to eightfold."""
    n_pictures: int = 32
    """Pictures that the decoder mixes, as the content says."""

    def __post_init__(self) -> None:
        if not SMALLEST_BOX <= self.box_size <= LARGEST_BOX:
            raise InputError(
                f"box_size must lie within {SMALLEST_BOX} and {LARGEST_BOX} pixels, got "
                f"{self.box_size}; bin or crop the boxes."
            )
        if self.dimensions not in (2, 3):
            raise InputError(f"dimensions must be 2 or 3, got {self.dimensions!r}.")
        least = {"channels": 1, "content_dim": 1, "width": 4, "n_pictures": 1, "hypotheses": 1}
        least |= {"binning": 1}
        check_least(self, least)
        if self.hypotheses > 60:
            raise InputError(f"hypotheses must be at most 60, got {self.hypotheses}.")
        if self.binning > 1 and self.side < _SMALLEST_SIDE:
            raise InputError(
                f"boxes of {self.box_size} pixels binned by {self.binning} are smaller than "
                f"{_SMALLEST_SIDE}; bin less."
            )
        self._check_ranges()
        check_positive(self, ("gamma",))
        if self.wedge is not None and self.dimensions == 2:
            raise InputError("images have no missing wedge: leave the tilt range out.")

    def _check_ranges(self) -> None:
        above = {
            "rotation_range": 0.0,
            "translation_range": 0.0,
            "scale_range": 1.0,
            "contrast_range": 1.0,
            "brightness_range": 0.0,
            "mask_radius": 0.0,
            "low_pass": 2.0,
        }
        for name, bound in above.items():
            value = getattr(self, name)
            if value is not None and not value > bound:
                raise InputError(f"{name} must be above {bound:g}, got {value}; or leave it out.")
        if self.rotation_range is not None and self.rotation_range > pi:
            raise InputError(f"rotation_range must be at most pi, got {self.rotation_range}.")
        if self.hypotheses > 1 and self.rotation_range != pi:
            raise InputError("several hypotheses need a rotation_range of pi.")
        if self.views and self.hypotheses == 1:
            raise InputError("views need several hypotheses, one from each.")
        if not self.infers:
            raise InputError("there is nothing to infer: give the range of a transformation.")

    @property
    def infers(self) -> frozenset[str]:
        """Which transformations are inferred."""
        ranges = {
            "rotation": self.rotation_range,
            "translation": self.translation_range,
            "scale": self.scale_range,
            "contrast": self.contrast_range or self.brightness_range,
        }
        return frozenset(name for name, value in ranges.items() if value is not None)

    @property
    def wedge(self) -> MissingWedge | None:
        """What the tilt series measures; None where it measures all."""
        return MissingWedge.of_range(self.tilt_min_deg, self.tilt_max_deg, self.tilt_axis)

    @property
    def side(self) -> int:
        """Of the boxes that the networks see, in their pixels."""
        return self.box_size // self.binning

    @property
    def coarse_side(self) -> int:
        """Of the boxes on which proposals are made from views, and are compared."""
        return min(self.side, max(self.side // 2, _LEAST_COARSE_SIDE))

    @property
    def radius(self) -> float:
        """Of what counts, as a part of the side of the box."""
        return (self.mask_radius or (self.box_size - 1) // 2) / self.box_size
