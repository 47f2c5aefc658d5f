"""The emergency stop over kill -9, and nodes that speak past the gate."""

import contextlib
import subprocess
import sys
import time

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from robot_learning.nodes.other_publishers import OtherPublishers
from robot_learning.nodes.qos import qos_profile
from rover import (
    FULL_SPEED,
    STOPPED,
    Rover,
    call,
    policy_node,
    publish_constant,
    wait_until,
    write_robot,
)
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

INTRUDER = """
import sys, time
import rclpy
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
rclpy.init()
node = Node('intruder', namespace=sys.argv[1])
node.create_publisher(TwistStamped, 'cmd_vel', 10)
rclpy.spin(node)
"""


def end(intruder):
    intruder.terminate()
    try:
        intruder.wait(timeout=10.0)
    except subprocess.TimeoutExpired:
        intruder.kill()
        intruder.wait()


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp('models')
    publish_constant(folder)
    return folder


@pytest.fixture(scope='module')
def robot(tmp_path_factory):
    return write_robot(tmp_path_factory.mktemp('robot'))


def latest(rover):
    return rover.commands[-1][2:] if rover.commands else None


def press_by_service(rover):
    assert call(rover, Trigger, 'policy/emergency_stop', Trigger.Request()).success


def press_by_topic(rover):
    rover.stop_button.publish(Bool(data=True))
    wait_until(lambda: rover.statuses[-1].emergency_stopped, 'the stop is heard')
    rover.stop_button.publish(Bool(data=False))  # Else the latched True is heard once more.


@pytest.mark.parametrize('press', [press_by_service, press_by_topic])
def test_a_pressed_stop_survives_kill_9_until_it_is_released(models, robot, tmp_path, press):
    namespace = f'/{press.__name__}'
    settings = {'state_directory': tmp_path, 'status_rate_hz': 20.0}
    with contextlib.closing(Rover(namespace)) as rover, rover.sensing(20):
        health = watch_health(rover)
        with policy_node(namespace, robot, models, **settings) as process:
            wait_until(lambda: latest(rover) == FULL_SPEED, 'driving')
            wait_until(lambda: rover.statuses, 'gate_status')
            press(rover)
            wait_until(lambda: latest(rover) == STOPPED, 'stop')
            wait_until(lambda: list(tmp_path.glob('*/*.json')), 'the file of the stop')
            process.kill()
            process.wait()
        rover.commands.clear()
        rover.statuses.clear()
        health.clear()
        with policy_node(namespace, robot, models, **settings) as process:
            wait_until(lambda: len(rover.commands) > 10, 'commands of the new process')
            assert {command[2:] for command in rover.commands} == {STOPPED}
            wait_until(lambda: rover.statuses, 'gate_status')
            assert rover.statuses[-1].emergency_stopped
            text = wait_until(lambda: health.get('gate'), 'diagnostics')[1]
            assert 'emergency stop: pressed by the' in text
            answer = call(rover, Trigger, 'policy/release_emergency_stop', Trigger.Request())
            assert (answer.success, answer.message) == (True, '')
            wait_until(lambda: latest(rover) == FULL_SPEED, 'driving again')
            process.kill()
            output, _ = process.communicate(timeout=20.0)
        assert 'pressed by the' in output and 'Call release_emergency_stop' in output
        with policy_node(namespace, robot, models, **settings):
            rover.commands.clear()
            wait_until(lambda: latest(rover) == FULL_SPEED, 'released over a restart too')


@pytest.mark.parametrize('quality', ['reliable', 'sensor', 'latched'])
def test_whoever_presses_is_heard_whatever_quality_of_service_they_offer(pressable, quality):
    rover = pressable
    wait_until(lambda: latest(rover) == FULL_SPEED, 'driving')
    button = rover.node.create_publisher(Bool, 'emergency_stop', qos_profile(quality))
    wait_until(lambda: rover.node.count_subscribers('emergency_stop'), 'policy node')

    def is_pressed():
        button.publish(Bool(data=True))
        time.sleep(0.02)
        return rover.statuses and rover.statuses[-1].emergency_stopped

    wait_until(is_pressed, 'pressed', 5.0)
    rover.node.destroy_publisher(button)
    rover.statuses.clear()

    def is_released():
        call(rover, Trigger, 'policy/release_emergency_stop', Trigger.Request())
        return rover.statuses and not rover.statuses[-1].emergency_stopped

    wait_until(is_released, 'released')


@pytest.fixture(scope='module')
def pressable(models, robot, tmp_path_factory):
    with (
        contextlib.closing(Rover('/pressable')) as rover,
        policy_node('/pressable', robot, models, status_rate_hz=20.0),
        rover.sensing(20),
    ):
        yield rover


