"""The likelihood of recorded actions under the policy that learns, for both kinds of action."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from robot_learning.models.actor_critic import (
    GaussianClippedPolicy,
    GaussianPolicy,
    GaussianTanhPolicy,
)
from robot_learning.models.categorical import CategoricalPolicy
from robot_learning.models.distributions import (
    clipped_log_prob,
    log_squash_slope,
    normal_entropy,
    normal_log_prob,
)
from robot_learning.models.networks import Activation
from robot_learning.phases.phase import PolicySpace

# Closer to a limit, float32 does not hold what was drawn before squashing: at 1 - 1e-4 it is off
# by 1e-3, at 1 - 1e-6 by a tenth, which may be many deviations.
_MARGIN = 1e-4
Parameters = tuple[Tensor, ...]  # Of one distribution per row.


class HeadSettings(Protocol):
    """What a head needs to know of its phase's configuration."""

    @property
    def hidden(self) -> tuple[int, ...]:
        """Sizes of the hidden layers."""

    @property
    def activation(self) -> Activation:
        """Between the layers."""

    @property
    def squash(self) -> Literal['tanh', 'clip']:
        """How what a Gaussian draws comes within the limits."""

    @property
    def initial_log_std(self) -> float:
        """Of a Gaussian, before squashing or clipping."""

    @property
    def state_dependent_std(self) -> bool:
        """Whether the deviation depends on the observation."""


class Prepared(NamedTuple):
    """Recorded actions as `log_prob` wants them; they are the same for all epochs."""

    drawn: Tensor  # [N, A]
    old_log_prob: Tensor  # [N], of `drawn`, as `log_prob` counts it.
    num_recomputed: Tensor  # Rows whose recorded log_prob could not be used.


class GaussianHead:
    """A Gaussian whose deviation depends on the observation, or on nothing."""

    def __init__(self, settings: HeadSettings, network: GaussianPolicy):
        self.network = network
        self._settings = settings

    def initialise(self) -> None:
        """Give the deviation its first value."""
        torch.nn.init.constant_(self.network.log_std.bias, self._settings.initial_log_std)
        if not self._settings.state_dependent_std:
            torch.nn.init.zeros_(self.network.log_std.weight)
            self.network.log_std.weight.requires_grad_(False)

    def published(self, space: PolicySpace) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors to serve and their description."""
        return self.network.published(space.action_low, space.action_high)

    def _parameters(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean [N, A] and log deviation, [N, A] or [A]."""
        if self._settings.state_dependent_std:
            return self.network.from_normalised(features)
        # Its weights are zero: half of the head's work is to add nothing.
        mean = self.network.mean_from_normalised(features)
        return mean, self.network.log_std.bias.clamp(*self.network.log_std_bounds)


