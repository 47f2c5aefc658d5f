"""A published policy as a plain numpy function, and the checks it must pass before use.

Numpy rather than torch: at one observation per tick a 46-256-256-2 network answers in about
15 us without the tails of torch's eager mode. Libraries' threads do not pay at this size;
`robot_learning.nodes` sets OMP_NUM_THREADS=1 before numpy is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning import config
from robot_learning.config import STRICT
from robot_learning.errors import ConfigError, ModelRefusedError

Array = np.ndarray[Any, Any]

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_NORM_EPSILON = 1e-5  # torch.nn.LayerNorm's.


@dataclass(frozen=True, config=STRICT)
class PolicySpec:
    """The `policy` block of a model version's manifest."""

    input_size: PositiveInt
    action_size: PositiveInt
    action_low: tuple[float, ...]  # [A], contract units.
    action_high: tuple[float, ...]
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=32)] = (256, 256)
    kind: Literal['gaussian_tanh_mlp'] = 'gaussian_tanh_mlp'
    activation: Literal['relu', 'silu'] = 'relu'
    layer_norm: bool = False
    log_std_bounds: tuple[float, float] = (-5.0, 2.0)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name -> shape of every tensor such a policy needs."""
        sizes = (self.input_size, *self.hidden)
        shapes: dict[str, tuple[int, ...]] = {
            'input_mean': (self.input_size,),
            'input_std': (self.input_size,),
        }
        for i, size in enumerate(self.hidden):
            shapes[f'trunk.{i}.weight'] = (size, sizes[i])
            shapes[f'trunk.{i}.bias'] = (size,)
            if self.layer_norm:
                shapes[f'trunk.{i}.norm.weight'] = (size,)
                shapes[f'trunk.{i}.norm.bias'] = (size,)
        for head in ('mean', 'log_std'):
            shapes[f'{head}.weight'] = (self.action_size, sizes[-1])
            shapes[f'{head}.bias'] = (self.action_size,)
        return shapes


class PolicyOutput(NamedTuple):
    """One action and how likely the policy found it."""

    action: Array  # [A] float32, contract units.
    log_prob: float  # Of the action before scaling, in [-1, 1]^A, nats; NaN: deterministic.


class GaussianTanhPolicy:
    """Forward pass of one version; its buffers make it unsafe for two threads at once.

    Build it with `build_policy`, which checks spec and tensors.
    """

    def __init__(self, spec: PolicySpec, tensors: Mapping[str, Array]):
        def tensor(name: str) -> Array:
            return np.ascontiguousarray(tensors[name], np.float32)

        self.spec = spec
        self._input_mean = tensor('input_mean')
        self._input_scale = 1.0 / tensor('input_std')
        self._input = np.empty(spec.input_size, np.float32)
        self._layers = [
            (tensor(f'trunk.{i}.weight'), tensor(f'trunk.{i}.bias'), np.empty(size, np.float32))
            for i, size in enumerate(spec.hidden)
        ]
        self._norms = [
            (tensor(f'trunk.{i}.norm.weight'), tensor(f'trunk.{i}.norm.bias'))
            for i in range(len(spec.hidden) if spec.layer_norm else 0)
        ]
        # One product for both heads.
        self._heads = np.concatenate([tensor('mean.weight'), tensor('log_std.weight')])
        self._heads_bias = np.concatenate([tensor('mean.bias'), tensor('log_std.bias')])
        self._output = np.empty(2 * spec.action_size, np.float32)
        self._low = np.asarray(spec.action_low, np.float32)
        self._high = np.asarray(spec.action_high, np.float32)
        self._limits = list(zip(spec.action_low, spec.action_high, strict=True))

    def act(self, features: Array, noise: Array | None = None) -> PolicyOutput:
        """Return the action for one observation.

        Args:
            features: [D] float32, as `FeatureBuilder` gives them.
            noise: [A] standard normal draws; None: the policy's mode.
        """
        output = self._forward(features).tolist()
        low_std, high_std = self.spec.log_std_bounds
        action = np.empty(self.spec.action_size, np.float32)
        log_prob = math.nan if noise is None else 0.0
        # Few components: plain floats take a third of numpy's time.
        for i, (low, high) in enumerate(self._limits):
            u = output[i]
            if noise is not None:
                log_std = min(max(output[self.spec.action_size + i], low_std), high_std)
                u += math.exp(log_std) * float(noise[i])
                log_prob += _squashed_log_prob(float(noise[i]), log_std, u)
            action[i] = low + (math.tanh(u) + 1) / 2 * (high - low)
        return PolicyOutput(np.clip(action, self._low, self._high, out=action), log_prob)

    def _forward(self, features: Array) -> Array:
        """Return mean and log standard deviation before clamping [2 A], in a reused buffer."""
        x = np.subtract(features, self._input_mean, out=self._input)
        x *= self._input_scale
        for i, (weight, bias, buffer) in enumerate(self._layers):
            x = np.dot(weight, x, out=buffer)
            x += bias
            if self._norms:
                x -= x.mean()
                x *= 1.0 / math.sqrt(float(np.dot(x, x)) / len(x) + _NORM_EPSILON)
                x *= self._norms[i][0]
                x += self._norms[i][1]
            if self.spec.activation == 'relu':
                np.maximum(x, 0, out=x)
            else:
                x *= _sigmoid(x)
        output = np.dot(self._heads, x, out=self._output)
        output += self._heads_bias
        return output


def build_policy(
    tensors: Mapping[str, Array], manifest: Mapping[str, Any], where: str
) -> GaussianTanhPolicy:
    """Make the policy of one version after checking that its parts fit together.

    Args:
        tensors: weights by name.
        manifest: of the version; its `policy` block says what they are.
        where: what to call the version in errors, 'navigator@12'.

    Raises:
        ModelRefusedError: names every missing or wrongly shaped tensor, non-finite weights or
            mistakes in the manifest.
    """
    block = manifest.get('policy')
    if not isinstance(block, Mapping):
        raise ModelRefusedError(
            f'{where}: its manifest has no policy block, expected one that says kind and sizes. '
            f'Serve a version that a policy phase published.'
        )
    try:
        spec = config.from_mapping(PolicySpec, block, f'{where}: manifest: policy')
    except ConfigError as error:
        raise ModelRefusedError(str(error)) from error
    problems = []
    for name, shape in spec.tensor_shapes().items():
        if name not in tensors:
            problems.append(f'tensor {name} is missing, expected shape {list(shape)}')
        elif tuple(tensors[name].shape) != shape:
            found = list(tensors[name].shape)
            problems.append(f'tensor {name} has shape {found}, expected {list(shape)}')
        elif not np.isfinite(tensors[name]).all():
            count = int((~np.isfinite(tensors[name])).sum())
            problems.append(f'tensor {name} holds {count} values that are not finite')
    if not problems and not (np.asarray(tensors['input_std']) > 0).all():
        problems.append('tensor input_std holds values that are not above zero')
    for name in ('action_low', 'action_high'):
        if len(getattr(spec, name)) != spec.action_size:
            problems.append(
                f'{name} holds {len(getattr(spec, name))} values, expected {spec.action_size}'
            )
    if problems:
        raise ModelRefusedError(
            f'{where}: {"; ".join(problems)}. Publish it anew or serve another version.'
        )
    return GaussianTanhPolicy(spec, tensors)


def _squashed_log_prob(noise: float, log_std: float, u: float) -> float:
    """Log N(u) - log(1 - tanh(u)^2), stable for large |u| (Haarnoja et al. 2018, app. C)."""
    gaussian = -0.5 * noise * noise - log_std - _HALF_LOG_TWO_PI
    softplus = max(-2 * u, 0.0) + math.log1p(math.exp(-abs(2 * u)))
    return gaussian - 2 * (math.log(2) - u - softplus)


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * x))  # The form that does not overflow.
