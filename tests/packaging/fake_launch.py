"""Stands in for the packages `launch` and `launch_ros`, which PyPI lacks: records what it gets.

The names and keyword arguments are those of Jazzy; an unknown one raises TypeError, as there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest


class LaunchContext:
    def __init__(self, configurations: dict[str, str], is_shutdown: bool = False):
        self.launch_configurations = configurations
        self.is_shutdown = is_shutdown


@dataclass
class LaunchDescription:
    entities: Sequence[Any] = ()


@dataclass
class DeclareLaunchArgument:
    name: str
    default_value: str | None = field(default=None, kw_only=True)
    description: str | None = field(default=None, kw_only=True)
    choices: list[str] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        assert self.default_value is None or isinstance(self.default_value, str)


@dataclass
class LaunchConfiguration:
    variable_name: str

    def perform(self, context: LaunchContext) -> str:
        return context.launch_configurations[self.variable_name]


@dataclass
class OpaqueFunction:
    function: Callable[[LaunchContext], list[Any] | None] = field(kw_only=True)


@dataclass
class Shutdown:
    reason: str = field(default='', kw_only=True)


@dataclass
class TimerAction:
    period: float = field(kw_only=True)
    actions: list[Any] = field(kw_only=True)


@dataclass
class ProcessExited:
    returncode: int


@dataclass
class SetEnvironmentVariable:
    name: str
    value: str


@dataclass
class AppendEnvironmentVariable:
    name: str
    value: str


@dataclass
class PythonLaunchDescriptionSource:
    location: str


@dataclass
class IncludeLaunchDescription:
    launch_description_source: PythonLaunchDescriptionSource
    launch_arguments: Iterable[tuple[str, str]] = field(default=(), kw_only=True)

    @property
    def arguments(self) -> dict[str, str]:
        return dict(self.launch_arguments)


@dataclass
class GroupAction:
    actions: list[Any]


@dataclass
class PushRosNamespace:
    namespace: str


@dataclass
class SetRemap:
    src: str
    dst: str


@dataclass
class ParameterValue:
    value: Any
    value_type: type | None = field(default=None, kw_only=True)


@dataclass
class Node:
    executable: str = field(kw_only=True)
    package: str | None = field(default=None, kw_only=True)
    name: str | None = field(default=None, kw_only=True)
    namespace: str | None = field(default=None, kw_only=True)
    parameters: list[dict[str, ParameterValue]] | None = field(default=None, kw_only=True)
    remappings: list[tuple[str, str]] | None = field(default=None, kw_only=True)
    arguments: list[str] | None = field(default=None, kw_only=True)
    ros_arguments: list[str] | None = field(default=None, kw_only=True)
    additional_env: dict[str, str] | None = field(default=None, kw_only=True)
    output: str = field(default='log', kw_only=True)
    emulate_tty: bool = field(default=False, kw_only=True)
    prefix: str | None = field(default=None, kw_only=True)
    respawn: bool = field(default=False, kw_only=True)
    respawn_delay: float | None = field(default=None, kw_only=True)
    on_exit: Callable[[ProcessExited, LaunchContext], list[Any] | None] | None = field(
        default=None, kw_only=True, compare=False
    )


_MODULES: dict[str, tuple[type, ...]] = {
    'launch': (LaunchContext, LaunchDescription),
    'launch.actions': (
        DeclareLaunchArgument,
        OpaqueFunction,
        Shutdown,
        TimerAction,
        SetEnvironmentVariable,
        AppendEnvironmentVariable,
        GroupAction,
        IncludeLaunchDescription,
    ),
    'launch.launch_description_sources': (PythonLaunchDescriptionSource,),
    'launch.substitutions': (LaunchConfiguration,),
    'launch_ros': (),
    'launch_ros.actions': (Node, PushRosNamespace, SetRemap),
    'launch_ros.parameter_descriptions': (ParameterValue,),
}


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stand-ins where imports find them, until the test ends."""
    for name, classes in _MODULES.items():
        module = ModuleType(name)
        for each in classes:
            setattr(module, each.__name__, each)
        monkeypatch.setitem(sys.modules, name, module)
    packages = ModuleType('ament_index_python.packages')
    packages.get_package_share_directory = lambda name: f'/opt/ros/jazzy/share/{name}'
    monkeypatch.setitem(sys.modules, 'ament_index_python', ModuleType('ament_index_python'))
    monkeypatch.setitem(sys.modules, 'ament_index_python.packages', packages)
    for name in ('launch_files', 'gazebo_launch'):
        monkeypatch.delitem(sys.modules, f'robot_learning.nodes.{name}', raising=False)
        monkeypatch.delattr(f'robot_learning.nodes.{name}', raising=False)


def perform(description: LaunchDescription, **given: str) -> list[Any]:
    """Do what `ros2 launch FILE name:=value ...` does; return the actions it would carry out."""
    arguments = [e for e in description.entities if isinstance(e, DeclareLaunchArgument)]
    configurations = {argument.name: argument.default_value for argument in arguments} | given
    context = LaunchContext(configurations)
    nodes: list[Any] = []
    for entity in description.entities:
        if isinstance(entity, OpaqueFunction):
            nodes += entity.function(context) or []
    return nodes
