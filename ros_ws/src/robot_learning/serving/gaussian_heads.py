"""What a policy's last layer means: an action, squashed or clipped, and how likely it is."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

Array = np.ndarray[Any, Any]
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class PolicyOutput(NamedTuple):
    """One action and how likely the policy found it."""

    action: Array  # [A] float32, contract units.
    log_prob: float  # Of the action before scaling, in [-1, 1]^A, nats; NaN: deterministic.


class HeadEnds(Protocol):
    """What a head must know of its policy."""

    @property
    def action_size(self) -> int:
        """Number of command components, A."""

    @property
    def action_low(self) -> tuple[float, ...]:
        """Least commands [A], contract units."""

    @property
    def action_high(self) -> tuple[float, ...]:
        """Largest commands [A], contract units."""

    @property
    def log_std_bounds(self) -> tuple[float, float]:
        """Of the deviation's logarithm."""


class GaussianHead:
    """Turns the network's last layer into a squashed Gaussian action."""

    def __init__(self, spec: HeadEnds, tensors: Mapping[str, Array]):
        # One product for both heads.
        self._weight = np.concatenate([tensors['mean.weight'], tensors['log_std.weight']]).astype(
            np.float32
        )
        self._bias = np.concatenate([tensors['mean.bias'], tensors['log_std.bias']]).astype(
            np.float32
        )
        self._output = np.empty(2 * spec.action_size, np.float32)
        self._size = spec.action_size
        self._log_std_bounds = spec.log_std_bounds
        self._low = np.asarray(spec.action_low, np.float32)
        self._high = np.asarray(spec.action_high, np.float32)
        self._limits = list(zip(spec.action_low, spec.action_high, strict=True))

    def __call__(self, x: Array, noise: Array | None) -> PolicyOutput:
        """Return the mode, or the action that `noise` [A] draws."""
        output = np.dot(self._weight, x, out=self._output)
        output += self._bias
        return self._limited(output.tolist(), noise)

    def _limited(self, output: Sequence[float], noise: Array | None) -> PolicyOutput:
        low_std, high_std = self._log_std_bounds
        action = np.empty(self._size, np.float32)
        log_prob = math.nan if noise is None else 0.0
        # Few components: plain floats take a third of numpy's time.
        for i, (low, high) in enumerate(self._limits):
            u = output[i]
            if noise is not None:
                log_std = min(max(output[self._size + i], low_std), high_std)
                mean, u = u, u + math.exp(log_std) * float(noise[i])
                log_prob += self.log_prob(mean, log_std, u)
            action[i] = low + (self.squash(u) + 1) / 2 * (high - low)
        return PolicyOutput(np.clip(action, self._low, self._high, out=action), log_prob)

    @staticmethod
    def squash(u: float) -> float:
        """Bring what was drawn into [-1, 1]."""
        return math.tanh(u)

    @staticmethod
    def log_prob(mean: float, log_std: float, u: float) -> float:
        """Return how likely the action is that `u` was squashed to, nats."""
        return squashed_log_prob((u - mean) * math.exp(-log_std), log_std, u)


class ClippedHead(GaussianHead):
    """As that, but a Gaussian clipped to the limits."""

    @staticmethod
    def squash(u: float) -> float:
        """Bring what was drawn into [-1, 1]."""
        return min(max(u, -1.0), 1.0)

    @staticmethod
    def log_prob(mean: float, log_std: float, u: float) -> float:
        """Return how likely the action is that `u` was clipped to, nats."""
        return clipped_log_prob(mean, log_std, u)


def squashed_log_prob(noise: float, log_std: float, u: float) -> float:
    """Log N(u) - log(1 - tanh(u)^2), stable for large |u| (Haarnoja et al. 2018, app. C)."""
    gaussian = -0.5 * noise * noise - log_std - HALF_LOG_TWO_PI
    softplus = max(-2 * u, 0.0) + math.log1p(math.exp(-abs(2 * u)))
    return gaussian - 2 * (math.log(2) - u - softplus)


def clipped_log_prob(mean: float, log_std: float, u: float) -> float:
    """Log N(u) within [-1, 1], else that of all beyond the limit: what was drawn there is lost."""
    inverse_std = math.exp(-log_std)
    if abs(u) < 1:
        scaled = (u - mean) * inverse_std
        return -0.5 * scaled * scaled - log_std - HALF_LOG_TWO_PI
    w = (math.copysign(1, u) * mean - 1) * inverse_std
    return math.log(max(0.5 * math.erfc(-w / math.sqrt(2)), sys.float_info.min))
