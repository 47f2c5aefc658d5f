import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from robot_learning import contract
from robot_learning.nodes.qos import qos_profile
from robot_learning.nodes.reading_input import message_type
from robot_learning.simulation.world import World, WorldConfig
from robot_learning.trajectory.messages import make_converter
from robot_learning_interfaces.msg import EpisodeEvent
from robot_learning_interfaces.srv import ResetWorld
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from simulator_process import Pilot, SimulatorProcess, nanoseconds
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

PERIOD_NS = 200_000_000
NO_CAMERA = {'world__camera': 'off'}


@pytest.fixture
def pilot():
    with Pilot() as pilot:
        yield pilot


def test_lock_step_is_never_faster_than_its_greatest_speed(pilot):
    moments = []

    def drive(outcome):
        moments.append(time.monotonic())
        return (0.0, 0.0)

    pilot.policy = drive
    with SimulatorProcess(max_speed=4.0, **NO_CAMERA):
        assert pilot.spin_until(lambda: len(moments) >= 41)
    # 20 steps a second; only a slow machine can make it fewer. One may wait at the start.
    assert moments[40] - moments[0] >= 39 / 20 - 0.05


def test_lock_step_stamps_stay_in_step_over_the_ends_of_episodes(pilot):
    pilot.policy = lambda outcome: (0.5, 0.2)
    with SimulatorProcess(seed=4, **NO_CAMERA):
        assert pilot.spin_until(lambda: len(pilot.outcomes) >= 80)
    outcomes = pilot.outcomes[:80]
    stamps = [nanoseconds(o.header.stamp) for o in outcomes]
    assert set(np.diff(stamps)) == {PERIOD_NS}
    assert [o.is_first for o in outcomes] == [o.step == 0 for o in outcomes]
    ends = [i for i, o in enumerate(outcomes[:-1]) if o.terminated or o.truncated]
    assert len(ends) >= 2
    for i in ends:
        assert outcomes[i + 1].episode == outcomes[i].episode + 1
        assert outcomes[i + 1].step == 0
        assert outcomes[i + 1].reward == 0.0
    events = pilot.received['episode_event']
    assert [e.event for e in events[:3]] == [0, 1, 0]
    begin, end, after = events[:3]
    assert nanoseconds(begin.header.stamp) == stamps[0]
    assert nanoseconds(end.header.stamp) == stamps[ends[0]]
    assert nanoseconds(after.header.stamp) == stamps[ends[0] + 1]
    assert (end.terminated, end.reason) == (True, 'collision')
    assert json.loads(begin.info_json)['randomisation']['robot_mass_scale'] > 0
    driven = sum(o.reward for o in outcomes[: ends[0] + 1])
    assert json.loads(end.info_json)['return'] == pytest.approx(driven, rel=1e-4)


def test_every_message_is_what_the_contract_promises_and_carries_the_step_stamp(pilot):
    robot = contract.load('arena')
    fields = {n: f for n, f in robot.observation.items() if n != 'camera'}
    for field in fields.values():
        if field.topic not in pilot.received:
            pilot.listen(message_type(field.type), field.topic, qos_profile(field.qos))
    pilot.policy = lambda outcome: (0.1, 0.3) if outcome.step < 12 else None
    with SimulatorProcess(seed=4, **NO_CAMERA):
        assert pilot.spin_until(lambda: len(pilot.outcomes) >= 13)
        newest = nanoseconds(pilot.outcomes[-1].header.stamp)
        for name, field in fields.items():
            kept = pilot.received[field.topic]
            there = lambda kept=kept: kept and nanoseconds(kept[-1].header.stamp) == newest  # noqa: E731
            assert pilot.spin_until(there), f'{name}: nothing stamped with the step'
            value = make_converter(field, name)(kept[-1])
            assert value.shape == field.shape
    # The same world without ROS says the same: nothing is lost or bent on the way.
    begin = pilot.received['episode_event'][0]
    world = World(robot, WorldConfig(camera='off'))
    observation = world.reset(begin.seed)
    for _ in range(12):
        observation = world.step({'base': np.array([0.1, 0.3])}).observation
    for name, field in fields.items():
        received = make_converter(field, name)(pilot.received[field.topic][-1])
        assert received == pytest.approx(observation[name], abs=1e-6), name


