"""Gaussians within limits, of continuous-control policies: squashed by tanh, or clipped."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

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
        generator: source of the noise, on the same device.
    """
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    drawn = _Squash.apply(mean, log_std, noise)  # type: ignore[no-untyped-call]
    return SquashedSample(*drawn)


class Squashed(NamedTuple):
    """What `squash_gradient` needs besides the gradients."""

    action: Tensor  # [..., A]
    log_prob: Tensor  # [...]
    spread: Tensor  # [..., A], the noise times its deviation.

    def rows(self, first: int, end: int | None) -> Squashed:
        """Return a part of the rows of all."""
        return Squashed(*(part[first:end] for part in self))


def squash(mean: Tensor, log_std: Tensor, noise: Tensor) -> Squashed:
    """Return tanh(mean + exp(log_std) * noise) and its log density; not differentiable."""
    spread = log_std.exp().mul_(noise)
    u = mean + spread
    gaussian = noise.square().mul_(-0.5).sub_(log_std).sub_(_HALF_LOG_TWO_PI)
    return Squashed(torch.tanh(u), gaussian.sub_(log_squash_slope(u)).sum(-1), spread)


def squash_gradient(
    action: Tensor, spread: Tensor, of_action: Tensor, of_log_prob: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients to mean and log_std [..., A].

    By d tanh(u) / du = 1 - tanh(u)^2 and d log_prob / du = 2 tanh(u).

    Args:
        action: as drawn, [..., A].
        spread: of `Squashed`.
        of_action: gradient to the action, [..., A].
        of_log_prob: gradient to the log density, [...].
    """
    of_log_prob = of_log_prob.unsqueeze(-1)  # [..., 1]
    of_u = (1 - action.square()).mul_(of_action).addcmul_(of_log_prob, action, value=2)
    return of_u, of_u * spread - of_log_prob


class _Squash(torch.autograd.Function):
    """Action and log density for given noise; the gradient by hand takes a third of the steps."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        action, log_prob, spread = squash(mean, log_std, noise)
        ctx.save_for_backward(action, spread)
        return action, log_prob

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        return *squash_gradient(*ctx.saved_tensors, *gradients), None


def squashed_log_prob(mean: Tensor, log_std: Tensor, action: Tensor) -> Tensor:
    """Log density [...] of squashed actions [..., A] in [-1, 1].

    Actions at the very limits have no finite u; they count as the last float before them.
    """
    limit = 1 - torch.finfo(action.dtype).eps
    u = torch.atanh(action.clamp(-limit, limit))
    return normal_log_prob(mean, log_std, u) - log_squash_slope(u).sum(-1)


def clipped_log_prob(mean: Tensor, log_std: Tensor, action: Tensor) -> Tensor:
    """How likely a Gaussian, clipped to [-1, 1], gives the actions [..., A]; in nats, [...].

    Of a component within the limits the log density; of one at a limit the logarithm of all the
    probability beyond it, so that nothing needs to be known of what was drawn there (Fujita &
    Maeda 2018, "Clipped Action Policy Gradient", equation 6).
    """
    inverse_std = torch.exp(-log_std)
    scaled = (action - mean) * inverse_std
    within = -0.5 * scaled.square() - log_std - _HALF_LOG_TWO_PI
    beyond = torch.special.log_ndtr((action.sign() * mean - 1) * inverse_std)
    return torch.where(action.abs() < 1, within, beyond).sum(-1)


def normal_log_prob(mean: Tensor, log_std: Tensor, u: Tensor) -> Tensor:
    """Log density [...] of u [..., A] under independent normals, not squashed."""
    scaled = (u - mean) * torch.exp(-log_std)
    return -(torch.addcmul(log_std, scaled, scaled, value=0.5) + _HALF_LOG_TWO_PI).sum(-1)


def normal_entropy(log_std: Tensor) -> Tensor:
    """Entropy [...] of independent normals with log deviations [..., A], in nats."""
    return (log_std + _HALF_LOG_TWO_PI + 0.5).sum(-1)


def log_squash_slope(u: Tensor) -> Tensor:
    """log(1 - tanh(u)^2), elementwise."""
    return 2 * (_LOG_TWO - u - F.softplus(-2 * u))
