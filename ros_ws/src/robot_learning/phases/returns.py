"""What steps were worth: returns and advantages as pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def lambda_return(reward: Tensor, discount: Tensor, value: Tensor, lambda_: float) -> Tensor:
    """Lambda-return of every step but the last (Sutton & Barto 2018, section 12.8).

    Index t holds what was received on arriving at state t, so reward[:, 0] and
    discount[:, 0] are not used. Truncated episodes keep discount > 0 and so bootstrap
    from `value`; terminated ones have discount 0.

    Args:
        reward: [B, T+1].
        discount: [B, T+1], gamma * (1 - terminated).
        value: [B, T+1], the critic at each state.
        lambda_: 0 is one-step TD, 1 is Monte Carlo.

    Returns:
        [B, T].
    """
    # All that does not depend on the step behind is computed at once.
    fixed = reward + (1 - lambda_) * discount * value  # [B, T+1]
    passed_on = lambda_ * discount
    running = value[:, -1]  # [B]
    returns = []
    for t in reversed(range(1, value.shape[1])):
        running = torch.addcmul(fixed[:, t], passed_on[:, t], running)
        returns.append(running)
    return torch.stack(returns[::-1], dim=1)


def gae(
    reward: Tensor,
    discount: Tensor,
    value: Tensor,
    next_value: Tensor,
    is_last: Tensor,
    lambda_: float,
) -> Tensor:
    """Generalised advantage of every transition (Schulman et al. 2016, equation 16).

    Index t holds the transition that the action of step t made: its reward and discount are
    those received on arriving at the next state. The sum of errors is cut where `is_last`,
    whatever the reason; only termination, as discount 0, takes the next state's value away.

    Args:
        reward: [B, T].
        discount: [B, T], gamma * (1 - terminated).
        value: [B, T], the critic where the action was chosen.
        next_value: [B, T], the critic where it led; at a truncation the final observation's.
        is_last: [B, T] bool, index t + 1 does not continue t; the end of T always cuts.
        lambda_: 0 is one-step TD, 1 is Monte Carlo minus the value.

    Returns:
        [B, T], without gradient.
    """
    with torch.no_grad():
        error = reward + discount * next_value - value
        passed_on = torch.where(is_last, 0.0, lambda_ * discount)
        advantage = torch.empty_like(error)
        running = torch.zeros_like(error[:, 0])  # [B]
        for t in reversed(range(error.shape[1])):
            running = torch.addcmul(error[:, t], passed_on[:, t], running)
            advantage[:, t] = running
    return advantage
