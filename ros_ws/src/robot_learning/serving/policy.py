"""A published policy as a plain numpy function, and the checks it must pass before use.

Numpy rather than torch: at one observation per tick a 46-256-256-2 network answers in about
15 us without the tails of torch's eager mode. Libraries' threads do not pay at this size;
`robot_learning.nodes` sets OMP_NUM_THREADS=1 before numpy is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning import config
from robot_learning.config import STRICT
from robot_learning.errors import ConfigError, ModelRefusedError
from robot_learning.registry import Registry
from robot_learning.serving.gaussian_heads import ClippedHead, GaussianHead, PolicyOutput

Array = np.ndarray[Any, Any]

NORM_EPSILON = 1e-5  # torch.nn.LayerNorm's.
_LogStd = Annotated[float, Field(ge=-100, le=100)]  # Its exponential must not overflow.


class PolicyEnds(Protocol):
    """What all kinds of policy say about themselves in the manifest."""

    @property
    def input_size(self) -> int:
        """Number of features, D."""

    @property
    def action_size(self) -> int:
        """Number of command components, A."""

    @property
    def action_low(self) -> tuple[float, ...]:
        """Least commands [A], contract units."""

    @property
    def action_high(self) -> tuple[float, ...]:
        """Largest commands [A], contract units."""

    def image_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return [H, W, C] of every image field that must come with the features."""

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name -> shape of every tensor such a policy needs."""


class Policy(Protocol):
    """The forward pass of one version, with what it remembers of the episode."""

    @property
    def spec(self) -> PolicyEnds:
        """The version's own description."""

    def act(
        self,
        features: Array,
        noise: Array | None = None,
        images: Mapping[str, Array] | None = None,
    ) -> PolicyOutput:
        """Return the action for the next observation of an episode.

        Args:
            features: [D] float32, as `FeatureBuilder` gives them.
            noise: [A] standard normal draws; None: the policy's mode.
            images: [H, W, C] uint8 per field of `spec.image_shapes`.
        """

    def executed(self, action: Array) -> None:
        """Be told what was carried out [A] after the last answer, contract units.

        The gate or a person may have changed it; a policy that remembers its actions must
        remember this one, as it learned from executed actions.
        """

    def reset(self) -> None:
        """Forget the episode; the next observation is the first of another one."""

    def fork(self) -> Policy:
        """Return the same version with an empty memory of its own; the weights are shared."""


@dataclass(frozen=True, config=STRICT)
class GaussianSpec:
    """What policies with dense layers and a Gaussian action have in common."""

    input_size: PositiveInt
    action_size: PositiveInt
    action_low: tuple[float, ...]  # [A], contract units.
    action_high: tuple[float, ...]
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=32)] = (256, 256)
    activation: Literal['relu', 'silu'] = 'relu'
    layer_norm: bool = False
    log_std_bounds: tuple[_LogStd, _LogStd] = (-5.0, 2.0)

    @property
    def head_size(self) -> int:
        """Number of values that the heads read."""
        return self.hidden[-1]

    def image_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return nothing: pictures are not looked at."""
        return {}

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
            shapes[f'{head}.weight'] = (self.action_size, self.head_size)
            shapes[f'{head}.bias'] = (self.action_size,)
        return shapes


@dataclass(frozen=True, config=STRICT)
class PolicySpec(GaussianSpec):
    """The `policy` block of a feed-forward version's manifest."""

    kind: Literal['gaussian_tanh_mlp'] = 'gaussian_tanh_mlp'


@dataclass(frozen=True, config=STRICT)
class ClippedSpec(GaussianSpec):
    """That of one whose Gaussian is clipped to the limits, not squashed."""

    kind: Literal['gaussian_clipped_mlp'] = 'gaussian_clipped_mlp'


class PolicyKind(NamedTuple):
    """How versions of one kind are described, and what makes one of them act."""

    spec: type[Any]  # A `PolicyEnds`, pydantic dataclass.
    make: Any  # (spec, tensors) -> Policy.


POLICY_KINDS: Registry[PolicyKind] = Registry('kind of policy')


class LayerSizes(Protocol):
    """What `DenseLayers` must know of a policy."""

    @property
    def input_size(self) -> int:
        """Number of features, D."""

    @property
    def hidden(self) -> tuple[int, ...]:
        """Width of each layer."""

    @property
    def activation(self) -> str:
        """'relu' or 'silu'."""

    @property
    def layer_norm(self) -> bool:
        """Whether each layer normalises before its activation."""


