"""What actor and critic are trained on, as pure functions; time first, [H, N]."""

from __future__ import annotations

import torch
from torch import Tensor

from robot_learning.models.two_hot import TwoHot


def reinforce_loss(
    log_prob: Tensor, advantage: Tensor, entropy: Tensor, weight: Tensor, entropy_scale: float
) -> Tensor:
    """Make actions likelier that did better than expected (Hafner et al. 2023, equation 11).

    Args:
        log_prob: [H, N] of the actions taken, with gradient.
        advantage: [H, N], return less value over the returns' scale; taken as constant.
        entropy: [H, N] of the actor, with gradient.
        weight: [H, N], how much each state counts; taken as constant.
        entropy_scale: how much a nat is worth.
    """
    gain = log_prob * advantage.detach() + entropy_scale * entropy
    return -(weight.detach() * gain).mean()


def pathwise_loss(
    normalised_return: Tensor, entropy: Tensor, weight: Tensor, entropy_scale: float
) -> Tensor:
    """Climb the returns themselves, through the model (Hafner et al. 2020, equation 7).

    Args:
        normalised_return: [H, N] over the returns' scale, with gradient.
        entropy: [H, N] of the actor, with gradient.
        weight: [H, N], taken as constant.
        entropy_scale: how much a nat is worth.
    """
    return -(weight.detach() * (normalised_return + entropy_scale * entropy)).mean()


def value_loss(
    value: TwoHot, target: Tensor, slow_value: Tensor, weight: Tensor, slow_scale: float
) -> Tensor:
    """Cross-entropy against returns, and against a slower copy's answer so as not to run away.

    Args:
        value: the critic's answers for [...] states, with gradient.
        target: [...], taken as constant.
        slow_value: [...] of the slowly following copy.
        weight: [...], taken as constant.
        slow_scale: of the second part.
    """
    targets = torch.stack([target, slow_value], -1).detach()
    fit = value.log_probs(targets)  # [..., 2]
    return -(weight.detach() * (fit[..., 0] + slow_scale * fit[..., 1])).mean()
