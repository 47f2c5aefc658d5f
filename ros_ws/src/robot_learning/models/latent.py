"""The stochastic half of a world model's state: categorical or Gaussian, without objects.

A latent is described by its `parameters`, one tensor:

- categorical: log probabilities [..., S, C], uniform share mixed in.
- Gaussian: mean and standard deviation [..., S, 2].

Noise is uniform in [0, 1) and drawn by the caller for all steps at once, in the order of time:
drawing T steps and then T more from one generator gives the same as drawing 2 T.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

# Classes below which torch's softmax over the last axis is slow: 20 times at 4 classes.
_SHORT = 16
_SMALLEST_UNIFORM = 2.0**-25  # Of which the normal quantile is finite, -5.4.


class Latent(Protocol):
    """One family of distributions over `size` numbers."""

    size: int  # Of a sample, flattened.
    raw_size: int  # Of the network output that describes one.
    noise_shape: tuple[int, ...]  # Of the noise of one sample.

    def shaped_noise(self, uniform: Tensor) -> Tensor:
        """Turn uniform noise [..., *noise_shape] into what `sample` takes."""

    def sample(self, raw: Tensor, noise: Tensor) -> Tensor:
        """Draw [..., size] from network outputs [..., raw_size], with gradient."""

    def draw(self, raw: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return `sample` and `parameters` for the work of one of them."""

    def mode(self, raw: Tensor) -> Tensor:
        """Return the likeliest [..., size]."""

    def parameters(self, raw: Tensor) -> Tensor:
        """Return the parameters of network outputs [..., raw_size]."""

    def kl(self, left: Tensor, right: Tensor) -> Tensor:
        """KL divergence [...] of `left` from `right`, both parameters, in nats."""

    def entropy(self, parameters: Tensor) -> Tensor:
        """Entropy [...] in nats."""


class CategoricalLatent:
    """S one-hot vectors of C classes with straight-through gradients (Hafner et al. 2021).

    Args:
        groups: S.
        classes: C.
        uniform_share: mixed into every distribution, so that no KL divergence is infinite.
    """

    def __init__(self, groups: int, classes: int, uniform_share: float = 0.01):
        self.size = self.raw_size = groups * classes
        self.noise_shape: tuple[int, ...] = (groups, classes)
        self._uniform_share = uniform_share

    def shaped_noise(self, uniform: Tensor) -> Tensor:
        """Return 1 / E with E exponential: the argmax of p / E is distributed as p."""
        return uniform.log().neg_().reciprocal_()

    def sample(self, raw: Tensor, noise: Tensor) -> Tensor:
        """Draw one-hot vectors; their gradient is that of the probabilities."""
        return _straight_through(self._probability(raw), noise)

    def draw(self, raw: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return one-hot vectors and log probabilities."""
        probability = self._probability(raw)
        return _straight_through(probability, noise), probability.log()

    def mode(self, raw: Tensor) -> Tensor:
        """Return the likeliest class of every group, with gradient as in `sample`."""
        return self.sample(raw, torch.ones(()).to(raw))

    def parameters(self, raw: Tensor) -> Tensor:
        """Return log probabilities [..., S, C]."""
        return self._probability(raw).log()

    def kl(self, left: Tensor, right: Tensor) -> Tensor:
        """Sum over groups of the divergence between the categorical distributions."""
        nats: Tensor = (left.exp() * (left - right)).sum((-2, -1))
        return nats

    def entropy(self, parameters: Tensor) -> Tensor:
        """Sum over groups."""
        return -(parameters.exp() * parameters).sum((-2, -1))

    def _probability(self, raw: Tensor) -> Tensor:
        logits = raw.view(*raw.shape[:-1], *self.noise_shape)
        if self.noise_shape[-1] < _SHORT:
            probability = logits.movedim(-1, 0).contiguous().softmax(0).movedim(0, -1).contiguous()
        else:
            probability = logits.softmax(-1)
        if not self._uniform_share:
            return probability
        classes = self.noise_shape[-1]
        return probability * (1 - self._uniform_share) + self._uniform_share / classes


def _straight_through(probability: Tensor, noise: Tensor) -> Tensor:
    """Draw [..., S * C] from [..., S, C], with the gradient of the probabilities."""
    with torch.no_grad():
        chosen = (probability * noise).argmax(-1, keepdim=True)
        one_hot = torch.zeros_like(probability).scatter_(-1, chosen, 1.0)
    if torch.is_grad_enabled():
        one_hot = one_hot + (probability - probability.detach())
    return one_hot.flatten(-2)


class GaussianLatent:
    """S independent normal numbers (Hafner et al. 2019, "PlaNet")."""

    def __init__(self, groups: int, min_std: float = 0.1):
        self.size = groups
        self.raw_size = 2 * groups
        self.noise_shape: tuple[int, ...] = (groups,)
        self._min_std = min_std

    def shaped_noise(self, uniform: Tensor) -> Tensor:
        """Return standard normal noise."""
        noise: Tensor = torch.special.ndtri(uniform.clamp(min=_SMALLEST_UNIFORM))
        return noise

    def sample(self, raw: Tensor, noise: Tensor) -> Tensor:
        """Draw mean + std * noise."""
        return self.draw(raw, noise)[0]

    def draw(self, raw: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean + std * noise, and mean and std."""
        mean, std = self._mean_and_std(raw)
        return torch.addcmul(mean, std, noise), torch.stack([mean, std], -1)

    def mode(self, raw: Tensor) -> Tensor:
        """Return the mean."""
        return self._mean_and_std(raw)[0]

    def parameters(self, raw: Tensor) -> Tensor:
        """Return mean and standard deviation, [..., S, 2]."""
        return torch.stack(self._mean_and_std(raw), -1)

    def kl(self, left: Tensor, right: Tensor) -> Tensor:
        """Sum over the numbers."""
        mean, std = left.unbind(-1)
        other_mean, other_std = right.unbind(-1)
        ratio = (std / other_std).square()
        distance = ((mean - other_mean) / other_std).square()
        return 0.5 * (ratio + distance - 1 - ratio.log()).sum(-1)

    def entropy(self, parameters: Tensor) -> Tensor:
        """Sum over the numbers."""
        return (0.5 + 0.5 * torch.log(2 * torch.pi * parameters[..., 1].square())).sum(-1)

    def _mean_and_std(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = raw.chunk(2, -1)
        # Between min_std and 2 + min_std, about 1 at 0 (danijar/dreamerv2, "sigmoid2").
        return mean, 2 * F.sigmoid(std / 2) + self._min_std
