"""Mixtures of Gaussians, as prior and posterior of categories."""

from math import log

import torch
from torch import Tensor


def gaussian_divergence(mean: Tensor, log_std: Tensor, prior_mean: float) -> Tensor:
    """KL divergence of N(mean, std^2) from N(prior_mean, 1), elementwise, in nats."""
    return 0.5 * ((mean - prior_mean).square() + (2 * log_std).exp() - 1) - log_std


def equal_log_weights(like: Tensor) -> Tensor:
    """Logarithms of equal weights of ``k`` components, of the shape (..., k) of a tensor."""
    return torch.full_like(like, -log(like.shape[-1]))


def mixture_bound(
    log_weight: Tensor, divergence: Tensor, log_prior: Tensor | None = None
) -> Tensor:
    """Upper bound of the KL divergence of one mixture from another, component by component.

    Parameters
    ----------
    log_weight : Tensor, shape (n, k)
        Logarithms of the posterior's weights ``pi``.
    divergence : Tensor, shape (n, k)
        KL divergence of each component of the posterior from the same one of the prior.
    log_prior : Tensor, shape (k,), optional
        Logarithms of the prior's weights ``p``; all alike by default.

    Returns
    -------
    Tensor, shape (n,)
        ``sum_k pi_k (KL(q_k || p_k) + log(pi_k / p_k))``, in nats, by the log-sum inequality.

    Notes
    -----
    With ``pi = p`` it is eq. 14 of the MCE-VAE paper. Where they differ, eq. 13 as printed is not
    a bound: it weighs one expectation by ``pi`` and the other by ``p``, lacks ``log(pi / p)``, and
    can be negative. This is what the inequality gives there.
    """
    prior = equal_log_weights(log_weight)
    if log_prior is not None:
        prior = log_prior.expand_as(log_weight)
    return (log_weight.exp() * (divergence + log_weight - prior)).sum(-1)
