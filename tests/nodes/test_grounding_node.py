"""The grounding node: a service for one picture, a topic for all of them, clear errors."""

import numpy as np
import pytest
from grounding_toys import items, square, training
from node_bench import NodeBench, run_in_vain
from rclpy.qos import qos_profile_sensor_data
from robot_learning.model_store import ModelStore
from robot_learning.nodes.grounding_node import GroundingNode, main
from robot_learning.nodes.qos import STATUS_QOS
from robot_learning_interfaces.msg import Groundings
from robot_learning_interfaces.srv import GroundPhrases
from sensor_msgs.msg import Image

SIZE = 64  # Of the arena's camera.


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp('models')
    objective, _, _ = training(items(8), items(4))
    objective.module.eval()
    tensors, policy = objective.policy()
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    manifest = {'policy': policy, 'phase': 'vision_language'}
    ModelStore(folder).publish('eyes', arrays, manifest)
    return folder


class Bench(NodeBench):
    """The node, a camera, and somebody who asks and listens."""

    def __init__(self, context, models, **parameters):
        settings = {'robot': 'arena', 'models': str(models), 'model': 'eyes', **parameters}
        super().__init__(GroundingNode, context, GroundPhrases, 'ground_phrases', **settings)
        self.camera = self.peer.create_publisher(
            Image, 'camera/image_raw', qos_profile_sensor_data
        )
        self.heard = []
        self.peer.create_subscription(Groundings, 'groundings', self.heard.append, STATUS_QOS)
        self.until(self.camera.get_subscription_count)

    def show(self, stamp_s):
        pixels = square('red', 8, 16).image.repeat(2, axis=0).repeat(2, axis=1)
        message = Image(height=SIZE, width=SIZE, encoding='rgb8', step=3 * SIZE)
        message.header.stamp.sec = stamp_s
        message.header.frame_id = 'camera_rgb_frame'
        message.data = np.ascontiguousarray(pixels).tobytes()
        self.camera.publish(message)

    def ask(self, *phrases, follow=False):
        return super().ask(phrases=list(phrases), follow=follow)


@pytest.fixture
def bench(context, models):
    made = Bench(context, models, rate_hz=50.0)
    yield made
    made.close()


def test_phrases_are_answered_about_the_newest_picture(bench):
    assert 'no picture has come yet' in bench.ask('the red square').message
    bench.until(lambda: bench.ask('the red square').success, each=lambda: bench.show(12))
    response = bench.ask('the red square', 'the blue square')
    result = response.result
    assert response.message == '' and (result.model, result.version) == ('eyes', 1)
    assert (result.image_width, result.image_height) == (SIZE, SIZE)
    assert result.header.stamp.sec == 12
    assert [each.phrase for each in result.groundings] == ['the red square', 'the blue square']
    for each in result.groundings:
        assert 0 <= each.confidence <= 1
        assert np.isfinite(each.x) == each.is_found == (each.confidence >= 0.5)


def test_what_is_followed_is_told_for_every_picture(bench):
    bench.until(lambda: bench.ask('the red square').success, each=lambda: bench.show(1))
    assert bench.heard == []
    assert bench.ask('the square', 'a blue one', follow=True).success
    bench.until(lambda: len(bench.heard) > 1, each=lambda: bench.show(2))
    assert [each.phrase for each in bench.heard[-1].groundings] == ['the square', 'a blue one']
    assert bench.ask(follow=True).success
    count = len(bench.heard)
    for stamp_s in range(3, 6):
        bench.show(stamp_s)
        bench.ask('the square')
    assert len(bench.heard) <= count + 1


def test_it_answers_and_tells_only_while_it_is_active(bench):
    bench.until(lambda: bench.ask('the square', follow=True).success, each=lambda: bench.show(1))
    bench.until(lambda: bench.heard, each=lambda: bench.show(1))
    bench.node.trigger_deactivate()
    assert 'grounding: is inactive' in bench.ask('the square').message
    count = len(bench.heard)
    for stamp_s in range(2, 5):
        bench.show(stamp_s)
        bench.ask('the square')
    assert len(bench.heard) <= count + 1, 'one may have been on its way'
    bench.node.trigger_activate()
    bench.until(lambda: len(bench.heard) > count + 1, each=lambda: bench.show(6))
    assert bench.ask('the square').success


@pytest.mark.parametrize(
    ('phrases', 'said'), [((), 'expected at least one'), (('',), 'expected 1 to 2000')]
)
def test_questions_that_mean_nothing_are_answered_with_why(bench, phrases, said):
    bench.until(lambda: bench.ask('the red square').success, each=lambda: bench.show(1))
    response = bench.ask(*phrases)
    assert not response.success and said in response.message


def test_phrases_can_be_followed_from_the_start(context, models):
    bench = Bench(context, models, phrases=['the red square'], rate_hz=50.0, min_confidence=0.0)
    try:
        bench.until(lambda: bench.heard, each=lambda: bench.show(3))
        (found,) = bench.heard[0].groundings
        assert found.is_found and found.width > 0
    finally:
        bench.close()


@pytest.mark.parametrize(
    ('parameters', 'reason'),
    [
        ({'model': 'absent'}, 'absent'),
        ({'robot': 'crazyflie'}, 'expected a field of type sensor_msgs/msg/Image'),
        ({'camera': 'scan'}, "camera is 'scan'"),
    ],
    ids=str,
)
def test_a_mistake_is_named_and_nothing_starts(models, parameters, reason, capfd):
    settings = {'robot': 'arena', 'models': models, 'model': 'eyes', **parameters}
    assert reason in run_in_vain(main, capfd, **settings)
