"""The embedded world and everything that can drive in it, as evaluation asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.errors import ConfigError
from robot_learning.evaluation.layouts import LayoutChoice
from robot_learning.evaluation.navigation import (
    Arrival,
    NavigationPolicy,
    NavigationWorld,
    Observation,
    PolicyFactory,
    WorldFactory,
)
from robot_learning.evaluation.run_record import MapScene
from robot_learning.features import FeatureBuilder
from robot_learning.model_files import ModelFileRules
from robot_learning.model_store import ModelStore
from robot_learning.serving.action_gate import ActionGate
from robot_learning.serving.policy import build_policy
from robot_learning.simulation.drivers import (
    Driver,
    GeodesicDriver,
    RandomDriver,
    StraightDriver,
)
from robot_learning.simulation.geodesic import GeodesicMap
from robot_learning.simulation.geometry import ARENA_HALF, INNER_WALLS, KINDS, OBJECTS, Wall
from robot_learning.simulation.world import World, WorldConfig

Array = np.ndarray[Any, Any]

# What every policy is compared with. The geodesic driver knows the map, as no robot does.
BASELINES: dict[str, Callable[[RobotContract], Driver]] = {
    'random': RandomDriver,
    'straight': StraightDriver,
    'geodesic': GeodesicDriver,
}


class SimulatedNavigation:
    """A `NavigationWorld` over the embedded world.

    Commands pass the same action gate as on the robot, so that limits on rate and
    acceleration hold here too. A waypoint course is driven from each layout's start; its last
    waypoint is the goal and its shortest path leads through all of them in order.

    Args:
        contract: of the robot.
        images: picture fields to observe besides what the features need; drawing takes time.

    Raises:
        ConfigError: the contract has no task.
        SimulationError: pictures are wanted and this machine cannot draw.
    """

    def __init__(self, contract: RobotContract, images: tuple[str, ...] = ()):
        if contract.task is None:
            raise ConfigError(
                f'{contract.robot}: has no task, expected one that the simulation knows. Choose '
                f'another --robot, or name a --task.'
            )
        self.contract = contract
        self.control_period_s = 1.0 / contract.control_rate_hz
        fields = (*FeatureBuilder(contract).fields, *images)
        self.world = World(contract, WorldConfig(camera='auto' if images else 'off'), fields)
        self._goal_radius_m = float(contract.task.parameters.get('goal_radius_m', 0.3))
        # True lengths: no extra room, no cost for passing close.
        self._shortest_paths = GeodesicMap(margin_m=0.0, comfort_weight=0.0)
        self._layout: Any = None
        self._goals: list[tuple[float, float]] = []  # In the order in which they are due.
        self._gate = ActionGate(contract)
        self.executed: Array | None = None  # The last command of this drive, behind the gate.

    def reset(self, layout: LayoutChoice) -> Observation:
        """Put everything into its start state."""
        goal = None if layout.goal is None else (*layout.goal, 0.0)
        if goal is not None and self.world.task.course:
            raise ConfigError(
                f'layout {layout.seed}: found the goal {layout.goal}, expected none: a course has '
                f'goals of its own. Leave it out.'
            )
        observation = self.world.reset(layout.seed, layout.start, goal)
        self._layout = self.world.layout
        self._goals = [(x, y) for x, y in self.world.task.course]
        self._goals = self._goals or [self._layout.goal[:2]]
        self._gate = ActionGate(self.contract)
        self.executed = None
        return observation

    def step(self, action: Array) -> Arrival:
        """Apply a command [A] in contract units, gated, for one control period."""
        now_ns = self.world.time_ns
        self.executed = self._gate.filter(action, now_ns, now_ns).executed
        result = self.world.step(self._by_field(self.executed))
        return Arrival(
            result.observation,
            result.reward,
            result.terminated,
            result.truncated,
            result.success,
            result.reason,
        )

    def position(self) -> tuple[float, float]:
        """Return the true position of the robot, metres in the map frame."""
        x, y, _yaw = self.world.physics.robot_pose()
        return x, y

    def scene(self) -> MapScene:
        """Return what stands where at the start of this layout."""
        kind = {item.name: item for item in OBJECTS}
        return MapScene(
            half_size=(ARENA_HALF, ARENA_HALF),
            walls=[_corners(wall) for wall in INNER_WALLS],
            objects=[
                {
                    'x': x,
                    'y': y,
                    'radius': KINDS[kind[name].kind].radius,
                    'color': kind[name].rgba[:3],
                }
                for name, (x, y, _yaw) in self._layout.objects.items()
            ],
            start=self._layout.robot,
            goal=self._goals[-1],
            goal_radius_m=self._goal_radius_m,
        )

    def shortest_path(self) -> Array:
        """Return the shortest path [N, 2] on which the robot's circle touches nothing."""
        points = [self._layout.robot[:2]]
        for goal in self._goals:
            field = self._shortest_paths.field((*goal, 0.0), self._layout.circles)
            points += [*field.path(*points[-1])[1:], goal]
        return np.asarray(points, float)

    def _by_field(self, action: Array) -> Mapping[str, Array]:
        commands, begin = {}, 0
        for name, spec in self.contract.learned_actions.items():
            commands[name] = action[begin : begin + spec.size]
            begin += spec.size
        return commands


