"""Losses as pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def soft_target(
    reward: Tensor, discount: Tensor, next_values: Tensor, entropy_bonus: Tensor
) -> Tensor:
    """One target value per transition for soft actor-critic (Haarnoja et al. 2018, eq. 5-6).

    Args:
        reward: [B], over n steps already summed and discounted.
        discount: [B], gamma^n times (1 - terminated): 0 where the task ended, so nothing
            follows; a truncated end keeps its discount and bootstraps.
        next_values: [N, B], target critics at the next features and an action drawn there.
        entropy_bonus: [B], -temperature * log_prob of that action.

    Returns:
        [B].
    """
    return reward + discount * (next_values.amin(0) + entropy_bonus)


def value_loss(values: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Half the mean squared error of each critic, summed over critics.

    Args:
        values: [N, B].
        target: [B], without gradient.
        weight: [B], of the rows; None: all count alike.
    """
    squared = (values - target).square().sum(0)  # [B]
    return 0.5 * (squared if weight is None else weight * squared).mean()


def importance_weight(selection_ratio: Tensor, exponent: float) -> Tensor:
    """What makes rows that were drawn too often count less (Schaul et al. 2016, section 3.4).

    Args:
        selection_ratio: [B], N times P(i): how likely each row was drawn, to uniformly.
        exponent: beta; 1 corrects in full, 0 not at all.

    Returns:
        [B], the largest is 1, so that steps are only ever made smaller.
    """
    weight = selection_ratio**-exponent
    return weight / weight.max()


def soft_policy_loss(values: Tensor, log_prob: Tensor, temperature: Tensor) -> Tensor:
    """Negative soft value of actions the policy drew: temperature * log_prob - min value.

    Args:
        values: [N, B], critics at those actions, differentiable in the actions.
        log_prob: [B].
        temperature: scalar, without gradient.
    """
    return (temperature * log_prob - values.amin(0)).mean()


def temperature_loss(log_temperature: Tensor, log_prob: Tensor, target_entropy: float) -> Tensor:
    """Loss whose gradient raises the temperature while entropy is below its target.

    Linear in the logarithm of the temperature, as common implementations have it, so that
    the step does not shrink with the temperature itself.
    """
    return -log_temperature * (log_prob.detach().mean() + target_entropy)


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean over components of the squared difference; [B] from [B, A]."""
    return (prediction - target).square().mean(-1)


def imitation_loss(action: Tensor, demonstrated: Tensor, weight: Tensor) -> Tensor:
    """Squared distance to demonstrated actions, weighted mean over the rows; 0 without any.

    Args:
        action: [B, A], the policy's mode.
        demonstrated: [B, A], what was done there.
        weight: [B], how much each row counts; bool: 1 for those that do.
    """
    distance = (action - demonstrated).square().sum(-1)  # [B]
    return (distance * weight).sum() / weight.sum().clamp(min=1)


def clipped_policy_loss(ratio: Tensor, advantage: Tensor, clip_ratio: float) -> Tensor:
    """The loss of a policy that gains nothing by moving far (Schulman et al. 2017, eq. 7).

    Args:
        ratio: [B], likelihood of the action now over that when it was drawn.
        advantage: [B], without gradient.
        clip_ratio: how far from 1 the ratio may pay.
    """
    clipped = ratio.clamp(1 - clip_ratio, 1 + clip_ratio)
    return -torch.minimum(ratio * advantage, clipped * advantage).mean()
