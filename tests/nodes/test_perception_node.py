"""The perception node: senses in, world states out, and answers to what if."""

import numpy as np
import pytest
from node_bench import NodeBench, overrides
from nsca_samples import TINY
from nsca_served import NAME, publish
from rclpy.qos import qos_profile_sensor_data
from robot_learning.errors import ConfigError
from robot_learning.nodes.perception_node import PerceptionNode
from robot_learning.nodes.qos import STATUS_QOS
from robot_learning_interfaces.msg import AudioChunk, WorldState
from robot_learning_interfaces.srv import Imagine
from sensor_msgs.msg import Image

SIZE = 64  # Of the arena's camera.


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    return publish(tmp_path_factory.mktemp('models'))


def settings(models):
    return {'robot': 'arena', 'models': str(models), 'model': NAME, 'max_age_s': 5.0}


class Bench(NodeBench):
    """The node, senses, and somebody who listens and asks."""

    def __init__(self, context, models):
        super().__init__(PerceptionNode, context, Imagine, 'imagine', **settings(models))
        self._camera = self.peer.create_publisher(
            Image, 'camera/image_raw', qos_profile_sensor_data
        )
        self._microphone = self.peer.create_publisher(
            AudioChunk, 'microphone/audio', qos_profile_sensor_data
        )
        self.heard = []
        self.peer.create_subscription(WorldState, 'world_state', self.heard.append, STATUS_QOS)
        self.until(
            lambda: (
                self._camera.get_subscription_count() and self._microphone.get_subscription_count()
            )
        )

    def sense(self, stamp_s=7):
        pixels = np.full((SIZE, SIZE, 3), 99, np.uint8)
        image = Image(height=SIZE, width=SIZE, encoding='rgb8', step=3 * SIZE)
        image.header.stamp.sec, image.header.frame_id = stamp_s, 'camera_rgb_frame'
        image.data = pixels.tobytes()
        self._camera.publish(image)
        chunk = AudioChunk(sample_rate=16_000, channels=1, first_sample=0)
        chunk.header.stamp.sec = stamp_s
        chunk.samples = (1000 * np.sin(np.arange(1600) / 5)).astype(np.int16).tolist()
        self._microphone.publish(chunk)


@pytest.fixture
def bench(context, models):
    bench = Bench(context, models)
    yield bench
    bench.close()


def test_what_is_sensed_becomes_a_world_state(bench):
    bench.until(lambda: bench.heard and bench.heard[-1].confidences[1] > 0, each=bench.sense)
    state = bench.heard[-1]
    assert (state.model, state.version, len(state.state)) == (NAME, 1, TINY.state_size)
    assert list(state.modalities) == ['vision', 'audio', 'proprioception']
    assert state.confidences[0] > 0 and state.confidences[2] == 0  # No body was named.
    assert len(state.properties) == len(state.property_values) == 9
    assert state.header.stamp.sec == 7


def test_what_if_is_answered_with_states_and_uncertainty(bench):
    refused = bench.ask(actions=[0.0, 0.0], action_size=2)
    assert not refused.success and 'nothing was perceived yet' in refused.message
    bench.until(lambda: bench.heard, each=bench.sense)
    answer = bench.ask(actions=[0.5, 0.0, 0.5, 0.1, 0.5, 0.2], action_size=2)
    assert answer.success and answer.state_size == TINY.state_size
    assert len(answer.states) == len(answer.uncertainties) == 3 * TINY.state_size
    assert len(answer.rewards) == len(answer.end_probabilities) == 3
    refused = bench.ask(actions=[0.5, 0.0, 0.5], action_size=2)
    assert not refused.success and 'found 3 numbers and action_size 2' in refused.message


def test_it_answers_and_tells_only_while_it_is_active(bench):
    bench.until(lambda: bench.heard, each=bench.sense)
    bench.node.trigger_deactivate()
    refused = bench.ask(actions=[0.5, 0.0], action_size=2)
    assert 'imagine: is inactive' in refused.message
    count = len(bench.heard)
    for _ in range(3):
        bench.sense()
        bench.ask(actions=[0.5, 0.0], action_size=2)
    assert len(bench.heard) <= count + 1, 'one may have been on its way'
    bench.node.trigger_activate()
    bench.until(lambda: len(bench.heard) > count + 1, each=bench.sense)
    assert bench.ask(actions=[0.5, 0.0], action_size=2).success


def test_a_body_of_another_size_is_refused_with_its_number(context, models):
    with pytest.raises(
        ConfigError, match=r'body: scan have 360 numbers, toy-full@1 learned from 3'
    ):
        wrong = overrides({**settings(models), 'body': ['scan']})
        PerceptionNode(context=context, parameter_overrides=wrong)
