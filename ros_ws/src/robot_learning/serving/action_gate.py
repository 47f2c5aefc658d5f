"""The last check before the robot: no learned code in here, and none gets past it.

What holds for whatever is given to the gate, at whatever moments:

- **Value.** Every command is finite and within the contract's `low` and `high`.
- **Rate.** |change| <= `max_rate` * elapsed, component by component.
- **Acceleration.** |change of the rate| <= `max_acceleration` * elapsed, where the rate is the
  change per second between two commands. Commands keep enough distance to the value limits to
  come to rest before them, whatever the next moments are.
- **Staleness.** An observation older than the smallest `max_age_s`, or as far in the future, is
  not acted on, and `watchdog` answers with the stop once the last one acted on is older than
  that and than one and a half control periods. The owner calls it on a timer: nothing else runs
  when nothing comes.
- **Emergency stop.** From `press` to `release` every command is the stop; one at least, even
  if the release comes before the next command.

Elapsed is the time since the last command. Exceptions, where safety or ignorance demand them:

- The stop command is sent at once: it may break rate and acceleration. After it, the rate counts
  as 0: the ramp up keeps all limits.
- After a silence longer than a control period and `max_age_s`, elapsed is that long, and the
  rate counts as 0: the command has stood still.
- A clock set back by less than that leaves no time: the command may not change. Set back by more
  (a simulation that was reset), the answer is the stop, for the robot is somewhere else now.

Limits hold in double precision; what is sent is rounded to float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from robot_learning.contract import RobotContract

Array = np.ndarray[Any, Any]


class GateResult(NamedTuple):
    """What the gate made of one command."""

    executed: Array  # [A] float32, contract units; the caller owns it.
    altered: bool
    reasons: tuple[str, ...]  # Why it was altered, in the order of the checks.


@dataclass
class GateCounts:
    """What happened since the gate was made; counts only grow."""

    commands: int = 0
    altered: int = 0
    limited_value: int = 0  # Components, not commands; likewise the next two.
    limited_rate: int = 0
    limited_acceleration: int = 0
    not_finite: int = 0
    stale_stops: int = 0
    emergency_stops: int = 0  # Presses.
    missed_ticks: int = 0
    clock_jumps: int = 0  # Times the clock was set back.


class ActionGate:
    """Limits, watchdog and emergency stop for the contract's learned actions.

    Vectors are short, so plain floats are faster here than numpy: under 15 us for two
    components. Not safe to call from two threads, except `press` and `release`.

    Args:
        contract: holds the limits.
        is_pressed: begin with the emergency stop pressed.
    """

    def __init__(self, contract: RobotContract, is_pressed: bool = False):
        actions = contract.learned_actions.values()
        self._size = contract.action_size
        self._low: list[float] = contract.action_low.tolist()
        self._high: list[float] = contract.action_high.tolist()
        self._stop: list[float] = contract.action_stop.tolist()
        self._max_rate: list[float] = [
            limit for spec in actions for limit in spec.max_rate or [math.inf] * spec.size
        ]
        self._max_acceleration: list[float] = [
            limit for spec in actions for limit in spec.max_acceleration or [math.inf] * spec.size
        ]
        self._max_age_ns = round(min(spec.max_age_s for spec in actions) * 1e9)
        self._period_s = 1.0 / contract.control_rate_hz
        self._longest_step_ns = max(contract.control_period_ns, self._max_age_ns)
        self._longest_silence_ns = max(self._max_age_ns, round(1.5e9 * self._period_s))
        # Not rounded to float32: at steps of microseconds, rounding would look like speed.
        self._command = list(self._stop)
        self._executed = list(self._stop)  # The same in float32, as it was sent.
        self._rate = [0.0] * self._size  # Change per second at the last command.
        self._command_ns: int | None = None
        self._observation_ns: int | None = None
        self._is_pressed = is_pressed
        self._owes_stop = False  # The stop was pressed since the last command.
        self._is_stale = False
        self._last_reasons: tuple[str, ...] = ()
        self.counts = GateCounts()

    @property
    def is_pressed(self) -> bool:
        """Whether the emergency stop holds the robot."""
        return self._is_pressed

    @property
    def is_stale(self) -> bool:
        """Whether the last command was a stop for want of a fresh observation."""
        return self._is_stale

    @property
    def last_executed(self) -> Array:
        """[A] float32, what the robot was last told; the stop command at first."""
        return np.array(self._executed, np.float32)

    @property
    def last_reasons(self) -> tuple[str, ...]:
        """Why the last command was altered; empty if it was not."""
        return self._last_reasons

    def filter(self, action: Array, now_ns: int, observation_stamp_ns: int) -> GateResult:
        """Return what may be sent to the robot instead of `action`.

        Args:
            action: [A] contract units, as the policy wants it; anything else is refused.
            now_ns: when it is sent, on the clock of the stamps, which may be set back.
            observation_stamp_ns: stamp of the observation that it answers.
        """
        self.counts.commands += 1
        self._observation_ns = min(observation_stamp_ns, now_ns)
        wanted = _plain(action)
        refusal = self._refusal(wanted, now_ns, observation_stamp_ns)
        if refusal:
            return self._halt(now_ns, refusal)
        self._is_stale = False
        elapsed_s = self._take_elapsed_s(now_ns)
        if elapsed_s <= 0:  # No time for a change: the same moment again, or an earlier one.
            reasons = () if wanted == self._executed else ('rate',)
            return self._result(np.array(self._executed, np.float32), reasons)
        return self._limited(wanted, elapsed_s)

    def watchdog(self, now_ns: int) -> GateResult | None:
        """Return the stop command if the last observation answered is too old, else None.

        Too old is `max_age_s`, but no less than one and a half control periods.
        Nothing is returned before the first command: a robot that we do not drive is left alone.
        """
        if self._command_ns is None:
            return None
        if now_ns >= self._command_ns and (
            self._observation_ns is not None
            and now_ns - self._observation_ns <= self._longest_silence_ns
        ):
            return None
        self._observation_ns = None  # Only a new observation ends the stop.
        return self.refuse(now_ns, 'stale')

    def refuse(self, now_ns: int, reason: str) -> GateResult:
        """Return the stop command because there is nothing sound to filter.

        'stale' and 'not_finite' are counted as such; any other reason is only reported.
        """
        self.counts.commands += 1
        return self._halt(now_ns, reason)

    def hold(self, now_ns: int) -> GateResult:
        """Return the stop command as an intended one, for example at the end of a run."""
        self.counts.commands += 1
        self._is_stale = False
        self._set_stopped(now_ns)
        return self._result(np.array(self._stop, np.float32), ())

    def press(self) -> None:
        """Stop from now on, whatever is commanded, until `release`."""
        if not self._is_pressed:
            self.counts.emergency_stops += 1
        self._owes_stop = self._is_pressed = True

    def release(self) -> None:
        """End the emergency stop; the robot ramps up from standstill."""
        self._is_pressed = False

    def _refusal(self, wanted: Any, now_ns: int, observation_stamp_ns: int) -> str | None:
        if self._is_pressed or self._owes_stop:
            return 'emergency_stop'
        age_ns = now_ns - observation_stamp_ns
        if age_ns > self._max_age_ns:
            return 'stale'
        if age_ns < -self._max_age_ns:
            return 'stamp_in_future'
        if not isinstance(wanted, list) or len(wanted) != self._size:
            return 'wrong_shape'
        if not all(isinstance(value, float) for value in wanted):
            return 'wrong_shape'
        if not all(map(math.isfinite, wanted)):
            return 'not_finite'
        last_ns = self._command_ns
        is_reset = last_ns is not None and now_ns < last_ns - self._longest_step_ns
        return 'clock_jump' if is_reset else None

    def _halt(self, now_ns: int, reason: str) -> GateResult:
        self._is_stale = reason in ('stale', 'stamp_in_future')
        if self._is_stale:
            self.counts.stale_stops += 1
        elif reason in ('not_finite', 'wrong_shape'):
            self.counts.not_finite += 1
        self._set_stopped(now_ns)
        return self._result(np.array(self._stop, np.float32), (reason,))

    def _set_stopped(self, now_ns: int) -> None:
        self._take_elapsed_s(now_ns)
        self._owes_stop = False
        self._command, self._executed = list(self._stop), list(self._stop)
        self._rate = [0.0] * self._size

    def _take_elapsed_s(self, now_ns: int) -> float:
        """Return the time since the last command, bounded, and count from `now_ns` on."""
        last_ns, self._command_ns = self._command_ns, now_ns
        if last_ns is None:
            return self._period_s
        if now_ns < last_ns:
            self.counts.clock_jumps += 1
            return 0.0
        if now_ns - last_ns > self._longest_step_ns:
            self._rate = [0.0] * self._size
            return self._longest_step_ns * 1e-9
        return (now_ns - last_ns) * 1e-9

    def _limited(self, command: list[float], elapsed_s: float) -> GateResult:
        executed = np.empty(self._size, np.float32)
        by_value = by_rate = by_acceleration = 0
        for i, wanted in enumerate(command):
            target = min(max(wanted, self._low[i]), self._high[i])
            by_value += target != wanted
            previous, reach = self._command[i], self._max_rate[i] * elapsed_s
            reached = min(max(target, previous - reach), previous + reach)
            executed[i] = reached  # Value limits are float32 numbers and survive the rounding.
            by_rate += float(executed[i]) != target
            if self._max_acceleration[i] < math.inf:
                fast = float(executed[i])
                reached = self._accelerated(i, target, elapsed_s)
                executed[i] = reached
                by_acceleration += float(executed[i]) != fast
            self._command[i], self._executed[i] = reached, float(executed[i])
            self._rate[i] = (reached - previous) / elapsed_s
        self.counts.limited_value += by_value
        self.counts.limited_rate += by_rate
        self.counts.limited_acceleration += by_acceleration
        reasons = tuple(
            name
            for name, count in (
                ('value', by_value),
                ('rate', by_rate),
                ('acceleration', by_acceleration),
            )
            if count
        )
        return self._result(executed, reasons)

    def _accelerated(self, i: int, wanted: float, elapsed_s: float) -> float:
        """Return the command nearest to `wanted` that bounds the change of the rate.

        A rate r needs r^2 / 2a of command range to come to rest, so it is only taken up where
        that much is left to the target. If the target has moved closer since, the command
        overshoots the target but never the value limits: the same rule held for them before.
        """
        limit = self._max_acceleration[i]
        previous, rate = self._command[i], self._rate[i]
        step = limit * elapsed_s

        def fastest(distance: float) -> float:
            """Largest rate from which rest is reached within `distance`, this step included."""
            square = 2.0 * max(distance, 0.0) / limit  # s^2
            return limit * square / (math.hypot(elapsed_s, math.sqrt(square)) + elapsed_s)

        desired = (wanted - previous) / elapsed_s
        if abs(desired) > step:  # Else the next step can come to rest from there.
            braking = max(fastest(abs(wanted - previous)), step)
            desired = min(max(desired, -braking), braking)
        desired = min(max(desired, -self._max_rate[i]), self._max_rate[i])
        desired = min(max(desired, rate - step), rate + step)
        desired = max(desired, -fastest(previous - self._low[i]))
        desired = min(desired, fastest(self._high[i] - previous))
        reached: float = previous + desired * elapsed_s  # To the last bit but one.
        return min(max(reached, self._low[i]), self._high[i])

    def _result(self, executed: Array, reasons: tuple[str, ...]) -> GateResult:
        self.counts.altered += bool(reasons)
        self._last_reasons = reasons
        return GateResult(executed, bool(reasons), reasons)


def _plain(action: Array) -> Any:
    """Return the numbers of a float32 vector as a list, None for what is none."""
    if action.dtype == np.float32:
        return action.tolist()
    if action.dtype.kind not in 'fiu':
        return None
    with np.errstate(over='ignore'):  # Beyond float32 is infinite, and refused as such.
        return action.astype(np.float32).tolist()
