"""A classifier that learns which action to take in a state, from labelled pairs.

Unlike the other phases it learns from pairs that belong to no episode, in passes over fixed
data; so it has a loop of its own, `PairTraining`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from robot_learning.config import STRICT
from robot_learning.errors import ConfigError, NotEnoughDataError, TrainingError
from robot_learning.models.categorical import CategoricalPolicy
from robot_learning.models.networks import Activation, initialise
from robot_learning.phases.checkpoint import CheckpointFolder
from robot_learning.phases.publishing import plain
from robot_learning.phases.state import collect, restore, step
from robot_learning.trajectory.labelled_pairs import LabelledPairs

Array = np.ndarray[Any, Any]
_MIN_STD = 1e-3  # A number that hardly varies is not blown up.


@dataclass(frozen=True, config=STRICT)
class NeuralPolicyConfig:
    """The guide's network: one hidden layer of 256, 20 passes over the data."""

    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (256,)
    activation: Activation = 'relu'
    epochs: PositiveInt = 20
    batch_size: PositiveInt = 128
    learning_rate: PositiveFloat = 1e-2  # Of the first pass; falls to 0 along a cosine.
    weight_decay: NonNegativeFloat = 1e-4
    normalise: bool = True  # States to zero mean and unit deviation over the training rows.
    num_synthetic: PositiveInt = 10_000  # Pairs made where no file is named.


class PairSplit(NamedTuple):
    """Rows to learn from and rows to measure on; no state is on both sides."""

    training: Array  # Indices.
    held_out: Array


def split_pairs(pairs: LabelledPairs, held_out_ratio: float, seed: int) -> PairSplit:
    """Hold out about `held_out_ratio` of the rows; rows of equal states stay together.

    Raises:
        NotEnoughDataError: all states are equal.
    """
    _, group = np.unique(pairs.states, axis=0, return_inverse=True)
    group = group.reshape(-1)
    sizes = np.bincount(group)
    if len(sizes) < 2:
        raise NotEnoughDataError(
            f'{pairs.source}: all states are equal, expected two or more. Record more.'
        )
    order = np.random.default_rng(seed).permutation(len(sizes))
    before = np.cumsum(sizes[order]) - sizes[order]  # Rows in the groups that come first.
    count = int(np.clip((before < held_out_ratio * len(group)).sum(), 1, len(sizes) - 1))
    is_held_out = np.isin(group, order[:count])
    return PairSplit(np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out))


class PairScores(NamedTuple):
    """What was measured on held-out rows."""

    loss: float  # Mean cross-entropy, nats.
    accuracy: float
    majority_accuracy: float  # Of always answering the training rows' most frequent label.
    confusion: Array  # [L, L] counts, true label by answered label.


