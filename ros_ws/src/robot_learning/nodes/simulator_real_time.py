"""Simulated time that passes with the wall clock."""

from __future__ import annotations

import time
from collections.abc import Sequence

from robot_learning.nodes.drive_commands import DriveCommand
from robot_learning.nodes.simulator_loops import Log, LoopStatistics, Stage
from robot_learning.nodes.simulator_topics import SimulatorTopics
from robot_learning.simulation.episodes import Episodes
from robot_learning.simulation.schedule import RateSchedule
from robot_learning.simulation.world import World

_MAX_LAG_S = 0.5  # Wall seconds behind which real time is given up and counted from now.
_BUDGET_S = 0.1  # Longest turn, so that commands are heard.


class RealTimeLoop:
    """Lets time pass with the wall clock times `speed`; sensors have rates of their own."""

    def __init__(
        self,
        world: World,
        episodes: Episodes,
        topics: SimulatorTopics,
        schedule: RateSchedule,
        command_timeout_s: float,
        speed: float,
        log: Log,
    ):
        self._stage = Stage(world, episodes, topics, log)
        self._world, self._episodes, self._topics = world, episodes, topics
        self._schedule = schedule
        self._timeout_s = command_timeout_s
        self._timeout_ns = round(command_timeout_s * speed * 1e9)  # Of the world.
        self._speed = speed
        self._timestep_ns = round(world.physics.timestep_s * 1e9)
        self._is_paused = False
        self._commanded_s, self._commanded_ns = 0.0, 0
        self._is_stopped = True

    def start(self) -> None:
        """Begin the first episode."""
        self._stage.begin()
        self._publish_first()
        self._anchor()

    def on_command(self, command: DriveCommand) -> None:
        """Obey the newest command."""
        self._commanded_s, self._commanded_ns = time.monotonic(), self._world.time_ns
        self._is_stopped = False
        self._stage.apply(command)

    def on_tick(self) -> None:
        """Catch up with the wall clock; stop the wheels when commands stay away.

        A turn takes the world at most half of the command timeout on: where it has fallen
        behind, commands are heard in between.
        """
        now_s = time.monotonic()
        if not self._is_stopped and now_s - self._commanded_s > self._timeout_s:
            self._stop()
        if self._is_paused:
            return
        target_ns = self._anchor_ns + round((now_s - self._anchor_s) * self._speed * 1e9)
        turn_ns = min(target_ns, self._world.time_ns + self._timeout_ns // 2)
        while self._schedule.next_ns() <= turn_ns:
            self._live_until(self._schedule.next_ns())
            if time.monotonic() - now_s > _BUDGET_S:
                break
        behind_s = (target_ns - self._world.time_ns) * 1e-9 / self._speed
        if behind_s > _MAX_LAG_S:
            self._stage.num_late += 1
            self._stage.log(
                f'real time: {behind_s:.1f} s behind at speed {self._speed:g}. Lower the speed, '
                f'switch the camera off or free the processor.'
            )
            self._anchor()

    def reset(
        self,
        seed: int | None,
        robot_pose: Sequence[float] | None,
        goal_pose: Sequence[float] | None,
    ) -> None:
        """Cut the episode off and begin another."""
        self._stage.restart(seed, robot_pose, goal_pose)
        self._publish_first()

    def pause(self, is_paused: bool) -> None:
        """Hold time or let it go on from now."""
        self._is_paused = is_paused
        self._anchor()

    def step(self) -> None:
        """Live until the next control step."""
        num_steps = self._stage.num_steps
        while self._stage.num_steps == num_steps:
            self._live_until(self._schedule.next_ns())

    def statistics(self) -> LoopStatistics:
        """Sum up for /diagnostics."""
        return self._stage.statistics()

    def _live_until(self, moment_ns: int) -> None:
        due_ns = self._commanded_ns + self._timeout_ns
        if not self._is_stopped and due_ns < moment_ns:
            self._advance_to(due_ns)
            self._stop()
        self._advance_to(moment_ns)
        now_ns = self._world.time_ns
        self._topics.publish_clock(now_ns)
        self._topics.publish_sensors(now_ns, self._schedule.take_due(now_ns))
        if self._schedule.take_control(now_ns):
            self._topics.publish_arrival(self._episodes.arrive())
            self._stage.count_step()
            if self._episodes.is_over:
                self._stage.end()
                self._stage.begin()
                self._publish_first()

    def _advance_to(self, moment_ns: int) -> None:
        missing = moment_ns - self._world.time_ns
        if missing > 0:
            num_steps = -(-missing // self._timestep_ns)
            self._world.advance(num_steps * self._timestep_ns)

    def _stop(self) -> None:
        self._is_stopped = True
        self._stage.num_timeouts += 1
        self._stage.stop()

    def _publish_first(self) -> None:
        now_ns = self._world.time_ns
        self._schedule.reset(now_ns)
        self._topics.publish_sensors(now_ns, self._schedule.take_due(now_ns))
        self._topics.publish_arrival(self._episodes.arrival)
        self._stage.count_step()

    def _anchor(self) -> None:
        self._anchor_ns, self._anchor_s = self._world.time_ns, time.monotonic()
