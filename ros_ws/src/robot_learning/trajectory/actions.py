"""The action of a step without a policy: out of commands, or of the motion that followed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from robot_learning.contract import ActionField, RobotContract
from robot_learning.errors import ContractError
from robot_learning.trajectory.assembly import Step
from robot_learning.trajectory.derived_action import derive_action
from robot_learning.trajectory.episode import Array
from robot_learning.trajectory.timeline import Timeline


def command_key(action_name: str) -> str:
    """Return the key under which a reading holds the command of an action field."""
    return f'command/{action_name}'


class RecordedActions:
    """Finds what was done between two neighbouring control steps.

    Raises:
        ContractError: actions shall be derived and an action field does not say from what.
    """

    def __init__(
        self,
        contract: RobotContract,
        source: Literal['commands', 'derived'],
        timelines: Mapping[str, Timeline],
    ):
        self._contract = contract
        self._timelines = timelines
        self._fields = list(contract.observation)
        self._from_commands = source == 'commands'
        if self._from_commands:
            return
        for name, action in contract.learned_actions.items():
            if action.derive_from is None:
                raise ContractError(
                    f'{contract.robot}: action {name!r} has no derive_from, and there are no '
                    f'commands on {action.topic!r}. Name the observation field that stands for '
                    f'the action, or record the commands.'
                )

    def between(self, step: Step, stamp_ns: int) -> Array | None:
        """Return the action [A] from `step` to its successor at `stamp_ns`; None if unknown."""
        parts = []
        for name, action in self._contract.learned_actions.items():
            if self._from_commands:
                part = self._commanded(name, action, stamp_ns)
            else:
                part = self._derived(str(action.derive_from), step, stamp_ns)
            if part is None or not np.isfinite(part).all():
                return None
            parts.append(part)
        return np.concatenate(parts)

    def _commanded(self, name: str, action: ActionField, stamp_ns: int) -> Array | None:
        """Return the command in force; a robot stops when the newest one is too old."""
        timeline = self._timelines[action.topic]
        index = timeline.newest_at(stamp_ns - 1)
        if index < 0:
            return None
        limit_ns = round(action.max_age_s * 1e9) + self._contract.control_period_ns
        if stamp_ns - timeline.stamps[index] > limit_ns:
            return np.asarray(action.stop, np.float32)
        timeline.use(index)
        command: Array = timeline.readings[index][command_key(name)]
        return command

    def _derived(self, field: str, step: Step, stamp_ns: int) -> Array | None:
        spec = self._contract.observation[field]
        timeline = self._timelines[spec.topic]
        index = timeline.newest_at(stamp_ns)
        place = self._fields.index(field)
        if index < 0 or not step.readings.present[place]:
            return None
        read_ns = timeline.stamps[index]
        if spec.max_age_s and stamp_ns - read_ns > round(spec.max_age_s * 1e9):
            return None
        timeline.use(index)
        elapsed_s = (read_ns - step.readings.stamps_ns[place]) * 1e-9
        after = timeline.readings[index][field]
        return derive_action(spec, step.readings.values[place], after, elapsed_s)
