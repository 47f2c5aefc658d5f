"""Randomness of a robot that explores: whole actions before a policy, noise around one after."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from robot_learning.contract import RobotContract

Array = np.ndarray[Any, Any]


class Exploration:
    """Draws random actions and the noise of policies, step after step."""

    def __init__(
        self, contract: RobotContract, hold_steps: int, correlation: float, seed: int | None
    ):
        """Begin anew.

        Args:
            contract: gives size and limits of actions.
            hold_steps: mean control steps that a random action is kept for.
            correlation: of noise from one step to the next, in [0, 1).
            seed: None: another one every time.
        """
        self._low, self._high = contract.action_low, contract.action_high
        self._hold_steps = hold_steps
        self._correlation = correlation
        self._rng = np.random.default_rng(seed)
        self._noise = np.zeros(contract.action_size)
        self._action = contract.action_stop
        self._has_noise = False

    @property
    def is_correlated(self) -> bool:
        """Whether noise depends on the step before, so that no step tells its likelihood alone."""
        return self._correlation > 0

    def start_episode(self) -> None:
        """Forget what was kept from step to step."""
        self._has_noise = False
        self._action = self._draw()

    def action(self) -> Array:
        """Uniform within the limits [A], kept for a geometrically distributed number of steps."""
        if self._rng.random() < 1 / self._hold_steps:
            self._action = self._draw()
        return self._action.copy()

    def noise(self) -> Array:
        """Standard normal at every step [A], correlated from one to the next where asked."""
        fresh = self._rng.standard_normal(len(self._noise))
        if self._correlation and self._has_noise:
            fresh = self._correlation * self._noise + math.sqrt(1 - self._correlation**2) * fresh
        self._noise, self._has_noise = fresh, True
        return fresh

    def _draw(self) -> Array:
        return self._rng.uniform(self._low, self._high).astype(np.float32)
