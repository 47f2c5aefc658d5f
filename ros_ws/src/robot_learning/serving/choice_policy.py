"""A published classifier as a plain numpy function: which of a few actions to take in a state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning import config
from robot_learning.config import STRICT
from robot_learning.errors import ConfigError, ModelRefusedError
from robot_learning.serving.policy import DenseLayers, contiguous, tensor_problems

Array = np.ndarray[Any, Any]
Label = int | str


@dataclass(frozen=True, config=STRICT)
class ChoiceSpec:
    """The `policy` block of a classifier's manifest."""

    input_size: PositiveInt
    num_choices: Annotated[int, Field(ge=2)]
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=32)]
    kind: Literal['categorical_mlp'] = 'categorical_mlp'
    activation: Literal['relu', 'silu'] = 'relu'
    layer_norm: Literal[False] = False
    labels: tuple[int | str, ...] = ()  # In the order of the network's outputs; (): numbers.

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name -> shape of every tensor such a classifier needs."""
        sizes = (self.input_size, *self.hidden)
        shapes: dict[str, tuple[int, ...]] = {
            'input_mean': (self.input_size,),
            'input_std': (self.input_size,),
            'logits.weight': (self.num_choices, sizes[-1]),
            'logits.bias': (self.num_choices,),
        }
        for i, size in enumerate(self.hidden):
            shapes[f'trunk.{i}.weight'] = (size, sizes[i])
            shapes[f'trunk.{i}.bias'] = (size,)
        return shapes


class Choice(NamedTuple):
    """One answer."""

    label: Label
    probability: float  # That the network gives it.
    probabilities: Array  # [L] float32 in the order of `ChoicePolicy.labels`.


class ChoicePolicy:
    """Forward pass of one version. Build it with `build_choice_policy`, which checks it."""

    def __init__(self, spec: ChoiceSpec, tensors: Mapping[str, Array]):
        self.spec = spec
        self.labels: tuple[Label, ...] = spec.labels or tuple(range(spec.num_choices))
        self._layers = DenseLayers(spec, tensors)
        self._weight = contiguous(tensors['logits.weight'])
        self._bias = contiguous(tensors['logits.bias'])

    def choose(self, state: Array) -> Choice:
        """Return the most probable label for one state [D], in the units of the training data."""
        logits = np.dot(self._weight, self._layers(np.asarray(state, np.float32))) + self._bias
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        index = int(shares.argmax())
        return Choice(self.labels[index], float(shares[index]), shares)


def build_choice_policy(
    tensors: Mapping[str, Array], manifest: Mapping[str, Any], where: str
) -> ChoicePolicy:
    """Make the classifier of one version after checking that its parts fit together.

    Args:
        tensors: weights by name.
        manifest: of the version; its `policy` block says what they are.
        where: what to call the version in errors, 'neural_policy@1'.

    Raises:
        ModelRefusedError: names what is missing, wrong or not finite.
    """
    block = manifest.get('policy')
    found = block.get('kind') if isinstance(block, Mapping) else None
    if not isinstance(block, Mapping) or found != 'categorical_mlp':
        raise ModelRefusedError(
            f"{where}: kind of policy is {found!r}, expected 'categorical_mlp'. Choose a version "
            f'that neural_policy published.'
        )
    try:
        spec = config.from_mapping(ChoiceSpec, block, f'{where}: manifest: policy')
    except ConfigError as error:
        raise ModelRefusedError(str(error)) from error
    problems = tensor_problems(spec.tensor_shapes(), tensors)
    if spec.labels and len(set(spec.labels)) != spec.num_choices:
        count = len(set(spec.labels))
        problems.append(f'labels are {count} different ones, expected {spec.num_choices}')
    if problems:
        raise ModelRefusedError(f'{where}: {"; ".join(problems)}. Publish it anew.')
    return ChoicePolicy(spec, tensors)
