"""What is drawn: the way driven, the way expected, version and gate."""

import time

import pytest
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry, Path
from node_bench import overrides, turning
from rclpy.node import Node
from robot_learning import contract as contracts
from robot_learning.features import FeatureBuilder
from robot_learning.model_store import ModelStore
from robot_learning.models.world_model import WorldModel, WorldModelConfig
from robot_learning.nodes.display_node import DisplayNode
from robot_learning.nodes.messages import time_message
from robot_learning.nodes.qos import EPISODE_EVENT_QOS, qos_profile
from robot_learning_interfaces.msg import EpisodeEvent, GateStatus, PolicyAction
from rover import wait_until
from sensor_msgs.msg import LaserScan
from visualization_msgs.msg import MarkerArray

ARENA = contracts.load('arena')


@pytest.fixture
def shown(context, tmp_path):
    """Run a display node, and one that plays the robot; return the latter and what it hears."""
    features = FeatureBuilder(ARENA)
    tiny = WorldModelConfig(deter=16, hidden=8, depth=2, groups=3, classes=4, blocks=2)
    tensors, description = WorldModel(features.size, 2, tiny, features.blocks).published()
    weights = {name: value.numpy() for name, value in tensors.items()}
    ModelStore(tmp_path).publish('navigator-world_model', weights, {'policy': description})
    settings = {'models': str(tmp_path), 'rate_hz': 10.0, 'horizon': 6}
    display = DisplayNode(
        context=context, namespace='/shown', parameter_overrides=overrides(settings)
    )
    robot = Node('robot', context=context, namespace='/shown')
    heard = {'path': [], 'expected_path': [], 'display/state': []}
    robot.create_subscription(Path, 'path', heard['path'].append, qos_profile('latched'))
    robot.create_subscription(Path, 'expected_path', heard['expected_path'].append, 10)
    robot.create_subscription(MarkerArray, 'display/state', heard['display/state'].append, 10)
    with turning(context, display, robot):
        yield robot, heard


def test_ways_version_and_gate_are_drawn(shown):
    robot, heard = shown
    make = robot.create_publisher
    poses = make(PoseWithCovarianceStamped, 'amcl_pose', 10)
    scans, odometry = make(LaserScan, 'scan', 10), make(Odometry, 'odom', 10)
    goals = make(PoseStamped, 'goal_pose', qos_profile('latched'))
    actions, statuses = (
        make(PolicyAction, 'policy_action', 10),
        make(GateStatus, 'gate_status', 10),
    )
    events = make(EpisodeEvent, 'episode_event', EPISODE_EVENT_QOS)
    outputs = (poses, scans, odometry, goals, actions, statuses, events)
    wait_until(lambda: all(o.get_subscription_count() for o in outputs), 'display')
    goal = PoseStamped()
    goal.header.frame_id, goal.pose.orientation.w = 'map', 1.0
    goals.publish(goal)
    step = [0]

    def live():
        time.sleep(0.02)
        step[0] += 1
        stamp = time_message(step[0] * ARENA.control_period_ns)
        pose = PoseWithCovarianceStamped()
        pose.pose.pose.position.x, pose.pose.pose.orientation.w = 0.1 * step[0], 1.0
        scan = LaserScan(ranges=[2.0] * 360, angle_max=6.28, range_min=0.12, range_max=3.5)
        scan.angle_increment = 6.28 / 359
        wheels = Odometry()
        for publisher, message, frame in (
            (poses, pose, 'map'),
            (scans, scan, 'base_scan'),
            (odometry, wheels, 'odom'),
        ):
            message.header.stamp, message.header.frame_id = stamp, frame
            publisher.publish(message)
        action = PolicyAction(executed=[0.2, 0.0])
        action.header.stamp = stamp
        actions.publish(action)
        return heard['expected_path']

    wait_until(live, 'expected path', 40.0)
    expected = heard['expected_path'][-1]
    assert expected.header.frame_id == 'map' and len(expected.poses) == 6
    wait_until(lambda: live() and len(heard['path'][-1].poses) > 5, 'path')
    driven = [place.pose.position.x for place in heard['path'][-1].poses]
    assert driven == sorted(driven) and len(driven) > 1

    statuses.publish(GateStatus(model='navigator', version=12))
    wait_until(lambda: heard['display/state'], 'state')
    assert heard['display/state'][-1].markers[0].text == 'navigator@12\nopen'
    statuses.publish(GateStatus(model='navigator', version=12, emergency_stopped=True))
    wait_until(lambda: len(heard['display/state']) == 2, 'state')
    (marker,) = heard['display/state'][-1].markers
    assert marker.text.endswith('EMERGENCY STOP') and marker.color.r == 1.0

    events.publish(EpisodeEvent(event=EpisodeEvent.BEGIN))
    wait_until(lambda: len(heard['path'][-1].poses) < len(driven), 'new path')
