"""Trajectories that a world model dreams up under an actor, and what is learned from them.

Everything is laid out with time first, [H+1, N, ...], so that each imagined step is written in
one piece and heads read all steps at once. Index 0 is where the imagination starts, a state of a
real step; index h holds what is expected on arriving after h actions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robot_learning.models.imagination_heads import Actor
from robot_learning.models.rssm import State
from robot_learning.models.world_model import WorldModel
from robot_learning.phases.returns import gae


class Imagined(NamedTuple):
    """N trajectories of H actions."""

    features: Tensor  # [H+1, N, F]
    drawn: Tensor  # [H, N, A], of the actor's distribution; see models/action_distributions.py.


def imagine_with_gradient(
    model: WorldModel,
    actor: Actor,
    start: State,
    horizon: int,
    generator: torch.Generator | None,
) -> Imagined:
    """Follow the actor through the frozen model, differentiable in the actor's parameters.

    Without gradient `models/fast_imagination.py` does the same.

    Args:
        model: gives the next states.
        actor: chooses.
        start: N states [N, ...].
        horizon: H.
        generator: of actions and states.
    """
    state = State(*(tensor.detach() for tensor in start))
    with frozen(model):
        features, drawn = [model.features(state)], []
        for _ in range(horizon):
            distribution = actor(features[-1].detach())
            drawn.append(distribution.draw(generator))
            state = model.rssm.imagine(state, distribution.executed(drawn[-1]), generator)
            features.append(model.features(state))
        return Imagined(torch.stack(features), torch.stack(drawn))


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Let gradients pass through `modules` within the block, and none reach their parameters."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def discount_weight(is_terminated: Tensor, discount: Tensor) -> Tensor:
    """Return how much each imagined state counts: how likely it is to be reached, discounted.

    Args:
        is_terminated: [N], the task had ended where the imagination starts: nothing follows.
        discount: [H+1, N], gamma times the probability to go on; index 0 is not used.

    Returns:
        [H+1, N].
    """
    first = (~is_terminated).to(discount.dtype)[None]
    return torch.cat([first, discount[1:]]).cumprod(0)


def is_last_of_run(batch: Mapping[str, Tensor]) -> Tensor:
    """Return [B, T] bool: the next step of the window does not follow from this one."""
    last = batch['terminated'] | batch['truncated']
    last[:, :-1] |= batch['is_first'][:, 1:]
    return last


def replay_return(
    reward: Tensor, discount: Tensor, bootstrap: Tensor, is_last: Tensor, lambda_: float
) -> Tensor:
    """Lambda-return along recorded steps, where windows may hold several runs.

    At the last step of a run and of the window the sum is cut and goes on with `bootstrap`; what
    follows from a last step is unknown, its own entry means nothing.

    Args:
        reward: [B, T], received on arriving; finite, those at starts are not used.
        discount: [B, T], gamma * (1 - terminated).
        bootstrap: [B, T], an estimate of each step's return.
        is_last: [B, T] bool, see `is_last_of_run`.
        lambda_: 0 is one-step TD, 1 is Monte Carlo.

    Returns:
        [B, T-1], without gradient.
    """
    here, there = slice(None, -1), slice(1, None)
    advantage = gae(
        reward[:, there],
        discount[:, there],
        bootstrap[:, here],
        bootstrap[:, there],
        is_last[:, there],
        lambda_,
    )
    return bootstrap[:, here].detach() + advantage
