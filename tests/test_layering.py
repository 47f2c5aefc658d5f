"""Who may import whom: reads the imports of every file of the package."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / 'ros_ws' / 'src' / 'robot_learning'
NAME = 'robot_learning'

ROOMS = {
    'trajectory',
    'models',
    'phases',
    'evaluation',
    'serving',
    'language',
    'simulation',
    'replication',
    'nodes',
    'commands',
}
# Files beside the rooms; everybody may import them.
GROUND = {
    '__init__',
    'errors',
    'config',
    'contract',
    'registry',
    'features',
    'message_types',
    'metrics',
    'model_store',
    'contract_checks',
    'durable_files',
    'field_checks',
    'model_diff',
    'proportions',
    'version_history',
    'foreign_files',
    'grid_graph',
    'log_mel',
    'sense_formats',
    'plain_yaml',
    'model_files',
    'model_folders',
    'model_signatures',
    'trusted_keys',
}
ROS = {
    'rclpy',
    'rosidl_runtime_py',
    'launch',
    'launch_ros',
    'rosbag2_py',
    'cv_bridge',
    'sensor_msgs_py',
    'tf2_ros',
    'ament_index_python',
}
# room -> (rooms it may import, packages it must not import)
RULES: dict[str, tuple[set[str], set[str]]] = {
    'ground': (set(), {'torch', 'mujoco', 'h5py', 'rosbags', 'gymnasium'}),
    'trajectory': (set(), {'torch', 'mujoco', 'gymnasium'}),
    'models': (set(), {'mujoco', 'rosbags', 'gymnasium', 'h5py'}),
    'phases': ({'trajectory', 'models', 'language'}, {'mujoco', 'rosbags', 'gymnasium'}),
    'evaluation': ({'models', 'trajectory'}, {'mujoco', 'gymnasium'}),
    'serving': ({'models', 'language'}, {'mujoco', 'gymnasium', 'h5py', 'rosbags'}),
    'language': (set(), {'torch', 'mujoco', 'gymnasium'}),
    'simulation': (set(), {'torch', 'h5py', 'rosbags'}),
    'replication': ({'trajectory'}, {'torch', 'mujoco', 'gymnasium', 'h5py', 'rosbags'}),
    'commands': (ROOMS, set()),
    'nodes': (ROOMS, set()),
}
FILES = sorted(PACKAGE.rglob('*.py'))


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else 'ground'


def imports_of(path: Path) -> list[tuple[int, str]]:
    """List (line, full module name) of every import in a file, also inside functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}:{node.lineno}: relative import'
            module = node.module or ''
            if module == NAME:
                found += [(node.lineno, f'{module}.{alias.name}') for alias in node.names]
            else:
                found.append((node.lineno, module))
    return found


def is_message_package(top: str) -> bool:
    return top.endswith(('_msgs', '_srvs', '_interfaces')) and top != NAME


def violations(path: Path) -> list[str]:
    room = room_of(path)
    rooms, forbidden = RULES[room]
    problems = []
    for line, module in imports_of(path):
        parts = module.split('.')
        if parts[0] == NAME and len(parts) > 1 and parts[1] not in GROUND:
            if parts[1] in ROOMS and parts[1] != room and parts[1] not in rooms:
                problems.append(f'{path}:{line}: {room} must not import {module}')
        elif parts[0] in forbidden:
            problems.append(f'{path}:{line}: {room} must not import {parts[0]}')
        elif room not in ('nodes', 'commands') and (
            parts[0] in ROS or is_message_package(parts[0])
        ):
            problems.append(f'{path}:{line}: only nodes/ imports ROS, not {room}')
    return problems


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_its_room_may(path):
    assert violations(path) == []


def test_every_room_has_a_rule():
    found = {room_of(path) for path in FILES}
    assert found - {'ground'} <= ROOMS
    assert found <= set(RULES)


def test_every_file_beside_the_rooms_is_named_as_ground_floor():
    assert {path.stem for path in PACKAGE.glob('*.py')} <= GROUND


def test_no_file_is_a_drawer_for_everything():
    drawers = {'utils', 'util', 'common', 'helpers', 'helper', 'misc'}
    assert [path for path in FILES if path.stem in drawers] == []


def test_no_file_is_longer_than_400_lines():
    tests = PACKAGE.parents[2] / 'tests'
    long = [
        f'{path}: {count}'
        for path in [*FILES, *tests.rglob('*.py')]
        if (count := len(path.read_text(encoding='utf-8').splitlines())) > 400
    ]
    assert long == []


def test_a_forbidden_import_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], 'PACKAGE', tmp_path)
    file = tmp_path / 'trajectory' / 'buffer.py'
    file.parent.mkdir()
    file.write_text(
        'import numpy\nimport torch\n'
        'def late():\n    import rclpy\n    from sensor_msgs.msg import Imu\n'
        'from robot_learning import features, phases\n'
        'from robot_learning.models.networks import Mlp\n'
    )
    lines = sorted(int(problem.split(':')[1]) for problem in violations(file))
    assert lines == [2, 4, 5, 6, 7]
