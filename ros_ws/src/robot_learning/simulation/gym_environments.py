"""Environments by name: Gymnasium's, DeepMind Control's, and the embedded world of a robot."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces, wrappers
from gymnasium.wrappers import common

from robot_learning import contract as contracts
from robot_learning.contract import RobotContract
from robot_learning.errors import ContractError, EnvironmentSetupError, SimulationError
from robot_learning.simulation.environment_state import snapshot_of
from robot_learning.simulation.vector import Array, Environment, StepResult

_DMC = 'dmc:'
# They check calls and count steps, in as much time as small environments take to step.
_TRANSPARENT = (wrappers.TimeLimit, wrappers.OrderEnforcing, common.PassiveEnvChecker)


def make(name: str) -> Environment:
    """Make the environment called `name`.

    Args:
        name: 'CartPole-v1' or another id of Gymnasium, 'dmc:cartpole_swingup', or the robot
            contract ('arena' or a YAML file) whose embedded world it is.

    Raises:
        SimulationError: there is none, or its observations or actions are of no use here.
        EnvironmentSetupError: it needs something that is not installed.
    """
    if name.startswith(_DMC):
        from robot_learning.simulation.dm_control_environment import DmControlEnvironment

        return DmControlEnvironment(name.removeprefix(_DMC))
    contract = contract_of(name)
    if contract is not None:
        from robot_learning.simulation.environment import GoalReachingEnv

        world = GymEnvironment(GoalReachingEnv(contract), name)
        # It scales by itself; whoever serves the policy must know what it scales to.
        world.action_low, world.action_high = contract.action_low, contract.action_high
        return world
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # Whoever names an old version means it.
            environment = gymnasium.make(name, disable_env_checker=True)
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        raise EnvironmentSetupError(
            f'{name}: lacks something ({error}). Install it into this environment.'
        ) from error
    except gymnasium.error.Error as error:
        raise SimulationError(
            f'{name}: no such environment ({error}). Name one of Gymnasium as CartPole-v1, one of '
            f'DeepMind Control as dmc:cartpole_swingup, or a robot contract as arena.'
        ) from error
    return GymEnvironment(environment, name)


def contract_of(name: str) -> RobotContract | None:
    """Return the robot contract called `name`; None: it is no robot, but maybe something else.

    Raises:
        ContractError: the contract is there, and wrong.
    """
    if name.startswith(_DMC) or name in gymnasium.registry:
        return None
    path = contracts.robots_directory() / f'{name}.yaml'
    if not (path.is_file() or name.endswith(('.yaml', '.yml'))):
        return None
    contract = contracts.load(name)
    if contract.task is None:
        raise ContractError(
            f'{name}: its contract has no task, expected one that gives rewards. Add a "task" '
            f'block, or train another robot.'
        )
    return contract


class GymEnvironment:
    """A Gymnasium environment with a box of observations, and a box or a number of actions.

    Its time limit is kept here, and its outer checks are passed by.
    """

    def __init__(self, environment: gymnasium.Env[Any, Any], name: str):
        self._environment, self._max_steps = _unwrapped(environment)
        self._num_steps = 0
        observed, acted = environment.observation_space, environment.action_space
        if not isinstance(observed, spaces.Box) or len(observed.shape) == 3:
            raise SimulationError(
                f'{name}: observations are {observed}, expected a vector of numbers. Choose '
                f'another environment, or wrap it.'
            )
        self.observation_size = int(np.prod(observed.shape))
        self._is_flat = len(observed.shape) == 1
        self.is_discrete = isinstance(acted, spaces.Discrete)
        if isinstance(acted, spaces.Discrete):
            self._first = int(acted.start)
            self.action_low = np.zeros(int(acted.n), np.float32)
            self.action_high = np.ones(int(acted.n), np.float32)
        elif isinstance(acted, spaces.Box) and acted.is_bounded():
            self.action_low = acted.low.astype(np.float32).ravel()
            self.action_high = acted.high.astype(np.float32).ravel()
            self._shape = acted.shape
            self._half = (self.action_high - self.action_low) / 2
            self._centre = self.action_low + self._half
        else:
            raise SimulationError(
                f'{name}: actions are {acted}, expected one of several (Discrete) or a box with '
                f'limits. Choose another environment, or wrap it.'
            )

    def reset(self, seed: int | None) -> Array:
        """Begin an episode and return its first observation [D]."""
        self._num_steps = 0
        return self._flat(self._environment.reset(seed=seed)[0])

    def step(self, action: Array) -> StepResult:
        """Take one step with an action [A] in [-1, 1], or one-hot."""
        if self.is_discrete:
            command: Any = self._first + int(action.argmax())
        else:
            command = (self._centre + self._half * action).reshape(self._shape)
        observation, reward, terminated, truncated, _ = self._environment.step(command)
        self._num_steps += 1
        is_late = self._max_steps is not None and self._num_steps >= self._max_steps
        return StepResult(
            self._flat(observation), float(reward), bool(terminated), bool(truncated) or is_late
        )

    def state(self) -> dict[str, Any] | None:
        """Return all of it as plain data; None for kinds that cannot be told."""
        snapshot = snapshot_of(self._environment)
        return None if snapshot is None else {**snapshot.take(), 'num_steps': self._num_steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Be as it was when `state` was taken."""
        snapshot = snapshot_of(self._environment)
        assert snapshot is not None, 'there is a state'
        snapshot.put(state)
        self._num_steps = state['num_steps']

    def close(self) -> None:
        """Free what it holds."""
        self._environment.close()

    def _flat(self, observation: Array) -> Array:
        return observation if self._is_flat else observation.ravel()


def _unwrapped(
    environment: gymnasium.Env[Any, Any],
) -> tuple[gymnasium.Env[Any, Any], int | None]:
    """Return what stands below transparent wrappers, and the shortest time limit among them."""
    limits = []
    while type(environment) in _TRANSPARENT:
        if isinstance(environment, wrappers.TimeLimit):
            limits.append(environment._max_episode_steps)
        environment = environment.env  # type: ignore[attr-defined]
    return environment, min(limits, default=None)
