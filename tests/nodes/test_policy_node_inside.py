"""What cannot be seen from outside the policy node: its clocks, and things at the same moment."""

import contextlib
import threading
from concurrent.futures import Future

import pytest
import rclpy
from geometry_msgs.msg import PoseStamped, Twist, TwistStamped
from node_bench import overrides, turning
from rclpy.clock import ClockType
from rclpy.context import Context
from rclpy.node import Node
from robot_learning import durable_files
from robot_learning.errors import StoreError
from robot_learning.nodes.policy_node import PolicyNode
from robot_learning.nodes.run_goals import RunGoals
from robot_learning.nodes.teleop_input import TOPIC, TeleopConfig, TeleopInput
from robot_learning.nodes.version_notices import VersionNotices
from robot_learning.serving.policy_run import PolicyRun
from robot_learning.serving.succession import Change
from robot_learning.serving.takeover import Takeover
from robot_learning_interfaces.msg import ModelVersion
from robot_learning_interfaces.srv import LoadModel
from rover import Rover, call, policies, publish_constant, wait_until, write_robot
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

CONTRACT = policies.CONTRACT


@contextlib.contextmanager
def policy(context, folder, **parameters):
    publish_constant(folder / 'models')
    settings = {
        'robot': str(write_robot(folder)),
        'models': str(folder / 'models'),
        'state_directory': str(folder / 'state'),
        **parameters,
    }
    node = PolicyNode(
        context=context, namespace='/inside', parameter_overrides=overrides(settings)
    )
    try:
        yield node
    finally:
        node.close()
        node.destroy_node()


@pytest.mark.parametrize('decide_on', ['arrival', 'timer'])
@pytest.mark.parametrize('use_sim_time', [False, True])
def test_watchdog_and_ticks_go_on_when_the_system_clock_is_set_back(
    context, tmp_path, decide_on, use_sim_time
):
    """Timers on system time would sleep until that clock has caught up."""
    settings = {'decide_on': decide_on, 'use_sim_time': use_sim_time}
    with policy(context, tmp_path, **settings) as node:
        own = ('_on_watchdog', '_on_tick', '_on_keep_alive')
        timers = [timer for timer in node.timers if timer.callback.__name__ in own]
        clocks = {timer.clock.clock_type for timer in timers}
    assert len(timers) == 2
    assert clocks == {ClockType.ROS_TIME if use_sim_time else ClockType.STEADY_TIME}


def test_a_press_while_a_release_is_being_written_holds_the_robot(context, tmp_path, monkeypatch):
    with policy(context, tmp_path) as node:
        node.press_emergency_stop('Ada')
        sync_folder, pressing = durable_files.sync_folder, []

        def sync_slowly(folder):
            monkeypatch.undo()
            press = threading.Thread(target=node._on_emergency_stop, args=(Bool(data=True),))
            press.start()
            press.join(0.1)  # It waits for the release.
            pressing.append(press)
            sync_folder(folder)

        monkeypatch.setattr(durable_files, 'sync_folder', sync_slowly)
        node.release_emergency_stop()
        pressing[0].join()
        assert node._gate.is_pressed
        assert list((tmp_path / 'state').glob('*/*.json'))


class Overrides:
    """Keeps what a run puts in place of a topic."""

    def __init__(self):
        self.values = {}

    def override(self, name, value):
        self.values[name] = value


def test_a_run_canceled_before_it_begins_leaves_no_goal_behind(context):
    node = Node('goals', context=context)
    observations = Overrides()
    goals = RunGoals(node, CONTRACT, observations)
    pose = PoseStamped()
    pose.header.frame_id, pose.pose.orientation.w = 'map', 1.0
    run = PolicyRun(0.3)
    value = goals.value(pose)
    run.end('canceled')
    goals.begin(run, value, pose)
    assert goals.run is None
    assert observations.values == {}
    node.destroy_node()


class Log:
    """A logger that keeps errors."""

    def __init__(self):
        self.errors = []

    def info(self, text, **_):
        pass

    debug = warning = info

    def error(self, text, **_):
        self.errors.append(text)


def test_a_person_whose_twists_cannot_be_heard_beside_another_is_named(context, monkeypatch):
    listener, other = Node('listener', context=context), Context()
    rclpy.init(context=other)
    first, second = Node('first', context=context), Node('second', context=other)
    log = Log()
    monkeypatch.setattr(listener, 'get_logger', lambda: log)
    first.create_publisher(TwistStamped, TOPIC, 10)
    second.create_publisher(Twist, TOPIC, 10)
    takeover = Takeover(0.5, CONTRACT.action_stop)
    TeleopInput(listener, CONTRACT, TeleopConfig(), takeover, on_stop=lambda: None)
    with turning(context, listener, first):
        wait_until(lambda: log.errors, 'complaint')
        second.destroy_node()
        rclpy.try_shutdown(context=other)
    assert '/second publishes geometry_msgs/msg/Twist' in log.errors[0]
    assert sum('/second' in text for text in log.errors) == 1


def test_a_reason_with_half_characters_is_told_all_the_same(context):
    node, listener = Node('policy', context=context), Node('listener', context=context)
    notices, heard = VersionNotices(node), []
    listener.create_subscription(ModelVersion, 'model_version', heard.append, 10)
    with turning(context, node, listener):
        wait_until(lambda: node.count_subscribers('model_version'), 'listener')

        def is_heard():
            notices.announce(Change('refused', 'navigator', 3, reason='/models/\udcff: no'))
            return heard

        wait_until(is_heard, 'notice')
    assert heard[0].reason == '/models/?: no'


def test_a_request_that_fails_in_an_unforeseen_way_leaves_the_emergency_stop_in_reach(
    context, tmp_path, monkeypatch
):
    def fail(*_):
        raise ZeroDivisionError('nobody thought of this')

    with policy(context, tmp_path) as node, contextlib.closing(Rover('/inside')) as rover:
        monkeypatch.setattr(node._server, 'load', fail)
        client = rover.node.create_client(LoadModel, 'policy/load_model')
        assert client.wait_for_service(10.0)
        client.call_async(LoadModel.Request(version=1))
        assert call(rover, Trigger, 'policy/emergency_stop', Trigger.Request()).success
        assert node._gate.is_pressed


def test_the_emergency_stop_is_answered_while_a_version_is_being_loaded(
    context, tmp_path, monkeypatch
):
    loading = Future()
    with policy(context, tmp_path) as node, contextlib.closing(Rover('/inside')) as rover:
        monkeypatch.setattr(node._server, 'load', lambda *_: loading)
        client = rover.node.create_client(LoadModel, 'policy/load_model')
        assert client.wait_for_service(10.0)
        answer = client.call_async(LoadModel.Request(version=1))
        assert call(rover, Trigger, 'policy/emergency_stop', Trigger.Request()).success
        assert node._gate.is_pressed and not answer.done()
        loading.set_exception(StoreError('gone'))
        wait_until(answer.done, 'answer')
        assert answer.result().message == 'gone'
