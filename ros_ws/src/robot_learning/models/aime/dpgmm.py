"""The prior of the latent: a mixture of Gaussians whose weights come from breaking a stick.

Component k takes the share v_k of what components before it left. A priori v_k ~ Beta(1, alpha):
a Dirichlet process cut off at K components (Sethuraman 1994; Blei & Jordan 2006), which lets few
components take most of the stick. Here both the sticks' posterior Beta(a_k, b_k) and the
components follow from the recurrent state and the context.

All divergences are in closed form. KL(q || mixture) has none, so it is bounded from above:
-log sum_k exp(E[log weight_k] - KL(q || component_k)) (Hershey & Olsen 2007, section 7, with one
Gaussian on the left; E[log weight] in place of a drawn weight only enlarges it, by Jensen). The
evidence bound that contains it is therefore still a lower bound. With one component it is exact.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEAST_CONCENTRATION = 0.1  # Of a stick's Beta; below it draws are 0 or 1 and gradients explode.
_LARGEST_LOG_WEIGHT = 30.0


class Gaussian(NamedTuple):
    """Independent Gaussians, mean and standard deviation [..., Z]."""

    mean: Tensor
    std: Tensor

    def sample(self) -> Tensor:
        """Draw one each, with gradient."""
        return self.mean + self.std * torch.randn_like(self.std)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of [..., Z], summed over Z: [...]."""
        scaled = (value - self.mean) / self.std
        return -(0.5 * scaled**2 + self.std.log() + 0.5 * math.log(2 * math.pi)).sum(-1)


class Mixture(NamedTuple):
    """Gaussians [..., K, Z] and the Beta posteriors of K - 1 sticks."""

    components: Gaussian
    a: Tensor  # [..., K - 1]
    b: Tensor  # [..., K - 1]

    @property
    def weights(self) -> Tensor:
        """Mean weight of each component [..., K]; they sum to 1."""
        return stick_weights(self.a / (self.a + self.b))

    def kl_bound(self, posterior: Gaussian) -> Tensor:
        """Upper bound [...] of KL(posterior || mixture) in nats; see the head of this file."""
        return -torch.logsumexp(self._scores(posterior), -1)

    def assignments(self, posterior: Gaussian) -> Tensor:
        """How much each component answers for a posterior, [..., K]; they sum to 1."""
        return self._scores(posterior).softmax(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density [...] of values [..., Z] under the mean weights."""
        each = self.components.log_prob(value.unsqueeze(-2))
        return torch.logsumexp(self.weights.clamp_min(1e-12).log() + each, -1)

    def sample(self) -> Tensor:
        """Draw a component by the mean weights, then a latent [..., Z]; no gradient to weights."""
        weights = self.weights
        drawn = torch.multinomial(weights.reshape(-1, weights.shape[-1]), 1)
        return self._of(drawn.reshape(weights.shape[:-1])).sample()

    def mode(self) -> Tensor:
        """Mean of the heaviest component, [..., Z]."""
        return self._of(self.weights.argmax(-1)).mean

    def _of(self, component: Tensor) -> Gaussian:
        index = component[..., None, None].expand(
            *component.shape, 1, self.components.mean.shape[-1]
        )
        return Gaussian(*(part.gather(-2, index).squeeze(-2) for part in self.components))

    def _scores(self, posterior: Gaussian) -> Tensor:
        each = Gaussian(posterior.mean.unsqueeze(-2), posterior.std.unsqueeze(-2))
        return expected_log_weights(self.a, self.b) - gaussian_kl(each, self.components)


class MixturePrior(nn.Module):
    """Conditions [..., D], recurrent state and context side by side, to mixtures.

    Args:
        condition_size: D.
        latent: Z.
        components: K at most.
        min_std: of every component.
    """

    def __init__(self, condition_size: int, latent: int, components: int, min_std: float):
        super().__init__()
        self._shape = (components, latent)
        self._min_std = min_std
        self.hidden = nn.Linear(condition_size, condition_size)
        self.norm = nn.LayerNorm(condition_size)
        self.gaussians = nn.Linear(condition_size, 2 * components * latent)
        self.sticks = nn.Linear(condition_size, 2 * (components - 1))
        with torch.no_grad():  # Components that begin alike would stay alike.
            self.gaussians.bias[: components * latent].normal_(0, 0.5)

    def forward(self, condition: Tensor) -> Mixture:
        """Return the mixture for each condition."""
        hidden = F.silu(self.norm(self.hidden(condition)))
        mean, raw = self.gaussians(hidden).float().unflatten(-1, (2, *self._shape)).unbind(-3)
        a, b = self.sticks(hidden).float().chunk(2, -1)
        return Mixture(
            Gaussian(mean, F.softplus(raw) + self._min_std),
            F.softplus(a) + _LEAST_CONCENTRATION,
            F.softplus(b) + _LEAST_CONCENTRATION,
        )


def stick_weights(shares: Tensor) -> Tensor:
    """Break a stick: shares [..., K - 1] of what is left to weights [..., K]."""
    left = torch.cumprod(1 - shares, -1)  # [..., K - 1]
    ones = (
        torch.ones_like(shares[..., :1])
        if shares.shape[-1]
        else shares.new_ones(*shares.shape[:-1], 1)
    )
    return torch.cat((shares, ones), -1) * torch.cat((ones, left), -1)


def expected_log_weights(a: Tensor, b: Tensor) -> Tensor:
    """E[log weight] [..., K] where the shares are Beta(a, b), [..., K - 1] each."""
    total = torch.digamma(a + b)
    taken, left = torch.digamma(a) - total, torch.digamma(b) - total
    zero = a.new_zeros(*a.shape[:-1], 1)
    before = torch.cat((zero, left.cumsum(-1)), -1)
    expected = torch.cat((taken, zero), -1) + before
    return expected.clamp_min(-_LARGEST_LOG_WEIGHT)


def stick_kl(a: Tensor, b: Tensor, concentration: float) -> Tensor:
    """KL(Beta(a, b) || Beta(1, concentration)) in nats, summed over sticks: [...]."""
    sticks = torch.distributions.Beta(a, b, validate_args=False)
    prior = torch.distributions.Beta(
        torch.ones_like(a), torch.full_like(b, concentration), validate_args=False
    )
    return torch.distributions.kl_divergence(sticks, prior).sum(-1)


def gaussian_kl(left: Gaussian, right: Gaussian) -> Tensor:
    """KL(left || right) in nats, summed over the last axis."""
    ratio = left.std / right.std
    shift = (left.mean - right.mean) / right.std
    return 0.5 * (ratio**2 + shift**2 - 1 - 2 * ratio.log()).sum(-1)


def kl_by_sampling(posterior: Gaussian, mixture: Mixture, num_samples: int) -> Tensor:
    """Estimate KL(posterior || mixture) [...] by draws, under the mean weights; unbiased."""
    draws = [posterior.sample() for _ in range(num_samples)]
    gaps = [posterior.log_prob(draw) - mixture.log_prob(draw) for draw in draws]
    return torch.stack(gaps).mean(0)


def components_in_use(assignments: Tensor, least_share: float = 0.02) -> Tensor:
    """How many components answer for at least a share of the steps [..., K]; a scalar."""
    return (assignments.flatten(0, -2).mean(0) >= least_share).sum()
