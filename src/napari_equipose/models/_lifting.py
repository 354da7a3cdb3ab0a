"""Lifting group convolutions: from images to maps over rotation and place."""

import warnings
from math import ceil

import torch
from torch import Tensor, nn

from ..geometry import rotate_filters, smooth_disc_mask


class InterpolatedLifting(nn.Module):
    """Free filters, smoothed, cut to a disc and turned by interpolation.

    Unmasked and unsmoothed, a filter turned by 45 degrees keeps about a third of its norm,
    and a softmax over rotations then prefers multiples of 90 degrees.

    Parameters
    ----------
    channels, fields : int
        Channels of the image; number of filters.
    kernel_size : int
        Side of the filters, odd.
    n_rotations : int
        At least one.
    smoothing : float
        Standard deviation, in pixels, of the Gaussian applied to the filters.
    """

    mask: Tensor
    kernel: Tensor

    def __init__(
        self, channels: int, fields: int, kernel_size: int, n_rotations: int, smoothing: float = 0.7
    ) -> None:
        super().__init__()
        self.n_rotations = n_rotations
        mask = smooth_disc_mask(kernel_size)
        gain = 2**0.5 / (channels * mask.square().sum()) ** 0.5
        self.weight = nn.Parameter(torch.randn(fields, channels, kernel_size, kernel_size) * gain)
        reach = ceil(3 * smoothing)
        line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / max(smoothing, 1e-3)) ** 2)
        # Unit norm, so that smoothing white weights keeps their variance.
        self.register_buffer("kernel", line / line.norm(), persistent=False)
        self.register_buffer("mask", mask, persistent=False)

    def filters(self) -> Tensor:
        """Return the filters at every rotation, shape (fields, n_rotations, channels, k, k)."""
        reach = len(self.kernel) // 2
        flat = self.weight.flatten(0, 1).unsqueeze(1)
        rows = nn.functional.conv2d(flat, self.kernel[None, None, :, None], padding=(reach, 0))
        smooth = nn.functional.conv2d(rows, self.kernel[None, None, None], padding=(0, reach))
        return rotate_filters(smooth.view_as(self.weight) * self.mask, self.n_rotations)


class SteerableLifting(nn.Module):
    """Filters in a basis of circular harmonics (e2cnn's ``R2Conv`` on the cyclic group).

    Parameters are those of `InterpolatedLifting`, but for:

    Parameters
    ----------
    rings : int, optional
        Number of rings of the basis; e2cnn's own choice when not given. With rings, the
        angular frequency is cut off at ``min(8, 2 radius)``, which needs few parameters.
    """

    def __init__(
        self,
        channels: int,
        fields: int,
        kernel_size: int,
        n_rotations: int,
        rings: int | None = None,
    ) -> None:
        super().__init__()
        from e2cnn import gspaces
        from e2cnn import nn as enn

        self.shape = (fields, n_rotations, channels, kernel_size, kernel_size)
        space = gspaces.Rot2dOnR2(n_rotations) if n_rotations > 1 else gspaces.TrivialOnR2()
        image = enn.FieldType(space, [space.trivial_repr] * channels)
        lifted = enn.FieldType(space, [space.regular_repr] * fields)
        options = {}
        if rings is not None:
            radius = (kernel_size - 1) / 2
            step = radius / max(rings - 1, 1)
            options = {
                "rings": [step * ring for ring in range(rings)],
                "sigma": [max(step / 2, 0.6)] * rings,
                "frequencies_cutoff": lambda r: min(8, 2 * r),
            }
        with warnings.catch_warnings():
            # e2cnn indexes with uint8 masks, which torch deprecates.
            warnings.simplefilter("ignore", UserWarning)
            conv = enn.R2Conv(image, lifted, kernel_size, bias=False, **options)
        # Not the R2Conv itself: in eval mode it would add its expanded filters to the weights.
        self.basis, self.weight = conv.basisexpansion, conv.weights

    def filters(self) -> Tensor:
        """Return the filters at every rotation, shape (fields, n_rotations, channels, k, k)."""
        weight: Tensor = self.basis(self.weight)
        return weight.reshape(self.shape)


LIFTINGS = {"interpolated": InterpolatedLifting, "steerable": SteerableLifting}