def test_two_processes_with_one_seed_live_through_the_same():
    script = Path(__file__).with_name('lock_step_responder.py')
    runs = []
    for _ in range(2):
        with SimulatorProcess(seed=11, **NO_CAMERA):
            command = [sys.executable, str(script), '100', '0.3', '0.4']
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        runs.append(json.loads(done.stdout)['outcomes'])
    assert len(runs[0]) == 100
    assert runs[0] == runs[1]


def test_commands_with_another_stamp_move_nothing(pilot):
    pilot.listen(DiagnosticArray, '/diagnostics')
    with SimulatorProcess(**NO_CAMERA):
        assert pilot.spin_until(lambda: pilot.outcomes)
        stamp = pilot.outcomes[0].header.stamp
        pilot.drive(Time(sec=stamp.sec + 7, nanosec=stamp.nanosec), 0.5, 0.0)
        counted = lambda: any(  # noqa: E731
            value.key == 'unexpected' and value.value == '1'
            for array in pilot.received['/diagnostics']
            for status in array.status
            for value in status.values
        )
        assert pilot.spin_until(counted)
        assert len(pilot.outcomes) == 1


def test_a_driver_that_comes_late_gets_the_observation_it_missed(pilot):
    with SimulatorProcess(**NO_CAMERA):
        pilot.policy = lambda outcome: (0.1, 0.0) if outcome.step < 3 else None
        assert pilot.spin_until(lambda: len(pilot.outcomes) == 4)
        with Pilot() as late:
            late.policy = lambda outcome: (0.1, 0.0)
            assert late.spin_until(lambda: len(late.outcomes) >= 3)
            assert late.outcomes[0].step == 3


def test_a_command_that_is_not_a_number_stops_the_wheels_and_keeps_the_step(pilot):
    pilot.listen(Odometry, 'odom')
    steps = iter([(0.4, 0.0)] * 5 + [(float('nan'), 0.0)] * 2)
    pilot.policy = lambda outcome: next(steps, None)
    with SimulatorProcess(**NO_CAMERA) as simulator:
        assert pilot.spin_until(lambda: len(pilot.outcomes) >= 8)
        assert pilot.spin_until(lambda: len(pilot.received['odom']) >= 8)
        _, log = simulator.end(signal.SIGINT)
    assert pilot.received['odom'][4].twist.twist.linear.x > 0.3
    assert abs(pilot.received['odom'][-1].twist.twist.linear.x) < 0.05
    assert 'cmd_vel refused, wheels stopped' in log
    assert 'found [nan, 0.0]' in log


def test_robot_stops_when_commands_stay_away_in_real_time(pilot):
    pilot.listen(Odometry, 'ground_truth/odom')
    with SimulatorProcess(mode='real_time', seed=1, **NO_CAMERA):
        request = ResetWorld.Request(seed=1, robot_pose=[-1.8, 0.0, 0.0])
        assert pilot.call(ResetWorld, '/simulator/reset', request).success
        truth = pilot.received['ground_truth/odom']
        moving = lambda: truth and truth[-1].twist.twist.linear.x > 0.15  # noqa: E731
        end = time.monotonic() + 20
        while not moving() and time.monotonic() < end:
            pilot.drive(pilot.node.get_clock().now().to_msg(), 0.2, 0.0)
            pilot.spin_until(moving, 0.05)
        assert moving()
        last_command_ns = nanoseconds(truth[-1].header.stamp)
        assert pilot.spin_until(lambda: abs(truth[-1].twist.twist.linear.x) < 0.02)
    stopped_s = (nanoseconds(truth[-1].header.stamp) - last_command_ns) * 1e-9
    # 0.2 s without a command, 0.15 s to brake, and what was on its way.
    assert 0.1 < stopped_s < 0.7