class NeuralPolicy:
    """The network and its optimiser."""

    def __init__(self, config: NeuralPolicyConfig, input_size: int, num_labels: int, seed: int):
        self.config = config
        self.network = CategoricalPolicy(input_size, num_labels, config.hidden, config.activation)
        initialise(self.network, torch.Generator().manual_seed(seed))
        self._trained: list[Tensor] = list(self.network.parameters())
        self._optimizer = torch.optim.AdamW(
            self._trained, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )

    def prepare(self, states: Array) -> None:
        """Take mean and deviation from the training rows [N, D]."""
        if self.config.normalise:
            deviation = np.maximum(states.std(0), _MIN_STD)
            self.network.input_mean.copy_(torch.from_numpy(states.mean(0)))
            self.network.input_std.copy_(torch.from_numpy(deviation))

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rate of a pass, counted from 0."""
        progress = epoch / self.config.epochs
        for group in self._optimizer.param_groups:
            group['lr'] = self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))

    def update(self, states: Tensor, actions: Tensor) -> Tensor:
        """Take one gradient step on the cross-entropy of [B, D] and [B]; return it."""
        loss = F.cross_entropy(self.network(states), actions)
        step(self._optimizer, self._trained, loss)
        return loss.detach()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the network, with the data's statistics, and optimiser moments."""
        return collect({'network': self.network, 'optimizer': self._optimizer})

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`, bit by bit."""
        restore({'network': self.network, 'optimizer': self._optimizer}, state)


class PairTraining:
    """Learns in passes over the training rows and measures on the others after each.

    Args:
        pairs: all rows.
        split: which are for what.
        config: of the network and its learning.
        seed: of the weights and the order of the rows.
        checkpoints: written after each pass; None: a restart begins anew.
    """

    def __init__(
        self,
        pairs: LabelledPairs,
        split: PairSplit,
        config: NeuralPolicyConfig,
        seed: int,
        checkpoints: CheckpointFolder | None = None,
    ):
        self.phase = NeuralPolicy(config, pairs.states.shape[1], len(pairs.labels), seed)
        self.epoch = 0  # Passes done.
        self.update = 0
        self.wall_s = 0.0
        self._config, self._seed, self._checkpoints = config, seed, checkpoints
        self._labels = pairs.labels
        states, actions = torch.from_numpy(pairs.states), torch.from_numpy(pairs.actions)
        self._states, self._actions = states[split.training], actions[split.training]
        self._held_out = states[split.held_out], actions[split.held_out]
        self.phase.prepare(pairs.states[split.training])

    def resume(self) -> bool:
        """Continue from the newest checkpoint; False if there is none.

        Raises:
            ConfigError: it belongs to other data or settings.
        """
        checkpoint = self._checkpoints.newest() if self._checkpoints else None
        if checkpoint is None:
            return False
        content = checkpoint.content
        for key, value in self._identity().items():
            if content.get(key) != value:
                raise ConfigError(
                    f'checkpoint: {key} is {content.get(key)}, now it is {value}. Training '
                    f'cannot go on with another one; restore it or choose another output folder.'
                )
        self.phase.load_state_dict(checkpoint.tensors)
        self.epoch, self.update = content['epoch'], content['update']
        self.wall_s = content['wall_s']
        return True

    def run(
        self,
        should_stop: Callable[[], bool] = lambda: False,
        on_epoch: Callable[[int, dict[str, float]], None] = lambda epoch, metrics: None,
    ) -> PairScores:
        """Make the passes that are left, or those until `should_stop`; return the scores then.

        Raises:
            TrainingError: the loss is not finite; the last checkpoint stays.
        """
        while self.epoch < self._config.epochs and not should_stop():
            started_s = time.monotonic()
            loss = self._pass()
            if not np.isfinite(loss):
                raise TrainingError(
                    f'neural_policy: the loss is {loss} in pass {self.epoch + 1}, expected a '
                    f'finite one. Lower learning_rate.'
                )
            self.epoch += 1
            self.wall_s += time.monotonic() - started_s
            self._save()
            scores = self.measure()
            metrics = {
                'neural_policy/loss': loss,
                'held_out/loss': scores.loss,
                'held_out/accuracy': scores.accuracy,
            }
            on_epoch(self.epoch, metrics)
        return self.measure()

    @torch.no_grad()
    def measure(self) -> PairScores:
        """Score the network on the rows that no step has seen."""
        states, actions = self._held_out
        logits = self.phase.network(states)
        answers = logits.argmax(1)
        count = len(self._labels)
        confusion = torch.bincount(actions * count + answers, minlength=count * count)
        majority = torch.bincount(self._actions, minlength=count).argmax()
        return PairScores(
            float(F.cross_entropy(logits, actions)),
            float((answers == actions).float().mean()),
            float((actions == majority).float().mean()),
            confusion.reshape(count, count).numpy(),
        )

    def published(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors, and the `policy` block with the labels in their order."""
        tensors, description = self.phase.network.published()
        return tensors, description | {'labels': list(self._labels)}

    def _pass(self) -> float:
        """Go once through the training rows; their order follows from seed and pass."""
        order = np.random.default_rng((self._seed, self.epoch)).permutation(len(self._states))
        self.phase.begin_epoch(self.epoch)
        total = torch.zeros(())
        size = self._config.batch_size
        for start in range(0, len(order), size):
            rows = torch.from_numpy(order[start : start + size])
            loss = self.phase.update(self._states[rows], self._actions[rows])
            total += loss * len(rows)
            self.update += 1
        return float(total / len(order))

    def _save(self) -> None:
        if self._checkpoints is None:
            return
        content = {
            'epoch': self.epoch,
            'update': self.update,
            'wall_s': self.wall_s,
            **self._identity(),
        }
        self._checkpoints.save(self.update, self.phase.state_dict(), content)

    def _identity(self) -> dict[str, Any]:
        """Return what must not change between the parts of one training, as JSON gives it."""
        return {
            'config': plain(self._config),
            'labels': list(self._labels),
            'seed': self._seed,
            'training_rows': len(self._states),
            'training_sum': float(self._states.double().sum()),
        }
