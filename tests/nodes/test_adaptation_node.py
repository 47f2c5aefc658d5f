"""The adaptation node: examples or driving in, a version of the model store out."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from geometry_msgs.msg import PoseWithCovarianceStamped, TwistStamped
from nav_msgs.msg import Odometry
from node_bench import NodeBench
from rclpy.qos import qos_profile_sensor_data
from robot_learning.model_store import ModelStore
from robot_learning.models.meta_learner import MetaLearner, MetaLearnerConfig, MetaShape
from robot_learning.nodes.adaptation_node import AdaptationNode
from robot_learning.nodes.qos import COMMAND_QOS
from robot_learning_interfaces.srv import AdaptModel


@pytest.fixture
def models(tmp_path):
    torch.manual_seed(0)
    learner = MetaLearner(MetaLearnerConfig(hidden=(8,), inner_rate=0.02), MetaShape((6,), 5))
    policy = {
        'kind': 'meta_learner',
        'learner': dataclasses.asdict(learner.config),
        'inputs': [6],
        'num_targets': 5,
        'num_classes': 0,
    }
    arrays = {name: tensor.detach().numpy() for name, tensor in learner.state_dict().items()}
    ModelStore(tmp_path).publish('dynamics', arrays, {'policy': policy, 'phase': 'meta'})
    return tmp_path


class Bench(NodeBench):
    """The node, a robot that drives, and somebody who asks."""

    def __init__(self, context, models, **parameters):
        settings = {'robot': 'arena', 'models': str(models), **parameters}
        super().__init__(AdaptationNode, context, AdaptModel, 'adapt_model', **settings)
        sensor = qos_profile_sensor_data
        self.odometry = self.peer.create_publisher(Odometry, 'odom', sensor)
        self.pose = self.peer.create_publisher(PoseWithCovarianceStamped, 'amcl_pose', 10)
        self.command = self.peer.create_publisher(TwistStamped, 'cmd_vel', COMMAND_QOS)

    def drive(self, step):
        """Publish one control step of 0.2 s."""
        sec, nanosec = divmod(step * 200_000_000, 10**9)
        odometry, pose, command = Odometry(), PoseWithCovarianceStamped(), TwistStamped()
        for message in (odometry, pose, command):
            message.header.stamp.sec, message.header.stamp.nanosec = 10 + sec, nanosec
        odometry.twist.twist.linear.x = 0.3 + 0.1 * math.sin(step)
        odometry.header.frame_id, odometry.child_frame_id = 'odom', 'base_footprint'
        pose.header.frame_id = 'map'
        pose.pose.pose.position.x = 0.06 * step
        pose.pose.pose.orientation.w = 1.0
        command.twist.linear.x = 0.3
        self.pose.publish(pose)
        self.command.publish(command)
        self.odometry.publish(odometry)


@pytest.fixture
def bench(context, models):
    made = Bench(context, models)
    yield made
    made.close()


def test_examples_give_a_version_of_its_own(bench, models):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((20, 6)).astype(np.float32)
    targets = np.tile(np.float32([1, 2, 3, 4, 5]), (20, 1))
    answer = bench.ask(inputs=inputs.ravel(), targets=targets.ravel(), num_examples=20)
    assert answer.success and answer.message == ''
    assert (answer.model, answer.version) == ('dynamics-adapted', 1)
    assert answer.error_after < answer.error_before
    assert answer.wall_ms > 0
    _, manifest = ModelStore(models).load('dynamics-adapted', 1)
    assert manifest['provenance']['adapted_from'] == 'dynamics@1'
    assert ModelStore(models).versions('dynamics') == [1]


def test_the_newest_driving_gives_a_version(bench):
    answer = bench.ask(seconds=2.0)
    assert not answer.success and answer.version == -1
    assert '0.0 s are known without a gap, expected 2.0 s' in answer.message
    assert math.isnan(answer.error_before)
    bench.until(
        lambda: bench.odometry.get_subscription_count() and bench.pose.get_subscription_count()
    )
    steps = iter(range(10**6))
    for _ in range(30):  # A reading that is lost is a gap; so all are waited for in turn.
        bench.drive(next(steps))
        for _ in range(4):
            bench.turn()
    bench.until(lambda: bench.ask(seconds=2.0).success, each=lambda: bench.drive(next(steps)))
    answer = bench.ask(seconds=2.0)
    assert answer.model == 'dynamics-adapted' and answer.version >= 2
    assert math.isfinite(answer.error_after)


def test_what_does_not_fit_is_said_and_the_node_lives_on(bench):
    assert (
        'expected as many of each for all of 3'
        in bench.ask(inputs=[1.0] * 6, targets=[1.0] * 5, num_examples=3).message
    )
    assert (
        'expected 6 and 5 for each example'
        in bench.ask(inputs=[1.0] * 4, targets=[1.0] * 5, num_examples=1).message
    )
    assert (
        'is not finite'
        in bench.ask(inputs=[math.nan] * 6, targets=[1.0] * 5, num_examples=1).message
    )
    assert (
        'absent'
        in bench.ask(model='absent', inputs=[1.0] * 6, targets=[1.0] * 5, num_examples=1).message
    )
    assert (
        'version 7 is not in'
        in bench.ask(version=7, inputs=[1.0] * 6, targets=[1.0] * 5, num_examples=1).message
    )
    good = bench.ask(inputs=[1.0] * 6, targets=[1.0] * 5, num_examples=1)
    assert good.success and math.isnan(good.error_after)


def test_inactive_it_changes_nothing(context, models):
    bench = Bench(context, models)
    try:
        bench.node.trigger_deactivate()
        answer = bench.ask(inputs=[1.0] * 6, targets=[1.0] * 5, num_examples=1)
        assert 'is inactive' in answer.message
        assert ModelStore(models).names() == ['dynamics']
    finally:
        bench.close()


def test_a_robot_that_does_not_drive_needs_examples(context, models):
    bench = Bench(context, models, robot='crazyflie')
    try:
        assert 'Send inputs and targets' in bench.ask(seconds=1.0).message
        assert bench.ask(inputs=[1.0] * 6, targets=[1.0] * 5, num_examples=1).success
    finally:
        bench.close()
