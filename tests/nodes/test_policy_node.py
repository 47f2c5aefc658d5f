import math
import signal

import pytest
from rclpy.action import ActionClient
from robot_learning.model_store import WEIGHTS, ModelStore
from robot_learning_interfaces.action import RunPolicy
from robot_learning_interfaces.msg import ModelVersion
from robot_learning_interfaces.srv import LoadModel, RollbackModel
from rover import Rover, policies, policy_node, stamp_of, wait_until, write_robot
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

PERIOD = policies.CONTRACT.control_period_ns
FORWARD, LEFT = (50.0, 0.0), (-50.0, 50.0)  # Modes of constant policies, before tanh.
FULL_SPEED = pytest.approx((0.5, 0.0), abs=1e-6)
STOPPED = (0.0, 0.0)


def publish(models, u=FORWARD):
    tensors = policies.constant_tensors(policies.spec_for(policies.CONTRACT), u)
    return policies.publish(models, policies.CONTRACT, tensors)


class LockStep:
    """A world that advances one control period per answer."""

    def __init__(self, rover):
        self.rover, self.stamp = rover, 100 * PERIOD

    def begin(self):
        """Send a first step until the policy has heard all of it: nothing is lost after that."""
        self.rover.set_goal(self.stamp)
        self.step(is_first=True)

    def step(self, but=(), **outcome):
        self.stamp += PERIOD
        self.rover.sense(self.stamp, but)
        if outcome.get('is_first'):
            self.rover.set_goal(self.stamp)
        self.rover.arrive(self.stamp, **outcome)
        return self.rover.command_for(self.stamp)


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp('models')
    publish(folder)
    return folder


@pytest.fixture(scope='module')
def robot(tmp_path_factory):
    return write_robot(tmp_path_factory.mktemp('robot'))


@pytest.fixture(scope='module')
def world(models, robot):
    rover = Rover('/stepped')
    with policy_node('/stepped', robot, models, mode='lock_step', poll_s=0.05):
        rover.wait_for_policy(has_outcome=True)
        stepped = LockStep(rover)
        stepped.begin()
        yield stepped
    rover.close()


@pytest.fixture(scope='module')
def free(models, robot):
    rover = Rover('/free')
    with policy_node('/free', robot, models, poll_s=0.05):
        rover.wait_for_policy(has_outcome=False)
        yield rover
    rover.close()


def test_every_step_is_answered_with_its_stamp_and_explained(world):
    for _ in range(20):
        assert world.step() == FULL_SPEED
    action = world.rover.action_for(world.stamp)
    assert list(action.executed) == pytest.approx([0.5, 0.0], abs=1e-6)
    assert (action.model, action.version) == ('navigator', 1)
    assert not action.altered
    assert not action.exploring
    assert math.isnan(action.log_probability)
    assert 0 <= action.latency_ms < 1000


def test_the_last_step_of_an_episode_is_answered_with_a_stop(world):
    assert world.step(terminated=True) == STOPPED
    assert world.rover.action_for(world.stamp).version == -1
    world.step(is_first=True)
    assert world.step(truncated=True) == STOPPED
    world.step(is_first=True)
    assert world.step() == FULL_SPEED


def test_a_step_waits_for_sensors_that_come_behind_the_outcome(world):
    world.stamp += PERIOD
    world.rover.arrive(world.stamp)
    world.rover.sense(world.stamp)
    assert world.rover.command_for(world.stamp) == FULL_SPEED
    assert world.rover.action_for(world.stamp).version == 1


def test_a_sensor_that_stops_is_bridged_while_it_is_young_and_then_stops_the_robot(world):
    assert world.step(but=('scan',)) == FULL_SPEED  # 0.2 s old, 0.25 s are allowed.
    assert world.step(but=('scan',)) == STOPPED
    assert world.rover.action_for(world.stamp).altered
    assert world.step() == FULL_SPEED


def test_a_step_asked_again_gets_the_same_answer_and_no_second_decision(world):
    world.step()
    world.rover.action_for(world.stamp)
    world.rover.arrive(world.stamp)
    wait_until(
        lambda: len([c for c in list(world.rover.commands) if c[1] == world.stamp]) == 2,
        'second answer',
    )
    world.step()
    world.rover.action_for(world.stamp)
    stamps = [stamp_of(action) for action in world.rover.actions]
    assert len(stamps) == len(set(stamps))


def notice(rover, state, version):
    found = wait_until(
        lambda: [v for v in list(rover.versions) if (v.state, v.version) == (state, version)],
        f'notice {state} of version {version}',
    )
    return found[0]


def test_bad_versions_are_refused_by_name_while_the_old_one_drives_on(world, models):
    bad = []
    spec = policies.spec_for(policies.CONTRACT)
    wide = policies.tensors_for({**spec, 'hidden': [9, 8]})
    bad.append((policies.publish(models, policies.CONTRACT, wide), 'tensor trunk.0.weight'))
    nan = policies.tensors_for(spec)
    nan['mean.bias'][0] = math.inf
    version = publish(models)  # The store refuses to publish NaN: damage sound ones.
    path = models / 'navigator' / f'{version:06d}' / WEIGHTS
    path.write_bytes(path.read_bytes()[:-40])
    bad.append((version, 'bytes, the manifest says'))
    version = publish(models)
    path = models / 'navigator' / f'{version:06d}' / WEIGHTS
    path.write_bytes(path.read_bytes()[:-4] + b'\x00\x00\xc0\x7f')  # A NaN.
    bad.append((version, 'SHA-256'))
    for version, text in bad:
        assert world.step() == FULL_SPEED
        refused = notice(world.rover, ModelVersion.REFUSED, version)
        assert f'navigator@{version}' in refused.reason
        assert text in refused.reason
        assert ModelStore(models).refusal('navigator', version)
    world.step()
    assert world.rover.action_for(world.stamp).version == 1


