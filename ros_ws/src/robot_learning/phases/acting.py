"""Drawing actions for many observations at once, with the memory of a network that learns.

Numpy rather than torch: for some ten rows through small layers it takes a quarter of the time,
and it sees every step of the optimiser without a copy.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from robot_learning.models.actor_critic import GaussianClippedPolicy, GaussianPolicy
from robot_learning.models.categorical import CategoricalPolicy
from robot_learning.models.distributions import clipped_log_prob
from robot_learning.phases.devices import CPU

Array = np.ndarray[Any, Any]
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Acted(NamedTuple):
    """Actions and how likely they were."""

    action: Array  # [N, A] float32 in [-1, 1], or one-hot.
    log_prob: Array  # [N] float32, nats; of the action, squashed or clipped as it is.


class Actor(Protocol):
    """Chooses actions [N, A] for observations [N, D]."""

    def draw(self, observation: Array, rng: np.random.Generator) -> Acted:
        """Return actions drawn at random."""

    def best(self, observation: Array) -> Array:
        """Return the actions without exploration."""

    def forget(self, ended: Array) -> None:
        """The next observation of those [N] is the first of another episode."""

    def state(self) -> dict[str, Tensor]:
        """Return what is remembered of the episodes that run."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Remember what `state` returned."""


def actor_for(phase: Any) -> Actor:
    """Return what acts for a phase; one with a memory brings its own by `environment_actor`."""
    if hasattr(phase, 'environment_actor'):
        own: Actor = phase.environment_actor()
        return own
    return actor_of(phase.actor)


def actor_of(network: nn.Module) -> Actor:
    """Return what acts with the present weights of `network`, and with all later ones."""
    if next(network.parameters()).device != CPU:
        return MirroredActor(network)
    if isinstance(network, CategoricalPolicy):
        return _CategoricalActor(network)
    assert isinstance(network, GaussianPolicy), type(network)
    if isinstance(network, GaussianClippedPolicy):
        return _ClippedActor(network)
    return _SquashedActor(network)


class _Perceptron:
    """A forward pass over arrays; only `relu` and `silu` without LayerNorm."""

    def __init__(self, network: GaussianPolicy | CategoricalPolicy):
        self._mean = network.input_mean.numpy()
        self._std = network.input_std.numpy()
        layers = [layer for layer in network.trunk if isinstance(layer, nn.Linear)]
        assert all(getattr(layer, 'norm', None) is None for layer in layers)
        self._layers = [_arrays(layer) for layer in layers]
        self._is_relu = network.activation == 'relu'

    def __call__(self, observation: Array) -> Array:
        """Map [N, D] to the last hidden layer [N, H]."""
        x: Array = (observation - self._mean) / self._std
        for weight, bias in self._layers:
            x = x @ weight
            x += bias
            if self._is_relu:
                np.maximum(x, 0, out=x)
            else:
                x *= 0.5 * (1 + np.tanh(0.5 * x))
        return x


class _NoMemory:
    def forget(self, ended: Array) -> None:
        pass

    def state(self) -> dict[str, Tensor]:
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        pass


class MirroredActor(_NoMemory):
    """Acts with a copy on the processor, brought up to date each time, of a network elsewhere."""

    def __init__(self, network: nn.Module):
        self._network = network
        self._copy = copy.deepcopy(network).to(CPU)
        self._actor = actor_of(self._copy)

    def draw(self, observation: Array, rng: np.random.Generator) -> Acted:
        """Return actions drawn at random."""
        self._copy.load_state_dict(self._network.state_dict())
        return self._actor.draw(observation, rng)

    def best(self, observation: Array) -> Array:
        """Return the actions without exploration."""
        self._copy.load_state_dict(self._network.state_dict())
        return self._actor.best(observation)


class _GaussianActor(_NoMemory):
    def __init__(self, network: GaussianPolicy):
        self._trunk = _Perceptron(network)
        self._mean, self._log_std = _arrays(network.mean), _arrays(network.log_std)
        self._bounds = network.log_std_bounds

    def _parameters(self, observation: Array) -> tuple[Array, Array]:
        """Return mean and log deviation [N, A]."""
        x = self._trunk(observation)
        mean = x @ self._mean[0] + self._mean[1]
        log_std = x @ self._log_std[0] + self._log_std[1]
        return mean, np.clip(log_std, *self._bounds, out=log_std)

    def _central(self, observation: Array) -> Array:
        mean: Array = self._trunk(observation) @ self._mean[0] + self._mean[1]
        return mean


class _SquashedActor(_GaussianActor):
    def draw(self, observation: Array, rng: np.random.Generator) -> Acted:
        u, log_std = self._parameters(observation)
        noise = rng.standard_normal(u.shape, np.float32)
        u += np.exp(log_std) * noise
        slope = 2 * (math.log(2) - u - np.logaddexp(0, -2 * u))  # Of tanh at u, its logarithm.
        log_prob = -0.5 * noise * noise - log_std - slope - _HALF_LOG_TWO_PI
        return Acted(np.tanh(u), log_prob.sum(1))

    def best(self, observation: Array) -> Array:
        u: Array = np.tanh(self._central(observation))
        return u


class _ClippedActor(_GaussianActor):
    def draw(self, observation: Array, rng: np.random.Generator) -> Acted:
        mean, log_std = self._parameters(observation)
        u = np.exp(log_std) * rng.standard_normal(mean.shape, np.float32)
        u += mean
        action = np.clip(u, -1, 1, out=u)
        log_prob = clipped_log_prob(*(torch.from_numpy(x) for x in (mean, log_std, action)))
        return Acted(action, log_prob.numpy())

    def best(self, observation: Array) -> Array:
        action: Array = np.clip(self._central(observation), -1, 1)
        return action


class _CategoricalActor(_NoMemory):
    def __init__(self, network: CategoricalPolicy):
        self._trunk = _Perceptron(network)
        self._logits = _arrays(network.logits)
        self._choices = np.eye(network.logits.out_features, dtype=np.float32)

    def draw(self, observation: Array, rng: np.random.Generator) -> Acted:
        logits = self._trunk(observation) @ self._logits[0] + self._logits[1]
        # The largest of logits plus Gumbel noise is drawn with the probability of its logit.
        noise = rng.standard_exponential(logits.shape, np.float32)
        choice = np.argmax(logits - np.log(noise), axis=1)
        logits -= logits.max(1, keepdims=True)
        total = np.log(np.exp(logits).sum(1))
        return Acted(self._choices[choice], logits[np.arange(len(choice)), choice] - total)

    def best(self, observation: Array) -> Array:
        logits = self._trunk(observation) @ self._logits[0] + self._logits[1]
        choice: Array = self._choices[np.argmax(logits, axis=1)]
        return choice


def _arrays(layer: nn.Linear) -> tuple[Array, Array]:
    """Return weight [D, size] and bias [size] as views of the layer's memory."""
    assert layer.weight.dtype == torch.float32
    return layer.weight.detach().numpy().T, layer.bias.detach().numpy()
