"""What an actor's numbers mean: distributions over actions in [-1, 1]^A or over A choices.

`drawn` is what a distribution is asked about; `executed` is the action that follows from it.
They differ where a limit lies between the two: a likelihood must be that of what was drawn.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from robot_learning.models.distributions import log_squash_slope

ActionKind = Literal['bounded_normal', 'tanh_normal', 'categorical']
MIN_STD, MAX_STD = 0.1, 1.0  # Of the bounded normal (Hafner et al. 2023, their code).
MIN_LOG_STD, MAX_LOG_STD = -5.0, 2.0  # Of the tanh normal, before squashing.
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_HALF_LOG_TWO_PI_E = _HALF_LOG_TWO_PI + 0.5


class ActionDistribution(Protocol):
    """One distribution per row of any leading shape."""

    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        """Return `drawn` [..., A], differentiable in the parameters."""

    def executed(self, drawn: Tensor) -> Tensor:
        """Return the action [..., A]: in [-1, 1], or one-hot."""

    def mode(self) -> Tensor:
        """Return the action [..., A] without exploration."""

    def log_prob(self, drawn: Tensor) -> Tensor:
        """Return the log-likelihood [...]."""

    def entropy(self, drawn: Tensor) -> Tensor:
        """Return the entropy [...] in nats, or its estimate at `drawn`; differentiable."""


class BoundedNormal:
    """Normal with mean in (-1, 1) and deviation in (0.1, 1); what lies outside is clipped.

    Args:
        parameters: [..., 2 A], first all raw means, then all raw deviations.
    """

    def __init__(self, parameters: Tensor):
        raw_mean, raw_std = parameters.chunk(2, -1)
        self.mean = torch.tanh(raw_mean)
        self.std = MIN_STD + (MAX_STD - MIN_STD) * torch.sigmoid(raw_std + 2)

    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        """Return `drawn` [..., A], differentiable in the parameters."""
        return torch.addcmul(self.mean, self.std, _normal(self.mean, generator))

    def executed(self, drawn: Tensor) -> Tensor:
        """Clip to [-1, 1]; the gradient passes as if it were not clipped."""
        return drawn + (drawn.clamp(-1, 1) - drawn).detach()

    def mode(self) -> Tensor:
        """Return the mean."""
        return self.mean

    def log_prob(self, drawn: Tensor) -> Tensor:
        """Return the log-likelihood [...] of what was drawn before clipping."""
        scaled = (drawn - self.mean) / self.std
        return (-0.5 * scaled.square() - self.std.log() - _HALF_LOG_TWO_PI).sum(-1)

    def entropy(self, drawn: Tensor) -> Tensor:
        """Return the entropy [...] before clipping."""
        return (self.std.log() + _HALF_LOG_TWO_PI_E).sum(-1)


class TanhNormal:
    """Normal squashed by tanh; `drawn` is before squashing.

    Args:
        parameters: [..., 2 A], first all means, then all log deviations, before squashing.
    """

    def __init__(self, parameters: Tensor):
        self._mean, log_std = parameters.chunk(2, -1)
        self._log_std = log_std.clamp(MIN_LOG_STD, MAX_LOG_STD)

    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        """Return `drawn` [..., A], differentiable in the parameters."""
        return torch.addcmul(self._mean, self._log_std.exp(), _normal(self._mean, generator))

    def executed(self, drawn: Tensor) -> Tensor:
        """Squash."""
        return torch.tanh(drawn)

    def mode(self) -> Tensor:
        """Return the squashed mean."""
        return torch.tanh(self._mean)

    def log_prob(self, drawn: Tensor) -> Tensor:
        """Return the log density [...] of the squashed action."""
        scaled = (drawn - self._mean) * torch.exp(-self._log_std)
        gaussian = -0.5 * scaled.square() - self._log_std - _HALF_LOG_TWO_PI
        return (gaussian - log_squash_slope(drawn)).sum(-1)

    def entropy(self, drawn: Tensor) -> Tensor:
        """Estimate the entropy [...] of the squashed action from one draw.

        The Gaussian's share is exact; the squashing's is taken at `drawn`, moved along with
        the parameters, so that its gradient is unbiased.
        """
        with torch.no_grad():
            noise = (drawn - self._mean) * torch.exp(-self._log_std)
        u = torch.addcmul(self._mean, self._log_std.exp(), noise)
        return (self._log_std + _HALF_LOG_TWO_PI_E + log_squash_slope(u)).sum(-1)


class UnimixCategorical:
    """One of A choices; each keeps at least `unimix` / A of probability.

    Args:
        logits: [..., A].
        unimix: share of the uniform distribution.
    """

    def __init__(self, logits: Tensor, unimix: float = 0.01):
        mixed = (1 - unimix) * F.softmax(logits, -1) + unimix / logits.shape[-1]
        self._log_probs = mixed.log()
        self._probs = mixed

    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        """Return a one-hot [..., A]; the gradient is that of the probabilities."""
        size = self._probs.shape[-1]
        with torch.no_grad():
            rows = self._probs.reshape(-1, size)
            chosen = torch.multinomial(rows, 1, generator=generator)[:, 0]
            one_hot = F.one_hot(chosen, size).to(rows.dtype).view_as(self._probs)
        return one_hot + (self._probs - self._probs.detach())

    def executed(self, drawn: Tensor) -> Tensor:
        """Return it as it is."""
        return drawn

    def mode(self) -> Tensor:
        """Return the likeliest choice, one-hot [..., A]."""
        return F.one_hot(self._probs.argmax(-1), self._probs.shape[-1]).to(self._probs.dtype)

    def log_prob(self, drawn: Tensor) -> Tensor:
        """Return the log-probability [...] of a one-hot."""
        return (drawn * self._log_probs).sum(-1)

    def entropy(self, drawn: Tensor) -> Tensor:
        """Return the entropy [...]."""
        return -(self._probs * self._log_probs).sum(-1)


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)