class DenseLayers:
    """Normalises features and sends them through the trunk; its buffers are reused."""

    def __init__(self, spec: LayerSizes, tensors: Mapping[str, Array]):
        self._input_mean = contiguous(tensors['input_mean'])
        self._input_scale = 1.0 / contiguous(tensors['input_std'])
        self._input = np.empty(spec.input_size, np.float32)
        self._activation = spec.activation
        self._layers = [
            (
                contiguous(tensors[f'trunk.{i}.weight']),
                contiguous(tensors[f'trunk.{i}.bias']),
                np.empty(size, np.float32),
            )
            for i, size in enumerate(spec.hidden)
        ]
        self._norms = [
            (
                contiguous(tensors[f'trunk.{i}.norm.weight']),
                contiguous(tensors[f'trunk.{i}.norm.bias']),
            )
            for i in range(len(spec.hidden) if spec.layer_norm else 0)
        ]

    def __call__(self, features: Array) -> Array:
        """Return the last layer's output for features [D]."""
        x = np.subtract(features, self._input_mean, out=self._input)
        x *= self._input_scale
        for i, (weight, bias, buffer) in enumerate(self._layers):
            x = np.dot(weight, x, out=buffer)
            x += bias
            if self._norms:
                x -= x.mean()
                x *= 1.0 / math.sqrt(float(np.dot(x, x)) / len(x) + NORM_EPSILON)
                x *= self._norms[i][0]
                x += self._norms[i][1]
            if self._activation == 'relu':
                np.maximum(x, 0, out=x)
            else:
                x *= sigmoid(x)
        return x


class GaussianTanhPolicy:
    """Forward pass of one version; its buffers make it unsafe for two threads at once.

    Build it with `build_policy`, which checks spec and tensors.
    """

    head: ClassVar[type[GaussianHead]] = GaussianHead

    def __init__(self, spec: PolicySpec | ClippedSpec, tensors: Mapping[str, Array]):
        self.spec = spec
        self._tensors = tensors
        self._layers = DenseLayers(spec, tensors)
        self._head = self.head(spec, tensors)

    def act(
        self,
        features: Array,
        noise: Array | None = None,
        images: Mapping[str, Array] | None = None,
    ) -> PolicyOutput:
        """Return the action for one observation; see `Policy.act`."""
        return self._head(self._layers(features), noise)

    def executed(self, action: Array) -> None:
        """Actions are not remembered."""

    def reset(self) -> None:
        """Nothing is remembered."""

    def fork(self) -> GaussianTanhPolicy:
        """Return the same version with buffers of its own."""
        return type(self)(self.spec, self._tensors)


class GaussianClippedPolicy(GaussianTanhPolicy):
    """As that, but what is drawn is clipped."""

    head = ClippedHead


POLICY_KINDS.register('gaussian_tanh_mlp')(PolicyKind(PolicySpec, GaussianTanhPolicy))
POLICY_KINDS.register('gaussian_clipped_mlp')(PolicyKind(ClippedSpec, GaussianClippedPolicy))


def build_policy(tensors: Mapping[str, Array], manifest: Mapping[str, Any], where: str) -> Policy:
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
    if block.get('kind') == 'world_model':
        raise ModelRefusedError(
            f'{where}: is a world model, which predicts and drives nothing, expected a policy. '
            f'Let it be published under another name; train dreamer for a policy that uses one.'
        )
    try:
        kind = POLICY_KINDS.get(str(block.get('kind', 'gaussian_tanh_mlp')))
        spec = config.from_mapping(kind.spec, block, f'{where}: manifest: policy')
    except ConfigError as error:
        text = str(error)
        raise ModelRefusedError(text if text.startswith(where) else f'{where}: {text}') from error
    problems = tensor_problems(spec.tensor_shapes(), tensors)
    for name in ('action_low', 'action_high'):
        if len(getattr(spec, name)) != spec.action_size:
            problems.append(
                f'{name} holds {len(getattr(spec, name))} values, expected {spec.action_size}'
            )
    if problems:
        raise ModelRefusedError(
            f'{where}: {"; ".join(problems)}. Publish it anew or serve another version.'
        )
    policy: Policy = kind.make(spec, tensors)
    return policy


def tensor_problems(
    shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Array]
) -> list[str]:
    """Name every tensor that is missing, wrongly shaped or not finite."""
    problems = []
    for name, shape in shapes.items():
        if name not in tensors:
            problems.append(f'tensor {name} is missing, expected shape {list(shape)}')
        elif tuple(tensors[name].shape) != shape:
            found = list(tensors[name].shape)
            problems.append(f'tensor {name} has shape {found}, expected {list(shape)}')
        elif not np.isfinite(tensors[name]).all():
            count = int((~np.isfinite(tensors[name])).sum())
            problems.append(f'tensor {name} holds {count} values that are not finite')
    scale = tensors.get('input_std', np.ones(1))
    if not problems and not (np.asarray(scale) > 0).all():
        problems.append('tensor input_std holds values that are not above zero')
    return problems


def contiguous(tensor: Array) -> Array:
    """Return a tensor as products like it: float32, rows behind each other."""
    return np.ascontiguousarray(tensor, np.float32)


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)), elementwise."""
    return 0.5 * (1 + np.tanh(0.5 * x))  # The form that does not overflow.
