"""A network that is made to be adapted: a few gradient steps on a few examples fit it to a task.

MAML (Finn et al. 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks") with
a learned rate per layer and step (Antoniou et al. 2019, "How to train your MAML", section 4).
Classifiers may begin from a last layer made of the examples' class means, so that they take any
number of classes (Proto-MAML, Triantafillou et al. 2020, "Meta-Dataset", section 3).

Every example is judged for itself: normalisation is within an example, never over a batch, so a
query says nothing about other queries.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn import functional as F

from robot_learning.config import STRICT

Weights = dict[str, Tensor]
_GROUP = 8  # Channels that are normalised together.
_WEIGHT, _BIAS = 'head.weight', 'head.bias'


@dataclass(frozen=True, config=STRICT)
class MetaLearnerConfig:
    """The network and how it adapts."""

    hidden: tuple[PositiveInt, ...] = (64, 64)  # Of numbers.
    channels: PositiveInt = 32  # Of pictures, a multiple of 8 or less than 8.
    blocks: PositiveInt = 4  # Of pictures; each halves height and width.
    head: Literal['prototypes', 'learned'] = 'prototypes'  # Of classifiers.
    adapts: Literal['all', 'head'] = 'all'  # 'head': only the last layer (ANIL, Raghu 2020).
    inner_steps: PositiveInt = 1
    inner_rate: PositiveFloat = 0.1  # At the start, where rates are learned.
    learns_rates: bool = True


class MetaShape(NamedTuple):
    """What goes in and out."""

    inputs: tuple[int, ...]  # (D,) numbers, or (channels, height, width) of pictures in [0, 1].
    num_targets: int  # Numbers to predict; 0: it is a classifier.
    num_classes: int = 0  # That a learned last layer tells apart; 0: any number.


class Examples(NamedTuple):
    """Inputs and what belongs to them."""

    inputs: Tensor  # [N, *inputs]
    targets: Tensor  # [N, num_targets] float32, or [N] int64 classes from 0 without gaps.


class MetaLearner(nn.Module):
    """Initial weights, the rates at which they adapt, and the adapting itself.

    Methods that take `weights` are pure: `vmap` runs them over tasks, `grad` through them.

    Args:
        config: sizes and steps.
        shape: of inputs and outputs.
    """

    rates: Tensor
    input_mean: Tensor
    input_std: Tensor
    target_mean: Tensor
    target_std: Tensor

    def __init__(self, config: MetaLearnerConfig, shape: MetaShape):
        super().__init__()
        self.config, self.shape = config, shape
        self.body, size = _body(config, shape.inputs)
        self.head: nn.Linear | None = None
        if shape.num_targets or config.head == 'learned':
            self.head = nn.Linear(size, shape.num_targets or shape.num_classes)
        names = [name for name, _ in self.named_parameters()]
        self.adapted_names = [n for n in names if config.adapts == 'all' or n in (_WEIGHT, _BIAS)]
        if self.head is None:
            self.adapted_names += [_WEIGHT, _BIAS]
        rates = torch.full((config.inner_steps, len(self.adapted_names)), config.inner_rate)
        if config.learns_rates:
            self.rates = nn.Parameter(rates)
        else:
            self.register_buffer('rates', rates)
        for name, count in (('input', shape.inputs[0]), ('target', shape.num_targets)):
            self.register_buffer(f'{name}_mean', torch.zeros(count))
            self.register_buffer(f'{name}_std', torch.ones(count))

    @property
    def is_classifier(self) -> bool:
        """Whether targets are classes."""
        return self.shape.num_targets == 0

    def weights(self) -> Weights:
        """Return the initial weights by name; a last layer of class means is not among them."""
        return {name: value for name, value in self.named_parameters() if name != 'rates'}

    def features(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Map [N, *inputs] to what the last layer sees [N, F]."""
        if len(self.shape.inputs) == 1:
            inputs = (inputs - self.input_mean) / self.input_std
        own = {name[5:]: value for name, value in weights.items() if name.startswith('body.')}
        found: Tensor = functional_call(self.body, own, (inputs,))
        return found

    def outputs(self, weights: Weights, inputs: Tensor) -> Tensor:
        """Map [N, *inputs] to logits [N, C], or to targets in their normalised scale."""
        return head_outputs(weights, self.features(weights, inputs))

    def answers(self, outputs: Tensor) -> Tensor:
        """Turn outputs into the probability of every class [N, C], or targets [N, num_targets]."""
        if self.is_classifier:
            return outputs.softmax(-1)
        return outputs * self.target_std + self.target_mean

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy, or the mean squared error in the normalised scale."""
        if self.is_classifier:
            return F.cross_entropy(outputs, targets)
        return F.mse_loss(outputs, (targets - self.target_mean) / self.target_std)

    def begin(self, weights: Weights, support: Examples, num_classes: int = 0) -> Weights:
        """Return the weights before the first step: with a last layer made of class means.

        The logits are then -|features - mean|^2 / sqrt(F) up to what all classes share.
        """
        if self.head is not None:
            return weights
        return self._with_means(
            weights, self.features(weights, support.inputs), support.targets, num_classes
        )

    def adapt(
        self,
        weights: Weights,
        rates: Tensor,
        support: Examples,
        num_classes: int = 0,
        num_steps: int | None = None,
        first_order: bool = False,
    ) -> Weights:
        """Return the weights after some gradient steps on a task's examples.

        Args:
            weights: to begin from, see `weights`.
            rates: [S, adapted tensors]; steps beyond S take the last row.
            support: examples of one task.
            num_classes: of a classifier that takes any number.
            num_steps: None: as many as it was trained with.
            first_order: take the steps for constants when they are differentiated: faster, and
                not the true gradient (Finn et al. 2017, section 5.2).
        """
        if self.config.adapts == 'head':
            seen = Examples(self.features(weights, support.inputs), support.targets)
            return self.adapt_head(weights, rates, seen, num_classes, num_steps, first_order)

        def loss(changed: Weights) -> Tensor:
            outputs = self.outputs({**all_weights, **changed}, support.inputs)
            return self.loss(outputs, support.targets)

        all_weights = self.begin(weights, support, num_classes)
        return self._descended(all_weights, rates, loss, num_steps, first_order)

    def adapt_head(
        self,
        weights: Weights,
        rates: Tensor,
        seen: Examples,
        num_classes: int = 0,
        num_steps: int | None = None,
        first_order: bool = False,
    ) -> Weights:
        """Do what `adapt` does where only the last layer adapts.

        The features come ready, because the body is the same for all tasks: those of many tasks
        are made in one go, outside of `vmap`, which takes half the time on a processor.

        Args:
            weights: to begin from.
            rates: see `adapt`.
            seen: features [N, F] of one task's examples, and their targets.
            num_classes: see `adapt`.
            num_steps: see `adapt`.
            first_order: see `adapt`.
        """
        if self.head is None:
            weights = self._with_means(weights, *seen, num_classes)

        def loss(changed: Weights) -> Tensor:
            return self.loss(head_outputs({**weights, **changed}, seen.inputs), seen.targets)

        return self._descended(weights, rates, loss, num_steps, first_order)

    def _descended(
        self,
        weights: Weights,
        rates: Tensor,
        loss: Callable[[Weights], Tensor],
        num_steps: int | None,
        first_order: bool,
    ) -> Weights:
        fast = {name: weights[name] for name in self.adapted_names}
        for step in range(self.config.inner_steps if num_steps is None else num_steps):
            slope = grad(loss)(fast)
            rate = rates[min(step, len(rates) - 1)]
            for index, name in enumerate(self.adapted_names):
                change = slope[name].detach() if first_order else slope[name]
                fast[name] = fast[name] - rate[index] * change
        return {**weights, **fast}

    def _with_means(
        self, weights: Weights, features: Tensor, targets: Tensor, num_classes: int
    ) -> Weights:
        is_class = F.one_hot(targets, num_classes).to(features)  # [N, C]
        mean = is_class.T @ features / is_class.sum(0)[:, None].clamp(min=1)  # [C, F]
        scale = 1 / math.sqrt(features.shape[1])
        return {**weights, _WEIGHT: 2 * scale * mean, _BIAS: -scale * mean.square().sum(1)}


def head_outputs(weights: Weights, features: Tensor) -> Tensor:
    """Map features [N, F] to what the last layer makes of them."""
    return F.linear(features, weights[_WEIGHT], weights[_BIAS])


def _body(config: MetaLearnerConfig, inputs: Sequence[int]) -> tuple[nn.Module, int]:
    """Return a network [N, *inputs] -> [N, F], and F."""
    if len(inputs) == 1:
        sizes = [inputs[0], *config.hidden]
        layers = [
            each for a, b in itertools.pairwise(sizes) for each in (nn.Linear(a, b), nn.Tanh())
        ]
        return nn.Sequential(*layers), sizes[-1]
    channels, height, width = inputs
    parts: list[nn.Module] = []
    for _ in range(config.blocks):
        parts += [
            nn.Conv2d(channels, config.channels, 3, stride=2, padding=1),
            nn.GroupNorm(max(config.channels // _GROUP, 1), config.channels),
            nn.ReLU(),
        ]
        channels, height, width = config.channels, (height + 1) // 2, (width + 1) // 2
    return nn.Sequential(*parts, nn.Flatten()), channels * height * width
