"""A Dreamer version as plain numpy: what is seen becomes a state, the actor reads the state.

Tensors and formulas are those of `models/dreamer_policy.py` and `models/imagination_heads.py`,
which describe them in full. One decision of DreamerV3's size1m from features is some twenty
products of small matrices; pictures add their convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.serving.convolutions import ImageEncoder, image_tensors, num_stages
from robot_learning.serving.gaussian_heads import HALF_LOG_TWO_PI, PolicyOutput, squashed_log_prob
from robot_learning.serving.policy import (
    NORM_EPSILON,
    POLICY_KINDS,
    PolicyKind,
    contiguous,
    sigmoid,
)

Array = np.ndarray[Any, Any]
Shapes = dict[str, tuple[int, ...]]
_Layers = Annotated[int, Field(ge=1, le=32)]


@dataclass(frozen=True, config=STRICT)
class DreamerSpec:
    """The `policy` block of a Dreamer version's manifest."""

    input_size: NonNegativeInt
    action_size: PositiveInt
    action_low: tuple[float, ...]  # [A], contract units.
    action_high: tuple[float, ...]
    images: dict[str, tuple[PositiveInt, PositiveInt, PositiveInt]]  # Field -> [H, W, C].
    encoder_layers: _Layers
    depth: PositiveInt
    deter: PositiveInt
    hidden: PositiveInt
    groups: PositiveInt
    classes: PositiveInt
    blocks: PositiveInt
    latent: Literal['categorical', 'gaussian']
    units: PositiveInt
    actor_layers: _Layers
    distribution: Literal['bounded_normal', 'tanh_normal', 'categorical']
    unimix: Annotated[float, Field(ge=0, lt=1)]
    kind: Literal['dreamer'] = 'dreamer'

    def __post_init__(self) -> None:
        if self.deter % self.blocks:
            raise ValueError(f'blocks {self.blocks} do not divide deter {self.deter}')
        for shape in self.images.values():
            num_stages(shape)

    @property
    def stoch(self) -> int:
        """Size of the stochastic state, Z."""
        return self.groups * (self.classes if self.latent == 'categorical' else 1)

    def image_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return [H, W, C] of every image field that must come with the features."""
        return dict(self.images)

    def tensor_shapes(self) -> Shapes:
        """Return name -> shape of every tensor such a policy needs."""
        hidden, deter, stoch = self.hidden, self.deter, self.stoch
        block = deter // self.blocks
        shapes: Shapes = {}
        embedding = 0
        if self.input_size:
            sizes = [self.input_size, *[hidden] * self.encoder_layers]
            for i in range(self.encoder_layers):
                shapes |= _dense(f'vector_encoder.layers.{i}', sizes[i], sizes[i + 1])
            embedding += hidden
        for name, shape in self.images.items():
            tensors, size = image_tensors(_image_prefix(name), shape, self.depth)
            shapes |= tensors
            embedding += size
        shapes |= _dense('rssm.deter_input', deter, hidden)
        shapes |= _dense('rssm.stoch_input', stoch, hidden)
        shapes |= _dense('rssm.action_input', self.action_size, hidden)
        raw = stoch if self.latent == 'categorical' else 2 * stoch
        shapes |= {
            'rssm.recurrence.input.weight': (deter, 3 * hidden),
            'rssm.recurrence.input.bias': (deter,),
            'rssm.recurrence.state.weight': (self.blocks, block, block),
            'rssm.recurrence.norm.weight': (deter,),
            'rssm.recurrence.norm.bias': (deter,),
            'rssm.recurrence.gates.weight': (self.blocks, block, 3 * block),
            'rssm.recurrence.gates_bias': (self.blocks, 1, 3 * block),
            'rssm.posterior_embedding.weight': (hidden, embedding),
            'rssm.posterior_embedding.bias': (hidden,),
            'rssm.posterior_deter.weight': (hidden, deter),
            'rssm.posterior_norm.weight': (hidden,),
            'rssm.posterior_norm.bias': (hidden,),
            'rssm.posterior_output.weight': (raw, hidden),
            'rssm.posterior_output.bias': (raw,),
        }
        sizes = [deter + stoch, *[self.units] * self.actor_layers]
        for i in range(self.actor_layers):
            shapes |= _dense(f'actor.trunk.{i}', sizes[i], sizes[i + 1])
        outputs = self.action_size * (1 if self.distribution == 'categorical' else 2)
        shapes['actor.output.weight'] = (outputs, self.units)
        shapes['actor.output.bias'] = (outputs,)
        return shapes


class DreamerPolicy:
    """Encoder, posterior and actor of one version, and the state that it believes in."""

    def __init__(self, spec: DreamerSpec, tensors: Mapping[str, Array]):
        self.spec = spec
        self._tensors = tensors
        layers = range(spec.encoder_layers if spec.input_size else 0)
        self._vector = [_Dense(tensors, f'vector_encoder.layers.{i}') for i in layers]
        self._images = {
            name: ImageEncoder(tensors, _image_prefix(name), shape)
            for name, shape in spec.images.items()
        }
        self._recurrence = _Recurrence(spec, tensors)
        self._posterior_weight = contiguous(
            np.concatenate(
                [
                    tensors['rssm.posterior_embedding.weight'],
                    tensors['rssm.posterior_deter.weight'],
                ],
                axis=1,
            )
        )
        self._posterior_bias = contiguous(tensors['rssm.posterior_embedding.bias'])
        self._posterior_norm = _Norm(tensors, 'rssm.posterior_norm')
        self._posterior_output = _Linear(tensors, 'rssm.posterior_output')
        self._actor = [_Dense(tensors, f'actor.trunk.{i}') for i in range(spec.actor_layers)]
        self._actor_output = _Linear(tensors, 'actor.output')
        self._low = np.asarray(spec.action_low, np.float32)
        self._high = np.asarray(spec.action_high, np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget the episode."""
        self._deter = np.zeros(self.spec.deter, np.float32)
        self._stoch = np.zeros(self.spec.stoch, np.float32)
        self._action = np.zeros(self.spec.action_size, np.float32)  # In [-1, 1], or one-hot.

    def executed(self, action: Array) -> None:
        """Remember what was carried out [A], contract units, as the last action."""
        if self.spec.distribution != 'categorical':
            action = np.clip((action - self._low) / (self._high - self._low) * 2 - 1, -1, 1)
        self._action = np.asarray(action, np.float32)

    def fork(self) -> DreamerPolicy:
        """Return the same version with an empty memory of its own."""
        return DreamerPolicy(self.spec, self._tensors)

    def act(
        self,
        features: Array,
        noise: Array | None = None,
        images: Mapping[str, Array] | None = None,
    ) -> PolicyOutput:
        """Return the action for the next observation of an episode; see `Policy.act`.

        The state is the posterior's likeliest, with noise as well: only the action is drawn.
        """
        embedding = self._embed(features, images or {})
        self._deter = self._recurrence.step(self._deter, self._stoch, self._action)
        seen = np.dot(self._posterior_weight, np.concatenate([embedding, self._deter]))
        raw = self._posterior_output(_silu(self._posterior_norm(seen + self._posterior_bias)))
        self._stoch = self._likeliest(raw)
        x = np.concatenate([self._deter, self._stoch])
        for layer in self._actor:
            x = layer(x)
        self._action, log_prob = _choose(self.spec, self._actor_output(x), noise)
        if self.spec.distribution == 'categorical':
            return PolicyOutput(self._action.copy(), log_prob)
        command = self._low + (self._action + 1) / 2 * (self._high - self._low)
        return PolicyOutput(np.clip(command, self._low, self._high), log_prob)

    def _embed(self, features: Array, images: Mapping[str, Array]) -> Array:
        parts = []
        if self._vector:
            x = np.sign(features) * np.log1p(np.abs(features))
            for layer in self._vector:
                x = layer(x)
            parts.append(x)
        parts += [encoder(images[name]) for name, encoder in self._images.items()]
        return np.concatenate(parts)

    def _likeliest(self, raw: Array) -> Array:
        if self.spec.latent == 'gaussian':
            return raw[: self.spec.groups]
        rows = raw.reshape(self.spec.groups, self.spec.classes)
        one_hot = np.zeros_like(rows)
        one_hot[np.arange(len(rows)), rows.argmax(1)] = 1
        return one_hot.reshape(-1)


