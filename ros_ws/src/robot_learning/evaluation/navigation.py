"""A policy drives through fixed layouts; every drive is judged and kept for maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from robot_learning.evaluation.layouts import LayoutChoice
from robot_learning.evaluation.means import mean_interval
from robot_learning.evaluation.run_record import DrivenPath, MapScene
from robot_learning.evaluation.statistics import cross_track_error, path_efficiency, path_length
from robot_learning.proportions import Interval, wilson_interval

Array = np.ndarray[Any, Any]
Observation = Mapping[str, Array]


class Arrival(NamedTuple):
    """What a world says after a control step."""

    observation: Observation
    reward: float
    terminated: bool
    truncated: bool
    success: bool
    reason: str  # Why the drive ended: 'goal', 'collision', 'time_limit'; '' while it goes on.


class NavigationWorld(Protocol):
    """A world in which a robot drives to a goal."""

    control_period_s: float

    def reset(self, layout: LayoutChoice) -> Observation:
        """Put everything into its start state."""

    def step(self, action: Array) -> Arrival:
        """Apply a command [A] in contract units for one control period."""

    def position(self) -> tuple[float, float]:
        """Return the true position of the robot, metres in the map frame."""

    def scene(self) -> MapScene:
        """Return what stands where at the start of this layout."""

    def shortest_path(self) -> Array:
        """Return the shortest collision-free path [N, 2] from start to goal."""


class NavigationPolicy(Protocol):
    """Whatever answers observations with commands."""

    def reset(self, seed: int) -> None:
        """Forget the last drive; `seed` decides all chance of the next one."""

    def act(self, observation: Observation) -> Array:
        """Return the command [A] in contract units."""


WorldFactory = Callable[[], NavigationWorld]
PolicyFactory = Callable[[NavigationWorld], NavigationPolicy]


@dataclass(frozen=True)
class DriveResult:
    """One drive through one layout."""

    layout: LayoutChoice
    success: bool
    reason: str
    num_steps: int
    episode_return: float
    shortest_m: float
    driven_m: float
    efficiency: float  # 0 to 1.
    cross_track_m: float
    path: Array  # [N, 2] metres, one point per control step.
    shortest: Array  # [M, 2] metres.
    scene: MapScene

    def driven_path(self) -> DrivenPath:
        """Return the path as maps draw it."""
        return DrivenPath(self.path, self.success, self.reason)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; paths are rounded to millimetres."""
        return {
            'seed': self.layout.seed,
            'start': [round(value, 4) for value in self.scene.start],
            'goal': [round(value, 4) for value in self.scene.goal],
            'success': self.success,
            'reason': self.reason,
            'num_steps': self.num_steps,
            'return': round(self.episode_return, 4),
            'shortest_m': round(self.shortest_m, 4),
            'driven_m': round(self.driven_m, 4),
            'path_efficiency': round(self.efficiency, 4),
            'cross_track_error_m': round(self.cross_track_m, 4),
            'path': np.round(self.path, 3).tolist(),
        }


@dataclass(frozen=True)
class NavigationResult:
    """All drives of one policy. Efficiency and cross-track error are over successes."""

    name: str
    drives: list[DriveResult]

    @property
    def num_successes(self) -> int:
        """Drives that reached the goal."""
        return sum(drive.success for drive in self.drives)

    @property
    def success_rate(self) -> float:
        """Share of drives that reached the goal; NaN without drives."""
        return self.num_successes / len(self.drives) if self.drives else float('nan')

    @property
    def interval(self) -> Interval:
        """95 % confidence interval of the success rate."""
        return wilson_interval(self.num_successes, len(self.drives))

    def rate_of(self, reason: str) -> float:
        """Share of drives that ended for `reason`."""
        return float(np.mean([drive.reason == reason for drive in self.drives]))

    def _interval_of(self, reason: str) -> list[float]:
        count = sum(drive.reason == reason for drive in self.drives)
        return list(wilson_interval(count, len(self.drives)))

    @property
    def path_efficiency(self) -> float:
        """Mean over successful drives; NaN without one."""
        return _mean([drive.efficiency for drive in self.drives if drive.success])

    @property
    def cross_track_error_m(self) -> float:
        """Mean over successful drives; NaN without one."""
        return _mean([drive.cross_track_m for drive in self.drives if drive.success])

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the whole as plain data; None where there is none."""
        reached = [drive for drive in self.drives if drive.success]
        returns = [drive.episode_return for drive in self.drives]
        return {
            'policy': self.name,
            'num_layouts': len(self.drives),
            'num_successes': self.num_successes,
            'success_rate': self.success_rate,
            'success_interval_95': list(self.interval),
            'collision_rate': self.rate_of('collision'),
            'collision_interval_95': self._interval_of('collision'),
            'time_out_rate': self.rate_of('time_limit'),
            'time_out_interval_95': self._interval_of('time_limit'),
            'path_efficiency': _number(self.path_efficiency),
            'path_efficiency_interval_95': _interval([d.efficiency for d in reached]),
            'cross_track_error_m': _number(self.cross_track_error_m),
            'cross_track_error_interval_95_m': _interval([d.cross_track_m for d in reached]),
            'mean_return': _number(_mean(returns)),
            'return_interval_95': _interval(returns),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the summary with every drive."""
        return self.summary() | {'drives': [drive.to_dict() for drive in self.drives]}


def drive(world: NavigationWorld, policy: NavigationPolicy, layout: LayoutChoice) -> DriveResult:
    """Let `policy` drive through one layout until it ends."""
    observation = world.reset(layout)
    policy.reset(layout.seed)
    scene, shortest = world.scene(), world.shortest_path()
    path, total, num_steps = [world.position()], 0.0, 0
    while True:
        arrival = world.step(policy.act(observation))
        observation = arrival.observation
        total += arrival.reward
        num_steps += 1
        path.append(world.position())
        if arrival.terminated or arrival.truncated:
            break
    points = np.asarray(path, float)
    remaining = float(np.hypot(*(points[-1] - np.asarray(scene.goal))))
    return DriveResult(
        layout=layout,
        success=arrival.success,
        reason=arrival.reason,
        num_steps=num_steps,
        episode_return=total,
        shortest_m=path_length(shortest),
        driven_m=path_length(points),
        efficiency=path_efficiency(path_length(shortest), remaining, path_length(points)),
        cross_track_m=cross_track_error(points, shortest),
        path=points,
        shortest=shortest,
        scene=scene,
    )


def evaluate_navigation(
    name: str,
    world: NavigationWorld,
    make_policy: PolicyFactory,
    layouts: Sequence[LayoutChoice],
    on_drive: Callable[[DriveResult], None] = lambda result: None,
) -> NavigationResult:
    """Drive through all layouts one after the other in this process."""
    policy = make_policy(world)
    drives = []
    for layout in layouts:
        drives.append(drive(world, policy, layout))
        on_drive(drives[-1])
    return NavigationResult(name, drives)


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float('nan')


def _interval(values: list[float]) -> list[float] | None:
    return list(mean_interval(values)) if len(values) > 1 else None


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
