"""Replicators as real processes over real DDS, on one machine."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('robot_learning_interfaces')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from robot_learning_interfaces.msg import FileOffer, ModelVersion, SegmentWritten  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent.parent / 'replication'))
from robot_learning.nodes import qos  # noqa: E402
from wire import contents, publish, write_segment  # noqa: E402

DEADLINE_S = 60.0
ROLES = {
    'robot1': {'segments': 'send', 'versions': 'receive'},
    'learner': {'segments': 'receive', 'versions': 'send'},
}


class Peer:
    """A node beside the replicators that remembers what it heard."""

    def __init__(self):
        self.segments, self.versions, self.health = [], [], {}
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node('peer', context=self._context)
        follow = self.node.create_subscription
        follow(SegmentWritten, 'segment_written', self.segments.append, qos.NOTICE_QOS)
        follow(ModelVersion, 'model_version', self.versions.append, qos.NOTICE_QOS)
        follow(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self.offers = self.node.create_publisher(
            FileOffer, '/replication/offers', qos.qos_profile('reliable')
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def _on_diagnostics(self, message):
        for status in message.status:
            self.health[status.hardware_id] = status

    def value(self, host, key):
        status = self.health.get(host)
        values = {item.key: item.value for item in status.values} if status else {}
        return values.get(key, '')

    def wait_for(self, condition, what):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f'{what}: not within {DEADLINE_S} s: {self.health}'
            self._executor.spin_once(timeout_sec=0.1)

    def close(self):
        self._executor.remove_node(self.node)
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)


@pytest.fixture
def peer():
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def start(tmp_path):
    processes = []

    def start(host, /, **parameters):
        values = {
            'host': host,
            'store': tmp_path / host / 'store',
            'models': tmp_path / host / 'models',
            'transfer.min_free_bytes': 0,
            **ROLES.get(host, {}),
            **parameters,
        }
        arguments = [part for key, value in values.items() for part in ('-p', f'{key}:={value}')]
        process = subprocess.Popen(
            [
                sys.executable,
                '-m',
                'robot_learning.nodes.replicator_node',
                '--ros-args',
                *arguments,
            ],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ.copy(),
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.communicate()


def until_heard(peer, notices, make, what):
    """Make another file every second until there is a notice of one: the first may get lost."""
    due_s = 0.0

    def heard():
        nonlocal due_s
        if not notices and time.monotonic() >= due_s:
            due_s = time.monotonic() + 1.0
            make()
        return notices

    peer.wait_for(heard, what)
    return notices[0]


def test_both_ways_with_notices_and_diagnostics(start, peer, tmp_path):
    robot, learner = tmp_path / 'robot1', tmp_path / 'learner'
    processes = [start('robot1'), start('learner')]
    numbers = itertools.count()

    def record():
        write_segment(robot / 'store', 'monday', next(numbers), 50_000)

    segment = until_heard(peer, peer.segments, record, 'a notice of a segment')
    version = until_heard(
        peer, peer.versions, lambda: publish(learner / 'models'), 'a notice of a version'
    )
    path = Path(segment.path)
    assert path.parent == learner / 'store' / 'monday@robot1'
    assert segment.bytes == path.stat().st_size
    assert segment.num_steps == 7
    assert segment.total_steps == 7 * (int(path.stem.removeprefix('segment_')) + 1)
    assert (version.model, version.state) == ('navigator', ModelVersion.PUBLISHED)
    assert (robot / 'models' / 'navigator' / f'{version.version:06d}').is_dir()

    def is_quiet():
        here, there = contents(robot / 'models'), contents(learner / 'models')
        num_segments = len(contents(learner / 'store'))
        return (
            here == there
            and peer.value('robot1', 'models.received_files') == str(len(there))
            and num_segments == len(contents(robot / 'store'))
            and peer.value('learner', 'segments.received_files') == str(num_segments)
        )

    peer.wait_for(is_quiet, 'everything to arrive and to be counted')
    for host, other in (('robot1', 'learner'), ('learner', 'robot1')):
        assert peer.health[host].level == DiagnosticStatus.OK
        assert peer.health[host].message == f'with {other}'
        assert peer.health[host].name == 'replicator: replication'
    assert int(peer.value('robot1', 'segments.sent_bytes')) >= segment.bytes
    for process in processes:
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
        assert process.returncode == 0, error


def test_what_a_broken_host_says_is_named_and_survived(start, peer, tmp_path):
    process = start('learner')
    peer.wait_for(lambda: 'learner' in peer.health, 'the learner')
    peer.wait_for(lambda: peer.offers.get_subscription_count() > 0, 'the learner to listen')
    assert peer.health['learner'].level == DiagnosticStatus.WARN
    assert 'no other host is heard' in peer.health['learner'].message
    assert '--network subnet' in peer.health['learner'].message

    def refused():
        offer = FileOffer(origin='evil', store='segments', folder='../..', names=['x'])
        peer.offers.publish(offer)  # Its lists differ in length.
        offer.bytes, offer.sha256 = [5], ['a' * 64]
        peer.offers.publish(offer)
        return int(peer.value('learner', 'segments.refused') or 0) > 0

    peer.wait_for(refused, 'the refusal')
    assert "host evil, segments '../..'" in peer.value('learner', 'last_refusal')
    assert contents(tmp_path / 'learner') == {}
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 0
    assert 'lists have lengths [0, 1]' in error
    assert 'no session name' in error


@pytest.mark.parametrize(
    ('parameters', 'named'),
    [
        ({'segments': 'none', 'versions': 'none'}, 'both none'),
        ({'host': 'a-b'}, "host 'a-b'"),
        ({'transfer.chunk_bytes': 10}, 'transfer.chunk_bytes'),
        ({'store': '/dev/null/x'}, '/dev/null/x: cannot be written'),
    ],
)
def test_what_cannot_work_is_said_at_once(start, parameters, named):
    process = start('learner', **parameters)
    _, error = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert named in error


def test_another_host_of_the_same_name_is_named(start, peer):
    start('robot1')
    peer.wait_for(lambda: 'robot1' in peer.health, 'the robot')
    peer.wait_for(lambda: peer.offers.get_subscription_count() > 0, 'the robot to listen')

    def noticed():
        peer.offers.publish(FileOffer(origin='robot1', store='segments', folder='monday'))
        return 'another host calls itself robot1' in peer.health['robot1'].message

    peer.wait_for(noticed, 'the error')
    assert peer.health['robot1'].level == DiagnosticStatus.ERROR


def test_a_second_replicator_keeps_off_a_store(start, peer):
    start('learner')
    peer.wait_for(lambda: 'learner' in peer.health, 'the first')
    second = start('learner')
    _, error = second.communicate(timeout=DEADLINE_S)
    assert second.returncode == 1  # The first may be about to end: `up` tries again.
    assert 'another replicator receives into it' in error
