"""Divergences of normal distributions from the priors of VAEs."""

from math import log

from torch import Tensor

LOG_STD_RANGE = (-8.0, 4.0)
"""Beyond it what an encoder says of a spread is no belief but a slip of the numbers."""


def free_angle_kl(log_std: Tensor, prior_std: float) -> Tensor:
    """KL divergence of a normal angle from a prior that does not mind its mean (equation 3).

    Parameters
    ----------
    log_std : Tensor, shape (...)
        Of the angle in radians.
    prior_std : float
        ``s_theta``, radians.

    Returns
    -------
    Tensor, shape (...)
        ``-log sigma + log s + sigma^2 / (2 s^2) - 1/2``.
    """
    log_ratio = log_std - log(prior_std)
    return 0.5 * (2 * log_ratio).exp() - log_ratio - 0.5


def normal_kl(mean: Tensor, log_std: Tensor, prior_std: float) -> Tensor:
    """KL divergence of N(mean, std) from N(0, prior_std), elementwise."""
    ratio = (mean / prior_std).square() + (2 * (log_std - log(prior_std))).exp()
    return 0.5 * (ratio - 1) - log_std + log(prior_std)


def unit_kl(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL divergence (n,) of N(mean, std) from N(0, 1), summed over the last axis."""
    return (0.5 * (mean.square() + (2 * log_std).exp() - 1) - log_std).sum(-1)
