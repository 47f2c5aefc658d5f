"""One episode while it grows, step by step, until its steps leave as pieces."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.trajectory.episode import Array, Episode
from robot_learning.trajectory.signals import Decision


class StepReadings(NamedTuple):
    """The observation of one step; the lists follow the contract's fields."""

    values: list[Array]
    stamps_ns: list[int]  # -1: no reading yet.
    present: list[bool]


class Step:
    """One control step. Its action may become known later than its observation."""

    __slots__ = (
        'decision',
        'is_first',
        'is_told',
        'readings',
        'reward',
        'stamp_ns',
        'terminated',
        'truncated',
    )

    def __init__(
        self, stamp_ns: int, readings: StepReadings, reward: float, is_first: bool, action: Array
    ):
        self.stamp_ns = stamp_ns
        self.readings = readings
        self.reward = reward
        self.is_first = is_first
        self.is_told = False  # The task spoke on arriving here.
        self.terminated = False
        self.truncated = False
        # The action chosen from this observation and where it comes from.
        self.decision = Decision(stamp_ns, action, action)


class OpenEpisode:
    """An episode that is being recorded.

    The newest step stays here until its successor or the end is known: only then is it clear
    whether its action was executed.
    """

    def __init__(self, contract: RobotContract, begun_ns: int, attributes: dict[str, Any]):
        self.begun_ns = begun_ns
        self.attributes = attributes
        self.source_episode: int | None = None
        self.has_outcomes = False  # A task tells where it ends; marks then only describe.
        self.pending_reward = float('nan')  # Received since the newest step.
        self._outcome_step: int | None = None  # Of the newest outcome.
        self._is_told = False  # An outcome came since the newest step.
        self.number = -1  # Known with the first step.
        self.num_steps = 0
        self.skipped_steps = 0
        self._contract = contract
        self._steps: list[Step] = []

    @property
    def newest(self) -> Step | None:
        """The newest step, if there is any."""
        return self._steps[-1] if self._steps else None

    def add_reward(self, reward: float, outcome_step: int) -> None:
        """Add what a task gave to what the next step will have received on arriving.

        Where the task's own count of steps shows that its word was lost, the reward of the
        step that it belonged to is unknown.
        """
        before, self._outcome_step = self._outcome_step, outcome_step
        was_lost = before is not None and outcome_step > before + 1
        if was_lost and not self._forget_rewards():
            reward = float('nan')
        if not self._is_told and np.isnan(self.pending_reward):
            self.pending_reward = 0.0
        self.pending_reward += reward
        self._is_told = True

    def _forget_rewards(self) -> bool:
        """Unset the rewards of the newest steps at which the task said nothing."""
        silent = list(itertools.takewhile(lambda step: not step.is_told, reversed(self._steps)))
        for step in silent:
            step.reward = float('nan')
        return bool(silent) and not self._is_told

    def add(self, stamp_ns: int, readings: StepReadings) -> Step:
        """Append a step with the stop command as its action."""
        step = Step(
            stamp_ns,
            readings,
            self.pending_reward,
            is_first=self.num_steps == 0,
            action=self._contract.action_stop,
        )
        step.is_told, self._is_told = self._is_told, False
        self.pending_reward = 0.0 if self.has_outcomes else float('nan')
        self._steps.append(step)
        self.num_steps += 1
        return step

    def discard(self) -> int:
        """Drop the steps that were not taken yet; return how many."""
        count = len(self._steps)
        self.num_steps -= count
        self._steps.clear()
        return count

    def finish(self, terminated: bool) -> None:
        """Mark the newest step as the last one; its action was never executed."""
        step = self._steps[-1]
        step.terminated = terminated
        step.truncated = not terminated
        stop = self._contract.action_stop
        step.decision = Decision(step.stamp_ns, stop, stop)

    def take(self, is_complete: bool) -> Episode | None:
        """Remove and return all steps, of an incomplete episode all but the newest."""
        count = len(self._steps) if is_complete else len(self._steps) - 1
        if count <= 0:
            return None
        steps = self._steps[:count]
        del self._steps[:count]
        offset = self.num_steps - len(self._steps) - count
        attributes = {**self.attributes, 'skipped_steps': self.skipped_steps}
        if self.source_episode is not None:
            attributes['source_episode'] = self.source_episode
        return _piece(self._contract, self.number, offset, steps, is_complete, attributes)


def _piece(
    contract: RobotContract,
    number: int,
    offset: int,
    steps: list[Step],
    is_complete: bool,
    attributes: dict[str, Any],
) -> Episode:
    values: dict[str, Array] = {}
    stamps: dict[str, Array] = {}
    present: dict[str, Array] = {}
    for i, (name, spec) in enumerate(contract.observation.items()):
        values[name] = np.array([step.readings.values[i] for step in steps], spec.dtype)
        stamps[name] = np.array([step.readings.stamps_ns[i] for step in steps], np.int64)
        present[name] = np.array([step.readings.present[i] for step in steps], bool)
    decisions = [step.decision for step in steps]
    return Episode(
        episode=number,
        offset=offset,
        stamp_ns=np.array([step.stamp_ns for step in steps], np.int64),
        observations=values,
        field_stamp_ns=stamps,
        present=present,
        action=np.array([decision.executed for decision in decisions], np.float32),
        commanded=np.array([decision.commanded for decision in decisions], np.float32),
        altered=np.array([decision.altered for decision in decisions], bool),
        log_prob=np.array([decision.log_prob for decision in decisions], np.float32),
        model_version=np.array([decision.model_version for decision in decisions], np.int64),
        reward=np.array([step.reward for step in steps], np.float32),
        terminated=np.array([step.terminated for step in steps], bool),
        truncated=np.array([step.truncated for step in steps], bool),
        is_first=np.array([step.is_first for step in steps], bool),
        exploring=np.array([decision.exploring for decision in decisions], bool),
        intervention=np.array([decision.intervention for decision in decisions], bool),
        is_complete=is_complete,
        attributes=attributes,
    )
