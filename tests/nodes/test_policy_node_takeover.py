"""A person takes the robot over from the policy, drives it through the gate, and hands it back."""

import contextlib
import math
import subprocess
import sys
import threading
import time

import pytest
from geometry_msgs.msg import Twist, TwistStamped
from robot_learning.nodes.qos import qos_profile
from robot_learning.trajectory.store import TrajectoryStore
from rover import (
    FULL_SPEED,
    STOPPED,
    LockStep,
    Rover,
    call,
    policy_node,
    publish_constant,
    wait_until,
    write_robot,
)
from sensor_msgs.msg import Joy
from std_srvs.srv import SetBool

TELEOP = 'teleop/cmd_vel'
TIMEOUT_S = 1.0  # Of a takeover in these tests: busy machines deliver late.
SENDER = """
import sys, time
import rclpy
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
rclpy.init()
node = Node('dying_teleop', namespace=sys.argv[1])
publisher = node.create_publisher(TwistStamped, 'teleop/cmd_vel', 10)
message = TwistStamped()
message.twist.angular.z = 0.7
while True:
    publisher.publish(message)
    time.sleep(0.02)
"""


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp('models')
    publish_constant(folder)
    return folder


@pytest.fixture(scope='module')
def robot(tmp_path_factory):
    return write_robot(tmp_path_factory.mktemp('robot'))


class Person:
    """Publishes what a person at the controls would."""

    def __init__(self, rover, message_type=TwistStamped):
        self._rover = rover
        self._type = message_type
        self.twists = rover.node.create_publisher(
            message_type, TELEOP, qos_profile('reliable', depth=10)
        )
        self.joy = rover.node.create_publisher(Joy, 'joy', qos_profile('reliable', depth=10))
        for publisher in (self.twists, self.joy):
            wait_until(publisher.get_subscription_count, 'the policy listens to the person')

    def drive(self, linear=0.0, angular=0.0):
        message = self._type()
        twist = message if self._type is Twist else message.twist
        twist.linear.x, twist.angular.z = linear, angular
        self.twists.publish(message)

    @contextlib.contextmanager
    def driving(self, linear=0.0, angular=0.0):
        """Keep sending, as a teleoperation does, until the end of the block."""
        ending = threading.Event()

        def work():
            while not ending.wait(0.05):
                self.drive(linear, angular)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()

    def push(self, forward, left=0.0, is_enabled=True):
        self.joy.publish(Joy(axes=[left, forward, 0.0], buttons=[0, 0, 0, 0, int(is_enabled)]))


def is_taken_over(rover):
    return bool(rover.statuses) and rover.statuses[-1].intervention


# --- lock-step -------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def stepped(models, robot, tmp_path_factory):
    store = tmp_path_factory.mktemp('store')
    with (
        contextlib.closing(Rover('/helped')) as rover,
        recorder_process('/helped', robot, store) as recorder,
        policy_node(
            '/helped',
            robot,
            models,
            mode='lock_step',
            status_rate_hz=20.0,
            **{'teleop.takeover_timeout_s': TIMEOUT_S},
        ),
    ):
        rover.wait_for_policy(has_outcome=True)
        wait_until(lambda: rover.node.count_subscribers('policy_action') == 2, 'recorder')
        world = LockStep(rover)
        world.begin()
        yield world, Person(rover), store, recorder


@contextlib.contextmanager
def recorder_process(namespace, robot, store):
    command = [sys.executable, '-m', 'robot_learning.nodes.recorder_node', '--ros-args']
    command += ['-r', f'__ns:={namespace}', '-p', f'robot:={robot}', '-p', f'store:={store}']
    command += ['-p', 'session:=helped', '-p', 'recorder.reorder_window_s:=2.0']
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20.0)


def test_in_lock_step_the_next_step_is_the_persons_and_is_recorded_as_such(stepped):
    world, person, store, recorder = stepped
    rover = world.rover
    assert world.step() == FULL_SPEED
    with person.driving(linear=-0.05, angular=0.9):
        wait_until(lambda: is_taken_over(rover), 'takeover')
        # At once, and not in a jump: 2.5 m/s^2 are half a m/s per step.
        assert world.step() == pytest.approx((0.0, 0.9), abs=1e-6)
        assert world.step() == pytest.approx((-0.05, 0.9), abs=1e-6)
        action = rover.action_for(world.stamp)
        assert (action.intervention, action.model, action.version) == (True, '', -1)
        assert list(action.commanded) == pytest.approx([-0.05, 0.9])
        assert math.isnan(action.log_probability)
    with person.driving(linear=9.0):  # The gate limits a person as it limits the policy.
        wait_until(lambda: world.step() == FULL_SPEED, 'the newer command')
        action = rover.action_for(world.stamp)
        assert action.intervention and action.altered
        assert list(action.commanded) == pytest.approx([9.0, 0.0])
    wait_until(lambda: not is_taken_over(rover), 'handed back after the timeout')
    assert world.step() == FULL_SPEED
    action = rover.action_for(world.stamp)
    assert (action.intervention, action.version) == (False, 1)

    world.step(terminated=True)
    told = {world_stamp(a): a.intervention for a in rover.actions}
    for _ in range(30):  # Newer steps make the recorder finish the older ones.
        world.step(is_first=True)
    recorder.terminate()
    assert recorder.wait(20.0) == 0
    recorded = {
        int(stamp): bool(flag)
        for episode in TrajectoryStore(store).episodes()
        for stamp, flag in zip(episode.stamp_ns, episode.intervention, strict=True)
    }
    common = told.keys() & recorded.keys()
    assert {stamp: told[stamp] for stamp in common} == {stamp: recorded[stamp] for stamp in common}
    assert sum(recorded.values()) >= 2