def test_versions_are_swapped_under_load_without_losing_a_step(world, models):
    version = publish(models, LEFT)
    told = ModelVersion(model='navigator', version=version, state=ModelVersion.PUBLISHED)
    world.rover.notices.publish(told)
    versions = []
    for _ in range(2000):
        world.step()
        versions.append(world.rover.action_for(world.stamp).version)
        if versions[-1] == version:
            break
    assert set(versions) <= {1, version}
    assert versions[-1] == version
    serving = notice(world.rover, ModelVersion.SERVING, version)
    assert (serving.update, serving.environment_step) == (120, 60)
    for _ in range(3):
        command = world.step()
    assert command == pytest.approx((-0.1, 1.5), abs=1e-6)


def call(rover, service_type, name, request):
    client = rover.node.create_client(service_type, name)
    assert client.wait_for_service(10.0), f'no service {name}'
    future = client.call_async(request)
    wait_until(future.done, f'answer of {name}')
    rover.node.destroy_client(client)
    return future.result()


def test_rollback_goes_back_and_stays_and_load_follows_again(world, models):
    before = publish(models)
    notice(world.rover, ModelVersion.SERVING, before)
    bad = publish(models, LEFT)
    notice(world.rover, ModelVersion.SERVING, bad)
    rover = world.rover
    answer = call(
        rover, RollbackModel, 'policy/rollback_model', RollbackModel.Request(reason='it circles')
    )
    assert (answer.success, answer.version, answer.message) == (True, before, '')
    assert notice(rover, ModelVersion.ROLLED_BACK, before).reason == 'it circles'
    newer = publish(models)
    world.step()  # From full reverse, the rate limit allows half a m/s per step.
    assert world.step() == FULL_SPEED
    assert rover.action_for(world.stamp).version == before
    answer = call(rover, LoadModel, 'policy/load_model', LoadModel.Request(version=-1))
    assert (answer.success, answer.version) == (True, newer)
    world.step()
    assert rover.action_for(world.stamp).version == newer


def test_loading_what_is_not_there_says_so_and_changes_nothing(world):
    request = LoadModel.Request(version=999)
    answer = call(world.rover, LoadModel, 'policy/load_model', request)
    assert not answer.success
    assert 'version 999 is not in' in answer.message
    world.step()
    assert answer.version == world.rover.action_for(world.stamp).version


def test_free_running_it_drives_while_sensors_come_and_stops_when_they_stop(free):
    with free.sensing(20):
        wait_until(lambda: free.commands and free.commands[-1][2:] == FULL_SPEED, 'driving')
        action = wait_until(lambda: free.actions and free.actions[-1], 'policy_action')
        assert action.version >= 1
    last_sensed = free.commands[-1][0]
    wait_until(lambda: free.commands[-1][2:] == STOPPED, 'stop', 2.0)
    stop = next(c for c in free.commands if c[0] > last_sensed and c[2:] == STOPPED)
    assert stop[0] - last_sensed < 0.5  # 0.25 s until readings are stale, and the next tick.
    wait_until(lambda: free.statuses[-1].stale, 'gate_status that says stale')


def test_free_running_nan_from_a_topic_stops_the_robot(free):
    with free.sensing(20) as values:
        wait_until(lambda: free.commands and free.commands[-1][2:] == FULL_SPEED, 'driving')
        values['x'] = math.nan
        wait_until(lambda: free.commands[-1][2:] == STOPPED, 'stop')
        wait_until(lambda: free.statuses[-1].not_finite > 0, 'gate_status that counts it')
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
    from geometry_msgs.msg import PoseStamped

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
    import time

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
def test_a_signal_stops_the_robot_before_the_node_leaves(robot, models, number):
    namespace = f'/signal{int(number)}'
    rover = Rover(namespace)
    with policy_node(namespace, robot, models) as process, rover.sensing(20):
        rover.wait_for_policy(has_outcome=False)
        wait_until(lambda: rover.commands and rover.commands[-1][2:] == FULL_SPEED, 'driving')
        process.send_signal(number)
        assert process.wait(10.0) == 0
        wait_until(lambda: rover.commands[-1][2:] == STOPPED, 'stop')
    rover.close()


def test_a_robot_that_listens_to_twist_gets_twist_and_a_complaint(robot, models):
    from geometry_msgs.msg import Twist

    rover = Rover('/plain', Twist)
    with policy_node('/plain', robot, models) as process, rover.sensing(20):
        wait_until(lambda: rover.commands and rover.commands[-1][2:] == FULL_SPEED, 'driving')
        process.terminate()
        output, _ = process.communicate(timeout=10.0)
    assert 'cmd_vel: /plain/rover listens to geometry_msgs/msg/Twist' in output
    assert 'correct actions.base.type' in output
    rover.close()


def test_wrong_parameters_end_the_node_with_every_mistake_named(robot, models):
    with policy_node('/wrong', robot, models, mode='sideways', seed=-9, poll_s='soon') as process:
        output, _ = process.communicate(timeout=20.0)
    assert process.returncode == 2
    for text in ('/wrong/policy: mode: found', 'seed: found -9', "poll_s: found 'soon'"):
        assert text in output
