"""The gradient of the clipped loss, written out for small perceptrons.

For 64 rows through layers of 64 units, autograd takes several times as long to remember what was
done as doing it takes. This is the same gradient: the tests compare the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robot_learning.models.actor_critic import StateValue
from robot_learning.phases.flat_parameters import FlatParameters
from robot_learning.phases.policy_heads import ClippedHead, GaussianHead, Head

Array = np.ndarray[Any, Any]
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class PpoGradient:
    """Fills `flat.gradient` from a minibatch.

    Of relu networks, a Gaussian with one deviation per component and without entropy bonus, or
    choices with any; the value's error is not clipped.
    """

    def __init__(
        self,
        head: Head,
        critic: StateValue,
        flat: FlatParameters,
        clip_ratio: float,
        value_weight: float,
        entropy_weight: float,
    ):
        self._clip_ratio = clip_ratio
        self._value_weight, self._entropy_weight = value_weight, entropy_weight
        self._log_std: tuple[Array, Array] | None = None
        self._is_clipped = isinstance(head, ClippedHead)
        if isinstance(head, GaussianHead):
            network = head.network
            self._actor = _Perceptron(network.trunk, network.mean, flat)
            self._log_std = _pair(network.log_std.bias, flat)
            self._bounds = network.log_std_bounds
        else:
            self._actor = _Perceptron(head.network.trunk, head.network.logits, flat)
        self._critic = _Perceptron(critic.trunk, critic.output, flat)

    def fill(
        self,
        features: Array,
        drawn: Array,
        old_log_prob: Array,
        advantage: Array,
        target_value: Array,
    ) -> None:
        """Differentiate the loss of rows [B, D], [B, A] and [B]."""
        value = self._critic.forward(features)  # [B, 1]
        error = value - target_value[:, None]
        error *= 2 * self._value_weight / len(value)
        self._critic.backward(error)
        output = self._actor.forward(features)  # [B, A]
        if self._log_std is not None:
            self._actor.backward(self._gaussian(output, drawn, old_log_prob, advantage))
        else:
            self._actor.backward(self._categorical(output, drawn, old_log_prob, advantage))

    def _gaussian(self, mean: Array, drawn: Array, old_log_prob: Array, advantage: Array) -> Array:
        """Fill the deviation's part and return the gradient to the mean [B, A]."""
        assert self._log_std is not None, 'a Gaussian has one'
        raw, gradient = self._log_std
        log_std = np.clip(raw, *self._bounds)
        inverse_std = np.exp(-log_std)
        scaled: Array = (drawn - mean) * inverse_std  # Derivative by the mean, times deviation;
        growth = scaled * scaled  # that by the log deviation, less 1.
        log_probs = -0.5 * growth - (log_std + _HALF_LOG_TWO_PI)
        if self._is_clipped:
            self._count_tails(mean, drawn, inverse_std, scaled, growth, log_probs)
        pull = self._pull(log_probs.sum(1) - old_log_prob, advantage)  # [B]
        inside = (raw >= self._bounds[0]) & (raw <= self._bounds[1])
        gradient[:] = inside * (pull @ growth - pull.sum())
        scaled *= inverse_std
        scaled *= pull[:, None]
        return scaled

    @staticmethod
    def _count_tails(
        mean: Array,
        drawn: Array,
        inverse_std: Array,
        scaled: Array,
        growth: Array,
        log_probs: Array,
    ) -> None:
        """Replace what `_gaussian` computed of actions at a limit by what holds of the tail.

        With w = (side mean - 1) / deviation the tail has the probability Phi(w), whose
        logarithm grows by r = phi(w) / Phi(w).
        """
        row, column = np.nonzero(np.abs(drawn) >= 1)
        if not len(row):
            return
        side = np.sign(drawn[row, column])
        w = (side * mean[row, column] - 1) * inverse_std[column]
        tail = torch.special.log_ndtr(torch.from_numpy(w)).numpy()
        growing = np.exp(-0.5 * w * w - _HALF_LOG_TWO_PI - tail)
        log_probs[row, column] = tail
        scaled[row, column] = side * growing
        growth[row, column] = 1 - w * growing

    def _categorical(
        self, logits: Array, drawn: Array, old_log_prob: Array, advantage: Array
    ) -> Array:
        """Return the gradient to the logits [B, A]."""
        logits -= logits.max(1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(1, keepdims=True))  # Logarithms of probabilities.
        probs = np.exp(logits)
        pull = self._pull((logits * drawn).sum(1) - old_log_prob, advantage)
        gradient: Array = pull[:, None] * (drawn - probs)
        if self._entropy_weight:
            entropy = -(probs * logits).sum(1, keepdims=True)
            gradient += self._entropy_weight / len(logits) * probs * (logits + entropy)
        return gradient

    def _pull(self, log_ratio: Array, advantage: Array) -> Array:
        """Return the loss's derivative by each row's log-probability [B].

        It is 0 where the ratio has gone the way its advantage pays, beyond the clip.
        """
        ratio = np.exp(log_ratio)
        gone = np.where(advantage > 0, ratio > 1 + self._clip_ratio, ratio < 1 - self._clip_ratio)
        ratio *= advantage
        ratio[gone] = 0
        ratio *= -1 / len(ratio)
        return ratio


class _Perceptron:
    """One network's passes over arrays that share the memory of parameters and gradient."""

    def __init__(self, trunk: nn.ModuleList, output: nn.Linear, flat: FlatParameters):
        layers: Sequence[Any] = [*trunk, output]
        self._layers = [(_pair(each.weight, flat), _pair(each.bias, flat)) for each in layers]
        self._inputs: list[Array] = []
        self._ones = np.ones(0, np.float32)

    def forward(self, x: Array) -> Array:
        """Map [B, D] to [B, size] and remember what each layer saw."""
        self._inputs = [x]
        for (weight, _), (bias, _) in self._layers[:-1]:
            x = x @ weight.T
            x += bias
            np.maximum(x, 0, out=x)
            self._inputs.append(x)
        (weight, _), (bias, _) = self._layers[-1]
        x = x @ weight.T
        x += bias
        return x

    def backward(self, gradient: Array) -> None:
        """Fill the parameters' parts from the gradient [B, size] to the output."""
        if len(self._ones) != len(gradient):
            self._ones = np.ones(len(gradient), np.float32)
        for index in reversed(range(len(self._layers))):
            (weight, weight_gradient), (_, bias_gradient) = self._layers[index]
            x = self._inputs[index]
            np.matmul(gradient.T, x, out=weight_gradient)
            np.matmul(self._ones, gradient, out=bias_gradient)
            if index:
                gradient = gradient @ weight
                gradient *= x > 0


def _pair(parameter: Tensor, flat: FlatParameters) -> tuple[Array, Array]:
    """Return a parameter and its part of the gradient, as views."""
    return parameter.detach().numpy(), flat.gradient_of(parameter).numpy()
