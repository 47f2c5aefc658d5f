"""The embedded world as a Gymnasium environment."""

from __future__ import annotations

from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

from robot_learning.contract import ObservationField, RobotContract
from robot_learning.errors import SimulationError
from robot_learning.features import FeatureBuilder
from robot_learning.simulation.world import World, WorldConfig

Array = np.ndarray[Any, Any]
Observation = Any  # [D] float32, or a dict of contract fields.


class GoalReachingEnv(gymnasium.Env[Observation, Array]):
    """One episode of the contract's task per reset.

    Actions are the contract's learned actions, joined in order and scaled to [-1, 1]; -1 and 1
    are the lowest and highest command. `info` holds `success`, `collision` and `reason`, and
    at the end of an episode `summary` (path length, efficiency).

    Args:
        contract: the robot.
        config: the world; None takes the defaults without a camera.
        observation: 'features' gives the policy's input [D], 'fields' the contract's fields.
        seed: of the first layout when `reset` is given none; later resets count up.
    """

    def __init__(
        self,
        contract: RobotContract,
        config: WorldConfig | None = None,
        observation: Literal['features', 'fields'] = 'features',
        seed: int = 0,
    ):
        self._features = FeatureBuilder(contract) if observation == 'features' else None
        fields = self._features.fields if self._features else None
        self.world = World(contract, config or WorldConfig(camera='off'), fields)
        self._next_seed = seed
        self._centre = (contract.action_high + contract.action_low) / 2
        self._half_range = (contract.action_high - contract.action_low) / 2
        self.action_space = spaces.Box(-1.0, 1.0, (contract.action_size,), np.float32)
        if self._features:
            self.observation_space = spaces.Box(-np.inf, np.inf, (self._features.size,))
        else:
            self.observation_space = spaces.Dict(
                {
                    name: _field_space(contract.observation[name])
                    for name in self.world.observed_fields
                }
            )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode; `options` may hold `robot_pose` and `goal_pose` (x, y, yaw)."""
        super().reset(seed=seed)
        if seed is not None:
            self._next_seed = seed
        unknown = set(options or ()) - {'robot_pose', 'goal_pose'}
        if unknown:
            raise SimulationError(
                f'reset: unknown options {sorted(unknown)}. Choose from robot_pose, goal_pose.'
            )
        observation = self.world.reset(self._next_seed, **(options or {}))
        info = {'seed': self._next_seed, 'randomisation': dict(self.world.randomisation)}
        self._next_seed += 1
        return self._seen(observation), info

    def step(self, action: Array) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Drive one control period with a normalised action [A]."""
        result = self.world.step(self._commands(np.asarray(action, np.float32)))
        info: dict[str, Any] = {
            'success': result.success,
            'collision': result.reason == 'collision',
            'reason': result.reason,
        }
        if result.terminated or result.truncated:
            info['summary'] = self.world.task.summary()
        observation = self._seen(result.observation)
        return observation, result.reward, result.terminated, result.truncated, info

    def close(self) -> None:
        """Free the renderer."""
        self.world.close()

    def _commands(self, action: Array) -> dict[str, Array]:
        command = self._centre + np.clip(action, -1, 1) * self._half_range
        commands, start = {}, 0
        for name, spec in self.world.contract.learned_actions.items():
            commands[name] = command[start : start + spec.size]
            start += spec.size
        return commands

    def _seen(self, observation: dict[str, Array]) -> Observation:
        return self._features.build(observation) if self._features else observation


def _field_space(field: ObservationField) -> spaces.Box:
    if field.dtype == 'uint8':
        return spaces.Box(0, 255, field.shape, np.uint8)
    return spaces.Box(-np.inf, np.inf, field.shape, np.dtype(field.dtype).type)