def world_stamp(action):
    return action.header.stamp.sec * 10**9 + action.header.stamp.nanosec


# --- free running ----------------------------------------------------------------------------


@pytest.fixture(scope='module')
def free(models, robot):
    with (
        contextlib.closing(Rover('/assisted')) as rover,
        policy_node(
            '/assisted',
            robot,
            models,
            status_rate_hz=20.0,
            **{'teleop.takeover_timeout_s': TIMEOUT_S},
        ),
    ):
        rover.wait_for_policy(has_outcome=False)
        yield rover, Person(rover, Twist)


def latest(rover):
    return rover.commands[-1][2:] if rover.commands else None


def wait_for_twist_type(rover, person):
    """Until the node has found out that the person sends Twist, nothing arrives."""

    def try_once():
        person.drive(angular=-0.5)
        time.sleep(0.02)
        return latest(rover) == pytest.approx((0.0, -0.5), abs=1e-6)

    wait_until(try_once, 'the person drives by Twist')


def test_any_twist_takes_over_and_the_policy_goes_on_when_it_stops(free):
    rover, person = free
    with rover.sensing(20):
        wait_until(lambda: latest(rover) == FULL_SPEED, 'the policy drives')
        wait_for_twist_type(rover, person)
        wait_until(lambda: rover.actions[-1].intervention, 'marked as a person')
        wait_until(lambda: is_taken_over(rover), 'gate_status that says so')
        wait_until(lambda: latest(rover) == FULL_SPEED, 'the policy drives again')
        wait_until(lambda: not is_taken_over(rover), 'gate_status that says so')


def test_a_joystick_drives_while_its_button_is_held(free):
    rover, person = free
    with rover.sensing(20):
        wait_until(lambda: latest(rover) == FULL_SPEED, 'the policy drives')

        def push():
            person.push(forward=-1.0, left=0.5)  # Full back is 0.1 m/s, half left 0.75 rad/s.
            time.sleep(0.02)
            return latest(rover) == pytest.approx((-0.1, 0.75), abs=1e-6)

        wait_until(push, 'the person drives')
        person.push(forward=-1.0, is_enabled=False)
        wait_until(lambda: latest(rover) == FULL_SPEED, 'the policy drives')


def test_the_robot_is_handed_back_by_service_though_the_person_still_sends(free):
    rover, person = free
    with rover.sensing(20):
        wait_for_twist_type(rover, person)
        assert call(rover, SetBool, 'policy/take_over', SetBool.Request(data=False)).success

        def is_policy():
            person.drive(angular=-0.5)
            time.sleep(0.02)
            return latest(rover) == FULL_SPEED

        wait_until(is_policy, 'the policy drives')


def test_taken_over_by_service_the_robot_stands_until_it_is_handed_back(free):
    rover, _ = free
    with rover.sensing(20):
        wait_until(lambda: latest(rover) == FULL_SPEED, 'the policy drives')
        assert call(rover, SetBool, 'policy/take_over', SetBool.Request(data=True)).success
        wait_until(lambda: latest(rover) == STOPPED, 'the robot stands')
        wait_until(lambda: rover.actions[-1].intervention, 'intervention')
        num = len(rover.actions)
        wait_until(lambda: len(rover.actions) > num + 2, 'more steps')
        assert latest(rover) == STOPPED
        call(rover, SetBool, 'policy/take_over', SetBool.Request(data=False))
        wait_until(lambda: latest(rover) == FULL_SPEED, 'the policy drives')


def test_a_person_drives_a_robot_whose_lidar_is_dead(free):
    rover, person = free
    with rover.sensing(20) as values:
        wait_until(lambda: latest(rover) == FULL_SPEED, 'the policy drives')
        values['but'] = ('scan',)
        wait_until(lambda: latest(rover) == STOPPED, 'the policy is blind and stops')
        wait_for_twist_type(rover, person)


def test_a_teleoperation_that_is_killed_drives_no_longer_than_the_timeout(models, robot):
    with (
        contextlib.closing(Rover('/lost')) as rover,
        policy_node('/lost', robot, models, **{'teleop.takeover_timeout_s': 0.3}),
        rover.sensing(20),
    ):
        sender = subprocess.Popen([sys.executable, '-c', SENDER, '/lost'])
        try:
            turning = pytest.approx((0.0, 0.7), abs=1e-6)
            wait_until(lambda: latest(rover) == turning, 'the person drives')
        finally:
            sender.kill()
            sender.wait()
        killed_s = time.monotonic()
        wait_until(lambda: latest(rover) == FULL_SPEED, 'the policy drives')
        last_s = max(c[0] for c in rover.commands if c[2:] == turning)
        assert last_s - killed_s < 5.0  # 0.3 s and one period, on a very busy machine.