class _Recurrence:
    """The block-diagonal recurrent unit."""

    def __init__(self, spec: DreamerSpec, tensors: Mapping[str, Array]):
        inputs = ('deter_input', 'stoch_input', 'action_input')
        self._inputs = [_Dense(tensors, f'rssm.{name}') for name in inputs]
        self._input = _Linear(tensors, 'rssm.recurrence.input')
        self._state = contiguous(tensors['rssm.recurrence.state.weight'])
        self._norm = _Norm(tensors, 'rssm.recurrence.norm')
        self._gates = contiguous(tensors['rssm.recurrence.gates.weight'])
        self._gates_bias = contiguous(tensors['rssm.recurrence.gates_bias'])
        self._blocks = spec.blocks

    def step(self, deter: Array, stoch: Array, action: Array) -> Array:
        """Return the next deter [D]."""
        parts = zip(self._inputs, (deter, stoch, action), strict=True)
        x = self._input(np.concatenate([layer(value) for layer, value in parts]))
        x += np.matmul(deter.reshape(self._blocks, 1, -1), self._state).reshape(-1)
        x = _silu(self._norm(x)).reshape(self._blocks, 1, -1)
        gates = np.matmul(x, self._gates) + self._gates_bias  # [G, 1, 3 d]
        reset, candidate, update = (part.reshape(-1) for part in np.split(gates, 3, axis=-1))
        candidate = np.tanh(sigmoid(reset) * candidate)
        share = sigmoid(update - 1)
        following: Array = deter + share * (candidate - deter)
        return following


