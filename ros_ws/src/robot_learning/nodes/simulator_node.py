"""The embedded world as a ROS 2 node that speaks TurtleBot3's topics."""

from __future__ import annotations

from dataclasses import field, replace
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from robot_learning_interfaces.srv import ResetWorld
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from robot_learning import contract
from robot_learning.config import STRICT, Names
from robot_learning.errors import SimulationError
from robot_learning.nodes.audience import Audience
from robot_learning.nodes.diagnostics import OK, WARN, Diagnostics, Health, RecentGrowth
from robot_learning.nodes.drive_commands import CommandType, DriveCommands
from robot_learning.nodes.parameters import declare_config
from robot_learning.nodes.qos import COMMAND_QOS
from robot_learning.nodes.run import run_node
from robot_learning.nodes.simulator_loops import LockStepLoop
from robot_learning.nodes.simulator_real_time import RealTimeLoop
from robot_learning.nodes.simulator_topics import SimulatorTopics
from robot_learning.simulation.episodes import Episodes
from robot_learning.simulation.schedule import RateSchedule, StepSchedule
from robot_learning.simulation.world import World, WorldConfig

_LOOK_AROUND_S = 0.25
_THROTTLE_S = 5.0


@dataclass(frozen=True, config=STRICT)
class EveryNSteps:
    """Lock-step: sensors are published every n-th control step, from each episode's first."""

    scan: PositiveInt = 1
    odom: PositiveInt = 1
    imu: PositiveInt = 1
    joint_states: PositiveInt = 1
    amcl_pose: PositiveInt = 1
    camera: PositiveInt = 1  # A picture costs about 0.6 ms.
    ground_truth: PositiveInt = 1


@dataclass(frozen=True, config=STRICT)
class SimulatorConfig:
    """How the embedded world runs and what it publishes."""

    robot: str = 'arena'  # Name in config/robots or path of a contract.
    mode: Literal['lock_step', 'real_time'] = 'lock_step'  # Time passes with commands or clock.
    speed: PositiveFloat = 1.0  # Simulated seconds per wall second; real_time only.
    # lock_step: simulated seconds per wall second at most; 0: as fast as commands come.
    max_speed: NonNegativeFloat = 0.0
    # lock_step: the first command waits until nobody new has listened for so long, wall time.
    settle_s: NonNegativeFloat = 1.0
    seed: Annotated[int, Field(ge=0)] = 0  # Layouts, physics and noise follow from it.
    command_timeout_s: PositiveFloat = 0.1  # Time without a command that stops the wheels.
    command_type: CommandType = 'auto'  # auto: what the publishers of cmd_vel have.
    tick_s: Annotated[float, Field(ge=0.001, le=0.1)] = 0.01  # Wall period of looking after time.
    every_n_steps: EveryNSteps = field(default_factory=EveryNSteps)
    images: Names = ()  # lock_step: picture fields that come with every step all the same.
    world: WorldConfig = field(default_factory=WorldConfig)


