"""Actor and critic of Dreamer, and what they learn from imagined and recorded steps."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor

from robot_learning.models.action_distributions import ActionKind
from robot_learning.models.fast_imagination import FastImagination
from robot_learning.models.imagination_heads import Actor, Critic
from robot_learning.models.rssm import State
from robot_learning.models.two_hot import TwoHot
from robot_learning.models.world_model import WorldModel
from robot_learning.phases.dreamer_config import DreamerConfig
from robot_learning.phases.imagination import (
    Imagined,
    discount_weight,
    frozen,
    imagine_with_gradient,
    is_last_of_run,
    replay_return,
)
from robot_learning.phases.imagination_losses import pathwise_loss, reinforce_loss, value_loss
from robot_learning.phases.phase import Batch, Metrics
from robot_learning.phases.return_normalisation import ReturnNormaliser
from robot_learning.phases.returns import lambda_return


class Dream(NamedTuple):
    """What imagination says."""

    loss: Tensor  # Scalar, with gradient in actor and critic.
    returns: Tensor  # [N] of the states where it started, without gradient.
    metrics: Metrics


class _Outlook(NamedTuple):
    """What model and slow critic say about imagined states, [H+1, N], without gradient."""

    reward: Tensor
    discount: Tensor  # gamma times the probability to go on.
    weight: Tensor
    slow_value: Tensor


class ImaginedBehavior:
    """Actor, critic and the critic's slow copy (Hafner et al. 2023, "Actor critic learning").

    Args:
        config: of the whole phase.
        feature_size: F of the model.
        action_size: A.
        kind: of the actor's distribution.
        generator: of the initial weights, on the CPU.
        device: where all is kept.
    """

    def __init__(
        self,
        config: DreamerConfig,
        feature_size: int,
        action_size: int,
        kind: ActionKind,
        generator: torch.Generator,
        device: torch.device,
    ):
        self._config = config
        units = config.units or config.model.widths().hidden
        layers = config.actor_layers
        self.actor = Actor(feature_size, action_size, units, layers, kind, config.unimix)
        self.critic = Critic(feature_size, units, config.critic_layers)
        self.actor.initialise(generator)
        self.critic.initialise(generator)
        self.actor.to(device)
        self.critic.to(device)
        self.slow_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.normaliser = ReturnNormaliser(config.return_decay, config.return_limit).to(device)

    def dream(
        self,
        model: WorldModel,
        start: State,
        is_terminated: Tensor,
        generator: torch.Generator,
    ) -> Dream:
        """Imagine from the states `start` [N] and compute the loss of actor and critic.

        Args:
            model: gets no gradient.
            start: real states.
            is_terminated: [N] bool, the task had ended there.
            generator: of what is drawn.
        """
        if self._config.actor_gradient == 'reinforce':
            return self._dream(model, start, is_terminated, generator)
        return self._dream_with_gradient(model, start, is_terminated, generator)

    def replay_value_loss(self, features: Tensor, batch: Batch, returns: Tensor) -> Tensor:
        """Compare the critic with recorded rewards; each step's imagined return bootstraps.

        Args:
            features: [B, T, F] of the posterior; with gradient, the model learns from it too.
            batch: of windows.
            returns: [B * T] as `Dream` gives them.
        """
        config = self._config
        is_last = is_last_of_run(batch)  # [B, T]
        reward = torch.where(batch['is_first'], 0.0, batch['reward'])
        discount = config.discount * (1 - batch['terminated'].to(reward.dtype))
        bootstrap = returns.view_as(reward)
        target = replay_return(reward, discount, bootstrap, is_last, config.lambda_)
        here = features[:, :-1]
        with torch.no_grad():
            slow = self.slow_critic(here).mean()
        weight = (~is_last[:, :-1]).to(target.dtype)
        return value_loss(self.critic(here), target, slow, weight, config.slow_scale)

    @torch.no_grad()  # Else each update hangs on the graph of the one before, and all stay.
    def follow_slowly(self) -> None:
        """Move the slow critic towards the critic."""
        slow: list[Tensor] = [*self.slow_critic.parameters()]
        fast: list[Tensor] = [*self.critic.parameters()]
        torch._foreach_lerp_(slow, fast, self._config.slow_rate)

    def _dream(
        self, model: WorldModel, start: State, is_terminated: Tensor, generator: torch.Generator
    ) -> Dream:
        config = self._config
        ready = FastImagination(model.rssm, self.actor)
        imagined = Imagined(*ready.run(start, config.horizon, generator))
        outlook = self._outlook(model, imagined.features, is_terminated)
        value = self.critic.by_step(imagined.features)
        mean = _means(value)  # [H+1, N]
        returns = self._returns(outlook.reward, outlook.discount, mean)  # [H, N]
        advantage = (returns - mean[:-1]) / self.normaliser.update(returns)
        distribution = self.actor(imagined.features[:-1])
        entropy = distribution.entropy(imagined.drawn)
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
        return Dream(actor_loss + critic_loss, returns[0], metrics)

    def _dream_with_gradient(
        self, model: WorldModel, start: State, is_terminated: Tensor, generator: torch.Generator
    ) -> Dream:
        """As `_dream`, the actor learning through model and critic."""
        config = self._config
        imagined = imagine_with_gradient(model, self.actor, start, config.horizon, generator)
        constant = Imagined(imagined.features.detach(), imagined.drawn.detach())
        outlook = self._outlook(model, constant.features, is_terminated)
        with frozen(model, self.critic):
            mean = self.critic(imagined.features).mean()
            reward = model.reward(imagined.features).mean()
            going_on = torch.sigmoid(model.continuation(imagined.features))
            returns = self._returns(reward, config.discount * going_on, mean)
        scale = self.normaliser.update(returns.detach())
        entropy = self.actor(constant.features[:-1]).entropy(constant.drawn)
        weight = outlook.weight[:-1]
        actor_loss = pathwise_loss(returns / scale, entropy, weight, config.entropy_scale)
        returns, mean = returns.detach(), mean.detach()
        value = self.critic.by_step(constant.features)
        critic_loss = self._critic_loss(value, returns, outlook)
        metrics = self._metrics(actor_loss, critic_loss, entropy, returns, mean, outlook)
        return Dream(actor_loss + critic_loss, returns[0], metrics)

    @torch.no_grad()
    def _outlook(self, model: WorldModel, features: Tensor, is_terminated: Tensor) -> _Outlook:
        # Step by step, as what a step needs stays in the cache.
        logits = torch.stack([model.continuation(rows) for rows in features])
        discount = self._config.discount * torch.sigmoid(logits)
        return _Outlook(
            torch.stack([model.reward(rows).mean() for rows in features]),
            discount,
            discount_weight(is_terminated, discount),
            _means(self.slow_critic.by_step(features)),
        )

    def _returns(self, reward: Tensor, discount: Tensor, value: Tensor) -> Tensor:
        rows = reward.t(), discount.t(), value.t()
        return lambda_return(*rows, self._config.lambda_).t()

    def _critic_loss(self, value: list[TwoHot], returns: Tensor, outlook: _Outlook) -> Tensor:
        scale = self._config.slow_scale
        rows = zip(value, returns, outlook.slow_value, outlook.weight, strict=False)
        losses = [value_loss(*row, scale) for row in rows]  # All but the last step's.
        return torch.stack(losses).mean()

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


def _means(answers: list[TwoHot]) -> Tensor:
    """Return the expected numbers [H+1, N] of each step's answers, without gradient."""
    with torch.no_grad():
        return torch.stack([answer.mean() for answer in answers])
