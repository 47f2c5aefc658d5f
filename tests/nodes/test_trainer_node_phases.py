"""Every phase in a trainer of its own, beside a robot: learns, publishes, serves train_phase."""

import sys
from pathlib import Path

import pytest
import yaml

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('robot_learning_interfaces')

from robot_learning_interfaces.action import TrainPhase  # noqa: E402
from robot_learning_interfaces.msg import SegmentWritten  # noqa: E402
from trainer_peer import DEADLINE_S, Trainers  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent.parent / 'phases'))
from point_mass import write_store  # noqa: E402
from robot_learning.model_store import ModelStore  # noqa: E402
from robot_learning.phases.phase import PHASES  # noqa: E402
from test_trainer_on_policy import Robot  # noqa: E402

MODEL = {'deter': 16, 'hidden': 8, 'groups': 4, 'classes': 4, 'blocks': 1, 'num_bins': 15}
SMALL = {
    'sac': ({'hidden': [8], 'batch_size': 16}, 'sac/critic_loss'),
    'ppo': ({'hidden': [8], 'num_steps': 40, 'batch_size': 20, 'num_epochs': 1}, 'ppo/kl'),
    'behavior_cloning': ({'hidden': [8], 'batch_size': 16}, 'behavior_cloning/loss'),
    'sequence_cloning': (
        {'hidden': [8], 'memory_size': 8, 'batch_size': 4, 'length': 8},
        'sequence_cloning/loss',
    ),
    'world_model': (
        {'model': MODEL, 'batch_size': 4, 'batch_length': 8},
        'world_model/loss',
    ),
    'dreamer': (
        {'model': MODEL, 'batch_size': 4, 'length': 8, 'horizon': 3, 'warmup_updates': 1},
        'dreamer/actor_loss',
    ),
}
TRAINER = {
    'warmup_steps': 40,
    'train_ratio': 1.0,
    'max_saved_updates': 100_000,
    'publish_every_s': 0.2,
    'report_every_s': 0.01,
    'report_every_updates': 1,
}


@pytest.fixture
def start(tmp_path, request):
    phase = request.node.callspec.params['phase']
    settings = {'phase': phase, 'config': SMALL[phase][0], 'trainer': TRAINER}
    trainers = Trainers(tmp_path, yaml.safe_dump(settings))
    yield trainers
    trainers.end()


class Loop:
    """Waits, and lets a robot drive each new version of ppo meanwhile."""

    def __init__(self, peer, root, phase):
        self._peer, self._driven = peer, -1  # No version yet is None.
        self._robot = Robot(root) if phase == 'ppo' else None

    def wait_for(self, condition, what, process):
        def drive_and_look():
            if self._robot is not None:
                version = self._robot.models.newest('point')
                if version != self._driven:
                    self._robot.drive(8)
                    self._driven = version
                    self._peer.notices.publish(SegmentWritten())
            return condition()

        self._peer.wait_for(drive_and_look, what, process)


def test_no_phase_is_left_out():
    assert set(SMALL) == set(PHASES)


@pytest.mark.parametrize('phase', SMALL)
def test_a_phase_learns_from_the_robots_segments_and_on_request(peer, start, tmp_path, phase):
    config, metric = SMALL[phase]
    name = 'point-world_model' if phase == 'world_model' else 'point'
    store = ModelStore(tmp_path / 'models')
    loop = Loop(peer, tmp_path, phase)
    if phase != 'ppo':  # Which learns from nothing but what its versions drive.
        write_store(tmp_path / 'store', 30, seed=0)
    process = start(phase=phase)
    loop.wait_for(
        lambda: any(m.state == 'training' and metric in m.names for m in peer.metrics),
        'training',
        process,
    )
    loop.wait_for(lambda: any(v.model == name for v in peer.versions), 'a version', process)
    assert {m.phase for m in peer.metrics} == {phase}
    assert store.manifest(name, 1)['phase'] == phase
    assert store.names() == [name]

    assert peer.train.wait_for_server(timeout_sec=DEADLINE_S)
    feedback = []
    overrides = yaml.safe_dump({'config': {**config, 'batch_size': 5}})
    goal = TrainPhase.Goal(phase=phase, config_yaml=overrides, num_updates=3)
    accepted = peer.train.send_goal_async(goal, feedback_callback=feedback.append)
    loop.wait_for(accepted.done, 'the acceptance', process)
    ended = accepted.result().get_result_async()
    loop.wait_for(ended.done, 'the result', process)
    result = ended.result().result
    assert (result.success, result.message, result.update) == (True, '', 3)
    assert store.manifest(name, result.version)['config']['batch_size'] == 5
    assert any(metric in heard.feedback.names for heard in feedback)

    feedback.clear()
    goal = TrainPhase.Goal(phase=phase, config_yaml=overrides)
    accepted = peer.train.send_goal_async(goal, feedback_callback=feedback.append)
    loop.wait_for(lambda: len(feedback) > 1, 'feedback', process)
    handle = accepted.result()
    handle.cancel_goal_async()
    ended = handle.get_result_async()
    loop.wait_for(ended.done, 'the end', process)
    peer.metrics.clear()
    loop.wait_for(lambda: bool(peer.metrics), 'the phase it went back to', process)
    assert process.poll() is None
