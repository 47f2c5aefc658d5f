import math
import signal
import time

import pytest
from geometry_msgs.msg import PoseStamped, Twist
from rclpy.action import ActionClient
from robot_learning_interfaces.action import RunPolicy
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


@pytest.fixture(scope='module')
def forward(tmp_path_factory):
    """A store whose only version drives straight on."""
    folder = tmp_path_factory.mktemp('forward')
    publish_constant(folder)
    return folder


@pytest.fixture(scope='module')
def robot(tmp_path_factory):
    return write_robot(tmp_path_factory.mktemp('robot'))


@pytest.fixture(scope='module')
def free(forward, robot):
    rover = Rover('/free')
    with policy_node('/free', robot, forward):
        rover.wait_for_policy(has_outcome=False)
        yield rover
    rover.close()


def test_free_running_it_drives_while_sensors_come_and_stops_when_they_stop(free):
    with free.sensing(20):
        wait_until(lambda: free.commands and free.commands[-1][2:] == FULL_SPEED, 'driving')
        action = wait_until(lambda: free.actions and free.actions[-1], 'policy_action')
        assert action.version >= 1
    last_sensed = free.commands[-1][0]
    wait_until(lambda: free.commands[-1][2:] == STOPPED, 'stop', 2.0)
    stop = next(c for c in free.commands if c[0] > last_sensed and c[2:] == STOPPED)
    assert stop[0] - last_sensed < 0.5  # 0.25 s until readings are stale, and the next tick.
    wait_until(lambda: free.statuses and free.statuses[-1].stale, 'gate_status that says stale')


def test_free_running_nan_from_a_topic_stops_the_robot(free):
    with free.sensing(20) as values:
        wait_until(lambda: free.commands and free.commands[-1][2:] == FULL_SPEED, 'driving')
        values['x'] = math.nan
        wait_until(lambda: free.commands[-1][2:] == STOPPED, 'stop')
        wait_until(
            lambda: free.statuses and free.statuses[-1].not_finite > 0,
            'gate_status that counts it',
        )
        values['x'] = 0.0
        wait_until(lambda: free.commands[-1][2:] == FULL_SPEED, 'driving again')


def test_the_emergency_stop_holds_until_it_is_released_by_service(free):
    with free.sensing(20):
        wait_until(lambda: free.commands and free.commands[-1][2:] == FULL_SPEED, 'driving')
        free.stop_button.publish(Bool(data=True))
        wait_until(lambda: free.commands[-1][2:] == STOPPED, 'stop')
        free.stop_button.publish(Bool(data=False))
        num_decisions = len(free.actions)
        wait_until(lambda: len(free.actions) > num_decisions + 4, 'decisions while held')
        assert free.commands[-1][2:] == STOPPED
        wait_until(lambda: free.statuses[-1].emergency_stopped, 'gate_status that says so')
        answer = call(free, Trigger, 'policy/release_emergency_stop', Trigger.Request())
        assert answer.success
        wait_until(lambda: free.commands[-1][2:] == FULL_SPEED, 'driving again')


class Runs:
    """A client of the run_policy action that polls, as the rover's thread spins."""

    def __init__(self, rover):
        self.feedback = []
        self._client = ActionClient(rover.node, RunPolicy, 'run_policy')
        assert wait_until(self._client.server_is_ready, 'action server')

    def send(self, **goal):
        message = RunPolicy.Goal(version=-1, **goal)
        future = self._client.send_goal_async(message, feedback_callback=self.feedback.append)
        wait_until(future.done, 'goal response')
        return future.result()

    def close(self):
        self._client.destroy()


@pytest.fixture
def runs(free):
    client = Runs(free)
    yield client
    client.close()


def result_of(handle):
    future = handle.get_result_async()
    wait_until(future.done, 'result')
    return future.result().result