def watch_health(rover):
    """Keep the newest level and message of every part of the policy node."""
    health = {}

    def on_diagnostics(message):
        for status in message.status:
            name = f'{rover.node.get_namespace().lstrip("/")}/policy: '
            if status.name.startswith(name):
                health[status.name.removeprefix(name)] = status.level, status.message

    rover.node.create_subscription(DiagnosticArray, '/diagnostics', on_diagnostics, 10)
    return health


def test_a_second_publisher_is_named_while_it_is_there(models, robot, tmp_path):
    with (
        contextlib.closing(Rover('/doubled')) as rover,
        policy_node('/doubled', robot, models, status_rate_hz=20.0) as policy,
        rover.sensing(20),
    ):
        health = watch_health(rover)
        wait_until(lambda: latest(rover) == FULL_SPEED, 'driving')
        wait_until(lambda: rover.statuses, 'gate_status')
        assert list(rover.statuses[-1].other_publishers) == []
        intruder = subprocess.Popen([sys.executable, '-c', INTRUDER, '/doubled'])
        try:
            found = wait_until(lambda: list(rover.statuses[-1].other_publishers), 'report')
            assert found == ['/doubled/intruder (cmd_vel)']
            wait_until(
                lambda: health.get('command topics', (b'',))[0] == b'\x02',
                'an error on /diagnostics',
            )
            assert '/doubled/intruder' in health['command topics'][1]
            assert latest(rover) == FULL_SPEED  # Only reported.
        finally:
            end(intruder)
        wait_until(lambda: not rover.statuses[-1].other_publishers, 'report of its end')
        policy.terminate()
        output, _ = policy.communicate(timeout=20.0)
    assert (
        output.count('/doubled/intruder (cmd_vel): publishes commands past the action gate') == 1
    )
    assert output.count('/doubled/intruder (cmd_vel): publishes no commands any more') == 1


def test_on_request_the_gate_stops_while_somebody_else_publishes(models, robot):
    with (
        contextlib.closing(Rover('/strict')) as rover,
        policy_node('/strict', robot, models, stop_on_other_publishers=True),
        rover.sensing(20),
    ):
        wait_until(lambda: latest(rover) == FULL_SPEED, 'driving')
        intruder = subprocess.Popen([sys.executable, '-c', INTRUDER, '/strict'])
        try:
            wait_until(lambda: latest(rover) == STOPPED, 'stop')
        finally:
            end(intruder)
        wait_until(lambda: latest(rover) == FULL_SPEED, 'driving again')


class FakeInfo:
    def __init__(self, name, participant, entity):
        self.node_namespace, _, self.node_name = name.rpartition('/')
        self.endpoint_gid = [participant] * 12 + [0, 0, entity, 3]


class FakeNode:
    """A graph of which a test decides who is in it."""

    def __init__(self):
        self.infos = []

    def get_name(self):
        return 'policy'

    def get_fully_qualified_name(self):
        return '/policy'

    def create_publisher(self, *_):
        return None

    def destroy_publisher(self, _):
        pass

    def get_publishers_info_by_topic(self, topic):
        return [FakeInfo('/policy', 1, 1)] if 'endpoint_' in topic else self.infos


def test_a_twin_of_the_same_name_counts_once_it_cannot_be_our_predecessors_ghost():
    node, now_s = FakeNode(), [0.0]
    others = OtherPublishers(node, ['cmd_vel'], lambda: now_s[0])
    node.infos = [FakeInfo('/policy', 1, 7), FakeInfo('/policy', 2, 7)]
    assert others.look().appeared == []
    now_s[0] = 24.0
    assert others.look().appeared == []
    now_s[0] = 26.0
    assert '/policy (cmd_vel)' in others.look().appeared[0]
    assert others.names == ('/policy (cmd_vel)',)
    node.infos = node.infos[:1]
    assert others.look().gone == ['/policy (cmd_vel): publishes no commands any more']


def test_a_publisher_is_named_once_its_name_is_known():
    node, now_s = FakeNode(), [0.0]
    others = OtherPublishers(node, ['cmd_vel'], lambda: now_s[0])
    node.infos = [FakeInfo('_NODE_NAMESPACE_UNKNOWN_/_NODE_NAME_UNKNOWN_', 2, 7)]
    assert others.look().appeared == []
    node.infos = [FakeInfo('/joe', 2, 7)]
    assert len(others.look().appeared) == 1
    assert others.names == ('/joe (cmd_vel)',)
    node.infos = [FakeInfo('_NODE_NAMESPACE_UNKNOWN_/_NODE_NAME_UNKNOWN_', 3, 7)]
    others.look()
    now_s[0] = 5.0
    others.look()
    assert others.names == ('a program without a ROS node (cmd_vel)',)
