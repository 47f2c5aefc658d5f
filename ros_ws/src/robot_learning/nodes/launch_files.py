"""Turns the process table into ROS launch descriptions; only launch files import it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown, TimerAction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from robot_learning.commands import argument_text, process_table
from robot_learning.commands.argument_text import Scalar
from robot_learning.commands.process_table import Argument
from robot_learning.commands.resolved_process import ResolvedProcess
from robot_learning.commands.restarts import RestartLimits, Restarts

# Takes the values of all arguments; returns what is started besides, and parameters of processes
# (name -> parameter -> value) that follow from it.
Extra = Callable[[Mapping[str, str]], tuple[list[Any], dict[str, dict[str, Scalar]]]]


def describe(
    launch_file: str,
    own_arguments: Mapping[str, Argument] | None = None,
    extra: Extra | None = None,
) -> LaunchDescription:
    """Return the description of one launch file: its arguments and its processes.

    Args:
        launch_file: its name in the process table.
        own_arguments: arguments that only this launch file has.
        extra: starts what the process table does not know.
    """
    table = process_table.load()
    of_table = table.arguments_of(launch_file)
    arguments = {**of_table, **(own_arguments or {})}
    declared = [
        DeclareLaunchArgument(
            name,
            default_value=argument_text.as_text(process_table.default_value(spec)),
            description=spec.description,
            choices=_choices(spec),
        )
        for name, spec in arguments.items()
    ]

    def start(context: LaunchContext) -> list[Any]:
        given = {name: LaunchConfiguration(name).perform(context) for name in arguments}
        actions, overrides = extra(given) if extra else ([], {})
        known = {name: given[name] for name in of_table}
        processes = process_table.resolve(table, launch_file, known, overrides=overrides)
        process_table.check(processes)
        nodes = [_node(process, _restarts(process)) for process in processes]
        return [*actions, *nodes]

    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def _choices(spec: Argument) -> list[str] | None:
    if isinstance(spec.default, bool):
        return ['true', 'false']
    return None if spec.choices is None else list(spec.choices)


def _restarts(process: ResolvedProcess) -> Restarts:
    return Restarts(process.restart, RestartLimits())


def _node(process: ResolvedProcess, restarts: Restarts) -> Node:
    # Without a stated type, launch would read text such as '007' as a number.
    parameters = {
        name: ParameterValue(value, value_type=type(value))
        for name, value in process.parameters.items()
    }
    files = [] if process.parameter_file is None else [str(process.parameter_file)]
    users = [] if process.users_file is None else [str(process.users_file)]
    return Node(
        package='robot_learning',
        executable=process.executable,
        name=process.node_name or None,
        namespace=process.namespace,
        parameters=[*files, parameters, *users],
        ros_arguments=process.logging_and_security(),
        remappings=list(process.remappings.items()),
        additional_env=process.environment,
        output='screen',
        emulate_tty=True,
        prefix=f'nice -n {process.nice}' if process.nice else None,
        on_exit=partial(_on_exit, process, restarts),
    )


def _on_exit(
    process: ResolvedProcess, restarts: Restarts, event: Any, context: LaunchContext
) -> list[Any]:
    """Start it again where the table says so; launch's own respawn minds no exit code."""
    if context.is_shutdown:
        return []
    if restarts.is_due(event.returncode):
        delay_s = restarts.delay_s(time.monotonic())
        if delay_s is not None:
            return [TimerAction(period=delay_s, actions=[_node(process, restarts)])]
    if process.essential:
        return [Shutdown(reason=f'{process.name} has ended')]
    return []