def test_a_run_ends_at_the_goal_with_feedback_and_then_stands_still(free, runs):
    with free.sensing(20) as values:
        handle = runs.send(goal_radius=0.5)
        assert handle.accepted
        wait_until(lambda: runs.feedback, 'feedback')
        feedback = runs.feedback[-1].feedback
        assert feedback.distance_to_goal == pytest.approx(2.0, abs=1e-3)
        assert feedback.version >= 1
        assert not runs.send(goal_radius=0.5).accepted  # One at a time.
        values['x'] = 1.8
        result = result_of(handle)
        assert (result.success, result.reason) == (True, 'goal')
        assert result.distance_to_goal == pytest.approx(0.2, abs=1e-3)
        assert result.num_steps >= 1
        wait_until(lambda: free.commands[-1][2:] == STOPPED, 'stop')


def test_a_run_to_a_pose_of_its_own_uses_that(free, runs):
    with free.sensing(20):
        handle = runs.send(goal_radius=0.5, goal_pose=pose_at(0.3))
        result = result_of(handle)
        assert (result.success, result.reason) == (True, 'goal')


def pose_at(x, frame='map'):
    goal = PoseStamped()
    goal.header.frame_id = frame
    goal.pose.position.x, goal.pose.orientation.w = x, 1.0
    return goal


def test_a_run_to_a_pose_in_another_frame_says_so(free, runs):
    with free.sensing(20):
        result = result_of(runs.send(goal_pose=pose_at(0.3, 'odom')))
    assert not result.success
    assert "found frame 'odom', expected 'map'" in result.reason


def test_cancel_brings_a_zero_command_within_100_ms(free, runs):
    with free.sensing(20):
        handle = runs.send(goal_radius=0.1)
        wait_until(lambda: free.commands[-1][2:] == FULL_SPEED, 'driving')
        canceled_s = time.monotonic()
        future = handle.cancel_goal_async()
        wait_until(lambda: free.commands[-1][2:] == STOPPED, 'stop')
        stop = next(c for c in free.commands if c[0] > canceled_s and c[2:] == STOPPED)
        assert stop[0] - canceled_s < 0.1
        wait_until(future.done, 'cancel response')
        assert result_of(handle).reason == 'canceled'
        assert all(c[2:] == STOPPED for c in free.commands if c[0] > stop[0])


def test_a_run_ends_when_time_is_up_or_the_stop_is_pressed(free, runs):
    with free.sensing(20):
        assert result_of(runs.send(goal_radius=0.1, time_limit=0.5)).reason == 'time_limit'
        handle = runs.send(goal_radius=0.1)
        wait_until(lambda: free.commands[-1][2:] == FULL_SPEED, 'driving')
        assert call(free, Trigger, 'policy/emergency_stop', Trigger.Request()).success
        assert result_of(handle).reason == 'emergency_stop'
        call(free, Trigger, 'policy/release_emergency_stop', Trigger.Request())


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_robot_before_the_node_leaves(robot, forward, number):
    namespace = f'/signal{int(number)}'
    rover = Rover(namespace)
    with policy_node(namespace, robot, forward) as process, rover.sensing(20):
        rover.wait_for_policy(has_outcome=False)
        wait_until(lambda: rover.commands and rover.commands[-1][2:] == FULL_SPEED, 'driving')
        process.send_signal(number)
        assert process.wait(10.0) == 0
        wait_until(lambda: rover.commands[-1][2:] == STOPPED, 'stop')
    rover.close()


def test_a_robot_that_listens_to_twist_gets_twist_and_a_complaint(robot, forward):
    rover = Rover('/plain', Twist)
    with policy_node('/plain', robot, forward) as process, rover.sensing(20):
        wait_until(lambda: rover.commands and rover.commands[-1][2:] == FULL_SPEED, 'driving')
        process.terminate()
        output, _ = process.communicate(timeout=10.0)
    assert 'cmd_vel: /plain/rover listens to geometry_msgs/msg/Twist' in output
    assert 'correct actions.base.type' in output
    rover.close()
