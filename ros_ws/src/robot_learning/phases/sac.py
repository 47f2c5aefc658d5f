"""Soft actor-critic: off-policy learning of a stochastic policy with a set entropy."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from robot_learning.config import STRICT
from robot_learning.models.actor_critic import Critics, GaussianTanhPolicy
from robot_learning.models.distributions import (
    Squashed,
    squash,
    squash_gradient,
    squashed_log_prob,
)
from robot_learning.models.explicit_passes import ActorPasses, CriticPasses
from robot_learning.models.networks import Activation, initialise, set_product_dtype
from robot_learning.phases import losses
from robot_learning.phases.devices import CPU, noise_source, placed
from robot_learning.phases.flat_parameters import FlatParameters
from robot_learning.phases.fused_adam import FusedAdam
from robot_learning.phases.phase import (
    PHASES,
    Batch,
    Metrics,
    PolicySpace,
    TrainingData,
    Transitions,
)
from robot_learning.phases.process_group import averaged
from robot_learning.phases.state import collect, restore

Fraction = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, config=STRICT)
class SacConfig:
    """Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications", table 1."""

    hidden: tuple[PositiveInt, ...] = (256, 256)
    activation: Activation = 'relu'
    num_critics: PositiveInt = 2
    layer_norm: bool = False  # In the critics; steadies many updates per environment step.
    batch_size: PositiveInt = 256
    discount: Fraction = 0.99
    n_step: PositiveInt = 1
    # Above 0, steps are drawn the more often the larger their value's error was (Schaul et al.
    # 2016, who take 0.6), and count less to make up for it: in full after so many updates.
    priority_exponent: Annotated[float, Field(ge=0, le=1)] = 0.0
    importance_exponent: Annotated[float, Field(ge=0, le=1)] = 0.4  # At the first update.
    importance_updates: PositiveInt = 100_000
    target_rate: Fraction = 0.005  # Share of the critics that enters their targets per update.
    actor_learning_rate: PositiveFloat = 3e-4
    critic_learning_rate: PositiveFloat = 3e-4
    temperature_learning_rate: PositiveFloat = 3e-4
    initial_temperature: PositiveFloat = 1.0
    target_entropy: float | None = None  # Nats of the action in [-1, 1]^A; None: -A.
    actor_update_period: PositiveInt = 1  # Critic updates per actor update.
    publish_rate: Fraction = (
        1.0  # Share of the actor that enters the published average per update.
    )
    imitation_weight: NonNegativeFloat = 0.0  # Of the distance to demonstrated actions.
    # How much a step that a person drove counts in that, beside a demonstration's 1.
    intervention_weight: NonNegativeFloat = 1.0
    # Of the factors between hidden layers; on a CPU that multiplies no bfloat16 both are alike.
    numeric: Literal['float32', 'bfloat16'] = 'float32'


