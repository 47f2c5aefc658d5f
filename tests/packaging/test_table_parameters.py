"""The process table and the parameter files set only what nodes declare, within its limits."""

from __future__ import annotations

import ast
from importlib import import_module, util
from pathlib import Path
from typing import Any

import pytest
import yaml
from robot_learning import config
from robot_learning.commands import process_table
from robot_learning.commands.process_table import ResolvedProcess

OF_EVERY_NODE = {'use_sim_time'}
TABLE = process_table.load()
GIVEN = {'record_bag': True, 'session': 'today', 'replicate': 'robot', 'display': True}
PROCESSES = [
    *process_table.resolve(TABLE, 'bringup', only=('adaptation',)),
    *process_table.resolve(TABLE, 'bringup', {**GIVEN, 'phases': 'world_model'}),
    *process_table.resolve(TABLE, 'gazebo', only=('gazebo',)),
    *process_table.resolve(TABLE, 'robot', only=('person_reset',)),
    *process_table.resolve(TABLE, 'commands', only=('grounding',)),
    *process_table.resolve(TABLE, 'commands', only=('perception',)),
]


def config_class_of(executable: str) -> type:
    """Find the class that a node's module hands to `declare_config(self, ...)`."""
    module_name = f'robot_learning.nodes.{executable}'
    source = Path(util.find_spec(module_name).origin).read_text(encoding='utf-8')
    names = [
        node.args[1].id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'declare_config'
    ]
    assert len(names) == 1, f'{module_name} declares {names}'
    return getattr(import_module(module_name), names[0])


def file_parameters(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text())
    assert list(content) == ['/**'], 'other keys are ignored once there is a namespace'
    return content['/**']['ros__parameters']


def given_to(process: ResolvedProcess) -> dict[str, Any]:
    """Return all that a process gets, without what only others with the same file declare."""
    declared = config_class_of(process.executable).__pydantic_fields__
    values: dict[str, Any] = {}
    if process.parameter_file is not None:
        parameters = file_parameters(process.parameter_file)
        values = {name: value for name, value in parameters.items() if name in declared}
    for name, value in process.parameters.items():
        group, dot, key = name.partition('.')
        if dot:
            values[group] = {**values.get(group, {}), key: value}
        elif name not in OF_EVERY_NODE:
            values[name] = value
    return values


@pytest.mark.parametrize('process', PROCESSES, ids=lambda process: process.name)
def test_a_node_declares_every_parameter_it_is_given(process):
    """`from_mapping` names unknown keys, wrong types and values out of range."""
    config.from_mapping(config_class_of(process.executable), given_to(process), process.name)


def test_every_parameter_in_a_file_is_declared_by_a_node_that_reads_it():
    for path in {p.parameter_file for p in PROCESSES if p.parameter_file}:
        readers = [process for process in PROCESSES if process.parameter_file == path]
        declared = [config_class_of(p.executable).__pydantic_fields__ for p in readers]
        known = {name for fields in declared for name in fields}
        assert set(file_parameters(path)) <= known, path


@pytest.mark.parametrize('mode', TABLE.arguments['mode'].choices)
def test_every_mode_is_one_that_the_nodes_know(mode):
    only = ('simulator', 'gazebo', 'policy')
    for process in process_table.resolve(TABLE, 'bringup', {'mode': mode}, only):
        config.from_mapping(config_class_of(process.executable), given_to(process), mode)
