"""Where episodes begin and end: by task outcomes, marks, time limit, silence or a clock jump."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from robot_learning.contract import RobotContract
from robot_learning.trajectory.assembly import OpenEpisode, Step, StepReadings
from robot_learning.trajectory.episode import Episode
from robot_learning.trajectory.signals import DECISIONS, Mark, Outcome
from robot_learning.trajectory.timeline import TopicCounts

_KEPT_MARKS = 64  # Begins and ends remembered by episode number, to describe the episodes.


class EpisodeEdges:
    """Opens and closes episodes; holds the open one and the pieces of those that ended.

    While a task publishes outcomes, they decide where episodes end; marks then only describe.

    Attributes:
        open: the episode that is being recorded; it may have no steps yet.
        next_number: number of the next episode that begins.
        endings: how many episodes ended for which reason.
    """

    def __init__(
        self,
        contract: RobotContract,
        counts: Callable[[], Mapping[str, TopicCounts]],
        time_limit_s: float | None,
        auto_start: bool,
        first_episode: int,
    ):
        self.open: OpenEpisode | None = None
        self.endings: Counter[str] = Counter()
        self.num_steps = 0
        self.num_episodes = 0
        self._contract = contract
        self._counts = counts
        self._time_limit_ns = round(time_limit_s * 1e9) if time_limit_s else None
        self._may_open = auto_start  # False between an end that was told and the next begin.
        self.next_number = first_episode
        self._finished: list[Episode] = []
        self._begins: dict[int, Mark] = {}
        self._ended_source: int | None = None  # Its outcomes do not open an episode again.
        self._missing = ''  # What prevented the latest step.
        self._counts_before: dict[str, dict[str, int]] = {}

    @property
    def newest_step(self) -> Step | None:
        """The newest step of the open episode."""
        return self.open.newest if self.open else None

    @property
    def newest_step_ns(self) -> int | None:
        """Stamp of the newest step of the open episode."""
        step = self.newest_step
        return step.stamp_ns if step else None

    @property
    def num_open_steps(self) -> int:
        """Steps of the open episode; 0 if there is none."""
        return self.open.num_steps if self.open else 0

    def ready(self, moment_ns: int) -> bool:
        """Open an episode if none is and nobody has to be asked; False if none is open then."""
        if self.open is None and self._may_open:
            self._start(moment_ns, {})
        return self.open is not None

    def add(self, moment_ns: int, readings: StepReadings) -> Step:
        """Append a step to the open episode."""
        assert self.open is not None
        if not self.open.num_steps:
            self.open.number = self.next_number
            self.open.begun_ns = moment_ns
            self.next_number += 1
            self.num_episodes += 1
        self.num_steps += 1
        self._missing = ''
        return self.open.add(moment_ns, readings)

    def skip(self, field: str) -> None:
        """Note a step that was not recorded because `field` was missing."""
        if self.open is not None and self.open.num_steps:
            self.open.skipped_steps += 1
            self._missing = self._contract.observation[field].topic

    def begin(self, marks: Iterable[Mark]) -> None:
        """Begin an episode at each of these marks."""
        for mark in marks:
            facts = {'source': mark.source, 'seed': mark.seed, **_info(mark)}
            if mark.episode is not None:
                self._begins[mark.episode] = mark
                if len(self._begins) > _KEPT_MARKS:
                    del self._begins[next(iter(self._begins))]
                if self.open is not None and self.open.source_episode == mark.episode:
                    self.open.attributes.update(facts)
                    continue
                if self.open is not None and self.open.has_outcomes:
                    continue
            self.close('interrupted')
            self._start(mark.stamp_ns, facts).source_episode = mark.episode

    def arrive(self, outcome: Outcome) -> bool:
        """Give the task's word to its episode, opening it if needed; False if it has none."""
        episode = self.open
        is_other = episode is not None and (
            episode.source_episode not in (None, outcome.episode)
            or (outcome.is_first and episode.num_steps > 0)
        )
        if episode is None or is_other:
            if outcome.episode == self._ended_source and not outcome.is_first:
                return False
            self.close('interrupted')
            episode = self._start(outcome.stamp_ns, {})
        if not episode.has_outcomes:
            begun = self._begins.get(outcome.episode)
            if begun is not None:
                episode.attributes.update(source=begun.source, seed=begun.seed, **_info(begun))
            if outcome.step:
                episode.attributes['joined_at_step'] = outcome.step
        episode.source_episode = outcome.episode
        episode.has_outcomes = True
        episode.add_reward(outcome.reward, outcome.step)
        return True

    def end_by_task(self, outcome: Outcome, marks: Iterable[Mark]) -> None:
        """End the open episode as the outcome says; a mark of the same end describes it."""
        if self.open is None or self.open.source_episode != outcome.episode:
            return
        reason = 'success' if outcome.success else 'failure' if outcome.terminated else 'truncated'
        for mark in marks:
            if not mark.is_begin and mark.episode == outcome.episode:
                reason = mark.reason or reason
                self.open.attributes.update(_info(mark))
        arrived = self.open.newest is not None and self.open.newest.stamp_ns == outcome.stamp_ns
        self.open.attributes['success'] = outcome.success
        self._told_to_end(outcome.episode)
        self.close(reason, terminated=outcome.terminated and arrived)

    def end_by_mark(self, mark: Mark) -> None:
        """End the open episode, unless the mark speaks of another one."""
        if self.open is None:
            return
        source = self.open.source_episode
        if mark.episode is not None and source is not None and source != mark.episode:
            return
        if mark.discard:
            self.num_steps -= self.open.discard()
        self.open.attributes.update(success=mark.success, **_info(mark))
        self._told_to_end(source)
        self.close(mark.reason or mark.source, terminated=mark.terminated)

    def limit_time(self, moment_ns: int) -> None:
        """End the open episode if it has reached the time limit."""
        if self.open is None or self._time_limit_ns is None:
            return
        if moment_ns - self.open.begun_ns >= self._time_limit_ns:
            self.close('time_limit')

    def time_out(self) -> None:
        """End the open episode because nothing complete came for too long."""
        self.close(f'timeout: {self._missing or DECISIONS}')

    def break_off(self, reason: str) -> None:
        """End the open episode after a step whose action nobody knows; alone it is worthless."""
        if self.open is not None and self.open.num_steps == 1:
            self.open = None
            self.num_steps -= 1
            self.num_episodes -= 1
            self.next_number -= 1
        self.close(reason)

    def close(self, reason: str, terminated: bool = False) -> None:
        """End the open episode, if there is one, and keep its last piece for `collect`."""
        episode, self.open = self.open, None
        if episode is None or episode.newest is None:
            return
        episode.finish(terminated)
        episode.attributes['reason'] = reason
        episode.attributes['counts'] = self._counts_since_start()
        self.endings[reason] += 1
        piece = episode.take(is_complete=True)
        if piece is not None:
            self._finished.append(piece)

    def collect(self) -> list[Episode]:
        """Return the pieces that became final since the last call."""
        pieces, self._finished = self._finished, []
        piece = self.open.take(is_complete=False) if self.open else None
        return [*pieces, piece] if piece is not None else pieces

    def _start(self, begun_ns: int, attributes: dict[str, Any]) -> OpenEpisode:
        self.open = OpenEpisode(self._contract, begun_ns, attributes)
        self._may_open = True
        self._ended_source = None
        self._missing = ''
        self._counts_before = {t: counts.to_dict() for t, counts in self._counts().items()}
        return self.open

    def _told_to_end(self, source_episode: int | None) -> None:
        self._may_open = False
        self._ended_source = source_episode

    def _counts_since_start(self) -> dict[str, dict[str, int]]:
        """Return what became of the messages during the episode; zeros are left out."""
        result: dict[str, dict[str, int]] = {}
        for topic, counts in self._counts().items():
            before = self._counts_before.get(topic, {})
            grown = {k: v - before.get(k, 0) for k, v in counts.to_dict().items()}
            result[topic] = {k: v for k, v in grown.items() if v and k != 'pending'}
        return {topic: grown for topic, grown in result.items() if grown}


def _info(mark: Mark) -> dict[str, Any]:
    return {'info': mark.info} if mark.info else {}
