"""What packages say about themselves agrees with what is there."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib import import_module
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / 'ros_ws' / 'src'
PACKAGE = SOURCE / 'robot_learning'
INTERFACES = SOURCE / 'robot_learning_interfaces'
WORKSPACE_PACKAGES = {'robot_learning', 'robot_learning_interfaces'}

# Import name -> name on PyPI, where the two differ.
ON_PYPI = {'yaml': 'pyyaml', 'PIL': 'pillow', 'stable_baselines3': 'stable-baselines3'}
ONLY_WITH_ROS = {'launch', 'launch_ros', 'cv_bridge', 'sensor_msgs_py', 'ament_index_python'}
# Come with pydantic and rosbags, and with Python 3.14.
INDIRECT = {'annotated_types', 'pydantic_core', 'backports', 'compression', 'lz4', 'apsw'}
# Only for what asks for it, with an error that names it; tests have them.
OPTIONAL = {'dm_control', 'wandb'}


def imported_packages(folder: Path) -> set[str]:
    tops: set[str] = set()
    for path in folder.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                tops |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                tops.add(node.module.split('.')[0])
    return tops - set(sys.stdlib_module_names) - {'robot_learning'}


def is_message_package(name: str) -> bool:
    return name.endswith(('_msgs', '_srvs', '_interfaces'))


def requirements(name: str) -> set[str]:
    lines = (ROOT / 'requirements' / name).read_text().splitlines()
    names = [re.match(r'[\w.-]+', line) for line in lines if line and line[0] != '#']
    return {match.group().lower() for match in names if match}


def manifest(path: Path) -> ElementTree.Element:
    return ElementTree.parse(path / 'package.xml').getroot()


def console_scripts() -> dict[str, str]:
    """Read the entry points out of setup.py by letting it write its egg-info text."""
    code = (
        'import setuptools, runpy, json\n'
        'setuptools.setup = lambda **k: print(json.dumps(k["entry_points"]["console_scripts"]))\n'
        'runpy.run_path("setup.py")'
    )
    result = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    pairs = [line.split(' = ') for line in ast.literal_eval(result.stdout)]
    return dict(pairs)


def test_the_version_is_the_same_everywhere():
    version = re.search(r"version='([\d.]+)'", (ROOT / 'setup.py').read_text()).group(1)
    assert manifest(ROOT).findtext('version') == version
    assert manifest(INTERFACES).findtext('version') == version
    assert f'## {version}' in (ROOT / 'CHANGELOG.md').read_text()


@pytest.mark.parametrize('folder', [ROOT, INTERFACES], ids=lambda folder: folder.name)
def test_the_manifest_has_what_rosdep_and_colcon_need(folder):
    root = manifest(folder)
    assert root.get('format') == '3'
    assert root.findtext('license') == 'Apache-2.0'
    assert re.fullmatch(r'[\w.-]+@[\w-]+(\.[\w-]+)+', root.find('maintainer').get('email'))
    assert root.findtext('export/build_type') in ('ament_python', 'ament_cmake')


def test_the_manifest_depends_on_every_ros_package_that_is_imported():
    depends = {element.text for element in manifest(ROOT) if element.tag.endswith('depend')}
    imported = {name for name in imported_packages(PACKAGE) if is_message_package(name)}
    assert (imported | ONLY_WITH_ROS | {'rclpy'}) - depends == set()


def test_every_imported_package_is_required():
    required = requirements('base.txt') | requirements('torch.txt') | {'rclpy'}
    required |= INDIRECT | ONLY_WITH_ROS | OPTIONAL
    imported = {
        ON_PYPI.get(name, name)
        for name in imported_packages(PACKAGE)
        if not is_message_package(name) and not name.startswith(('rclpy', 'rosidl'))
    }
    assert imported - required == set()
    assert requirements('test.txt') >= OPTIONAL


def test_torch_is_pinned_and_alone_because_others_would_pull_another():
    text = (ROOT / 'requirements' / 'torch.txt').read_text()
    assert [line for line in text.splitlines() if line[0] != '#'] == ['torch==2.13.0']
    others = requirements('base.txt') | requirements('test.txt') | requirements('ros.txt')
    assert 'torch' not in others


@pytest.mark.parametrize(('script', 'target'), console_scripts().items())
def test_every_executable_leads_to_a_function(script, target):
    module, function = target.split(':')
    spec = importlib.util.find_spec(module)
    assert spec is not None, f'{script}: {module} is not there'
    functions = {
        node.name
        for node in ast.parse(Path(spec.origin).read_text(encoding='utf-8')).body
        if isinstance(node, ast.FunctionDef)
    }
    assert function in functions


def test_every_executable_is_installed_by_the_build():
    prefixes = os.environ['AMENT_PREFIX_PATH'].split(os.pathsep)
    folders = [Path(prefix) / 'lib' / 'robot_learning' for prefix in prefixes]
    installed = {path.name for folder in folders if folder.is_dir() for path in folder.iterdir()}
    assert set(console_scripts()) <= installed


def test_cmake_generates_every_interface_file():
    text = (INTERFACES / 'CMakeLists.txt').read_text()
    listed = set(re.findall(r'(?:msg|srv|action)/\w+\.(?:msg|srv|action)', text))
    there = {
        str(path.relative_to(INTERFACES))
        for kind in ('msg', 'srv', 'action')
        for path in (INTERFACES / kind).iterdir()
    }
    assert listed == there


def test_every_field_of_every_interface_is_explained():
    silent = []
    for kind in ('msg', 'srv', 'action'):
        for path in (INTERFACES / kind).iterdir():
            for line in path.read_text().splitlines():
                is_constant = re.match(r'\w+ [A-Z_]+ *=', line)
                is_field = line and line[0] not in '#-' and not is_constant
                if is_field and len(line.partition('#')[2].strip()) < 3:
                    silent.append(f'{path.name}: {line}')
    assert silent == []


@pytest.mark.parametrize('path', sorted(INTERFACES.rglob('*.msg')), ids=lambda path: path.stem)
def test_every_message_is_built_with_all_its_fields(path):
    built = getattr(import_module('robot_learning_interfaces.msg'), path.stem)
    fields = re.findall(r'^[\w/]+(?:\[\])? +([a-z_]\w*)\b(?! *=)', path.read_text(), re.MULTILINE)
    assert list(built.get_fields_and_field_types()) == fields


@pytest.mark.parametrize('folder', [ROOT, ROOT / 'ros_ws'], ids=['root', 'ros_ws'])
def test_colcon_sees_both_packages_from_both_places(folder):
    result = subprocess.run(
        [sys.executable, '-m', 'colcon', 'list', '--names-only'],
        cwd=folder,
        env={**os.environ, 'COLCON_LOG_PATH': os.devnull},
        capture_output=True,
        text=True,
    )
    assert set(result.stdout.split()) == WORKSPACE_PACKAGES, result.stderr


def test_colcon_tests_files_that_are_there_from_both_places():
    arguments = [
        yaml.safe_load((ROOT / folder / 'colcon_defaults.yaml').read_text())['test']['pytest-args']
        for folder in ('.', 'ros_ws')
    ]
    assert arguments[0] == arguments[1]
    assert all((ROOT / path).exists() for path in arguments[0])


def test_the_transform_message_of_the_wheels_is_that_of_ros():
    """Its hash is what Jazzy's own tf2_msgs has; else nodes would not talk to each other."""
    transforms = pytest.importorskip('tf2_msgs.msg').TFMessage
    hash_of_jazzy = 'e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087'
    share = [
        Path(prefix) / 'share' / 'tf2_msgs' / 'msg' / 'TFMessage.json'
        for prefix in os.environ['AMENT_PREFIX_PATH'].split(os.pathsep)
    ]
    description = next(path for path in share if path.is_file())
    assert hash_of_jazzy in description.read_text()
    assert list(transforms.get_fields_and_field_types()) == ['transforms']
