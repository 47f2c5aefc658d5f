"""The perception node in a process of its own follows versions while senses come in."""

import numpy as np
import pytest
import rclpy
import talker
import torch
from nsca_served import NAME, publish
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from robot_learning.model_store import ModelStore
from robot_learning.nodes.qos import NOTICE_QOS, STATUS_QOS
from robot_learning_interfaces.msg import AudioChunk, ModelVersion, WorldState
from rover import wait_until
from sensor_msgs.msg import Image

SIZE = 64  # Of the arena's camera.


class Witness:
    """Senses for the node, and what it says."""

    def __init__(self):
        self.node = Node('witness', namespace='/seen')
        self._camera = self.node.create_publisher(
            Image, 'camera/image_raw', qos_profile_sensor_data
        )
        self._microphone = self.node.create_publisher(
            AudioChunk, 'microphone/audio', qos_profile_sensor_data
        )
        self.states, self.notices = [], []
        self.node.create_subscription(WorldState, 'world_state', self.states.append, STATUS_QOS)
        self.node.create_subscription(
            ModelVersion, 'model_version', self.notices.append, NOTICE_QOS
        )
        self._notices = self.node.create_publisher(ModelVersion, 'model_version', NOTICE_QOS)

    def sense(self):
        image = Image(height=SIZE, width=SIZE, encoding='rgb8', step=3 * SIZE)
        image.header.frame_id = 'camera_rgb_frame'
        image.data = np.full((SIZE, SIZE, 3), 99, np.uint8).tobytes()
        self._camera.publish(image)
        chunk = AudioChunk(sample_rate=16_000, channels=1, first_sample=0)
        chunk.samples = (1000 * np.sin(np.arange(1600) / 5)).astype(np.int16).tolist()
        self._microphone.publish(chunk)
        rclpy.spin_once(self.node, timeout_sec=0.02)

    def until(self, condition, what, deadline_s=20.0):
        def turn():
            self.sense()
            return condition()

        return wait_until(turn, what, deadline_s)

    def is_perceived_by(self, version):
        return bool(self.states) and self.states[-1].version == version

    def said(self, state, version):
        return [n for n in self.notices if (n.state, n.version) == (state, version)]

    def announce(self, version):
        self._notices.publish(
            ModelVersion(model=NAME, version=version, state=ModelVersion.PUBLISHED)
        )


@pytest.fixture
def witness():
    rclpy.init()
    witness = Witness()
    yield witness
    witness.node.destroy_node()
    rclpy.shutdown()


def overflowing(model):
    torch.nn.init.constant_(model.perception.fusion.state[1].weight, 3e38)


def test_it_waits_follows_newer_versions_and_serves_on_where_one_is_refused(witness, tmp_path):
    process = talker.start(
        'perception_node',
        'seen',
        robot='arena',
        models=tmp_path,
        model=NAME,
        max_age_s=5.0,
        poll_s=3600.0,  # So that only notices make it look.
    )
    try:
        publishers = witness.node.count_publishers
        witness.until(lambda: publishers('world_state') == 1, 'the node', 60.0)
        assert not witness.states, 'there is no version yet'
        for version in (1, 2):
            publish(tmp_path, seed=version)
            witness.announce(version)
            witness.until(lambda v=version: witness.is_perceived_by(v), f'states of {version}')
            assert witness.said(ModelVersion.SERVING, version)
        publish(tmp_path, seed=3, change=overflowing)
        witness.announce(3)
        witness.until(lambda: witness.said(ModelVersion.REFUSED, 3), 'a refusal')
        reason = witness.said(ModelVersion.REFUSED, 3)[0].reason
        assert f'{NAME}@3: its state' in reason and 'not finite' in reason
        count = len(witness.states)
        witness.until(lambda: len(witness.states) > count + 3, 'further states')
        assert witness.is_perceived_by(2)
        wait_until(lambda: ModelStore(tmp_path).refusal(NAME, 3) == reason, 'the refusal')
    finally:
        said = talker.interrupt(process)
        print(said)
    assert 'Traceback' not in said
    assert {state.version for state in witness.states} == {1, 2}