def test_reset_takes_seed_and_poses_and_refuses_poses_in_walls(pilot):
    pilot.listen(Odometry, 'ground_truth/odom')
    with SimulatorProcess(**NO_CAMERA):
        assert pilot.spin_until(lambda: pilot.outcomes)
        pose, goal = [0.5, 0.1, 1.0], [-2.0, 0.0, 0.0]
        request = ResetWorld.Request(seed=77, robot_pose=pose, goal_pose=goal)
        answer = pilot.call(ResetWorld, '/simulator/reset', request)
        assert (answer.success, answer.episode, answer.message) == (True, 1, '')
        events = pilot.received['episode_event']
        assert pilot.spin_until(lambda: len(events) == 3)
        assert (events[1].event, events[1].truncated) == (EpisodeEvent.END, True)
        assert events[1].reason == 'operator'
        assert (events[2].seed, events[2].episode) == (77, 1)
        assert json.loads(events[2].info_json)['start'] == pose
        truth = pilot.received['ground_truth/odom']
        assert pilot.spin_until(
            lambda: truth and truth[-1].pose.pose.position.x == pytest.approx(0.5, abs=1e-6)
        )
        request = ResetWorld.Request(seed=-1, robot_pose=[2.5, 0.0, 0.0])
        answer = pilot.call(ResetWorld, '/simulator/reset', request)
        assert not answer.success
        assert 'robot_pose: (2.50, 0.00) is 0.00 m from a wall' in answer.message
        answer = pilot.call(Trigger, '/simulator/reset_world', Trigger.Request())
        assert answer.success
        assert answer.message.startswith('episode 2, seed')


def test_paused_time_stands_still_and_goes_on_by_single_steps(pilot):
    pilot.listen(Clock, '/clock')
    with SimulatorProcess(mode='real_time', **NO_CAMERA):
        clock = pilot.received['/clock']
        assert pilot.spin_until(lambda: len(clock) > 20)
        refused = pilot.call(Trigger, '/simulator/step', Trigger.Request())
        assert not refused.success
        assert 'Call ~/pause with true first' in refused.message
        assert pilot.call(SetBool, '/simulator/pause', SetBool.Request(data=True)).success
        pilot.spin_until(lambda: False, 0.3)
        num_steps, stands_at = len(pilot.outcomes), clock[-1].clock
        pilot.spin_until(lambda: False, 0.3)
        assert clock[-1].clock == stands_at
        assert pilot.call(Trigger, '/simulator/step', Trigger.Request()).success
        assert pilot.spin_until(lambda: len(pilot.outcomes) == num_steps + 1)
        moved = nanoseconds(clock[-1].clock) - nanoseconds(stands_at)
        assert 0 < moved <= PERIOD_NS
        assert pilot.call(SetBool, '/simulator/pause', SetBool.Request(data=False)).success
        assert pilot.spin_until(lambda: len(pilot.outcomes) > num_steps + 3)


def test_twist_is_taken_when_that_is_what_is_published(pilot):
    pilot.listen(Odometry, 'odom')
    pilot.node.destroy_publisher(pilot.commands)
    publisher = pilot.node.create_publisher(Twist, 'cmd_vel', 10)
    command = Twist()
    command.angular.z = 0.8
    with SimulatorProcess(mode='real_time', **NO_CAMERA):
        odom = pilot.received['odom']
        end = time.monotonic() + 20
        while not (odom and odom[-1].twist.twist.angular.z > 0.7) and time.monotonic() < end:
            publisher.publish(command)
            pilot.spin_until(lambda: False, 0.05)
        assert odom[-1].twist.twist.angular.z > 0.7


def test_publisher_of_the_wrong_type_is_named(pilot):
    pilot.listen(DiagnosticArray, '/diagnostics')
    pilot.node.destroy_publisher(pilot.commands)
    pilot.node.create_publisher(Twist, 'cmd_vel', 10)
    with SimulatorProcess(command_type='twist_stamped', **NO_CAMERA) as simulator:
        named = lambda: any(  # noqa: E731
            '/pilot publishes geometry_msgs/msg/Twist, expected geometry_msgs/msg/TwistStamped'
            in status.message
            for array in pilot.received['/diagnostics']
            for status in array.status
        )
        assert pilot.spin_until(named)
        _, log = simulator.end(signal.SIGINT)
    assert '/pilot publishes geometry_msgs/msg/Twist' in log


