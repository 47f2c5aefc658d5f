"""Runs episodes in a Gazebo world: resets it, judges the robot, and speaks as the embedded one.

The node is called `simulator` and has the same topics and services, so that nobody can tell the
two apart.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import field
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, PositiveFloat
from pydantic.dataclasses import dataclass
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from robot_learning import contract as contracts
from robot_learning.config import STRICT, Names
from robot_learning.errors import RobotLearningError, SimulationError, WorldControlError
from robot_learning.nodes.clock_wait import wait_for_moment
from robot_learning.nodes.diagnostics import ERROR, OK, WARN, Diagnostics, Health
from robot_learning.nodes.drive_commands import CommandType, DriveCommand, DriveCommands
from robot_learning.nodes.gazebo_control import (
    ControlKind,
    ServerCount,
    WorldServices,
    world_services,
)
from robot_learning.nodes.gazebo_senses import GazeboSenses
from robot_learning.nodes.gazebo_services import GazeboServices, StartWish
from robot_learning.nodes.gazebo_topics import GazeboTopics
from robot_learning.nodes.parameters import declare_config
from robot_learning.nodes.run import run_node
from robot_learning.simulation.episodes import Arrival, EpisodeEdge, Episodes
from robot_learning.simulation.gazebo_release import WORLD_NAME, release_of
from robot_learning.simulation.geometry import OBJECTS
from robot_learning.simulation.layout import LayoutConfig
from robot_learning.simulation.observed_world import ObservedWorld
from robot_learning.simulation.world_reset import Placement, ResetConfig, ResetReport, WorldReset

T = TypeVar('T')
State = Literal['resetting', 'running', 'ended', 'failed']

_TICK_S = 0.02
_LOOK_AROUND_S = 0.25
_RETRY_S = 5.0  # Wall time until a reset that failed is tried again.
_REPEAT_S = 0.5  # Unanswered steps are sent again this often.
_THROTTLE_S = 5.0
_OBJECTS = tuple(item.name for item in OBJECTS)


@dataclass(frozen=True, config=STRICT)
class GazeboConfig:
    """Which world, how it is told, and when a step is due."""

    robot: str = 'arena'  # Name in config/robots or path of a contract.
    world: str = WORLD_NAME  # Name of the world in Gazebo.
    # real_time: time passes by itself; lock_step: the world waits for every command.
    mode: Literal['lock_step', 'real_time'] = 'real_time'
    seed: Annotated[int, Field(ge=0)] = 0  # Layouts follow from it, as in the embedded world.
    release: Literal['harmonic', 'fortress'] = 'harmonic'  # Whose names and tool; later: harmonic.
    control: ControlKind = 'auto'  # How the world is told; auto: the first that is installed.
    service_timeout_s: PositiveFloat = 3.0  # Wall time for a service of Gazebo.
    command_timeout_s: PositiveFloat = 0.3  # Wall time without a command that stops the wheels.
    command_type: CommandType = 'auto'  # auto: what the publishers of cmd_vel have.
    watched: Names = ('scan', 'imu')  # Sensors that must speak after a reset; odom besides.
    reset: ResetConfig = field(default_factory=ResetConfig)
    layout: LayoutConfig = field(default_factory=LayoutConfig)


class StoppableWorld:
    """The world's services, and the drive that is told to stand."""

    def __init__(self, services: WorldServices, drive: Callable[[float, float], None]):
        self.hold, self.step, self.place = services.hold, services.step, services.place
        self._drive = drive

    def stop_robot(self) -> None:
        """Command zero velocity."""
        self._drive(0.0, 0.0)