class _Linear:
    """A linear map of one vector."""

    def __init__(self, tensors: Mapping[str, Array], prefix: str):
        self._weight = contiguous(tensors[f'{prefix}.weight'])
        self._bias = contiguous(tensors[f'{prefix}.bias'])

    def __call__(self, x: Array) -> Array:
        result: Array = np.dot(self._weight, x)
        result += self._bias
        return result


class _Norm:
    """Layer norm of one vector."""

    def __init__(self, tensors: Mapping[str, Array], prefix: str):
        self._weight = contiguous(tensors[f'{prefix}.weight'])
        self._bias = contiguous(tensors[f'{prefix}.bias'])

    def __call__(self, x: Array) -> Array:
        centred = x - x.mean()
        centred *= 1.0 / math.sqrt(float(np.dot(centred, centred)) / len(x) + NORM_EPSILON)
        result: Array = centred * self._weight + self._bias
        return result


class _Dense:
    """A linear map, layer norm and SiLU."""

    def __init__(self, tensors: Mapping[str, Array], prefix: str):
        self._linear = _Linear(tensors, prefix)
        self._norm = _Norm(tensors, f'{prefix}.norm')

    def __call__(self, x: Array) -> Array:
        return _silu(self._norm(self._linear(x)))


def _choose(spec: DreamerSpec, raw: Array, noise: Array | None) -> tuple[Array, float]:
    """Return the action in [-1, 1], or one-hot, [A] and its log-likelihood; NaN: the mode."""
    if spec.distribution == 'categorical':
        return _choose_one(spec, raw, noise)
    size = spec.action_size
    mean, spread = raw[:size], raw[size:]
    if noise is None:
        return np.tanh(mean), math.nan
    noise = noise.astype(np.float32)
    if spec.distribution == 'bounded_normal':
        std = 0.1 + 0.9 * sigmoid(spread + 2)
        log_prob = -0.5 * noise * noise - np.log(std) - HALF_LOG_TWO_PI
        return np.clip(np.tanh(mean) + std * noise, -1, 1), float(log_prob.sum())
    log_std = np.clip(spread, -5, 2)
    u = mean + np.exp(log_std) * noise
    parts = zip(noise.tolist(), log_std.tolist(), u.tolist(), strict=True)
    return np.tanh(u), sum(squashed_log_prob(*part) for part in parts)


def _choose_one(spec: DreamerSpec, raw: Array, noise: Array | None) -> tuple[Array, float]:
    """Return a choice, one-hot [A]. Normal noise becomes Gumbel's, of which argmax draws."""
    share = np.exp(raw - raw.max())
    share = (1 - spec.unimix) * share / share.sum() + spec.unimix / len(raw)
    scores = np.log(share)
    log_prob = math.nan
    if noise is not None:
        uniform = [0.5 * math.erfc(-value / math.sqrt(2)) for value in noise.tolist()]
        clipped = np.clip(uniform, 1e-12, 1 - 1e-12)
        scores = scores - np.log(-np.log(clipped))
    action = np.zeros(len(raw), np.float32)
    chosen = int(scores.argmax())
    action[chosen] = 1
    if noise is not None:
        log_prob = float(np.log(share[chosen]))
    return action, log_prob


def _dense(prefix: str, input_size: int, size: int) -> Shapes:
    return {
        f'{prefix}.weight': (size, input_size),
        f'{prefix}.bias': (size,),
        f'{prefix}.norm.weight': (size,),
        f'{prefix}.norm.bias': (size,),
    }


def _image_prefix(field: str) -> str:
    return f'image_encoders.{field.replace(".", "_")}'


def _silu(x: Array) -> Array:
    return x * sigmoid(x)


POLICY_KINDS.register('dreamer')(PolicyKind(DreamerSpec, DreamerPolicy))