def test_lift_and_gripper_obey_their_topics(pilot):
    pilot.listen(JointState, 'joint_states')
    lift = pilot.node.create_publisher(Float64MultiArray, 'lift/command', 10)
    gripper = pilot.node.create_publisher(Float64MultiArray, 'gripper/command', 10)
    with SimulatorProcess(mode='real_time', **NO_CAMERA):
        joints = pilot.received['joint_states']

        def arrived():
            lift.publish(Float64MultiArray(data=[0.1]))
            gripper.publish(Float64MultiArray(data=[0.06]))
            if not joints:
                return False
            position = dict(zip(joints[-1].name, joints[-1].position, strict=True))
            wanted = {'lift_joint': 0.1, 'gripper_left_joint': 0.03}
            return all(position[name] == pytest.approx(w, abs=0.005) for name, w in wanted.items())

        assert pilot.spin_until(arrived)


def test_camera_is_published_with_its_model_or_said_to_be_off(pilot):
    pilot.listen(Image, 'camera/image_raw')
    pilot.listen(CameraInfo, 'camera/camera_info')
    pilot.policy = lambda outcome: (0.0, 0.5)
    with SimulatorProcess(every_n_steps__camera=5) as simulator:
        assert pilot.spin_until(lambda: len(pilot.outcomes) >= 25)
        _, log = simulator.end(signal.SIGINT)
    if 'camera: off' in log:
        assert 'apt-get install' in log or 'MUJOCO_GL' in log
        pytest.skip('no OpenGL backend on this machine')
    images, infos = pilot.received['camera/image_raw'], pilot.received['camera/camera_info']
    assert len(images) >= 2
    stamps = {nanoseconds(o.header.stamp) for o in pilot.outcomes if o.step % 5 == 0}
    assert {nanoseconds(image.header.stamp) for image in images} <= stamps
    pixels = np.frombuffer(images[-1].data, np.uint8).reshape(64, 64, 3)
    assert pixels.std() > 10
    assert images[-1].header.frame_id == infos[-1].header.frame_id == 'camera_rgb_frame'
    assert infos[-1].k[0] == pytest.approx(32 / np.tan(np.radians(31)))


def test_pictures_that_somebody_learns_from_come_with_every_step(pilot):
    pilot.listen(Image, 'camera/image_raw')
    pilot.policy = lambda outcome: (0.0, 0.5)
    with SimulatorProcess(every_n_steps__camera=5, images='camera') as simulator:
        assert pilot.spin_until(lambda: len(pilot.outcomes) >= 12)
        _, log = simulator.end(signal.SIGINT)
    if 'camera: off' in log:
        pytest.skip('no OpenGL backend on this machine')
    images = pilot.received['camera/image_raw']
    seen = {nanoseconds(image.header.stamp) for image in images}
    steps = [nanoseconds(o.header.stamp) for o in pilot.outcomes[-10:]]
    assert len(seen & set(steps)) >= 8  # Best effort: one may be lost.


def test_sigterm_ends_the_episode_and_the_process_cleanly(pilot):
    with SimulatorProcess(mode='real_time', **NO_CAMERA) as simulator:
        assert pilot.spin_until(lambda: pilot.outcomes and pilot.hears('episode_event'))
        code, log = simulator.end(signal.SIGTERM)
    assert code == 0
    assert 'Traceback' not in log
    events = pilot.received['episode_event']
    assert pilot.spin_until(lambda: events and events[-1].event == EpisodeEvent.END)
    assert events[-1].reason == 'shutdown'


def test_wrong_parameters_are_all_named_and_end_the_process():
    with SimulatorProcess(speed=-1.0, mode='dream') as simulator:
        code, log = simulator.wait()
    assert code == 2
    assert 'speed: found -1.0' in log
    assert "mode: found 'dream'" in log
    assert 'Traceback' not in log
