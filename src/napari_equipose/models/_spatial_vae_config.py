"""Settings of spatial-VAE."""

from dataclasses import dataclass
from math import ceil, log2, pi
from typing import Literal

from ..geometry import InputError, MissingWedge
from ._checks import SMALLEST_BOX, check_choices, check_dense, check_least, check_positive

_LEAST_SIDE = 4  # of the feature maps of a convolutional encoder
Activation = Literal["tanh", "relu"]
Likelihood = Literal["bernoulli", "gaussian"]
_CHOICES = ("rotation_mean", "rotation_as", "encoder", "activation", "likelihood")


@dataclass(frozen=True, kw_only=True)
class SpatialVAEConfig:
    """All that is needed to rebuild the network and its loss, and nothing about its training."""

    box_size: int
    """Side of the boxes that the model is trained on, in pixels."""
    dimensions: Literal[2, 3] = 2
    """2 for images, 3 for volumes."""
    channels: int = 1
    """1, or 3 for RGB."""
    content_dim: int = 2
    content_weight: float = 1.0
    """Weight of the content's divergence in the loss: below 1 the content says more of an object,
    which it may otherwise leave to the noise."""
    infer_rotation: bool = True
    infer_translation: bool = True
    rotation_mean: Literal["free", "zero"] = "free"
    """"free" puts no prior on the mean of the rotation (the paper's equation 3), for objects that
    lie at any rotation; "zero" has a normal prior about no rotation, of images only."""
    rotation_std: float = pi
    """Standard deviation of the prior on rotation, in radians."""
    rotation_as: Literal["angle", "direction"] = "angle"
    """What the encoder says of the rotation of an image: "angle" is the paper's, any number;
    "direction" is a point (cos, sin), which has no seam to be torn at. Of volumes it says six
    numbers, which have none either."""
    rotation_hypotheses: int = 1
    """So many turns of an image, evenly spaced from what the encoder says, are drawn, and the one
    that fits is taken; of images only. An encoder alone never learns to leave a half turn that it
    began with."""
    translation_std: float | None = None
    """Standard deviation of the prior on translation, in pixels; by default a twentieth of the
    box."""
    binning: int = 1
    """The networks and the likelihood see boxes this many times smaller, of the low frequencies."""
    encoder: Literal["dense", "convolutional"] = "dense"
    """"dense" is the paper's; "convolutional" is Harmony's, as its paper has it for volumes."""
    encoder_width: int = 500
    """Of the hidden layers."""
    encoder_layers: int = 2
    """Of a dense encoder; a convolutional one has as many as it takes to make boxes small."""
    width: int = 16
    """Filters of the first layer of a convolutional encoder; a multiple of 4."""
    generator_width: int = 500
    generator_layers: int = 2
    activation: Activation = "tanh"
    squares: bool = False
    """Whether the generator is given the squares and products of coordinates as well."""
    bilinear: bool = False
    """Whether products of coordinates and content enter the generator's first layer."""
    n_features: int = 0
    """Random Fourier features in place of the coordinates, as TARGET-VAE has them; 0 for none."""
    feature_length: float = 2.0
    """Typical length of the Fourier features in pixels."""
    likelihood: Likelihood = "gaussian"
    noise_std: float | None = None
    """Of the Gaussian likelihood; fitted by default."""
    draw_noise: bool = False
    """Whether the generator also says of each pixel how noisy it is."""
    softplus: bool = False
    """Whether no pixel is drawn darker than the background, of which one level is learnt; so the
    content does not draw noise of the background."""
    augment_rotation: bool = True
    """In training the encoder sees each image at a random rotation, which is taken off what it
    says."""
    mask_radius: float | None = None
    """Pixels farther from the centre of the box do not count; by default all count."""
    tilt_min_deg: float | None = None
    """Least tilt of a tomogram's tilt series in degrees; -90, and 90 the largest, where nothing is
    missing of volumes. Where it is not told, a wedge that is plainly missing is asked for."""
    tilt_max_deg: float | None = None
    tilt_axis: Literal["y", "x"] = "y"

    def __post_init__(self) -> None:
        if self.dimensions not in (2, 3):
            raise InputError(f"dimensions must be 2 or 3, got {self.dimensions!r}.")
        check_choices(self, _CHOICES)
        check_dense(self)
        check_least(self, {"binning": 1, "n_features": 0, "rotation_hypotheses": 1})
        check_positive(
            self,
            (
                *("rotation_std", "translation_std", "noise_std", "mask_radius"),
                *("feature_length", "content_weight"),
            ),
        )
        if self.side < SMALLEST_BOX:
            raise InputError(
                f"boxes of {self.box_size} pixels binned by {self.binning} are smaller than "
                f"{SMALLEST_BOX}; take larger boxes, or bin less."
            )
        if self.width < 4 or self.width % 4:
            raise InputError(f"width must be a multiple of 4, got {self.width}.")
        if self.rotation_hypotheses > 1 and not self._may_try_turns:
            raise InputError(
                "several rotation_hypotheses are of images with a free rotation; set "
                "rotation_hypotheses=1."
            )
        if self.dimensions == 3 and self.rotation_mean == "zero":
            raise InputError("rotation_mean can be zero of images only; leave it free of volumes.")
        if self.likelihood == "bernoulli" and (self.softplus or self.draw_noise):
            raise InputError("softplus and draw_noise are of the gaussian likelihood only.")
        if self.wedge is not None and self.dimensions == 2:
            raise InputError("images have no missing wedge: leave the tilt range out.")

    @property
    def _may_try_turns(self) -> bool:
        return self.dimensions == 2 and self.infer_rotation and self.rotation_mean == "free"

    @property
    def infers(self) -> frozenset[str]:
        """Which transformations are inferred."""
        wanted = {"rotation": self.infer_rotation, "translation": self.infer_translation}
        return frozenset(name for name, inferred in wanted.items() if inferred)

    @property
    def wedge(self) -> MissingWedge | None:
        """What the tilt series measures; None where it measures all."""
        return MissingWedge.of_range(self.tilt_min_deg, self.tilt_max_deg, self.tilt_axis)

    @property
    def side(self) -> int:
        """Of the boxes that the networks see, in their pixels."""
        return self.box_size // self.binning

    @property
    def radius(self) -> float:
        """Of what counts, as a part of the side of the box."""
        return (self.mask_radius or (self.box_size - 1) // 2) / self.box_size

    @property
    def n_numbers(self) -> int:
        """How many numbers the network needs, with its tables; rather too many."""
        d, hidden = self.dimensions, self.encoder_width
        n_pixels: int = self.side**d
        said = 2 * (self.content_dim + d + 6)
        if self.encoder == "dense":
            encoder = (self.channels * n_pixels + self.encoder_layers * (hidden + 1)) * hidden
        else:
            encoder = (hidden + 2) * hidden
            side, n_in = self.side, self.channels
            for number in range(ceil(log2(side / _LEAST_SIDE))):
                n_out = self.width * 2 ** min(number, 3)
                encoder += (3**d * n_in + 3) * n_out
                side, n_in = -(-side // 2), n_out
            encoder += n_in * side**d * hidden
        n_in = max(self.n_features, d) + 2 * d
        width, layers = self.generator_width, self.generator_layers
        first = n_in * (self.content_dim + 1) + self.content_dim + 1
        generator = (first + layers * (width + 1) + 2 * self.outputs) * width
        tables = (d + 1) * n_pixels + (d + 1) * self.n_features
        return encoder + said * (hidden + 1) + generator + tables

    @property
    def outputs(self) -> int:
        """How many numbers the generator draws of each pixel."""
        return self.channels * (2 if self.draw_noise else 1)
