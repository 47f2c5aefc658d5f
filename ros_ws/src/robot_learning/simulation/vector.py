"""N environments stepped one after the other in this process.

Environments of microseconds a step: a process each would cost more than it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from robot_learning.errors import SimulationError

Array = np.ndarray[Any, Any]
_SEEDS_APART = 10_000  # Embedded worlds count their seeds up; no two should meet.


class StepResult(NamedTuple):
    """What one environment answers to an action."""

    observation: Array  # [D]
    reward: float
    terminated: bool
    truncated: bool


class Environment(Protocol):
    """One environment: flat observations, actions in [-1, 1] or one-hot."""

    observation_size: int
    action_low: Array  # [A] in the environment's own units; 0 where `is_discrete`.
    action_high: Array  # [A]
    is_discrete: bool

    def reset(self, seed: int | None) -> Array:
        """Begin an episode and return its first observation [D]; None: as chance goes on."""

    def step(self, action: Array) -> StepResult:
        """Take one step with an action [A]."""

    def state(self) -> dict[str, Any] | None:
        """Return all of it as plain data; None: it cannot be told."""

    def restore(self, state: dict[str, Any]) -> None:
        """Be as it was when `state` was taken."""

    def close(self) -> None:
        """Free what it holds."""


class VectorStep(NamedTuple):
    """Where the actions of N environments led. The arrays are used again two steps later."""

    observation: Array  # [N, D] float32 to act on next: of ended episodes the next one's first.
    reward: Array  # [N] float32
    terminated: Array  # [N] bool, the task ended.
    truncated: Array  # [N] bool, watching stopped.
    final_observation: Array  # [N, D] where each action led, whether the episode ended or not.


class VectorEnvironment:
    """Steps all, and begins anew where an episode ended.

    Args:
        make: makes one environment; called `num_envs` times.
        num_envs: how many.
        autoreset: 'same_step': an ended one is reset at once, `observation` is the first of its
            next episode. 'explicit': it stays at its end until `reset_ended`, and refuses steps.
    """

    def __init__(
        self,
        make: Callable[[], Environment],
        num_envs: int,
        autoreset: Literal['same_step', 'explicit'] = 'same_step',
    ):
        self.environments: Sequence[Environment] = [make() for _ in range(num_envs)]
        first = self.environments[0]
        self.num_envs = num_envs
        self.observation_size = first.observation_size
        self.action_low, self.action_high = first.action_low, first.action_high
        self.is_discrete = first.is_discrete
        self._resets_at_once = autoreset == 'same_step'
        self._waits = np.zeros(num_envs, bool)  # Ended, and not reset yet.
        shape = (num_envs, self.observation_size)
        self._steps = [
            VectorStep(
                np.zeros(shape, np.float32),
                np.zeros(num_envs, np.float32),
                np.zeros(num_envs, bool),
                np.zeros(num_envs, bool),
                np.zeros(shape, np.float32),
            )
            for _ in range(2)  # In turn: what the caller acted on is still there after a step.
        ]

    def reset(self, seed: int) -> Array:
        """Begin everywhere anew, with seeds `_SEEDS_APART`; return [N, D]."""
        self._steps.reverse()
        observation = self._steps[0].observation
        for index, environment in enumerate(self.environments):
            observation[index] = environment.reset(seed + index * _SEEDS_APART)
        self._waits[:] = False
        return observation

    def step(self, action: Array) -> VectorStep:
        """Step every environment with its row of `action` [N, A].

        Raises:
            SimulationError: one has ended and was not reset.
        """
        if not self._resets_at_once and self._waits.any():
            raise SimulationError(
                f'vector environment: {np.flatnonzero(self._waits).tolist()} have ended, expected '
                f'running ones. Call reset_ended before the next step.'
            )
        self._steps.reverse()
        arrived = self._steps[0]
        observation, reward, terminated, truncated, final = arrived
        for index, environment in enumerate(self.environments):
            final[index], reward[index], ends, stops = environment.step(action[index])
            terminated[index], truncated[index] = ends, stops
            if ends or stops:
                self._waits[index] = True
        observation[:] = final
        if self._resets_at_once and self._waits.any():
            self._reset_waiting(observation)
        return arrived

    def reset_ended(self) -> Array:
        """Begin anew where an episode ended and return all observations [N, D]."""
        observation = self._steps[0].observation
        self._reset_waiting(observation)
        return observation

    def state(self) -> dict[str, Any] | None:
        """Return all of them as plain data; None: one of them cannot be told."""
        states = [environment.state() for environment in self.environments]
        if any(state is None for state in states):
            return None
        return {
            'environments': states,
            'observation': self._steps[0].observation.tolist(),
            'waits': self._waits.tolist(),
        }

    def restore(self, state: dict[str, Any]) -> Array:
        """Be as when `state` was taken; return the observations [N, D] then."""
        for environment, each in zip(self.environments, state['environments'], strict=True):
            environment.restore(each)
        self._steps[0].observation[:] = state['observation']
        self._waits[:] = state['waits']
        return self._steps[0].observation

    def close(self) -> None:
        """Free what they hold."""
        for environment in self.environments:
            environment.close()

    def _reset_waiting(self, observation: Array) -> None:
        for index in np.flatnonzero(self._waits).tolist():
            observation[index] = self.environments[index].reset(None)
        self._waits[:] = False
