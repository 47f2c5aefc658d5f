import numpy as np
import pytest
from gate_oracle import SECOND, Oracle, quick
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from policies import CONTRACT
from robot_learning.features import FeatureBuilder
from robot_learning.serving.action_gate import ActionGate
from robot_learning.serving.driver import PolicyDriver
from robot_learning.serving.observation_assembler import ObservationAssembler
from robot_learning.serving.policy_server import Decision
from robot_learning.serving.takeover import Takeover

STOP = np.zeros(2, np.float32)
LEFT, RIGHT = np.array([0.1, 1.0]), np.array([0.1, -1.0])


@pytest.fixture
def takeover():
    return Takeover(timeout_s=0.5, stop=STOP)


def test_the_policy_drives_until_a_person_speaks_and_again_when_they_fall_silent(takeover):
    assert takeover.action(0.0) is None
    takeover.command('keys', LEFT, 1.0)
    np.testing.assert_array_equal(takeover.action(1.5), LEFT.astype(np.float32))
    assert takeover.action(1.5).dtype == np.float32
    assert takeover.driver(1.5) == 'keys'
    assert takeover.action(1.501) is None
    assert takeover.driver(1.501) == ''


def test_a_dead_man_switch_let_go_hands_back_at_once(takeover):
    takeover.command('joy', LEFT, 1.0)
    takeover.release('keys')  # Another source's word does not count.
    assert takeover.driver(1.1) == 'joy'
    takeover.release('joy')
    assert takeover.action(1.1) is None


def test_two_people_do_not_pull_the_robot_to_and_fro(takeover):
    takeover.command('keys', LEFT, 1.0)
    assert not takeover.command('joy', RIGHT, 1.2)
    assert takeover.driver(1.2) == 'keys'
    assert takeover.command('joy', RIGHT, 1.6)  # The keys have been silent for too long.
    assert takeover.driver(1.6) == 'joy'


def test_who_yields_gives_way_to_a_person_at_once_and_goes_on_after_them():
    takeover = Takeover(0.5, STOP, yielding={'commander'})
    assert takeover.command('commander', LEFT, 1.0)
    assert takeover.command('keys', RIGHT, 1.1)
    assert not takeover.command('commander', LEFT, 1.2)
    assert takeover.driver(1.2) == 'keys'
    assert takeover.command('commander', LEFT, 1.7)
    assert takeover.driver(1.7) == 'commander'


def test_handed_back_by_word_who_still_sends_must_pause_first(takeover):
    takeover.command('keys', LEFT, 1.0)
    takeover.hand_back(1.1)
    for moment in (1.2, 1.6, 2.0):
        assert not takeover.command('keys', LEFT, moment)
        assert takeover.action(moment) is None
    assert takeover.command('keys', LEFT, 2.6)
    assert takeover.command('joy', RIGHT, 9.0)  # Others were never sent away.


def test_held_the_robot_stands_unless_the_person_drives(takeover):
    takeover.hold()
    np.testing.assert_array_equal(takeover.action(0.0), STOP)
    assert takeover.driver(0.0) == 'hold'
    takeover.command('keys', LEFT, 1.0)
    np.testing.assert_array_equal(takeover.action(1.2), LEFT.astype(np.float32))
    np.testing.assert_array_equal(takeover.action(60.0), STOP)  # The teleoperation died.
    takeover.hand_back(60.0)
    assert takeover.action(60.0) is None


class ConstantServer:
    """A policy that always wants full speed, and counts how often it was asked."""

    def __init__(self):
        self.num_decisions = 0

    images = ()

    def act(self, features, explore=None, images=None):
        self.num_decisions += 1
        return Decision(CONTRACT.action_high.copy(), 0.0, 'navigator', 1, False)


def make_driver():
    features = FeatureBuilder(CONTRACT)
    converters = dict.fromkeys(features.fields, lambda payload: payload)
    observations = ObservationAssembler(CONTRACT, features.fields, converters)
    server = ConstantServer()
    return PolicyDriver(CONTRACT, features, observations, server, ActionGate(CONTRACT)), server


def put(driver, stamp_ns):
    for name, field in CONTRACT.observation.items():
        driver.observations.put(name, stamp_ns, np.ones(field.shape, np.float32), 1)


