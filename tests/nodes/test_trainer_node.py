"""The trainer as a real process over real DDS."""

import signal
import sys
from pathlib import Path

import pytest

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('robot_learning_interfaces')

from robot_learning_interfaces.action import TrainPhase  # noqa: E402
from robot_learning_interfaces.msg import ModelVersion, SegmentWritten  # noqa: E402
from trainer_peer import DEADLINE_S, Trainers, latest  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent.parent / 'phases'))
from point_mass import write_store  # noqa: E402
from robot_learning.model_store import ModelStore  # noqa: E402

SETTINGS = """
phase: sac
config: {hidden: [16], batch_size: 32}
trainer: {warmup_steps: 20, train_ratio: 1.0, publish_every_s: 0.5, report_every_s: 0.1}
"""


@pytest.fixture
def start(tmp_path):
    trainers = Trainers(tmp_path, SETTINGS)
    yield trainers
    trainers.end()


def finish(process, number=signal.SIGINT):
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 0, error


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


def test_a_task_that_gives_no_rewards_is_named_and_waited_for(peer, start, tmp_path):
    write_store(tmp_path / 'store', 20, seed=0, reward=float('nan'))
    process = start()
    peer.wait_for(lambda: latest(peer, 'waiting'), 'the trainer', process)
    peer.wait_for(lambda: 'without a reward' in peer.metrics[-1].detail, 'the reason', process)
    assert peer.metrics[-1].version == -1
    write_store(tmp_path / 'store', 20, seed=1, first=20)
    peer.wait_for(lambda: latest(peer, 'training'), 'it to learn', process)
    finish(process, signal.SIGTERM)


def test_wrong_settings_end_it_with_their_names(start):
    process = start(phase='sacc')
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "phase 'sacc': unknown" in error
    process = start(device='cudaa')
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "device: found 'cudaa', expected cpu, cuda, cuda:1 or auto" in error
