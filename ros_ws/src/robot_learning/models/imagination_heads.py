"""Actor and critic over a world model's features, and how a published actor is evaluated.

**Published tensors of the actor**, with F features, L layers of U units, P outputs:
`trunk.<i>.weight` [U, F or U], `trunk.<i>.bias` [U], `trunk.<i>.norm.weight` [U],
`trunk.<i>.norm.bias` [U] for i = 0 … L-1; `output.weight` [P, U], `output.bias` [P].

**Forward pass** of one row x [F] = deter and stoch side by side: per layer
y = W x + b; y = (y - mean(y)) / sqrt(var(y) + 1e-5) * norm.weight + norm.bias (variance over U,
not corrected); x = y / (1 + exp(-y)). Then raw = output.weight x + output.bias, and by kind

- `bounded_normal`, P = 2 A: mean = tanh(raw[:A]), std = 0.1 + 0.9 * sigmoid(raw[A:] + 2);
  action = clip(mean + std * noise, -1, 1), without exploration mean. The log-likelihood is the
  normal's at mean + std * noise, before the clip.
- `tanh_normal`, P = 2 A: u = raw[:A] + exp(clip(raw[A:], -5, 2)) * noise; action = tanh(u),
  without exploration tanh(raw[:A]). Likelihood of the action: log N(u) - log(1 - tanh(u)^2).
- `categorical`, P = A: p = (1 - unimix) * softmax(raw) + unimix / A; the action is one-hot,
  without exploration that of the largest p.

Actions in [-1, 1] become commands as low + (action + 1) / 2 * (high - low).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robot_learning.models.action_distributions import (
    ActionDistribution,
    ActionKind,
    BoundedNormal,
    TanhNormal,
    UnimixCategorical,
)
from robot_learning.models.encoders import Perceptron
from robot_learning.models.initialisation import initialise_normal
from robot_learning.models.two_hot import TwoHot, TwoHotOutput

_OUTPUT_SCALE = 0.01  # Of the actor's first outputs: it begins nearly indifferent.


class Actor(nn.Module):
    """Features [..., F] to a distribution over actions.

    Args:
        feature_size: F.
        action_size: A.
        units: of each layer, U.
        layers: how many, L.
        kind: of the distribution.
        unimix: share of the uniform distribution, where the kind is categorical.
    """

    def __init__(
        self,
        feature_size: int,
        action_size: int,
        units: int = 64,
        layers: int = 3,
        kind: ActionKind = 'bounded_normal',
        unimix: float = 0.01,
    ):
        super().__init__()
        self.kind = kind
        self.unimix = unimix
        self.trunk = Perceptron(feature_size, units, layers)
        num_outputs = action_size if kind == 'categorical' else 2 * action_size
        self.output = nn.Linear(units, num_outputs)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights from a seed."""
        initialise_normal(self, generator)
        with torch.no_grad():
            self.output.weight.mul_(_OUTPUT_SCALE)

    def forward(self, features: Tensor) -> ActionDistribution:
        """Return the distribution of every row."""
        return self.distribution(self.output(self.trunk(features)).float())

    def distribution(self, raw: Tensor) -> ActionDistribution:
        """Return the distribution that outputs [..., P] describe."""
        if self.kind == 'categorical':
            return UnimixCategorical(raw, self.unimix)
        return BoundedNormal(raw) if self.kind == 'bounded_normal' else TanhNormal(raw)


class Critic(nn.Module):
    """Features [..., F] to a distribution over returns, two-hot on symexp bins."""

    def __init__(self, feature_size: int, units: int = 64, layers: int = 3, num_bins: int = 255):
        super().__init__()
        self.trunk = Perceptron(feature_size, units, layers)
        self.output = TwoHotOutput(units, num_bins)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the layers' weights from a seed; the first answer is 0 everywhere."""
        initialise_normal(self, generator)

    def forward(self, features: Tensor) -> TwoHot:
        """Return the distribution of every row."""
        return self.output.distribution(self.trunk(features))

    def by_step(self, features: Tensor) -> list[TwoHot]:
        """Return for features [H, N, F] the distributions [N] of each step.

        Apart, as the many bins of all steps together would not fit into the cache.
        """
        return [self.output.distribution(rows) for rows in self.trunk(features)]
