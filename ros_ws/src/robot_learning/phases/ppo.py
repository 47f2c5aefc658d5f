"""Proximal policy optimisation: several careful steps on what the policy has just driven."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from robot_learning.config import STRICT
from robot_learning.errors import ConfigError, TrainingError
from robot_learning.models.actor_critic import StateValue
from robot_learning.models.networks import Activation, initialise_orthogonal
from robot_learning.phases import losses
from robot_learning.phases.devices import CPU
from robot_learning.phases.flat_parameters import FlatParameters
from robot_learning.phases.fused_adam import FusedAdam
from robot_learning.phases.phase import (
    PHASES,
    Array,
    Batch,
    Metrics,
    PolicySpace,
    Rollout,
    TrainingData,
)
from robot_learning.phases.policy_heads import CategoricalHead, head_of
from robot_learning.phases.ppo_gradient import PpoGradient
from robot_learning.phases.returns import gae
from robot_learning.phases.running_statistics import RunningStatistics, keep_answers
from robot_learning.phases.state import collect, restore

Fraction = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, config=STRICT)
class PpoConfig:
    """Schulman et al. 2017, "Proximal Policy Optimization Algorithms"."""

    hidden: tuple[PositiveInt, ...] = (64, 64)  # Of actor and critic each.
    activation: Activation = 'relu'
    num_steps: Annotated[int, Field(ge=2)] = 2048  # Transitions that make a rollout.
    max_lag: NonNegativeInt = 1  # Versions a step may be behind the newest.
    num_epochs: PositiveInt = 10
    batch_size: Annotated[int, Field(ge=2)] = 64  # About; a rollout is cut into equal parts.
    learning_rate: PositiveFloat = 3e-4
    decay_updates: PositiveInt | None = None  # The rate falls linearly to 0 over so many rollouts.
    discount: Fraction = 0.99
    gae_lambda: Annotated[float, Field(ge=0, le=1)] = 0.95
    clip_ratio: PositiveFloat = 0.2
    value_clip: PositiveFloat | None = None  # How far a value may move in one update.
    value_weight: NonNegativeFloat = 0.5
    entropy_weight: NonNegativeFloat = 0.0
    max_grad_norm: PositiveFloat = 0.5
    target_kl: PositiveFloat | None = None  # Steps end where the policy has moved 1.5 times this.
    normalise_advantage: bool = True  # Within each minibatch.
    normalise_observation: bool = True  # By mean and deviation of all rollouts so far.
    # How what a Gaussian draws comes within [-1, 1].
    squash: Literal['tanh', 'clip'] = 'tanh'
    initial_log_std: Annotated[float, Field(ge=-5, le=2)] = 0.0  # Before squashing or clipping.
    state_dependent_std: bool = False  # Else one deviation per action component, learned.


class _Minibatch(NamedTuple):
    features: Tensor  # [B, D] normalised.
    drawn: Tensor  # [B, A] as the head prepares it.
    old_log_prob: Tensor  # [B]
    advantage: Tensor  # [B]
    target_value: Tensor  # [B]
    old_value: Tensor  # [B]


@PHASES.register('ppo')
class ProximalPolicyOptimization:
    """Actor and critic with memory of their own, both on normalised features.

    A batch is a rollout: `observation` and `next_observation` [B, T, D], `action` [B, T, A] as
    the policy drew it, in [-1, 1] or one-hot, and its `log_prob` [B, T] then; `reward` and
    `terminated` [B, T] as received on arriving at `next_observation`; `is_last` [B, T]: the
    next step does not continue this one.
    """

    Config = PpoConfig
    selects_by_validation = False

    def __init__(
        self,
        config: PpoConfig,
        space: PolicySpace,
        seed: int,
        *,
        device: torch.device = CPU,
    ):
        if device != CPU:
            raise ConfigError(
                f'ppo: device is {device}, expected cpu: its gradients are written out for the '
                f'processor, where its small networks are fastest. Leave --device out.'
            )
        self.device = device
        self.config = config
        self.space = space
        self._generator = torch.Generator().manual_seed(seed)
        self._head = head_of(config, space)
        self.actor: nn.Module = self._head.network
        self.critic = StateValue(space.input_size, config.hidden, config.activation)
        initialise_orthogonal(self.actor, self._generator, output_gain=0.01)
        initialise_orthogonal(self.critic, self._generator, output_gain=1.0)
        self._head.initialise()
        trained = [*self.actor.parameters(), *self.critic.parameters()]
        self._flat = FlatParameters([tensor for tensor in trained if tensor.requires_grad])
        self._gradient = self._written_out()
        self._optimizer = FusedAdam(
            [{'params': [self._flat.vector], 'lr': config.learning_rate}], eps=1e-5
        )
        self._statistics = RunningStatistics(space.input_size)
        self._num_updates = torch.zeros((), dtype=torch.int64)

    @property
    def draws(self) -> Rollout:
        """All that the newest versions drove."""
        return Rollout(self.config.num_steps, self.config.max_lag)

    def prepare(self, data: TrainingData) -> None:
        """Take first statistics of the features from what others drove, if there is any.

        Raises:
            TrainingError: there is none of the rewards to learn from.
        """
        if len(data.reward) and not np.isfinite(data.reward).any():
            raise TrainingError(
                'ppo: the data holds no rewards, expected one per step. Record with a task that '
                'gives rewards, or train behavior_cloning.'
            )
        if len(data.observation):
            self._normalise_by(torch.from_numpy(data.observation))

    def update(self, batch: Batch) -> Metrics:
        """Learn from a rollout for `num_epochs`, or until `target_kl` says that it is enough."""
        config = self.config
        if config.decay_updates is not None:
            left = 1 - int(self._num_updates) / config.decay_updates
            self._optimizer.param_groups[0]['lr'] = config.learning_rate * max(left, 0.0)
        rows, metrics = self._prepared(batch)
        num_parts = max(round(len(rows.advantage) / config.batch_size), 1)
        table = torch.cat([part.reshape(len(rows.advantage), -1) for part in rows], dim=1)
        sums: Metrics = {}
        num_taken = 0
        epoch, has_moved_enough = 0, False
        while epoch < config.num_epochs and not has_moved_enough:
            epoch += 1
            order = torch.randperm(len(table), generator=self._generator)
            is_measured = config.target_kl is not None or epoch == config.num_epochs
            for part in table[order].tensor_split(num_parts):
                if not is_measured and self._gradient is not None:
                    self._fill(self._gradient, part.numpy())
                    self._flat.step(self._optimizer, config.max_grad_norm)
                    continue
                loss, measured = self._loss(self._minibatch(part), is_measured)
                if config.target_kl is not None and measured['ppo/kl'] > 1.5 * config.target_kl:
                    has_moved_enough = True
                    break
                self._flat.differentiate(loss)
                measured['ppo/grad_norm'] = self._flat.step(self._optimizer, config.max_grad_norm)
                if is_measured:
                    for name, value in measured.items():
                        sums[name] = sums[name] + value if name in sums else value
                    num_taken += 1
        metrics |= {name: total / num_taken for name, total in sums.items()}
        metrics['ppo/epochs'] = torch.tensor(float(epoch))
        if config.normalise_observation:  # Behind the steps: their log_prob was of the old ones.
            self._normalise_by(batch['observation'].flatten(0, 1))
        self._num_updates += 1
        return metrics

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Metrics:
        """Measure on a rollout that no step has seen."""
        rows, metrics = self._prepared(batch)
        loss, measured = self._loss(rows, is_measured=True)
        return {'loss': loss, **metrics, **measured}

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the actor and how to evaluate it."""
        return self._head.published(self.space)

    def state_dict(self) -> dict[str, Tensor]:
        """Return networks, optimiser moments, statistics, generator and the update count."""
        return collect(self._state())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`, bit by bit."""
        restore(self._state(), state)

    def _state(self) -> dict[str, Any]:
        return {
            'actor': self.actor,
            'critic': self.critic,
            'optimizer': self._optimizer,
            'statistics': self._statistics.moments,
            'generator': self._generator,
            'num_updates': self._num_updates,
        }

    @torch.no_grad()
    def _prepared(self, batch: Batch) -> tuple[_Minibatch, Metrics]:
        """Return all rows of a rollout with advantages and target values."""
        config = self.config
        value, next_value = self._values(batch)  # [B, T] each
        discount = config.discount * (1 - batch['terminated'].float())
        advantage = gae(
            batch['reward'], discount, value, next_value, batch['is_last'], config.gae_lambda
        )
        features = self._normalised(batch['observation']).flatten(0, 1)
        drawn, old_log_prob, num_recomputed = self._head.prepared(
            features, batch['action'].flatten(0, 1), batch['log_prob'].flatten()
        )
        target = (advantage + value).flatten()
        variance = target.var().clamp(min=1e-8)
        metrics: Metrics = {
            'ppo/value': value.mean(),
            'ppo/explained_variance': 1 - advantage.var() / variance,
            'ppo/saturated': num_recomputed / len(target),
        }
        rows = _Minibatch(
            features, drawn, old_log_prob, advantage.flatten(), target, value.flatten()
        )
        return rows, metrics

    def _minibatch(self, part: Tensor) -> _Minibatch:
        """Split columns as `update` joined them."""
        widths = [self.space.input_size, self.space.action_size, 1, 1, 1, 1]
        features, drawn, *others = torch.split_with_sizes(part, widths, dim=1)
        return _Minibatch(features, drawn, *(column.squeeze(1) for column in others))

    def _written_out(self) -> PpoGradient | None:
        """Return the gradient without autograd, where there is one; see `PpoGradient`."""
        config = self.config
        is_simple = isinstance(self._head, CategoricalHead) or not (
            config.state_dependent_std or config.entropy_weight
        )
        if not is_simple or config.activation != 'relu' or config.value_clip is not None:
            return None
        weights = config.clip_ratio, config.value_weight, config.entropy_weight
        return PpoGradient(self._head, self.critic, self._flat, *weights)

    def _fill(self, gradient: PpoGradient, part: Array) -> None:
        """Do what `_loss` and autograd do, of columns as `update` joined them."""
        inputs, start = self.space.input_size, self.space.input_size + self.space.action_size
        advantage = part[:, start + 1]
        if self.config.normalise_advantage:
            mean = advantage.mean()
            advantage = (advantage - mean) / (advantage.std(ddof=1) + 1e-8)
        gradient.fill(
            part[:, :inputs], part[:, inputs:start], part[:, start], advantage, part[:, start + 2]
        )

    def _values(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the values where actions were chosen and where they led; [B, T] each.

        Only where a run is cut is the next observation another one than the next row's.
        """
        value = self.critic(self._normalised(batch['observation']))  # [B, T]
        is_cut = batch['is_last'].clone()
        is_cut[:, -1] = True
        next_value = value.roll(-1, dims=1)
        next_value[is_cut] = self.critic(self._normalised(batch['next_observation'][is_cut]))
        return value, next_value

    def _loss(self, rows: _Minibatch, is_measured: bool) -> tuple[Tensor, Metrics]:
        config = self.config
        log_prob, parameters = self._head.log_prob(rows.features, rows.drawn)
        log_ratio = log_prob - rows.old_log_prob
        advantage = rows.advantage
        if config.normalise_advantage:
            deviation, mean = torch.std_mean(advantage)
            advantage = (advantage - mean) / (deviation + 1e-8)
        ratio = log_ratio.exp()
        policy_loss = losses.clipped_policy_loss(ratio, advantage, config.clip_ratio)
        value = self.critic(rows.features)
        if config.value_clip is not None:
            moved = (value - rows.old_value).clamp(-config.value_clip, config.value_clip)
            value = rows.old_value + moved
        value_error = (value - rows.target_value).square().mean()
        loss = torch.add(policy_loss, value_error, alpha=config.value_weight)
        if config.entropy_weight:
            entropy = self._head.entropy(parameters, self._generator).mean()
            loss = loss - config.entropy_weight * entropy
        if not is_measured:
            return loss, {}
        with torch.no_grad():
            return loss, {
                'ppo/policy_loss': policy_loss.detach(),
                'ppo/value_loss': value_error.detach(),
                'ppo/entropy': self._head.entropy(parameters, self._generator).mean(),
                # Schulman 2020, "Approximating KL divergence": unbiased and never negative.
                'ppo/kl': (ratio - 1 - log_ratio).mean(),
                'ppo/clip_fraction': ((ratio - 1).abs() > config.clip_ratio).float().mean(),
            }

    def _normalised(self, observation: Tensor) -> Tensor:
        return (observation - self._head.network.input_mean) / self._head.network.input_std

    def _normalise_by(self, observation: Tensor) -> None:
        """Count observations [N, D] in, and normalise by all there were from now on.

        But for the first ones, no answer changes by that. Where it did, policy and values moved
        after every rollout in a way that no clipping limits: of seven runs on Pendulum five
        got stuck half-way, and none of twelve now.
        """
        if not self.config.normalise_observation:
            return
        network = self._head.network
        old = network.input_mean.clone(), network.input_std.clone()
        is_first = self._statistics.is_empty
        self._statistics.add(observation)
        network.input_mean.copy_(self._statistics.mean)
        network.input_std.copy_(self._statistics.std)
        if not is_first:
            for first in (network.trunk[0], self.critic.trunk[0]):
                assert isinstance(first, nn.Linear)
                keep_answers(first, old, (network.input_mean, network.input_std))
