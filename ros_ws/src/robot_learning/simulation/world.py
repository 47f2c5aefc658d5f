"""The embedded world: reset, step and observe in the fields of a robot's contract."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.contract import RobotContract
from robot_learning.errors import EnvironmentSetupError, SimulationError
from robot_learning.simulation import randomisation
from robot_learning.simulation.camera import Camera
from robot_learning.simulation.geodesic import GeodesicMap
from robot_learning.simulation.layout import Layout, LayoutConfig
from robot_learning.simulation.motors import Motors
from robot_learning.simulation.physics import Physics, Pose2D
from robot_learning.simulation.randomisation import RandomisationConfig
from robot_learning.simulation.readings import TOPICS, part_of
from robot_learning.simulation.scenario import Outcome, layout_of, outcome_of, step_limit
from robot_learning.simulation.sensors import Imu, Lidar, Localisation, SensorConfig, WheelOdometry
from robot_learning.simulation.tasks import Task, build_task

if TYPE_CHECKING:
    from robot_learning.simulation.microphone import Microphone

Array = np.ndarray[Any, Any]
Reading = dict[str, Array]  # Part of the message -> value, as in `message_types.PARTS`.

_ENCODER_PERIOD_S = 0.05  # Odometry is integrated at least this often.


def _switch(value: Any) -> Any:
    return {True: 'auto', False: 'off'}[value] if isinstance(value, bool) else value


# YAML and ROS parameters read an unquoted `off` as false.
Switch = Annotated[Literal['auto', 'off'], BeforeValidator(_switch)]


@dataclass(frozen=True, config=STRICT)
class WorldConfig:
    """The embedded world; see the classes of its parts."""

    timestep_s: Annotated[float, Field(gt=0, le=0.01)] = (
        0.01  # Wheels and grip are stable up to it.
    )
    camera: Switch = 'auto'  # 'auto': on where the machine can render.
    microphone: bool = False  # Whether contacts are heard; costs time at every physics step.
    layout: LayoutConfig = field(default_factory=LayoutConfig)
    sensors: SensorConfig = field(default_factory=SensorConfig)
    randomisation: RandomisationConfig = field(default_factory=RandomisationConfig)


class StepResult(NamedTuple):
    """What one control period brought: an observation, and the `Outcome`."""

    observation: dict[str, Array]
    reward: float
    terminated: bool
    truncated: bool
    success: bool
    reason: str


class World:
    """One robot in one arena; everything in it follows from the seeds given to `reset`.

    `step` and `observe` speak contract fields. Whoever needs finer control (a node that
    publishes sensors at their own rates) uses `apply`, `advance`, `sense` and `judge`.
    """

    def __init__(
        self,
        contract: RobotContract,
        config: WorldConfig | None = None,
        fields: Collection[str] | None = None,
    ):
        """Compile the scene; `fields` limits what `observe` returns (None: all it can)."""
        self.contract = contract
        self.config = config or WorldConfig()
        self.time_ns = 0  # Never goes back; a reset takes one control period.
        self.task: Task = build_task(contract)
        self.physics = Physics(self.config.timestep_s)
        self.camera, self.camera_status = self._make_camera()
        self.microphone = self._make_microphone()
        self.layout: Layout
        self.seed = -1
        self.randomisation: dict[str, float] = {}
        self.num_steps = 0  # Control steps since the reset.
        self.ended = True
        self._map = GeodesicMap()
        self._motors = Motors(contract, self.physics)
        scan = next((f for f in contract.observation.values() if f.topic == 'scan'), None)
        self.lidar = Lidar(self.physics, scan)
        self._odometry = WheelOdometry(self.physics, self.config.sensors.encoder_ticks)
        self.localisation = Localisation(self.config.sensors)
        self._imu = Imu(self.physics, self.config.sensors)
        self._physics_steps = 0
        self._fields = self._observable(fields)
        self._max_steps = step_limit(contract)

    def reset(
        self,
        seed: int,
        robot_pose: Sequence[float] | None = None,
        goal_pose: Sequence[float] | None = None,
    ) -> dict[str, Array]:
        """Start a new episode and return its first observation; see `begin`."""
        self.begin(seed, robot_pose, goal_pose)
        return self.observe()

    def begin(
        self,
        seed: int,
        robot_pose: Sequence[float] | None = None,
        goal_pose: Sequence[float] | None = None,
    ) -> None:
        """Start a new episode whose layout, physics and noise follow from `seed`.

        Raises:
            SimulationError: a given pose is not free, or the seed is negative.
        """
        self.layout = layout_of(
            seed, self.task, self.config.layout, self._map, robot_pose, goal_pose
        )
        self.seed = int(seed)
        self.randomisation = randomisation.sample(self.config.randomisation, self._generator(1))
        self._noise = {topic: self._generator(2 + i) for i, topic in enumerate(TOPICS)}
        self.physics.randomise(self.randomisation)
        self.physics.place(self.layout.robot, self.layout.objects)
        if self.microphone is not None:
            self.microphone.reset()
        self._motors.reset(self.randomisation['command_latency_s'])
        self._odometry.reset(self.randomisation)
        self.localisation.reset(self._noise['amcl_pose'])
        self._imu.reset(self._noise['imu'])
        self.task.begin(self.layout, self._map)
        self.time_ns += self.contract.control_period_ns
        self.num_steps, self.ended, self._physics_steps = 0, False, 0

    def step(self, commands: Mapping[str, Array]) -> StepResult:
        """Apply commands by action field name, live one control period, observe.

        Raises:
            SimulationError: the episode has ended, or a command is not usable.
        """
        if self.ended:
            raise SimulationError('world: the episode has ended. Call reset before step.')
        self.apply(commands)
        self.advance(self.contract.control_period_ns)
        outcome = self.judge()
        return StepResult(self.observe(), *outcome)

    def set_state(
        self, robot: Pose2D | None = None, objects: Mapping[str, Pose2D] | None = None
    ) -> None:
        """Move robot and objects within the episode, all at rest; rewards follow the layout.

        Raises:
            SimulationError: names an object that is not in the scene.
        """
        for name, pose in (objects or {}).items():
            self.physics.move_object(name, pose)
        if robot is not None:
            self.physics.move_robot(robot)

    def apply(self, commands: Mapping[str, Array]) -> None:
        """Hand commands to the motors, which obey after the episode's command latency."""
        for name, value in commands.items():
            self._motors.command(name, value, self._physics_steps)

    def stop(self) -> None:
        """Command the wheels to zero at once, whatever else is on its way."""
        self._motors.stop()

    def advance(self, duration_ns: int) -> None:
        """Let the world live for a while; whole physics steps, never fewer than one."""
        timestep = self.physics.timestep_s
        num_steps = max(round(duration_ns * 1e-9 / timestep), 1)
        block = max(round(_ENCODER_PERIOD_S / timestep), 1)
        end = self._physics_steps + num_steps
        while self._physics_steps < end:
            until = min(end, self._physics_steps + block)
            until = self._motors.next_change(self._physics_steps, until)
            self.physics.advance(until - self._physics_steps)
            self._physics_steps = until
            self._odometry.update()
        self.physics.settle()
        self.localisation.update(num_steps * timestep, self._noise['amcl_pose'])
        self.time_ns += duration_ns

    def judge(self) -> Outcome:
        """Ask the task about the control period that ended now, once per period."""
        self.num_steps += 1
        verdict = self.task.judge(self.physics.robot_pose(), self.physics.touched)
        self.physics.touched.clear()
        outcome = outcome_of(verdict, is_late=self.num_steps >= self._max_steps)
        self.ended = outcome.terminated or outcome.truncated
        return outcome

    def observe(self) -> dict[str, Array]:
        """Read every sensor once and return the contract's fields."""
        contract = self.contract.observation
        readings = self.sense({contract[name].topic for name in self._fields})
        return {
            name: part_of(readings[contract[name].topic], contract[name]) for name in self._fields
        }

    def sense(self, topics: Collection[str]) -> dict[str, Reading]:
        """Read the sensors behind these topics, each with its own stream of noise."""
        return {topic: self._read(topic) for topic in TOPICS if topic in topics}

    def close(self) -> None:
        """Free the renderer."""
        if self.camera is not None:
            self.camera.close()
            self.camera = None

    @property
    def observed_fields(self) -> tuple[str, ...]:
        """Contract fields that `observe` returns."""
        return self._fields

    def _read(self, topic: str) -> Reading:
        rng = self._noise[topic]
        match topic:
            case 'scan':
                noise = self.randomisation['lidar_noise_m']
                return {'ranges': self.lidar.scan(rng, noise)}
            case 'odom':
                return _motion(self._odometry.pose(), self._odometry.velocity())
            case 'ground_truth/odom':
                return _motion(self.physics.robot_pose(), self.physics.robot_velocity())
            case 'amcl_pose':
                return {'pose2d': self.localisation.pose(self.physics.robot_pose())}
            case 'goal_pose':
                return {'pose2d': np.asarray(self.task.goal)}
            case 'imu':
                elapsed = self._physics_steps * self.physics.timestep_s
                return {'imu': self._imu.read(elapsed, rng)}
            case 'joint_states':
                return self._motors.joint_states()
            case 'camera/image_raw' if self.camera is not None:
                return {'image': self.camera.image()}
        raise SimulationError(f'topic {topic!r}: {self.camera_status}')

    def _generator(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream])

    def _make_camera(self) -> tuple[Camera | None, str]:
        spec = next(
            (f for f in self.contract.observation.values() if f.topic == 'camera/image_raw'), None
        )
        if self.config.camera == 'off' or spec is None:
            return None, 'camera: off by configuration.'
        try:
            return Camera(self.physics, spec.shape[0], spec.shape[1]), 'camera: on.'
        except EnvironmentSetupError as error:
            return None, str(error)

    def _make_microphone(self) -> Microphone | None:
        if not self.config.microphone:
            return None
        from robot_learning.simulation.microphone import Microphone  # Its filters load slowly.

        return Microphone(self.physics)

    def _observable(self, fields: Collection[str] | None) -> tuple[str, ...]:
        contract = self.contract.observation
        offered = set(TOPICS) - (set() if self.camera else {'camera/image_raw'})
        wanted = [name for name in contract if fields is None or name in fields]
        lacking = [
            name
            for name in wanted
            if contract[name].topic not in offered and (contract[name].required or fields)
        ]
        if lacking:
            raise SimulationError(
                f'{self.contract.robot}: the world cannot give {", ".join(lacking)}; it offers '
                f'the topics {", ".join(sorted(offered))}. {self.camera_status} '
                f'Change the contract or leave the fields out.'
            )
        return tuple(name for name in wanted if contract[name].topic in offered)


def _motion(pose: Pose2D, velocity: tuple[float, float]) -> Reading:
    return {'pose2d': np.asarray(pose), 'twist2d': np.asarray(velocity)}
