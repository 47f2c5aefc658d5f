"""Behavioural cloning: the policy under which recorded actions are most likely."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from robot_learning.config import STRICT
from robot_learning.models.actor_critic import GaussianTanhPolicy
from robot_learning.models.networks import Activation, initialise
from robot_learning.phases.cloning import (
    CloningLoss,
    cloning_losses,
    fix_log_std,
    take_statistics,
)
from robot_learning.phases.devices import CPU, placed
from robot_learning.phases.phase import (
    PHASES,
    Array,
    Batch,
    Metrics,
    PolicySpace,
    TrainingData,
    Transitions,
)
from robot_learning.phases.state import collect, restore, step

_BINS = 9  # Per action component, for balancing; odd, so that zero has its own.


@dataclass(frozen=True, config=STRICT)
class BehaviorCloningConfig:
    """Pomerleau 1989; the Gaussian likelihood also learns how sure the demonstrator was."""

    hidden: tuple[PositiveInt, ...] = (256, 256)
    activation: Activation = 'relu'
    layer_norm: bool = False
    batch_size: PositiveInt = 256
    learning_rate: PositiveFloat = 3e-4
    weight_decay: NonNegativeFloat = 0.0
    loss: CloningLoss = 'likelihood'
    # squared_error leaves the spread of exploring policies at this logarithm of the deviation.
    fixed_log_std: Annotated[float, Field(ge=-5, le=2)] = -1.5
    normalise: bool = True  # Features to zero mean and unit deviation over the training data.
    # 0: every step counts alike. 1: every kind of action counts alike, however rare it is.
    balance: Annotated[float, Field(ge=0, le=1)] = 0.0
    # How much a step that a person drove counts, beside 1 for others: corrections of a policy are
    # few, and worth more than what it did by itself (Mandlekar et al. 2020, arXiv 2012.06733).
    intervention_weight: NonNegativeFloat = 1.0
    # Recorded actions are pulled this far inside [-1, 1]: tanh reaches the ends nowhere.
    action_margin: Annotated[float, Field(gt=0, lt=0.5)] = 0.01


@PHASES.register('behavior_cloning')
class BehaviorCloning:
    """Learns from `observation` [B, D] and `action` [B, A] in [-1, 1]; rewards are not read.

    `intervention` [B] says where a person drove; it is read where that has a weight of its own.
    """

    Config = BehaviorCloningConfig
    selects_by_validation = True

    def __init__(
        self,
        config: BehaviorCloningConfig,
        space: PolicySpace,
        seed: int,
        *,
        device: torch.device = CPU,
    ):
        self.config = config
        self.space = space
        self.device = device
        self.actor = GaussianTanhPolicy(
            space.input_size,
            space.action_size,
            config.hidden,
            config.activation,
            config.layer_norm,
        )
        initialise(self.actor, torch.Generator().manual_seed(seed))
        if config.loss == 'squared_error':
            fix_log_std(self.actor, config.fixed_log_std)
        self.actor.to(device)
        self._trained: list[Tensor] = [p for p in self.actor.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._trained, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self._bin_weight = torch.ones(_BINS**space.action_size, device=device)

    @property
    def draws(self) -> Transitions:
        """Single steps; where they led is not read."""
        return Transitions(self.config.batch_size)

    def prepare(self, data: TrainingData) -> None:
        """Take the features' mean and deviation and the actions' frequencies from the data."""
        if self.config.normalise:
            take_statistics(self.actor, data.observation)
        self._bin_weight.copy_(torch.from_numpy(self._weights(data.action)))

    def update(self, batch: Batch) -> Metrics:
        """Take one gradient step on the weighted loss."""
        batch = placed(batch, self.device)
        weight = self._bin_weight[self._bins(batch['action'])]  # [B]
        if self.config.intervention_weight == 1.0:
            loss = (weight * self._losses(batch)).mean()
        else:
            importance = torch.where(
                batch['intervention'], self.config.intervention_weight, 1.0
            )  # [B]
            total = importance.sum().clamp_min(1e-8)  # 0: all weigh nothing.
            loss = (weight * importance * self._losses(batch)).sum() / total
        step(self._optimizer, self._trained, loss)
        return {'behavior_cloning/loss': loss.detach()}

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Metrics:
        """Return the loss, unweighted, and the error of the mean action, in contract units."""
        batch = placed(batch, self.device)
        mean, _ = self.actor(batch['observation'])
        span = torch.from_numpy(self.space.action_high - self.space.action_low)
        half = (span / 2).to(self.device)
        error = (torch.tanh(mean) - batch['action']) * half  # [B, A]
        around_mean = (batch['action'] - batch['action'].mean(0)) * half
        unexplained = error.square().sum() / around_mean.square().sum().clamp_min(1e-12)
        metrics = {'loss': self._losses(batch).mean(), 'explained_variance': 1 - unexplained}
        for index, value in enumerate(error.square().mean(0).sqrt()):
            metrics[f'action_{index}_rmse'] = value
        return metrics

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the actor and how to evaluate it."""
        return self.actor.published(self.space.action_low, self.space.action_high)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the network, optimiser moments and data statistics."""
        return collect(self._state())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`, bit by bit."""
        restore(self._state(), state)

    def _state(self) -> dict[str, Any]:
        return {
            'actor': self.actor,
            'optimizer': self._optimizer,
            'bin_weight': self._bin_weight,
        }

    def _losses(self, batch: Batch) -> Tensor:
        """Return the loss of each row, [B]."""
        mean, log_std = self.actor(batch['observation'])
        margin = self.config.action_margin
        return cloning_losses(self.config.loss, mean, log_std, batch['action'], margin)

    def _bins(self, action: Tensor) -> Tensor:
        """Return for each row [B] in which cell of a grid over [-1, 1]^A its action lies."""
        cell = ((action + 1) * (_BINS / 2)).long().clamp_(0, _BINS - 1)  # [B, A]
        powers = _BINS ** torch.arange(action.shape[1], device=action.device)
        return (cell * powers).sum(1)

    def _weights(self, action: Array) -> Array:
        """Return the weight of each cell: frequency^-balance, with mean 1 over the data."""
        cells = self._bins(torch.from_numpy(action)).numpy()
        count = np.bincount(cells, minlength=len(self._bin_weight)).astype(np.float64)
        weight = np.where(count > 0, np.maximum(count, 1) ** -self.config.balance, 0.0)
        scaled: Array = weight * count.sum() / (weight * count).sum()
        return scaled.astype(np.float32)