class SimulatorNode(Node):
    """Publishes what the robot in the embedded world senses, and obeys cmd_vel."""

    def __init__(self, **node_options: Any):
        super().__init__('simulator', **node_options)
        config = declare_config(self, SimulatorConfig)
        self._mode = config.mode
        self._world = _make_world(config)
        self._episodes = Episodes(self._world, config.seed)
        self._topics = SimulatorTopics(self, self._world)
        self._is_paused = False
        self._loop = self._make_loop(config)
        self._drive = DriveCommands(self, 'cmd_vel', config.command_type, self._loop.on_command)
        self._subscribe_to_skills()
        self._offer_services()
        self._growth = RecentGrowth()
        self._diagnostics = Diagnostics(self, hardware_id=self._world.contract.robot)
        self._diagnostics.add('world', self._world_health)
        self._diagnostics.add('commands', self._command_health)
        self._announce()
        self._loop.start()
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # A ROS-time timer would wait for us.
        self.create_timer(config.tick_s, self._loop.on_tick, clock=steady)
        self.create_timer(_LOOK_AROUND_S, self._look_around, clock=steady)
        if isinstance(self._loop, LockStepLoop) and config.max_speed > 0:
            steps_per_second = config.max_speed * self._world.contract.control_rate_hz
            self.create_timer(1 / steps_per_second, self._loop.on_pace, clock=steady)

    def close(self) -> None:
        """End the episode, let the last messages arrive and free the renderer."""
        self._topics.publish_edge(self._episodes.end('shutdown'), is_begin=False)
        self._topics.wait_until_received()
        self._world.close()

    def _make_loop(self, config: SimulatorConfig) -> LockStepLoop | RealTimeLoop:
        world, timeout_s = self._world, config.command_timeout_s
        if config.mode == 'lock_step':
            every = {
                _TOPIC_OF.get(name, name): count
                for name, count in vars(config.every_n_steps).items()
                if isinstance(count, int)
            }
            fields = world.contract.observation
            every |= {fields[name].topic: 1 for name in config.images if name in fields}
            return LockStepLoop(
                world,
                self._episodes,
                self._topics,
                StepSchedule(every),
                timeout_s,
                lambda: self._drive.num_publishers,
                Audience(lambda: self._topics.num_listeners, config.settle_s),
                self._warn,
                is_paced=config.max_speed > 0,
            )
        rates = RateSchedule(world.contract, world.physics.timestep_s)
        return RealTimeLoop(
            world, self._episodes, self._topics, rates, timeout_s, config.speed, self._warn
        )

    def _subscribe_to_skills(self) -> None:
        for name, action in self._world.contract.actions.items():
            if action.type == 'std_msgs/msg/Float64MultiArray':
                self.create_subscription(
                    Float64MultiArray, action.topic, partial(self._on_skill, name), COMMAND_QOS
                )

    def _offer_services(self) -> None:
        self.create_service(ResetWorld, '~/reset', self._on_reset)
        self.create_service(Trigger, '~/reset_world', self._on_reset_world)
        self.create_service(SetBool, '~/pause', self._on_pause)
        self.create_service(Trigger, '~/step', self._on_step)

    def _announce(self) -> None:
        log = self.get_logger()
        log.info(f'{self._world.contract.robot} in mode {self._mode}; {self._world.camera_status}')
        if not self._topics.has_transforms:
            log.warning('tf: off, tf2_msgs is not installed. Build or install it to get /tf.')

    def _on_skill(self, name: str, message: Float64MultiArray) -> None:
        try:
            self._world.apply({name: np.asarray(message.data)})
        except SimulationError as error:
            self._warn(str(error))

    def _on_reset(
        self, request: ResetWorld.Request, response: ResetWorld.Response
    ) -> ResetWorld.Response:
        seed = None if request.seed == -1 else request.seed
        robot = list(request.robot_pose) or None
        goal = list(request.goal_pose) or None
        try:
            self._loop.reset(seed, robot, goal)
        except SimulationError as error:
            response.success, response.message = False, str(error)
        else:
            response.success = True
        response.episode = self._episodes.number
        return response

    def _on_reset_world(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        self._loop.reset(None, None, None)
        response.success = True
        response.message = f'episode {self._episodes.number}, seed {self._world.seed}'
        return response

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._is_paused = request.data
        self._loop.pause(request.data)
        response.success = True
        response.message = f'{"holding" if request.data else "running"} at {self._time_text()}'
        return response

    def _on_step(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if not self._is_paused:
            response.message = 'step: the world is running. Call ~/pause with true first.'
            return response
        self._loop.step()
        response.success, response.message = True, f'now at {self._time_text()}'
        return response

    def _look_around(self) -> None:
        self._drive.look_around()
        if self._drive.problem:
            self.get_logger().error(self._drive.problem, throttle_duration_sec=_THROTTLE_S)

    def _warn(self, text: str) -> None:
        self.get_logger().warning(text, throttle_duration_sec=_THROTTLE_S)

    def _time_text(self) -> str:
        return f'{self._world.time_ns * 1e-9:.3f} s'

    def _world_health(self) -> Health:
        numbers = self._loop.statistics()
        values = {
            'mode': self._mode,
            'paused': self._is_paused,
            'simulated_s': self._world.time_ns * 1e-9,
            'episode': self._episodes.number,
            'success_rate': self._episodes.success_rate,
            'steps': numbers.num_steps,
            'steps_per_second': numbers.steps_per_second,
            'late': numbers.num_late,
            'camera': self._world.camera_status,
        }
        late = self._growth.per_second('late', numbers.num_late)
        if late:
            text = f'real time is lost {late:.2g} times/s. Lower speed, or give it more processor'
            return Health(WARN, text, values)
        if self._is_paused:
            name = self.get_fully_qualified_name()
            text = (
                f'the world is paused. Go on with: ros2 service call {name}/pause '
                f'std_srvs/srv/SetBool "{{data: false}}"'
            )
            return Health(WARN, text, values)
        return Health(OK, f'{numbers.steps_per_second:.0f} control steps/s', values)

    def _command_health(self) -> Health:
        numbers = self._loop.statistics()
        values = {
            'type': self._drive.kind,
            'publishers': self._drive.num_publishers,
            'response_p50_ms': numbers.response_p50_ms,
            'response_p99_ms': numbers.response_p99_ms,
            'timeouts': numbers.num_timeouts,
            'unexpected': numbers.num_unexpected,
            'refused': numbers.num_refused,
        }
        if self._drive.problem:
            return Health(WARN, self._drive.problem, values)
        if not self._drive.num_publishers:
            text = 'nobody publishes cmd_vel, the robot stands. Start the policy node'
            return Health(WARN, text, values)
        return Health(OK, f'taking {self._drive.kind}', values)


def _make_world(config: SimulatorConfig) -> World:
    """Make the world; in real time its steps are no longer than the fastest sensor's period."""
    robot = contract.load(config.robot)
    settings = config.world
    if config.mode == 'real_time':
        fastest_s = RateSchedule(robot, 0.0).shortest_period_s
        settings = replace(settings, timestep_s=min(settings.timestep_s, fastest_s))
    return World(robot, settings)


_TOPIC_OF = {'camera': 'camera/image_raw', 'ground_truth': 'ground_truth/odom'}


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to end."""
    return run_node(SimulatorNode, args)


if __name__ == '__main__':
    raise SystemExit(main())
