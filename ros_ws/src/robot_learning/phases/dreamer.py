"""Dreamer: a policy learned from what a world model imagines."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from robot_learning.config import STRICT
from robot_learning.errors import TrainingError
from robot_learning.models.dreamer_policy import published_policy
from robot_learning.models.imagination_heads import Actor, Critic
from robot_learning.models.rssm import Carry, State
from robot_learning.models.world_model import WorldModel, WorldModelConfig
from robot_learning.phases.gradient_clipping import GradientClipping
from robot_learning.phases.imagination import (
    Imagined,
    discount_weight,
    frozen,
    imagine,
    imagine_with_gradient,
    is_last_of_run,
    replay_return,
)
from robot_learning.phases.imagination_losses import pathwise_loss, reinforce_loss, value_loss
from robot_learning.phases.laprop import LaProp
from robot_learning.phases.phase import (
    PHASES,
    Batch,
    Metrics,
    PolicySpace,
    TrainingData,
    Windows,
)
from robot_learning.phases.return_normalisation import ReturnNormaliser
from robot_learning.phases.returns import lambda_return
from robot_learning.phases.state import collect, restore, step
from robot_learning.phases.world_model_losses import WorldModelLossConfig, world_model_loss

Fraction = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, config=STRICT)
class DreamerConfig:
    """Hafner et al. 2023 (arXiv 2301.04104), tables of hyperparameters; sizes from `model`."""

    model: WorldModelConfig = WorldModelConfig(size='size1m')
    model_loss: WorldModelLossConfig = WorldModelLossConfig()
    units: PositiveInt | None = None  # Of actor and critic; None: the model's hidden width.
    actor_layers: PositiveInt = 3
    critic_layers: PositiveInt = 3
    # Of continuous actions; where the robot chooses one of several it is always categorical.
    action_distribution: Literal['bounded_normal', 'tanh_normal'] = 'bounded_normal'
    unimix: Annotated[float, Field(ge=0, lt=1)] = 0.01
    batch_size: PositiveInt = 16
    length: Annotated[int, Field(ge=2)] = 64
    horizon: PositiveInt = 15  # Imagined actions from every real step.
    discount: Fraction = 0.997
    lambda_: Annotated[float, Field(ge=0, le=1)] = 0.95
    # How the actor learns: from the likelihood of what did well, or through the model.
    actor_gradient: Literal['reinforce', 'pathwise'] = 'reinforce'
    entropy_scale: NonNegativeFloat = 3e-4  # Returns are normalised, so one value fits tasks.
    return_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99  # Of the returns' range.
    return_limit: PositiveFloat = 1.0  # Returns are not blown up beyond this range.
    slow_rate: Fraction = 0.02  # Share of the critic that enters its slow copy per update.
    slow_scale: NonNegativeFloat = 1.0  # Of the critic's pull towards its slow copy.
    replay_value_scale: NonNegativeFloat = 0.3  # Of the critic's loss on recorded steps.
    # Let that loss shape the model's state too, as the paper's code does.
    replay_value_gradient: bool = True
    optimizer: Literal['laprop', 'adam'] = 'laprop'
    learning_rate: PositiveFloat = 4e-5
    actor_learning_rate: PositiveFloat | None = None  # None: as the model's.
    critic_learning_rate: PositiveFloat | None = None
    warmup_updates: NonNegativeInt = 1000  # Over which the rates rise from 0.
    gradient_ratio: PositiveFloat | None = 0.3  # Largest, to each tensor's norm; None: any.
    gradient_norm: PositiveFloat | None = None  # Largest, of each network together.


class _Outlook(NamedTuple):
    """What model and critics say about imagined states, [H+1, N], without gradient."""

    reward: Tensor
    discount: Tensor  # gamma times the probability to go on.
    weight: Tensor
    slow_value: Tensor


@PHASES.register('dreamer')
class Dreamer:
    """One world-model step and one of actor and critic in its imagination, per batch of windows.

    All states of the windows are starts of imagination. The model learns from what was recorded
    only, unless `replay_value_gradient`; actor and critic see its features as constants.
    See `models/dreamer_policy.py` for what is published and how it is evaluated.
    """

    Config = DreamerConfig
    selects_by_validation = False  # A good model is not yet a good policy.

    def __init__(self, config: DreamerConfig, space: PolicySpace, seed: int):
        self.config = config
        self.space = space
        self._generator = torch.Generator().manual_seed(seed)
        self.model = WorldModel(
            space.input_size,
            space.action_size,
            config.model,
            space.blocks,
            space.images,
            self._generator,
        )
        features, units = self.model.feature_size, config.units or config.model.widths().hidden
        kind = 'categorical' if space.is_discrete else config.action_distribution
        layers, unimix = config.actor_layers, config.unimix
        self.actor = Actor(features, space.action_size, units, layers, kind, unimix)
        self.critic = Critic(features, units, config.critic_layers)
        self.actor.initialise(self._generator)
        self.critic.initialise(self._generator)
        self.slow_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.normaliser = ReturnNormaliser(config.return_decay, config.return_limit)
        self._acting = torch.Generator().manual_seed(seed + 1)  # Learning draws as if alone.
        self._optimizer = self._make_optimizer()
        self._clipping = GradientClipping(
            self._optimizer, config.gradient_ratio, config.gradient_norm
        )
        self._parameters = [p for g in self._optimizer.param_groups for p in g['params']]
        self._rates = [float(group['lr']) for group in self._optimizer.param_groups]
        self._num_updates = torch.zeros((), dtype=torch.int64)

    @property
    def draws(self) -> Windows:
        """Windows of `length` steps."""
        return Windows(self.config.batch_size, self.config.length)

    def prepare(self, data: TrainingData) -> None:
        """Refuse data without rewards.

        Raises:
            TrainingError: the rewards are not finite.
        """
        if not np.isfinite(data.reward).all():
            raise TrainingError(
                'dreamer: the data holds steps without a reward, expected one per step. Record '
                'with a task that gives rewards, or train world_model or behavior_cloning.'
            )

    def update(self, batch: Batch) -> Metrics:
        """Step model, actor and critic together, then the slow critic."""
        config = self.config
        learned = world_model_loss(self.model, batch, config.model_loss, self._generator)
        start = State(*(tensor.detach().flatten(0, 1) for tensor in learned.posterior))
        is_terminated = batch['terminated'].flatten()
        if config.actor_gradient == 'reinforce':
            loss, returns, metrics = self._dream(start, is_terminated)
        else:
            loss, returns, metrics = self._dream_with_gradient(start, is_terminated)
        if config.replay_value_scale:
            replayed = self._replay_value_loss(batch, learned.posterior, returns)
            loss = loss + config.replay_value_scale * replayed
            metrics['dreamer/replay_critic_loss'] = replayed.detach()
        self._warm_up()
        step(self._optimizer, self._parameters, learned.total + loss)
        self._follow_slowly()
        self._num_updates += 1
        for name, norm in zip(('model', 'actor', 'critic'), self._clipping.norms, strict=True):
            metrics[f'dreamer/{name}_gradient_norm'] = norm
        return metrics | {f'world_model/{k}': value for k, value in learned.metrics.items()}

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Metrics:
        """Measure the world model, and how likely the actor finds what was done."""
        # A generator of its own: measuring must not change what is drawn while learning.
        noise = torch.Generator().manual_seed(0)
        learned = world_model_loss(self.model, batch, self.config.model_loss, noise)
        distribution = self.actor(self.model.features(learned.posterior))
        error = (distribution.mode() - batch['action']).abs().mean()
        return {'loss': learned.total, **learned.metrics, 'action_error': error}

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return encoder, posterior and actor, and how to evaluate them."""
        return published_policy(
            self.model, self.actor, self.space.action_low, self.space.action_high
        )

    @torch.no_grad()
    def act(
        self,
        observation: Tensor,
        images: Mapping[str, Tensor],
        carry: Carry | None,
        is_first: Tensor,
        explore: bool,
    ) -> tuple[Tensor, Carry]:
        """Choose the actions of N robots.

        Args:
            observation: [N, D] features.
            images: field -> [N, H, W, C] uint8.
            carry: what the last call returned; None before the first.
            is_first: [N] bool, an episode begins: the carry of these is not read.
            explore: draw from the actor; else its mode in the posterior's mode.

        Returns:
            actions [N, A] in [-1, 1], or one-hot, and the carry for the next call.
        """
        batch = {f'image/{name}': image[:, None] for name, image in images.items()}
        batch['observation'] = observation[:, None]
        batch['is_first'] = is_first[:, None]
        batch['action'] = observation.new_zeros(len(observation), 1, self.space.action_size)
        state = self.model.observe(batch, carry, self._acting).carry.state
        if explore:
            distribution = self.actor(self.model.features(state))
            action = distribution.executed(distribution.draw(self._acting))
        else:
            state = self._likeliest(state)
            action = self.actor(self.model.features(state)).mode()
        return action, Carry(state, action)

    def state_dict(self) -> dict[str, Tensor]:
        """Return networks, optimiser moments, averages, generators and the update count."""
        return collect(self._state())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`, bit by bit."""
        restore(self._state(), state)

    def _state(self) -> dict[str, Any]:
        return {
            'model': self.model,
            'actor': self.actor,
            'critic': self.critic,
            'slow_critic': self.slow_critic,
            'normaliser': self.normaliser,
            'optimizer': self._optimizer,
            'generator': self._generator,
            'acting': self._acting,
            'num_updates': self._num_updates,
        }

    def _make_optimizer(self) -> torch.optim.Optimizer:
        config = self.config
        rates = (config.learning_rate, config.actor_learning_rate, config.critic_learning_rate)
        groups = [
            {'params': list(network.parameters()), 'lr': rate or config.learning_rate}
            for network, rate in zip((self.model, self.actor, self.critic), rates, strict=True)
        ]
        if config.optimizer == 'laprop':
            return LaProp(groups)
        return torch.optim.Adam(groups, eps=1e-8, fused=True)

    def _warm_up(self) -> None:
        done = int(self._num_updates) + 1
        share = min(1.0, done / self.config.warmup_updates) if self.config.warmup_updates else 1.0
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group['lr'] = share * rate

    @torch.no_grad()  # Else each update hangs on the graph of the one before, and all stay.
    def _follow_slowly(self) -> None:
        slow, fast = list(self.slow_critic.parameters()), list(self.critic.parameters())
        torch._foreach_lerp_(slow, fast, self.config.slow_rate)

    def _dream(self, start: State, is_terminated: Tensor) -> tuple[Tensor, Tensor, Metrics]:
        """Return the loss of actor and critic, the returns of the starts [N], and metrics."""
        config = self.config
        imagined = imagine(self.model, self.actor, start, config.horizon, self._generator)
        outlook = self._outlook(imagined.features, is_terminated)
        value = self.critic(imagined.features)
        mean = value.mean().detach()  # [H+1, N]
        returns = self._returns(outlook.reward, outlook.discount, mean)  # [H, N]
        scale = self.normaliser.update(returns)
        distribution = self.actor(imagined.features[:-1])
        entropy = distribution.entropy(imagined.drawn)
        advantage = (returns - mean[:-1]) / scale
        actor_loss = reinforce_loss(
            distribution.log_prob(imagined.drawn),
            advantage,
            entropy,
            outlook.weight[:-1],
            config.entropy_scale,
        )
        critic_loss = self._critic_loss(value, returns, outlook)
        metrics = self._metrics(actor_loss, critic_loss, entropy, returns, mean, outlook)
        metrics['dreamer/advantage_size'] = advantage.abs().mean()
        return actor_loss + critic_loss, returns[0], metrics

    def _dream_with_gradient(
        self, start: State, is_terminated: Tensor
    ) -> tuple[Tensor, Tensor, Metrics]:
        """As `_dream`, the actor learning through model and critic."""
        config = self.config
        imagined = imagine_with_gradient(
            self.model, self.actor, start, config.horizon, self._generator
        )
        constant = Imagined(imagined.features.detach(), imagined.drawn.detach())
        outlook = self._outlook(constant.features, is_terminated)
        with frozen(self.model, self.critic):
            mean = self.critic(imagined.features).mean()
            reward = self.model.reward(imagined.features).mean()
            going_on = torch.sigmoid(self.model.continuation(imagined.features))
            returns = self._returns(reward, config.discount * going_on, mean)
        scale = self.normaliser.update(returns.detach())
        entropy = self.actor(constant.features[:-1]).entropy(constant.drawn)
        weight = outlook.weight[:-1]
        actor_loss = pathwise_loss(returns / scale, entropy, weight, config.entropy_scale)
        returns, mean = returns.detach(), mean.detach()
        critic_loss = self._critic_loss(self.critic(constant.features), returns, outlook)
        metrics = self._metrics(actor_loss, critic_loss, entropy, returns, mean, outlook)
        return actor_loss + critic_loss, returns[0], metrics

    @torch.no_grad()
    def _outlook(self, features: Tensor, is_terminated: Tensor) -> _Outlook:
        discount = self.config.discount * torch.sigmoid(self.model.continuation(features))
        return _Outlook(
            self.model.reward(features).mean(),
            discount,
            discount_weight(is_terminated, discount),
            self.slow_critic(features).mean(),
        )

    def _returns(self, reward: Tensor, discount: Tensor, value: Tensor) -> Tensor:
        rows = (tensor.transpose(0, 1) for tensor in (reward, discount, value))
        return lambda_return(*rows, self.config.lambda_).transpose(0, 1)

    def _critic_loss(self, value: Any, returns: Tensor, outlook: _Outlook) -> Tensor:
        here = value._replace(logits=value.logits[:-1])
        slow, weight = outlook.slow_value[:-1], outlook.weight[:-1]
        return value_loss(here, returns, slow, weight, self.config.slow_scale)

    def _replay_value_loss(self, batch: Batch, posterior: State, returns: Tensor) -> Tensor:
        """Train the critic on recorded rewards; imagined returns of each step bootstrap."""
        config = self.config
        features = self.model.features(posterior)
        if not config.replay_value_gradient:
            features = features.detach()
        is_last = is_last_of_run(batch)  # [B, T]
        starts = batch['is_first']
        reward = torch.where(starts, 0.0, batch['reward'])
        discount = config.discount * (1 - batch['terminated'].to(reward.dtype))
        bootstrap = returns.view_as(reward)
        target = replay_return(reward, discount, bootstrap, is_last, config.lambda_)
        here = features[:, :-1]
        with torch.no_grad():
            slow = self.slow_critic(here).mean()
        weight = (~is_last[:, :-1]).to(target.dtype)
        return value_loss(self.critic(here), target, slow, weight, config.slow_scale)

    def _metrics(
        self,
        actor_loss: Tensor,
        critic_loss: Tensor,
        entropy: Tensor,
        returns: Tensor,
        value: Tensor,
        outlook: _Outlook,
    ) -> Metrics:
        return {
            'dreamer/actor_loss': actor_loss.detach(),
            'dreamer/critic_loss': critic_loss.detach(),
            'dreamer/entropy': entropy.detach().mean(),
            'dreamer/imagined_return': returns.mean(),
            'dreamer/imagined_reward': outlook.reward[1:].mean(),
            'dreamer/value': value.mean(),
            'dreamer/return_scale': self.normaliser.scale,
        }

    def _likeliest(self, state: State) -> State:
        """Return the state whose stochastic part is the posterior's mode."""
        if self.config.model.latent == 'gaussian':
            return state._replace(stoch=state.parameters[..., 0])
        best = state.parameters.argmax(-1, keepdim=True)
        one_hot = torch.zeros_like(state.parameters).scatter_(-1, best, 1.0)
        return state._replace(stoch=one_hot.flatten(-2))
