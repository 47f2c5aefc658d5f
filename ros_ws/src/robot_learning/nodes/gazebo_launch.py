"""What gazebo.launch.py starts besides our processes: Gazebo, the robot in it, the bridges.

Only that launch file imports it.
"""

from __future__ import annotations

import tempfile
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import (
    AppendEnvironmentVariable,
    GroupAction,
    IncludeLaunchDescription,
    SetEnvironmentVariable,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node, PushRosNamespace, SetRemap

from robot_learning import contract as contracts
from robot_learning.commands import gazebo_files
from robot_learning.commands.argument_text import Scalar, absolute_name
from robot_learning.commands.process_table import Argument
from robot_learning.errors import ConfigError
from robot_learning.nodes import launch_files
from robot_learning.simulation.gazebo_bridge import IMAGE_TOPIC
from robot_learning.simulation.gazebo_release import ROBOT_NAME

_ARGUMENTS = {
    'gui': Argument(False, "Show Gazebo's window too"),
    'headless': Argument(True, 'Render sensors without a display, through EGL'),
    'world': Argument('', 'SDF file of another world with our arena; empty takes learning_arena'),
    'partition': Argument('', 'GZ_PARTITION; empty takes a new one, so that no two worlds mix'),
}
_TURTLEBOT3 = 'turtlebot3'
_SERVICES = {
    'control': 'ros_gz_interfaces/srv/ControlWorld',
    'set_pose': 'ros_gz_interfaces/srv/SetEntityPose',
}


def describe() -> LaunchDescription:
    """Return the description of gazebo.launch.py."""
    return launch_files.describe('gazebo', _ARGUMENTS, _gazebo)


def _gazebo(given: Mapping[str, str]) -> tuple[list[Any], dict[str, dict[str, Scalar]]]:
    if given['security'] == 'true':
        raise ConfigError(
            'gazebo.launch.py: security is on, but whoever is on this machine can drive Gazebo '
            'itself. Leave it off here; robot.launch.py has it.'
        )
    folder = Path(tempfile.mkdtemp(prefix='robot_learning_gazebo_'))
    files = gazebo_files.write(folder, given['robot'], given['gazebo_release'])
    world = Path(given['world']).resolve() if given['world'] else files.world
    name = world_name(world)
    partition = given['partition'] or f'robot_learning_{uuid.uuid4().hex[:12]}'
    actions = [SetEnvironmentVariable(key, partition) for key in ('GZ_PARTITION', 'IGN_PARTITION')]
    namespace = absolute_name(given['namespace'])
    clock = absolute_name(given['clock'], 'clock')
    if contracts.load(given['robot']).robot == _TURTLEBOT3:
        actions += _turtlebot3(namespace, clock)
    rendering = '--headless-rendering ' if given['headless'] == 'true' else ''
    actions.append(_gz_sim(f'-r -s -v2 {rendering}{world}', on_exit_shutdown='true'))
    if given['gui'] == 'true':
        actions.append(_gz_sim('-g -v2', on_exit_shutdown='false'))
    actions += [
        Node(
            package='ros_gz_sim',
            executable='create',
            arguments=[
                '-world',
                name,
                '-name',
                ROBOT_NAME,
                '-file',
                str(files.robot),
                '-z',
                '0.01',
            ],
            output='screen',
        ),
        Node(
            package='ros_gz_bridge',
            executable='parameter_bridge',
            name='gazebo_bridge',
            namespace=namespace,
            parameters=[{'config_file': str(files.bridge)}],
            remappings=[('/clock', clock)] if clock != '/clock' else [],
            output='screen',
            respawn=True,
            respawn_delay=2.0,
        ),
        # By itself, as older bridges know no SetEntityPose and end.
        Node(
            package='ros_gz_bridge',
            executable='parameter_bridge',
            name='gazebo_services',
            namespace=namespace,
            arguments=[f'/world/{name}/{service}@{kind}' for service, kind in _SERVICES.items()],
            # Another launch has the same world; partitions keep them apart in Gazebo only.
            remappings=[
                (f'/world/{name}/{service}', f'world/{name}/{service}') for service in _SERVICES
            ],
            output='screen',
        ),
        Node(
            package='ros_gz_image',
            executable='image_bridge',
            namespace=namespace,
            arguments=[IMAGE_TOPIC],
            output='screen',
        ),
    ]
    return actions, {'gazebo': {'world': name}}


def world_name(path: Path) -> str:
    """Return the name of the world in an SDF file, which is part of its services' names.

    Raises:
        ConfigError: the file is not there, is no world, or cannot be given to Gazebo.
    """
    if ' ' in str(path):
        raise ConfigError(
            f'argument world: {path} has a space, which gz_args cannot hold. Move it.'
        )
    try:
        world = ElementTree.parse(path).getroot().find('world')
    except (OSError, ElementTree.ParseError) as error:
        raise ConfigError(
            f'argument world: {path} cannot be read ({error}). Give the path of an SDF world.'
        ) from error
    name = '' if world is None else world.get('name', '')
    if not name:
        raise ConfigError(f'argument world: {path} has no <world name="...">. Give an SDF world.')
    return name


def _gz_sim(arguments: str, on_exit_shutdown: str) -> GroupAction:
    """Start Gazebo; the group keeps the arguments from whatever is included after it."""
    path = Path(get_package_share_directory('ros_gz_sim'), 'launch', 'gz_sim.launch.py')
    given = {'gz_args': arguments, 'on_exit_shutdown': on_exit_shutdown}
    return GroupAction([_include(path, given)])


def _turtlebot3(namespace: str, clock: str) -> list[Any]:
    """Let Gazebo find the user's TurtleBot3, and publish the transforms of its parts."""
    share = Path(get_package_share_directory('turtlebot3_gazebo'))
    remappings = {'/tf': 'tf', '/tf_static': 'tf_static', '/clock': clock}
    return [
        AppendEnvironmentVariable('GZ_SIM_RESOURCE_PATH', str(share / 'models')),
        GroupAction(
            [
                *([PushRosNamespace(namespace)] if namespace else []),
                *(SetRemap(src=name, dst=other) for name, other in remappings.items()),
                SetEnvironmentVariable('TURTLEBOT3_MODEL', 'waffle'),
                _include(
                    share / 'launch' / 'robot_state_publisher.launch.py', {'use_sim_time': 'true'}
                ),
            ]
        ),
    ]


def _include(path: Path, arguments: Mapping[str, str]) -> IncludeLaunchDescription:
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(path)), launch_arguments=arguments.items()
    )
