"""What would happen: futures of the world state under given actions, with their uncertainty."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from robot_learning.errors import CommandError
from robot_learning.serving.perception import WorldPerception

Array = np.ndarray[Any, Any]
MOST_STEPS = 200


class Imagined(NamedTuple):
    """One row per action."""

    states: Array  # [H, S]
    uncertainties: Array  # [H, S], standard deviations.
    rewards: Array  # [H]; NaN: the model never learned rewards.
    end_probabilities: Array  # [H]; NaN likewise.


@torch.no_grad()
def imagine(perception: WorldPerception, actions: Array, state: Array | None = None) -> Imagined:
    """Return what would happen after each action.

    Args:
        perception: model, and the past if `state` is None.
        actions: [H, A], A up to the model's action size; contract units.
        state: [S] to begin from, without a past; None: the present one.

    Raises:
        CommandError: sizes do not fit, a number is not finite, or there is no present state.
    """
    published = perception.published
    config, model = published.config, published.model
    actions = np.asarray(actions, np.float32)
    if actions.ndim != 2 or not 1 <= len(actions) <= MOST_STEPS:
        raise CommandError(
            f'imagine: found actions of shape {list(actions.shape)}, expected 1 to {MOST_STEPS} '
            f'steps of at most {config.action_size} numbers. Send them step by step.'
        )
    if actions.shape[1] > config.action_size:
        raise CommandError(
            f'imagine: found {actions.shape[1]} numbers per action, expected at most '
            f'{config.action_size}. Send those of the contract.'
        )
    if not np.isfinite(actions).all():
        raise CommandError('imagine: an action is not finite, expected numbers. Send others.')
    states, past_actions = _beginning(perception, state)
    padded = torch.zeros(1, len(actions), config.action_size)
    padded[0, :, : actions.shape[1]] = torch.from_numpy(actions)
    future = model.world.imagine(states, past_actions, padded)
    if published.has_outcomes:
        reward, end_logit = model.outcomes(model.world.scaled(future.mean))
        rewards, ends = reward[0].numpy(), end_logit[0].sigmoid().numpy()
    else:
        rewards = ends = np.full(len(actions), np.nan, np.float32)
    return Imagined(future.mean[0].numpy(), future.log_std[0].exp().numpy(), rewards, ends)


def _beginning(
    perception: WorldPerception, state: Array | None
) -> tuple[torch.Tensor, torch.Tensor]:
    config = perception.published.config
    if state is None:
        past = perception.past
        if past is None:
            raise CommandError(
                'imagine: nothing was perceived yet, expected a present state. Wait for the '
                'senses, or send a state to begin from.'
            )
        return past
    state = np.asarray(state, np.float32)
    if state.shape != (config.state_size,) or not np.isfinite(state).all():
        raise CommandError(
            f'imagine: found a state of {state.size} numbers, expected {config.state_size} finite '
            f'ones. Send one that world_state published.'
        )
    return torch.from_numpy(state)[None, None], torch.zeros(1, 1, config.action_size)
