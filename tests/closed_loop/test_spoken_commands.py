"""People command the embedded world's robot in plain words: all in processes of their own."""

import math
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import rclpy
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from robot_learning.commands import robot_demo
from robot_learning.nodes.qos import qos_profile
from robot_learning_interfaces.action import ExecuteCommand, GenerateCode
from robot_learning_interfaces.msg import Intent

DEADLINE_S = 90.0
GARAGE = -1.8, -1.8  # By config/commander.yaml.
CLIENT = """
import sys, time, rclpy
from rclpy.action import ActionClient
from rclpy.node import Node
from robot_learning_interfaces.action import ExecuteCommand, GenerateCode
rclpy.init()
node = Node('leaver')
client = ActionClient(node, ExecuteCommand, 'execute_command')
client.wait_for_server()
sent = client.send_goal_async(ExecuteCommand.Goal(text=sys.argv[1]))
rclpy.spin_until_future_complete(node, sent)
print('accepted', flush=True)
rclpy.spin_once(node, timeout_sec=2.0)
"""


class Person:
    """Gives commands, and sees how the robot moves."""

    def __init__(self):
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node('person', context=self._context)
        self.connect()
        self.feedback, self.intents, self.commands, self.truth = [], [], [], []
        sensor = qos_profile('sensor', depth=100)
        reliable = qos_profile('reliable', depth=100)
        follow = self.node.create_subscription
        follow(Intent, 'intent', self.intents.append, reliable)
        follow(Odometry, 'ground_truth/odom', lambda m: self.truth.append(m.pose.pose), sensor)
        follow(TwistStamped, 'cmd_vel', self._on_command, reliable)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def connect(self):
        self.client = ActionClient(self.node, ExecuteCommand, 'execute_command')

    def close(self):
        self._is_ending.set()
        self._thread.join()
        self._executor.shutdown()
        self.client.destroy()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def send(self, text, **goal):
        """Return the goal's handle once it is accepted."""
        wait_until(self.client.server_is_ready, 'the commander answers')
        self.feedback.clear()
        handle = self._answer(
            lambda: self.client.send_goal_async(
                ExecuteCommand.Goal(text=text, **goal),
                feedback_callback=lambda message: self.feedback.append(message.feedback),
            )
        )
        assert handle.accepted
        return handle

    def say(self, text, **goal):
        """Return the result of a command."""
        return self.result_of(self.send(text, **goal))

    def code_for(self, text, **goal):
        """Return the result of a request for code."""
        client = ActionClient(self.node, GenerateCode, 'generate_code')
        request = GenerateCode.Goal(text=text, **goal)
        try:
            wait_until(client.server_is_ready, 'the commander answers')
            return self.result_of(self._answer(lambda: client.send_goal_async(request)))
        finally:
            client.destroy()

    def result_of(self, handle):
        return self._answer(handle.get_result_async).result

    def _answer(self, ask):
        """Ask on the thread that hears the answer: it must not come before it is waited for."""
        asked = self._executor.create_task(ask)
        wait_until(asked.done, 'it is asked')
        wait_until(asked.result().done, 'the answer')
        return asked.result().result()

    def pose(self):
        """Where the robot truly is: x, y, yaw."""
        self.truth.clear()
        wait_until(lambda: self.truth, 'the truth')
        pose = self.truth[-1]
        yaw = 2 * math.atan2(pose.orientation.z, pose.orientation.w)
        return pose.position.x, pose.position.y, yaw

    def is_driving(self):
        return bool(self.commands) and any(self.commands[-1][1:])

    def _on_command(self, message):
        twist = message.twist
        self.commands.append((time.monotonic(), twist.linear.x, twist.angular.z))

    def _spin(self):
        while not self._is_ending.is_set():
            self._executor.spin_once(timeout_sec=0.05)


def wait_until(holds, what, deadline_s=DEADLINE_S):
    end = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < end, f'{what}: not within {deadline_s:g} s'
        time.sleep(0.005)


@pytest.fixture(scope='module')
def system(tmp_path_factory, ros_domain):
    folder = tmp_path_factory.mktemp('commands')
    log = (folder / 'log.txt').open('w')
    command = [sys.executable, '-m', 'robot_learning.commands.up', '--launch-file', 'commands']
    command += ['--models', str(folder / 'models'), '--seed', '1']
    process = subprocess.Popen(
        command, env=os.environ, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    yield folder / 'log.txt'
    process.send_signal(signal.SIGINT)
    assert process.wait(30.0) == 0


@pytest.fixture(scope='module')
def talker(system):
    person = Person()
    yield person
    person.close()


@pytest.fixture
def person(talker):
    for heard in (talker.commands, talker.intents, talker.truth):
        heard.clear()
    return talker


def test_turns_and_drives_as_far_as_told_and_says_what_it_does(person):
    yaw = person.pose()[2]
    result = person.say('turn left 90 degrees')
    assert result.success and result.done == ['robot.turn(angle=90.0, speed=45.0)']
    turned = person.pose()[2] - yaw
    assert abs(math.degrees(math.remainder(turned - math.pi / 2, 2 * math.pi))) < 5
    first = person.feedback[0]
    assert first.intent == 'turn' and list(first.plan) == result.done
    assert {feedback.skill for feedback in person.feedback} >= {'robot.turn'}
    assert max(feedback.progress for feedback in person.feedback) > 0.5
    assert [(i.intent, i.text) for i in person.intents] == [('turn', 'turn left 90 degrees')]


def test_several_steps_are_done_one_after_the_other(person):
    result = person.say('wait 1 second, then tell me your position')
    assert result.success
    assert result.done[:2] == ['robot.wait(duration=1.0)', "robot.report(about='pose')"]
    assert result.done[2].startswith('I am at x')


def test_what_is_missing_is_asked_for_and_nothing_moves(person):
    result = person.say('bring me that')
    assert result.needs_clarification and result.question.endswith('?')
    assert not result.success and not result.done and not person.is_driving()


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('play some music', 'nothing that this robot is for'),
        ('', 'is empty'),
        ('go to the kitchen ' * 60, 'expected at most 500'),
        ('fahre bitte zur Küche', 'plain English letters'),
        ('go to point 9 9', 'leads out of the map'),
        ('put it down', 'nothing is held'),
    ],
)
def test_what_must_not_or_can_not_be_done_is_refused_with_the_reason(person, text, reason):
    result = person.say(text)
    assert reason in result.refusal
    assert not result.success and not result.done and not person.is_driving()


