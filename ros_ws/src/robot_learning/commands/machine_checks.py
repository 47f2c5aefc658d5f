"""What a machine needs to run the system, each checked by trying it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from robot_learning.commands import dds_round_trip, shared_memory

_GIB = 2**30
_MIN_DISK_GIB = 2.0
_MIN_SHARED_MEMORY_GIB = 0.25
_PATIENCE_S = 60.0
_BAD_RCLPY = ('7.1.8', '7.1.9')
_GRAPHICS = 'sudo apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0'

_RENDER = """
import mujoco
model = mujoco.MjModel.from_xml_string('''
<mujoco><worldbody><light pos="0 0 3"/><geom type="box" size=".3 .3 .3" rgba="1 0 0 1"/>
<camera name="eye" pos="0 -2 1" xyaxes="1 0 0 0 .5 1"/></worldbody></mujoco>''')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 64, 64) as renderer:
    renderer.update_scene(data, 'eye')
    picture = renderer.render()
assert picture[..., 0].max() > picture[..., 1].max() + 50, 'the red box is not red'
"""


class Finding(NamedTuple):
    """What one check found. Only `failed` keeps the system from running."""

    name: str
    status: Literal['ok', 'note', 'failed']
    found: str
    to_do: str = ''


def check_python() -> Finding:
    """Python 3.10 to 3.12."""
    version = '.'.join(str(part) for part in sys.version_info[:3])
    if (3, 10) <= sys.version_info[:2] <= (3, 12):
        return Finding('python', 'ok', f'{version} at {sys.executable}')
    to_do = 'Install Python 3.12, remove .venv, and start with PYTHON=python3.12 ./run prepare.'
    return Finding('python', 'failed', f'{version}, expected 3.10 to 3.12', to_do)


def check_rclpy() -> Finding:
    """An rclpy that answers and is not one of the broken versions."""
    try:
        import rclpy.executors  # noqa: F401  # The check is whether it imports.
    except ImportError as error:
        to_do = 'Start through ./run, or source /opt/ros/jazzy/setup.bash.'
        return Finding('rclpy', 'failed', f'cannot be imported ({error})', to_do)
    return judge_rclpy(_version_of('ros-rclpy') or _version_of('rclpy'))


def judge_rclpy(version: str | None) -> Finding:
    """Tell a sound rclpy version from a known-bad one."""
    if version in _BAD_RCLPY:
        to_do = 'It breaks actions under MultiThreadedExecutor. Install rclpy 7.1.6 or 7.1.10.'
        return Finding('rclpy', 'failed', f'{version}, a known-bad version', to_do)
    return Finding('rclpy', 'ok', version or 'of unknown version')


def check_interfaces() -> Finding:
    """The built message package."""
    try:
        import robot_learning_interfaces.msg  # noqa: F401
    except ImportError as error:
        to_do = 'Start through ./run, or build with colcon and source install/setup.bash.'
        return Finding('interfaces', 'failed', f'cannot be imported ({error})', to_do)
    return Finding('interfaces', 'ok', 'robot_learning_interfaces is built')


def check_torch() -> Finding:
    """A torch that computes."""
    return _check_in_process(
        'torch',
        'import torch; a = torch.ones(2, 2); assert (a @ a).sum() == 8; print(torch.__version__)',
        'Install it: .venv/bin/pip install torch==2.13.0',
    )


def check_mujoco() -> Finding:
    """A mujoco of the 3.x series."""
    code = 'import mujoco; assert mujoco.__version__ < "4", mujoco.__version__; '
    return _check_in_process(
        'mujoco',
        code + 'print(mujoco.__version__)',
        "Install it: .venv/bin/pip install 'mujoco>=3.17,<4'",
    )


def check_compiler() -> Finding:
    """A C compiler that compiles against Python's headers; building messages needs it."""
    compiler = shutil.which('cc')
    to_do = 'sudo apt-get install build-essential python3-dev'
    if compiler is None or shutil.which('c++') is None:
        return Finding('compiler', 'note', 'no cc and c++; messages cannot be rebuilt', to_do)
    include = sysconfig.get_path('include')
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / 'check.c'
        source.write_text('#include <Python.h>\nint main(void) { return 0; }\n')
        command = [compiler, f'-I{include}', '-c', str(source), '-o', f'{folder}/check.o']
        result = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S)
    if result.returncode:
        first = result.stderr.strip().splitlines()[0]
        return Finding('compiler', 'note', f'cannot compile for Python: {first}', to_do)
    return Finding('compiler', 'ok', compiler)