@dataclass
class StoredPolicy:
    """A model version acting deterministically."""

    contract: RobotContract
    models: Path
    name: str
    version: int
    rules: ModelFileRules | None = None
    world: SimulatedNavigation | None = None  # Says what became of the policy's commands.

    def __post_init__(self) -> None:
        tensors, manifest = ModelStore(self.models, self.rules).load(self.name, self.version)
        self._policy = build_policy(tensors, manifest, f'{self.name}@{self.version}')
        self._features = FeatureBuilder(self.contract)

    def reset(self, seed: int) -> None:
        """Forget the last drive."""
        self._policy.reset()

    def act(self, observation: Observation) -> Array:
        """Return the mode of the policy."""
        if self.world is not None and self.world.executed is not None:
            self._policy.executed(self.world.executed)
        images = {name: observation[name] for name in self._policy.spec.image_shapes()}
        return self._policy.act(self._features.build(observation), images=images).action


class Baseline:
    """A scripted driver of the simulation as a policy; it sees the world's true state."""

    def __init__(self, driver: Driver, world: World):
        self._driver = driver
        self._world = world

    def reset(self, seed: int) -> None:
        """Forget the last drive."""
        self._driver.begin(seed)

    def act(self, observation: Observation) -> Array:
        """Return the driver's command."""
        return self._driver.act(self._world)


def baseline_factory(name: str) -> PolicyFactory:
    """Return what makes one of `BASELINES` in a worker process."""
    return partial(_make_baseline, name)


def world_factory(contract: RobotContract, images: tuple[str, ...] = ()) -> WorldFactory:
    """Return what makes a world in a worker process; see `SimulatedNavigation`."""
    return partial(SimulatedNavigation, contract, images)


def stored_policy_factory(
    contract: RobotContract,
    models: Path,
    name: str,
    version: int,
    rules: ModelFileRules | None = None,
) -> PolicyFactory:
    """Return what loads a model version in a worker process."""
    return partial(_load_policy, contract, models, rules, name, version)


def _load_policy(
    contract: RobotContract,
    models: Path,
    rules: ModelFileRules | None,
    name: str,
    version: int,
    world: NavigationWorld,
) -> NavigationPolicy:
    driven = world if isinstance(world, SimulatedNavigation) else None
    return StoredPolicy(contract, models, name, version, rules, driven)


def _make_baseline(name: str, world: NavigationWorld) -> NavigationPolicy:
    assert isinstance(world, SimulatedNavigation)
    return Baseline(BASELINES[name](world.contract), world.world)


def _corners(wall: Wall) -> Array:
    x, y = wall.half_x, wall.half_y
    return np.asarray(
        [(wall.x + a * x, wall.y + b * y) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    )
