"""The doctor on a running policy node that is healthy, and on one that something is done to."""

import contextlib
import json
import signal
import sys
from pathlib import Path

import pytest
from geometry_msgs.msg import TwistStamped
from robot_learning.commands import doctor, live_doctor
from robot_learning.evaluation.live_findings import judge
from robot_learning.nodes.live_observer import LiveObserver
from std_srvs.srv import Trigger

sys.path.insert(0, str(Path(__file__).parent.parent / 'nodes'))
from rover import LockStep, Rover, call, policy_node, publish_constant, wait_until, write_robot


@pytest.fixture(scope='module')
def ward(tmp_path_factory):
    """A policy node that drives a rover, with the rover as the robot."""
    folder = tmp_path_factory.mktemp('ward')
    publish_constant(folder / 'models')
    robot = write_robot(folder)
    with (
        contextlib.closing(Rover('/ill')) as rover,
        policy_node('/ill', robot, folder / 'models', mode='lock_step') as process,
    ):
        rover.wait_for_policy(has_outcome=True)
        stepped = LockStep(rover)
        stepped.begin()
        stepped.process = process
        yield stepped


def findings(ward, about, text, seconds=3.0):
    """Examine until the expected finding is there; a busy machine may take several looks."""

    def look():
        ward.step()
        _, found = live_doctor.examine(seconds)
        matching = [f for f in found if f.about == about and text in f.found]
        return (matching[0], found) if matching else None

    return wait_until(look, f'{about}: {text}', 60.0)


def test_where_nothing_runs_there_is_nothing_to_say(ros_domain, capsys):
    """The first of this file: the others fill its domain."""
    assert doctor.main(['--live', '--seconds', '1']) == 2
    error = capsys.readouterr().err
    assert f'none of our nodes is heard in ROS_DOMAIN_ID={ros_domain}' in error
    assert './run up' in error


def test_a_healthy_node_has_only_notes(ward):
    finding, found = findings(ward, '/ill/recorder', 'nothing of this is kept')
    assert finding.level == 'note'
    wrong = [f for f in found if f.level != 'note']
    assert wrong == [] or {f.about for f in wrong} <= {'ill/policy: gate', 'ill/policy: latency'}


def test_a_pressed_emergency_stop_comes_with_the_command_that_releases_it(ward, capsys):
    call(ward.rover, Trigger, 'policy/emergency_stop', Trigger.Request())
    finding, found = findings(ward, 'ill/policy: gate', 'emergency stop: pressed by')
    assert finding.level == 'error'
    assert 'ros2 service call /ill/policy/release_emergency_stop' in finding.to_do
    assert found.index(finding) < [f.level for f in found].index('note')
    assert doctor.main(['--live', '--seconds', '5']) == 1
    output = capsys.readouterr().out
    assert 'ERROR   ill/policy: gate: emergency stop' in output
    assert 'wrong. Running: /ill/policy.' in output
    call(ward.rover, Trigger, 'policy/release_emergency_stop', Trigger.Request())


def test_a_second_publisher_of_commands_is_named(ward):
    node = ward.rover.node
    publisher = node.create_publisher(TwistStamped, 'cmd_vel', 10)
    finding, _ = findings(ward, 'ill/policy: command topics', 'past the action gate publish')
    assert node.get_name() in finding.found
    node.destroy_publisher(publisher)


def test_a_node_that_hangs_while_we_listen_is_stale(ward):
    with LiveObserver() as observer:
        wait_until(
            lambda: 'ill/policy: gate' in observer.listen(0.5).statuses, 'a first status', 30.0
        )
        ward.process.send_signal(signal.SIGSTOP)
        try:
            system = observer.listen(5.0)
        finally:
            ward.process.send_signal(signal.SIGCONT)
        stale = [f for f in judge(system, {}) if 'says nothing any more' in f.found]
    assert {f.level for f in stale} == {'error'}
    assert 'ill/policy: gate' in {f.about for f in stale}


def test_json_on_the_terminal_says_all(ward, capsys):
    call(ward.rover, Trigger, 'policy/emergency_stop', Trigger.Request())
    assert doctor.main(['--live', '--seconds', '5', '--json']) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report['ok'], report['nodes']) == (False, ['/ill/policy'])
    assert 'ill/policy: gate' in {finding['about'] for finding in report['findings']}
    call(ward.rover, Trigger, 'policy/release_emergency_stop', Trigger.Request())


def test_time_that_nobody_gives_is_named(ward, tmp_path):
    publish_constant(tmp_path / 'models')
    robot = write_robot(tmp_path)
    with policy_node('/late', robot, tmp_path / 'models', use_sim_time=True):
        finding, _ = findings(ward, '/clock', 'nobody publishes /clock although use_sim_time')
    assert finding.level == 'error'
    assert '/late/policy' in finding.found
