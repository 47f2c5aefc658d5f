import contextlib
import math
import shutil

import pytest
from robot_learning.model_store import WEIGHTS, ModelStore
from robot_learning_interfaces.msg import ModelVersion
from robot_learning_interfaces.srv import LoadModel, RollbackModel
from rover import (
    FULL_SPEED,
    LEFT,
    PERIOD,
    STOPPED,
    LockStep,
    Rover,
    call,
    policies,
    policy_node,
    publish_constant,
    stamp_of,
    wait_until,
    write_robot,
)
from std_srvs.srv import Trigger


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp('models')
    publish_constant(folder)
    return folder


@pytest.fixture(scope='module')
def robot(tmp_path_factory):
    return write_robot(tmp_path_factory.mktemp('robot'))


@pytest.fixture(scope='module')
def world(models, robot):
    with (
        contextlib.closing(Rover('/stepped')) as rover,
        policy_node('/stepped', robot, models, mode='lock_step', poll_s=0.05),
    ):
        rover.wait_for_policy(has_outcome=True)
        stepped = LockStep(rover)
        stepped.begin()
        yield stepped


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


def test_a_step_asked_again_after_the_emergency_stop_is_answered_with_the_stop(world):
    wait_until(lambda: world.step() == FULL_SPEED, 'driving')
    call(world.rover, Trigger, 'policy/emergency_stop', Trigger.Request())
    world.rover.commands.clear()
    world.rover.arrive(world.stamp)
    assert world.rover.command_for(world.stamp) == STOPPED
    call(world.rover, Trigger, 'policy/release_emergency_stop', Trigger.Request())
    assert world.step() == FULL_SPEED


def notice(rover, state, version):
    found = wait_until(
        lambda: [v for v in list(rover.versions) if (v.state, v.version) == (state, version)],
        f'notice {state} of version {version}',
    )
    return found[0]


def publish_damaged(models, staging, damage):
    """Let a version appear at once that was damaged after it was written."""
    shutil.copytree(models, staging)
    version = publish_constant(staging)
    folder = staging / 'navigator' / f'{version:06d}'
    path = folder / WEIGHTS
    path.write_bytes(damage(path.read_bytes()))
    folder.rename(models / 'navigator' / folder.name)
    return version


DAMAGES = {
    'truncated': (lambda data: data[:-40], 'bytes, the manifest says'),
    'corrupted': (lambda data: data[:-4] + b'\x01\x02\x03\x04', 'SHA-256'),
    'a NaN': (lambda data: data[:-4] + b'\x00\x00\xc0\x7f', 'SHA-256'),
}


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_damaged_version_is_refused_by_name_while_the_old_one_drives_on(
    world, models, tmp_path, damage
):
    change, text = DAMAGES[damage]
    version = publish_damaged(models, tmp_path / 'staging', change)
    check_refused(world, models, version, text)


def test_a_version_of_wrong_shape_is_refused_by_name_while_the_old_one_drives_on(world, models):
    spec = policies.spec_for(policies.CONTRACT, hidden=[9, 8])
    version = policies.publish(models, policies.CONTRACT, policies.tensors_for(spec))
    check_refused(world, models, version, 'tensor trunk.0.weight has shape [9, 16]')


def check_refused(world, models, version, text):
    refused = notice(world.rover, ModelVersion.REFUSED, version)
    assert f'navigator@{version}' in refused.reason
    assert text in refused.reason
    assert ModelStore(models).refusal('navigator', version)
    assert world.step() == FULL_SPEED
    assert world.rover.action_for(world.stamp).version == 1


def test_versions_are_swapped_under_load_without_losing_a_step(world, models):
    version = publish_constant(models, LEFT)
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


def test_rollback_goes_back_and_stays_and_load_follows_again(world, models):
    before = publish_constant(models)
    notice(world.rover, ModelVersion.SERVING, before)
    bad = publish_constant(models, LEFT)
    notice(world.rover, ModelVersion.SERVING, bad)
    rover = world.rover
    answer = call(
        rover, RollbackModel, 'policy/rollback_model', RollbackModel.Request(reason='it circles')
    )
    assert (answer.success, answer.version, answer.message) == (True, before, '')
    assert notice(rover, ModelVersion.ROLLED_BACK, before).reason == 'it circles'
    newer = publish_constant(models)
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


def test_wrong_parameters_end_the_node_with_every_mistake_named(robot, models):
    with policy_node('/wrong', robot, models, mode='sideways', seed=-9, poll_s='soon') as process:
        output, _ = process.communicate(timeout=20.0)
    assert process.returncode == 2
    for text in ('/wrong/policy: mode: found', 'seed: found -9', "poll_s: found 'soon'"):
        assert text in output
