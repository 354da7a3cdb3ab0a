"""The group-equivariant encoder of TARGET-VAE (section 3.3.1)."""

from math import log, pi
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..geometry import box_centre
from ._lifting import InterpolatedLifting, SteerableLifting
from ._precision import bfloat16_if
from ._target_vae_config import TargetVAEConfig


class PoseMaps(NamedTuple):
    """q(pose, content | image), a mixture over (y, x, rotation), its components flattened.

    Shapes are (n, components) or (n, components, d).
    """

    log_prob: Tensor  # of rotation and translation; sums to one over the components
    turn: Tensor  # mean of the rotation from that of the filter, radians
    turn_log_std: Tensor
    offset: Tensor  # mean of the translation from the place, turned by the filter, pixels
    offset_log_std: Tensor
    content: Tensor
    content_log_std: Tensor


class PlaceHeads(NamedTuple):
    """What the encoder says of places of an image, for each rotation of the filters."""

    logit: Tensor  # (n, n_rotations); comparable between places of one image
    rotation: Tensor  # (n, n_rotations), radians
    translation: Tensor  # (n, n_rotations, 2), pixels from the place, (y, x)
    content: Tensor  # (n, n_rotations, content_dim)


class PoseEncoder(nn.Module):
    """Images to maps of the posterior; fully convolutional.

    One lifting convolution as large as the object, then 1x1 group convolutions (paper,
    section 3.3.1). Turning an image by one step of the group turns the maps and rolls their
    rotation axis by one: exactly for quarter turns about a pixel of the binned grid, else up to
    interpolation.
    """

    blur: Tensor
    in_bfloat16 = False
    """Whether matrices are multiplied in bfloat16."""

    def __init__(self, config: TargetVAEConfig) -> None:
        super().__init__()
        self.config = config
        shape = (config.channels, config.fields, config.kernel_size, config.n_rotations)
        self.lift: InterpolatedLifting | SteerableLifting
        if config.lifting == "steerable":
            self.lift = SteerableLifting(*shape, rings=config.rings)
        else:
            self.lift = InterpolatedLifting(*shape)
        self.bias = nn.Parameter(torch.zeros(config.fields))
        self.mix = nn.Linear(config.fields, config.fields)
        self.sizes = (1, 1, 1, 2, 1, config.content_dim, config.content_dim)
        self.heads = nn.Linear(config.fields, sum(self.sizes))
        with torch.no_grad():
            self.heads.weight.mul_(0.3)
            self.heads.bias.zero_()
        line = config.binning - (torch.arange(2 * config.binning - 1) - config.binning + 1.0).abs()
        line = line / line.sum()
        self.register_buffer("blur", torch.outer(line, line), persistent=False)

    def bin(self, images: Tensor) -> Tensor:
        """Shrink images (n, c, y, x) by the binning; pixel ``b k`` of the input becomes ``k``."""
        b = self.config.binning
        if b == 1:
            return images
        kernel = self.blur.expand(images.shape[1], 1, -1, -1)
        return F.conv2d(images, kernel, stride=b, padding=b - 1, groups=images.shape[1])

    def lifted(self, patches: Tensor) -> Tensor:
        """Lift patches (m, c, y, x) of a binned image at every place where the filters fit.

        Returns features of shape (m, y', x', rotation, fields).
        """
        k = self.config.kernel_size
        weight = self.lift.filters()  # (fields, rotation, c, k, k)
        windows = patches.unfold(2, k, 1).unfold(3, k, 1)  # (m, c, y', x', k, k)
        m, c, y, x = windows.shape[:4]
        rows = windows.permute(0, 2, 3, 1, 4, 5).reshape(m * y * x, c * k * k)
        # (rotation, fields) last, so that the 1x1 convolutions are plain matrix products.
        matrix = weight.transpose(0, 1).reshape(-1, c * k * k)
        bias = self.bias.repeat(self.config.n_rotations)
        with bfloat16_if(self.in_bfloat16, rows.device):
            features = F.leaky_relu(F.linear(rows, matrix, bias), inplace=True)
        return features.view(m, y, x, self.config.n_rotations, self.config.fields)

    def read_heads(self, features: Tensor) -> list[Tensor]:
        """Features (..., fields) to the parameters of each component (..., size)."""
        # On rows: in place on the view that more axes give, the backward pass would copy it twice.
        with bfloat16_if(self.in_bfloat16, features.device):
            hidden = F.leaky_relu(self.mix(features.flatten(0, -2)), inplace=True)
            heads = self.heads(hidden).float().unflatten(0, features.shape[:-1])
        return list(heads.split(self.sizes, dim=-1))

    def forward(self, images: Tensor) -> PoseMaps:
        """Encode boxes of shape (n, channels, y, x)."""
        config = self.config
        b, reach = config.binning, config.places_range
        pad = reach + config.kernel_size // 2
        # Pad so that the centre pixel of the box falls on the binned grid.
        before = [pad * b - box_centre(size) for size in images.shape[-2:]]
        after = [pad * b + box_centre(size) - size + 1 for size in images.shape[-2:]]
        binned = self.bin(F.pad(images, (before[1], after[1], before[0], after[0])))
        heads = self.read_heads(self.lifted(binned))
        score, turn, turn_log_std, offset, offset_log_std, content, content_log_std = (
            head.flatten(1, 3) for head in heads
        )
        return PoseMaps(
            log_prob=score.squeeze(-1).log_softmax(-1),
            turn=turn.squeeze(-1) * (pi / config.n_rotations),
            turn_log_std=turn_log_std.squeeze(-1) + log(pi / config.n_rotations / 2),
            offset=(offset / 2).tanh() * b,
            offset_log_std=offset_log_std.squeeze(-1) + log(b / 4),
            content=content,
            content_log_std=content_log_std,
        )
