"""How simulated time passes with the commands; `simulator_real_time` is the other way."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from robot_learning.errors import SimulationError
from robot_learning.nodes.audience import Audience
from robot_learning.nodes.drive_commands import DriveCommand
from robot_learning.nodes.simulator_topics import SimulatorTopics
from robot_learning.simulation.episodes import EpisodeEdge, Episodes
from robot_learning.simulation.schedule import StepSchedule
from robot_learning.simulation.world import World

_REPEAT_S = 0.5  # Unanswered observations are sent again this often.
_RECENT = 1000  # Round trips kept for the statistics.


Log = Callable[[str], None]  # Takes a warning; throttles it.


class LoopStatistics(NamedTuple):
    """What a loop tells on /diagnostics."""

    num_steps: int
    steps_per_second: float  # Over the last 1000 control steps.
    response_p50_ms: float  # From outcome to command, wall time; NaN when unknown.
    response_p99_ms: float
    num_timeouts: int  # Times the wheels were stopped for want of a command.
    num_unexpected: int  # Commands with another stamp than the one waited for.
    num_refused: int  # Commands that were not usable, such as NaN.
    num_late: int  # Times real time was not kept.


class Loop(Protocol):
    """How time passes."""

    def start(self) -> None:
        """Begin the first episode."""

    def on_command(self, command: DriveCommand) -> None:
        """Take a velocity command."""

    def on_tick(self) -> None:
        """Do what the wall clock demands; called every `tick_s`."""

    def reset(
        self,
        seed: int | None,
        robot_pose: Sequence[float] | None,
        goal_pose: Sequence[float] | None,
    ) -> None:
        """Cut the episode off and begin another."""

    def pause(self, is_paused: bool) -> None:
        """Hold time or let it go on."""

    def step(self) -> None:
        """Live one control period while paused."""


class Stage:
    """World, episodes and topics together, and the numbers that both loops keep."""

    def __init__(self, world: World, episodes: Episodes, topics: SimulatorTopics, log: Log):
        self.world, self.episodes, self.topics, self.log = world, episodes, topics, log
        self.num_timeouts = self.num_unexpected = self.num_refused = self.num_late = 0
        self.num_steps = 0
        self._drive = next(
            (name for name, spec in world.contract.actions.items() if spec.topic == 'cmd_vel'),
            'base',
        )
        self._step_moments: deque[float] = deque(maxlen=_RECENT)
        self.responses_s: deque[float] = deque(maxlen=_RECENT)

    def begin(
        self,
        seed: int | None = None,
        robot_pose: Sequence[float] | None = None,
        goal_pose: Sequence[float] | None = None,
    ) -> None:
        """Begin an episode; the one before, if any, has been ended."""
        self._announce(self.episodes.begin(seed, robot_pose, goal_pose))

    def end(self, reason: str = 'operator') -> None:
        """Announce the end of the episode."""
        self.topics.publish_edge(self.episodes.end(reason), is_begin=False)

    def restart(
        self,
        seed: int | None,
        robot_pose: Sequence[float] | None,
        goal_pose: Sequence[float] | None,
    ) -> None:
        """End the episode for the operator and begin another, if the poses are free."""
        edge = self.episodes.end('operator')
        begun = self.episodes.begin(seed, robot_pose, goal_pose)  # Raises before anything is sent.
        self.topics.publish_edge(edge, is_begin=False)
        self._announce(begun)

    def apply(self, command: DriveCommand) -> None:
        """Hand a command to the motors; one that is not usable stops them."""
        try:
            self.world.apply({self._drive: np.array([command.linear, command.angular])})
        except SimulationError as error:
            self.num_refused += 1
            self.stop()
            self.log(f'cmd_vel refused, wheels stopped: {error}')
        else:
            self.topics.publish_drive(self.world.time_ns, command.linear, command.angular)

    def stop(self) -> None:
        """Command the wheels to zero at once."""
        self.world.stop()
        self.topics.publish_drive(self.world.time_ns, 0.0, 0.0)

    def _announce(self, begun: EpisodeEdge) -> None:
        """Publish that an episode begins, with the wheels at rest."""
        self.topics.publish_clock(begun.stamp_ns)
        self.topics.publish_drive(begun.stamp_ns, 0.0, 0.0)
        self.topics.publish_edge(begun, is_begin=True)

    def count_step(self) -> None:
        """Note that a control step was published."""
        self.num_steps += 1
        self._step_moments.append(time.monotonic())

    def statistics(self) -> LoopStatistics:
        """Sum up."""
        moments = self._step_moments
        elapsed = moments[-1] - moments[0] if len(moments) > 1 else 0.0
        p50 = p99 = float('nan')
        if self.responses_s:
            p50, p99 = np.percentile(np.asarray(self.responses_s) * 1e3, [50, 99]).tolist()
        return LoopStatistics(
            self.num_steps,
            (len(moments) - 1) / elapsed if elapsed > 0 else 0.0,
            p50,
            p99,
            self.num_timeouts,
            self.num_unexpected,
            self.num_refused,
            self.num_late,
        )


class LockStepLoop:
    """Publishes an observation, waits for the command with its stamp, lives one period.

    While it waits, simulated time stands still. A Twist, which has no stamp, answers the
    newest observation. The first command waits until the audience is settled. With `is_paced` a
    command is carried out at the next `on_pace`, which keeps a fast world from starving those
    who learn from it.
    """

    def __init__(
        self,
        world: World,
        episodes: Episodes,
        topics: SimulatorTopics,
        schedule: StepSchedule,
        command_timeout_s: float,
        num_drivers: Callable[[], int],
        audience: Audience,
        log: Log,
        is_paced: bool = False,
    ):
        self._stage = Stage(world, episodes, topics, log)
        self._world, self._episodes, self._topics = world, episodes, topics
        self._schedule = schedule
        self._timeout_s = command_timeout_s
        self._is_paced = is_paced
        self._may_advance = True  # Since the last `on_pace` nothing was carried out.
        self._early: DriveCommand | None = None  # Waits for the next `on_pace`.
        self._num_drivers = num_drivers
        self._num_known_drivers = 0
        self._audience: Audience | None = audience  # None: it was settled once.
        self._first: DriveCommand | None = None  # Waits for the audience.
        self._is_paused = False
        self._held: DriveCommand | None = None
        self._published_s = self._sent_s = 0.0
        self._is_stopped = False

    def start(self) -> None:
        """Begin the first episode."""
        self._stage.begin()
        self._publish()

    def on_command(self, command: DriveCommand) -> None:
        """Take the answer to the newest observation; others are counted and dropped."""
        if command.stamp_ns is not None and command.stamp_ns != self._world.time_ns:
            self._stage.num_unexpected += 1
            return
        if self._audience is not None:
            self._first = command
            return
        if self._is_paused:
            self._held = command
            return
        if self._early is not None:
            return  # The same answer once more.
        self._stage.responses_s.append(time.monotonic() - self._published_s)
        if self._is_paced and not self._may_advance:
            self._early = command
            return
        self._may_advance = False
        self._advance(command)

    def on_pace(self) -> None:
        """Carry out the command that came early, or allow the next one at once."""
        early, self._early = self._early, None
        self._may_advance = early is None
        if early is not None and self._is_paused:
            self._held = early
        elif early is not None:
            self._advance(early)

    def on_tick(self) -> None:
        """While no command comes: stop the wheels, send again, say what is waited for."""
        now_s = time.monotonic()
        self._look_for_audience(now_s)
        silent_s = now_s - self._published_s
        if silent_s > self._timeout_s and not self._is_stopped:
            self._is_stopped = True
            self._stage.num_timeouts += self._audience is None
            self._stage.stop()
        if self._is_paused:
            return
        num_drivers = self._num_drivers()
        is_new = num_drivers > self._num_known_drivers
        self._num_known_drivers = num_drivers
        if is_new or (num_drivers and now_s - self._sent_s > _REPEAT_S):
            self._sent_s = now_s
            self._topics.repeat()
        if silent_s > 5.0:
            stamp = self._world.time_ns * 1e-9
            self._stage.log(
                f'lock-step: waiting {silent_s:.0f} s for a command on cmd_vel with stamp '
                f'{stamp:.3f} s; {num_drivers} publishers there. Start or check the policy node.'
            )

    def reset(
        self,
        seed: int | None,
        robot_pose: Sequence[float] | None,
        goal_pose: Sequence[float] | None,
    ) -> None:
        """Cut the episode off and begin another; a command on its way will be dropped."""
        self._early = None
        self._stage.restart(seed, robot_pose, goal_pose)
        self._publish()

    def pause(self, is_paused: bool) -> None:
        """Hold the newest command, or carry out the one held."""
        self._is_paused = is_paused
        if not is_paused and self._held is not None:
            self._advance(self._held)

    def step(self) -> None:
        """Live one control period with the command held, else with the wheels stopped."""
        self._advance(self._held or DriveCommand(None, 0.0, 0.0))

    def statistics(self) -> LoopStatistics:
        """Sum up for /diagnostics."""
        return self._stage.statistics()

    def _look_for_audience(self, now_s: float) -> None:
        if self._audience is None or not self._audience.is_settled(now_s):
            return
        first, self._first = self._first, None
        if first is not None:
            self._audience = None
            self.on_command(first)

    def _advance(self, command: DriveCommand) -> None:
        self._held = None
        if self._episodes.is_over:
            self._stage.end()
            self._stage.begin()
        else:
            self._stage.apply(command)
            self._world.advance(self._world.contract.control_period_ns)
            self._episodes.arrive()
            self._topics.publish_clock(self._world.time_ns)
        self._publish()

    def _publish(self) -> None:
        arrival = self._episodes.arrival
        self._topics.publish_sensors(arrival.stamp_ns, self._schedule.due(arrival.step))
        self._topics.publish_arrival(arrival)
        self._stage.count_step()
        self._published_s = self._sent_s = time.monotonic()
        self._is_stopped = False
