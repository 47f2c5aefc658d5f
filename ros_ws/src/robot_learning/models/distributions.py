"""The tanh-squashed Gaussian of continuous-control policies."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_LOG_TWO = math.log(2)


class SquashedSample(NamedTuple):
    """An action in (-1, 1)^A and the logarithm of its density there."""

    action: Tensor  # [..., A]
    log_prob: Tensor  # [...]


def sample_squashed(
    mean: Tensor, log_std: Tensor, generator: torch.Generator | None = None
) -> SquashedSample:
    """Draw tanh(mean + exp(log_std) * noise), differentiable in mean and log_std.

    The density is that of the squashed action: log N(u) - sum log(1 - tanh(u)^2)
    (Haarnoja et al. 2018, appendix C), with the last term in the form
    2 * (log 2 - u - softplus(-2 u)) that stays exact for large |u|.

    Args:
        mean: [..., A], before squashing.
        log_std: [..., A].
        generator: source of the noise.
    """
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
    u = torch.addcmul(mean, log_std.exp(), noise)
    gaussian = noise.square().mul_(-0.5) - log_std - _HALF_LOG_TWO_PI
    return SquashedSample(torch.tanh(u), (gaussian - log_squash_slope(u)).sum(-1))


def squashed_log_prob(mean: Tensor, log_std: Tensor, action: Tensor) -> Tensor:
    """Log density [...] of squashed actions [..., A] in [-1, 1].

    Actions at the very limits have no finite u; they count as the last float before them.
    """
    limit = 1 - torch.finfo(action.dtype).eps
    u = torch.atanh(action.clamp(-limit, limit))
    return normal_log_prob(mean, log_std, u) - log_squash_slope(u).sum(-1)


def normal_log_prob(mean: Tensor, log_std: Tensor, u: Tensor) -> Tensor:
    """Log density [...] of u [..., A] under independent normals, not squashed."""
    scaled = (u - mean) * torch.exp(-log_std)
    return -(torch.addcmul(log_std, scaled, scaled, value=0.5) + _HALF_LOG_TWO_PI).sum(-1)


def log_squash_slope(u: Tensor) -> Tensor:
    """log(1 - tanh(u)^2), elementwise."""
    return 2 * (_LOG_TWO - u - F.softplus(-2 * u))
