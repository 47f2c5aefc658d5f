"""Does what people say: understands, plans, and moves the robot through the policy node's gate."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from geometry_msgs.msg import TwistStamped
from pydantic import Field, PositiveFloat
from pydantic.dataclasses import dataclass
from rclpy.clock import Clock, ClockType

from robot_learning import contract as contracts
from robot_learning.config import STRICT
from robot_learning.errors import ConfigError
from robot_learning.language.abilities import abilities, drive_field, pose_field
from robot_learning.language.body import Hand, Surroundings
from robot_learning.language.kernel import Kernel
from robot_learning.language.motions import Limits
from robot_learning.language.obstacle_map import ObstacleMap
from robot_learning.language.performer import Performer
from robot_learning.language.planner import Situation, Zone
from robot_learning.language.program import Program
from robot_learning.language.runs import PlanRun, ProgramRun, Run
from robot_learning.language.senses import Order, Senses
from robot_learning.language.skills import Step
from robot_learning.model_files import ModelFileRules
from robot_learning.model_folders import parse_reference
from robot_learning.model_store import ModelStore
from robot_learning.nodes.code_services import CodeServices
from robot_learning.nodes.command_output import CommandOutput
from robot_learning.nodes.command_senses import CommandSenses
from robot_learning.nodes.commander_services import CommanderServices
from robot_learning.nodes.diagnostics import ERROR, OK, WARN, Diagnostics, Health
from robot_learning.nodes.job_desk import Job, JobDesk
from robot_learning.nodes.managed_node import ManagedConfig, ManagedNode
from robot_learning.nodes.parameters import declare_config
from robot_learning.nodes.policy_navigator import PolicyNavigator
from robot_learning.nodes.qos import COMMAND_QOS
from robot_learning.nodes.run import ServiceThread, run_node
from robot_learning.nodes.teleop_input import COMMANDER_TOPIC
from robot_learning.serving import intent as intent_models
from robot_learning.serving.camera_geometry import CameraGeometry
from robot_learning.serving.sense_fusion import SenseFusion

if TYPE_CHECKING:
    from robot_learning.serving.code import CodeWriter

_SILENT_S = 2.0  # Wall time without odometry after which what runs is given up.
_STARTING_S = 60.0  # The same before the first one: the robot may be starting.
_KEEP_ALIVE_S = 0.1  # Wall time: so often the newest velocity is sent again.
_STOPPED = 'the commander was stopped'
_FRESH_NS = 300_000_000  # Of the robot's clock, since the step that it was chosen at.


@dataclass(frozen=True, config=STRICT)
class HandConfig:
    """Lift and gripper, where the contract has both; metres."""

    open_m: PositiveFloat = 0.16  # Between the fingers.
    low_m: Annotated[float, Field(ge=0)] = 0.0  # Of the lift: fingers about what is on the floor.
    high_m: PositiveFloat = 0.25  # Of the lift, out of the way.
    reach_m: PositiveFloat = 0.13  # From the axle to the middle of what is grasped.


@dataclass(frozen=True, config=STRICT)
class CommanderConfig(ModelFileRules, ManagedConfig):
    """Who is commanded, where, and how careful the commander is."""

    robot: str = 'errands'  # Robot contract: a name in config/robots or the path of a YAML file.
    models: Path = Path('runs/models')  # Directory of the model store.
    intent_model: str = ''  # NAME or NAME@VERSION in the store; empty: the one that ships.
    code_model: str = ''  # As intent_model, for generated code.
    # Folders of adapters of train_robot, separated by ':', each on its own base; several vote.
    code_adapters: str = ''
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.5  # Below it one asks again.
    # What becomes of a command while another is carried out.
    when_busy: Literal['preempt', 'refuse'] = 'preempt'
    time_limit_s: PositiveFloat = 300.0  # Of a command that names none.
    use_policy: bool = True  # Go to places by the learned policy where one serves.
    # Named places, {home: [x, y], ...}, metres in the map frame.
    places: dict[str, tuple[float, float]] = field(default_factory=dict)
    # Named paths, {square: [[x, y], [x, y], ...], ...}.
    paths: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    # Boxes where the robot must not go, {stairs: [x_min, y_min, x_max, y_max], ...}.
    forbidden: dict[str, tuple[float, float, float, float]] = field(default_factory=dict)
    # Part of the map where it may be: x_min, y_min, x_max, y_max.
    bounds: tuple[float, float, float, float] = (-2.5, -2.5, 2.5, 2.5)
    robot_radius_m: PositiveFloat = 0.2  # With some room.
    hand: HandConfig = field(default_factory=HandConfig)
    camera: CameraGeometry = field(default_factory=CameraGeometry)


class CommanderNode(ManagedNode):
    """Ticks what is carried out at every control step; all of that on the control thread.

    Inactive, it sees and hears the robot but takes no command.

    Understanding and planning happen on the services' thread; a lock guards the job that both
    threads know.
    """

    def __init__(self, **node_options: Any):
        super().__init__('commander', **node_options)
        self._config = declare_config(self, CommanderConfig)
        self.manage(self._config.autostart)

    def load(self) -> None:
        """Load contract and models, look through the robot's senses, and offer the actions."""
        config = self._config
        contract = contracts.load(config.robot)
        drive = drive_field(contract)
        found = abilities(contract)
        if drive is None or 'drive' not in found:
            raise ConfigError(
                f'{contract.robot}: has no twist of linear.x and angular.z with odometry, so it '
                f'cannot be commanded. Choose a robot that drives.'
            )
        bounds = Zone('the map', *config.bounds)
        forbidden = tuple(Zone(name, *box) for name, box in config.forbidden.items())
        obstacles = ObstacleMap(bounds, config.robot_radius_m, forbidden)
        self._thread = ServiceThread(self)
        self.resources.callback(self._thread.stop)
        self._navigator = PolicyNavigator(
            self._thread.node,
            self._thread.executor,
            contract.observation[pose_field(contract)].frame if pose_field(contract) else '',
            self._thread.relative_name('run_policy'),
            self._thread.relative_name('gate_status'),
        )
        low, high = np.asarray(drive.low), np.asarray(drive.high)
        limits = Limits(max(-float(low[0]), 0.0), float(high[0]), float(min(high[1], -low[1])))
        hand = config.hand
        self._performer = Performer(
            Surroundings(
                limits,
                obstacles,
                config.places,
                config.paths,
                forbidden,
                bounds,
                Hand(hand.open_m, hand.low_m, hand.high_m, hand.reach_m),
                self._navigator if config.use_policy else None,
            )
        )
        self._situation = Situation(found, config.places, config.paths, forbidden, bounds)
        self._twist = TwistStamped()
        self._twist.header.frame_id = drive.frame
        self._drive = self.create_publisher(TwistStamped, COMMANDER_TOPIC, COMMAND_QOS)
        self._hand = {
            name: (CommandOutput(self, name, contract.actions[name]), contract.actions[name])
            for name in ('lift', 'gripper')
            if 'gripper' in found
        }
        self._lock = threading.Lock()  # Guards `_job` and what is published while it changes.
        self._job: Job | None = None
        self._is_driving = False  # By the newest order; else the policy does.
        self._heard_s = time.monotonic()
        self._fusion = SenseFusion(contract, config.camera, obstacles, config.robot_radius_m)
        self._senses = CommandSenses(self, contract, self._fusion, self._on_step)
        self._desk = JobDesk(self._thread, self, config.when_busy, config.time_limit_s)
        self._commands = CommanderServices(self._thread, self._desk, self, _intent_model(config))
        self._code = CodeServices(
            self._thread, self._desk, partial(_code_model, config), self.program_run, found
        )
        self.resources.callback(self._code.close)
        diagnostics = Diagnostics(self, hardware_id=contract.robot)
        diagnostics.add('senses', self._senses_health)
        diagnostics.add('commands', self._commands_health)
        diagnostics.add('lifecycle', self.lifecycle_health)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_KEEP_ALIVE_S, self._keep_alive, clock=steady)
        self._thread.start()

    def make_safe(self) -> None:
        """Stop the robot and give up what is being carried out."""
        self.end_job(_STOPPED)

    # --- called from the services' thread ----------------------------------------------------

    @property
    def kernel(self) -> Kernel:
        """For the situation as it is now."""
        situation = replace(self._situation, is_holding=self._performer.is_holding)
        return Kernel(situation, self._config.min_confidence)

    def plan_run(self, steps: tuple[Step, ...]) -> Run:
        """Return what carries a plan out."""
        return PlanRun(steps, self._performer)

    def program_run(self, program: Program) -> Run:
        """Return what carries a checked program out."""
        return ProgramRun(program, self._performer, self._situation)

    def refusal(self) -> str:
        """Return why no job can be taken now; '' where one can."""
        return '' if self.is_active else f'the commander is {self.lifecycle_health().message}.'

    def begin_job(self, job: Job) -> None:
        """Carry a job out from the next control step on; there is none before it."""
        with self._lock:
            assert self._job is None, 'end the other first'
            if self.is_active:
                self._job = job
                self._heard_s = time.monotonic()
                return
        job.run.cancel(_STOPPED)  # It was deactivated in between.
        job.end()

    def end_job(self, reason: str) -> None:
        """Stop the robot at once; what was being done is given up for `reason`."""
        with self._lock:
            job, self._job = self._job, None
            self._order(Order())
            if job is not None:
                job.run.cancel(reason)
        if job is not None:
            job.end()

    # --- control thread ----------------------------------------------------------------------

    def _on_step(self, senses: Senses) -> None:
        with self._lock:
            self._heard_s = time.monotonic()
            self._fusion.held_color = self._performer.held_color
            job = self._job
            if job is None:
                return
            if job.start_s is None:
                job.start_s = senses.view.time_s
            reason = self._ending(job, senses.view.time_s)
            order = None if reason else job.run.tick(senses)
            job.progress = self._performer.progress
            if order is not None:
                self._order(order)
                return
            self._job = None
            self._order(Order())
            if reason:
                job.run.cancel(reason)
        job.end()

    def _ending(self, job: Job, now_s: float) -> str:
        assert job.start_s is not None, 'set at its first step'
        if self._navigator.is_stopped:
            return 'the emergency stop is pressed'
        if now_s - job.start_s > job.time_limit_s:
            return f'it took longer than {job.time_limit_s:g} s'
        return ''

    def _keep_alive(self) -> None:
        """Send the velocity again: a slow world's steps are far between on the wall clock."""
        patience_s = _STARTING_S if self._senses.time_ns < 0 else _SILENT_S
        if self._job is not None and time.monotonic() - self._heard_s > patience_s:
            self.end_job(f'no odometry came for {patience_s:g} s')
        with self._lock:
            age_ns = self.get_clock().now().nanoseconds - self._senses.time_ns
            if self._job is not None and self._is_driving and age_ns < _FRESH_NS:
                self._drive.publish(self._twist)

    def _order(self, order: Order) -> None:
        self._is_driving = order.drive is not None
        if order.drive is not None:
            twist = self._twist.twist
            self._twist.header.stamp = self.get_clock().now().to_msg()
            twist.linear.x, twist.angular.z = map(float, order.drive)
            self._drive.publish(self._twist)
        for name, value in (('lift', order.lift_m), ('gripper', order.opening_m)):
            if value is not None and name in self._hand:
                output, spec = self._hand[name]
                now_ns = self.get_clock().now().nanoseconds
                output.publish(now_ns, np.clip([value], spec.low, spec.high))

    def _senses_health(self) -> Health:
        silent_s = time.monotonic() - self._heard_s
        if self._senses.time_ns < 0:
            return Health(WARN, 'no odometry yet. Start the robot or the simulator')
        if silent_s > _SILENT_S:
            return Health(ERROR, f'no odometry for {silent_s:.0f} s')
        return Health(OK, 'sees and hears')

    def _commands_health(self) -> Health:
        values = {'done': self._commands.num_done, 'refused': self._commands.num_refused}
        text = self._desk.text
        return Health(OK, f'carries out: {text[:80]}' if text else 'waits for a command', values)


def _intent_model(config: CommanderConfig) -> intent_models.IntentModel:
    """Load the model that the configuration names, else the one that ships."""
    if not config.intent_model:
        return intent_models.load()
    name, version = parse_reference(config.intent_model)
    return intent_models.load(config.models, name, version, config)


def _code_model(config: CommanderConfig) -> CodeWriter:
    """Load the model that the configuration names, else the one that ships."""
    from robot_learning.serving.code import CodeGenerator  # Brings in torch.
    from robot_learning.serving.code_choice import adapted

    if config.code_adapters:
        return adapted([Path(each) for each in config.code_adapters.split(os.pathsep)])
    if not config.code_model:
        return CodeGenerator.load()
    name, version = parse_reference(config.code_model)
    return CodeGenerator.load(ModelStore(config.models, config), name, version)


def main(args: list[str] | None = None) -> int:
    """Run the commander node."""
    return run_node(CommanderNode, args)


if __name__ == '__main__':
    sys.exit(main())