class SquashedHead(GaussianHead):
    """Squashed by tanh. What was drawn is followed back through the squashing once.

    Both likelihoods of a ratio have the same slope of the squashing as a factor, so that the
    recorded one is freed of it. Of actions too close to a limit to be followed back exactly,
    the old likelihood is that of the weights before the first step, as in Hilton et al. 2022,
    "Batch size-invariance for policy optimization", section 3.
    """

    def __init__(self, settings: HeadSettings, space: PolicySpace):
        sizes = (space.input_size, space.action_size)
        network = GaussianTanhPolicy(*sizes, settings.hidden, settings.activation)
        super().__init__(settings, network)

    def prepared(self, features: Tensor, action: Tensor, log_prob: Tensor) -> Prepared:
        """Return what `log_prob` needs of recorded actions [N, A].

        What was drawn beyond the margin is taken to be the likeliest draw there: at the margin,
        or the mean where that lies beyond. Any other guess would stand many deviations from a
        mean that has settled far out, and its gradient would throw the policy off.
        """
        margin = action.new_tensor(1 - _MARGIN)
        u = torch.atanh(action.clamp(-margin, margin))
        old = log_prob + log_squash_slope(u).sum(-1)
        beyond = action.abs() > margin  # [N, A]
        is_lost = beyond.any(-1)  # [N]
        if is_lost.any():
            mean, log_std = self.network.from_normalised(features[is_lost])
            side = action[is_lost].sign()
            likeliest = side * torch.maximum(side * mean, torch.atanh(margin))
            u[is_lost] = torch.where(beyond[is_lost], likeliest, u[is_lost])
            old[is_lost] = normal_log_prob(mean, log_std, u[is_lost])
        return Prepared(u, old, is_lost.sum())

    def log_prob(self, features: Tensor, drawn: Tensor) -> tuple[Tensor, Parameters]:
        """Return the log-probability [N] and the distributions' parameters."""
        mean, log_std = self._parameters(features)
        return normal_log_prob(mean, log_std, drawn), (mean, log_std.expand_as(mean))

    def entropy(self, parameters: Parameters, generator: torch.Generator) -> Tensor:
        """Return the squashed actions' entropy [N], estimated at one new draw each.

        There is no closed form.
        """
        mean, log_std = parameters
        noise = torch.randn(mean.shape, generator=generator)
        u = torch.addcmul(mean, log_std.exp(), noise)
        return log_squash_slope(u).sum(-1) - normal_log_prob(mean, log_std, u)


class ClippedHead(GaussianHead):
    """Clipped to the limits; what was drawn beyond them does not matter."""

    def __init__(self, settings: HeadSettings, space: PolicySpace):
        sizes = (space.input_size, space.action_size)
        network = GaussianClippedPolicy(*sizes, settings.hidden, settings.activation)
        super().__init__(settings, network)

    def prepared(self, features: Tensor, action: Tensor, log_prob: Tensor) -> Prepared:
        """Return what `log_prob` needs of recorded actions [N, A]."""
        return Prepared(action, log_prob, torch.zeros(()))

    def log_prob(self, features: Tensor, drawn: Tensor) -> tuple[Tensor, Parameters]:
        """Return the log-probability [N] and the distributions' parameters."""
        mean, log_std = self._parameters(features)
        return clipped_log_prob(mean, log_std, drawn), (mean, log_std.expand_as(mean))

    def entropy(self, parameters: Parameters, generator: torch.Generator) -> Tensor:
        """Return the Gaussian's entropy [N] before clipping; nothing is drawn for it."""
        return normal_entropy(parameters[1])


class CategoricalHead:
    """One of several choices."""

    def __init__(self, settings: HeadSettings, space: PolicySpace):
        sizes = (space.input_size, space.action_size)
        self.network = CategoricalPolicy(*sizes, settings.hidden, settings.activation)

    def initialise(self) -> None:
        """Leave everything as it is."""

    def prepared(self, features: Tensor, action: Tensor, log_prob: Tensor) -> Prepared:
        """Return what `log_prob` needs of recorded actions [N, A]."""
        return Prepared(action, log_prob, torch.zeros(()))

    def log_prob(self, features: Tensor, drawn: Tensor) -> tuple[Tensor, Parameters]:
        """Return the log-probability [N] and the logarithms of all probabilities."""
        log_probs = F.log_softmax(self.network.from_normalised(features), dim=-1)  # [N, A]
        return (log_probs * drawn).sum(-1), (log_probs,)

    def entropy(self, parameters: Parameters, generator: torch.Generator) -> Tensor:
        """Return the entropy [N]; nothing is drawn for it."""
        (log_probs,) = parameters
        return -(log_probs.exp() * log_probs).sum(-1)

    def published(self, space: PolicySpace) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors to serve and their description."""
        return self.network.published()


Head = SquashedHead | ClippedHead | CategoricalHead


def head_of(settings: HeadSettings, space: PolicySpace) -> Head:
    """Return the head for the space's kind of actions."""
    if space.is_discrete:
        return CategoricalHead(settings, space)
    kind = ClippedHead if settings.squash == 'clip' else SquashedHead
    return kind(settings, space)
