"""Where policies imitate: a task of the DeepMind Control Suite, and the embedded world.

A place records episodes of a teacher under noise, and scores whoever acts in it. Who acts is
asked with the fields that it needs; `begin` is called before every episode.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))

from robot_learning import contract as contracts  # noqa: E402
from robot_learning.commands.collect_dmc import as_episode  # noqa: E402
from robot_learning.contract import RobotContract  # noqa: E402
from robot_learning.simulation.dmc_trajectories import DmcTask, DmcTrajectory  # noqa: E402
from robot_learning.simulation.drivers import GeodesicDriver  # noqa: E402
from robot_learning.simulation.world import World, WorldConfig  # noqa: E402
from robot_learning.trajectory.episode import Episode  # noqa: E402

Array = np.ndarray[Any, Any]
_LINK_M, _DAMPING, _GAIN = 0.12, 1e-3, 1.0  # Of the reacher's arm and its teacher.
_START, _SPREAD_M, _SPREAD_RAD = (-1.9, -1.9, 0.8), 0.15, 0.5
_GOAL = (1.7, 1.5, 0.0)
_ARRANGEMENT = 3  # Seed of walls and objects.


class Actor(Protocol):
    """Who acts."""

    def begin(self, seed: int) -> None:
        """An episode begins."""

    def act(self, observation: Mapping[str, Array]) -> Array:
        """Return the action [A] in units of the robot."""


class Place(Protocol):
    """Somewhere to act."""

    name: str
    contract: RobotContract
    recorded_actions: int | None  # Of each episode to learn from; None: all.
    num_play: int  # Episodes to learn from how the place looks and what actions do.
    num_shown: int  # Episodes to imitate.

    def teacher(self, noise: float, seed: int) -> Actor:
        """Return who knows what to do; the noise is a share from 0 to 1."""

    def drive(self, actor: Actor, seed: int, max_actions: int | None = None) -> Driven:
        """Let somebody act for an episode."""


class Driven(NamedTuple):
    """An episode and what it was worth."""

    episode: Episode
    total: float  # Sum of rewards.
    success: bool


class Reacher:
    """reacher_easy: an arm of two joints whose tip has to stay on a ball, wherever that lies."""

    name = 'reacher_easy'
    recorded_actions = 24  # It is there after some 12.
    num_play, num_shown = 300, 200  # Each with another ball: few would be known by heart.

    def __init__(self, image_size: int):
        self._task = DmcTask(self.name, image_size, action_repeat=4)
        self.contract: RobotContract = self._task.contract

    def teacher(self, noise: float, seed: int) -> Actor:
        """Return who moves the tip straight to the ball, with noise."""
        return _Noisy(self._reach, noise, self.contract, seed)

    def drive(self, actor: Actor, seed: int, max_actions: int | None = None) -> Driven:
        """Let somebody act for an episode of 250 actions, or fewer; success: on it at the end."""
        actor.begin(seed)
        trajectory = self._task.trajectory(actor.act, seed, max_actions)
        episode = as_episode(trajectory, self.contract, seed)
        return Driven(episode, float(trajectory.reward.sum()), bool(trajectory.reward[-1] > 0))

    @staticmethod
    def _reach(observation: Mapping[str, Array]) -> Array:
        """Turn the joints as the damped inverse of the arm's Jacobian says."""
        first, second = observation['position']
        along = _LINK_M * np.array([np.cos(first), np.sin(first)])
        beyond = _LINK_M * np.array([np.cos(first + second), np.sin(first + second)])
        x, y = along + beyond
        jacobian = np.array([[-y, -beyond[1]], [x, beyond[0]]])
        damped = jacobian @ jacobian.T + _DAMPING * np.eye(2)
        turn = jacobian.T @ np.linalg.solve(damped, observation['to_target'])
        return np.clip(_GAIN * turn, -1, 1).astype(np.float32)


class Arena:
    """The embedded world seen by the robot's camera: always the same walls, objects and goal.

    Nothing marks the goal: where it is has to be learned from what the way there looks like.
    Episodes begin in a corner, each in another pose.
    """

    name = 'goal reaching in the embedded world'
    recorded_actions = None
    num_play, num_shown = 60, 40

    def __init__(self, image_size: int):
        described = contracts.load('arena').to_dict()
        described['observation']['camera']['shape'] = [image_size, image_size, 3]
        self.contract = contracts.from_dict(described, 'arena')
        self._world = World(self.contract, WorldConfig(), ['camera'])
        self._world.begin(_ARRANGEMENT, _START, _GOAL)
        self._objects = self._world.layout.objects

    def teacher(self, noise: float, seed: int) -> Actor:
        """Return who follows the shortest way, with uniform noise."""
        driver = GeodesicDriver(self.contract)
        return _Noisy(lambda _: driver.act(self._world), noise, self.contract, seed)

    def drive(self, actor: Actor, seed: int, max_actions: int | None = None) -> Driven:
        """Let somebody drive to the goal, into something, or for 40 s, or fewer steps."""
        world, rows, actions = self._world, [], []
        observation, reward, success = self._begin(seed), 0.0, False
        actor.begin(seed)
        while True:
            rows.append((observation['camera'], reward))
            action = np.clip(
                actor.act(observation), self.contract.action_low, self.contract.action_high
            )
            actions.append(action.astype(np.float32))
            arrived = world.step({'base': actions[-1]})
            observation, reward, success = arrived.observation, arrived.reward, arrived.success
            is_over = arrived.terminated or arrived.truncated
            if is_over or len(actions) == max_actions:
                rows.append((observation['camera'], reward))
                break
        last = np.arange(len(rows)) == len(actions)
        trajectory = DmcTrajectory(
            {'camera': np.stack([row[0] for row in rows])},
            np.stack([*actions, np.zeros_like(actions[0])]),
            np.asarray([row[1] for row in rows], np.float32),
            last & arrived.terminated,
            last & (not arrived.terminated),
            np.zeros((len(rows), 0)),
        )
        total = float(trajectory.reward.sum())
        return Driven(as_episode(trajectory, self.contract, seed), total, success)

    def _begin(self, seed: int) -> dict[str, Array]:
        rng = np.random.default_rng([seed, 11])
        while True:
            x, y, yaw = np.add(_START, rng.uniform(-1, 1, 3) * [_SPREAD_M, _SPREAD_M, _SPREAD_RAD])
            observation = self._world.reset(_ARRANGEMENT, (x, y, yaw), _GOAL)
            if self._world.layout.objects == self._objects:
                return observation


PLACES: dict[str, type[Any]] = {'reacher': Reacher, 'arena': Arena}


class Constant:
    """Does always the same, whatever it sees.

    Args:
        action: [A], in units of the robot.
    """

    def __init__(self, action: Array):
        self._action = np.asarray(action, np.float32)

    def begin(self, seed: int) -> None:
        """Nothing to do."""

    def act(self, observation: Mapping[str, Array]) -> Array:
        """Return it."""
        return self._action


class _Noisy:
    def __init__(self, act: Any, noise: float, contract: RobotContract, seed: int):
        self._act, self._noise = act, noise
        self._low, self._high = contract.action_low, contract.action_high
        self._rng = np.random.default_rng(seed)

    def begin(self, seed: int) -> None:
        pass

    def act(self, observation: Mapping[str, Array]) -> Array:
        drawn: Array = self._rng.uniform(self._low, self._high)
        share = min(self._noise, 1.0)
        mixed = (1 - share) * self._act(observation) + share * drawn
        return np.asarray(mixed, np.float32)
