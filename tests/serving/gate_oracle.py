"""Judges the commands of a gate by their numbers alone, without the gate's own arithmetic."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from policies import CONTRACT
from robot_learning.contract import RobotContract

SECOND = 1_000_000_000


def quick(num_examples: int, **more: Any) -> settings:
    """Settings for shared machines: the same examples every time, and no clock."""
    return settings(
        max_examples=num_examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        **more,
    )


class Oracle:
    """Follows the commands that were sent, and the rates that they leave possible.

    Commands are known to half a float32 step, so a rate is an interval. An interval that
    becomes empty proves that the change of the rate was beyond the acceleration limit.
    """

    def __init__(self, contract: RobotContract):
        action = contract.actions['base']
        self.low, self.high = contract.action_low, contract.action_high
        self.stop = contract.action_stop
        infinite = (np.inf,) * action.size
        self.max_rate = np.array(action.max_rate or infinite)
        self.max_acceleration = np.array(action.max_acceleration or infinite)
        self.period_s = 1 / contract.control_rate_hz
        self.step_s = max(self.period_s, action.max_age_s)
        largest = np.maximum(np.abs(self.low), np.abs(self.high))
        self.grain = 1.01 * np.spacing(largest.astype(np.float32)).astype(float)
        self.finest = 2 * np.spacing(largest.astype(float))  # At steps of ns this matters, too.
        self.previous = self.stop.astype(float)
        self.slowest = self.fastest = np.zeros(action.size)
        self.now_ns: int | None = None

    def check(self, executed: np.ndarray, now_ns: int, is_stop: bool) -> None:
        """Judge one command; `is_stop`: it had to be the stop and may come at once."""
        assert executed.dtype == np.float32
        assert np.isfinite(executed).all()
        assert (executed >= self.low).all(), executed
        assert (executed <= self.high).all(), executed
        if is_stop:
            np.testing.assert_array_equal(executed, self.stop)
            self.slowest = self.fastest = np.zeros(len(executed))
        else:
            self._check_change(executed.astype(float) - self.previous, now_ns)
        self.previous, self.now_ns = executed.astype(float), now_ns

    def _check_change(self, change: np.ndarray, now_ns: int) -> None:
        elapsed_s = self.period_s
        if self.now_ns is not None:
            elapsed_s = (now_ns - self.now_ns) * 1e-9
        if elapsed_s <= 0:
            np.testing.assert_array_equal(change, 0)
            return
        if elapsed_s > self.step_s:
            elapsed_s = self.step_s
            self.slowest = self.fastest = np.zeros(len(change))
        assert (np.abs(change) <= self.max_rate * elapsed_s + self.grain).all(), change
        reach = self.max_acceleration * elapsed_s * (1 + 1e-9) + self.finest / elapsed_s
        self.slowest = np.maximum(self.slowest - reach, (change - self.grain) / elapsed_s)
        self.fastest = np.minimum(self.fastest + reach, (change + self.grain) / elapsed_s)
        margin = 1e-9 * (np.abs(self.slowest) + np.abs(self.fastest))
        assert (self.slowest <= self.fastest + margin).all(), (self.slowest, self.fastest)


def _magnitudes(least: float, most: float) -> Any:
    return st.floats(np.log10(least), np.log10(most)).map(lambda exponent: 10.0**exponent)


@st.composite
def contracts(draw: Any, slowest: float = 1e-3) -> RobotContract:
    """Draw a contract with one to three components; limits are at least `slowest` of the range."""
    size = draw(st.integers(1, 3))
    scale = draw(_magnitudes(1e-3, 1e4))
    ends = [sorted(draw(st.tuples(*[st.floats(-1, 1)] * 2))) for _ in range(size)]
    low = [scale * a for a, _ in ends]
    high = [scale * max(b, a + 1e-3) for a, b in ends]
    share = draw(st.floats(0, 1))
    stop = [a + share * (b - a) for a, b in zip(low, high, strict=True)]
    limits = st.none() | st.tuples(*[_magnitudes(slowest, 1e3).map(lambda x: x * scale)] * size)
    rate_hz = draw(st.sampled_from([1.0, 5.0, 20.0, 200.0]))
    action = dataclasses.replace(
        CONTRACT.actions['base'],
        components=('x',) * size,
        unit=('m',) * size,
        low=tuple(low),
        high=tuple(high),
        stop=tuple(float(np.clip(s, a, b)) for s, a, b in zip(stop, low, high, strict=True)),
        max_rate=draw(limits),
        max_acceleration=draw(limits),
        max_age_s=draw(st.floats(1 / rate_hz, 2.0)),
    )
    return dataclasses.replace(
        CONTRACT, control_rate_hz=rate_hz, observation={}, features=(), actions={'base': action}
    )


def times_ns() -> Any:
    """Draw how far the clock goes between two calls; now and then it is set back."""
    return (
        st.sampled_from([0, 1, 1000, 1_000_000, 50_000_000, 200_000_000, 10 * SECOND])
        | st.integers(0, SECOND)
        | st.sampled_from([-1, -1_000_000, -150_000_000, -3 * SECOND, -1000 * SECOND])
    )


def components(contract: RobotContract) -> Any:
    """Draw one wanted command: sensible, wild, or no number at all."""
    low, high = contract.action_low.tolist(), contract.action_high.tolist()
    span = max(abs(value) for value in low + high)
    one = (
        st.floats(-1.2 * span, 1.2 * span)
        | st.sampled_from([*low, *high, 0.0, 5e-324, 1e-40, 1e300, -1e300, 3.4e38])
        | st.sampled_from([np.nan, np.inf, -np.inf])
    )
    return st.lists(one, min_size=len(low), max_size=len(low))