class GazeboNode(Node):
    """All callbacks run on the control thread; what waits for Gazebo runs on a worker's."""

    def __init__(self, **node_options: Any):
        super().__init__('simulator', **node_options)
        self._config = config = declare_config(self, GazeboConfig)
        contract = contracts.load(config.robot)
        release = release_of(config.release)
        self._is_lock_step = config.mode == 'lock_step'
        self._period_ns = contract.control_period_ns
        self._world = ObservedWorld(contract, config.layout)
        self._episodes = Episodes(self._world, config.seed)
        self._state: State = 'resetting'
        self._failure = ''  # Why the newest reset failed.
        self._edge: EpisodeEdge | None = None  # Of an episode that is not announced yet.
        self._wish = StartWish()
        self._is_held = self._is_stepping = False
        self._arrived_ns = self._next_ns = 0
        self._commanded_s = self._sent_s = self._failed_s = time.monotonic()
        self._is_stopped = True
        self._topics = GazeboTopics(self, contract, config.seed)
        types = {spec.topic: spec.type for spec in contract.observation.values()}
        watched = {topic: types[topic] for topic in config.watched if topic in types}
        self._senses = GazeboSenses(
            self,
            watched,
            ServerCount(release, config.world),
            self._on_robot,
            self._topics.publish_odometry,
        )
        self._control = StoppableWorld(
            world_services(config.control, self, release, config.world, config.service_timeout_s),
            self._topics.drive,
        )
        self._reset = WorldReset(self._control, self._senses, config.reset)
        self._worker = ThreadPoolExecutor(1, 'world')
        self._drive = DriveCommands(self, 'cmd_vel', config.command_type, self._on_command)
        self._requests = GazeboServices(self, self)
        diagnostics = Diagnostics(self, hardware_id=contract.robot)
        diagnostics.add('world', self._world_health)
        diagnostics.add('commands', self._command_health)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # Simulated time may be held.
        self.create_timer(_TICK_S, self._on_tick, clock=steady)
        self.create_timer(_LOOK_AROUND_S, self._look_around, clock=steady)
        self._requests.start()
        self._begin(self._wish)

    def close(self) -> None:
        """Stop the robot, end the episode and wait for nothing any more."""
        self._requests.stop()
        self._topics.drive(0.0, 0.0)
        if self._state == 'running':
            self._topics.publish_edge(self._episodes.end('shutdown'), is_begin=False)
        self._reset.give_up()
        self._worker.shutdown(wait=False, cancel_futures=True)

    # --- called from the services' thread ----------------------------------------------------

    def request_start(self, wish: StartWish) -> None:
        """Cut the episode off and begin another; `wish.told` learns how that went."""
        self._on_control_thread(lambda: self._begin(wish))

    def request_hold(self, is_held: bool, told: Future[int]) -> None:
        """Hold time or let it go on."""

        def held() -> None:
            self._is_held = is_held

        self._ask_world(lambda: self._control.hold(is_held), held, told)

    def request_step(self, told: Future[int]) -> None:
        """Live one control period while time is held."""
        num_steps = round(self._period_ns * 1e-9 / self._config.reset.timestep_s)
        self._ask_world(lambda: self._reset.live(num_steps), lambda: None, told)

    def _ask_world(
        self, ask: Callable[[], None], then: Callable[[], None], told: Future[int]
    ) -> None:
        def on_done(work: Future[None]) -> None:
            error = work.exception()
            if error is None:
                then()
                told.set_result(self._episodes.number)
            else:
                told.set_exception(error)

        self._work(ask, on_done)

    # --- episodes ----------------------------------------------------------------------------

    def _begin(self, wish: StartWish) -> None:
        """Decide on a layout and have the world brought there."""
        if self._state == 'resetting' and self._edge is not None:
            _tell(wish, SimulationError('reset: another one is under way. Ask again after it.'))
            return
        end = self._episodes.end('operator') if self._state == 'running' else None
        try:
            self._edge = self._episodes.begin(wish.seed, wish.robot_pose, wish.goal_pose)
        except SimulationError as error:
            _tell(wish, error)
            return
        if end is not None:
            self._topics.publish_edge(end, is_begin=False)
        self._wish = wish
        self._bring_about()

    def _bring_about(self) -> None:
        self._state = 'resetting'
        placements = self._world.placements()
        self._work(lambda: self._reset_world(placements), self._on_reset)

    def _reset_world(self, placements: Mapping[str, Placement]) -> ResetReport:
        """Reset on the worker's thread; in lock-step, time then stands at a whole step."""
        report = self._reset.reset(placements, runs_after=not self._is_lock_step)
        if self._is_lock_step:
            self._live_until((self._clock_ns() // self._period_ns + 1) * self._period_ns)
        return report

    def _on_reset(self, work: Future[ResetReport]) -> None:
        try:
            report = work.result()
        except WorldControlError as error:
            self._fail(str(error))
            _tell(self._wish, error)
            return
        for fault in report.faults:
            self.get_logger().warning(f'reset: tried again because {fault}')
        assert self._edge is not None, 'set before the reset began'
        stamp_ns, pose = self._senses.robot()
        if self._is_lock_step:
            stamp_ns = self._clock_ns()
        self._world.see(stamp_ns, pose, self._senses.objects(_OBJECTS))
        self._world.touched.clear()
        self._topics.begin()
        self._topics.publish_edge(self._edge._replace(stamp_ns=stamp_ns), is_begin=True)
        self._edge, self._failure, self._state = None, '', 'running'
        self._is_held = False
        self._next_ns = stamp_ns + self._period_ns
        self._publish(self._episodes.arrival._replace(stamp_ns=stamp_ns), 0.0)
        _tell(self._wish, self._episodes.number)

    def _fail(self, text: str) -> None:
        self._state, self._failure, self._failed_s = 'failed', text, time.monotonic()
        self.get_logger().error(f'{text} Trying again in {_RETRY_S:g} s.')

    def _on_robot(self) -> None:
        """Look at every true pose; in real time, a step is over with the first one after it."""
        stamp_ns, pose = self._senses.robot()
        self._topics.publish_truth(stamp_ns, pose)
        if self._state != 'running':
            return
        self._world.see(stamp_ns, pose, self._senses.objects(_OBJECTS))
        if not self._is_lock_step and stamp_ns >= self._next_ns:
            self._next_ns += self._period_ns * (1 + (stamp_ns - self._next_ns) // self._period_ns)
            self._arrive(stamp_ns)
            if self._episodes.is_over:
                self._end()

    def _arrive(self, stamp_ns: int) -> None:
        elapsed_s = (stamp_ns - self._arrived_ns) * 1e-9
        self._world.time_ns = stamp_ns
        self._publish(self._episodes.arrive(), elapsed_s)

    def _publish(self, arrival: Arrival, elapsed_s: float) -> None:
        self._arrived_ns, self._sent_s = arrival.stamp_ns, time.monotonic()
        self._topics.publish_arrival(arrival, self._world.robot, self._world.task.goal, elapsed_s)

    def _end(self) -> None:
        self._topics.publish_edge(self._episodes.end(), is_begin=False)
        self._state = 'ended'
        self._begin(StartWish())

    # --- commands ----------------------------------------------------------------------------

    def _on_command(self, command: DriveCommand) -> None:
        """Send a command on, unless the world is being reset; in lock-step, live a step too."""
        self._commanded_s, self._is_stopped = time.monotonic(), False
        if self._state != 'running' or self._is_held:
            return
        if not (math.isfinite(command.linear) and math.isfinite(command.angular)):
            self._topics.drive(0.0, 0.0)
            self.get_logger().warning(
                'cmd_vel refused, wheels stopped: not finite', throttle_duration_sec=_THROTTLE_S
            )
        elif not self._is_lock_step:
            self._topics.drive(command.linear, command.angular)
        elif not self._is_stepping and command.stamp_ns in (None, self._arrived_ns):
            self._answer(command)

    def _answer(self, command: DriveCommand) -> None:
        if self._episodes.is_over:
            self._end()
            return
        self._topics.drive(command.linear, command.angular)
        self._is_stepping = True
        target_ns = self._arrived_ns + self._period_ns
        self._work(lambda: self._live_until(target_ns), self._on_lived)

    def _live_until(self, target_ns: int) -> int:
        """Live to a moment on the worker's thread and return it."""
        missing_s = (target_ns - self._clock_ns()) * 1e-9
        self._control.step(max(round(missing_s / self._config.reset.timestep_s), 1))
        timeout_s = self._config.service_timeout_s + missing_s
        if not wait_for_moment(self.get_clock(), target_ns, timeout_s):
            raise WorldControlError(
                f'lock-step: time stands at {self._clock_ns() * 1e-9:.3f} s and should be '
                f'{target_ns * 1e-9:.3f} s. See that the bridge brings the clock.'
            )
        return target_ns

    def _on_lived(self, work: Future[int]) -> None:
        self._is_stepping = False
        try:
            target_ns = work.result()
        except WorldControlError as error:
            self._topics.publish_edge(self._episodes.end('fault'), is_begin=False)
            self._state = 'ended'
            self._begin(StartWish())
            self._failure = str(error)
            self.get_logger().error(self._failure)
            return
        if self._state == 'running':
            self._arrive(target_ns)

    def _on_tick(self) -> None:
        """Stop a robot that nobody commands, repeat what nobody answered, try again."""
        now_s = time.monotonic()
        if self._state == 'failed' and now_s - self._failed_s > _RETRY_S:
            self._bring_about()
        if self._state != 'running':
            return
        silent_s = now_s - self._commanded_s
        if not self._is_stopped and silent_s > self._config.command_timeout_s:
            self._is_stopped = True
            self._topics.drive(0.0, 0.0)
        is_waiting = self._is_lock_step and not self._is_stepping
        if is_waiting and self._drive.num_publishers and now_s - self._sent_s > _REPEAT_S:
            self._sent_s = now_s
            self._topics.repeat()

    def _look_around(self) -> None:
        self._drive.look_around()
        if self._drive.problem:
            self.get_logger().error(self._drive.problem, throttle_duration_sec=_THROTTLE_S)

    # --- threads -----------------------------------------------------------------------------

    def _work(self, work: Callable[[], T], on_done: Callable[[Future[T]], None]) -> None:
        """Have the worker do something that waits, and then go on here."""
        self._worker.submit(work).add_done_callback(
            lambda done: self._on_control_thread(partial(on_done, done))
        )

    def _on_control_thread(self, work: Callable[[], None]) -> None:
        executor = self.executor
        if executor is not None:  # Else nobody turns any more, and nothing has to go on.
            executor.create_task(work)

    def _clock_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    # --- diagnostics -------------------------------------------------------------------------

    def _world_health(self) -> Health:
        values = {
            'mode': self._config.mode,
            'episode': self._episodes.number,
            'success_rate': self._episodes.success_rate,
            'resets': self._reset.num_resets,
            'faults': self._reset.num_faults,
            'held': self._is_held,
        }
        if self._state == 'failed':
            return Health(ERROR, self._failure, values)
        if self._is_held:
            return Health(WARN, 'time is held. Go on with ~/pause and false', values)
        return Health(OK, self._state, values)

    def _command_health(self) -> Health:
        values = {'type': self._drive.kind, 'publishers': self._drive.num_publishers}
        if self._drive.problem:
            return Health(WARN, self._drive.problem, values)
        if not self._drive.num_publishers:
            text = 'nobody publishes cmd_vel, the robot stands. Start the policy node'
            return Health(WARN, text, values)
        return Health(OK, f'taking {self._drive.kind}', values)


def _tell(wish: StartWish, answer: int | RobotLearningError) -> None:
    """Tell who wished for the episode, once."""
    if wish.told is None or wish.told.done():
        return
    if isinstance(answer, int):
        wish.told.set_result(answer)
    else:
        wish.told.set_exception(answer)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to end."""
    return run_node(GazeboNode, args)


if __name__ == '__main__':
    sys.exit(main())
