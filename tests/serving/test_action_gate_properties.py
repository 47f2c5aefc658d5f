"""What the gate promises, tried with whatever hypothesis comes up with."""

import math

import numpy as np
import pytest
from gate_oracle import SECOND, Oracle, components, contracts, quick, times_ns
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from robot_learning.serving.action_gate import ActionGate

QUICK = quick(150)


@QUICK
@given(data=st.data(), contract=contracts())
def test_no_command_leaves_the_limits_whatever_is_wanted_and_whatever_the_clock_does(
    data, contract
):
    gate, oracle = ActionGate(contract), Oracle(contract)
    now_ns = 100 * SECOND
    for elapsed_ns in data.draw(st.lists(times_ns(), min_size=1, max_size=25)):
        now_ns += elapsed_ns
        wanted = data.draw(components(contract))
        result = gate.filter(np.array(wanted), now_ns, now_ns)
        is_stop = bool({'not_finite', 'clock_jump'} & set(result.reasons))
        with np.errstate(over='ignore'):
            is_finite = bool(np.isfinite(np.array(wanted, np.float32)).all())
        assert is_finite or is_stop
        oracle.check(result.executed, now_ns, is_stop)


@QUICK
@given(contract=contracts(slowest=0.3), data=st.data())
def test_a_command_that_stays_the_same_is_reached_as_fast_as_the_limits_allow(contract, data):
    gate = ActionGate(contract)
    high, low = contract.action_high.astype(float), contract.action_low.astype(float)
    shares = data.draw(st.lists(st.floats(0, 1), min_size=len(low), max_size=len(low)))
    wanted = np.clip(low + shares * (high - low), low, high).astype(np.float32)
    for index in range(most_steps(contract, np.abs(wanted - contract.action_stop).max())):
        now_ns = (index + 1) * contract.control_period_ns
        if not gate.filter(wanted, now_ns, now_ns).altered:
            break
    np.testing.assert_array_equal(gate.last_executed, wanted)


def most_steps(contract, distance):
    """Control steps of the fastest motion over `distance`: a trapezoid of speed, and some more."""
    action = contract.actions['base']
    seconds = distance / min(action.max_rate or (math.inf,))
    seconds += 2 * math.sqrt(distance / min(action.max_acceleration or (math.inf,)))
    seconds += min(action.max_rate or (0,)) / min(action.max_acceleration or (math.inf,))
    return math.ceil(1.1 * seconds * contract.control_rate_hz) + 15


@pytest.mark.parametrize(
    'action',
    [
        np.array(['a', 'b']),
        np.array([None, None]),
        np.array([1j, 0]),
        np.array([{}, {}], object),
        np.zeros((2, 2)),
        np.zeros(0),
    ],
)
def test_what_is_no_vector_of_numbers_becomes_the_stop(action):
    from policies import CONTRACT

    result = ActionGate(CONTRACT).filter(action, SECOND, SECOND)
    np.testing.assert_array_equal(result.executed, CONTRACT.action_stop)
    assert result.reasons == ('wrong_shape',)


class GateMachine(RuleBasedStateMachine):
    """Commands, silences, stops and releases in any order, with the watchdog on its timer."""

    @initialize(contract=contracts())
    def build(self, contract):
        self.contract = contract
        self.gate, self.oracle = ActionGate(contract), Oracle(contract)
        self.now_ns = 100 * SECOND
        self.acted_on_ns = None  # Newest observation that a command answered.
        self.has_commanded = self.is_pressed = self.owes_stop = False
        action = contract.actions['base']
        periods_s = 1.5 / contract.control_rate_hz
        self.staleness_ns = round(max(action.max_age_s, periods_s) * 1e9)

    @rule(data=st.data(), elapsed_ns=times_ns(), age_ns=st.integers(-SECOND, 3 * SECOND))
    def command(self, data, elapsed_ns, age_ns):
        self.now_ns += elapsed_ns
        wanted = np.array(data.draw(components(self.contract)))
        result = self.gate.filter(wanted, self.now_ns, self.now_ns - age_ns)
        self.has_commanded = True
        self.acted_on_ns = min(self.now_ns, self.now_ns - age_ns)
        max_age_ns = self.contract.actions['base'].max_age_s * 1e9
        must_stop = self.is_pressed or self.owes_stop or abs(age_ns) > max_age_ns + 1
        stops = {'emergency_stop', 'stale', 'stamp_in_future', 'not_finite', 'clock_jump'}
        is_stop = bool(stops & set(result.reasons))
        assert is_stop or not must_stop
        self.owes_stop = False
        self.oracle.check(result.executed, self.now_ns, is_stop)

    @rule(elapsed_ns=times_ns())
    def look(self, elapsed_ns):
        """The node's timer: what it last sent stands unless the watchdog says otherwise."""
        before_ns = self.now_ns
        self.now_ns += elapsed_ns
        stop = self.gate.watchdog(self.now_ns)
        if not self.has_commanded:
            assert stop is None
            return
        is_old = self.acted_on_ns is None or (
            self.now_ns - self.acted_on_ns > self.staleness_ns + 1
        )
        if is_old or self.now_ns < min(before_ns, self.oracle.now_ns):
            assert stop is not None
        if stop is not None:
            self.acted_on_ns, self.owes_stop = None, False
            self.oracle.check(stop.executed, self.now_ns, True)

    @rule()
    def press(self):
        self.gate.press()
        self.is_pressed = self.owes_stop = True

    @rule()
    def release(self):
        self.gate.release()
        self.is_pressed = False

    @rule(reason=st.sampled_from(['stale', 'not_finite', 'missing']), elapsed_ns=times_ns())
    def refuse(self, reason, elapsed_ns):
        self.stop_by(lambda now_ns: self.gate.refuse(now_ns, reason), elapsed_ns)

    @rule(elapsed_ns=times_ns())
    def hold(self, elapsed_ns):
        self.stop_by(self.gate.hold, elapsed_ns)

    def stop_by(self, stop, elapsed_ns):
        self.now_ns += elapsed_ns
        self.has_commanded, self.owes_stop = True, False
        self.oracle.check(stop(self.now_ns).executed, self.now_ns, True)

    @precondition(lambda self: self.is_pressed)
    @rule(times=st.lists(st.integers(0, SECOND), max_size=5))
    def nothing_moves_a_pressed_robot(self, times):
        for elapsed_ns in times:
            self.now_ns += elapsed_ns
            result = self.gate.filter(self.contract.action_high, self.now_ns, self.now_ns)
            self.acted_on_ns, self.owes_stop = self.now_ns, False
            self.has_commanded = True
            self.oracle.check(result.executed, self.now_ns, True)

    @invariant()
    def the_gate_tells_what_was_sent(self):
        if hasattr(self, 'gate'):
            np.testing.assert_array_equal(self.gate.last_executed, self.oracle.previous)
            assert self.gate.is_pressed == self.is_pressed


TestGateMachine = GateMachine.TestCase
TestGateMachine.settings = quick(60, stateful_step_count=30)
