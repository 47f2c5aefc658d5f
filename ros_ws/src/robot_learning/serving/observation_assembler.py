"""The newest reading of every field that a policy needs, and whether one may act on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from robot_learning.contract import ObservationField, RobotContract
from robot_learning.errors import MessageError

Array = np.ndarray[Any, Any]
Converter = Callable[[Any], Array]

_CLOCK_JUMP_NS = 1_000_000_000  # A stamp older by more than this is a clock set back, not delay.
_MOST_INVALID_BEAMS = 0.5  # Share of NaN beams beyond which a scan is no scan.


class Problem(NamedTuple):
    """Why a field cannot be used now."""

    field: str
    kind: str  # 'missing', 'stale', 'not_finite' or 'bad_message'.
    text: str  # For people.


class Observation(NamedTuple):
    """The newest readings together."""

    values: Mapping[str, Array]  # Field -> array of the contract's shape.
    stamp_ns: int  # Of the newest reading that ages.
    received_ns: int  # When the last of them arrived, on the caller's steady clock.
    problems: tuple[Problem, ...]  # Empty: complete and fresh.


@dataclass
class _Slot:
    """The newest reading of one field, converted when it is first needed."""

    spec: ObservationField
    convert: Converter
    stamp_ns: int = -1
    received_ns: int = 0
    payload: Any = None
    value: Array | None = None
    problem: Problem | None = None
    used_ns: int = -1  # Stamp of the reading that was last collected.
    is_in_step: bool = True  # It has lately come with every control step.


class ObservationAssembler:
    """Keeps the newest reading per field by stamp; arrival order does not matter.

    Fields without `max_age_s` (a goal) never age; they do not date an observation either.
    """

    def __init__(
        self,
        contract: RobotContract,
        fields: tuple[str, ...],
        converters: Mapping[str, Converter],
    ):
        """Prepare.

        Args:
            contract: describes the fields.
            fields: names of those that are needed.
            converters: from what `put` is given to the field's array.
        """
        self._slots = {
            name: _Slot(contract.observation[name], converters[name]) for name in fields
        }
        self._max_age_ns = {
            name: None if slot.spec.max_age_s is None else round(slot.spec.max_age_s * 1e9)
            for name, slot in self._slots.items()
        }
        self._paced = [
            slot
            for slot in self._slots.values()
            if slot.spec.max_age_s is not None
            and (slot.spec.rate_hz is None or slot.spec.rate_hz >= 0.9 * contract.control_rate_hz)
        ]
        self._step_ns = -1
        self._collected_ns = -1
        self._overrides: dict[str, Array] = {}

    def put(self, name: str, stamp_ns: int, payload: Any, received_ns: int) -> None:
        """Take a reading; an older one than is held counts only after a clock jump."""
        slot = self._slots[name]
        if slot.stamp_ns - _CLOCK_JUMP_NS < stamp_ns < slot.stamp_ns:
            return
        slot.stamp_ns, slot.received_ns = stamp_ns, received_ns
        slot.payload, slot.value, slot.problem = payload, None, None
        if stamp_ns == self._step_ns:
            slot.is_in_step = True

    def override(self, name: str, value: Array | None) -> None:
        """Use `value` instead of what arrives; None ends that."""
        if value is None:
            self._overrides.pop(name, None)
        else:
            self._overrides[name] = value

    def awaited(self, step_ns: int, is_first: bool) -> tuple[str, ...]:
        """Return the fields that belong to the step stamped `step_ns` and are not there yet.

        Those that never age (a goal) belong to an episode's first step only. Fields that were
        given up before are not waited for until they come in step again.
        """
        self._step_ns = step_ns
        return tuple(
            name
            for name, slot in self._slots.items()
            if slot.stamp_ns < step_ns
            and slot.is_in_step
            and (is_first or self._max_age_ns[name] is not None)
        )

    def give_up(self, names: tuple[str, ...]) -> None:
        """Do not wait for these fields any more: they come less often than steps."""
        for name in names:
            self._slots[name].is_in_step = False

    def is_renewed(self) -> bool:
        """Return whether every field that keeps up with the control rate has a new reading."""
        return all(slot.stamp_ns != slot.used_ns for slot in self._paced)

    def needs_answer(self, now_ns: int) -> bool:
        """Return whether a newer observation than the last collected begins, or one is too old."""
        for name, slot in self._slots.items():
            max_age_ns = self._max_age_ns[name]
            if max_age_ns is None:
                if slot.stamp_ns < 0 and name not in self._overrides:
                    return True
            elif slot.stamp_ns > self._collected_ns or now_ns - slot.stamp_ns > max_age_ns:
                return True
        return False

    def collect(self, now_ns: int) -> Observation:
        """Return the newest readings and what is wrong with them at `now_ns`."""
        values: dict[str, Array] = {}
        problems: list[Problem] = []
        stamp_ns, received_ns = -1, 0
        for name, slot in self._slots.items():
            slot.used_ns = slot.stamp_ns
            if name in self._overrides:
                values[name] = self._overrides[name]
                continue
            max_age_ns = self._max_age_ns[name]
            problem = self._problem(name, slot, now_ns, max_age_ns)
            if problem is not None:
                problems.append(problem)
            elif slot.value is not None:
                values[name] = slot.value
            if max_age_ns is not None:
                stamp_ns = max(stamp_ns, slot.stamp_ns)
                received_ns = max(received_ns, slot.received_ns)
        self._collected_ns = stamp_ns
        return Observation(values, stamp_ns, received_ns, tuple(problems))

    def value(self, name: str) -> Array | None:
        """Return the newest sound reading of one field, whatever its age; None: there is none."""
        if name in self._overrides:
            return self._overrides[name]
        slot = self._slots.get(name)
        return None if slot is None else slot.value

    def _problem(
        self, name: str, slot: _Slot, now_ns: int, max_age_ns: int | None
    ) -> Problem | None:
        if slot.payload is None and slot.value is None and slot.problem is None:
            topic = slot.spec.topic
            return Problem(name, 'missing', f'{name}: nothing has arrived on {topic!r} yet')
        if max_age_ns is not None and now_ns - slot.stamp_ns > max_age_ns:
            age_s = (now_ns - slot.stamp_ns) * 1e-9
            return Problem(
                name, 'stale', f'{name}: is {age_s:.3f} s old, allowed are {slot.spec.max_age_s} s'
            )
        if slot.payload is not None:
            slot.problem = _convert(name, slot)
            slot.payload = None
        return slot.problem


def _convert(name: str, slot: _Slot) -> Problem | None:
    try:
        value = slot.convert(slot.payload)
    except MessageError as error:
        return Problem(name, 'bad_message', str(error))
    if value.dtype.kind == 'f':
        count = value.size - int(np.isfinite(value).sum())
        if slot.spec.type == 'sensor_msgs/msg/LaserScan':  # Infinite: out of range (REP 117).
            count = int(np.isnan(value).sum()) if count else 0
            count = count if count > _MOST_INVALID_BEAMS * value.size else 0
        if count:
            return Problem(
                name, 'not_finite', f'{name}: {count} of {value.size} values are not finite'
            )
    slot.value = value
    return None
