"""How Gazebo is told to hold, step and place: by bridged services, or by its command line.

| kind | needs |
| --- | --- |
| ros_gz | ros_gz_interfaces, and the services `control` and `set_pose` bridged (ros_gz 1.0.11) |
| simulation_interfaces | that package, and a simulator that serves it |
| command_line | the `gz` tool; slower, some 0.3 s a call |
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Literal, Protocol

from rclpy.node import Node

from robot_learning.errors import ConfigError, WorldControlError
from robot_learning.nodes.service_caller import ServiceCaller
from robot_learning.simulation.gazebo_release import GazeboRelease
from robot_learning.simulation.world_reset import Placement

ControlKind = Literal['auto', 'ros_gz', 'simulation_interfaces', 'command_line']

# Numbers of simulation_interfaces, whose names for them changed between versions.
_PLAYING, _PAUSED = 1, 2
_OK, _ALREADY_THERE = 1, 101
_CLOCK_OF_WORLD = re.compile(r'/world/[^/]+/clock')


class WorldServices(Protocol):
    """What a world is told, whichever way. All raise WorldControlError."""

    def hold(self, is_held: bool) -> None:
        """Hold time or let it go on."""

    def step(self, num_steps: int) -> None:
        """Live some physics steps while time is held."""

    def place(self, placements: Mapping[str, Placement]) -> None:
        """Put models somewhere; takes effect at the next step."""


class RosGzServices:
    """ControlWorld and SetEntityPose of ros_gz_interfaces, bridged by ros_gz_bridge.

    Relative to the node's namespace: in a namespace, the bridge must remap them too.
    """

    def __init__(self, caller: ServiceCaller, world: str):
        messages = import_module('ros_gz_interfaces.msg')
        services = import_module('ros_gz_interfaces.srv')
        self._caller = caller
        self._control_type, self._pose_type = services.ControlWorld, services.SetEntityPose
        self._model_type = messages.Entity.MODEL
        self._control = caller.client(self._control_type, f'world/{world}/control')
        self._set_pose = caller.client(self._pose_type, f'world/{world}/set_pose')

    def hold(self, is_held: bool) -> None:
        """Hold time or let it go on."""
        self._tell_world(pause=is_held)

    def step(self, num_steps: int) -> None:
        """Live some physics steps while time is held."""
        self._tell_world(pause=True, multi_step=num_steps)

    def place(self, placements: Mapping[str, Placement]) -> None:
        """Put models somewhere, one after the other."""
        for name, place in placements.items():
            request = self._pose_type.Request()
            request.entity.name, request.entity.type = name, self._model_type
            _fill_pose(request.pose, place)
            if not self._caller.call(self._set_pose, request).success:
                raise WorldControlError(f'{self._set_pose.srv_name}: refused to move {name}.')

    def _tell_world(self, **fields: Any) -> None:
        request = self._control_type.Request()
        for name, value in fields.items():
            setattr(request.world_control, name, value)
        if not self._caller.call(self._control, request).success:
            raise WorldControlError(f'{self._control.srv_name}: refused {fields}.')


class SimulationInterfaces:
    """The services of simulation_interfaces, which several simulators offer."""

    def __init__(self, caller: ServiceCaller, prefix: str):
        services = import_module('simulation_interfaces.srv')
        self._caller = caller
        self._types = (
            services.SetSimulationState,
            services.StepSimulation,
            services.SetEntityState,
        )
        names = ('set_simulation_state', 'step_simulation', 'set_entity_state')
        self._clients = [
            caller.client(kind, f'{prefix}/{name}')
            for kind, name in zip(self._types, names, strict=True)
        ]

    def hold(self, is_held: bool) -> None:
        """Hold time or let it go on."""
        request = self._types[0].Request()
        request.state.state = _PAUSED if is_held else _PLAYING
        self._ask(0, request)

    def step(self, num_steps: int) -> None:
        """Live some physics steps while time is held."""
        request = self._types[1].Request()
        request.steps = num_steps
        self._ask(1, request)

    def place(self, placements: Mapping[str, Placement]) -> None:
        """Put models somewhere, one after the other."""
        for name, place in placements.items():
            request = self._types[2].Request()
            request.entity = name
            _fill_pose(request.state.pose, place)
            self._ask(2, request)

    def _ask(self, number: int, request: Any) -> None:
        client = self._clients[number]
        result = self._caller.call(client, request).result
        if result.result not in (_OK, _ALREADY_THERE):
            raise WorldControlError(
                f'{client.srv_name}: refused ({result.error_message or result.result}).'
            )


Run = Callable[..., 'subprocess.CompletedProcess[str]']


class CommandLineServices:
    """`gz service`, without a shell; all models are placed with one call.

    Args:
        release: whose tool it is.
        world: name of the world.
        timeout_s: for an answer.
        run: runs a command, as `subprocess.run` does.
    """

    def __init__(
        self, release: GazeboRelease, world: str, timeout_s: float, run: Run = subprocess.run
    ):
        self._release, self._world = release, world
        self._timeout_s, self._run = timeout_s, run

    def hold(self, is_held: bool) -> None:
        """Hold time or let it go on."""
        self._call('control', 'WorldControl', f'pause: {str(is_held).lower()}')

    def step(self, num_steps: int) -> None:
        """Live some physics steps while time is held."""
        self._call('control', 'WorldControl', f'pause: true, multi_step: {num_steps}')

    def place(self, placements: Mapping[str, Placement]) -> None:
        """Put all models to their places at once."""
        poses = ' '.join(
            f'pose {{ name: "{name}" position {{ x: {place.x:.6f} y: {place.y:.6f} '
            f'z: {place.z:.6f} }} orientation {{ z: {math.sin(place.yaw / 2):.8f} '
            f'w: {math.cos(place.yaw / 2):.8f} }} }}'
            for name, place in placements.items()
        )
        self._call('set_pose_vector', 'Pose_V', poses)

    def _call(self, service: str, request_type: str, request: str) -> None:
        name, message = f'/world/{self._world}/{service}', self._release.message
        arguments = [
            *(self._release.command, 'service', '-s', name),
            *('--reqtype', message(request_type), '--reptype', message('Boolean')),
            *('--timeout', str(round(self._timeout_s * 1e3)), '--req', request),
        ]
        output = _output(self._run, arguments, self._timeout_s + 5.0)
        if 'data: true' in output:
            return
        if 'data: false' in output:
            raise WorldControlError(f'{name}: refused {request[:80]!r}.')
        raise WorldControlError(
            f'{name}: no answer in {self._timeout_s:g} s ({output.strip()[:200] or "silence"}). '
            f'See that Gazebo runs the world {self._world!r} in this GZ_PARTITION.'
        )


class ServerCount:
    """How many simulators there are in this partition, looked up now and then.

    Each one publishes the clock of its world. The topic `/clock` tells nothing: a simulator that
    finds it taken leaves it alone (gz-sim's SimulationRunner::Run).

    Args:
        release: whose tool is asked; without the tool the number is not known.
        world: name of our world.
        keep_s: how long an answer is believed, wall time.
        run: runs a command, as `subprocess.run` does.
        now_s: a clock that only runs forwards.
    """

    def __init__(
        self,
        release: GazeboRelease,
        world: str,
        keep_s: float = 60.0,
        run: Run = subprocess.run,
        now_s: Callable[[], float] = time.monotonic,
    ):
        self._tool, self._clock = (release.command, 'topic'), f'/world/{world}/clock'
        self._keep_s, self._run, self._now_s = keep_s, run, now_s
        self._number = 0
        self._looked_s = -math.inf

    def __call__(self) -> int:
        """Return the number; 0 where it is not known."""
        if self._now_s() - self._looked_s >= self._keep_s:
            self._looked_s = self._now_s()
            try:
                self._number = self._count()
            except WorldControlError:
                self._number = 0
        return self._number

    def _count(self) -> int:
        topics = _output(self._run, [*self._tool, '-l'], 5.0).splitlines()
        others = {topic for topic in topics if _CLOCK_OF_WORLD.fullmatch(topic)} - {self._clock}
        about = _output(self._run, [*self._tool, '-i', '-t', self._clock], 5.0)
        publishers = about.partition('Subscribers')[0]
        return len(others) + sum('://' in line for line in publishers.splitlines())


def world_services(
    kind: ControlKind, node: Node, release: GazeboRelease, world: str, timeout_s: float
) -> WorldServices:
    """Return what tells the world; 'auto' takes the first of the three that is installed.

    Raises:
        ConfigError: the kind that was asked for, or every one, is not installed.
    """
    caller = ServiceCaller(node, timeout_s, 'See that Gazebo and the bridge of its services run.')
    makers: dict[str, Callable[[], WorldServices]] = {
        'ros_gz': lambda: RosGzServices(caller, world),
        'simulation_interfaces': lambda: SimulationInterfaces(caller, '/gzserver'),
        'command_line': lambda: _command_line(release, world, timeout_s),
    }
    lacking = []
    for name, make in makers.items():
        if kind not in ('auto', name):
            continue
        try:
            return make()
        except (ImportError, FileNotFoundError) as error:
            lacking.append(f'{name} ({error})')
    raise ConfigError(
        f'control: found none of {"; ".join(lacking)}. Install ros_gz_interfaces and '
        f'ros_gz_bridge, or Gazebo with its tool {release.command}.'
    )


def _command_line(release: GazeboRelease, world: str, timeout_s: float) -> WorldServices:
    if shutil.which(release.command) is None:
        raise FileNotFoundError(f'no program {release.command}')
    return CommandLineServices(release, world, timeout_s)


def _output(run: Run, arguments: list[str], timeout_s: float) -> str:
    try:
        result = run(
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise WorldControlError(f'{arguments[0]}: not installed. Install Gazebo.') from error
    except subprocess.TimeoutExpired as error:
        raise WorldControlError(
            f'{" ".join(arguments[:4])}: no answer in {timeout_s:g} s. Gazebo is busy or gone.'
        ) from error
    return result.stdout


def _fill_pose(pose: Any, place: Placement) -> None:
    pose.position.x, pose.position.y, pose.position.z = place.x, place.y, place.z
    pose.orientation.z, pose.orientation.w = math.sin(place.yaw / 2), math.cos(place.yaw / 2)
