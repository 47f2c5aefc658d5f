"""Behavioural cloning with a memory: what to do follows from all that was seen before."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from robot_learning.config import STRICT
from robot_learning.models.networks import Activation
from robot_learning.models.sequence_policy import (
    Memory,
    SequencePolicy,
    initialise_sequence_policy,
)
from robot_learning.phases.cloning import (
    CloningLoss,
    cloning_losses,
    fix_log_std,
    take_statistics,
)
from robot_learning.phases.devices import CPU, placed
from robot_learning.phases.gradient_clipping import GradientClipping
from robot_learning.phases.phase import (
    PHASES,
    Batch,
    Metrics,
    PolicySpace,
    TrainingData,
    Windows,
)
from robot_learning.phases.state import collect, restore, step


@dataclass(frozen=True, config=STRICT)
class SequenceCloningConfig:
    """As BC-RNN of Mandlekar et al. 2021 (arXiv 2108.03298), with a squashed Gaussian."""

    hidden: tuple[PositiveInt, ...] = (256,)  # Layers between observation and memory.
    memory: Memory = 'lstm'
    memory_size: PositiveInt = 256
    activation: Activation = 'relu'
    layer_norm: bool = False
    batch_size: PositiveInt = 32  # Windows.
    # Steps of a window. What must be remembered longer than this cannot be learned.
    length: Annotated[int, Field(ge=2)] = 50
    learning_rate: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 0.0
    gradient_norm: PositiveFloat | None = 10.0  # Largest; None: any.
    loss: CloningLoss = 'likelihood'
    # squared_error leaves the spread of exploring policies at this logarithm of the deviation.
    fixed_log_std: Annotated[float, Field(ge=-5, le=2)] = -1.5
    normalise: bool = True  # Features to zero mean and unit deviation over the training data.
    intervention_weight: NonNegativeFloat = 1.0  # Of a step that a person drove, beside 1.
    # Recorded actions are pulled this far inside [-1, 1]: tanh reaches the ends nowhere.
    action_margin: Annotated[float, Field(gt=0, lt=0.5)] = 0.01


@PHASES.register('sequence_cloning')
class SequenceCloning:
    """Learns from windows of `observation` [B, T, D] and `action` [B, T, A] in [-1, 1].

    The memory is empty at the start of a window and wherever `is_first` begins an episode inside
    it. Steps whose action was never executed (see `executed`) teach nothing. Held-out episodes
    are answered whole, from their first step on, as when the robot drives.
    """

    Config = SequenceCloningConfig
    selects_by_validation = True

    def __init__(
        self,
        config: SequenceCloningConfig,
        space: PolicySpace,
        seed: int,
        *,
        device: torch.device = CPU,
    ):
        self.config = config
        self.space = space
        self.device = device
        self.actor = SequencePolicy(
            space.input_size,
            space.action_size,
            config.hidden,
            config.memory,
            config.memory_size,
            config.activation,
            config.layer_norm,
        )
        initialise_sequence_policy(self.actor, torch.Generator().manual_seed(seed))
        if config.loss == 'squared_error':
            fix_log_std(self.actor, config.fixed_log_std)
        self.actor.to(device)
        self._trained: list[Tensor] = [p for p in self.actor.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._trained, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        GradientClipping(self._optimizer, norm=config.gradient_norm)

    @property
    def draws(self) -> Windows:
        """Windows, wherever they lie in an episode."""
        return Windows(self.config.batch_size, self.config.length)

    @property
    def measures(self) -> Windows:
        """Whole episodes."""
        return Windows(self.config.batch_size, sys.maxsize)

    def prepare(self, data: TrainingData) -> None:
        """Take the features' mean and deviation from the data."""
        if self.config.normalise:
            take_statistics(self.actor, data.observation)

    def update(self, batch: Batch) -> Metrics:
        """Take one gradient step on the mean loss of the executed steps."""
        batch = placed(batch, self.device)
        weight = executed(batch).float()  # [B, T]
        if self.config.intervention_weight != 1.0:
            weight = weight * torch.where(
                batch['intervention'], self.config.intervention_weight, 1.0
            )
        mean, log_std, _ = self.actor(batch['observation'], batch['is_first'])
        loss = _mean(self._losses(mean, log_std, batch['action']), weight)
        step(self._optimizer, self._trained, loss)
        return {'sequence_cloning/loss': loss.detach()}

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Metrics:
        """Return the loss, unweighted, and the error of the mean action, in contract units."""
        batch = placed(batch, self.device)
        weight = executed(batch).float()  # [B, T]
        mean, log_std, _ = self.actor(batch['observation'], batch['is_first'])
        span = torch.from_numpy(self.space.action_high - self.space.action_low)
        half = (span / 2).to(self.device)
        action = batch['action']
        error = (torch.tanh(mean) - action) * half  # [B, T, A]
        squared = torch.stack([_mean(part, weight) for part in error.square().unbind(-1)])
        middle = torch.stack([_mean(part, weight) for part in action.unbind(-1)])  # [A]
        around = ((action - middle) * half).square().sum(-1)
        unexplained = squared.sum() / _mean(around, weight).clamp_min(1e-12)
        metrics = {
            'loss': _mean(self._losses(mean, log_std, action), weight),
            'explained_variance': 1 - unexplained,
        }
        for index, value in enumerate(squared.sqrt()):
            metrics[f'action_{index}_rmse'] = value
        return metrics

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the actor and how to evaluate it."""
        return self.actor.published(self.space.action_low, self.space.action_high)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the network, with the data's statistics, and optimiser moments."""
        return collect({'actor': self.actor, 'optimizer': self._optimizer})

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`, bit by bit."""
        restore({'actor': self.actor, 'optimizer': self._optimizer}, state)

    def _losses(self, mean: Tensor, log_std: Tensor, action: Tensor) -> Tensor:
        """Return the loss of each step, [B, T]."""
        return cloning_losses(self.config.loss, mean, log_std, action, self.config.action_margin)


def executed(batch: Batch) -> Tensor:
    """Tell which actions of a window [B, T] were executed: not those at the end of a run.

    A run ends where the task does, where watching stopped, and before the start of another.
    """
    is_last = batch['terminated'] | batch['truncated']
    is_last[:, :-1] |= batch['is_first'][:, 1:]
    return ~is_last


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over [B, T]; 0 where all weigh nothing."""
    return (values * weight).sum() / weight.sum().clamp_min(1e-8)
