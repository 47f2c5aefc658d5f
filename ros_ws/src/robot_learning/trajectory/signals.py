"""What reaches a recorder besides sensor readings: decisions, outcomes, marks of episodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from robot_learning.trajectory.episode import Array

# Relative names of the topics that carry them.
DECISIONS = 'policy_action'
OUTCOMES = 'outcome'
MARKS = 'episode_event'
CLOCK = 'clock'

INTERFACES = 'robot_learning_interfaces'
SIGNAL_TYPES = {
    DECISIONS: f'{INTERFACES}/msg/PolicyAction',
    OUTCOMES: f'{INTERFACES}/msg/StepOutcome',
    MARKS: f'{INTERFACES}/msg/EpisodeEvent',
}


class Decision(NamedTuple):
    """One action of a policy, computed from the observation of `stamp_ns`."""

    stamp_ns: int
    commanded: Array  # [A] contract units, before the gate.
    executed: Array  # [A] contract units, after the gate.
    model_version: int = -1
    log_prob: float = float('nan')
    altered: bool = False
    exploring: bool = False
    intervention: bool = False  # A person commanded it.


class Outcome(NamedTuple):
    """What the task says on arriving at the observation of `stamp_ns`."""

    stamp_ns: int
    episode: int  # The source's number.
    step: int
    is_first: bool
    reward: float
    terminated: bool
    truncated: bool
    success: bool


@dataclass(frozen=True)
class Mark:
    """Begin or end of an episode, said by a simulator, a task or a person."""

    stamp_ns: int
    is_begin: bool
    episode: int | None = None  # The source's number; None: the source does not count.
    source: str = 'operator'
    seed: int = -1
    terminated: bool = False
    truncated: bool = False
    success: bool = False
    reason: str = ''
    discard: bool = False  # End: drop what was not yet collected.
    info: dict[str, Any] = field(default_factory=dict)
