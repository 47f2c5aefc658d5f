"""The trainer on another machine: files travel, the cable is cut, processes are killed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from network_namespaces import Cable, cable
from robot_learning.commands import network
from robot_learning.errors import DataError
from robot_learning.model_store import ModelStore
from robot_learning.trajectory.store import TrajectoryStore

DEADLINE_S = 90.0
MODEL = 'walker'
BIG = 12_000_000  # Bytes of the segment during which things go wrong.
RATE = 4_000_000  # Bytes per second, so that there is time for it.
PHASE = """
phase: sac
config: {hidden: [16, 16], batch_size: 32}
trainer: {warmup_steps: 60, publish_every_s: 0.5, report_every_s: 0.2}
"""


class Hosts:
    """A robot and a learner with folders of their own, joined by a cable."""

    def __init__(self, laid: Cable, folder: Path):
        self.cable = laid
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []
        for name in ('robot', 'learner'):
            (folder / name).mkdir()

    def store(self, name: str) -> Path:
        return self._folder / name / 'store'

    def models(self, name: str) -> Path:
        return self._folder / name / 'models'

    def start(self, name: str, command: list[str], variables: dict[str, str]) -> subprocess.Popen:
        index = ('robot', 'learner').index(name)
        with (self._folder / name / 'output').open('a') as output:
            process = self.cable.start(index, [sys.executable, *command], variables, output)
        self._running.append(process)
        return process

    def replicator(self, name: str, reach: str = 'subnet', peers: str = '') -> subprocess.Popen:
        sends, receives = ('segments', 'versions')[:: 1 if name == 'robot' else -1]
        parameters = {
            'host': name,
            'store': self.store(name),
            'models': self.models(name),
            sends: 'send',
            receives: 'receive',
            'transfer.max_bytes_per_s': RATE,
            'transfer.min_free_bytes': 0,
        }
        command = ['-m', 'robot_learning.nodes.replicator_node', '--ros-args']
        for key, value in parameters.items():
            command += ['-p', f'{key}:={value}']
        return self.start(name, command, network.environment(reach, peers, os.environ))

    def up(self, name: str, processes: str) -> subprocess.Popen:
        command = ['-m', 'robot_learning.commands.up', '--only', processes, '--replicate', name]
        command += ['--host', name, '--network', 'subnet', '--model-name', MODEL]
        command += ['--store', str(self.store(name)), '--models', str(self.models(name))]
        command += ['--phase-config', str(self._folder / 'phase.yaml'), '--session', 'today']
        command += ['--set', 'simulator.world.camera=off'] if 'simulator' in processes else []
        if 'recorder' in processes:
            command += ['--set', 'recorder.flush_s=0.3']
            command += ['--set', 'recorder.recorder.reorder_window_s=2.0']
        return self.start(name, command, {})

    def close(self) -> None:
        for number in (signal.SIGINT, signal.SIGKILL):
            for process in self._running:
                process.send_signal(number)
            for process in self._running:
                try:
                    process.wait(20.0)
                except subprocess.TimeoutExpired:
                    continue

    def wait_until(self, predicate: Callable[[], object], what: str) -> None:
        end_s = time.monotonic() + DEADLINE_S
        while not predicate():
            if time.monotonic() > end_s:
                said = ''.join(path.read_text()[-3000:] for path in self._folder.glob('*/output'))
                pytest.fail(f'{what}: not within {DEADLINE_S:g} s\n{said}')
            time.sleep(0.05)


@pytest.fixture
def hosts(tmp_path) -> Iterator[Hosts]:
    with cable() as laid:
        both = Hosts(laid, tmp_path)
        try:
            yield both
        finally:
            both.close()


def write_segment(store: Path, number: int, num_bytes: int) -> None:
    folder = store / 'today'
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / '.segment', 'w') as file:
        file.attrs.update({'format': 1, 'session': 'today', 'number': number})
        file.attrs.update({'contract_hash': 'c', 'contract': '{}'})
        file.create_group('data').attrs['total'] = 0
        file['payload'] = np.random.default_rng(number).integers(0, 256, num_bytes, np.uint8)
    (folder / '.segment').rename(folder / f'segment_{number:06d}.hdf5')


def publish(models: Path) -> None:
    weights = np.random.default_rng().normal(size=200_000).astype('f4')
    ModelStore(models).publish(MODEL, {'w': weights}, {})


def digests(root: Path) -> dict[str, str]:
    """Return visible file -> SHA-256, sessions without the host they came from."""
    found = {}
    for path in sorted(path for path in root.rglob('*') if path.is_file()):
        parts = path.relative_to(root).parts
        if not any(part.startswith('.') for part in parts):
            name = '/'.join(parts).replace('@robot/', '/')
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def arriving(store: Path) -> int:
    """Return how many bytes of unfinished segments are there."""
    sizes = []
    for path in store.glob('.receiving/*/.parts/*'):
        try:
            sizes.append(path.stat().st_size)
        except FileNotFoundError:  # It has just been finished.
            continue
    return max(sizes, default=0)


def test_files_arrive_whole_although_the_cable_is_cut_and_a_receiver_killed(hosts):
    robot, learner = hosts.store('robot'), hosts.store('learner')
    for number in range(3):
        write_segment(robot, number, 50_000)
    write_segment(robot, 3, BIG)
    for _ in range(2):
        publish(hosts.models('learner'))
    hosts.replicator('robot')
    receiver = hosts.replicator('learner')

    hosts.wait_until(lambda: arriving(learner) > BIG / 4, 'a quarter of a segment')
    hosts.cable.cut()
    publish(hosts.models('learner'))
    write_segment(robot, 4, 50_000)
    held = arriving(learner)
    time.sleep(3.0)  # Longer than what was under way could take.
    assert BIG / 4 < arriving(learner) < BIG
    assert len(digests(learner)) == 3  # Nothing is visible before it is whole.
    hosts.cable.mend()

    hosts.wait_until(lambda: arriving(learner) > BIG / 2, 'half of a segment')
    receiver.kill()
    receiver.wait()
    held = arriving(learner)
    assert BIG / 2 < held < BIG
    hosts.replicator('learner')
    hosts.wait_until(lambda: arriving(learner) > held, 'going on')

    hosts.wait_until(lambda: len(digests(learner)) == 5, 'all segments')
    hosts.wait_until(
        lambda: len(ModelStore(hosts.models('robot')).versions(MODEL)) == 3, 'all versions'
    )
    assert digests(learner) == digests(robot)
    assert digests(hosts.models('robot')) == digests(hosts.models('learner'))
    size = sum(path.stat().st_size for path in robot.rglob('*.hdf5'))
    assert size < hosts.cable.sent_bytes(0) < 1.6 * size  # Frames, lost and repeated ones too.


def test_a_host_is_not_seen_by_others_unless_it_is_told_to(hosts):
    write_segment(hosts.store('robot'), 0, 10_000)
    output = hosts.store('robot').parent / 'output', hosts.store('learner').parent / 'output'
    hosts.replicator('robot', reach='localhost')
    closed = hosts.replicator('learner', reach='localhost')
    hosts.wait_until(lambda: all('host ' in path.read_text() for path in output), 'both up')
    time.sleep(4.0)  # Others find each other in less than two seconds.
    assert not digests(hosts.store('learner'))
    assert hosts.cable.sent_bytes(0) < 10_000  # What the kernel says about its own address.
    closed.send_signal(signal.SIGINT)
    closed.wait(20.0)
    hosts.replicator('learner', reach='localhost', peers=hosts.cable.addresses[0])
    hosts.wait_until(lambda: digests(hosts.store('learner')), 'a segment of the named host')


def acted_versions(store: Path) -> set[int]:
    """Return the model versions that drove in the newest segments."""
    versions: set[int] = set()
    for path in TrajectoryStore(store).segments()[-5:]:
        try:
            pieces = TrajectoryStore(store).read_segment(path)
        except DataError:  # Gone meanwhile.
            continue
        versions.update(int(version) for piece in pieces for version in piece.model_version)
    return versions


def test_a_robot_drives_with_what_another_machine_has_learned_from_it(hosts, tmp_path):
    (tmp_path / 'phase.yaml').write_text(PHASE)
    hosts.up('robot', 'simulator,policy,recorder,replicator')
    hosts.up('learner', 'trainer,replicator')
    hosts.wait_until(
        lambda: max(acted_versions(hosts.store('robot')), default=-1) >= 1,
        'a version from the other host that drives',
    )
    sessions = TrajectoryStore(hosts.store('learner')).sessions()
    assert sessions == ['today@robot']
    versions = ModelStore(hosts.models('robot')).versions(MODEL)
    manifest = ModelStore(hosts.models('robot')).manifest(MODEL, versions[0])
    used = manifest['provenance']['segments']
    assert used[0].startswith('today@robot/segment_000000')  # Of one or of a run of them.
