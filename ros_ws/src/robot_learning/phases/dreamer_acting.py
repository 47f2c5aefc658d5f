"""A Dreamer as the actor of environments that step together, with what it remembers of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from robot_learning.models.rssm import Carry, State
from robot_learning.phases.acting import Acted
from robot_learning.phases.phase import Array

if TYPE_CHECKING:
    from robot_learning.phases.dreamer import Dreamer


class DreamerActor:
    """Acts with the present weights of a phase, and with all later ones.

    Args:
        phase: chooses. What it draws comes from a generator of its own, which is part of its
            state.
    """

    def __init__(self, phase: Dreamer):
        self._phase = phase
        self._carry: Carry | None = None
        self._is_first = torch.zeros(0, dtype=torch.bool)

    def draw(self, observation: Array, rng: np.random.Generator) -> Acted:
        """Return actions [N, A] drawn at random; their likelihood is not told."""
        action = self._act(observation, explore=True)
        return Acted(action, np.full(len(action), np.nan, np.float32))

    def best(self, observation: Array) -> Array:
        """Return the actions without exploration."""
        return self._act(observation, explore=False)

    def forget(self, ended: Array) -> None:
        """The next observation of those [N] is the first of another episode."""
        if self._carry is not None:
            self._is_first |= torch.from_numpy(ended)

    def state(self) -> dict[str, Tensor]:
        """Return what is remembered."""
        if self._carry is None:
            return {}
        named = {name: getattr(self._carry.state, name) for name in State._fields}
        return {**named, 'action': self._carry.action, 'is_first': self._is_first}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Remember what `state` returned."""
        if state:
            device = self._phase.device
            parts = State(*(state[name].to(device, copy=True) for name in State._fields))
            self._carry = Carry(parts, state['action'].to(device, copy=True))
            self._is_first = state['is_first'].clone()

    def _act(self, observation: Array, explore: bool) -> Array:
        if self._carry is None:
            self._is_first = torch.ones(len(observation), dtype=torch.bool)
        seen = torch.from_numpy(observation)
        action, self._carry = self._phase.act(seen, {}, self._carry, self._is_first, explore)
        self._is_first = torch.zeros(len(observation), dtype=torch.bool)
        chosen: Array = action.numpy()
        return chosen
