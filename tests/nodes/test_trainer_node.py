"""The trainer as a real process over real DDS."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('robot_learning_interfaces')

from rclpy.action import ActionClient  # noqa: E402
from robot_learning_interfaces.action import TrainPhase  # noqa: E402
from robot_learning_interfaces.msg import ModelVersion, SegmentWritten, TrainingMetrics  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent.parent / 'phases'))
from point_mass import point_contract, write_store  # noqa: E402
from robot_learning.model_store import ModelStore  # noqa: E402
from robot_learning.nodes import qos  # noqa: E402

DEADLINE_S = 60.0
SETTINGS = """
phase: sac
config: {hidden: [16], batch_size: 32}
trainer: {warmup_steps: 20, train_ratio: 1.0, publish_every_s: 0.5, report_every_s: 0.1}
"""


class Peer:
    """A node beside the trainer that remembers what it heard."""

    def __init__(self):
        self.node = rclpy.create_node('peer')
        self.metrics, self.versions = [], []
        self.node.create_subscription(
            TrainingMetrics, 'training_metrics', self.metrics.append, qos.NOTICE_QOS
        )
        self.node.create_subscription(
            ModelVersion, 'model_version', self.versions.append, qos.NOTICE_QOS
        )
        self.notices = self.node.create_publisher(
            SegmentWritten, 'segment_written', qos.NOTICE_QOS
        )
        self.train = ActionClient(self.node, TrainPhase, 'train_phase')

    def wait_for(self, condition, what, process=None):
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            rclpy.spin_once(self.node, timeout_sec=0.1)
            if condition():
                return
            if process is not None and process.poll() is not None:
                pytest.fail(f'{what} did not come: {process.communicate()[1]}')
        last = self.metrics[-1] if self.metrics else None
        pytest.fail(f'{what} did not come within {DEADLINE_S} s; last heard: {last}')


@pytest.fixture
def peer():
    rclpy.init()
    peer = Peer()
    yield peer
    peer.node.destroy_node()
    rclpy.shutdown()


@pytest.fixture
def start(tmp_path):
    """Start trainers over one folder; whatever still runs at the end is stopped."""
    import yaml

    (tmp_path / 'point.yaml').write_text(yaml.safe_dump(point_contract().to_dict()))
    (tmp_path / 'sac.yaml').write_text(SETTINGS)
    processes = []

    def start(**parameters):
        values = {
            'robot': tmp_path / 'point.yaml',
            'store': tmp_path / 'store',
            'models': tmp_path / 'models',
            'model_name': 'point',
            'config': tmp_path / 'sac.yaml',
            **parameters,
        }
        arguments = [part for key, value in values.items() for part in ('-p', f'{key}:={value}')]
        process = subprocess.Popen(
            [sys.executable, '-m', 'robot_learning.nodes.trainer_node', '--ros-args', *arguments],
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


def finish(process, number=signal.SIGINT):
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 0, error


def latest(peer, state):
    return bool(peer.metrics) and peer.metrics[-1].state == state


def test_it_waits_learns_publishes_and_goes_on_after_a_kill(peer, start, tmp_path):
    process = start()
    peer.wait_for(lambda: latest(peer, 'waiting'), 'the report that it waits', process)
    assert peer.metrics[-1].detail == 'Holds 0 of 20 steps; waiting for more.'
    assert peer.metrics[-1].version == -1

    write_store(tmp_path / 'store', 30, seed=0)
    peer.notices.publish(SegmentWritten())
    peer.wait_for(lambda: peer.versions and latest(peer, 'waiting'), 'a version', process)
    report, version = peer.metrics[-1], peer.versions[0]
    assert report.train_ratio == pytest.approx(1.0, abs=0.05)
    assert 'sac/critic_loss' in report.names
    assert (version.model, version.state) == ('point', ModelVersion.PUBLISHED)
    manifest = ModelStore(tmp_path / 'models').manifest('point', version.version)
    assert version.sha256 == manifest['sha256']

    finish(process, signal.SIGINT)
    assert (tmp_path / 'checkpoints' / 'point-sac').is_dir()
    assert (tmp_path / 'tensorboard' / 'point-sac').is_dir()
    done = max(metrics.update for metrics in peer.metrics)

    write_store(tmp_path / 'store', 10, seed=1, first=30)
    peer.metrics.clear()
    second = start()
    peer.wait_for(lambda: latest(peer, 'waiting'), 'the resumed trainer', second)
    assert peer.metrics[-1].update > done
    assert peer.metrics[-1].train_ratio == pytest.approx(1.0, abs=0.05)
    second.kill()
    second.communicate()
    store = ModelStore(tmp_path / 'models')
    for number in store.versions('point'):
        store.verify('point', number)


def test_a_second_trainer_of_one_output_is_refused_at_once(peer, start, tmp_path):
    first = start(phase='sac')
    peer.wait_for(lambda: latest(peer, 'waiting'), 'a first report', first)
    second = start(phase='sac')
    _, error = second.communicate(timeout=DEADLINE_S)
    assert second.returncode == 1  # The first may be about to end: `up` tries again.
    assert 'point-sac: another trainer is at work here' in error
    assert first.poll() is None
    first.kill()
    first.communicate()
    write_store(tmp_path / 'store', 20, seed=0)
    third = start(phase='sac')  # No lock is left that a person would have to remove.
    peer.wait_for(lambda: peer.versions, 'a version', third)


def test_a_request_trains_gives_feedback_and_names_its_version(peer, start, tmp_path):
    write_store(tmp_path / 'store', 20, seed=0)
    start(phase="''")
    assert peer.train.wait_for_server(timeout_sec=DEADLINE_S)
    goal = TrainPhase.Goal(
        phase='behavior_cloning',
        config_yaml='config: {hidden: [8], batch_size: 16}\ntrainer: {report_every_s: 0.01}',
        num_updates=300,
    )
    feedback = []
    accepted = peer.train.send_goal_async(goal, feedback_callback=feedback.append)
    peer.wait_for(accepted.done, 'the acceptance')
    ended = accepted.result().get_result_async()
    peer.wait_for(ended.done, 'the result')
    result = ended.result().result
    assert (result.success, result.message, result.update) == (True, '', 300)
    assert ModelStore(tmp_path / 'models').manifest('point', result.version)['phase'] == (
        'behavior_cloning'
    )
    assert feedback


def test_a_request_can_be_canceled_and_leaves_a_version(peer, start, tmp_path):
    write_store(tmp_path / 'store', 20, seed=0)
    start()
    assert peer.train.wait_for_server(timeout_sec=DEADLINE_S)
    heard = []
    accepted = peer.train.send_goal_async(
        TrainPhase.Goal(phase='sac'), feedback_callback=heard.append
    )
    peer.wait_for(accepted.done, 'the acceptance')
    peer.wait_for(lambda: bool(heard), 'feedback')
    handle = accepted.result()
    handle.cancel_goal_async()
    ended = handle.get_result_async()
    peer.wait_for(ended.done, 'the end')
    assert ended.result().result.version >= 1
    peer.metrics.clear()
    peer.wait_for(lambda: bool(peer.metrics), 'the phase it went back to')


def test_data_it_cannot_learn_from_stops_the_phase_loudly_but_not_the_process(
    peer, start, tmp_path
):
    write_store(tmp_path / 'store', 20, seed=0, reward=float('nan'))
    process = start()
    peer.wait_for(lambda: latest(peer, 'failed'), 'the failure', process)
    assert 'without a reward' in peer.metrics[-1].detail
    assert peer.metrics[-1].version == -1
    peer.metrics.clear()
    peer.wait_for(lambda: latest(peer, 'failed'), 'the failure again', process)
    finish(process, signal.SIGTERM)


def test_wrong_settings_end_it_with_their_names(start):
    process = start(phase='sacc')
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "phase 'sacc': unknown" in error
