"""What every test needs: a ROS domain of its own, a quiet environment, nothing left behind."""

from __future__ import annotations

import fcntl
import gc
import itertools
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / 'ros_ws' / 'src'

_QUIET = {
    'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
    'FASTRTPS_DEFAULT_PROFILES_FILE': str(ROOT / 'config' / 'fastdds.xml'),
    'OMP_NUM_THREADS': '1',
    'OMP_WAIT_POLICY': 'PASSIVE',
    'MPLBACKEND': 'Agg',
    'RCUTILS_COLORIZED_OUTPUT': '0',
}
# Before anything imports torch, matplotlib or rclpy, and for the processes that tests start.
os.environ.update(_QUIET)
os.environ.setdefault('ROS_LOG_DIR', tempfile.mkdtemp(prefix='ros_log_'))
# An emergency stop that a test leaves pressed must not stop the robots of its user.
os.environ['ROS_HOME'] = tempfile.mkdtemp(prefix='ros_home_')
os.environ.setdefault('ROBOT_LEARNING_DATA', str(ROOT.parent / 'shared' / 'data'))
if str(SOURCE) not in os.environ.get('PYTHONPATH', '').split(os.pathsep):
    os.environ['PYTHONPATH'] = os.pathsep.join(
        [str(SOURCE), *filter(None, [os.environ.get('PYTHONPATH')])]
    )
    sys.path.insert(0, str(SOURCE))

import pytest  # noqa: E402

# Files that take longest come first, so that workers end together; the others follow by name.
_FIRST = ('packaging/test_readme.py', 'closed_loop/', 'nodes/', 'commands/')
_NUM_DOMAINS = 101  # 0 is what people use by default; 102 and more collide with other ports.


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests in order; those of a file stay together."""

    def rank(item: pytest.Item) -> int:
        name = item.nodeid.removeprefix('tests/')
        return next((n for n, start in enumerate(_FIRST) if name.startswith(start)), len(_FIRST))

    items.sort(key=rank)


@pytest.fixture(scope='session')
def _domain_locks() -> Iterator[Path]:
    """Lock files in turn: what an earlier test file left in its domain stays out of the next."""
    folder = Path(tempfile.gettempdir()) / 'robot_learning_test_domains'
    folder.mkdir(exist_ok=True)
    return itertools.cycle([folder / str(domain) for domain in range(1, _NUM_DOMAINS + 1)])


@pytest.fixture(scope='module', autouse=True)
def ros_domain(_domain_locks: Iterator[Path]) -> Iterator[int]:
    """Give the tests of one file, and the processes they start, a domain nobody else has."""
    previous = os.environ.get('ROS_DOMAIN_ID')
    for path in itertools.islice(_domain_locks, _NUM_DOMAINS):
        domain = int(path.name)
        with path.open('w') as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if _is_used(domain):  # By something else than tests.
                continue
            os.environ['ROS_DOMAIN_ID'] = str(domain)
            yield domain
            if _ports_held():
                gc.collect()  # Nodes that are part of a cycle are still there.
            assert not (ports := _ports_held()), (
                f'{ports} are still open: a later participant of this process would get them and '
                f'lose its messages. Shut executor, node and context down, in this order.'
            )
        break
    else:
        pytest.fail(f'all {_NUM_DOMAINS} ROS domains are taken by other test runs')
    if previous is None:
        os.environ.pop('ROS_DOMAIN_ID', None)
    else:
        os.environ['ROS_DOMAIN_ID'] = previous


def _is_used(domain: int) -> bool:
    """Tell whether a ROS participant holds the first port of a domain (RTPS 2.5, 9.6.2.3)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(('127.0.0.1', 7410 + 250 * domain))
        except OSError:
            return True
    return False


def _ports_held() -> list[str]:
    """List the shared-memory ports of Fast DDS that this process holds."""
    targets = [fd.readlink().name for fd in Path('/proc/self/fd').iterdir() if fd.is_symlink()]
    return sorted({name for name in targets if 'fastrtps_port' in name and '_el' in name})


@pytest.fixture(scope='module', autouse=True)
def _tiny_numbers_are_kept() -> Iterator[None]:
    """Undo what tests of learning processes leave in this one: hypothesis needs all floats."""
    yield
    torch = sys.modules.get('torch')
    if torch is not None:
        torch.set_flush_denormal(False)


@pytest.fixture(scope='session', autouse=True)
def _no_shared_memory_left() -> Iterator[None]:
    yield
    from robot_learning.commands import shared_memory

    shared_memory.remove_stale_files()


@pytest.fixture(scope='session')
def data_directory() -> Path:
    """Recordings that do not travel with the project; tests that need them skip without."""
    path = Path(os.environ['ROBOT_LEARNING_DATA'])
    if not path.is_dir():
        pytest.skip(f'ROBOT_LEARNING_DATA: {path} is not there')
    return path