def check_rendering() -> Finding:
    """One camera picture, rendered in a process of its own; a broken driver may crash it."""
    problems = []
    for backend in dict.fromkeys((os.environ.get('MUJOCO_GL', 'egl'), 'egl', 'osmesa')):
        environment = {**os.environ, 'MUJOCO_GL': backend, 'PYOPENGL_PLATFORM': backend}
        problem = _problem_of(_RENDER, environment)
        if problem is None:
            return Finding('rendering', 'ok', f'camera pictures through {backend}')
        problems.append(f'{backend}: {problem}')
    found = f'no camera pictures ({"; ".join(problems)}); everything else works'
    return Finding('rendering', 'note', found, _GRAPHICS)


def check_discovery() -> Finding:
    """Two real processes find each other over DDS and a message makes the round trip."""
    to_do = (
        'Let UDP multicast and /dev/shm through, unset ROS_DISCOVERY_SERVER, and try '
        'ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST.'
    )
    try:
        trip = dds_round_trip.measure(_PATIENCE_S / 4)
    except ImportError as error:
        return Finding('dds discovery', 'failed', f'rclpy cannot be imported ({error})', to_do)
    if trip is None:
        return Finding('dds discovery', 'failed', 'two processes did not meet', to_do)
    found = f'met after {trip.discovery_s:.2f} s, round trip {trip.round_trip_ms:.2f} ms'
    return Finding('dds discovery', 'ok', found)


def check_disk() -> Finding:
    """Room for recordings where we are."""
    folder = Path.cwd()
    free = shutil.disk_usage(folder).free / _GIB
    if not os.access(folder, os.W_OK):
        to_do = 'Start in a folder that you may write, or name one with --store and --models.'
        return Finding('disk', 'failed', f'{folder} cannot be written', to_do)
    found = f'{free:.1f} GiB free at {folder}'
    if free < _MIN_DISK_GIB:
        return Finding('disk', 'failed', found, f'Free {_MIN_DISK_GIB:g} GiB for recordings.')
    return Finding('disk', 'ok', found)


def check_shared_memory() -> Finding:
    """Room in /dev/shm for Fast DDS, and none of it taken by dead processes."""
    directory = shared_memory.DIRECTORY
    if not directory.is_dir():
        return Finding('shared memory', 'note', f'no {directory}; DDS uses UDP, which is slower')
    free = shutil.disk_usage(directory).free / _GIB
    stale = shared_memory.stale_files(directory)
    found = f'{free:.1f} GiB free in {directory}, {len(stale)} files of dead processes'
    if free < _MIN_SHARED_MEMORY_GIB:
        to_do = 'Remount it larger (in a container: --shm-size=1g); ./run up removes stale files.'
        return Finding('shared memory', 'failed', found, to_do)
    if stale:
        return Finding('shared memory', 'note', found, './run up removes them at its start.')
    return Finding('shared memory', 'ok', found)


ALL: tuple[Callable[[], Finding], ...] = (
    check_python,
    check_rclpy,
    check_interfaces,
    check_torch,
    check_mujoco,
    check_compiler,
    check_rendering,
    check_discovery,
    check_disk,
    check_shared_memory,
)


def _check_in_process(name: str, code: str, to_do: str) -> Finding:
    result = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=_PATIENCE_S
    )
    if result.returncode:
        return Finding(name, 'failed', _last_line(result.stderr), to_do)
    return Finding(name, 'ok', result.stdout.strip())


def _problem_of(code: str, environment: dict[str, str]) -> str | None:
    """Run `code` in a new process; return what went wrong, None when nothing did."""
    try:
        result = subprocess.run(
            [sys.executable, '-c', code],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        return f'no picture within {_PATIENCE_S:g} s'
    return _last_line(result.stderr) if result.returncode else None


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else 'crashed without a word'


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