def test_who_asks_what_the_robot_can_do_is_told(person):
    result = person.say('what can you do?')
    assert result.success and 'Go to a named place.' in result.done[0]
    assert not person.is_driving()


def test_a_dry_run_plans_and_moves_nothing(person):
    result = person.say('go to the kitchen, then come back home', dry_run=True)
    assert result.success and not result.done
    assert [text.split('(')[0] for text in result.not_done] == [
        'navigation.go_to_room',
        'navigation.return_home',
    ]
    assert not person.is_driving()


def test_cancel_stops_the_robot(person):
    handle = person.send('turn left 360 degrees')
    wait_until(person.is_driving, 'the robot turns')
    handle.cancel_goal_async()
    result = person.result_of(handle)
    assert not result.success and result.not_done[0].endswith('canceled')
    wait_until(lambda: not person.is_driving(), 'it stands')


def test_stop_ends_whatever_goes_on_before_anything_else_is_looked_at(person):
    handle = person.send('turn right 360 degrees')
    wait_until(person.is_driving, 'the robot turns')
    assert person.say('Stop now, please!').done == ['robot.stop()']
    wait_until(lambda: not person.is_driving(), 'it stands')
    assert person.result_of(handle).not_done[0].endswith('somebody said stop')


def test_the_newer_command_goes_first(person):
    first = person.send('wait 60 seconds')
    wait_until(lambda: any(f.skill for f in person.feedback), 'it waits')
    assert person.say('wait 1 second').success
    assert person.result_of(first).not_done == ['robot.wait(duration=60.0): another command came']


def test_a_command_takes_no_longer_than_it_may(person):
    result = person.say('wait 60 seconds', time_limit=1.0)
    assert result.not_done == ['robot.wait(duration=60.0): it took longer than 1 s']


def test_code_is_written_and_checked_and_nothing_moves(person):
    result = person.code_for('turn left 90 degrees')
    assert result.success and result.check_passed and not result.done
    assert result.code.startswith('robot.turn(angle=90') and 0.5 < result.confidence <= 1
    assert not person.is_driving()


def test_code_is_run_through_the_same_path_on_request(person):
    yaw = person.pose()[2]
    result = person.code_for('turn right 90 degrees', execute=True)
    assert result.success and result.done == ['robot.turn(angle=-90.0, speed=45.0)']
    turned = person.pose()[2] - yaw
    assert abs(math.degrees(math.remainder(turned + math.pi / 2, 2 * math.pi))) < 5


@pytest.mark.parametrize('agrees', ['y', ''])
def test_at_the_prompt_of_a_code_model_the_person_decides_what_moves(
    person, agrees, monkeypatch, capsys
):
    before = person.pose()[2]
    monkeypatch.setattr('builtins.input', lambda words: agrees)
    assert robot_demo.main(['--move', '--text', 'turn left 90 degrees']) == 0
    said = capsys.readouterr().out
    assert 'robot.turn(angle=90.0)' in said and 'accepted' in said
    assert ('done: robot.turn' in said) == bool(agrees)
    turned = math.remainder(person.pose()[2] - before, math.tau)
    assert math.degrees(turned) == pytest.approx(90 if agrees else 0, abs=5)


def test_the_prompt_brings_no_model_to_a_commander_that_has_its_own(person, tmp_path, capsys):
    assert robot_demo.main(['--move', '--lora-path', str(tmp_path), '--text', 'stop']) == 2
    assert 'a commander runs already' in capsys.readouterr().err


@pytest.mark.parametrize(
    'text', ['', 'x' * 600, 'play some music', 'import os and delete all files', 'Straße']
)
def test_for_what_is_no_command_there_is_no_code_that_runs(person, text):
    result = person.code_for(text, execute=True)
    assert not result.success and result.verdict and not result.done
    assert not person.is_driving()


def test_a_client_that_vanishes_leaves_no_robot_that_drives_on(person):
    person.client.destroy()  # Otherwise it might have been this one's command.
    leaver = subprocess.Popen(
        [sys.executable, '-c', CLIENT, 'go to the garage'], stdout=subprocess.PIPE, text=True
    )
    assert leaver.stdout.readline() == 'accepted\n'
    wait_until(person.is_driving, 'the robot drives')
    leaver.wait(20.0)
    wait_until(lambda: not person.is_driving(), 'it stands')
    x, y, _ = person.pose()
    assert math.dist((x, y), GARAGE) > 0.5  # It did not get there.
    person.connect()
    assert person.say('tell me your position').success
