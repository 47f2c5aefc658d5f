"""Dreamer: a policy learned in what a world model imagines."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from robot_learning.models.dreamer_policy import published_policy
from robot_learning.models.imagination_heads import Actor
from robot_learning.models.products import rounded_factors
from robot_learning.models.rssm import Carry, State
from robot_learning.models.world_model import WorldModel
from robot_learning.phases.captured_update import CapturedUpdate
from robot_learning.phases.devices import CPU, placed
from robot_learning.phases.dreamer_acting import DreamerActor
from robot_learning.phases.dreamer_config import DreamerConfig
from robot_learning.phases.gradient_clipping import GradientClipping
from robot_learning.phases.imagined_behavior import ImaginedBehavior
from robot_learning.phases.laprop import LaProp
from robot_learning.phases.phase import (
    PHASES,
    Batch,
    Metrics,
    PolicySpace,
    TrainingData,
    Windows,
)
from robot_learning.phases.process_group import averaged
from robot_learning.phases.state import collect, restore, step
from robot_learning.phases.world_model_losses import (
    WorldModelLoss,
    feature_weight,
    world_model_loss,
)


@PHASES.register('dreamer')
class Dreamer:
    """One world-model step and one of actor and critic in its imagination, per batch of windows.

    All states of the windows are starts of imagination. The model learns from what was recorded
    only, unless `replay_value_gradient`; actor and critic see its features as constants.
    See `models/dreamer_policy.py` for what is published and how it is evaluated.
    """

    Config = DreamerConfig
    needs_reward = True
    selects_by_validation = False  # A good model is not yet a good policy.

    def __init__(
        self,
        config: DreamerConfig,
        space: PolicySpace,
        seed: int,
        *,
        device: torch.device = CPU,
    ):
        self.config = config
        self.space = space
        self.device = device
        initial = torch.Generator().manual_seed(seed)  # The same weights on every device.
        self.model = WorldModel(
            space.input_size,
            space.action_size,
            config.model,
            space.blocks,
            space.images,
            initial,
        ).to(device)
        self.behavior = ImaginedBehavior(
            config,
            self.model.feature_size,
            space.action_size,
            'categorical' if space.is_discrete else config.action_distribution,
            initial,
            device,
        )
        self._generator = torch.Generator(device).manual_seed(seed)
        self._acting = torch.Generator(device).manual_seed(seed + 1)  # Learning draws as if alone.
        self._optimizer = self._make_optimizer()
        self._clipping = GradientClipping(
            self._optimizer, config.gradient_ratio, config.gradient_norm
        )
        self._parameters = [p for g in self._optimizer.param_groups for p in g['params']]
        self._rates = [float(group['lr']) for group in self._optimizer.param_groups]
        self._learn = CapturedUpdate(self._update, [self._generator], device)
        self._num_updates = torch.zeros((), dtype=torch.int64)
        self._weight = torch.ones(space.input_size, device=device)  # Of the features' errors.

    @property
    def actor(self) -> Actor:
        """What chooses actions from the model's features."""
        return self.behavior.actor

    @property
    def draws(self) -> Windows:
        """Windows of `length` steps."""
        return Windows(self.config.batch_size, self.config.length)

    def prepare(self, data: TrainingData) -> None:
        """Nothing needs to be known beforehand."""

    def update(self, batch: Batch) -> Metrics:
        """Step model, actor and critic together, then the slow critic."""
        config = self.config
        if config.block_scale is not None and self.space.input_size and not self._num_updates:
            features = batch['observation'].flatten(0, 1).to(self.device)
            weight = feature_weight(features, self.model.blocks, config.block_scale)
            self._weight.copy_(averaged([weight])[0])
        self._warm_up()
        is_rounded = config.model.numeric == 'bfloat16'
        with rounded_factors() if is_rounded else contextlib.nullcontext():
            metrics = self._learn(batch)
        self._num_updates += 1
        return metrics

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Metrics:
        """Measure the world model, and how likely the actor finds what was done."""
        # A generator of its own: measuring must not change what is drawn while learning.
        noise = torch.Generator(self.device).manual_seed(0)
        batch = placed(batch, self.device)
        learned = self._learned(batch, noise)
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
        state = self.model.observe(placed(batch, self.device), carry, self._acting).carry.state
        if explore:
            distribution = self.actor(self.model.features(state))
            action = distribution.executed(distribution.draw(self._acting))
        else:
            state = self._likeliest(state)
            action = self.actor(self.model.features(state)).mode()
        return action.cpu(), Carry(state, action)

    def environment_actor(self) -> DreamerActor:
        """Return what acts in environments that step together, with an empty memory."""
        return DreamerActor(self)

    def state_dict(self) -> dict[str, Tensor]:
        """Return networks, optimiser moments, averages, generators and the update count."""
        return collect(self._state())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`, bit by bit."""
        restore(self._state(), state)
        self._learn.forget()

    def _state(self) -> dict[str, Any]:
        return {
            'model': self.model,
            'actor': self.behavior.actor,
            'critic': self.behavior.critic,
            'slow_critic': self.behavior.slow_critic,
            'normaliser': self.behavior.normaliser,
            'optimizer': self._optimizer,
            'generator': self._generator,
            'acting': self._acting,
            'num_updates': self._num_updates,
            'weight': self._weight,
        }

    def _learned(self, batch: Batch, noise: torch.Generator) -> WorldModelLoss:
        return world_model_loss(
            self.model, batch, self.config.model_loss, noise, weight=self._weight
        )

    def _update(self, batch: Batch) -> Metrics:
        config = self.config
        learned = self._learned(batch, self._generator)
        start = State(*(tensor.detach().flatten(0, 1) for tensor in learned.posterior))
        is_terminated = batch['terminated'].flatten()
        dream = self.behavior.dream(self.model, start, is_terminated, self._generator)
        loss, metrics = learned.total + dream.loss, dream.metrics
        if config.replay_value_scale:
            features = self.model.features(learned.posterior)
            if not config.replay_value_gradient:
                features = features.detach()
            replayed = self.behavior.replay_value_loss(features, batch, dream.returns)
            loss = loss + config.replay_value_scale * replayed
            metrics['dreamer/replay_critic_loss'] = replayed.detach()
        step(self._optimizer, self._parameters, loss)
        self.behavior.follow_slowly()
        for name, norm in zip(('model', 'actor', 'critic'), self._clipping.norms, strict=True):
            metrics[f'dreamer/{name}_gradient_norm'] = norm
        return metrics | {f'world_model/{k}': value for k, value in learned.metrics.items()}

    def _make_optimizer(self) -> torch.optim.Optimizer:
        config = self.config
        networks = (self.model, self.behavior.actor, self.behavior.critic)
        rates = (config.learning_rate, config.actor_learning_rate, config.critic_learning_rate)
        groups = [
            {'params': list(network.parameters()), 'lr': rate or config.learning_rate}
            for network, rate in zip(networks, rates, strict=True)
        ]
        on_gpu = self.device.type == 'cuda'
        if config.optimizer == 'laprop':
            return LaProp(groups, capturable=on_gpu)
        return torch.optim.Adam(groups, eps=1e-8, fused=True, capturable=on_gpu)

    def _warm_up(self) -> None:
        done = int(self._num_updates) + 1
        share = min(1.0, done / self.config.warmup_updates) if self.config.warmup_updates else 1.0
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            if not group['capturable']:
                group['lr'] = share * rate
            elif isinstance(group['lr'], Tensor):
                group['lr'].fill_(share * rate)  # A recorded update reads it there.
            else:
                group['lr'] = torch.tensor(share * rate, device=self.device)

    def _likeliest(self, state: State) -> State:
        """Return the state whose stochastic part is the posterior's mode."""
        if self.config.model.latent == 'gaussian':
            return state._replace(stoch=state.parameters[..., 0])
        best = state.parameters.argmax(-1, keepdim=True)
        one_hot = torch.zeros_like(state.parameters).scatter_(-1, best, 1.0)
        return state._replace(stoch=one_hot.flatten(-2))
