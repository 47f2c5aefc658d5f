import math

import numpy as np
import policies
import pytest
from policies import CONTRACT
from robot_learning.features import FeatureBuilder
from robot_learning.model_store import ModelStore
from robot_learning.serving.action_gate import ActionGate
from robot_learning.serving.driver import PolicyDriver
from robot_learning.serving.observation_assembler import ObservationAssembler
from robot_learning.serving.policy_server import PolicyServer, ServingConfig

PERIOD = CONTRACT.control_period_ns


@pytest.fixture
def driver(tmp_path):
    """A driver whose policy always wants 0.5 m/s and no turn."""
    tensors = policies.constant_tensors(policies.spec_for(CONTRACT), (50.0, 0.0))
    policies.publish(tmp_path, CONTRACT, tensors)
    features = FeatureBuilder(CONTRACT)
    converters = dict.fromkeys(features.fields, lambda payload: payload)
    server = PolicyServer(ModelStore(tmp_path), CONTRACT, ServingConfig())
    server.start()
    server.load().result(10.0)
    server.close()
    observations = ObservationAssembler(CONTRACT, features.fields, converters)
    return PolicyDriver(CONTRACT, features, observations, server, ActionGate(CONTRACT))


def put(driver, stamp, **changes):
    for name, field in CONTRACT.observation.items():
        driver.observations.put(
            name, stamp, changes.get(name, np.ones(field.shape, np.float32)), 1
        )


def test_a_sound_observation_is_answered_by_the_policy_through_the_gate(driver):
    put(driver, PERIOD)
    command = driver.step(PERIOD)
    assert (command.decision.model, command.decision.version) == ('navigator', 1)
    assert command.stamp_ns == PERIOD
    np.testing.assert_array_equal(command.executed, [0.5, 0])


def test_the_gate_has_the_last_word(driver):
    driver.gate.press()
    put(driver, PERIOD)
    command = driver.step(PERIOD)
    np.testing.assert_array_equal(command.decision.action, [0.5, 0])
    np.testing.assert_array_equal(command.executed, [0, 0])
    assert command.altered
    assert command.reasons == ('emergency_stop',)


def test_a_topic_that_stops_stops_the_robot_until_it_comes_back(driver):
    put(driver, PERIOD)
    assert driver.step(PERIOD).executed[0] == 0.5
    command = driver.step(PERIOD + 300_000_000)
    np.testing.assert_array_equal(command.executed, [0, 0])
    assert command.reasons == ('stale',)
    assert {problem.field for problem in command.problems} >= {'scan', 'velocity'}
    assert command.decision.version == -1
    put(driver, PERIOD + 400_000_000)
    assert driver.step(PERIOD + 400_000_000).executed[0] > 0


def test_a_topic_that_sends_nan_stops_the_robot(driver):
    put(driver, PERIOD, pose=np.array([math.nan, 0, 0], np.float32))
    command = driver.step(PERIOD)
    np.testing.assert_array_equal(command.executed, [0, 0])
    assert command.reasons == ('not_finite',)
    assert driver.gate.counts.not_finite == 1


def test_an_intended_stop_names_no_model(driver):
    command = driver.stop(PERIOD)
    np.testing.assert_array_equal(command.executed, [0, 0])
    assert (command.decision.model, command.decision.version, command.altered) == ('', -1, False)
    assert math.isnan(command.decision.log_prob)


def test_in_lock_step_the_command_carries_the_stamp_of_the_step(driver):
    put(driver, PERIOD)
    put_later = PERIOD + 100_000_000
    assert driver.step(put_later, step_ns=put_later).stamp_ns == put_later


def test_a_sector_without_a_sound_beam_stops_the_robot(driver):
    scan = np.ones(36, np.float32)
    scan[6:12] = math.nan  # A sixth of the beams: the scan as a whole counts as sound.
    put(driver, PERIOD, scan=scan)
    command = driver.step(PERIOD)
    np.testing.assert_array_equal(command.executed, [0, 0])
    assert command.reasons == ('not_finite',)
