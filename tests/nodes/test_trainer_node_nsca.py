"""NSCA's phases in a trainer node: a real process beside a store that grows, killed once."""

import sys
from pathlib import Path

import pytest
import yaml

rclpy = pytest.importorskip('rclpy')
pytest.importorskip('robot_learning_interfaces')

from robot_learning_interfaces.action import TrainPhase  # noqa: E402
from robot_learning_interfaces.msg import SegmentWritten  # noqa: E402
from trainer_peer import DEADLINE_S, Trainers, latest  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent.parent / 'phases'))
from moving_light import SETTINGS, light_contract, write_lights  # noqa: E402
from robot_learning.model_store import ModelStore  # noqa: E402


@pytest.fixture
def start(tmp_path):
    trainers = Trainers(tmp_path, SETTINGS)
    (tmp_path / 'point.yaml').write_text(yaml.safe_dump(light_contract().to_dict()))
    yield lambda: trainers(phase='nsca', model_name='eyes')
    trainers.end()


def test_the_phases_run_beside_the_robot_and_go_on_after_a_kill(peer, start, tmp_path):
    process = start()
    peer.wait_for(lambda: latest(peer, 'waiting'), 'the report that it waits', process)
    assert peer.metrics[-1].detail == 'Holds 0 of 100 new steps; waiting for more.'

    write_lights(tmp_path / 'store', 10, seed=0)
    peer.notices.publish(SegmentWritten())
    peer.wait_for(
        lambda: any(v.model == 'eyes-fusion' for v in peer.versions), 'a version', process
    )
    process.kill()
    process.communicate()
    models = ModelStore(tmp_path / 'models')
    seen = models.newest('eyes-vision')

    peer.metrics.clear()
    process = start()
    peer.wait_for(
        lambda: any(v.model == 'eyes-full' for v in peer.versions), 'the last phase', process
    )
    assert models.newest('eyes-vision') == seen  # It was finished before.
    assert {m.phase for m in peer.metrics} <= {'nsca_fusion', 'nsca_dynamics', 'nsca_full'}
    assert models.manifest('eyes-full', 1)['provenance']['segments'] == [
        'today/segment_000000.hdf5'
    ]

    assert peer.train.wait_for_server(timeout_sec=DEADLINE_S)
    accepted = peer.train.send_goal_async(TrainPhase.Goal(phase='nsca_vision', num_updates=2))
    peer.wait_for(accepted.done, 'the acceptance', process)
    ended = accepted.result().get_result_async()
    peer.wait_for(ended.done, 'the result', process)
    result = ended.result().result
    assert (result.success, result.message, result.update) == (True, '', 2)
    assert models.newest('eyes-vision') > seen
