"""What the phases that clone recorded actions share, with a memory or without."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from robot_learning.models.actor_critic import GaussianTanhPolicy
from robot_learning.models.distributions import squashed_log_prob
from robot_learning.models.sequence_policy import SequencePolicy
from robot_learning.phases import losses
from robot_learning.phases.phase import Array

CloningLoss = Literal['likelihood', 'squared_error']
_MIN_STD = 1e-3  # A feature that hardly varies is not blown up.


def fix_log_std(actor: GaussianTanhPolicy | SequencePolicy, log_std: float) -> None:
    """Give an actor this logarithm of the deviation everywhere, and keep it out of learning."""
    torch.nn.init.zeros_(actor.log_std.weight)
    torch.nn.init.constant_(actor.log_std.bias, log_std)
    actor.log_std.requires_grad_(False)


def take_statistics(actor: GaussianTanhPolicy | SequencePolicy, observation: Array) -> None:
    """Have an actor see features with the mean and deviation of observations [N, D]."""
    actor.input_mean.copy_(torch.from_numpy(observation.mean(0)))
    actor.input_std.copy_(torch.from_numpy(np.maximum(observation.std(0), _MIN_STD)))


def cloning_losses(
    loss: CloningLoss, mean: Tensor, log_std: Tensor, action: Tensor, margin: float
) -> Tensor:
    """Return the loss of each recorded action.

    Args:
        loss: squared error of the mean action, or minus the log-likelihood.
        mean: [..., A], before tanh.
        log_std: likewise.
        action: [..., A] in [-1, 1].
        margin: for the likelihood, actions are pulled this far inside: tanh reaches the ends
            nowhere.

    Returns:
        [...].
    """
    if loss == 'squared_error':
        return losses.squared_error(torch.tanh(mean), action)
    limit = 1 - margin
    return -squashed_log_prob(mean, log_std, action.clamp(-limit, limit))