def test_a_persons_command_is_marked_and_the_policy_goes_on_unheard():
    driver, server = make_driver()
    put(driver, SECOND)
    command = driver.step(SECOND, person=LEFT.astype(np.float32))
    assert command.intervention
    np.testing.assert_array_equal(command.executed, LEFT.astype(np.float32))
    np.testing.assert_array_equal(command.decision.action, LEFT.astype(np.float32))
    assert (command.decision.model, command.decision.version) == ('', -1)
    assert np.isnan(command.decision.log_prob)
    assert server.num_decisions == 1
    put(driver, 2 * SECOND)
    following = driver.step(2 * SECOND)
    assert (following.intervention, following.decision.version) == (False, 1)


def test_a_person_drives_where_the_policy_is_blind_but_not_past_the_emergency_stop():
    driver, _ = make_driver()
    command = driver.step(SECOND, person=LEFT.astype(np.float32))
    np.testing.assert_array_equal(command.executed, LEFT.astype(np.float32))
    assert command.stamp_ns == SECOND
    assert {problem.kind for problem in command.problems} == {'missing'}
    driver.gate.press()
    stopped = driver.step(2 * SECOND, person=LEFT.astype(np.float32))
    np.testing.assert_array_equal(stopped.executed, STOP)
    assert stopped.intervention and stopped.reasons == ('emergency_stop',)


def test_what_a_person_says_that_is_no_number_stops_the_robot():
    driver, _ = make_driver()
    command = driver.step(SECOND, person=np.array([np.nan, 0], np.float32))
    np.testing.assert_array_equal(command.executed, STOP)
    assert command.reasons == ('not_finite',)


class SharedRobot(RuleBasedStateMachine):
    """Policy, people, stops and silences in any order; one clock for all."""

    def __init__(self):
        super().__init__()
        self.driver, _ = make_driver()
        self.takeover = Takeover(0.5, STOP)
        self.oracle = Oracle(CONTRACT)
        self.now_ns = self.sensed_ns = 100 * SECOND
        self.spoken_ns = None  # When the person was last heard and meant.
        self.is_held = self.is_pressed = self.owes_stop = False

    @rule(
        elapsed_ns=st.integers(0, SECOND // 2),
        wanted=st.lists(st.floats(width=32), min_size=2, max_size=2),
    )
    def speak(self, elapsed_ns, wanted):
        self.now_ns += elapsed_ns
        if self.takeover.command('keys', np.array(wanted), self.now_ns * 1e-9):
            self.spoken_ns = self.now_ns

    @rule()
    def let_go(self):
        self.takeover.release('keys')
        self.spoken_ns = None

    @rule()
    def hold(self):
        self.takeover.hold()
        self.is_held = True

    @rule()
    def hand_back(self):
        self.takeover.hand_back(self.now_ns * 1e-9)
        self.is_held, self.spoken_ns = False, None

    @rule()
    def press(self):
        self.driver.gate.press()
        self.is_pressed = self.owes_stop = True

    @rule()
    def release(self):
        self.driver.gate.release()
        self.is_pressed = False

    @rule(elapsed_ns=st.integers(0, SECOND), is_sensed=st.booleans())
    def tick(self, elapsed_ns, is_sensed):
        self.now_ns += elapsed_ns
        if is_sensed:
            self.sensed_ns = self.now_ns
            put(self.driver, self.now_ns)
        person = self.takeover.action(self.now_ns * 1e-9)
        silent_ns = SECOND if self.spoken_ns is None else self.now_ns - self.spoken_ns
        if abs(silent_ns - SECOND // 2) > 1000:
            assert (person is not None) == (silent_ns < SECOND // 2 or self.is_held)
        command = self.driver.step(self.now_ns, person=person)
        assert command.intervention == (person is not None)
        stops = {'emergency_stop', 'stale', 'not_finite', 'missing'}
        is_stop = bool(stops & set(command.reasons))
        assert is_stop or not (self.is_pressed or self.owes_stop)
        assert is_stop or person is not None or self.now_ns - self.sensed_ns <= SECOND // 5
        self.owes_stop = False
        self.oracle.check(command.executed, self.now_ns, is_stop)


TestSharedRobot = SharedRobot.TestCase
TestSharedRobot.settings = quick(40, stateful_step_count=30)