@PHASES.register('sac')
class SoftActorCritic:
    """Twin critics as one batched network, automatic temperature.

    A batch holds `observation` and `next_observation` [B, D], `action` [B, A] in [-1, 1],
    `reward` [B] and `discount` [B] (see `losses.soft_target`), `is_offline` [B]: the row is a
    demonstration, and `intervention` [B]: a person drove. With an `imitation_weight` the actor
    also stays close to those (Nair et al. 2018, "Overcoming Exploration with Demonstrations",
    section IV-B). The critics learn from all rows alike, whoever acted.
    """

    Config = SacConfig
    needs_reward = True
    selects_by_validation = False  # A small value error says nothing about the policy.

    def __init__(
        self,
        config: SacConfig,
        space: PolicySpace,
        seed: int,
        *,
        device: torch.device = CPU,
    ):
        self.config = config
        self.space = space
        self.device = device
        initial = torch.Generator().manual_seed(seed)
        sizes = (space.input_size, space.action_size, config.hidden, config.activation)
        self.actor = GaussianTanhPolicy(*sizes)
        critics = (*sizes, config.layer_norm, config.num_critics)
        self.critics, self.target_critics = Critics(*critics), Critics(*critics)
        initialise(self.actor, initial)
        initialise(self.critics, initial)
        self._generator = noise_source(device, seed, initial)
        for network in (self.actor, self.critics, self.target_critics):
            network.to(device)
        self.target_critics.load_state_dict(self.critics.state_dict())
        self.target_critics.requires_grad_(False)
        self.average_actor = copy.deepcopy(self.actor).requires_grad_(False)
        temperature = torch.tensor(config.initial_temperature, device=device)
        self.log_temperature = nn.Parameter(temperature.log())
        if config.numeric == 'bfloat16':
            for network in (self.actor, self.critics, self.target_critics):
                set_product_dtype(network, torch.bfloat16)
        self._target_entropy = (
            -float(space.action_size) if config.target_entropy is None else config.target_entropy
        )
        # Their parameters side by side: optimisers and averages take each as one.
        self._flat_actor = FlatParameters([*self.actor.parameters()])
        self._flat_average = FlatParameters([*self.average_actor.parameters()])
        self._flat_critics = FlatParameters([*self.critics.parameters()])
        self._flat_targets = FlatParameters([*self.target_critics.parameters()])
        for flat in (self._flat_actor, self._flat_critics):
            flat.share_gradient()
        self._actor_passes = ActorPasses(self.actor, config.activation)
        self._critic_passes = CriticPasses(self.critics, config.activation)
        self._target_passes = CriticPasses(self.target_critics, config.activation)
        self._actor_optimizer = FusedAdam(
            [
                {'params': [self._flat_actor.vector], 'lr': config.actor_learning_rate},
                {'params': [self.log_temperature], 'lr': config.temperature_learning_rate},
            ]
        )
        self._critic_optimizer = FusedAdam(
            [{'params': [self._flat_critics.vector], 'lr': config.critic_learning_rate}]
        )
        self._num_updates = torch.zeros((), dtype=torch.int64)
        self.error: Tensor = torch.zeros(0)  # [B], of the values in the last update.

    @property
    def draws(self) -> Transitions:
        """Transitions of `n_step` steps."""
        config = self.config
        return Transitions(
            config.batch_size, config.n_step, config.discount, config.priority_exponent
        )

    def update(self, batch: Batch) -> Metrics:
        """Step the critics, every `actor_update_period` times the actor, then the targets."""
        batch = placed(batch, self.device)
        temperature = self.log_temperature.detach().exp()
        steps_actor = int(self._num_updates) % self.config.actor_update_period == 0
        mean, drawn, next_drawn = self._draw(batch, self._generator, steps_actor)
        metrics = self._update_critics(batch, self._target(batch, next_drawn, temperature))
        if steps_actor:
            metrics |= self._update_actor(batch, mean, drawn, temperature)
        self._follow_slowly()
        self._num_updates += 1
        return metrics

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Metrics:
        """Measure the one-step error of the values and the likelihood of recorded actions."""
        batch = placed(batch, self.device)
        temperature = self.log_temperature.exp()
        # A generator of its own: measuring must not change what is drawn while learning.
        noise = torch.Generator(self.device).manual_seed(0)
        _, _, next_drawn = self._draw(batch, noise, for_actor=False)
        target = self._target(batch, next_drawn, temperature)
        values = self.critics(batch['observation'], batch['action'])
        mean, log_std = self.actor(batch['observation'])
        log_prob = squashed_log_prob(mean, log_std, batch['action'])
        return {
            'loss': losses.value_loss(values, target),
            'log_likelihood': log_prob.mean(),
            'action_error': (torch.tanh(mean) - batch['action']).abs().mean(),
        }

    def prepare(self, data: TrainingData) -> None:
        """Nothing needs to be known beforehand."""

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the averaged actor and how to evaluate it."""
        return self.average_actor.published(self.space.action_low, self.space.action_high)

    def state_dict(self) -> dict[str, Tensor]:
        """Return networks, optimiser moments, the noise generator and the update count."""
        return collect(self._state())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`, bit by bit."""
        restore(self._state(), state)

    def _state(self) -> dict[str, Any]:
        return {
            'actor': self.actor,
            'average_actor': self.average_actor,
            'critics': self.critics,
            'target_critics': self.target_critics,
            'log_temperature': self.log_temperature,
            'actor_optimizer': self._actor_optimizer,
            'critic_optimizer': self._critic_optimizer,
            'generator': self._generator,
            'num_updates': self._num_updates,
        }

    @torch.no_grad()
    def _follow_slowly(self) -> None:
        config = self.config
        self._flat_targets.vector.lerp_(self._flat_critics.vector, config.target_rate)
        self._flat_average.vector.lerp_(self._flat_actor.vector, config.publish_rate)

    @torch.no_grad()
    def _update_critics(self, batch: Batch, target: Tensor) -> Metrics:
        """Step by the gradient of `losses.value_loss`."""
        values = self._critic_passes.forward(batch['observation'], batch['action'])  # [N, B]
        error = values - target
        squared = error.square().sum(0)  # [B]
        gradient = error / len(target)
        if self.config.priority_exponent:
            weight = losses.importance_weight(batch['selection_ratio'], self._importance())
            self.error = error.abs().mean(0)
            squared, gradient = weight * squared, weight * gradient
        self._critic_passes.backward(gradient)
        self._flat_critics.use_gradient()
        self._critic_optimizer.advance()
        return {'sac/critic_loss': 0.5 * squared.mean(), 'sac/value': values.mean()}

    def _importance(self) -> float:
        """Return the exponent of the weights now: linearly up to 1 (section 3.4)."""
        config = self.config
        share = min(float(self._num_updates) / config.importance_updates, 1.0)
        return config.importance_exponent + share * (1 - config.importance_exponent)

    @torch.no_grad()
    def _target(self, batch: Batch, next_drawn: Squashed, temperature: Tensor) -> Tensor:
        action, log_prob, _ = next_drawn
        next_values = self._target_passes.forward(batch['next_observation'], action, learns=False)
        return losses.soft_target(
            batch['reward'], batch['discount'], next_values, -temperature * log_prob
        )

    @torch.no_grad()
    def _draw(
        self, batch: Batch, noise: torch.Generator, for_actor: bool
    ) -> tuple[Tensor, Squashed, Squashed]:
        """Return means before squashing [B, A], actions there, and actions one step later.

        The policy does not change before its own step, so one pass serves both. Unless it is
        `for_actor` too, only the last is drawn and the others are empty.
        """
        features = batch['next_observation']
        num_rows = len(features)
        if for_actor:
            features = torch.cat([features, batch['observation']])
        mean, log_std = self._actor_passes.forward(features, for_actor)
        drawn = torch.randn(mean.shape, generator=noise, device=self.device)
        squashed = squash(mean, log_std, drawn)
        return mean[num_rows:], squashed.rows(num_rows, None), squashed.rows(0, num_rows)

    @torch.no_grad()
    def _update_actor(
        self, batch: Batch, mean: Tensor, drawn: Squashed, temperature: Tensor
    ) -> Metrics:
        """Step by the gradients of `losses.soft_policy_loss` and its companions."""
        action, log_prob, spread = drawn
        values = self._critic_passes.forward(batch['observation'], action)  # [N, B]
        lowest = values.min(0)
        loss = losses.soft_policy_loss(values, log_prob, temperature)
        share = 1 / len(log_prob)
        of_values = torch.zeros_like(values).scatter_(0, lowest.indices[None], -share)
        of_action = self._critic_passes.action_gradient(of_values, action.shape[1])
        of_log_prob = (share * temperature).expand_as(log_prob)
        of_mean, of_log_std = squash_gradient(action, spread, of_action, of_log_prob)
        if self.config.imitation_weight:
            distance, of_mode = self._imitation(torch.tanh(mean), batch)
            loss = loss + self.config.imitation_weight * distance
            of_mean.add_(of_mode, alpha=self.config.imitation_weight)
        self._actor_passes.backward(of_mean, of_log_std)
        entropy = -log_prob.mean()
        of_temperature = entropy - self._target_entropy  # Of `losses.temperature_loss`.
        (self.log_temperature.grad,) = averaged([of_temperature])
        self._flat_actor.use_gradient()
        self._actor_optimizer.advance()
        return {
            'sac/actor_loss': loss,
            'sac/entropy': entropy,
            'sac/temperature': temperature,
        }

    def _imitation(self, mode: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return `losses.imitation_loss` and its gradient to the mean before squashing [B, A]."""
        weight = torch.where(
            batch['intervention'], self.config.intervention_weight, batch['is_offline'].float()
        )  # [B]
        difference = mode - batch['action']
        pull = 2 * weight / weight.sum().clamp(min=1)
        gradient = pull[:, None] * difference * (1 - mode.square())
        return losses.imitation_loss(mode, batch['action'], weight), gradient
