"""Turns the process table into ROS launch descriptions; only launch files import it."""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from robot_learning.commands import process_table

_RESPAWN_DELAY_S = 2.0


def describe(launch_file: str) -> LaunchDescription:
    """Return the description of one launch file: its arguments and its processes."""
    table = process_table.load()
    arguments = table.arguments_of(launch_file)
    declared = [
        DeclareLaunchArgument(
            name,
            default_value=process_table.as_text(process_table.default_value(spec)),
            description=spec.description,
            choices=None if spec.choices is None else list(spec.choices),
        )
        for name, spec in arguments.items()
    ]

    def start(context: LaunchContext) -> list[Node]:
        given = {name: LaunchConfiguration(name).perform(context) for name in arguments}
        processes = process_table.resolve(table, launch_file, given)
        process_table.check(processes)
        return [_node(process) for process in processes]

    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def _node(process: process_table.ResolvedProcess) -> Node:
    # Without a stated type, launch would read text such as '007' as a number.
    parameters = {
        name: ParameterValue(value, value_type=type(value))
        for name, value in process.parameters.items()
    }
    files = [] if process.parameter_file is None else [str(process.parameter_file)]
    return Node(
        package='robot_learning',
        executable=process.executable,
        namespace=process.namespace,
        parameters=[*files, parameters],
        remappings=list(process.remappings.items()),
        additional_env=process.environment,
        output='screen',
        emulate_tty=True,
        prefix=f'nice -n {process.nice}' if process.nice else None,
        respawn=process.restart != 'never',
        respawn_delay=_RESPAWN_DELAY_S,
        on_exit=_on_exit(process),
    )


def _on_exit(process: process_table.ResolvedProcess) -> list[Shutdown]:
    if process.essential and process.restart == 'never':
        return [Shutdown(reason=f'{process.name} has ended')]
    return []
