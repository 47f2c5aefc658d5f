"""Readings, decisions and outcomes become control steps, by measured stamps alone.

The order in which messages arrive does not matter within `reorder_window_s`: a step is made
when something that much newer has arrived, so that a bag replayed through this class gives
the episodes that were recorded live.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Mapping
from operator import attrgetter
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.contract import RobotContract
from robot_learning.trajectory.actions import RecordedActions, command_key
from robot_learning.trajectory.edges import EpisodeEdges
from robot_learning.trajectory.episode import Array, Episode
from robot_learning.trajectory.grid import ControlGrid
from robot_learning.trajectory.observation import ObservationReader
from robot_learning.trajectory.signals import DECISIONS, MARKS, OUTCOMES, Decision, Mark, Outcome
from robot_learning.trajectory.timeline import Timeline, TopicCounts

_START = -(2**62)  # Before all stamps.
_NEVER = 2**62  # After all stamps.
_UNCHECKED = ('sensor_msgs/msg/LaserScan', 'sensor_msgs/msg/PointCloud2')  # NaN: no echo.


@dataclass(frozen=True, config=STRICT)
class RecorderConfig:
    """How topics become control steps and episodes."""

    # policy: a step per decision of a policy; commands: a step per control period, its action
    # read from the command topics; derived: the same, its action from the contract's derive_from.
    actions_from: Literal['policy', 'commands', 'derived'] = 'policy'
    reorder_window_s: NonNegativeFloat = 0.5  # Messages of one moment arrive within this time.
    topic_timeout_s: PositiveFloat = 2.0  # Without a complete step for so long the episode ends.
    time_limit_s: PositiveFloat | None = None  # Longest episode; unset: task and operator decide.
    clock_jump_s: Annotated[float, Field(gt=0)] = 1.0  # Stamps this much older: time jumped back.
    auto_start: bool = True  # Record without being told that an episode begins.
    max_pending: PositiveInt = 10_000  # Messages per topic that wait for their step.


class Recorder:
    """Assembles episodes of one robot. Not thread-safe; nothing here blocks."""

    def __init__(self, contract: RobotContract, config: RecorderConfig, first_episode: int = 0):
        self.contract = contract
        self.config = config
        self._timelines: dict[str, Timeline] = {}
        self._decisions = self._timeline(DECISIONS)
        self._outcomes = self._timeline(OUTCOMES)
        self._marks: list[Mark] = []
        self._mark_counts = self._timeline(MARKS).counts
        self._seen_marks: dict[tuple[int, bool, int | None, str], None] = {}
        self._observations = ObservationReader(contract, self._timeline)
        self._checked = self._checked_keys()
        self._grid = ControlGrid(contract.control_period_ns, self._observations)
        self._on_grid = config.actions_from != 'policy'
        self._actions: RecordedActions | None = None
        self._command_timelines: list[Timeline] = []
        if config.actions_from == 'commands':
            topics = {action.topic for action in contract.learned_actions.values()}
            self._command_timelines = [self._timeline(topic) for topic in sorted(topics)]
        if config.actions_from != 'policy':
            self._actions = RecordedActions(contract, config.actions_from, self._timelines)
        required = {s.topic for s in contract.observation.values() if s.required}
        self._evidence = required | {DECISIONS, OUTCOMES}
        self._edges = EpisodeEdges(
            contract, self.counts, config.time_limit_s, config.auto_start, first_episode
        )
        self._window_ns = round(config.reorder_window_s * 1e9) + 1
        self._jump_ns = round(config.clock_jump_s * 1e9)
        self._timeout_ns = max(round(config.topic_timeout_s * 1e9), 2 * contract.control_period_ns)
        self._newest_ns: int
        self._final_ns: int
        self._next_ns: int
        self._suspects: dict[str, tuple[int, Any]] = {}
        self._latest: dict[str, int] = {}  # Topic -> its newest stamp.
        self._restart()

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics of which messages can be given."""
        return tuple(self._timelines)

    @property
    def gaps(self) -> Counter[str]:
        """Recorded steps at which a field had no reading young enough, by field."""
        return self._observations.gaps

    @property
    def missing(self) -> Counter[str]:
        """Steps that were not recorded because this required field was missing, by field."""
        return self._observations.missing

    @property
    def endings(self) -> Counter[str]:
        """How many episodes ended for which reason."""
        return self._edges.endings

    @property
    def num_steps(self) -> int:
        """Recorded steps since the start."""
        return self._edges.num_steps

    @property
    def num_episodes(self) -> int:
        """Episodes with at least one step since the start, the open one included."""
        return self._edges.num_episodes

    @property
    def next_episode(self) -> int:
        """Number of the next episode that begins."""
        return self._edges.next_number

    @property
    def open_episode(self) -> tuple[int, int] | None:
        """Number and steps of the episode being recorded; None if there is none."""
        episode = self._edges.open
        return (episode.number, episode.num_steps) if episode and episode.num_steps else None

    def counts(self) -> dict[str, TopicCounts]:
        """Return what became of the messages, by topic."""
        return {topic: timeline.counts for topic, timeline in self._timelines.items()}

    def read(self, topic: str, stamp_ns: int, values: Mapping[str, Array]) -> None:
        """Take one message of a sensor or command topic.

        Args:
            topic: as the contract writes it.
            stamp_ns: moment of the measurement.
            values: contract field -> array in the contract's shape and dtype, for all fields
                that the topic feeds; commands under `command_key`. Not copied.
        """
        timeline = self._timelines[topic]
        timeline.counts.received += 1
        for name in self._checked.get(topic, ()):
            if not np.isfinite(values[name]).all():
                timeline.counts.non_finite += 1
                return
        self._accept(topic, timeline, stamp_ns, values)

    def act(self, decision: Decision) -> None:
        """Take one decision of a policy."""
        counts = self._decisions.counts
        counts.received += 1
        size = self.contract.action_size
        if len(decision.executed) != size or len(decision.commanded) != size:
            counts.refused += 1
        elif not (np.isfinite(decision.executed).all() and np.isfinite(decision.commanded).all()):
            counts.non_finite += 1
        else:
            self._accept(DECISIONS, self._decisions, decision.stamp_ns, decision)

    def arrive(self, outcome: Outcome) -> None:
        """Take what the task says about one step."""
        self._outcomes.counts.received += 1
        if not np.isfinite(outcome.reward):
            self._outcomes.counts.non_finite += 1
            return
        self._accept(OUTCOMES, self._outcomes, outcome.stamp_ns, outcome)

    def mark(self, mark: Mark) -> None:
        """Take the begin or end of an episode. One that comes again is a duplicate."""
        self._mark_counts.received += 1
        key = (mark.stamp_ns, mark.is_begin, mark.episode, mark.source)
        if key in self._seen_marks:
            self._mark_counts.duplicates += 1
            return
        self._seen_marks[key] = None
        if len(self._seen_marks) > 256:
            del self._seen_marks[next(iter(self._seen_marks))]
        self._mark_counts.pending += 1
        insort(self._marks, mark, key=attrgetter('stamp_ns'))
        self._next_ns = min(self._next_ns, mark.stamp_ns)

    def refuse(self, topic: str) -> None:
        """Count a message that could not be turned into what the contract promises."""
        counts = self._timelines[topic].counts
        counts.received += 1
        counts.refused += 1

    def drop(self, topic: str, count: int) -> None:
        """Count messages that were sent and never received."""
        self._timelines[topic].counts.dropped += count

    def collect(self) -> list[Episode]:
        """Return the steps that became final since the last call, as pieces of episodes.

        The newest step of an open episode comes with its successor: only then is it known
        whether its action was executed.
        """
        return self._edges.collect()

    def jump_back(self) -> None:
        """End the episode and forget all readings: time starts anew, earlier than before."""
        self._finish('clock_jump')
        suspects, self._suspects = self._suspects, {}
        for topic, (stamp_ns, reading) in suspects.items():
            timeline = self._timelines[topic]
            timeline.counts.pending -= 1
            self._accept(topic, timeline, stamp_ns, reading)

    def close(self, reason: str = 'shutdown') -> None:
        """Make every step that can be made and end the open episode."""
        for topic in list(self._suspects):
            self._clear_suspect(topic)
        self._finish(reason)

    def _accept(self, topic: str, timeline: Timeline, stamp_ns: int, reading: Any) -> None:
        latest = self._latest.get(topic, _START)
        if stamp_ns < latest - self._jump_ns:
            if topic not in self._suspects:  # One straggler is disorder, two are a jump.
                self._suspects[topic] = (stamp_ns, reading)
                timeline.counts.pending += 1
                return
            self.jump_back()
        elif topic in self._suspects:
            self._clear_suspect(topic)
        if stamp_ns > self._latest.get(topic, _START):
            self._latest[topic] = stamp_ns
        if not self._sort_in(timeline, stamp_ns, reading):
            return
        if topic in self._evidence and stamp_ns > self._newest_ns:
            self._newest_ns = stamp_ns
        limit_ns = self._newest_ns - self._window_ns
        if limit_ns >= self._next_ns or limit_ns > self._final_ns + self._window_ns:
            self._advance(limit_ns)

    def _sort_in(self, timeline: Timeline, stamp_ns: int, reading: Any) -> bool:
        is_moment = timeline is self._decisions or timeline is self._outcomes
        if stamp_ns <= self._final_ns:
            timeline.counts.late += 1
            if is_moment:
                timeline.counts.unneeded += 1
                return False
        if not timeline.insert(stamp_ns, reading):
            return False
        if is_moment:
            self._next_ns = min(self._next_ns, stamp_ns)
        return True

    def _clear_suspect(self, topic: str) -> None:
        del self._suspects[topic]
        counts = self._timelines[topic].counts
        counts.pending -= 1
        counts.out_of_order += 1
        counts.stale += 1

    def _finish(self, reason: str) -> None:
        self._advance(_NEVER - 1)
        self._edges.close(reason)
        for timeline in self._timelines.values():
            timeline.clear()
        self._latest.clear()
        self._restart()

    def _restart(self) -> None:
        self._newest_ns = _START
        self._final_ns = _START  # Steps up to here are made.
        self._next_ns = _NEVER  # Earliest moment that waits, without ticks of the grid.
        self._grid.restart()

    def _advance(self, limit_ns: int) -> None:
        """Process all moments up to `limit_ns` in order."""
        while (moment_ns := self._next_moment(limit_ns)) <= limit_ns:
            self._process(moment_ns, limit_ns)
        self._final_ns = max(self._final_ns, min(limit_ns, self._newest_ns))
        newest_ns = self._edges.newest_step_ns
        if newest_ns is not None and self._final_ns - newest_ns > self._timeout_ns:
            self._edges.time_out()
        self._observations.forget(self._final_ns)
        for timeline in self._command_timelines:
            timeline.forget(self._final_ns)

    def _next_moment(self, limit_ns: int) -> int:
        heads = [queue.stamps[0] for queue in (self._decisions, self._outcomes) if queue.stamps]
        if self._marks:
            heads.append(self._marks[0].stamp_ns)
        self._next_ns = min(heads, default=_NEVER)
        if self._on_grid:
            return min(self._next_ns, self._grid.next_tick(self._final_ns, self._newest_ns))
        return self._next_ns

    def _process(self, moment_ns: int, limit_ns: int) -> None:
        """Make the step of one moment, if there is one, and open and close episodes there.

        An end at a step's own stamp comes after the step, a begin before it; but a begin at
        the stamp at which the old episode ends comes after that.
        """
        edges = self._edges
        newest_ns = edges.newest_step_ns
        if newest_ns is not None and moment_ns - newest_ns > self._timeout_ns:
            edges.time_out()
        decision: Decision | None = _head(self._decisions, moment_ns)
        outcome: Outcome | None = _head(self._outcomes, moment_ns)
        begins, ends = self._pop_marks(moment_ns)
        is_tick = self._on_grid and moment_ns == self._grid.tick_ns
        if is_tick:
            self._complete_newest(moment_ns)
        task_ends = outcome is not None and (outcome.terminated or outcome.truncated)
        if edges.open is None or not (ends or task_ends):
            edges.begin(begins)
            begins = []
        if outcome is not None and edges.arrive(outcome):
            self._outcomes.use(0)
        is_step = is_tick if self._on_grid else decision is not None
        if is_step or (task_ends and edges.open is not None):
            self._record(moment_ns, decision, limit_ns)
        if outcome is not None and task_ends:
            edges.end_by_task(outcome, [*ends, *self._marks])
        for mark in ends:
            edges.end_by_mark(mark)
        edges.begin(begins)
        if decision is not None:
            self._decisions.pop()
        if outcome is not None:
            self._outcomes.pop()

    def _record(self, moment_ns: int, decision: Decision | None, limit_ns: int) -> None:
        """Record the step of this moment, unless a required field is missing."""
        if not self._edges.ready(moment_ns):
            return
        readings = self._observations.at(moment_ns)
        if isinstance(readings, str):
            self._edges.skip(readings)
            if self._on_grid and self._edges.num_open_steps == 0:
                self._grid.skip(readings, moment_ns, min(limit_ns, self._newest_ns))
            return
        step = self._edges.add(moment_ns, readings)
        if decision is not None:
            self._decisions.use(0)
            step.decision = decision
        self._edges.limit_time(moment_ns)

    def _complete_newest(self, tick_ns: int) -> None:
        """Set what was done from the newest step until this tick; go on to the next tick."""
        self._grid.advance()
        step = self._edges.newest_step
        if self._actions is None or step is None:
            return
        if tick_ns - step.stamp_ns == self.contract.control_period_ns:
            action = self._actions.between(step, tick_ns)
            if action is None:
                self._edges.break_off('gap: action')
            else:
                step.decision = Decision(step.stamp_ns, action, action)

    def _pop_marks(self, moment_ns: int) -> tuple[list[Mark], list[Mark]]:
        begins: list[Mark] = []
        ends: list[Mark] = []
        while self._marks and self._marks[0].stamp_ns == moment_ns:
            mark = self._marks.pop(0)
            (begins if mark.is_begin else ends).append(mark)
            self._mark_counts.pending -= 1
            self._mark_counts.used += 1
        return begins, ends

    def _timeline(self, topic: str) -> Timeline:
        return self._timelines.setdefault(topic, Timeline(self.config.max_pending))

    def _checked_keys(self) -> dict[str, list[str]]:
        """Return which arrays of a topic's readings must be finite."""
        keys: dict[str, list[str]] = {}
        for name, spec in self.contract.observation.items():
            if spec.dtype.startswith('float') and spec.type not in _UNCHECKED:
                keys.setdefault(spec.topic, []).append(name)
        if self.config.actions_from == 'commands':
            for name, action in self.contract.learned_actions.items():
                keys.setdefault(action.topic, []).append(command_key(name))
        return keys


def _head(queue: Timeline, moment_ns: int) -> Any:
    """Return what stands first in the queue if it belongs to this moment."""
    return queue.readings[0] if queue.stamps and queue.stamps[0] == moment_ns else None
