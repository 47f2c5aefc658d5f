"""The observation of one moment: of every field the newest reading until then, if young enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.trajectory.assembly import StepReadings
from robot_learning.trajectory.timeline import Timeline

_NEVER = 2**62  # After all stamps.


class _FieldPlan(NamedTuple):
    place: int  # In the contract.
    name: str
    required: bool
    max_age_ns: int


class ObservationReader:
    """Looks observations up in the timelines of the contract's topics.

    Attributes:
        gaps: observations in which a field had no reading young enough, by field.
        missing: moments without observation because this required field was missing.
    """

    def __init__(self, contract: RobotContract, timeline_of: Callable[[str], Timeline]):
        self.gaps: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()
        self._contract = contract
        self._empty = [np.zeros(s.shape, s.dtype) for s in contract.observation.values()]
        plans: dict[str, list[_FieldPlan]] = {}  # By topic, so that each is looked up once.
        for index, (name, spec) in enumerate(contract.observation.items()):
            max_age_ns = round(spec.max_age_s * 1e9) if spec.max_age_s else _NEVER
            plans.setdefault(spec.topic, []).append(
                _FieldPlan(index, name, spec.required, max_age_ns)
            )
        self._timelines = {topic: timeline_of(topic) for topic in plans}
        self._plans = [(self._timelines[topic], fields) for topic, fields in plans.items()]

    def at(self, moment_ns: int) -> StepReadings | str:
        """Return the observation of this moment, or the name of a required field that lacks."""
        found = [(line, line.newest_at(moment_ns), plans) for line, plans in self._plans]
        count = len(self._empty)
        step = StepReadings(list(self._empty), [-1] * count, [False] * count)
        for timeline, at, plans in found:
            if not self._fill(step, timeline, at, plans, moment_ns):
                lacking = next(p.name for p in plans if p.required and not step.present[p.place])
                self.missing[lacking] += 1
                return lacking
        for timeline, at, plans in found:
            for plan in plans:
                if step.present[plan.place]:
                    timeline.use(at)
                else:
                    self.gaps[plan.name] += 1
        return step

    def first_chance_ns(self) -> int | None:
        """Return from when on all required fields may be there; None: not yet known."""
        firsts = []
        for timeline, plans in self._plans:
            if any(plan.required for plan in plans):
                if not timeline.stamps:
                    return None
                firsts.append(timeline.stamps[0])
        return max(firsts, default=None)

    def next_reading_ns(self, field: str, moment_ns: int) -> int | None:
        """Return the stamp of the field's first known reading after this moment."""
        timeline = self._timelines[self._contract.observation[field].topic]
        following = timeline.newest_at(moment_ns) + 1
        return timeline.stamps[following] if following < len(timeline.stamps) else None

    def forget(self, moment_ns: int) -> None:
        """Remove what no observation after this moment can need."""
        for timeline in self._timelines.values():
            timeline.forget(moment_ns)

    @staticmethod
    def _fill(
        step: StepReadings, timeline: Timeline, at: int, plans: list[_FieldPlan], moment_ns: int
    ) -> bool:
        """Write one topic's fields into `step`; False if a required one is missing."""
        if at < 0:
            return not any(plan.required for plan in plans)
        read_ns = timeline.stamps[at]
        reading = timeline.readings[at]
        age_ns = moment_ns - read_ns
        complete, young = True, False
        for plan in plans:
            step.values[plan.place] = reading[plan.name]
            step.stamps_ns[plan.place] = read_ns
            if age_ns <= plan.max_age_ns:
                step.present[plan.place] = young = True
            elif plan.required:
                complete = False
        if not young:
            timeline.reject(at)
        return complete
